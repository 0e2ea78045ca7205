import { DECIMAL_FIELDS } from "../core/candle.ts";
import { type CandleBlock, decimalColumns } from "../core/candle-block.ts";
import { type DecimalColumn, grown } from "../core/decimal-column.ts";
import type { Series } from "../core/series.ts";
import { closeTimeOf, type Timeframe } from "../core/timeframe.ts";
import { type FieldOffsets, int8At, timeAt } from "./binary-rows.ts";
import { SQL_NAMES } from "./candle-select.ts";
import { numericToDouble, putNumeric } from "./numeric.ts";

/** A block of stored candles. */
export interface StoredBlock extends CandleBlock {
  /** The version of each, see `core/finality.ts`. */
  readonly version: Float64Array;
}

/** What {@link BlockBuilder.push} expects of a row, in order. */
export const BLOCK_COLUMNS: readonly string[] = [
  ...["open_time", "version", "cut_ms", "trade_count"],
  ...DECIMAL_FIELDS.map((field) => SQL_NAMES[field]),
];
const FIRST_DECIMAL = BLOCK_COLUMNS.length - DECIMAL_FIELDS.length;

/** Makes a block of rows in PostgreSQL's binary form. */
export class BlockBuilder {
  readonly #timeframe: Timeframe;
  #rowCount = 0;
  #capacity: number;
  #openTime: Float64Array;
  #closeTime: Float64Array;
  #version: Float64Array;
  #tradeCount: Int32Array;
  readonly #decimals: CandleBlock["decimals"];
  readonly #columns: readonly DecimalColumn[];

  /** @param capacity rows that there is room for at first */
  constructor({ timeframe }: Series, capacity: number) {
    this.#timeframe = timeframe;
    this.#capacity = capacity;
    this.#openTime = new Float64Array(capacity);
    this.#closeTime = new Float64Array(capacity);
    this.#version = new Float64Array(capacity);
    this.#tradeCount = new Int32Array(capacity);
    this.#decimals = decimalColumns(capacity);
    this.#columns = DECIMAL_FIELDS.map((field) => this.#decimals[field]);
  }

  push(view: DataView, offsets: FieldOffsets): void {
    if (this.#rowCount === this.#capacity) this.#grow();
    const row = this.#rowCount;
    const openTime = timeAt(view, offsets[0] as number);
    this.#openTime[row] = openTime;
    this.#closeTime[row] =
      closeTimeOf(this.#timeframe, openTime) - numericToDouble(view, offsets[2] as number);
    this.#version[row] = int8At(view, offsets[1] as number);
    this.#tradeCount[row] = view.getInt32(offsets[3] as number);
    for (let index = 0; index < this.#columns.length; index += 1) {
      const column = this.#columns[index] as DecimalColumn;
      putNumeric(column, row, view, offsets[FIRST_DECIMAL + index] as number);
    }
    this.#rowCount += 1;
  }

  /** What was pushed, until {@link clear}. */
  finish(): StoredBlock {
    return {
      rowCount: this.#rowCount,
      openTime: this.#openTime,
      closeTime: this.#closeTime,
      version: this.#version,
      tradeCount: this.#tradeCount,
      decimals: this.#decimals,
    };
  }

  clear(): void {
    this.#rowCount = 0;
    for (const column of this.#columns) column.clear();
  }

  #grow(): void {
    this.#capacity *= 2;
    this.#openTime = grown(this.#openTime, this.#capacity);
    this.#closeTime = grown(this.#closeTime, this.#capacity);
    this.#version = grown(this.#version, this.#capacity);
    const counts = new Int32Array(this.#capacity);
    counts.set(this.#tradeCount);
    this.#tradeCount = counts;
    for (const column of this.#columns) column.grow(this.#capacity);
  }
}
