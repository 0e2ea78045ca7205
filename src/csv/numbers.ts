import { isDecimal } from "../core/decimal.ts";

/** Numbers as files write them, made plain decimals without ever being a float. */

const WRITTEN = /^(0|[1-9]\d*)?(?:\.(\d*))?(?:e([+-]?\d{1,2}))?$/i;
const WITH_COMMA = /^\d*,\d*(?:e[+-]?\d+)?$/i;

/**
 * A cell as a plain decimal: spaces and a plus sign go, a decimal comma becomes a point, `.5` gets its zero, `104.` loses
 * its point, `2.85e-05` and `1.02e+6`, as programs print floats, become `0.0000285` and `1020000`: the same value, exactly.
 * @returns `undefined` for anything else (`NaN`, a minus, what has more digits than a decimal of the table)
 */
export function plainDecimal(cell: string, hasDecimalComma: boolean): string | undefined {
  if (isDecimal(cell)) return cell;
  const trimmed = cell.trim();
  const unsigned = trimmed.startsWith("+") ? trimmed.slice(1) : trimmed;
  const text = hasDecimalComma && WITH_COMMA.test(unsigned) ? unsigned.replace(",", ".") : unsigned;
  if (isDecimal(text)) return text;
  const expanded = expandedDecimal(text);
  return expanded !== undefined && isDecimal(expanded) ? expanded : undefined;
}

/** `2.85e-5` → `0.0000285`, `1.02e2` → `102`, `.5` → `0.5`: its digits, moved. `undefined` for what is no such number. */
export function expandedDecimal(text: string): string | undefined {
  const found = WRITTEN.exec(text);
  if (found === null) return undefined;
  const [, integer = "", fraction = "", exponent = "0"] = found;
  const digits = integer + fraction;
  if (digits === "") return undefined;
  const point = integer.length + Number(exponent);
  const padded = point < 1 ? "0".repeat(1 - point) + digits : digits.padEnd(point, "0");
  const whole = padded.slice(0, Math.max(1, point)).replace(/^0+(?=\d)/, "");
  const rest = padded.slice(Math.max(1, point));
  return rest === "" ? whole : `${whole}.${rest}`;
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
