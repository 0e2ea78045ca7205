import type { Candle } from "../core/candle.ts";
import { BlackTradeError } from "../core/errors.ts";
import type { CandleChanges, Clock, LiveEvent } from "../core/ports.ts";
import { type Series, seriesKey } from "../core/series.ts";
import type { Feed, FeedEvent, FormingCandle } from "./parts.ts";
import type { SeriesView, StatusView } from "./status-reader.ts";

/** What a feed is made of. */
export interface FeedOptions {
  readonly changes: CandleChanges;
  readonly readStatus: () => Promise<StatusView>;
  readonly clock: Clock;
  /** Exchange time, epoch ms. */
  readonly now: () => number;
  /** Told of errors that are tried again, or that a watcher made. */
  readonly onFault: (error: unknown) => void;
}

const STATUS_INTERVAL_MS = 1_000;
const RETRY_MS = 1_000;
/** A forming candle that is over for so long tells of a stream that is gone. */
const OVERDUE_MS = 10_000;

/**
 * The live flow, read once for all: closed candles as they are committed, by whichever process; forming candles from the
 * stream of this one. The database is only asked while somebody watches.
 */
export class LiveFeed implements Feed {
  readonly #options: FeedOptions;
  /** Each with whether it wants to know of states, too. */
  readonly #watchers = new Map<(event: FeedEvent) => void, boolean>();
  readonly #forming = new Map<string, FormingCandle>();
  #status = new Map<string, string>();
  #watching: AbortController | undefined;
  #followingStatus: AbortController | undefined;
  #lastId: number | undefined;
  #started = Promise.withResolvers<number>();

  constructor(options: FeedOptions) {
    this.#options = options;
  }

  /** Number of watchers. */
  get watcherCount(): number {
    return this.#watchers.size;
  }

  get lastId(): number | undefined {
    return this.#lastId;
  }

  started(): Promise<number> {
    return this.#started.promise;
  }

  subscribe(watcher: (event: FeedEvent) => void, wantsStatus: boolean): () => void {
    // Each subscription is one of its own, also of the same function.
    const own = (event: FeedEvent): void => watcher(event);
    this.#watchers.set(own, wantsStatus);
    if (this.#watching === undefined) this.#start();
    this.#followStatusIfWanted();
    return () => {
      this.#watchers.delete(own);
      if (this.#watchers.size === 0) this.close();
      else if (this.#watching !== undefined) this.#followStatusIfWanted();
    };
  }

  #followStatusIfWanted(): void {
    const isWanted = [...this.#watchers.values()].includes(true);
    if (isWanted && this.#followingStatus === undefined) {
      this.#followingStatus = new AbortController();
      this.#status = new Map();
      void this.#followStatus(this.#followingStatus.signal);
    } else if (!isWanted) {
      this.#followingStatus?.abort();
      this.#followingStatus = undefined;
    }
  }

  forming(series: Series): Candle | undefined {
    const candle = this.#forming.get(seriesKey(series))?.candle;
    const isOver = candle !== undefined && this.#options.now() > candle.closeTime + OVERDUE_MS;
    return isOver ? undefined : candle;
  }

  /** What the stream of this process says. Cheap while nobody watches. */
  takeLive(event: LiveEvent): void {
    if (event.kind === "disconnected") {
      for (const series of event.series) this.#forming.delete(seriesKey(series));
    } else if (event.kind === "candle") {
      const { series, candle, eventTime } = event;
      const key = seriesKey(series);
      // A closed one is told of when it is committed; it only ends the forming one.
      if (event.isClosed) this.#forming.delete(key);
      else {
        const forming = { series, candle, eventTime };
        this.#forming.set(key, forming);
        this.#tell({ kind: "forming", forming });
      }
    }
  }

  /** Stops reading. */
  close(): void {
    this.#watching?.abort();
    this.#watching = undefined;
    this.#followingStatus?.abort();
    this.#followingStatus = undefined;
    this.#lastId = undefined;
  }

  #start(): void {
    const watching = new AbortController();
    this.#watching = watching;
    this.#started = Promise.withResolvers();
    void this.#followChanges(watching.signal);
  }

  async #followChanges(signal: AbortSignal): Promise<void> {
    const { changes, clock, onFault } = this.#options;
    let lastId: number | undefined;
    while (!signal.aborted) {
      try {
        // A number of its own: what is committed while a connection is made anew is not lost.
        lastId ??= await changes.lastChangeId();
        if (signal.aborted) return;
        this.#lastId = lastId;
        this.#started.resolve(lastId);
        for await (const batch of changes.follow(signal, lastId)) {
          for (const change of batch) {
            if (signal.aborted) return;
            lastId = change.id;
            this.#lastId = lastId;
            if (change.kind === "candle") this.#tell({ kind: "closed", change });
            else this.#tell({ kind: "stretch", change });
          }
        }
      } catch (error) {
        if (signal.aborted) return;
        onFault(error);
        // What is no longer kept cannot be told: it goes on from now.
        if (error instanceof BlackTradeError && !error.retryable) lastId = undefined;
      }
      await clock.sleep(RETRY_MS, signal).catch(() => undefined);
    }
  }

  async #followStatus(signal: AbortSignal): Promise<void> {
    const { readStatus, clock, onFault } = this.#options;
    let wasKnown: boolean | undefined;
    while (!signal.aborted) {
      try {
        const view = await readStatus();
        if (signal.aborted) return;
        const changed = this.#changedIn(view);
        if (changed.length > 0 || view.isKnown !== wasKnown) {
          this.#tell({ kind: "status", view, changed });
        }
        wasKnown = view.isKnown;
      } catch (error) {
        onFault(error);
      }
      await clock.sleep(STATUS_INTERVAL_MS, signal).catch(() => undefined);
    }
  }

  #changedIn(view: StatusView): readonly SeriesView[] {
    const before = this.#status;
    this.#status = new Map();
    if (!view.isKnown) return [];
    return view.series.filter(({ series, status }) => {
      const key = seriesKey(series);
      const text = `${status.word} ${status.reason}`;
      this.#status.set(key, text);
      return before.get(key) !== text;
    });
  }

  #tell(event: FeedEvent): void {
    for (const watcher of this.#watchers.keys()) {
      try {
        watcher(event);
      } catch (error) {
        // One watcher's fault is not the others', and never the ingestion's.
        this.#options.onFault(error);
      }
    }
  }
}
