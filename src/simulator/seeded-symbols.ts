import { hashText } from "./noise.ts";

/** A symbol of the seeded market: what it is called, what it costs, how busy it is. */
export interface SeededSymbol {
  readonly symbol: string;
  readonly baseAsset: string;
  readonly quoteAsset: string;
  /** Usual price in quote units, e.g. 60000. */
  readonly price: number;
  /** Digits of the price step after the point. `priceDecimals + lotDecimals` ≤ 8, so that quote sums are exact. */
  readonly priceDecimals: number;
  /** Digits of the quantity step after the point. */
  readonly lotDecimals: number;
  /** Mean trades a day, at least 200. Below about 1,440 there are minutes without a trade. */
  readonly tradesPerDay: number;
  /** Mean quote value of one trade. */
  readonly tradeValue: number;
  /** Relative size of an hour's move. Default 0.004. */
  readonly volatility?: number;
  /** Epoch ms of the first trade. Default: the market's. */
  readonly listedAt?: number;
  /** Epoch ms after which nothing is traded. Default: never. */
  readonly delistedAt?: number;
  /** Status in exchangeInfo. Default `TRADING`, and `BREAK` once delisted. */
  readonly status?: string;
}

/** `BTC/USDT 60000 …` as one line each, since a table reads better than a dozen objects. */
const TABLE: readonly (readonly [string, string, number, number, number, number, number])[] = [
  // base, quote, price, price digits, lot digits, trades a day, value of a trade
  ["BTC", "USDT", 60_000, 2, 5, 1_300_000, 900],
  ["ETH", "USDT", 3_000, 2, 4, 700_000, 600],
  ["BNB", "USDT", 600, 2, 3, 250_000, 400],
  ["SOL", "USDT", 150, 2, 3, 400_000, 350],
  ["XRP", "USDT", 0.6, 4, 1, 220_000, 300],
  ["DOGE", "USDT", 0.12, 5, 0, 180_000, 250],
  ["ADA", "USDT", 0.45, 4, 1, 90_000, 250],
  ["LTC", "USDT", 80, 2, 3, 40_000, 200],
  ["ETH", "BTC", 0.05, 5, 3, 60_000, 0.02],
  ["USDC", "USDT", 1, 4, 0, 150_000, 800],
  ["BTC", "EUR", 55_000, 2, 5, 60_000, 300],
  // Quiet enough for minutes without a trade.
  ["NXS", "BTC", 0.000_012, 8, 0, 400, 0.003],
  // Neither ASCII nor upper case (binance.md §3.6).
  ["币安人生", "USDT", 0.2, 4, 1, 3_000, 60],
  // A price of few ticks of 1e-8 and volumes of billions.
  ["1000DUST", "BTC", 0.000_000_42, 8, 0, 900, 0.02],
];

/** Fourteen pairs: well-known ones, two quiet ones, one that is not ASCII and one of dust. */
export const DEFAULT_SYMBOLS: readonly SeededSymbol[] = TABLE.map(
  ([baseAsset, quoteAsset, price, priceDecimals, lotDecimals, tradesPerDay, tradeValue]) => ({
    symbol: baseAsset + quoteAsset,
    baseAsset,
    quoteAsset,
    price,
    priceDecimals,
    lotDecimals,
    tradesPerDay,
    tradeValue,
  }),
);

/** The default symbols with these names; a name that is not among them becomes a middling `…USDT`-like pair. */
export function seededSymbols(names: readonly string[]): SeededSymbol[] {
  return names.map(
    (name) => DEFAULT_SYMBOLS.find(({ symbol }) => symbol === name) ?? middling(name),
  );
}

/**
 * `count` made-up pairs `SIM0000USDT`…, for load. List them recently: their history is computed when first asked for.
 * @param tradesPerDay of each; default: a few busy and most of them quiet, as on the real market
 */
export function manySymbols(count: number, tradesPerDay?: number): SeededSymbol[] {
  return Array.from({ length: count }, (_, index) => {
    const base = `SIM${String(index).padStart(4, "0")}`;
    return {
      ...middling(`${base}USDT`),
      tradesPerDay: tradesPerDay ?? 1_000 + Math.floor(600_000 / (index + 1)),
    };
  });
}

function middling(symbol: string): SeededSymbol {
  const quoteAsset =
    ["USDT", "USDC", "FDUSD", "BTC", "ETH", "BNB", "EUR", "TRY"].find(
      (asset) => symbol.endsWith(asset) && symbol !== asset,
    ) ?? "USDT";
  const baseAsset = symbol.endsWith(quoteAsset)
    ? symbol.slice(0, symbol.length - quoteAsset.length)
    : symbol;
  const dice = hashText(symbol) % 400;
  return {
    symbol,
    baseAsset,
    quoteAsset,
    price: 0.5 + dice / 10,
    priceDecimals: 4,
    lotDecimals: 2,
    tradesPerDay: 5_000 + dice * 50,
    tradeValue: 100,
  };
}
