import type { ServerResponse } from "node:http";
import { BlackTradeError } from "../../core/errors.ts";
import type { CandleChange, CandleChanges } from "../../core/ports.ts";
import { type Series, seriesKey } from "../../core/series.ts";
import type { FeedEvent, FormingCandle } from "../parts.ts";
import type { SeriesView, StatusView } from "../status-reader.ts";
import { storedDocument } from "./candles.ts";
import { seriesDocument } from "./schemas.ts";
import { statusDocument } from "./series.ts";

/** What a watcher wants to hear of. */
export interface WatchChoice {
  /** `undefined` = every series. */
  readonly isWanted: ((series: Series) => boolean) | undefined;
  readonly kinds: ReadonlySet<EventKind>;
}

/** Kinds of events that can be chosen. */
export const EVENT_KINDS = ["closed", "forming", "status"] as const;
export type EventKind = (typeof EVENT_KINDS)[number];

/** Characters that may wait for a client before events are dropped: about 6,000 closed candles. */
const MAX_WAITING = 2 * 2 ** 20;
/** Characters of forming candles, and states, that are told at once: with tens of thousands of series the others come next time. */
const MAX_NEWEST = 2 ** 18;
const MAX_STATES = 1_000;
/** A client that takes nothing for so long is left. */
const STUCK_MS = 30_000;
/** Forming candles and states are told no more often than this. */
export const NEWEST_MS = 250;

/** The text of an event is made once for all watchers. */
const texts = new WeakMap<object, string>();

/**
 * One client of the event stream. Nothing waits for it without bound: forming candles are reduced to the newest of each
 * series; when closed ones pile up they are dropped, and the client is told from where on it has to read them again.
 */
export class Watcher {
  readonly #response: ServerResponse;
  readonly #choice: WatchChoice;
  readonly #now: () => number;
  #pending: string[] = [];
  #pendingLength = 0;
  #isFlushPlanned = false;
  readonly #forming = new Map<string, FormingCandle>();
  readonly #statuses = new Map<string, SeriesView>();
  /** Why no status is known; empty when it is known again. */
  #statusProblem: string | undefined;
  /** Id of the last change that was told, passed over or dropped. */
  #lastId: number | undefined;
  #toldId: number | undefined;
  /** Id after which changes were dropped. */
  #droppedAfter: { readonly id: number | undefined } | undefined;
  /** True while older changes are read first: live ones are passed over, they come by that way. */
  #isResuming = false;
  #movedAt: number;

  /** @param now ms since some instant */
  constructor(response: ServerResponse, choice: WatchChoice, now: () => number) {
    this.#response = response;
    this.#choice = choice;
    this.#now = now;
    this.#movedAt = now();
    response.on("drain", () => {
      this.#movedAt = this.#now();
      this.#flush();
    });
  }

  /** Takes an event of the feed. */
  take(event: FeedEvent): void {
    if (event.kind === "forming") {
      const { forming } = event;
      if (this.#wants("forming", forming.series)) {
        this.#forming.set(seriesKey(forming.series), forming);
      }
    } else if (event.kind === "status") {
      this.#takeStatus(event.view, event.changed);
    } else if (!this.#isResuming) this.#takeChange(event.change);
  }

  /**
   * Tells of the changes after one that the client has seen, until it is where the feed is.
   * @param feedId id of the newest change that the feed has told of
   */
  async resume(
    changes: CandleChanges,
    afterId: number,
    feedId: () => number | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    this.#isResuming = true;
    this.#lastId = afterId;
    // What the feed tells while this goes on is passed over; it must have been told by the time that this ends.
    const isThere = (last: number): boolean => (this.#lastId ?? 0) >= Math.max(last, feedId() ?? 0);
    try {
      const last = await changes.lastChangeId();
      if (afterId > last) this.#giveUp(undefined, last);
      else if (!isThere(last)) {
        for await (const batch of changes.follow(signal, afterId)) {
          for (const change of batch) this.#takeChange(change);
          await this.#room(signal);
          if (!isThere(last)) continue;
          this.#isResuming = false;
          break;
        }
      }
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof BlackTradeError)) throw error;
      this.#giveUp(afterId, feedId() ?? this.#lastId);
    } finally {
      this.#isResuming = false;
    }
    this.#flush();
  }

