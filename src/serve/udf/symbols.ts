import type { Timeframe } from "../../core/timeframe.ts";
import { digitsOf, type Listing } from "../binance-compatible/listings.ts";
import { resolutionFacts } from "./resolutions.ts";

/** TradingView's name of the exchange, the part of a ticker before the colon. */
export const EXCHANGE_NAME = "BINANCE";
const TYPE = "crypto";
const MAX_FOUND = 1_000;

/** A symbol's name without the exchange's: `BINANCE:BTCUSDT` and `BTCUSDT` are the same. */
export function symbolOfTicker(ticker: string): string {
  const prefix = `${EXCHANGE_NAME}:`;
  return ticker.toUpperCase().startsWith(prefix) ? ticker.slice(prefix.length) : ticker;
}

/** The answer to `/symbols`. */
export function symbolFacts(
  listing: Listing,
  timeframes: readonly Timeframe[],
  isIngesting: boolean,
): Readonly<Record<string, unknown>> {
  const { symbol, quoteAsset } = listing;
  return {
    name: symbol,
    ticker: tickerOf(symbol),
    description: descriptionOf(listing),
    type: TYPE,
    session: "24x7",
    timezone: "Etc/UTC",
    exchange: EXCHANGE_NAME,
    listed_exchange: EXCHANGE_NAME,
    format: "price",
    minmov: 1,
    minmove2: 0,
    pricescale: 10 ** digitsOf(listing.tickSize),
    volume_precision: digitsOf(listing.stepSize),
    currency_code: quoteAsset,
    has_empty_bars: false,
    visible_plots_set: "ohlcv",
    data_status: isIngesting ? "streaming" : "delayed_streaming",
    ...resolutionFacts(timeframes),
  };
}

/** What is looked for. */
export interface Search {
  readonly query: string;
  readonly type: string;
  readonly exchange: string;
  /** Most answers wanted. */
  readonly limit: number;
}

/** The answer to `/search`: names that begin with the query before those that only hold it. */
export function foundSymbols(
  listings: readonly Listing[],
  { query, type, exchange, limit }: Search,
): readonly Readonly<Record<string, string>>[] {
  if (type !== "" && type !== TYPE) return [];
  if (exchange !== "" && exchange.toUpperCase() !== EXCHANGE_NAME) return [];
  const wanted = symbolOfTicker(query).toUpperCase().replace(/[/\s]/g, "");
  const place = ({ symbol }: Listing): number => symbol.toUpperCase().indexOf(wanted);
  return listings
    .filter((listing) => place(listing) >= 0)
    .sort((a, b) => Math.min(1, place(a)) - Math.min(1, place(b)))
    .slice(0, Math.min(Math.max(0, limit), MAX_FOUND))
    .map((listing) => ({
      symbol: listing.symbol,
      full_name: tickerOf(listing.symbol),
      ticker: tickerOf(listing.symbol),
      description: descriptionOf(listing),
      exchange: EXCHANGE_NAME,
      type: TYPE,
    }));
}

function tickerOf(symbol: string): string {
  return `${EXCHANGE_NAME}:${symbol}`;
}

function descriptionOf({ symbol, baseAsset, quoteAsset }: Listing): string {
  return quoteAsset === "" ? symbol : `${baseAsset} / ${quoteAsset}`;
}
