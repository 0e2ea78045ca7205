import type { TimeRange } from "../core/range.ts";
import { isTimeframe } from "../core/timeframe.ts";
import {
  ApiError,
  badInterval,
  badSymbol,
  illegalCharacters,
  missing,
  notValid,
  SYMBOL_RANGE,
} from "./api-error.ts";
import type { KlineSeries } from "./kline-text.ts";
import { readQuery } from "./query.ts";

/** A klines request, understood. */
export interface KlinesRequest {
  readonly series: KlineSeries;
  /** Open times, half-open. */
  readonly range: TimeRange;
  readonly limit: number;
  /** Without a start the newest rows are meant, found backwards. */
  readonly order: "ascending" | "descending";
}

const PARAMETERS = ["symbol", "interval", "startTime", "endTime", "timeZone", "limit"];
const DEFAULT_LIMIT = 500;
const MAX_LIMIT = 1_000;
/** Letters of any script since 2025-12 (binance.md §3.6); no lower-case Latin. */
const SYMBOL = /^[\p{Lu}\p{Lo}\p{Lm}\p{M}\p{N}\-._]{1,50}$/u;
const DIGITS = /^[0-9]{1,20}$/;
const DIGIT_RANGE = "^[0-9]{1,20}$";
/** A time at and above this is in microseconds. */
const MICROSECONDS_FROM = 1e14;
const MINUTE_MS = 60_000;

/**
 * Reads the query of klines (binance.md §2.2).
 * @param hasSymbol whether the server knows a symbol, delisted ones included
 * @throws {ApiError} with the exchange's words
 */
export function parseKlines(
  query: string,
  hasSymbol: (symbol: string) => boolean,
  reversedRange: "empty" | "error",
): KlinesRequest {
  const values = readQuery(query, PARAMETERS);
  const symbol = readSymbol(values.get("symbol"));
  const interval = values.get("interval") ?? "";
  if (interval === "") throw missing("interval");
  const from = readTime(values, "startTime", Math.ceil);
  const last = readTime(values, "endTime", Math.floor);
  const limit = readDigits(values, "limit") ?? DEFAULT_LIMIT;
  const offsetMs = readTimeZone(values.get("timeZone") ?? "0");
  if (!hasSymbol(symbol)) throw badSymbol();
  if (!isTimeframe(interval)) throw badInterval();
  if (from !== undefined && last !== undefined && from > last && reversedRange === "error") {
    throw new ApiError(-1128, "Combination of optional parameters invalid.");
  }
  return {
    series: { symbol, interval, offsetMs },
    // Both ends of the request are inclusive.
    range: { from: from ?? 0, to: last === undefined ? Number.POSITIVE_INFINITY : last + 1 },
    limit: Math.min(Math.max(limit, 1), MAX_LIMIT),
    order: from === undefined ? "descending" : "ascending",
  };
}

/** @throws {ApiError} −1102 when absent, −1100 when no symbol could look like it */
export function readSymbol(symbol: string | undefined): string {
  if (symbol === undefined || symbol === "") throw missing("symbol");
  if (!SYMBOL.test(symbol)) throw illegalCharacters("symbol", SYMBOL_RANGE);
  return symbol;
}

function readDigits(values: ReadonlyMap<string, string>, name: string): number | undefined {
  const text = values.get(name);
  if (text === undefined) return undefined;
  if (!DIGITS.test(text)) throw illegalCharacters(name, DIGIT_RANGE);
  return Number(text);
}

function readTime(
  values: ReadonlyMap<string, string>,
  name: string,
  round: (ms: number) => number,
): number | undefined {
  const time = readDigits(values, name);
  return time !== undefined && time >= MICROSECONDS_FROM ? round(time / 1_000) : time;
}

/** `0`, `8`, `-1:00`, `05:45`: ms east of UTC, −12:00 to +14:00. */
function readTimeZone(text: string): number {
  const [, sign, hours = "", minutes = "0"] =
    /^([-+])?(\d{1,2})(?::(\d{2}))?$/.exec(text.trim()) ?? [];
  if (hours === "") throw notValid("timeZone");
  const total = (Number(hours) * 60 + Number(minutes)) * (sign === "-" ? -1 : 1);
  if (total < -12 * 60 || total > 14 * 60 || Number(minutes) > 59) throw notValid("timeZone");
  return total * MINUTE_MS;
}
