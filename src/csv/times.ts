/**
 * Times of files. Numbers are told apart by magnitude, the windows do not overlap: seconds, ms, µs and ns of 2001 … 2286,
 * and Excel's days of 2008 … 2118. Text needs a zone, or somebody who knows it.
 */
export type TimeUnit = "s" | "ms" | "us" | "ns" | "excel" | "text";

/** What a cell says about an instant. */
export interface ReadTime {
  readonly unit: TimeUnit;
  /** Epoch ms; a fraction where the cell has one. */
  readonly time: number;
  /** True for text without a zone. */
  readonly isZoneless: boolean;
}

const MS = /^[1-9]\d{12}$/;
const PLAIN = /^\d{4,19}(?:\.\d+)?$/;
const FLOAT = /^\d(?:\.\d+)?e\+?\d{1,2}$/i;
const TEXT =
  /^(\d{4})-(\d{2})-(\d{2})(?:[T ](\d{2}):(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?)?\s?(Z|UTC|[+-]\d{2}:?\d{2})?$/i;
/** `2020-07-21 05-PM`, CryptoDataDownload's hours of before 2020. */
const HALF_DAY = /^(\d{4})-(\d{2})-(\d{2}) (\d{2})-(AM|PM)$/i;
const EXCEL_EPOCH_DAYS = 25_569;

/**
 * Reads a cell as an instant.
 * @param zoneMs what to add for text without a zone
 * @returns `undefined` for what is none
 */
export function readTime(cell: string, zoneMs = 0): ReadTime | undefined {
  // By far the most times are these.
  if (MS.test(cell)) return { unit: "ms", time: Number(cell), isZoneless: false };
  if (PLAIN.test(cell) || FLOAT.test(cell)) return readNumber(cell);
  const half = HALF_DAY.exec(cell);
  if (half !== null) {
    const hour = (Number(half[4]) % 12) + (half[5]?.toUpperCase() === "PM" ? 12 : 0);
    return textTime(half, hour, 0, 0, 0, zoneMs, true);
  }
  const found = TEXT.exec(cell);
  if (found === null) return undefined;
  const [, , , , hour = "0", minute = "0", second = "0", fraction = "0", zone] = found;
  const ms = Number(`0.${fraction}`) * 1_000;
  const offset = zone === undefined ? zoneMs : zoneOffset(zone);
  return textTime(
    found,
    Number(hour),
    Number(minute),
    Number(second),
    ms,
    offset,
    zone === undefined,
  );
}

function readNumber(cell: string): ReadTime | undefined {
  const value = Number(cell);
  const is = (unit: TimeUnit, time: number): ReadTime => ({ unit, time, isZoneless: false });
  if (value >= 1e18 && value < 1e19) return is("ns", Number(cell.slice(0, 19)) / 1e6);
  if (value >= 1e15 && value < 1e16) return is("us", value / 1_000);
  if (value >= 1e12 && value < 1e13) return is("ms", value);
  if (value >= 1e9 && value < 1e10) return is("s", value * 1_000);
  if (value >= 39_448 && value < 80_000) {
    // A day is a double there: a second is the finest that it keeps.
    const seconds = Math.round((value - EXCEL_EPOCH_DAYS) * 86_400);
    return { unit: "excel", time: seconds * 1_000, isZoneless: true };
  }
  return undefined;
}

function textTime(
  [, year, month, day]: RegExpExecArray,
  hour: number,
  minute: number,
  second: number,
  ms: number,
  offsetMs: number,
  isZoneless: boolean,
): ReadTime | undefined {
  const midnight = Date.UTC(Number(year), Number(month) - 1, Number(day));
  // 2021-02-30 is no day, and Date would make another one of it.
  const isDay = new Date(midnight).getUTCDate() === Number(day) && Number(month) <= 12;
  if (!isDay || hour > 23 || minute > 59 || second > 59) return undefined;
  const time = midnight + ((hour * 60 + minute) * 60 + second) * 1_000 + ms - offsetMs;
  return { unit: "text", time, isZoneless };
}

function zoneOffset(zone: string): number {
  if (!/\d/.test(zone)) return 0;
  const sign = zone.startsWith("-") ? -1 : 1;
  return sign * (Number(zone.slice(1, 3)) * 60 + Number(zone.slice(-2))) * 60_000;
}

/** `UTC`, `Z`, `+09:00` as an offset in ms; `undefined` for anything else. */
export function parseZone(text: string): number | undefined {
  return /^(?:UTC|Z|[+-]\d{2}:?\d{2})$/i.test(text) ? zoneOffset(text) : undefined;
}
