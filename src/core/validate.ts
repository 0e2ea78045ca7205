import { type Candle, DECIMAL_FIELDS } from "./candle.ts";
import { compareDecimals, isDecimal, isZeroDecimal } from "./decimal.ts";

/** Why a candle is refused. A refusal is a value, not an error: the rest of a batch goes on. */
export interface Rejection {
  readonly code: RejectionCode;
  /** One plain sentence with the offending text, cut to a bounded length. */
  readonly detail: string;
}

/** Machine-readable reasons of {@link Rejection}. `database-refused` is given by the store, the rest by {@link validateCandle}. */
export type RejectionCode =
  | "not-a-decimal"
  | "not-a-time"
  | "not-a-count"
  | "price-not-positive"
  | "high-below-low"
  | "open-outside-range"
  | "close-outside-range"
  | "from-the-future"
  | "database-refused";

/** PostgreSQL `integer`, the type of the column. */
const MAX_TRADE_COUNT = 2_147_483_647;
/** 2008-01-01, before any exchange of this kind; seconds and minutes mistaken for ms fall below it. */
const MIN_TIME = 1_199_145_600_000;
/** The last instant that fits the version number, year 2527; microseconds mistaken for ms lie above it. */
const MAX_TIME = 2 ** 44 - 1;
const MAX_SHOWN_LENGTH = 60;

/**
 * Structure of a closed candle: plain decimals, integer times and counts, positive prices, `low ≤ open, close ≤ high`,
 * not opened after it was seen. Off-grid and cut-short candles pass: they are real data.
 * @param observedTime exchange time (epoch ms) at which this version was seen
 * @returns the first reason for refusing it, or `undefined` when it is sound
 */
export function validateCandle(candle: Candle, observedTime: number): Rejection | undefined {
  for (const field of ["openTime", "closeTime"] as const) {
    const time = candle[field];
    if (!Number.isSafeInteger(time) || time < MIN_TIME || time > MAX_TIME) {
      return { code: "not-a-time", detail: `${field} is ${shown(time)}` };
    }
  }
  if (
    !Number.isSafeInteger(candle.tradeCount) ||
    candle.tradeCount < 0 ||
    candle.tradeCount > MAX_TRADE_COUNT
  ) {
    return { code: "not-a-count", detail: `tradeCount is ${shown(candle.tradeCount)}` };
  }
  for (const field of DECIMAL_FIELDS) {
    const text = candle[field];
    if (typeof text !== "string" || !isDecimal(text)) {
      return { code: "not-a-decimal", detail: `${field} is ${shown(text)}` };
    }
  }
  for (const field of ["open", "high", "low", "close"] as const) {
    if (isZeroDecimal(candle[field])) {
      return { code: "price-not-positive", detail: `${field} is ${candle[field]}` };
    }
  }
  const { open, high, low, close } = candle;
  if (compareDecimals(high, low) < 0) {
    return { code: "high-below-low", detail: `high ${high} is below low ${low}` };
  }
  if (compareDecimals(open, high) > 0 || compareDecimals(open, low) < 0) {
    return { code: "open-outside-range", detail: `open ${open} is outside ${low}…${high}` };
  }
  if (compareDecimals(close, high) > 0 || compareDecimals(close, low) < 0) {
    return { code: "close-outside-range", detail: `close ${close} is outside ${low}…${high}` };
  }
  if (candle.openTime > observedTime) {
    return {
      code: "from-the-future",
      detail: `opens at ${candle.openTime}, seen at ${observedTime}`,
    };
  }
  return undefined;
}

function shown(value: unknown): string {
  const text = textOf(value);
  return text.length > MAX_SHOWN_LENGTH ? `${text.slice(0, MAX_SHOWN_LENGTH)}…` : text;
}

/** Never throws: what is refused may be anything, also an object that has no text. */
function textOf(value: unknown): string {
  // JSON for objects too: a decoded one may have a member `toString` that is no function.
  const isJson = typeof value === "string" || typeof value === "object";
  try {
    return (isJson ? JSON.stringify(value) : String(value)) ?? "nothing";
  } catch {
    return `${typeof value === "object" ? "an" : "a"} ${typeof value} without a text`;
  }
}
