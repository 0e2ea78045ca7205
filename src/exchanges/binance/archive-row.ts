import type { Candle } from "../../core/candle.ts";

/**
 * One line of an archive file as a candle. Bytes tell where the columns are and what the times say; the text of prices and
 * volumes is cut out as it stands. Pure; nothing in it throws.
 */

/** Why a line is no candle. */
export interface LineFault {
  readonly code: "columns" | "not-a-time" | "not-a-count";
  /** What is wrong about it. */
  readonly text: string;
}

/** Bytes and the same as text, one character for each byte. */
export interface Lines {
  readonly bytes: Uint8Array;
  readonly text: string;
}

/** 2001-09-09; seconds are below it until the year 33658. */
const MIN_TIME_MS = 1e12;
/** Microseconds are above it since 1973, milliseconds below it until the year 5138. */
const MIN_TIME_US = 1e14;
const MAX_TIME_DIGITS = 16;
const MAX_COUNT_DIGITS = 15;
const COMMA = 44;
const DIGIT_0 = 48;
const DIGIT_9 = 57;

/** Offsets of the commas of the line at hand. */
const commas = new Int32Array(11);

/**
 * Reads a line:
 *
 *     1735689600000000,93576.00000000,94509.42000000,93489.03000000,94401.14000000,755.99010000,1735693199999999,
 *     71068810.55946380,93525,421.08319000,39596777.77992590,0
 *
 * open time, **open, high, low, close**, volume, close time, quote volume, trades, taker buys, taker buys in quote, unused.
 * @param end where its text ends, line break excluded
 */
export function readLine({ bytes, text }: Lines, start: number, end: number): Candle | LineFault {
  let commaCount = 0;
  for (let at = start; at < end; at += 1) {
    if (bytes[at] !== COMMA) continue;
    if (commaCount < commas.length) commas[commaCount] = at;
    commaCount += 1;
  }
  if (commaCount === 10) commas[10] = end;
  else if (commaCount !== 11) return { code: "columns", text: text.slice(start, end) };
  // By index: to destructure a typed array goes through its iterator, for every row.
  const c0 = commas[0] ?? 0;
  const c1 = commas[1] ?? 0;
  const c2 = commas[2] ?? 0;
  const c3 = commas[3] ?? 0;
  const c4 = commas[4] ?? 0;
  const c5 = commas[5] ?? 0;
  const c6 = commas[6] ?? 0;
  const c7 = commas[7] ?? 0;
  const c8 = commas[8] ?? 0;
  const c9 = commas[9] ?? 0;
  const openTime = readTime(bytes, start, c0);
  if (openTime < MIN_TIME_MS) return { code: "not-a-time", text: text.slice(start, c0) };
  // Any number: an odd close time is for the quarantine.
  const closeTime = readTime(bytes, c5 + 1, c6);
  if (closeTime < 0) return { code: "not-a-time", text: text.slice(c5 + 1, c6) };
  const tradeCount = readInteger(bytes, c7 + 1, c8, MAX_COUNT_DIGITS);
  if (tradeCount < 0) return { code: "not-a-count", text: text.slice(c7 + 1, c8) };
  return {
    openTime,
    closeTime,
    open: text.slice(c0 + 1, c1),
    high: text.slice(c1 + 1, c2),
    low: text.slice(c2 + 1, c3),
    close: text.slice(c3 + 1, c4),
    volume: text.slice(c4 + 1, c5),
    quoteVolume: text.slice(c6 + 1, c7),
    tradeCount,
    takerBuyVolume: text.slice(c8 + 1, c9),
    takerBuyQuoteVolume: text.slice(c9 + 1, commas[10]),
  };
}

/** True when two rows of one open time are the same text. */
export function isSameRow(a: Candle, b: Candle): boolean {
  return (
    a.closeTime === b.closeTime &&
    a.open === b.open &&
    a.high === b.high &&
    a.low === b.low &&
    a.close === b.close &&
    a.volume === b.volume &&
    a.quoteVolume === b.quoteVolume &&
    a.tradeCount === b.tradeCount &&
    a.takerBuyVolume === b.takerBuyVolume &&
    a.takerBuyQuoteVolume === b.takerBuyQuoteVolume
  );
}

/** True for `0` … `9`. */
export function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= DIGIT_0 && byte <= DIGIT_9;
}

/**
 * Why the columns of a header are not those of {@link readLine}, if they are not. Names that are not known say nothing.
 */
export function headerFault(header: string): string | undefined {
  const names = header.toLowerCase().split(",");
  const isOther = ["open", "high", "low", "close"].some((name, index) => {
    const at = names.indexOf(name);
    return at >= 0 && at !== index + 1;
  });
  return isOther ? "its columns are in another order" : undefined;
}

/**
 * A time in ms, or in µs: told apart by magnitude, value by value, as some files of 2025 are still in ms.
 * @returns epoch ms, a µs rounded down; −1 for what is no whole number
 */
function readTime(bytes: Uint8Array, start: number, end: number): number {
  const time = readInteger(bytes, start, end, MAX_TIME_DIGITS);
  return time >= MIN_TIME_US ? Math.floor(time / 1_000) : time;
}

/** @returns −1 for what is not one digit or more, at most `maxDigits` of them */
function readInteger(bytes: Uint8Array, start: number, end: number, maxDigits: number): number {
  if (end <= start || end - start > maxDigits) return -1;
  let value = 0;
  for (let at = start; at < end; at += 1) {
    const byte = bytes[at] ?? 0;
    if (byte < DIGIT_0 || byte > DIGIT_9) return -1;
    value = value * 10 + (byte - DIGIT_0);
  }
  return value;
}
