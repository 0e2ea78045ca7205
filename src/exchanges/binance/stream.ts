import type { Recorder } from "../../core/events.ts";
import type { ExchangeTime } from "../../core/exchange-time.ts";
import type { Clock, LiveEvent, LiveSource } from "../../core/ports.ts";
import type { Series } from "../../core/series.ts";
import { readBaseUrl } from "./base-url.ts";
import { type CandleFrame, streamName } from "./codec.ts";
import { DialLimiter } from "./dial-limiter.ts";
import { EventBuffer } from "./event-buffer.ts";
import { chunks, Shard, type Slot, type StreamTuning } from "./shard.ts";

/** What the WebSocket side of Binance needs. Durations in ms; limits and times have defaults that suit Binance. */
export interface BinanceStreamOptions extends Partial<StreamTuning> {
  /** Base address without `/stream`, e.g. `wss://data-stream.binance.vision`. */
  readonly wsUrl: string;
  readonly clock: Clock;
  /** Shared: the time stamps of events keep it from trailing behind. */
  readonly exchangeTime: ExchangeTime;
  /** Value in `[0, 1)`. */
  readonly random: () => number;
  readonly record: Recorder;
  /** Ceiling of the first pause after a loss; it doubles up to 60 s. */
  readonly firstDelayMs: number;
  /** Events that may wait for the consumer. */
  readonly maxBufferedEvents?: number;
}

const DEFAULTS: StreamTuning = {
  maxStreamsPerSocket: 1_000,
  subscribeBatch: 200,
  controlIntervalMs: 300,
  deadLinkMs: 60_000,
  rotateAfterMs: 23 * 3_600_000,
  rotateJitterMs: 30 * 60_000,
  overlapMs: 5_000,
  connectTimeoutMs: 10_000,
  maxConnectsPer5Min: 250,
};
const DEFAULT_MAX_BUFFERED = 200_000;
/** Closes were seen 5 minutes late (binance.md §3.4); a stamp far beyond that is wrong and must not move the time. */
const MAX_EVENT_DELAY_MS = 3_600_000;

/**
 * Live candles of Binance over WebSockets: connects, subscribes, reconnects after every end, replaces sockets before the
 * exchange cuts them, and never ends but by its signal. What it cannot know, that a subscribed stream is alive, the close
 * clock finds out and says by `resubscribe`.
 * @throws {BlackTradeError} E_CONFIG when the address is neither encrypted nor on this machine
 */
export function createBinanceStream(options: BinanceStreamOptions): LiveSource {
  return new Stream(options);
}

class Stream implements LiveSource {
  readonly #options: BinanceStreamOptions;
  readonly #tuning: StreamTuning;
  readonly #url: URL;
  /** Shared by all runs: the limit is per address. */
  readonly #dials: DialLimiter;
  readonly #runs = new Set<Run>();

  constructor(options: BinanceStreamOptions) {
    this.#options = options;
    this.#tuning = { ...DEFAULTS, ...options };
    const base = readBaseUrl(options.wsUrl, "wss");
    this.#url = new URL(`${base.pathname.replace(/\/+$/, "")}/stream`, base);
    this.#dials = new DialLimiter(options.clock, this.#tuning.maxConnectsPer5Min);
  }

