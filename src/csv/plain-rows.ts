import { DECIMAL_FIELDS } from "../core/candle.ts";
import { MAX_ROW_DIGITS, type PackedCandles } from "../core/packed-candles.ts";
import { closeTimeOf, isAligned } from "../core/timeframe.ts";
import type { Field } from "./layout.ts";
import { MAX_LINE_BYTES } from "./line-blocks.ts";
import { mostCells, type RowPlan } from "./plan.ts";

/**
 * Reads rows that have nothing but plain numbers, as most rows of most files, from bytes to bytes: no text is made of
 * them. A row with anything else in it is left to the reader of cells.
 */
export class PlainRows {
  readonly #plan: RowPlan;
  readonly #now: number;
  readonly #delimiter: number;
  /** What each column is, from the first to the last that is needed. */
  readonly #kinds: Uint8Array;
  /** More cells are left to the reader of cells. */
  readonly #most: number;
  /** For each of {@link DECIMAL_FIELDS} its column, -1 when the file has none. */
  readonly #places: Int8Array;
  readonly #source: "csv" | "csv-partial";
  /** Where the cells of the row that is being read begin and end. */
  readonly #starts: Uint32Array;
  readonly #ends: Uint32Array;
  /** What its cells are as numbers; of decimals, exact up to 15 digits. */
  readonly #values: Float64Array;
  #line: Buffer | undefined;
  readonly #openColumn: number;
  readonly #closeColumn: number;
  readonly #countColumn: number;
  readonly #prices: readonly [open: number, high: number, low: number, close: number];

