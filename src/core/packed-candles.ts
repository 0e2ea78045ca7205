import { type Candle, DECIMAL_FIELDS } from "./candle.ts";
import { AUTHORITY, type Source, type VersionedCandle } from "./finality.ts";
import type { Series } from "./series.ts";

/** Bytes of a row's decimals, at most: eight of 39 characters, each with the character that ends it. */
export const MAX_ROW_DIGITS = DECIMAL_FIELDS.length * 40;

const TAB = 9;
const LF = 10;
const FIRST_CAPACITY = 1_024;
const USUAL_ROW_DIGITS = 64;
const SOURCES = Object.keys(AUTHORITY) as Source[];

/**
 * Candles of one series in a few arrays, for the road on which millions pass: a row is no object, and its decimals are the
 * bytes of the file.
 */
export class PackedCandles {
  readonly series: Series;
  #length = 0;
  #openTimes = new Float64Array(FIRST_CAPACITY);
  #closeTimes = new Float64Array(FIRST_CAPACITY);
  #tradeCounts = new Float64Array(FIRST_CAPACITY);
  #observedTimes = new Float64Array(FIRST_CAPACITY);
  #sources = new Uint8Array(FIRST_CAPACITY);
  /** Where the decimals of a row end; those of the first begin at 0. */
  #ends = new Uint32Array(FIRST_CAPACITY);
  #digits = new Uint8Array(FIRST_CAPACITY * USUAL_ROW_DIGITS);

  constructor(series: Series) {
    this.series = series;
  }

  static of(series: Series, candles: readonly VersionedCandle[]): PackedCandles {
    const packed = new PackedCandles(series);
    for (const candle of candles) packed.push(candle);
    return packed;
  }

  get length(): number {
    return this.#length;
  }

  /** Decimals of all rows as ASCII, in the order of {@link DECIMAL_FIELDS}: a tab after each, a line feed after a row's last. */
  get digits(): Uint8Array {
    return this.#digits;
  }

  /** Offset in {@link digits} behind the decimals of the last row. */
  get digitsLength(): number {
    return this.#length === 0 ? 0 : this.digitsEnd(this.#length - 1);
  }

  /** Offset in {@link digits} behind the decimals of a row. */
  digitsEnd(index: number): number {
    return this.#ends[index] ?? 0;
  }

  openTime(index: number): number {
    return this.#openTimes[index] ?? Number.NaN;
  }

  closeTime(index: number): number {
    return this.#closeTimes[index] ?? Number.NaN;
  }

  tradeCount(index: number): number {
    return this.#tradeCounts[index] ?? Number.NaN;
  }

  observedTime(index: number): number {
    return this.#observedTimes[index] ?? Number.NaN;
  }

  source(index: number): Source {
    return SOURCES[this.#sources[index] ?? 0] as Source;
  }

  /** A row as an object. */
  at(index: number): VersionedCandle {
    const from = index === 0 ? 0 : this.digitsEnd(index - 1);
    const bytes = this.#digits.subarray(from, this.digitsEnd(index) - 1);
    const decimals = String.fromCharCode(...bytes).split("\t");
    const candle: Record<string, string | number> = {
      openTime: this.openTime(index),
      closeTime: this.closeTime(index),
      tradeCount: this.tradeCount(index),
    };
    DECIMAL_FIELDS.forEach((field, place) => {
      candle[field] = decimals[place] ?? "";
    });
    const { series } = this;
    const observedTime = this.observedTime(index);
    return {
      series,
      candle: candle as unknown as Candle,
      source: this.source(index),
      observedTime,
    };
  }

  /** All rows from one on as objects, `count` at most. */
  slice(from: number, count: number): VersionedCandle[] {
    const to = Math.min(this.#length, from + count);
    return Array.from({ length: Math.max(0, to - from) }, (_, index) => this.at(from + index));
  }

  /**
   * Adds a row.
   * @throws {RangeError} when a decimal has a character that none has
   */
  push({ candle, source, observedTime }: VersionedCandle): void {
    const texts = DECIMAL_FIELDS.map((field) => candle[field]);
    const size = texts.reduce((sum, text) => sum + text.length + 1, 0);
    const digits = this.room(size);
    let at = this.digitsLength;
    for (const text of texts) {
      for (let index = 0; index < text.length; index += 1) {
        const code = text.charCodeAt(index);
        // Nothing but digits, points and signs: whoever writes the bytes on need not escape any.
        if (code < 43 || code > 57 || code === 44 || code === 47) {
          throw new RangeError(`no decimal: ${JSON.stringify(text)}`);
        }
        digits[at + index] = code;
      }
      at += text.length;
      digits[at] = TAB;
      at += 1;
    }
    digits[at - 1] = LF;
    this.add(candle.openTime, candle.closeTime, candle.tradeCount, source, observedTime, at);
  }

  /** Adds a row of another one's as it is. */
  pushFrom(other: PackedCandles, index: number): void {
    const from = index === 0 ? 0 : other.digitsEnd(index - 1);
    const to = other.digitsEnd(index);
    const at = this.digitsLength;
    this.room(to - from).set(other.#digits.subarray(from, to), at);
    const [openTime, closeTime] = [other.openTime(index), other.closeTime(index)];
    const { [index]: tradeCount = 0 } = other.#tradeCounts;
    this.add(
      ...([openTime, closeTime, tradeCount, other.source(index)] as const),
      ...([other.observedTime(index), at + to - from] as const),
    );
  }

  /** {@link digits} with room for so many bytes behind its last row. */
  room(size: number): Uint8Array {
    const needed = this.digitsLength + size;
    if (needed > this.#digits.length) {
      const larger = new Uint8Array(Math.max(needed, this.#digits.length * 2));
      larger.set(this.#digits);
      this.#digits = larger;
    }
    return this.#digits;
  }

  /**
   * Adds a row whose decimals have been written into {@link room}.
   * @param digitsEnd offset behind them
   */
  add(
    openTime: number,
    closeTime: number,
    tradeCount: number,
    source: Source,
    observedTime: number,
    digitsEnd: number,
  ): void {
    const index = this.#length;
    if (index === this.#ends.length) this.#grow();
    this.#openTimes[index] = openTime;
    this.#closeTimes[index] = closeTime;
    this.#tradeCounts[index] = tradeCount;
    this.#observedTimes[index] = observedTime;
    this.#sources[index] = SOURCES.indexOf(source);
    this.#ends[index] = digitsEnd;
    this.#length = index + 1;
  }

  /** Takes all rows away; their room stays. */
  clear(): void {
    this.#length = 0;
  }

  /** Takes the last row away. */
  pop(): void {
    this.#length = Math.max(0, this.#length - 1);
  }

  #grow(): void {
    const size = this.#ends.length * 2;
    const wider = (from: Float64Array): Float64Array<ArrayBuffer> => {
      const to = new Float64Array(size);
      to.set(from);
      return to;
    };
    this.#openTimes = wider(this.#openTimes);
    this.#closeTimes = wider(this.#closeTimes);
    this.#tradeCounts = wider(this.#tradeCounts);
    this.#observedTimes = wider(this.#observedTimes);
    const [sources, ends] = [new Uint8Array(size), new Uint32Array(size)];
    sources.set(this.#sources);
    ends.set(this.#ends);
    this.#sources = sources;
    this.#ends = ends;
  }
}
