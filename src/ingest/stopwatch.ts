import type { Clock, HistorySource } from "../core/ports.ts";
import type { Writer } from "./writer.ts";

/** Adds up how long things took, by their name. What goes on side by side counts each for itself. */
export class Stopwatch<Name extends string> {
  readonly #spentMs: Partial<Record<Name, number>> = {};

  /** Passes `work` on, and counts from now to its end, good or bad. */
  async time<T>(name: Name, clock: Clock, work: Promise<T>): Promise<T> {
    const began = clock.monotonic();
    try {
      return await work;
    } finally {
      this.#spentMs[name] = (this.#spentMs[name] ?? 0) + clock.monotonic() - began;
    }
  }

  /** Ms by name; what never happened is absent. */
  spent(): Readonly<Partial<Record<Name, number>>> {
    return { ...this.#spentMs };
  }
}

type Timed = <T>(work: Promise<T>) => Promise<T>;

/** A source whose every wait is timed; what is done with its pages is not. */
export function timedHistory(history: HistorySource, timed: Timed): HistorySource {
  return {
    firstOpenTime: (series, signal) => timed(history.firstOpenTime(series, signal)),
    async *candles(series, range, signal, priority) {
      const pages = history.candles(series, range, signal, priority)[Symbol.asyncIterator]();
      try {
        for (;;) {
          const next = await timed(pages.next());
          if (next.done === true) return;
          yield next.value;
        }
      } finally {
        await pages.return?.();
      }
    },
  };
}

/** What filling asks of a writer: room, and that all is committed. */
export type Waited = Pick<Writer, "room" | "flushed" | "refusedCells">;

/** A writer whose every wait is timed. */
export function timedWriter(writer: Waited, timed: Timed): Waited {
  return {
    room: (signal) => timed(writer.room(signal)),
    flushed: (signal) => timed(writer.flushed(signal)),
    refusedCells: (series) => writer.refusedCells(series),
  };
}
