import { isDecimal } from "../core/decimal.ts";

/** Numbers as files write them, made plain decimals without ever being a float. */

const EXPONENT = /^(\d)(?:\.(\d+))?e-(\d{1,2})$/i;
const GROUPED = /^\d+,\d+$/;

/**
 * A cell as a plain decimal: spaces and a plus sign go, a decimal comma becomes a point, `2.85e-05`, as programs print
 * small floats, becomes `0.0000285`: the same digits, moved.
 * @returns `undefined` for anything else (`NaN`, `1e5`, a sign, 40 digits)
 */
export function plainDecimal(cell: string, hasDecimalComma: boolean): string | undefined {
  if (isDecimal(cell)) return cell;
  const trimmed = cell.trim();
  const unsigned = trimmed.startsWith("+") ? trimmed.slice(1) : trimmed;
  const text = hasDecimalComma && GROUPED.test(unsigned) ? unsigned.replace(",", ".") : unsigned;
  if (isDecimal(text)) return text;
  const expanded = expandExponent(text);
  return expanded !== undefined && isDecimal(expanded) ? expanded : undefined;
}

/** `2.85e-5` → `0.0000285`; `undefined` for what has no negative exponent. */
export function expandExponent(text: string): string | undefined {
  const found = EXPONENT.exec(text);
  if (found === null) return undefined;
  const [, digit = "", fraction = "", exponent = ""] = found;
  const places = Number(exponent);
  if (places === 0) return fraction === "" ? digit : `${digit}.${fraction}`;
  return `0.${"0".repeat(places - 1)}${digit}${fraction}`;
}

/** A count: digits, also as the float that a table with gaps makes of it (`105595.0`). */
export function plainCount(cell: string): number | undefined {
  const found = /^\+?(\d{1,10})(?:\.0*)?$/.exec(cell.trim());
  return found === null ? undefined : Number(found[1]);
}

/** What tables write for "not there". */
export function isAbsent(cell: string | undefined): boolean {
  return (
    cell === undefined || cell === "" || /^\s*(?:|null|none|nan|n\/a|na|-|\\N)\s*$/i.test(cell)
  );
}
