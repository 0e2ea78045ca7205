import { ApiError, badSymbol, illegalCharacters } from "./api-error.ts";
import type { Exchange } from "./exchange.ts";
import { readSymbol } from "./klines.ts";
import type { MarketSymbol } from "./market.ts";
import { listedAs } from "./market-faults.ts";
import { readQuery } from "./query.ts";

const PARAMETERS = ["symbol", "symbols", "permissions", "showPermissionSets", "symbolStatus"];
const STATUSES = ["TRADING", "HALT", "BREAK"];
const SYMBOLS_RANGE = `^\\[("[\\w\\-._&&[^a-z]]{1,50}"(,"[\\w\\-._&&[^a-z]]{1,50}"){0,}){0,1}\\]$`;
/** What every symbol of the simulator permits. */
const PERMISSIONS = ["SPOT", "MARGIN"];

/**
 * The body of exchangeInfo (binance.md §2.3).
 * @throws {ApiError} with the exchange's words
 */
export function exchangeInfoText(exchange: Exchange, query: string): string {
  const values = readQuery(query, PARAMETERS);
  const showsSets = values.get("showPermissionSets") !== "false";
  const symbols = chosen(exchange, values).map((info) => symbolText(info, showsSets));
  const { weightPerMinute, requestsPer5Minutes } = exchange.limits;
  const rateLimits = [
    {
      rateLimitType: "REQUEST_WEIGHT",
      interval: "MINUTE",
      intervalNum: 1,
      limit: weightPerMinute,
    },
    { rateLimitType: "ORDERS", interval: "SECOND", intervalNum: 10, limit: 100 },
    {
      rateLimitType: "RAW_REQUESTS",
      interval: "MINUTE",
      intervalNum: 5,
      limit: requestsPer5Minutes,
    },
  ];
  return (
    `{"timezone":"UTC","serverTime":${exchange.toldTime()},"rateLimits":${JSON.stringify(rateLimits)},` +
    `"exchangeFilters":[],"symbols":[${symbols.join(",")}]}`
  );
}

function chosen(exchange: Exchange, values: ReadonlyMap<string, string>): MarketSymbol[] {
  const { market, faults, switches } = exchange;
  const one = values.get("symbol");
  const several = values.get("symbols");
  const status = values.get("symbolStatus");
  const names = one !== undefined || several !== undefined;
  if ((one !== undefined && several !== undefined) || (names && status !== undefined)) {
    throw new ApiError(-1128, "Combination of optional parameters invalid.");
  }
  if (status !== undefined && !STATUSES.includes(status)) {
    throw new ApiError(-1122, "Invalid symbolStatus.");
  }
  const listed = market
    .symbols(exchange.now())
    .map((info) => listedAs(info, faults, switches.listsDelisted))
    .filter((info) => info !== undefined);
  if (!names) {
    const isPermitted = permits(values.get("permissions"));
    return listed.filter((info) => isPermitted && (status === undefined || info.status === status));
  }
  const wanted = one === undefined ? readSymbols(several ?? "") : [readSymbol(one)];
  return wanted.map((name) => {
    const found = listed.find(({ symbol }) => symbol === name);
    if (found === undefined) throw badSymbol();
    return found;
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

/** Without the parameter SPOT, MARGIN and LEVERAGED symbols are listed. */
function permits(permissions: string | undefined): boolean {
  if (permissions === undefined) return true;
  return PERMISSIONS.some((permission) => permissions.includes(permission));
}

function symbolText(info: MarketSymbol, showsSets: boolean): string {
  const isTrading = info.status === "TRADING";
  return JSON.stringify({
    symbol: info.symbol,
    status: info.status,
    baseAsset: info.baseAsset,
    baseAssetPrecision: 8,
    quoteAsset: info.quoteAsset,
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
        minPrice: info.tickSize,
        maxPrice: "1000000.00000000",
        tickSize: info.tickSize,
      },
      {
        filterType: "LOT_SIZE",
        minQty: info.stepSize,
        maxQty: "90000000000.00000000",
        stepSize: info.stepSize,
      },
    ],
    permissions: [],
    permissionSets: showsSets ? [PERMISSIONS] : [],
    defaultSelfTradePreventionMode: "NONE",
    allowedSelfTradePreventionModes: ["NONE"],
  });
}
