import type { Timeframe } from "./timeframe.ts";

/** One line of candles: an exchange's symbol at one timeframe. */
export interface Series {
  readonly exchange: string;
  /** The exchange's id, upper case where it has case, otherwise opaque text (non-ASCII symbols exist). */
  readonly symbol: string;
  readonly timeframe: Timeframe;
}

/** Text that identifies a series: `binance:BTCUSDT:1m`. Equal series have equal keys, different ones different keys. */
export function seriesKey(series: Series): string {
  return `${series.exchange}:${series.symbol}:${series.timeframe}`;
}

/** How a series is shown to people: `BTCUSDT 1m`. */
export function seriesLabel(series: Series): string {
  return `${series.symbol} ${series.timeframe}`;
}
