import type { Candle } from "../../core/candle.ts";
import { BlackTradeError } from "../../core/errors.ts";
import { byteCountOf, type ExportColumn, fieldOf, type Layout } from "./fields.ts";
import { unscaledOf } from "./unscaled.ts";

const WORD = 2 ** 32;
const MASK = 0xffff_ffffn;

/** Values of one column for a bounded number of rows, as the bytes that a binary file holds. */
export class ColumnBuffer {
  readonly column: ExportColumn;
  readonly layout: Layout;
  readonly #isBigEndian: boolean;
  #put: (row: number, value: number | string) => void;
  #bytes: Uint8Array;

  /** @param isBigEndian of decimals of 16 bytes */
  constructor(column: ExportColumn, layout: Layout, isBigEndian: boolean) {
    this.column = column;
    this.layout = layout;
    this.#isBigEndian = isBigEndian;
    this.#bytes = new Uint8Array(0);
    this.#put = putterOf(layout, this.#bytes, isBigEndian);
  }

  /** Makes room for so many rows; what was put stays. */
  reserve(rowCount: number): void {
    const size = rowCount * byteCountOf(this.layout);
    if (size <= this.#bytes.length) return;
    const bytes = new Uint8Array(size);
    bytes.set(this.#bytes);
    this.#bytes = bytes;
    this.#put = putterOf(this.layout, bytes, this.#isBigEndian);
  }

  put(row: number, candle: Candle): void {
    this.#put(row, fieldOf(this.column, candle));
  }

  /** Bytes of the first rows; a copy, so that the buffer can be filled anew. */
  take(rowCount: number): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, rowCount * byteCountOf(this.layout));
  }
}

function putterOf(
  layout: Layout,
  bytes: Uint8Array,
  isBigEndian: boolean,
): (row: number, value: number | string) => void {
  const { buffer } = bytes;
  switch (layout.kind) {
    case "float64": {
      const floats = new Float64Array(buffer);
      return (row, value) => {
        floats[row] = Number(value);
      };
    }
    case "int32": {
      const integers = new Int32Array(buffer);
      return (row, value) => {
        integers[row] = Number(value);
      };
    }
    case "int64": {
      const words = new Uint32Array(buffer);
      return (row, value) => putWords(words, row * 2, Number(value));
    }
    case "decimal": {
      const { scale, byteCount } = layout;
      if (byteCount === 16 && isBigEndian) {
        const view = new DataView(buffer);
        return (row, value) => putBigEndian(view, row * 16, unscaledOf(String(value), scale));
      }
      const words = new Uint32Array(buffer);
      const wordCount = byteCount / 4;
      return (row, value) =>
        putDecimal(words, row * wordCount, wordCount, unscaledOf(String(value), scale));
    }
  }
}

/** Typed arrays are little-endian on every machine that Node runs on. */
function putWords(words: Uint32Array, at: number, value: number): void {
  words[at] = value;
  words[at + 1] = Math.floor(value / WORD);
}

function putDecimal(
  words: Uint32Array,
  at: number,
  wordCount: number,
  value: number | bigint,
): void {
  if (typeof value === "number") {
    putWords(words, at, value);
    words.fill(0, at + 2, at + wordCount);
    return;
  }
  let rest = value;
  for (let word = 0; word < wordCount; word += 1) {
    words[at + word] = Number(rest & MASK);
    rest >>= 32n;
  }
  // The sign bit stays free.
  if (rest !== 0n || (words[at + wordCount - 1] ?? 0) >= WORD / 2) throw tooLarge(value);
}

function putBigEndian(view: DataView, at: number, value: number | bigint): void {
  if (typeof value === "number") {
    view.setUint32(at, 0);
    view.setUint32(at + 4, 0);
    view.setUint32(at + 8, Math.floor(value / WORD));
    view.setUint32(at + 12, value);
    return;
  }
  let rest = value;
  for (let word = 3; word >= 0; word -= 1) {
    view.setUint32(at + word * 4, Number(rest & MASK));
    rest >>= 32n;
  }
}

function tooLarge(value: bigint): BlackTradeError {
  return new BlackTradeError(
    "E_USAGE",
    `the unscaled value ${value} is larger than what was counted before the export began`,
    { remedy: "A candle was replaced meanwhile; export again." },
  );
}
