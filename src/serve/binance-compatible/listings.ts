import { scaleOf, shortestDecimal } from "../../core/decimal.ts";
import type { ListedMarket } from "../../core/ports.ts";
import { chooseSymbols, type InfoRequest, symbolText } from "../../wire/exchange-info.ts";
import { type Collected, EXCHANGE, notCollected } from "./collected.ts";

/** A symbol as exchangeInfo shows it. */
export interface Listing {
  readonly symbol: string;
  readonly status: string;
  readonly baseAsset: string;
  readonly quoteAsset: string;
  /** Smallest steps of price and quantity, decimal text. */
  readonly tickSize: string;
  readonly stepSize: string;
  /** The exchange's own entry; absent when it was never asked. */
  readonly entry?: Readonly<Record<string, unknown>>;
}

/** Assets that others are priced in, for symbols of which the exchange was never asked. */
const QUOTE_ASSETS = [
  ...["USDT", "USDC", "FDUSD", "TUSD", "BUSD", "USDP", "USD1", "DAI", "USDS", "PAX"],
  ...["BTC", "ETH", "BNB", "XRP", "TRX", "DOGE", "SOL", "DOT"],
  ...["EUR", "TRY", "BRL", "JPY", "GBP", "AUD", "RUB", "UAH", "NGN", "BIDR", "IDRT", "BVND"],
  ...["ARS", "PLN", "RON", "ZAR", "MXN", "COP", "CZK", "BKRW", "VAI", "AEUR", "EURI"],
];
/** Spot has at most eight decimals. */
const FINEST = "0.00000001";

/**
 * Collected symbols as the exchange lists them, each once, by name. What was never listed (imported files only) is
 * derived from its name, with the finest steps.
 */
export function listingsOf(collected: Collected, known: readonly ListedMarket[]): Listing[] {
  const entries = new Map(
    known.filter(({ exchange }) => exchange === EXCHANGE).map((one) => [one.symbol, one.listing]),
  );
  return [...collected.symbols].sort().map((symbol) => {
    const text = entries.get(symbol);
    return text === undefined ? derived(symbol) : listed(symbol, JSON.parse(text));
  });
}

/**
 * The symbols of an exchangeInfo request, each as JSON text.
 * @throws {ApiError} −1121 for a symbol that is not collected
 */
export function symbolTexts(request: InfoRequest, listings: readonly Listing[]): string[] {
  for (const name of request.names ?? []) {
    if (!listings.some(({ symbol }) => symbol === name)) throw notCollected(name);
  }
  return chooseSymbols(request, listings, permits).map((one) => textOf(one, request));
}

/** Digits after the point that a step of prices or quantities leaves. */
export function digitsOf(step: string): number {
  return scaleOf(shortestDecimal(step));
}

function textOf(listing: Listing, { showsPermissionSets }: InfoRequest): string {
  if (listing.entry === undefined) {
    return symbolText({ ...listing, permissionSets: showsPermissionSets ? [["SPOT"]] : [] });
  }
  return JSON.stringify(
    showsPermissionSets ? listing.entry : { ...listing.entry, permissionSets: [] },
  );
}

/** Permission sets are not kept (they are most of the list's bytes): what may be traded on spot or margin says as much. */
function permits({ entry }: Listing, permissions: string): boolean {
  return (
    (permissions.includes("SPOT") && entry?.isSpotTradingAllowed !== false) ||
    (permissions.includes("MARGIN") && entry?.isMarginTradingAllowed === true)
  );
}

function listed(symbol: string, entry: Readonly<Record<string, unknown>>): Listing {
  const { status, baseAsset, quoteAsset } = entry;
  return {
    symbol,
    status: String(status),
    baseAsset: String(baseAsset),
    quoteAsset: String(quoteAsset),
    tickSize: filterValue(entry, "PRICE_FILTER", "tickSize") ?? FINEST,
    stepSize: filterValue(entry, "LOT_SIZE", "stepSize") ?? FINEST,
    entry,
  };
}

function filterValue(
  { filters }: Readonly<Record<string, unknown>>,
  type: string,
  name: string,
): string | undefined {
  if (!Array.isArray(filters)) return undefined;
  const filter = (filters as readonly Readonly<Record<string, unknown>>[]).find(
    ({ filterType }) => filterType === type,
  );
  const value = filter?.[name];
  // A step of zero means that there is none.
  return typeof value === "string" && Number(value) > 0 ? value : undefined;
}

function derived(symbol: string): Listing {
  const fits = QUOTE_ASSETS.filter(
    (asset) => symbol.endsWith(asset) && symbol.length > asset.length,
  );
  const quoteAsset = fits.sort((a, b) => b.length - a.length)[0] ?? "";
  return {
    symbol,
    status: "TRADING",
    baseAsset: symbol.slice(0, symbol.length - quoteAsset.length),
    quoteAsset,
    tickSize: FINEST,
    stepSize: FINEST,
  };
}
