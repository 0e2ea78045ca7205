import { columnsOf, isHeader, type Layout } from "../layout.ts";

/**
 * Yahoo Finance's download. Its crypto volumes are in the quote currency, gathered over many exchanges: what the base's
 * volume was it does not tell.
 */
export const yahoo: Layout = {
  name: "yahoo",
  title: "Yahoo Finance: `Date,Open,High,Low,Close,Adj Close,Volume`",
  recognise(sample) {
    if (!isHeader(sample, ["date", "open", "high", "low", "close", "adjclose", "volume"])) return;
    const [, symbol] = /^(?:yahoo[_ -])?([A-Z0-9^=-]{1,20})(?:[._ ]|$)/i.exec(sample.name) ?? [];
    const isPair = symbol !== undefined && /^[A-Z0-9]+-[A-Z]{3}$/i.test(symbol);
    return {
      layout: "yahoo",
      columns: columnsOf([
        ...(["openTime", "open", "high", "low", "close", undefined] as const),
        isPair ? "quoteVolume" : "volume",
      ]),
      units: ["text"],
      zoneMs: 0,
      exchange: "yahoo",
      ...(symbol === undefined ? {} : { symbol: symbol.toUpperCase() }),
      timeframe: "1d",
    };
  },
};
