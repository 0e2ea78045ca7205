/** Digits on one side of the point that a double holds exactly, whichever they are. */
const SIDE_DIGITS = 15;
const SIDE_LIMIT = 10 ** SIDE_DIGITS;
/** In place of a scale: the value is kept as text. */
const AS_TEXT = 255;
/** Powers of ten that a double holds exactly. */
const POWERS = Array.from({ length: 23 }, (_, exponent) => 10 ** exponent);
const ZERO = 48;
const POINT = 46;
/** Characters of a value that is not kept as text. */
const LONGEST = 2 * SIDE_DIGITS + 1;
const CANONICAL = /^(0|[1-9]\d{0,14})(?:\.(\d{1,15}))?$/;

/**
 * Decimals, each with its own digits, exactly as text would have them, without a string a value: the number before the point,
 * the digits behind it as a number, and how many they are. `7.5000` is 7, 5000, 4. The few with more than 15
 * digits on a side, or of another form, are kept as text.
 */
export class DecimalColumn {
  /** The number before the point. */
  #wholes: Float64Array;
  /** The digits behind the point. */
  #fractions: Float64Array;
  /** How many digits are behind the point. */
  #scales: Uint8Array;
  readonly #texts = new Map<number, string>();
  #maxBytes = LONGEST;

  constructor(capacity: number) {
    this.#wholes = new Float64Array(capacity);
    this.#fractions = new Float64Array(capacity);
    this.#scales = new Uint8Array(capacity);
  }

  /** No value of the column takes more bytes as text. */
  get maxBytes(): number {
    return this.#maxBytes;
  }

  /** Empty again, for other values. */
  clear(): void {
    this.#texts.clear();
    this.#maxBytes = LONGEST;
  }