  private constructor(plan: RowPlan, now: number, width: number) {
    this.#plan = plan;
    this.#now = now;
    const { columns } = plan;
    this.#delimiter = plan.delimiter.charCodeAt(0);
    this.#kinds = new Uint8Array(width);
    this.#most = mostCells(plan, width);
    for (const field of Object.keys(columns) as Field[]) {
      this.#kinds[columns[field] ?? width] = kindOf(field);
    }
    this.#places = Int8Array.from(DECIMAL_FIELDS, (field) => columns[field] ?? -1);
    this.#starts = new Uint32Array(width);
    this.#ends = new Uint32Array(width);
    this.#values = new Float64Array(width);
    this.#openColumn = columns.openTime ?? -1;
    this.#closeColumn = columns.closeTime ?? -1;
    this.#countColumn = columns.tradeCount ?? -1;
    this.#prices = [columns.open, columns.high, columns.low, columns.close].map(
      (place) => place ?? 0,
    ) as [number, number, number, number];
    const isWhole = [...DECIMAL_FIELDS, "tradeCount" as const].every(
      (field) => columns[field] !== undefined,
    );
    this.#source = isWhole ? "csv" : "csv-partial";
  }

  /**
   * @param now no candle opens later, epoch ms
   * @returns `undefined` when no row of such a file is plain
   */
  static of(plan: RowPlan, now: number): PlainRows | undefined {
    const isOneSeries = plan.symbolColumn === undefined && plan.timeframeColumn === undefined;
    const isPlain = plan.units[0] === "ms" && isOneSeries && !plan.hasDecimalComma;
    const width = 1 + Math.max(...Object.values(plan.columns));
    return isPlain && width < MAX_WIDTH ? new PlainRows(plan, now, width) : undefined;
  }

  /**
   * Reads the row that begins at `from` and adds it when it is a plain and sound one.
   * @param to end of its line, without line end
   * @param observedTime lower bound; no version is seen before its candle opens
   */
  read(
    bytes: Uint8Array,
    from: number,
    to: number,
    packed: PackedCandles,
    observedTime: number,
  ): boolean {
    if (to - from > MAX_LINE_BYTES || !this.#cut(bytes, from, to)) return false;
    const values = this.#values;
    const { series, hasOddCandles } = this.#plan;
    const openTime = values[this.#openColumn] ?? 0;
    if (openTime > this.#now || openTime < MIN_TIME) return false;
    if (!hasOddCandles && !isAligned(series.timeframe, openTime)) return false;
    const closeTime = closeTimeOf(series.timeframe, openTime);
    if (this.#closeColumn >= 0 && values[this.#closeColumn] !== closeTime) return false;
    const tradeCount = this.#countColumn < 0 ? 0 : (values[this.#countColumn] ?? 0);
    if (tradeCount > MAX_COUNT || !this.#isSound()) return false;
    const end = this.#copy(bytes, packed);
    const observed = observedTime > openTime ? observedTime : openTime;
    packed.add(openTime, closeTime, tradeCount, this.#source, observed, end);
    return true;
  }

  /** The same for a line of text. */
  readText(line: string, packed: PackedCandles, observedTime: number): boolean {
    if (line.length > MAX_LINE_BYTES) return false;
    this.#line ??= Buffer.allocUnsafe(MAX_LINE_BYTES + MAX_CHARACTER);
    const length = this.#line.write(line, "utf8");
    return this.read(this.#line, 0, length, packed, observedTime);
  }

  /** Finds the cells of a row. @returns false when one is not what its column has to be */
  #cut(bytes: Uint8Array, from: number, to: number): boolean {
    const kinds = this.#kinds;
    const delimiter = this.#delimiter;
    let at = from;
    for (let column = 0; column < kinds.length; column += 1) {
      if (column > 0) {
        if (at >= to || bytes[at] !== delimiter) return false;
        at += 1;
      }
      this.#starts[column] = at;
      const kind = kinds[column];
      if (kind === DECIMAL) at = this.#decimal(bytes, at, to, column);
      else if (kind === OTHER) at = skip(bytes, at, to, delimiter);
      else at = this.#integer(bytes, at, to, column, kind === TIME ? TIME_DIGITS : COUNT_DIGITS);
      if (at < 0) return false;
      this.#ends[column] = at;
      if (
        kind === TIME &&
        (at - (this.#starts[column] ?? 0) !== TIME_DIGITS || bytes[at - TIME_DIGITS] === ZERO)
      )
        return false;
    }
    // What stands in further columns is of no interest, but for quotes, in which there may be a delimiter, and their number.
    if (at < to && bytes[at] !== delimiter) return false;
    let cells = kinds.length;
    for (; at < to; at += 1) {
      if (bytes[at] === QUOTE) return false;
      if (bytes[at] === delimiter) cells += 1;
    }
    return cells <= this.#most;
  }

  /** Digits only, `most` of them at most. @returns where they end, -1 when they are none */
  #integer(bytes: Uint8Array, from: number, to: number, column: number, most: number): number {
    let value = 0;
    let at = from;
    for (; at < to; at += 1) {
      const digit = (bytes[at] ?? 0) - ZERO;
      if (digit < 0 || digit > 9) break;
      value = value * 10 + digit;
    }
    this.#values[column] = value;
    return at === from || at - from > most ? -1 : at;
  }

  /** A decimal of the grammar of `core/decimal.ts`. @returns where it ends, -1 when it is none */
  #decimal(bytes: Uint8Array, from: number, to: number, column: number): number {
    const point = this.#integer(bytes, from, to, column, WHOLE_DIGITS);
    if (point < 0 || (point - from > 1 && bytes[from] === ZERO)) return -1;
    if (point >= to || bytes[point] !== POINT) return point;
    let value = this.#values[column] ?? 0;
    let at = point + 1;
    for (; at < to; at += 1) {
      const digit = (bytes[at] ?? 0) - ZERO;
      if (digit < 0 || digit > 9) break;
      value = value * 10 + digit;
    }
    const scale = at - point - 1;
    if (scale === 0 || scale > SCALE_DIGITS) return -1;
    this.#values[column] = value / (POWERS[scale] ?? 1);
    return at;
  }

  /** Quick proof of the rules of `validateCandle` for usual candles, by their prices as numbers. */
  #isSound(): boolean {
    const values = this.#values;
    for (const place of this.#prices) {
      // Of 15 digits a double is exact, so that such prices compare as the decimals do.
      if ((this.#ends[place] ?? 0) - (this.#starts[place] ?? 0) > EXACT_LENGTH) return false;
    }
    const [open, high, low, close] = this.#prices;
    const [o = 0, h = 0, l = 0, c = 0] = [values[open], values[high], values[low], values[close]];
    return l > 0 && l <= o && o <= h && l <= c && c <= h;
  }

  /** Copies the decimals in their order; a zero stands for what the file does not have. @returns where they end */
  #copy(bytes: Uint8Array, packed: PackedCandles): number {
    const digits = packed.room(MAX_ROW_DIGITS);
    let out = packed.digitsLength;
    for (let field = 0; field < this.#places.length; field += 1) {
      const place = this.#places[field] ?? -1;
      if (place < 0) {
        digits[out] = ZERO;
        out += 1;
      } else {
        const end = this.#ends[place] ?? 0;
        for (let at = this.#starts[place] ?? 0; at < end; at += 1) {
          digits[out] = bytes[at] ?? 0;
          out += 1;
        }
      }
      digits[out] = TAB;
      out += 1;
    }
    digits[out - 1] = LF;
    return out;
  }
}

/** What a column has to hold. */
const OTHER = 0;
const DECIMAL = 1;
const TIME = 2;
const COUNT = 3;

function kindOf(field: Field): number {
  if (field === "openTime" || field === "closeTime") return TIME;
  return field === "tradeCount" ? COUNT : DECIMAL;
}

/** A cell of a column that is of no interest. @returns where it ends, -1 when it has quotes */
function skip(bytes: Uint8Array, from: number, to: number, delimiter: number): number {
  let at = from;
  for (; at < to && bytes[at] !== delimiter; at += 1) if (bytes[at] === QUOTE) return -1;
  return at;
}

const TAB = 9;
const LF = 10;
const QUOTE = 34;
const POINT = 46;
const ZERO = 48;
const MAX_WIDTH = 100;
/** Bytes of UTF-8. */
const MAX_CHARACTER = 4;
const TIME_DIGITS = 13;
const COUNT_DIGITS = 10;
const WHOLE_DIGITS = 20;
const SCALE_DIGITS = 18;
const EXACT_LENGTH = 15;
const MIN_TIME = 1_199_145_600_000;
const MAX_COUNT = 2_147_483_647;
/** Powers of ten that a double holds exactly. */
const POWERS = Float64Array.from({ length: SCALE_DIGITS + 1 }, (_, exponent) => 10 ** exponent);
