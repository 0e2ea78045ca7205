import type { CandleBlock } from "../../core/candle-block.ts";
import type { DecimalColumn } from "../../core/decimal-column.ts";
import { BlackTradeError } from "../../core/errors.ts";
import { byteCountOf, type ExportColumn, type Layout } from "./fields.ts";

const WORD = 2 ** 32;
const LOW_64 = 2n ** 64n - 1n;

/** Values of one column for a bounded number of rows, as the bytes that a binary file holds. */
export class ColumnBuffer {
  readonly column: ExportColumn;
  readonly layout: Layout;
  readonly #isBigEndian: boolean;
  #bytes = new Uint8Array(0);

  /** @param isBigEndian of decimals of 16 bytes */
  constructor(column: ExportColumn, layout: Layout, isBigEndian: boolean) {
    this.column = column;
    this.layout = layout;
    this.#isBigEndian = isBigEndian;
  }

  /** Makes room for so many rows; what was put stays. */
  reserve(rowCount: number): void {
    const size = rowCount * byteCountOf(this.layout);
    if (size <= this.#bytes.length) return;
    const bytes = new Uint8Array(size);
    bytes.set(this.#bytes);
    this.#bytes = bytes;
  }

  /** Puts the rows of a block from `from` up to `to`, the first of them at `row`. */
  put(row: number, block: CandleBlock, from: number, to: number): void {
    const { column } = this;
    if (column.kind === "count") {
      const counts = new Int32Array(this.#bytes.buffer);
      counts.set(block.tradeCount.subarray(from, to), row);
    } else if (column.kind === "time") {
      const words = new Uint32Array(this.#bytes.buffer);
      const times = block[column.field];
      for (let at = from; at < to; at += 1) {
        putWords(words, (row + at - from) * 2, times[at] as number);
      }
    } else this.#putDecimals(row, block.decimals[column.field], from, to);
  }

  #putDecimals(row: number, column: DecimalColumn, from: number, to: number): void {
    const { buffer } = this.#bytes;
    const { layout } = this;
    if (layout.kind !== "decimal") {
      const floats = new Float64Array(buffer);
      for (let at = from; at < to; at += 1) floats[row + at - from] = column.double(at);
      return;
    }
    const { scale, byteCount, precision } = layout;
    const wordCount = byteCount / 4;
    const words = new Uint32Array(buffer);
    const view = new DataView(buffer);
    const isReversed = byteCount === 16 && this.#isBigEndian;
    const limit = 10n ** BigInt(precision);
    for (let at = from; at < to; at += 1) {
      const target = row + at - from;
      const value = column.unscaled(at, scale);
      if (value === undefined) throw tooFine(column.text(at), scale);
      if (typeof value === "bigint") {
        if (value >= limit) throw tooLarge(column.text(at), precision);
        putBigInt(view, target * byteCount, value, byteCount, isReversed);
      } else if (isReversed) putBigEndian(view, target * 16, value);
      else putDecimal(words, target * wordCount, wordCount, value);
    }
  }

  /** Bytes of the first rows; a copy, so that the buffer can be filled anew. */
  take(rowCount: number): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, rowCount * byteCountOf(this.layout));
  }
}

/** Typed arrays are little-endian on every machine that Node runs on. */
function putWords(words: Uint32Array, at: number, value: number): void {
  words[at] = value;
  words[at + 1] = Math.floor(value / WORD);
}

function putDecimal(words: Uint32Array, at: number, wordCount: number, value: number): void {
  putWords(words, at, value);
  if (wordCount === 2) return;
  words[at + 2] = 0;
  words[at + 3] = 0;
}

function putBigEndian(view: DataView, at: number, value: number): void {
  view.setUint32(at, 0);
  view.setUint32(at + 4, 0);
  view.setUint32(at + 8, Math.floor(value / WORD));
  view.setUint32(at + 12, value);
}

function putBigInt(
  view: DataView,
  at: number,
  value: bigint,
  byteCount: number,
  isBigEndian: boolean,
): void {
  view.setBigUint64(isBigEndian ? at + 8 : at, value & LOW_64, !isBigEndian);
  if (byteCount === 16) view.setBigUint64(isBigEndian ? at : at + 8, value >> 64n, !isBigEndian);
}

function tooLarge(text: string, precision: number): BlackTradeError {
  return new BlackTradeError(
    "E_USAGE",
    `${text} has more than the ${precision} digits that were counted before the export began`,
    { remedy: "A candle was replaced meanwhile; export again." },
  );
}

function tooFine(text: string, scale: number): BlackTradeError {
  return new BlackTradeError(
    "E_USAGE",
    `${text} has more than the ${scale} decimals that were counted before the export began`,
    { remedy: "A candle was replaced meanwhile; export again." },
  );
}
