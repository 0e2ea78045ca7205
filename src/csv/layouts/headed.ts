import { type Columns, type Field, type Layout, plainNames } from "../layout.ts";
import { namedSeries, symbolOf, timeframeOf } from "../names.ts";

/** Names that leave no doubt. A name that could be two things is in none of the lists. */
const NAMES: Readonly<Record<Field, readonly string[]>> = {
  openTime: ["opentime", "timestamp", "datetime", "date", "time", "unix", "timeopen", "ts", "ms"],
  closeTime: ["closetime", "timeclose"],
  open: ["open", "o"],
  high: ["high", "h"],
  low: ["low", "l"],
  close: ["close", "c"],
  volume: ["volume", "vol", "v", "basevolume", "volumebase"],
  quoteVolume: ["quotevolume", "quoteassetvolume", "quoteasset", "volumequote", "turnover"],
  tradeCount: ["trades", "tradecount", "numberoftrades", "numtrades", "count", "nooftrades"],
  takerBuyVolume: [
    "takerbuybase",
    "takerbuyvolume",
    "takerbuybaseassetvolume",
    "takerbuybasevolume",
  ],
  takerBuyQuoteVolume: ["takerbuyquote", "takerbuyquotevolume", "takerbuyquoteassetvolume"],
};

/** Any table whose header names the columns of a candle. Nobody has said in which zone its text times are. */
export const headed: Layout = {
  name: "header",
  title: "any header that names time, open, high, low, close and volume",
  recognise(sample) {
    if (sample.header === undefined) return undefined;
    const names = plainNames(sample.header);
    const columns = columnsByName(names);
    if (columns === undefined) return undefined;
    const symbolAt = names.findIndex((name) => ["symbol", "pair", "ticker"].includes(name));
    const symbol = symbolAt < 0 ? undefined : symbolOf(sample.rows[0]?.[symbolAt] ?? "");
    const timeframeAt = names.findIndex((name) => ["timeframe", "interval"].includes(name));
    const timeframe =
      timeframeAt < 0 ? undefined : timeframeOf(sample.rows[0]?.[timeframeAt] ?? "");
    return {
      layout: "header",
      columns,
      ...namedSeries(sample.name),
      ...(symbol === undefined ? {} : { symbol, symbolColumn: symbolAt }),
      ...(timeframe === undefined ? {} : { timeframe, timeframeColumn: timeframeAt }),
    };
  },
};

/** @returns `undefined` when a price or the time is missing, or named twice */
function columnsByName(names: readonly string[]): Columns | undefined {
  const columns: Partial<Record<Field, number>> = {};
  for (const field of Object.keys(NAMES) as Field[]) {
    const wanted = NAMES[field];
    // In the order of preference: `open_time` beside `timestamp` is the open time.
    const name = wanted.find((one) => names.includes(one));
    if (name === undefined) continue;
    if (names.indexOf(name) !== names.lastIndexOf(name)) return undefined;
    columns[field] = names.indexOf(name);
  }
  const needed = ["openTime", "open", "high", "low", "close"] as const;
  return needed.every((field) => columns[field] !== undefined) ? columns : undefined;
}
