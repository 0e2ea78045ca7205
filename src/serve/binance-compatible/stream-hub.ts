import type { Candle } from "../../core/candle.ts";
import type { TimeRange } from "../../core/range.ts";
import { type Series, seriesKey } from "../../core/series.ts";
import { nextOpenTime, openTimeAt, previousOpenTime } from "../../core/timeframe.ts";
import { KlineFrame, type KlineSeries } from "../../wire/kline-text.ts";
import type { Feed, FeedEvent } from "../parts.ts";

/** Whoever takes frames of a stream: a socket. */
export interface FrameTaker {
  take(frame: KlineFrame): void;
}

/** A stream name with the stored series that feeds it. */
export interface StreamSource {
  readonly name: string;
  readonly kline: KlineSeries;
  readonly series: Series;
}

interface Stream extends StreamSource {
  /** With the exchange time at which each joined. */
  readonly takers: Map<FrameTaker, number>;
  /** Exchange time at which the first one joined. */
  readonly since: number;
  /** Open time of the newest candle that was told of as closed; 0 = none. */
  lastClosed: number;
  /** The newest frame that waits for the closing frame of the candle before, and since when. */
  held:
    | { readonly frame: KlineFrame; readonly openTime: number; readonly since: number }
    | undefined;
  /** A candle that has waited long enough. */
  passedTo: number;
  /** What happens while a stretch is being read. */
  waiting: FlowEvent[] | undefined;
}

type FlowEvent = Exclude<FeedEvent, { kind: "status" }>;

/** What a hub is made of. */
export interface HubOptions {
  readonly feed: Pick<Feed, "subscribe">;
  /** Exchange time, epoch ms. */
  readonly now: () => number;
  /** Stored candles that open in a range, ascending; as many as are worth telling. */
  readonly read: (series: Series, range: TimeRange) => Promise<readonly Candle[]>;
  /** Told when that failed. */
  readonly onFault: (error: unknown) => void;
}

/** How long the first frames of a candle wait for the closing frame of the one before: for its commit, or for its healing. */
const HOLD_MS = 3_000;

/**
 * Feeds kline streams from the live flow. A candle is forming as the exchange tells it and closed once it is committed:
 * `x:true` means that the table has it. Each stream tells its candles in order of open time and each as closed once; who
 * has joined before a candle's close gets its closing frame, also when the exchange's own stream had lost it.
 */
export class StreamHub {
  readonly #options: HubOptions;
  readonly #now: () => number;
  readonly #streams = new Map<string, Stream>();
  readonly #bySeries = new Map<string, Set<Stream>>();
  #leave: (() => void) | undefined;

  constructor(options: HubOptions) {
    this.#options = options;
    this.#now = options.now;
  }

  /** Streams that somebody listens to. */
  get size(): number {
    return this.#streams.size;
  }

  join(source: StreamSource, taker: FrameTaker): void {
    const now = this.#now();
    const known = this.#streams.get(source.name);
    if (known !== undefined) {
      known.takers.set(taker, now);
      return;
    }
    const stream: Stream = {
      ...source,
      takers: new Map([[taker, now]]),
      since: now,
      lastClosed: 0,
      held: undefined,
      passedTo: 0,
      waiting: undefined,
    };
    this.#streams.set(source.name, stream);
    const key = seriesKey(source.series);
    const group = this.#bySeries.get(key) ?? new Set();
    this.#bySeries.set(key, group.add(stream));
    this.#leave ??= this.#options.feed.subscribe((event) => this.#take(event), false);
  }