  /** Makes room for more rows; what was put stays. */
  grow(capacity: number): void {
    this.#wholes = grown(this.#wholes, capacity);
    this.#fractions = grown(this.#fractions, capacity);
    const scales = new Uint8Array(capacity);
    scales.set(this.#scales);
    this.#scales = scales;
  }

  /** @returns false when a side has too many digits: give it as text */
  put(row: number, whole: number, fraction: number, scale: number): boolean {
    if (whole >= SIDE_LIMIT || scale > SIDE_DIGITS) return false;
    this.#wholes[row] = whole;
    this.#fractions[row] = fraction;
    this.#scales[row] = scale;
    return true;
  }

  putText(row: number, text: string): void {
    const [, whole, fraction = ""] = CANONICAL.exec(text) ?? [];
    if (whole !== undefined) {
      this.put(row, Number(whole), Number(fraction), fraction.length);
      return;
    }
    this.#scales[row] = AS_TEXT;
    this.#texts.set(row, text);
    this.#maxBytes = Math.max(this.#maxBytes, text.length);
  }

  /** The text of a value, digit for digit. */
  text(row: number): string {
    const scale = this.#scales[row] as number;
    if (scale === AS_TEXT) return this.#texts.get(row) as string;
    const whole = String(this.#wholes[row]);
    return scale === 0 ? whole : `${whole}.${String(this.#fractions[row]).padStart(scale, "0")}`;
  }

  /** The nearest double. */
  double(row: number): number {
    const scale = this.#scales[row] as number;
    if (scale === 0) return this.#wholes[row] as number;
    if (scale !== AS_TEXT) {
      const power = POWERS[scale] as number;
      const value = (this.#wholes[row] as number) * power + (this.#fractions[row] as number);
      // A quotient of two exact doubles is rounded once, which is right.
      if (value <= Number.MAX_SAFE_INTEGER) return value / power;
    }
    return Number(this.text(row));
  }

  /**
   * The value as an integer of units of 10^-scale: `65008.61` at scale 4 is 650086100. Exact.
   * @returns a number where one holds the value exactly, else a bigint; `undefined` when a digit lies beyond the scale
   */
  unscaled(row: number, scale: number): number | bigint | undefined {
    const own = this.#scales[row] as number;
    const power = POWERS[scale];
    if (own === AS_TEXT || power === undefined) return unscaledText(this.text(row), scale);
    const whole = this.#wholes[row] as number;
    let units = this.#fractions[row] as number;
    if (own < scale) units *= POWERS[scale - own] as number;
    // With at most 15 digits a quotient is whole only if the division leaves no rest.
    if (own > scale) units /= POWERS[own - scale] as number;
    if (own > scale && !Number.isInteger(units)) return undefined;
    const value = whole * power + units;
    return value <= Number.MAX_SAFE_INTEGER ? value : unscaledText(this.text(row), scale);
  }

  /**
   * Writes the text of a value as ASCII.
   * @param bytes with room for {@link maxBytes}
   * @returns where it ends
   */
  write(row: number, bytes: Uint8Array, at: number): number {
    const scale = this.#scales[row] as number;
    if (scale === AS_TEXT) return putAscii(bytes, at, this.#texts.get(row) as string);
    const end = putWhole(bytes, at, this.#wholes[row] as number);
    if (scale === 0) return end;
    bytes[end] = POINT;
    return putPadded(bytes, end + 1, this.#fractions[row] as number, scale);
  }

  /** The texts of the first rows. */
  texts(rowCount: number): string[] {
    const bytes = new Uint8Array(rowCount * this.#maxBytes);
    const ends = new Int32Array(rowCount);
    let at = 0;
    for (let row = 0; row < rowCount; row += 1) {
      at = this.write(row, bytes, at);
      ends[row] = at;
    }
    // One string, cut into pieces, is much cheaper than a conversion of each.
    const all = ascii.decode(bytes.subarray(0, at));
    const texts = new Array<string>(rowCount);
    let from = 0;
    for (let row = 0; row < rowCount; row += 1) {
      const end = ends[row] as number;
      texts[row] = all.slice(from, end);
      from = end;
    }
    return texts;
  }
}

const ascii = new TextDecoder();

/** The numbers in a longer array. */
export function grown(values: Float64Array, capacity: number): Float64Array {
  const larger = new Float64Array(capacity);
  larger.set(values);
  return larger;
}

function unscaledText(text: string, scale: number): bigint | undefined {
  const [, whole, fraction = ""] = /^(\d+)(?:\.(\d+))?$/.exec(text) ?? [];
  if (whole === undefined || /[^0]/.test(fraction.slice(scale))) return undefined;
  return BigInt(whole + fraction.slice(0, scale).padEnd(scale, "0"));
}

const EIGHT = 10 ** 8;
const INT_LIMIT = 2 ** 31;
/** Digits of 0000 to 9999. */
const FOURS = Uint8Array.from({ length: 40_000 }, (_, index) => {
  const divisor = POWERS[3 - (index & 3)] as number;
  return ZERO + (Math.floor((index >> 2) / divisor) % 10);
});

/**
 * Writes a whole number from 0 to 2^53 in plain digits.
 * @returns where it ends
 */
export function putWhole(bytes: Uint8Array, at: number, value: number): number {
  if (value < INT_LIMIT) return putInt(bytes, at, value | 0);
  const upper = Math.floor(value / EIGHT);
  const end = putWhole(bytes, at, upper);
  return putPaddedInt(bytes, end, (value - upper * EIGHT) | 0, 8);
}

/** Writes a whole number below 10^15 in so many digits, with zeros before it. @returns where it ends */
function putPadded(bytes: Uint8Array, at: number, value: number, width: number): number {
  if (width <= 8) return putPaddedInt(bytes, at, value | 0, width);
  const upper = Math.floor(value / EIGHT);
  const end = putPaddedInt(bytes, at, upper | 0, width - 8);
  return putPaddedInt(bytes, end, (value - upper * EIGHT) | 0, 8);
}

// Integers of 32 bits are what a processor divides fast, and what an index may be.

function putInt(bytes: Uint8Array, at: number, value: number): number {
  if (value >= 10_000) {
    const upper = (value / 10_000) | 0;
    const end = putInt(bytes, at, upper);
    putFour(bytes, end, value - upper * 10_000);
    return end + 4;
  }
  const width = value < 10 ? 1 : value < 100 ? 2 : value < 1_000 ? 3 : 4;
  const from = (value << 2) + 4 - width;
  for (let index = 0; index < width; index += 1) bytes[at + index] = FOURS[from + index] as number;
  return at + width;
}

function putPaddedInt(bytes: Uint8Array, at: number, value: number, width: number): number {
  let rest = value;
  let end = at + width;
  for (; end - at >= 4; end -= 4) {
    const upper = (rest / 10_000) | 0;
    putFour(bytes, end - 4, rest - upper * 10_000);
    rest = upper;
  }
  for (; end > at; end -= 1) {
    const upper = (rest / 10) | 0;
    bytes[end - 1] = ZERO + rest - upper * 10;
    rest = upper;
  }
  return at + width;
}

function putFour(bytes: Uint8Array, at: number, value: number): void {
  const from = value << 2;
  bytes[at] = FOURS[from] as number;
  bytes[at + 1] = FOURS[from + 1] as number;
  bytes[at + 2] = FOURS[from + 2] as number;
  bytes[at + 3] = FOURS[from + 3] as number;
}

/** Writes a text of ASCII. @returns where it ends */
export function putAscii(bytes: Uint8Array, at: number, text: string): number {
  for (let index = 0; index < text.length; index += 1) bytes[at + index] = text.charCodeAt(index);
  return at + text.length;
}
