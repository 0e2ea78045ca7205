import { BlackTradeError } from "../../core/errors.ts";

const POINT = 46;
const ZERO = 48;
const POWERS = Array.from({ length: 19 }, (_, exponent) => 10 ** exponent);

/**
 * A decimal as an integer of units of 10^-scale: `"65008.61"` at scale 4 is 650086100. Exact.
 * @returns a number where one holds the value exactly, else a bigint
 * @throws {BlackTradeError} E_USAGE for a digit beyond the scale
 */
export function unscaledOf(text: string, scale: number): number | bigint {
  let value = 0;
  let fraction = -1;
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === POINT) {
      fraction = 0;
    } else if (fraction === scale) {
      if (code !== ZERO) throw tooFine(text, scale);
    } else {
      value = value * 10 + (code - ZERO);
      if (fraction >= 0) fraction += 1;
    }
  }
  const result = value * (POWERS[scale - Math.max(fraction, 0)] ?? Number.NaN);
  return result <= Number.MAX_SAFE_INTEGER ? result : unscaledBigInt(text, scale);
}

function unscaledBigInt(text: string, scale: number): bigint {
  const [integer = "", fraction = ""] = text.split(".");
  return BigInt(integer + fraction.slice(0, scale).padEnd(scale, "0"));
}

function tooFine(text: string, scale: number): BlackTradeError {
  return new BlackTradeError(
    "E_USAGE",
    `${text} has more than the ${scale} decimals that were counted before the export began`,
    { remedy: "A candle was replaced meanwhile; export again." },
  );
}
