import { columnsOf, type Layout } from "../layout.ts";
import { namedSeries } from "../names.ts";

/** Saved answers of Binance's `/api/v3/klines`: JSON arrays of twelve. */
export const binanceRest: Layout = {
  name: "binance-rest",
  title: "saved answers of Binance's `/api/v3/klines` (JSON)",
  recognise: (sample) =>
    sample.kind === "json" &&
    sample.rows.length > 0 &&
    sample.rows.every((cells) => cells.length === 12)
      ? {
          layout: "binance-rest",
          columns: columnsOf([
            ...(["openTime", "open", "high", "low", "close", "volume", "closeTime"] as const),
            ...(["quoteVolume", "tradeCount", "takerBuyVolume", "takerBuyQuoteVolume"] as const),
          ]),
          units: ["ms", "us"],
          exchange: "binance",
          hasOddCandles: true,
          ...namedSeries(sample.name),
        }
      : undefined,
};