  leave(name: string, taker: FrameTaker): void {
    const stream = this.#streams.get(name);
    if (stream === undefined) return;
    stream.takers.delete(taker);
    if (stream.takers.size > 0) return;
    this.#streams.delete(name);
    const key = seriesKey(stream.series);
    const group = this.#bySeries.get(key);
    group?.delete(stream);
    if (group?.size === 0) this.#bySeries.delete(key);
    if (this.#streams.size === 0) this.close();
  }

  /** Lets frames go that have waited long enough. */
  tick(now: number): void {
    for (const stream of this.#streams.values()) {
      if (stream.held !== undefined && now - stream.held.since >= HOLD_MS) this.#release(stream);
    }
  }

  /** Stops listening to the live flow. */
  close(): void {
    this.#leave?.();
    this.#leave = undefined;
  }

  #take(event: FeedEvent): void {
    if (event.kind === "status") return;
    const { series } =
      event.kind === "forming"
        ? event.forming
        : event.kind === "closed"
          ? event.change.candle
          : event.change;
    for (const stream of this.#bySeries.get(seriesKey(series)) ?? []) this.#tell(stream, event);
  }

  #tell(stream: Stream, event: FlowEvent): void {
    if (stream.waiting !== undefined) stream.waiting.push(event);
    else if (event.kind === "closed") this.#takeClosed(stream, event.change.candle.candle);
    else if (event.kind === "stretch") this.#takeStretch(stream, event.change.range);
    else this.#takeForming(stream, event.forming.candle, event.forming.eventTime);
  }

  /** Many at once, as after a long loss of the exchange's stream. */
  #takeStretch(stream: Stream, { from, to }: TimeRange): void {
    const { series, since, lastClosed } = stream;
    const { timeframe } = series;
    const first = Math.max(from, nextOpenTime(timeframe, lastClosed), openTimeAt(timeframe, since));
    if (first >= to) return;
    stream.waiting = [];
    this.#options
      .read(series, { from: first, to })
      .then((candles) => {
        for (const candle of candles) this.#takeClosed(stream, candle);
      }, this.#options.onFault)
      .finally(() => {
        const waited = stream.waiting ?? [];
        stream.waiting = undefined;
        for (const event of waited) this.#tell(stream, event);
      });
  }

  #takeForming(stream: Stream, candle: Candle, eventTime: number): void {
    const { openTime } = candle;
    if (openTime <= stream.lastClosed || openTime < (stream.held?.openTime ?? 0)) return;
    const frame = new KlineFrame(stream.name, stream.kline, candle, eventTime, false);
    if (this.#isEarly(stream, openTime)) {
      const isSame = stream.held?.openTime === openTime;
      const since = isSame && stream.held !== undefined ? stream.held.since : this.#now();
      stream.held = { frame, openTime, since };
      if (this.#now() - since >= HOLD_MS) this.#release(stream);
      return;
    }
    for (const taker of stream.takers.keys()) taker.take(frame);
  }

  /** True while the candle before has closed for somebody who listens, and was not told of as closed. */
  #isEarly(stream: Stream, openTime: number): boolean {
    const { timeframe } = stream.series;
    const before = previousOpenTime(timeframe, openTime);
    return (
      before > stream.lastClosed &&
      openTime > stream.passedTo &&
      nextOpenTime(timeframe, before) > stream.since
    );
  }

  #takeClosed(stream: Stream, candle: Candle): void {
    const { openTime, closeTime } = candle;
    // A newer version of what was told, or a hole behind it that was filled: clients ask REST for these.
    if (openTime <= stream.lastClosed || closeTime < stream.since) return;
    stream.lastClosed = openTime;
    const frame = new KlineFrame(stream.name, stream.kline, candle, this.#now(), true);
    for (const [taker, since] of stream.takers) {
      if (since <= closeTime) taker.take(frame);
    }
    const { held } = stream;
    if (held === undefined) return;
    if (held.openTime <= openTime) stream.held = undefined;
    else if (!this.#isEarly(stream, held.openTime)) this.#release(stream);
  }

  #release(stream: Stream): void {
    const { held } = stream;
    if (held === undefined) return;
    stream.held = undefined;
    stream.passedTo = held.openTime;
    for (const taker of stream.takers.keys()) taker.take(held.frame);
  }
}
