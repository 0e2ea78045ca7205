import type { Series } from "./series.ts";
import { closeTimeOf, isAligned, type Timeframe } from "./timeframe.ts";

/** One candle as the exchange served it. Prices and volumes are the exchange's decimal text, digit for digit. */
export interface Candle {
  /** Epoch ms UTC; identifies the candle within its series. As sent, also when it lies off the grid. */
  readonly openTime: number;
  /** Last millisecond, as sent: next open − 1 unless a halt cut the candle short. */
  readonly closeTime: number;
  readonly open: string;
  readonly high: string;
  readonly low: string;
  readonly close: string;
  /** Base asset volume. */
  readonly volume: string;
  readonly quoteVolume: string;
  readonly tradeCount: number;
  readonly takerBuyVolume: string;
  readonly takerBuyQuoteVolume: string;
}

/** A candle that belongs to a series. */
export interface SeriesCandle {
  readonly series: Series;
  readonly candle: Candle;
}

/** The decimal columns of a candle, in the order of the REST answer. */
export const DECIMAL_FIELDS = [
  "open",
  "high",
  "low",
  "close",
  "volume",
  "quoteVolume",
  "takerBuyVolume",
  "takerBuyQuoteVolume",
] as const satisfies readonly (keyof Candle)[];

/** What is unusual about a real candle. Such candles are stored as served; the flag is derived, never a filter. */
export type CandleFlag = "off-grid" | "cut-short";

/**
 * Flags of a candle: `off-grid` = it does not open on the timeframe's grid (Binance 2017-12, 2018-02),
 * `cut-short` = its close time is not that of its grid cell (an outage, or the odd rows of 2020-12-21).
 */
export function candleFlags(timeframe: Timeframe, candle: Candle): CandleFlag[] {
  const flags: CandleFlag[] = [];
  if (!isAligned(timeframe, candle.openTime)) flags.push("off-grid");
  else if (candle.closeTime !== closeTimeOf(timeframe, candle.openTime)) flags.push("cut-short");
  return flags;
}
