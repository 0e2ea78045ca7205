import { columnsOf, isHeader, type Layout } from "../layout.ts";

/** CoinMarketCap's history: `;`, a byte order mark, newest first. Volumes are in the quote currency, of all exchanges. */
export const coinMarketCap: Layout = {
  name: "coinmarketcap",
  title: "CoinMarketCap: `timeOpen;timeClose;…;marketCap;…`",
  recognise(sample) {
    const isIt = isHeader(sample, [
      ...["timeopen", "timeclose", "timehigh", "timelow", "name", "open", "high", "low", "close"],
      ...["volume", "marketcap", "circulatingsupply", "timestamp"],
    ]);
    const isOlder = isHeader(sample, [
      ...["timeopen", "timeclose", "timehigh", "timelow", "name", "open", "high", "low", "close"],
      ...["volume", "marketcap", "timestamp"],
    ]);
    if (!isIt && !isOlder) return undefined;
    return {
      layout: "coinmarketcap",
      columns: columnsOf([
        ...(["openTime", "closeTime", undefined, undefined, undefined] as const),
        ...(["open", "high", "low", "close", "quoteVolume"] as const),
      ]),
      units: ["text"],
      exchange: "coinmarketcap",
    };
  },
};
