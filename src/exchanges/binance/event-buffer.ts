import type { LiveEvent } from "../../core/ports.ts";
import type { Series } from "../../core/series.ts";

type CandleEvent = Extract<LiveEvent, { readonly kind: "candle" }>;

/**
 * What gathered between the sockets and the one consumer. Forming candles of a series are reduced to the newest; closed
 * ones are kept, up to a fixed number of events. Series are told apart by identity: each has one object.
 */
export class EventBuffer {
  readonly #capacity: number;
  readonly #onOverflow: (dropped: ReadonlyMap<Series, number>) => void;
  #events: LiveEvent[] = [];
  /** Where in the events the newest forming candle of a series stands, while nothing closed came after it. */
  readonly #formingAt = new Map<Series, number>();
  #wake: (() => void) | undefined;
  #failure: { readonly error: unknown } | undefined;
  #isEnded = false;

  /**
   * @param onOverflow told how many closed candles of each series were dropped, when the consumer is so slow that the
   * closed ones alone fill the buffer
   */
  constructor(capacity: number, onOverflow: (dropped: ReadonlyMap<Series, number>) => void) {
    this.#capacity = capacity;
    this.#onOverflow = onOverflow;
  }

  /** Events that wait. */
  get size(): number {
    return this.#events.length;
  }

  /** Adds a candle. */
  candle(event: CandleEvent): void {
    if (event.isClosed) {
      if (this.#events.length >= this.#capacity) this.#makeRoom();
      this.#formingAt.delete(event.series);
      this.#events.push(event);
    } else {
      const index = this.#formingAt.get(event.series);
      if (index !== undefined) this.#events[index] = event;
      else if (this.#events.length >= this.#capacity) return;
      else {
        this.#formingAt.set(event.series, this.#events.length);
        this.#events.push(event);
      }
    }
    this.#wake?.();
  }

  /** Adds what happened to a connection. There are few of these: they have no bound of their own. */
  link(event: Exclude<LiveEvent, CandleEvent>): void {
    // A candle from before must not be replaced by one from after.
    for (const series of event.series) this.#formingAt.delete(series);
    this.#events.push(event);
    this.#wake?.();
  }

  /** Makes the next pull throw: something went wrong that nobody foresaw. */
  fail(error: unknown): void {
    this.#failure ??= { error };
    this.#wake?.();
  }

  /** No more is to come. */
  end(): void {
    this.#isEnded = true;
    this.#wake?.();
  }

  /**
   * What has gathered since the last call, in order; waits for the first event.
   * @returns `undefined` when the end has come and nothing is left
   */
  async take(): Promise<readonly LiveEvent[] | undefined> {
    for (;;) {
      if (this.#events.length > 0) {
        const events = this.#events;
        this.#events = [];
        this.#formingAt.clear();
        return events;
      }
      if (this.#failure !== undefined) throw this.#failure.error;
      if (this.#isEnded) return undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = undefined;
    }
  }

  #makeRoom(): void {
    this.#formingAt.clear();
    this.#events = this.#events.filter((event) => event.kind !== "candle" || event.isClosed);
    // Little room is none: it would be made anew for every candle.
    if (this.#events.length < this.#capacity * 0.9) return;
    const dropped = new Map<Series, number>();
    this.#events = this.#events.filter((event) => {
      if (event.kind !== "candle") return true;
      dropped.set(event.series, (dropped.get(event.series) ?? 0) + 1);
      return false;
    });
    this.#onOverflow(dropped);
  }
}
