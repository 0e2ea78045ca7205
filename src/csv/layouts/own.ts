import { columnsOf, isHeader, type Layout } from "../layout.ts";
import { namedSeries } from "../names.ts";
import { OWN_LAYOUT_COLUMNS, parseOwnFileName } from "../own-layout.ts";

/** `{SYMBOL}_{TIMEFRAME}.csv` of the replaced system and of `export`: `timestamp` counts, `datetime` has no zone. */
export const own: Layout = {
  name: "black-trade",
  title: "this system's own 12 columns, `{SYMBOL}_{TIMEFRAME}.csv`",
  recognise: (sample) =>
    isHeader(
      sample,
      OWN_LAYOUT_COLUMNS.map((name) => name.replaceAll("_", "")),
    )
      ? {
          layout: "black-trade",
          columns: columnsOf([
            ...(["openTime", undefined, "open", "high", "low", "close", "volume"] as const),
            ...(["closeTime", "quoteVolume", "tradeCount"] as const),
            ...(["takerBuyVolume", "takerBuyQuoteVolume"] as const),
          ]),
          exchange: "binance",
          hasOddCandles: true,
          ...namedSeries(sample.name),
          ...parseOwnFileName(sample.name),
        }
      : undefined,
};
