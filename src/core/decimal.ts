/**
 * Decimals as the exchange writes them: text, compared and added exactly, never turned into a float.
 * At most 20 integer digits and 18 decimals, no sign, no exponent, no leading zero (R2).
 */
const GRAMMAR = /^(?:0|[1-9]\d{0,19})(?:\.\d{1,18})?$/;

/** True when `text` is a plain non-negative decimal of the grammar. `1e5`, `-1`, `NaN`, `00.1`, `1.` are not. */
export function isDecimal(text: string): boolean {
  return GRAMMAR.test(text);
}

/**
 * Order of two decimals by value: `"1.10"` equals `"1.1"`.
 * @returns negative, 0 or positive
 */
export function compareDecimals(a: string, b: string): number {
  const [aInteger, aFraction] = split(a);
  const [bInteger, bFraction] = split(b);
  if (aInteger.length !== bInteger.length) return aInteger.length - bInteger.length;
  if (aInteger !== bInteger) return aInteger < bInteger ? -1 : 1;
  const width = Math.max(aFraction.length, bFraction.length);
  const aPadded = aFraction.padEnd(width, "0");
  const bPadded = bFraction.padEnd(width, "0");
  if (aPadded === bPadded) return 0;
  return aPadded < bPadded ? -1 : 1;
}

/** Exact sum; the scale (digits after the point) is that of the finer term. */
export function addDecimals(a: string, b: string): string {
  const scale = Math.max(scaleOf(a), scaleOf(b));
  return unscale(toScale(a, scale) + toScale(b, scale), scale);
}

/** Exact sum of many; `"0"` for none. The scale is that of the finest term. */
export function sumDecimals(texts: readonly string[]): string {
  const scale = texts.reduce((finest, text) => Math.max(finest, scaleOf(text)), 0);
  return unscale(
    texts.reduce((sum, text) => sum + toScale(text, scale), 0n),
    scale,
  );
}

/** The one shortest text of a value: `"1.50"` → `"1.5"`, `"2.00"` → `"2"`. */
export function shortestDecimal(text: string): string {
  const [integer, fraction] = split(text);
  const kept = fraction.replace(/0+$/, "");
  return kept === "" ? integer : `${integer}.${kept}`;
}

/** True when the value is zero, however it is written. */
export function isZeroDecimal(text: string): boolean {
  return compareDecimals(text, "0") === 0;
}

/** Digits after the point. */
export function scaleOf(text: string): number {
  const point = text.indexOf(".");
  return point < 0 ? 0 : text.length - point - 1;
}

function split(text: string): readonly [string, string] {
  const point = text.indexOf(".");
  return point < 0 ? [text, ""] : [text.slice(0, point), text.slice(point + 1)];
}

function toScale(text: string, scale: number): bigint {
  const [integer, fraction] = split(text);
  return BigInt(integer + fraction.padEnd(scale, "0"));
}

function unscale(value: bigint, scale: number): string {
  const digits = value.toString().padStart(scale + 1, "0");
  return scale === 0 ? digits : `${digits.slice(0, -scale)}.${digits.slice(-scale)}`;
}
