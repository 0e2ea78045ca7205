/** Powers of ten that a double holds exactly. */
const EXACT_POWERS = Array.from({ length: 23 }, (_, exponent) => 10 ** exponent);
const NEGATIVE = 0x4000;

/**
 * A `numeric` in PostgreSQL's binary form (digits of base 10,000, big-endian) as the nearest double.
 * With at most 15 digits quotient or product of two exact doubles is rounded once, which is right; the rest goes by text.
 */
export function numericToDouble(view: DataView, at: number): number {
  const digitCount = view.getInt16(at);
  const weight = view.getInt16(at + 2);
  let value = 0;
  for (let index = 0; index < digitCount; index += 1) {
    value = value * 10_000 + view.getInt16(at + 8 + index * 2);
  }
  const exponent = 4 * (weight - digitCount + 1);
  if (value > Number.MAX_SAFE_INTEGER || exponent > 22 || exponent < -22) {
    return Number(numericToText(view, at));
  }
  const size = exponent < 0 ? value / power(-exponent) : value * power(exponent);
  return isNegative(view, at) ? -size : size;
}

function power(exponent: number): number {
  return EXACT_POWERS[exponent] ?? Number.NaN;
}

function isNegative(view: DataView, at: number): boolean {
  return view.getUint16(at + 4) === NEGATIVE;
}

/** In scientific notation, for a conversion to a double only. */
function numericToText(view: DataView, at: number): string {
  const digitCount = view.getInt16(at);
  let digits = "0";
  for (let index = 0; index < digitCount; index += 1) {
    digits += String(view.getInt16(at + 8 + index * 2)).padStart(4, "0");
  }
  const exponent = 4 * (view.getInt16(at + 2) - digitCount + 1);
  return `${isNegative(view, at) ? "-" : ""}${digits}e${exponent}`;
}
