import type { DECIMAL_FIELDS } from "../core/candle.ts";
import { type CandleSelection, candlesSql, whole } from "./candle-select.ts";
import type { BulkExecutor } from "./database.ts";
import { numericToDouble } from "./numeric.ts";

/** A field of a candle that can be read as a column of doubles. */
export type ColumnField = (typeof DECIMAL_FIELDS)[number] | "tradeCount";

/** Candles as columns, ascending by open time, index for index; a field that was not asked for is not there. */
export type CandleColumns<Field extends ColumnField = ColumnField> = {
  /** Epoch ms. */
  readonly openTime: Float64Array<ArrayBuffer>;
} & { readonly [F in Field]: Float64Array<ArrayBuffer> };

const SQL_NAMES: Readonly<Record<ColumnField, string>> = {
  ...{ open: "open", high: "high", low: "low", close: "close", volume: "volume" },
  ...{ quoteVolume: "quote_volume", tradeCount: "trade_count" },
  ...{ takerBuyVolume: "taker_buy_volume", takerBuyQuoteVolume: "taker_buy_quote_volume" },
};

/** Signature, flags, length of an extension that is not used. */
const HEADER_BYTES = 19;
/** 2000-01-01, from which PostgreSQL counts microseconds. */
const EPOCH_MS = 946_684_800_000;
const WORD = 2 ** 32;
const FIRST_CAPACITY = 4_096;

/**
 * Reads columns by COPY in binary form, decoded as it comes: the server sends its own digits, which is cheaper than its
 * conversion to doubles, and the nearest double is made here.
 * @param newest only so many, the newest ones
 */
export async function readColumns<Field extends ColumnField>(
  executor: BulkExecutor,
  selection: CandleSelection,
  fields: readonly Field[],
  newest?: number,
): Promise<CandleColumns<Field>> {
  const decoder = new ColumnDecoder(fields);
  const tail =
    newest === undefined ? "order by open_time" : `order by open_time desc limit ${whole(newest)}`;
  const columns = ["open_time", ...fields.map((field) => SQL_NAMES[field])].join(", ");
  await executor.copyOut(
    `copy (select ${columns} from ${candlesSql(selection)} ${tail}) to stdout (format binary)`,
    (chunk) => decoder.take(chunk),
  );
  return decoder.finish(newest !== undefined) as CandleColumns<Field>;
}

class ColumnDecoder {
  readonly #fields: readonly ColumnField[];
  #columns: Float64Array<ArrayBuffer>[];
  #rowCount = 0;
  #rest: Buffer = Buffer.alloc(0);
  #isHeaderRead = false;

  constructor(fields: readonly ColumnField[]) {
    this.#fields = fields;
    this.#columns = ["openTime", ...fields].map(() => new Float64Array(FIRST_CAPACITY));
  }

  take(chunk: Buffer): void {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    let at = 0;
    if (!this.#isHeaderRead) {
      if (bytes.length < HEADER_BYTES) {
        this.#rest = bytes;
        return;
      }
      this.#isHeaderRead = true;
      at = HEADER_BYTES;
    }
    for (let next = this.#row(view, at); next > 0; next = this.#row(view, at)) at = next;
    this.#rest = bytes.subarray(at);
  }

  finish(isDescending: boolean): CandleColumns {
    const columns = this.#columns.map((column) => {
      const values = column.slice(0, this.#rowCount);
      return isDescending ? values.reverse() : values;
    });
    const names = ["openTime", ...this.#fields];
    return Object.fromEntries(names.map((name, index) => [name, columns[index]])) as CandleColumns;
  }

  /** @returns where the next row begins; 0 when this one is not there as a whole, or was the end */
  #row(view: DataView, start: number): number {
    const { byteLength } = view;
    if (start + 2 > byteLength || view.getInt16(start) < 0) return 0;
    let at = start + 2;
    if (this.#rowCount === this.#columns[0]?.length) this.#grow();
    for (let index = 0; index < this.#columns.length; index += 1) {
      if (at + 4 > byteLength) return 0;
      const length = view.getInt32(at);
      at += 4;
      if (at + length > byteLength) return 0;
      (this.#columns[index] as Float64Array)[this.#rowCount] = this.#value(view, at, index);
      at += length;
    }
    this.#rowCount += 1;
    return at;
  }

  #value(view: DataView, at: number, index: number): number {
    if (index === 0) {
      const microseconds = view.getInt32(at) * WORD + view.getUint32(at + 4);
      return microseconds / 1_000 + EPOCH_MS;
    }
    if (this.#fields[index - 1] === "tradeCount") return view.getInt32(at);
    return numericToDouble(view, at);
  }

  #grow(): void {
    this.#columns = this.#columns.map((column) => {
      const larger = new Float64Array(column.length * 2);
      larger.set(column);
      return larger;
    });
  }
}
