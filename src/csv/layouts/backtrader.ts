import type { Layout, LayoutMatch, Sample } from "../layout.ts";
import { symbolOf, timeframeOf } from "../names.ts";
import { plainDecimal } from "../numbers.ts";

/**
 * backtrader's GenericCSV without a header, as its feeds write it: `datetime, open, high, low, close, volume`, then what
 * the source had. Times are without a zone; backtrader counts in UTC unless it is told otherwise.
 */
export const backtrader: Layout = {
  name: "backtrader",
  title: "backtrader GenericCSV: `datetime,open,high,low,close,volume[,openinterest]`, no header",
  recognise(sample) {
    const { header, rows, kind } = sample;
    const isBare =
      kind === "text" &&
      header === undefined &&
      rows.length > 0 &&
      rows.every(
        ([time = "", ...rest]) =>
          /^\d{4}-\d{2}-\d{2}/.test(time) &&
          rest.length >= 5 &&
          rest.slice(0, 5).every((cell) => plainDecimal(cell, false) !== undefined),
      );
    if (!isBare) return undefined;
    const hasMore = rows.every((cells) => cells.length === 10 && cells[9]?.includes("/") === true);
    return {
      layout: "backtrader",
      columns: {
        ...{ openTime: 0, open: 1, high: 2, low: 3, close: 4, volume: 5 },
        ...(hasMore ? { tradeCount: 6, quoteVolume: 7 } : {}),
      },
      zoneMs: 0,
      ...(hasMore ? { symbolColumn: 9 } : {}),
      ...named(sample),
    };
  },
};

function named({ name, rows }: Sample): Partial<LayoutMatch> {
  const [, exchange, pair, word = ""] = /^([A-Za-z]+)_([A-Za-z0-9]+)_(\w+?)\./.exec(name) ?? [];
  const cell = rows[0]?.find((one) => /^[A-Z0-9]+\/[A-Z0-9]+$/.test(one));
  const symbol = symbolOf(cell ?? "") ?? pair?.toUpperCase();
  const timeframe = timeframeOf(word);
  return {
    ...(exchange === undefined ? {} : { exchange: exchange.toLowerCase() }),
    ...(symbol === undefined ? {} : { symbol }),
    ...(timeframe === undefined ? {} : { timeframe }),
  };
}
