import { columnsOf, type Layout, plainNames } from "../layout.ts";
import { namedSeries } from "../names.ts";

const START = ["opentime", "open", "high", "low", "close", "volume", "closetime"];
const REST: Readonly<
  Record<string, "quoteVolume" | "tradeCount" | "takerBuyVolume" | "takerBuyQuoteVolume">
> = {
  quoteassetvolume: "quoteVolume",
  numberoftrades: "tradeCount",
  takerbuybaseassetvolume: "takerBuyVolume",
  takerbuybasevolume: "takerBuyVolume",
  takerbuyquoteassetvolume: "takerBuyQuoteVolume",
  takerbuyquotevolume: "takerBuyQuoteVolume",
};

/** Kaggle's data sets of Binance: its columns with names in words, times often as text, in UTC. */
export const kaggle: Layout = {
  name: "kaggle",
  title: "Kaggle's Binance data sets: `Open time,Open,…,Number of trades,…`",
  recognise(sample) {
    const names = plainNames(sample.header);
    if (!START.every((name, index) => names[index] === name)) return undefined;
    if (!names.includes("quoteassetvolume") && !names.includes("numberoftrades")) return undefined;
    return {
      layout: "kaggle",
      columns: columnsOf([
        ...(["openTime", "open", "high", "low", "close", "volume", "closeTime"] as const),
        ...names.slice(START.length).map((name) => REST[name]),
      ]),
      zoneMs: 0,
      exchange: "binance",
      ...namedSeries(sample.name),
    };
  },
};
