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
    key = textOf(series);
    keys.set(series, key);
  }
  return key;
}

function textOf({ exchange, symbol, timeframe }: Series): string {
  return `${exchange}:${symbol}:${timeframe}`;
}

/** Every series that {@link sharedSeries} was given. */
const shared = new Map<string, Series>();

/**
 * The one object of a series, for rows that name the same series again and again. Objects that live for an instant, each
 * with a key of its own, cost more than what is done with them.
 * @param row of a database: what a stranger names is not to be kept for ever
 */
export function sharedSeries(row: Series): Series {
  const key = textOf(row);
  const known = shared.get(key);
  if (known !== undefined) return known;
  const { exchange, symbol, timeframe } = row;
  const series: Series = Object.freeze({ exchange, symbol, timeframe });
  shared.set(key, series);
  keys.set(series, key);
  return series;
}

/** How a series is shown to people: `BTCUSDT 1m`. */
export function seriesLabel(series: Series): string {
  return `${series.symbol} ${series.timeframe}`;
}
