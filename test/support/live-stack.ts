import assert from "node:assert/strict";
import { WeightBudget } from "../../src/core/budget.ts";
import type { Candle } from "../../src/core/candle.ts";
import type { IngestEvent } from "../../src/core/events.ts";
import { ExchangeTime } from "../../src/core/exchange-time.ts";
import type { Clock } from "../../src/core/ports.ts";
import type { TimeRange } from "../../src/core/range.ts";
import { type Series, seriesKey, seriesLabel } from "../../src/core/series.ts";
import { type SeriesStatus, seriesStatus } from "../../src/core/status.ts";
import { nextOpenTime, type Timeframe } from "../../src/core/timeframe.ts";
import {
  createBinanceRest,
  createBinanceStream,
  EXCHANGE,
} from "../../src/exchanges/binance/index.ts";
import { type IngestSummary, ingest } from "../../src/ingest/run.ts";
import type { Market, Simulator } from "../../src/simulator/index.ts";
import { openStore, type Store } from "../../src/store/index.ts";

/** What is started. */
export interface StackOptions {
  readonly simulator: Pick<Simulator, "url" | "wsUrl" | "now">;
  readonly clock: Clock;
  readonly databaseUrl: string;
  readonly series: readonly Series[];
  readonly mode?: "websocket" | "polling";
  readonly historyMs?: (timeframe: Timeframe) => number;
}

/** The real adapters, the real ingestion and a real database, in this process and on a clock that may run faster. */
export class LiveStack {
  readonly store: Store;
  readonly events: IngestEvent[] = [];
  readonly #options: StackOptions;
  readonly #stop = new AbortController();
  readonly #running: Promise<IngestSummary>;

  private constructor(options: StackOptions, store: Store) {
    this.#options = options;
    this.store = store;
    this.#running = this.#run();
    this.#running.catch(() => undefined);
  }

  static async start(options: StackOptions): Promise<LiveStack> {
    return new LiveStack(options, await openStore({ url: options.databaseUrl }));
  }

  /** Stops cleanly, as a signal would; a second call does nothing more. */
  async stop(): Promise<IngestSummary> {
    if (this.#stop.signal.aborted) return this.#running;
    this.#stop.abort();
    try {
      return await this.#running;
    } finally {
      await this.store.close();
    }
  }

  /** Waits until the exchange's clock says so. */
  async until(exchangeTime: number): Promise<void> {
    const waitMs = exchangeTime - this.#options.simulator.now();
    if (waitMs > 0) await this.#options.clock.sleep(waitMs, new AbortController().signal);
  }

  async statuses(): Promise<Map<string, SeriesStatus>> {
    const { run, series } = await this.store.facts();
    return new Map(series.map((facts) => [seriesKey(facts.series), seriesStatus(facts, run)]));
  }

  /** Waits until every series is `active`. @throws after `ms` of the clock, with what is not */
  async allActive(ms: number): Promise<void> {
    const { clock, simulator } = this.#options;
    const deadline = simulator.now() + ms;
    for (;;) {
      const statuses = await this.statuses();
      const waiting = [...statuses].filter(([, { word }]) => word !== "active");
      if (waiting.length === 0 && statuses.size > 0) return;
      if (simulator.now() > deadline) {
        assert.fail(
          `not active: ${waiting.map(([key, { word, reason }]) => `${key} ${word} ${reason}`).join("; ")}`,
        );
      }
      await clock.sleep(500, new AbortController().signal);
    }
  }

  #run(): Promise<IngestSummary> {
    const { simulator, clock, series, mode = "websocket", historyMs } = this.#options;
    const exchangeTime = new ExchangeTime();
    const budget = new WeightBudget(6_000);
    const shared = {
      clock,
      exchangeTime,
      random: Math.random,
      record: (event: IngestEvent) => {
        this.events.push(event);
      },
    };
    const { store } = this;
    return ingest(
      {
        ...shared,
        exchange: EXCHANGE,
        series,
        mode,
        host: "test",
        pid: process.pid,
        historyMs: historyMs ?? (() => 3_600_000),
        live: createBinanceStream({ ...shared, wsUrl: simulator.wsUrl, firstDelayMs: 500 }),
        source: createBinanceRest({
          ...shared,
          baseUrl: simulator.url,
          budget,
          onHold: (ban) => store.save(ban, ban.untilTime - exchangeTime.now(clock.monotonic())),
        }),
        store,
        budget,
        checkSymbols: () => undefined,
      },
      this.#stop.signal,
    );
  }
}

/** Differences between a table and an exchange, candle by candle, text by text. */
export interface Comparison {
  readonly candles: number;
  readonly lost: string[];
  readonly extra: string[];
  readonly wrong: string[];
}

/**
 * Compares what is stored of a series with what the exchange has by now.
 * @param until only candles that closed by then, epoch ms
 */
export async function compareWithMarket(
  store: Pick<Store, "range">,
  market: Market,
  series: Series,
  range: { from: number; until: number },
): Promise<Comparison> {
  const truth = new Map<number, string>();
  const { symbol, timeframe } = series;
  const span = { from: range.from, to: range.until };
  for (const row of market.candles(
    { symbol, interval: timeframe },
    span,
    range.until,
    "ascending",
  )) {
    if (nextOpenTime(timeframe, row.openTime) > range.until) continue;
    truth.set(row.openTime, textOf(row));
  }
  const stored = (
    await store.range(series, { from: range.from, to: range.until }, 10_000_000)
  ).filter(({ candle }) => nextOpenTime(timeframe, candle.openTime) <= range.until);
  const at = (openTime: number): string =>
    `${seriesLabel(series)} ${new Date(openTime).toISOString()}`;
  const lost = new Set(truth.keys());
  const extra: string[] = [];
  const wrong: string[] = [];
  for (const { candle } of stored) {
    const expected = truth.get(candle.openTime);
    if (expected === undefined || !lost.delete(candle.openTime)) extra.push(at(candle.openTime));
    else if (expected !== textOf(candle))
      wrong.push(`${at(candle.openTime)} ${textOf(candle)} ≠ ${expected}`);
  }
  return { candles: truth.size, lost: [...lost].map(at), extra, wrong };
}

function textOf(row: Candle): string {
  const { open, high, low, close, volume, quoteVolume, tradeCount } = row;
  const { takerBuyVolume, takerBuyQuoteVolume, closeTime } = row;
  return [
    open,
    high,
    low,
    close,
    volume,
    quoteVolume,
    tradeCount,
    takerBuyVolume,
    takerBuyQuoteVolume,
    closeTime,
  ].join(" ");
}

/** Candles that an exchange has at a time, ascending and without its trade ids: what a client can know of them. */
export function truthOf(market: Market, series: Series, range: TimeRange, now: number): Candle[] {
  const { symbol, timeframe: interval } = series;
  const rows = market.candles({ symbol, interval }, range, now, "ascending");
  return [...rows].map(({ firstTradeId: _first, lastTradeId: _last, ...candle }) => candle);
}

/** A series of Binance. */
export function binanceSeries(symbol: string, timeframe: Timeframe): Series {
  return { exchange: EXCHANGE, symbol, timeframe };
}
