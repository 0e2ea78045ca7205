import { columnsOf } from "../../src/csv/layout.ts";
import type { RowPlan } from "../../src/csv/plan.ts";

/** A file with every column of a candle, and one between that is of no interest. */
export const ROW_PLAN: RowPlan = {
  layout: "test",
  series: { exchange: "binance", symbol: "BTCUSDT", timeframe: "1h" },
  columns: columnsOf([
    ...(["openTime", undefined, "open", "high", "low", "close", "volume"] as const),
    ...([
      "closeTime",
      "quoteVolume",
      "tradeCount",
      "takerBuyVolume",
      "takerBuyQuoteVolume",
    ] as const),
  ]),
  delimiter: ",",
  usualWidth: 12,
  units: ["ms"],
  zoneMs: 0,
  hasOddCandles: false,
  hasDecimalComma: false,
  notes: [],
};
