import {
  chooseSymbols,
  exchangeInfoText,
  parseInfoQuery,
  symbolText,
} from "../wire/exchange-info.ts";
import type { Exchange } from "./exchange.ts";
import { listedAs } from "./market-faults.ts";

/** What every symbol of the simulator permits. */
const PERMISSIONS = ["SPOT", "MARGIN"];

/**
 * The body of exchangeInfo.
 * @throws {ApiError} with the exchange's words
 */
export function exchangeInfo(exchange: Exchange, query: string): string {
  const { market, faults, switches, limits } = exchange;
  const request = parseInfoQuery(query);
  const listed = market
    .symbols(exchange.now())
    .map((info) => listedAs(info, faults, switches.listsDelisted))
    .filter((info) => info !== undefined);
  const permits = (_info: unknown, wanted: string): boolean =>
    PERMISSIONS.some((permission) => wanted.includes(permission));
  const permissionSets = request.showsPermissionSets ? [PERMISSIONS] : [];
  const symbols = chooseSymbols(request, listed, permits).map((info) =>
    symbolText({ ...info, permissionSets }),
  );
  return exchangeInfoText(exchange.toldTime(), limits, symbols);
}
