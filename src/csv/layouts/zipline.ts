import { columnsOf, isHeader, type Layout } from "../layout.ts";

/** zipline's csvdir: `daily/AAPL.csv`, `minute/AAPL.csv`, with dividends and splits. */
export const zipline: Layout = {
  name: "zipline",
  title: "zipline csvdir: `date,open,high,low,close,volume,dividend,split`",
  recognise(sample) {
    const names = ["open", "high", "low", "close", "volume", "dividend", "split"];
    if (!isHeader(sample, ["date", ...names]) && !isHeader(sample, ["", ...names])) return;
    const [, symbol] =
      /^(?:zipline_csvdir_)?([A-Z0-9.]{1,20}?)(?:\.[^A-Z]|$)/.exec(sample.name) ?? [];
    return {
      layout: "zipline",
      columns: columnsOf(["openTime", "open", "high", "low", "close", "volume"]),
      zoneMs: 0,
      exchange: "zipline",
      ...(symbol === undefined ? {} : { symbol }),
      ...(sample.folders[0] === "minute" ? { timeframe: "1m" } : { timeframe: "1d" }),
    };
  },
};
