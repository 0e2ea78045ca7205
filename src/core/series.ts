import type { Timeframe } from "./timeframe.ts";

/** One line of candles: an exchange's symbol at one timeframe. */
export interface Series {
  readonly exchange: string;
  /** The exchange's id, upper case where it has case, otherwise opaque text (non-ASCII symbols exist). */
  readonly symbol: string;
  readonly timeframe: Timeframe;
}

/** Keys that were made: a live candle is looked up by its series half a dozen times. */
const keys = new WeakMap<Series, string>();

/** Text that identifies a series: `binance:BTCUSDT:1m`. Equal series have equal keys, different ones different keys. */
export function seriesKey(series: Series): string {
  let key = keys.get(series);
  if (key === undefined) {
    key = `${series.exchange}:${series.symbol}:${series.timeframe}`;
    keys.set(series, key);
  }
  return key;
}

/** How a series is shown to people: `BTCUSDT 1m`. */
export function seriesLabel(series: Series): string {
  return `${series.symbol} ${series.timeframe}`;
}
