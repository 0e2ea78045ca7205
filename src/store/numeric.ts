import type { DecimalColumn } from "../core/decimal-column.ts";
import { BlackTradeError } from "../core/errors.ts";

/** Powers of ten that a double holds exactly. */
const EXACT_POWERS = Array.from({ length: 23 }, (_, exponent) => 10 ** exponent);
const POSITIVE = 0;
const NEGATIVE = 0x4000;
/** Where the digits begin: after their count, the weight of the first, the sign and the scale. */
const DIGITS = 8;

/*
 * A `numeric` in PostgreSQL's binary form: digits of base 10,000, big-endian, the first of them times 10,000^weight;
 * zeros at either end are not there. The scale is how many decimal digits stand behind the point when it is shown.
 */

/** The nearest double. @throws {BlackTradeError} E_DB_FAILED for NaN and infinity */
export function numericToDouble(view: DataView, at: number): number {
  const digitCount = view.getInt16(at);
  const weight = view.getInt16(at + 2);
  let value = 0;
  for (let index = 0; index < digitCount; index += 1) {
    value = value * 10_000 + view.getInt16(at + DIGITS + index * 2);
  }
  const exponent = 4 * (weight - digitCount + 1);
  const isExact = value <= Number.MAX_SAFE_INTEGER && exponent <= 22 && exponent >= -22;
  if (!isExact || view.getUint16(at + 4) !== POSITIVE) return Number(numericToText(view, at));
  // Quotient or product of two exact doubles is rounded once, which is right.
  return exponent < 0 ? value / power(-exponent) : value * power(exponent);
}

/** Puts the exact value, with its digits, into a column. @throws {BlackTradeError} E_DB_FAILED for NaN and infinity */
export function putNumeric(column: DecimalColumn, row: number, view: DataView, at: number): void {
  const digitCount = view.getInt16(at);
  const weight = view.getInt16(at + 2);
  const scale = view.getUint16(at + 6);
  // Four groups on a side are 16 digits, and these a double may round.
  if (view.getUint16(at + 4) !== POSITIVE || weight > 2 || scale > 12) {
    column.putText(row, numericToText(view, at));
    return;
  }
  let whole = 0;
  let index = 0;
  for (; index <= weight; index += 1) whole = whole * 10_000 + digitAt(view, at, index, digitCount);
  let fraction = 0;
  let width = scale;
  for (index = weight + 1; width >= 4; index += 1, width -= 4) {
    fraction = fraction * 10_000 + digitAt(view, at, index, digitCount);
  }
  if (width > 0) {
    const last = digitAt(view, at, index, digitCount);
    fraction = fraction * power(width) + Math.floor(last / power(4 - width));
  }
  column.put(row, whole, fraction, scale);
}

/** Digit for digit the text that PostgreSQL shows. @throws {BlackTradeError} E_DB_FAILED for NaN and infinity */
export function numericToText(view: DataView, at: number): string {
  const digitCount = view.getInt16(at);
  const weight = view.getInt16(at + 2);
  const sign = view.getUint16(at + 4);
  const scale = view.getUint16(at + 6);
  if (sign !== POSITIVE && sign !== NEGATIVE) throw noNumber();
  let whole = "";
  let fraction = "";
  for (let index = Math.min(0, weight + 1); index <= weight; index += 1) {
    whole += fourOf(digitAt(view, at, index, digitCount));
  }
  for (let index = weight + 1; fraction.length < scale; index += 1) {
    fraction += fourOf(digitAt(view, at, index, digitCount));
  }
  const text = whole.replace(/^0+/, "") || "0";
  const shown = scale === 0 ? text : `${text}.${fraction.slice(0, scale)}`;
  return sign === NEGATIVE ? `-${shown}` : shown;
}

function power(exponent: number): number {
  return EXACT_POWERS[exponent] as number;
}

function digitAt(view: DataView, at: number, index: number, digitCount: number): number {
  return index >= 0 && index < digitCount ? view.getInt16(at + DIGITS + index * 2) : 0;
}

function fourOf(digit: number): string {
  return String(digit).padStart(4, "0");
}

function noNumber(): BlackTradeError {
  return new BlackTradeError("E_DB_FAILED", "the database gave a number that is none", {
    remedy: "A decimal of the table is NaN or infinite, which this program never writes.",
  });
}