  async *stream(
    series: readonly Series[],
    signal: AbortSignal,
  ): AsyncGenerator<readonly LiveEvent[]> {
    const run = new Run(series, this.#options, this.#tuning, this.#url, this.#dials);
    const onAbort = (): void => run.stop();
    signal.addEventListener("abort", onAbort, { once: true });
    if (signal.aborted) onAbort();
    this.#runs.add(run);
    try {
      for (;;) {
        const events = await run.buffer.take();
        if (events === undefined) return;
        yield events;
      }
    } finally {
      signal.removeEventListener("abort", onAbort);
      this.#runs.delete(run);
      run.stop();
      await run.stopped();
    }
  }

  resubscribe(series: readonly Series[]): void {
    for (const run of this.#runs) run.resubscribe(series);
  }
}

/** One consumer's set of series with its sockets. */
class Run {
  readonly buffer: EventBuffer;
  readonly #options: BinanceStreamOptions;
  readonly #tuning: StreamTuning;
  readonly #url: URL;
  readonly #dials: DialLimiter;
  readonly #stop = new AbortController();
  readonly #slots = new Map<string, Slot>();
  readonly #shardOf = new Map<Slot, Shard>();
  readonly #running = new Set<Promise<void>>();
  #shardCount = 0;

  constructor(
    series: readonly Series[],
    options: BinanceStreamOptions,
    tuning: StreamTuning,
    url: URL,
    dials: DialLimiter,
  ) {
    this.#options = options;
    this.#tuning = tuning;
    this.#url = url;
    this.#dials = dials;
    this.buffer = new EventBuffer(options.maxBufferedEvents ?? DEFAULT_MAX_BUFFERED, (dropped) =>
      this.#onOverflow(dropped),
    );
    for (const one of series) {
      const stream = streamName(one);
      if (!this.#slots.has(stream)) this.#slots.set(stream, { series: one, stream });
    }
    const slots = [...this.#slots.values()];
    // Even parts, in the order given: the same series always share a socket.
    const socketCount = Math.ceil(slots.length / tuning.maxStreamsPerSocket);
    for (const part of chunks(slots, Math.ceil(slots.length / socketCount))) this.#open(part);
  }

  resubscribe(series: readonly Series[]): void {
    const byShard = new Map<Shard, Slot[]>();
    for (const one of series) {
      const slot = this.#slots.get(streamName(one));
      const shard = slot && this.#shardOf.get(slot);
      if (shard === undefined || slot === undefined) continue;
      byShard.set(shard, [...(byShard.get(shard) ?? []), slot]);
    }
    for (const [shard, slots] of byShard) shard.resubscribe(slots);
  }

  stop(): void {
    this.#stop.abort();
    this.buffer.end();
  }

  /** Resolves when every socket is closed. */
  async stopped(): Promise<void> {
    await Promise.all(this.#running);
  }

  #open(slots: readonly Slot[]): void {
    this.#shardCount += 1;
    const shard = new Shard({
      ...this.#options,
      name: `socket ${this.#shardCount}`,
      slots,
      url: this.#url,
      tuning: this.#tuning,
      dials: this.#dials,
      onCandle: (frame, receivedMonotonicMs) => this.#onCandle(frame, receivedMonotonicMs),
      onLink: (event) => this.buffer.link(event),
      onTooMany: (moved) => this.#open(moved),
      signal: this.#stop.signal,
    });
    for (const slot of slots) this.#shardOf.set(slot, shard);
    const running = shard
      .run()
      .catch((error: unknown) => this.buffer.fail(error))
      .finally(() => this.#running.delete(running));
    this.#running.add(running);
  }

  #onCandle(frame: CandleFrame, receivedMonotonicMs: number): void {
    const { symbol, timeframe, candle, isClosed, eventTime } = frame;
    const slot = this.#slots.get(frame.stream ?? streamName(frame));
    if (slot?.series.symbol !== symbol || slot.series.timeframe !== timeframe) {
      const reason = `candle of a series that was not asked for: ${symbol} ${timeframe}`;
      this.#options.record({ kind: "frameRefused", reason });
      return;
    }
    // Older ones, too: they speak against a false stamp.
    if (eventTime < candle.closeTime + MAX_EVENT_DELAY_MS) {
      this.#options.exchangeTime.observeEvent(eventTime, receivedMonotonicMs);
    }
    this.buffer.candle({ kind: "candle", series: slot.series, candle, isClosed, eventTime });
  }

  /** The consumer is far too slow: what was dropped is counted, and REST brings it once the series count as lost. */
  #onOverflow(dropped: ReadonlyMap<Series, number>): void {
    const shards = new Set<Shard>();
    let closedCount = 0;
    for (const [series, count] of dropped) {
      closedCount += count;
      this.#options.record({ kind: "shed", series, count });
      const slot = this.#slots.get(streamName(series));
      const shard = slot && this.#shardOf.get(slot);
      if (shard !== undefined) shards.add(shard);
    }
    // They never reach the one who counts what is received.
    this.#options.record({ kind: "received", closedCount, formingCount: 0 });
    for (const shard of shards) {
      shard.interrupt(`${closedCount} candles dropped: they were not taken fast enough`);
    }
  }
}
