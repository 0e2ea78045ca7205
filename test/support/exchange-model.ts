import type { WeightBudget } from "../../src/core/budget.ts";
import type { Candle } from "../../src/core/candle.ts";
import { BlackTradeError, type ErrorCode, SourceHoldError } from "../../src/core/errors.ts";
import type { ExchangeTime } from "../../src/core/exchange-time.ts";
import type {
  Clock,
  HistoryPage,
  HistorySource,
  LiveEvent,
  LiveSource,
  Market,
  MarketSource,
} from "../../src/core/ports.ts";
import type { TimeRange } from "../../src/core/range.ts";
import { type Series, seriesKey } from "../../src/core/series.ts";
import {
  ceilOpenTime,
  nextOpenTime,
  openTimeAt,
  type Timeframe,
} from "../../src/core/timeframe.ts";

/** A stretch of exchange time during which something is wrong. */
export interface ModelFault extends TimeRange {
  readonly kind: /** No connection: `disconnected` at its start, `connected` at its end. */
    | "drop"
    /** Connected, and nothing comes. */
    | "silence"
    /** Closing frames do not come, forming ones do. */
    | "no-close"
    /** REST answers with this error. */
    | "rest-error"
    /** REST answers 418 until the end; each request in it is counted. */
    | "ban"
    /** REST answers as the market was 20 s ago. */
    | "rest-lag"
    /** Candles that open in it never exist. */
    | "outage"
    /** Candles that open in it are corrected by REST half an hour after their close. */
    | "correction";
  readonly code?: ErrorCode;
  /** Of a `rest-error`: only what is asked about this symbol fails. */
  readonly symbol?: string;
}

/** A whole exchange as a pure function of (series, open time), with faults by schedule; I/O only through the clock. */
export class ExchangeModel implements LiveSource, HistorySource, MarketSource {
  readonly faults: ModelFault[] = [];
  requestsDuringBan = 0;
  requestCount = 0;
  resubscribed: Series[] = [];
  /** Every closed version that was served, so that a store can be checked against it. */
  readonly served = new Map<string, Candle>();
  /** End of a ban that an answer has told of; a request sent before it is a sin. */
  #toldUntil = 0;
  readonly #clock: Clock;
  readonly #exchangeTime: ExchangeTime;
  readonly #budget: WeightBudget;
  readonly #onHold: (untilTime: number) => Promise<void>;
  readonly #listedAt: number;

  constructor(
    clock: Clock,
    exchangeTime: ExchangeTime,
    budget: WeightBudget,
    onHold: (untilTime: number) => Promise<void>,
    listedAt = 0,
  ) {
    this.#onHold = onHold;
    this.#clock = clock;
    this.#exchangeTime = exchangeTime;
    this.#budget = budget;
    this.#listedAt = listedAt;
  }

