import { isZeroDecimal } from "../core/decimal.ts";
import type { TimeRange } from "../core/range.ts";
import type { Kline, KlineSeries } from "../wire/kline-text.ts";
import type { KlinesRequest } from "../wire/klines-query.ts";

/** What exchangeInfo tells of a symbol, and when it was first traded. */
export interface MarketSymbol {
  /** The exchange's id, upper case where it has case. */
  readonly symbol: string;
  readonly baseAsset: string;
  readonly quoteAsset: string;
  /** `TRADING`, `BREAK`, …; any text, as the exchange may add statuses. */
  readonly status: string;
  /** Epoch ms of the first trade; candles that end before it do not exist. */
  readonly listedAt: number;
  /** Smallest price step, decimal text. */
  readonly tickSize: string;
  /** Smallest quantity step, decimal text. */
  readonly stepSize: string;
}

/** One candle as the exchange has it at some instant. */
export type MarketCandle = Required<Kline>;

/** One line of candles of a market. */
export type MarketSeries = KlineSeries;

/** The span `[openTime, endTime)` that one candle covers. */
export interface Slot {
  readonly openTime: number;
  readonly endTime: number;
}

/** A span `[from, to)`, epoch ms, in which nothing is traded and no candle comes into being. `to` may be Infinity. */
export interface Outage {
  readonly from: number;
  readonly to: number;
  /** Absent: all symbols. */
  readonly symbols?: readonly string[];
}

/** Closed candles that get a second version some time after their close. */
export interface Corrections {
  /** Share of the candles with trades, 0…1. */
  readonly share: number;
  /** From close to the second version. Below the delay of the final frame the stream still sends the first one. */
  readonly delayMs: number;
  /** Only candles that close at or after this instant. Absent: all. */
  readonly since?: number;
}

/** Which way {@link Market.candles} walks through a range. */
export type Order = KlinesRequest["order"];

/**
 * The exchange's own memory: candles as a pure function of series, open time and the exchange time at which one asks.
 * Between two calls of a `set…` method the same question has the same answer. A forming candle only grows; a closed one
 * changes once at most, when a correction is due.
 */
export interface Market {
  /** The symbols that have ever been listed by `at`, with their status then; Infinity: those still to come as well. */
  symbols(at: number): readonly MarketSymbol[];
  /** True when candles of this series can exist. */
  has(series: MarketSeries): boolean;
  /** The slot that holds an instant, or `undefined` when there is none. */
  slotAt(series: MarketSeries, time: number): Slot | undefined;
  /**
   * One candle as it stands at exchange time `at`: forming while `at` is before its end.
   * @returns `undefined` when it never existed (outage, before listing) or does not exist yet
   */
  candle(series: MarketSeries, openTime: number, at: number): MarketCandle | undefined;
  /**
   * Candles whose open time lies in `range` and is ≤ `at`, as they stand at `at`; lazy, so the caller may stop or pause.
   */
  candles(series: MarketSeries, range: TimeRange, at: number, order: Order): Iterable<MarketCandle>;
  /**
   * A number that changes whenever any candle of the symbol has changed through a trade. Absent: unknown, compare candles.
   */
  activity?(symbol: string, at: number): number;
  /** Replaces the outages that were declared while the market runs; those it was made with stay. */
  setOutages(outages: readonly Outage[]): void;
  /** Replaces the corrections; `undefined` turns them off. */
  setCorrections(corrections: Corrections | undefined): void;
}

/** True when nothing was traded: the candle stands flat at the previous close. */
export function isQuiet(candle: MarketCandle): boolean {
  return candle.tradeCount === 0 && isZeroDecimal(candle.volume);
}

/** Text that identifies a series inside a market. */
export function marketSeriesKey(series: MarketSeries): string {
  return `${series.symbol} ${series.interval} ${series.offsetMs ?? 0}`;
}
