import { ApiError, badSymbol, illegalCharacters } from "./api-error.ts";
import { readSymbol } from "./klines-query.ts";
import type { Limits } from "./limits.ts";
import { readQuery } from "./query.ts";

const PARAMETERS = ["symbol", "symbols", "permissions", "showPermissionSets", "symbolStatus"];
const STATUSES = ["TRADING", "HALT", "BREAK"];
const SYMBOLS_RANGE = `^\\[("[\\w\\-._&&[^a-z]]{1,50}"(,"[\\w\\-._&&[^a-z]]{1,50}"){0,}){0,1}\\]$`;

/** Which symbols an exchangeInfo request wants, and how. */
export interface InfoRequest {
  /** In the order asked for; absent: all. */
  readonly names?: readonly string[];
  /** Only symbols of this status. */
  readonly status?: string;
  /** As sent: a name or a JSON list. */
  readonly permissions?: string;
  readonly showsPermissionSets: boolean;
}

/**
 * Reads the query of exchangeInfo (binance.md §2.3).
 * @throws {ApiError} with the exchange's words
 */
export function parseInfoQuery(query: string): InfoRequest {
  const values = readQuery(query, PARAMETERS);
  const one = values.get("symbol");
  const several = values.get("symbols");
  const status = values.get("symbolStatus");
  const permissions = values.get("permissions");
  const isNamed = one !== undefined || several !== undefined;
  if ((one !== undefined && several !== undefined) || (isNamed && status !== undefined)) {
    throw new ApiError(-1128, "Combination of optional parameters invalid.");
  }
  if (status !== undefined && !STATUSES.includes(status)) {
    throw new ApiError(-1122, "Invalid symbolStatus.");
  }
  return {
    ...(one === undefined ? {} : { names: [readSymbol(one)] }),
    ...(several === undefined ? {} : { names: readSymbols(several) }),
    ...(status === undefined ? {} : { status }),
    ...(permissions === undefined ? {} : { permissions }),
    showsPermissionSets: values.get("showPermissionSets") !== "false",
  };
}

/**
 * The listed symbols that a request wants.
 * @param permits whether a symbol has one of the permissions asked for
 * @throws {ApiError} −1121 for a name that is not listed
 */
export function chooseSymbols<Listed extends { readonly symbol: string; readonly status: string }>(
  request: InfoRequest,
  listed: readonly Listed[],
  permits: (one: Listed, permissions: string) => boolean,
): Listed[] {
  const { names, status, permissions } = request;
  if (names === undefined) {
    return listed.filter(
      (one) =>
        (permissions === undefined || permits(one, permissions)) &&
        (status === undefined || one.status === status),
    );
  }
  return names.map((name) => {
    const found = listed.find(({ symbol }) => symbol === name);
    if (found === undefined) throw badSymbol();
    return found;
  });
}

/**
 * The body of exchangeInfo.
 * @param serverTime epoch ms
 * @param symbols each the JSON text of one symbol
 */
export function exchangeInfoText(
  serverTime: number,
  limits: Pick<Limits, "weightPerMinute" | "requestsPer5Minutes">,
  symbols: readonly string[],
): string {
  const rateLimits = [
    {
      rateLimitType: "REQUEST_WEIGHT",
      interval: "MINUTE",
      intervalNum: 1,
      limit: limits.weightPerMinute,
    },
    { rateLimitType: "ORDERS", interval: "SECOND", intervalNum: 10, limit: 100 },
    {
      rateLimitType: "RAW_REQUESTS",
      interval: "MINUTE",
      intervalNum: 5,
      limit: limits.requestsPer5Minutes,
    },
  ];
  return (
    `{"timezone":"UTC","serverTime":${serverTime},"rateLimits":${JSON.stringify(rateLimits)},` +
    `"exchangeFilters":[],"symbols":[${symbols.join(",")}]}`
  );
}

/** What the exchange would say of a symbol, as far as market data goes. */
export interface SymbolFacts {
  readonly symbol: string;
  readonly status: string;
  readonly baseAsset: string;
  readonly quoteAsset: string;
  /** Smallest steps of price and quantity, decimal text. */
  readonly tickSize: string;
  readonly stepSize: string;
  readonly permissionSets: readonly (readonly string[])[];
}

/** One symbol of exchangeInfo as JSON text, with what every symbol has in common filled in. */
export function symbolText(facts: SymbolFacts): string {
  const isTrading = facts.status === "TRADING";
  return JSON.stringify({
    symbol: facts.symbol,
    status: facts.status,
    baseAsset: facts.baseAsset,
    baseAssetPrecision: 8,
    quoteAsset: facts.quoteAsset,
    quotePrecision: 8,
    quoteAssetPrecision: 8,
    baseCommissionPrecision: 8,
    quoteCommissionPrecision: 8,
    orderTypes: ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"],
    icebergAllowed: true,
    ocoAllowed: true,
    otoAllowed: true,
    opoAllowed: true,
    quoteOrderQtyMarketAllowed: true,
    allowTrailingStop: false,
    cancelReplaceAllowed: false,
    amendAllowed: false,
    pegInstructionsAllowed: true,
    isSpotTradingAllowed: isTrading,
    isMarginTradingAllowed: isTrading,
    filters: [
      {
        filterType: "PRICE_FILTER",
        minPrice: facts.tickSize,
        maxPrice: "1000000.00000000",
        tickSize: facts.tickSize,
      },
      {
        filterType: "LOT_SIZE",
        minQty: facts.stepSize,
        maxQty: "90000000000.00000000",
        stepSize: facts.stepSize,
      },
    ],
    permissions: [],
    permissionSets: facts.permissionSets,
    defaultSelfTradePreventionMode: "NONE",
    allowedSelfTradePreventionModes: ["NONE"],
  });
}

function readSymbols(text: string): string[] {
  let list: unknown;
  try {
    list = JSON.parse(text);
  } catch {
    throw illegalCharacters("symbols", SYMBOLS_RANGE);
  }
  if (!Array.isArray(list)) throw illegalCharacters("symbols", SYMBOLS_RANGE);
  return list.map((name: unknown) => readSymbol(typeof name === "string" ? name : undefined));
}