  /** Goes on from an id; what lies before has to be read again. */
  #giveUp(afterId: number | undefined, fromId: number): void {
    this.#droppedAfter ??= { id: afterId };
    this.#lastId = fromId;
  }

  /** Hands over the newest forming candles and states, when there is room. */
  flushNewest(): void {
    if (this.#response.writableNeedDrain) return;
    for (const [key, forming] of this.#forming) {
      if (this.#pendingLength > MAX_NEWEST) break;
      this.#push(formingText(forming));
      this.#forming.delete(key);
    }
    if (this.#statuses.size > 0 || this.#statusProblem !== undefined) {
      const series: object[] = [];
      for (const [key, view] of this.#statuses) {
        if (series.length >= MAX_STATES) break;
        series.push(statusDocument(view));
        this.#statuses.delete(key);
      }
      const problem = this.#statusProblem ? { problem: this.#statusProblem } : {};
      this.#push(eventText("status", { series, ...problem }));
      this.#statusProblem = undefined;
    }
    this.#flush();
  }

  /** Says that it lives, and up to where it has told. @returns false when the client takes nothing any more */
  heartbeat(): boolean {
    if (this.#response.writableNeedDrain) return this.#now() - this.#movedAt < STUCK_MS;
    this.#push(`: heartbeat\n${this.#lastId === undefined ? "" : `id: ${this.#lastId}\n`}\n`);
    this.#flush();
    return true;
  }

  #takeStatus(view: StatusView, changed: readonly SeriesView[]): void {
    if (!this.#choice.kinds.has("status")) return;
    if (!view.isKnown) {
      this.#statusProblem = view.reason;
      // What waits was true before; all are told anew once they are known again.
      this.#statuses.clear();
    } else if (this.#statusProblem !== undefined) this.#statusProblem = "";
    for (const one of changed) {
      if (this.#wants("status", one.series)) this.#statuses.set(seriesKey(one.series), one);
    }
  }

  #takeChange(change: CandleChange): void {
    // At least once is how changes come: what was told already is not told again.
    if (this.#lastId !== undefined && change.id <= this.#lastId) return;
    this.#lastId = change.id;
    const series = change.kind === "candle" ? change.candle.series : change.series;
    if (!this.#wants("closed", series)) return;
    if (change.kind === "candle") {
      const forming = this.#forming.get(seriesKey(series));
      if (forming !== undefined && forming.candle.openTime <= change.candle.candle.openTime) {
        this.#forming.delete(seriesKey(series));
      }
    }
    if (this.#droppedAfter !== undefined) return;
    if (this.#response.writableLength + this.#pendingLength > MAX_WAITING) {
      this.#droppedAfter = { id: this.#toldId };
      return;
    }
    this.#toldId = change.id;
    this.#add(changeText(change));
  }

  #wants(kind: EventKind, series: Series): boolean {
    return this.#choice.kinds.has(kind) && (this.#choice.isWanted?.(series) ?? true);
  }

  /** Events of one turn are one write. */
  #add(text: string): void {
    this.#push(text);
    if (this.#isFlushPlanned) return;
    this.#isFlushPlanned = true;
    setImmediate(() => {
      this.#isFlushPlanned = false;
      this.#flush();
    });
  }

  #push(text: string): void {
    this.#pending.push(text);
    this.#pendingLength += text.length;
  }

  #flush(): void {
    if (this.#response.writableEnded || this.#response.destroyed) return;
    if (
      this.#droppedAfter !== undefined &&
      !this.#isResuming &&
      !this.#response.writableNeedDrain
    ) {
      const after = this.#droppedAfter.id;
      this.#droppedAfter = undefined;
      this.#push(
        eventText(
          "dropped",
          {
            ...(after === undefined ? {} : { afterId: after }),
            reason:
              "closed candles were dropped, for they were taken too slowly or are no longer kept: read the candles again, or resume with Last-Event-ID = afterId",
          },
          this.#lastId,
        ),
      );
    }
    if (this.#pending.length === 0) return;
    const text = this.#pending.join("");
    this.#pending = [];
    this.#pendingLength = 0;
    if (this.#response.write(text)) this.#movedAt = this.#now();
  }

  /** Resolves when the client has taken what was written. */
  async #room(signal: AbortSignal): Promise<void> {
    this.#flush();
    if (!this.#response.writableNeedDrain) return;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        this.#response.off("drain", done);
        signal.removeEventListener("abort", done);
        resolve();
      };
      this.#response.on("drain", done);
      signal.addEventListener("abort", done, { once: true });
    });
  }
}

/** One event as it goes over the wire. */
export function eventText(kind: string, data: object, id?: number): string {
  return `${id === undefined ? "" : `id: ${id}\n`}event: ${kind}\ndata: ${JSON.stringify(data)}\n\n`;
}

function changeText(change: CandleChange): string {
  return once(change, () =>
    change.kind === "candle"
      ? eventText(
          "closed",
          {
            series: seriesDocument(change.candle.series),
            candle: storedDocument(change.candle),
            outcome: change.outcome,
          },
          change.id,
        )
      : eventText(
          "stretch",
          { series: seriesDocument(change.series), range: change.range },
          change.id,
        ),
  );
}

function formingText(forming: FormingCandle): string {
  const { series, candle, eventTime } = forming;
  return once(forming, () =>
    eventText("forming", { series: seriesDocument(series), candle, eventTime }),
  );
}

function once(key: object, make: () => string): string {
  const known = texts.get(key);
  if (known !== undefined) return known;
  const text = make();
  texts.set(key, text);
  return text;
}
