import type { Candle } from "./candle.ts";
import { compareDecimals, isZeroDecimal, sumDecimals } from "./decimal.ts";
import {
  closeTimeOf,
  isAligned,
  nominalMs,
  openTimeAt,
  TIMEFRAMES,
  type Timeframe,
} from "./timeframe.ts";

/** Building a coarser candle from finer ones, exactly as the exchange does it. */

/**
 * True when every candle of `coarser` is made of whole candles of `finer`: 1d into 3d, 1w and 1M, but neither 1w nor 3d
 * into 1M, nor 3d into 1w, nor 8h into 12h.
 */
export function divides(finer: Timeframe, coarser: Timeframe): boolean {
  if (finer === coarser || finer === "1M") return false;
  // Months have no common length, yet all begin and end with a day.
  if (coarser === "1M") return nominalMs("1d") % nominalMs(finer) === 0;
  const someOpenTime = openTimeAt(coarser, 0);
  return nominalMs(coarser) % nominalMs(finer) === 0 && isAligned(finer, someOpenTime);
}

/** Timeframes of which a candle of `coarser` is made, longest first. */
export function finerTimeframes(coarser: Timeframe): Timeframe[] {
  return TIMEFRAMES.filter((each) => divides(each, coarser)).reverse();
}

/**
 * True when something was traded. Binance's rows of 2017 … 2019 often say 0 trades and yet have volume: only both zero
 * means that nothing was.
 */
export function hasTrades(candle: Candle): boolean {
  return candle.tradeCount > 0 || !isZeroDecimal(candle.volume);
}

/**
 * The candle of `timeframe` that finer ones make up. Seen on real data: a candle opens with its first trade, so a finer
 * one without trades, which stands flat at the close before it, counts for neither open, high, low nor close. Where
 * none has trades the candle is flat at the last close.
 * @param openTime open time of the cell, on the grid
 * @param finer the candles within the cell, ascending; whether they cover it is the caller's to know
 * @returns `undefined` when there are none
 */
export function aggregate(
  timeframe: Timeframe,
  openTime: number,
  finer: readonly Candle[],
): Candle | undefined {
  const newest = finer.at(-1);
  if (newest === undefined) return undefined;
  const traded = finer.filter(hasTrades);
  const first = traded[0];
  const last = traded.at(-1);
  const flat = newest.close;
  return {
    openTime,
    closeTime: closeTimeOf(timeframe, openTime),
    open: first?.open ?? flat,
    high: traded.map(({ high }) => high).reduce(greater, first?.high ?? flat),
    low: traded.map(({ low }) => low).reduce(lesser, first?.low ?? flat),
    close: last?.close ?? flat,
    volume: sumDecimals(finer.map(({ volume }) => volume)),
    quoteVolume: sumDecimals(finer.map(({ quoteVolume }) => quoteVolume)),
    tradeCount: finer.reduce((sum, { tradeCount }) => sum + tradeCount, 0),
    takerBuyVolume: sumDecimals(finer.map(({ takerBuyVolume }) => takerBuyVolume)),
    takerBuyQuoteVolume: sumDecimals(finer.map(({ takerBuyQuoteVolume }) => takerBuyQuoteVolume)),
  };
}

function greater(a: string, b: string): string {
  return compareDecimals(a, b) >= 0 ? a : b;
}

function lesser(a: string, b: string): string {
  return compareDecimals(a, b) <= 0 ? a : b;
}