  /** The final candle, or `undefined` where the exchange never had one. */
  candle(series: Series, openTime: number): Candle | undefined {
    if (openTime < this.#listedAt || this.#has("outage", openTime)) return undefined;
    const seed = hash(`${seriesKey(series)}@${openTime}`);
    const open = 100 + (seed % 900);
    const high = open + 1 + ((seed >>> 8) % 50);
    const low = open - 1 - ((seed >>> 16) % 50);
    return {
      openTime,
      closeTime: nextOpenTime(series.timeframe, openTime) - 1,
      open: `${open}.00000000`,
      high: `${high}.50000000`,
      low: `${low}.25000000`,
      close: `${open}.1${seed % 10}000000`,
      volume: `${seed % 1000}.12345678`,
      quoteVolume: `${seed % 100000}.5`,
      tradeCount: 1 + (seed % 500),
      takerBuyVolume: "1.5",
      takerBuyQuoteVolume: "2.25",
    };
  }

  /** The candle as REST has it at an instant: a correction changes its volume. */
  candleAt(series: Series, openTime: number, at: number): Candle | undefined {
    const candle = this.candle(series, openTime);
    const isCorrected =
      candle !== undefined &&
      this.#has("correction", openTime) &&
      at > candle.closeTime + CORRECTED_AFTER_MS;
    return isCorrected ? { ...candle, volume: "4242.00000001" } : candle;
  }

  /** All candles of a range that have closed by now. */
  truth(series: Series, range: TimeRange): Candle[] {
    const rows: Candle[] = [];
    for (
      let open = ceilOpenTime(series.timeframe, range.from);
      nextOpenTime(series.timeframe, open) <= Math.min(range.to, this.#clock.now());
      open = nextOpenTime(series.timeframe, open)
    ) {
      const candle = this.candle(series, open);
      if (candle !== undefined) rows.push(candle);
    }
    return rows;
  }

  async *stream(
    series: readonly Series[],
    signal: AbortSignal,
  ): AsyncIterable<readonly LiveEvent[]> {
    let isUp = false;
    let last = this.#clock.now();
    for (;;) {
      const now = this.#clock.now();
      if (this.#has("drop", now) === isUp) {
        isUp = !isUp;
        const connection = "model";
        yield [
          isUp
            ? { kind: "connected", connection, series }
            : { kind: "disconnected", connection, series, reason: "socket closed 1006" },
        ];
      } else if (isUp && !this.#has("silence", now)) {
        const events = series.flatMap((one) => this.#eventsOf(one, last, now));
        if (events.length > 0) yield events;
      }
      last = now;
      try {
        await this.#clock.sleep(500, signal);
      } catch {
        return;
      }
    }
  }

  resubscribe(series: readonly Series[]): void {
    this.resubscribed.push(...series);
  }

  async *candles(
    series: Series,
    range: TimeRange,
    signal: AbortSignal,
  ): AsyncIterable<HistoryPage> {
    let from = range.from;
    for (;;) {
      const askedTime = await this.#request(signal, series.symbol);
      const seenTime = this.#has("rest-lag", askedTime) ? askedTime - 20_000 : askedTime;
      const rows: Candle[] = [];
      let open = Math.max(
        ceilOpenTime(series.timeframe, from),
        ceilOpenTime(series.timeframe, this.#listedAt),
      );
      while (open < range.to && open <= seenTime && rows.length < 1_000) {
        const row = this.candleAt(series, open, seenTime);
        if (row !== undefined)
          rows.push(seenTime > row.closeTime ? this.#serve(series, row) : half(row));
        open = nextOpenTime(series.timeframe, open);
      }
      const isLast = rows.length < 1_000;
      const to = isLast ? Math.max(from, Math.min(range.to, askedTime)) : open;
      yield { range: { from, to }, rows, source: "rest", askedTime };
      if (isLast) return;
      from = open;
    }
  }

  async firstOpenTime(series: Series, signal: AbortSignal): Promise<number | undefined> {
    await this.#request(signal, series.symbol);
    return ceilOpenTime(series.timeframe, this.#listedAt);
  }

  async markets(signal: AbortSignal): Promise<readonly Market[]> {
    await this.#request(signal);
    return ["BTCUSDT", "ETHUSDT"].map((symbol) => ({
      symbol,
      baseAsset: symbol.slice(0, 3),
      quoteAsset: "USDT",
      isTrading: true,
      status: "TRADING",
    }));
  }

  async syncTime(signal: AbortSignal): Promise<void> {
    await this.#request(signal);
    const monotonic = this.#clock.monotonic();
    this.#exchangeTime.observeRoundTrip(monotonic, monotonic, this.#clock.now());
  }

  async #request(signal: AbortSignal, symbol?: string): Promise<number> {
    for (;;) {
      const waitMs = this.#budget.take(2, "live", this.#clock.now());
      if (waitMs === 0) break;
      await this.#clock.sleep(waitMs, signal);
    }
    const askedTime = this.#clock.now();
    if (askedTime < this.#toldUntil) this.requestsDuringBan += 1;
    this.#budget.settle(2, askedTime);
    this.requestCount += 1;
    await this.#clock.sleep(20, signal);
    const ban = this.#find("ban", askedTime);
    if (ban !== undefined) {
      this.#toldUntil = ban.to;
      this.#budget.hold(ban.to);
      await this.#onHold(ban.to);
      throw new SourceHoldError("E_SOURCE_BANNED", "the exchange has banned this address", ban.to, {
        remedy: "wait",
      });
    }
    const error = this.#find("rest-error", askedTime, symbol);
    if (error !== undefined) {
      throw new BlackTradeError(error.code ?? "E_SOURCE_SERVER", "the exchange answered 503", {
        remedy: "wait",
      });
    }
    return askedTime;
  }

  #eventsOf(series: Series, after: number, now: number): LiveEvent[] {
    const events: LiveEvent[] = [];
    const first = openTimeAt(series.timeframe, after);
    for (
      let open = first;
      open <= openTimeAt(series.timeframe, now);
      open = nextOpenTime(series.timeframe, open)
    ) {
      const candle = this.candle(series, open);
      if (candle === undefined) continue;
      const closeAt = candle.closeTime + 1;
      if (closeAt > now) {
        events.push({
          kind: "candle",
          series,
          candle: half(candle),
          isClosed: false,
          eventTime: now,
        });
      } else if (closeAt > after && !this.#has("no-close", now)) {
        this.#serve(series, candle);
        events.push({ kind: "candle", series, candle, isClosed: true, eventTime: now });
      }
    }
    return events;
  }

  #serve(series: Series, candle: Candle): Candle {
    this.served.set(`${seriesKey(series)}@${candle.openTime}`, candle);
    return candle;
  }

  #find(kind: ModelFault["kind"], time: number, symbol?: string): ModelFault | undefined {
    return this.faults.find(
      (fault) =>
        fault.kind === kind &&
        time >= fault.from &&
        time < fault.to &&
        (fault.symbol === undefined || fault.symbol === symbol),
    );
  }

  #has(kind: ModelFault["kind"], time: number): boolean {
    return this.#find(kind, time) !== undefined;
  }
}

const CORRECTED_AFTER_MS = 30 * 60_000;

/** A candle as it looked half-way: what must never be stored. */
function half(candle: Candle): Candle {
  return { ...candle, close: candle.open, volume: "0.00000001", tradeCount: 0 };
}

/** FNV-1a, 32 bits. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let index = 0; index < text.length; index += 1) {
    value = Math.imul(value ^ text.charCodeAt(index), 0x01000193) >>> 0;
  }
  return value;
}

/** Series of the model. */
export function modelSeries(symbol: string, timeframe: Timeframe): Series {
  return { exchange: "model", symbol, timeframe };
}
