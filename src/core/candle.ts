import type { Series } from "./series.ts";

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
