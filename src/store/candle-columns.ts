import type { DECIMAL_FIELDS } from "../core/candle.ts";
import { copyRows, type FieldOffsets, timeAt } from "./binary-rows.ts";
import { type CandleSelection, candlesSql, SQL_NAMES, whole } from "./candle-select.ts";
import type { BulkExecutor } from "./database.ts";
import { numericToDouble } from "./numeric.ts";

/** A field of a candle that can be read as a column of doubles. */
export type ColumnField = (typeof DECIMAL_FIELDS)[number] | "tradeCount";

/** Candles as columns, ascending by open time, index for index; a field that was not asked for is not there. */
export type CandleColumns<Field extends ColumnField = ColumnField> = {
  /** Epoch ms. */
  readonly openTime: Float64Array<ArrayBuffer>;
} & { readonly [F in Field]: Float64Array<ArrayBuffer> };

const FIRST_CAPACITY = 4_096;

/**
 * Reads columns in one statement, decoded as they come: the server's own digits are cheaper than its conversion to doubles,
 * and the nearest double is made here.
 * @param newest only so many, the newest ones
 */
export async function readColumns<Field extends ColumnField>(
  executor: BulkExecutor,
  selection: CandleSelection,
  fields: readonly Field[],
  newest?: number,
): Promise<CandleColumns<Field>> {
  const columns = new GrowingColumns(fields);
  const tail =
    newest === undefined ? "order by open_time" : `order by open_time desc limit ${whole(newest)}`;
  const names = ["open_time", ...fields.map((field) => SQL_NAMES[field])];
  await copyRows(
    executor,
    `select ${names.join(", ")} from ${candlesSql(selection)} ${tail}`,
    names.length,
    (view, offsets) => columns.push(view, offsets),
  );
  return columns.finish(newest !== undefined) as CandleColumns<Field>;
}

class GrowingColumns {
  readonly #fields: readonly ColumnField[];
  #columns: Float64Array<ArrayBuffer>[];
  #capacity = FIRST_CAPACITY;
  #rowCount = 0;

  constructor(fields: readonly ColumnField[]) {
    this.#fields = fields;
    this.#columns = ["openTime", ...fields].map(() => new Float64Array(FIRST_CAPACITY));
  }

  push(view: DataView, offsets: FieldOffsets): void {
    if (this.#rowCount === this.#capacity) this.#grow();
    for (let index = 0; index < offsets.length; index += 1) {
      const at = offsets[index] as number;
      const column = this.#columns[index] as Float64Array;
      if (index === 0) column[this.#rowCount] = timeAt(view, at);
      else if (this.#fields[index - 1] === "tradeCount") column[this.#rowCount] = view.getInt32(at);
      else column[this.#rowCount] = numericToDouble(view, at);
    }
    this.#rowCount += 1;
  }

  finish(isDescending: boolean): CandleColumns {
    const columns = this.#columns.map((column) => {
      const values = column.slice(0, this.#rowCount);
      return isDescending ? values.reverse() : values;
    });
    const names = ["openTime", ...this.#fields];
    return Object.fromEntries(names.map((name, index) => [name, columns[index]])) as CandleColumns;
  }

  #grow(): void {
    this.#capacity *= 2;
    this.#columns = this.#columns.map((column) => {
      const larger = new Float64Array(this.#capacity);
      larger.set(column);
      return larger;
    });
  }
}
