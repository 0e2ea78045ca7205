import type { Candle } from "../core/candle.ts";
import { isDecimal } from "../core/decimal.ts";
import type { Source } from "../core/finality.ts";
import { closeTimeOf, isAligned, nominalMs } from "../core/timeframe.ts";
import { validateCandle } from "../core/validate.ts";
import { symbolOf, timeframeOf } from "./names.ts";
import { isAbsent, plainCount, plainDecimal } from "./numbers.ts";
import { mostCells, type RowPlan } from "./plan.ts";
import { readTime } from "./times.ts";

/** A row as a candle. */
export interface ReadRow {
  readonly candle: Candle;
  /** `csv-partial` when the row lacks something that an exchange tells. */
  readonly source: Source & ("csv" | "csv-partial");
}

/** Why a row is no candle: one plain sentence, and a word to count by. */
export interface RowRefusal {
  readonly code: string;
  readonly detail: string;
}

const MAX_SHOWN = 40;
/** A double of 15 digits is exact, so that such decimals compare as numbers do. */
const EXACT_LENGTH = 15;

/** Turns rows of one file into candles. */
export class RowReader {
  readonly #plan: RowPlan;
  readonly #width: number;
  readonly #most: number;
  readonly #now: number;
  /** Of the row that is being read. */
  #problem: RowRefusal | undefined;
  #isPartial = false;

  /** @param now no candle opens later, epoch ms */
  constructor(plan: RowPlan, now: number) {
    this.#plan = plan;
    this.#now = now;
    const { symbolColumn, timeframeColumn } = plan;
    const named = [symbolColumn ?? 0, timeframeColumn ?? 0];
    this.#width = 1 + Math.max(...Object.values(plan.columns), ...named);
    this.#most = mostCells(plan, this.#width);
  }

  /** Reads the cells of a line. */
  read(cells: readonly string[]): ReadRow | RowRefusal {
    if (cells.length < this.#optionalWidth(cells)) {
      return { code: "columns", detail: `it has ${cells.length} columns, not ${this.#width}` };
    }
    if (cells.length > this.#most && cells.slice(this.#most).some((cell) => cell.trim() !== "")) {
      const detail = `it has ${cells.length} columns, not ${this.#plan.usualWidth}: two rows run together, or a delimiter in a cell`;
      return { code: "columns", detail };
    }
    const { columns } = this.#plan;
    const other = this.#otherSeries(cells);
    if (other !== undefined) return other;
    const openTime = this.#time(cells[columns.openTime ?? 0] ?? "");
    if (typeof openTime !== "number") return openTime;
    const regular = closeTimeOf(this.#plan.series.timeframe, openTime);
    const closeTime = this.#closeTime(cells, openTime, regular);
    if (typeof closeTime !== "number") return closeTime;
    this.#problem = undefined;
    this.#isPartial = false;
    const candle: Candle = {
      openTime,
      closeTime,
      open: this.#needed(cells, "open"),
      high: this.#needed(cells, "high"),
      low: this.#needed(cells, "low"),
      close: this.#needed(cells, "close"),
      volume: this.#optional(cells, "volume"),
      quoteVolume: this.#optional(cells, "quoteVolume"),
      tradeCount: this.#count(cells),
      takerBuyVolume: this.#optional(cells, "takerBuyVolume"),
      takerBuyQuoteVolume: this.#optional(cells, "takerBuyQuoteVolume"),
    };
    if (this.#problem !== undefined) return this.#problem;
    const source = this.#isPartial ? "csv-partial" : "csv";
    if (!isSound(candle)) {
      const rejection = validateCandle(candle, Math.max(this.#now, openTime));
      if (rejection !== undefined) return rejection;
    }
    return { candle, source };
  }

  /** A row of another series than the file's, where cells say so. */
  #otherSeries(cells: readonly string[]): RowRefusal | undefined {
    const { symbolColumn, timeframeColumn, series } = this.#plan;
    const { symbol, timeframe } = series;
    if (symbolColumn !== undefined && symbolOf(cells[symbolColumn] ?? "") !== symbol) {
      return refused("symbol", `its symbol is ${shown(cells[symbolColumn])}, not ${symbol}`);
    }
    if (timeframeColumn === undefined) return undefined;
    const cell = cells[timeframeColumn];
    if (timeframeOf((cell ?? "").trim()) === timeframe) return undefined;
    return refused("timeframe", `its timeframe is ${shown(cell)}, not ${timeframe}`);
  }

  /** Fewer cells than columns are a row that was cut off, unless only what may be absent is missing. */
  #optionalWidth(cells: readonly string[]): number {
    if (cells.length >= this.#width) return 0;
    const { columns } = this.#plan;
    const isCount =
      columns.tradeCount === this.#width - 1 && this.#plan.layout === "cryptodatadownload";
    return isCount ? this.#width - 1 : this.#width;
  }

  #time(cell: string): number | RowRefusal {
    const { series, units, zoneMs, hasOddCandles } = this.#plan;
    const read = readTime(cell.trim(), zoneMs);
    if (read === undefined) return refused("time", `its time is ${shown(cell)}`);
    if (!units.includes(read.unit)) {
      return refused("mixed-units", `its time ${shown(cell)} is in another unit than the file's`);
    }
    const { time } = read;
    if (!Number.isInteger(time)) return refused("time", `its time ${shown(cell)} is no whole ms`);
    if (time > this.#now)
      return refused("from-the-future", `its time ${shown(cell)} is yet to come`);
    if (!hasOddCandles && !isAligned(series.timeframe, time)) {
      return refused(
        "off-grid",
        `its time ${shown(cell)} is not on the grid of ${series.timeframe}`,
      );
    }
    return time;
  }

  #closeTime(cells: readonly string[], openTime: number, regular: number): number | RowRefusal {
    const { columns, zoneMs, series, hasOddCandles } = this.#plan;
    const cell = columns.closeTime === undefined ? undefined : cells[columns.closeTime];
    if (cell === undefined || isAbsent(cell)) return regular;
    const read = readTime(cell.trim(), zoneMs);
    if (read === undefined) return refused("time", `its close time is ${shown(cell)}`);
    const time = Math.floor(read.time);
    // Some write the instant at which the next candle opens.
    const closeTime = time === regular + 1 || read.unit === "s" ? regular : time;
    const latest = hasOddCandles
      ? Math.max(regular, openTime + nominalMs(series.timeframe))
      : regular;
    if (closeTime < openTime || closeTime > latest) {
      return refused("time", `its close time ${shown(cell)} does not belong to its open time`);
    }
    return closeTime;
  }

  /** A decimal that every file must tell. */
  #needed(cells: readonly string[], field: Needed): string {
    const cell = cells[this.#plan.columns[field] ?? -1] ?? "";
    if (isDecimal(cell)) return cell;
    const text = plainDecimal(cell, this.#plan.hasDecimalComma);
    if (text === undefined) {
      this.#problem ??= refused("not-a-decimal", `its ${field} is ${shown(cell)}`);
    }
    return text ?? "";
  }

  /** A decimal that may be absent: zero then, and the row is partial. */
  #optional(cells: readonly string[], field: Optional): string {
    const at = this.#plan.columns[field];
    const cell = at === undefined ? undefined : cells[at];
    if (cell !== undefined && isDecimal(cell)) return cell;
    if (!isAbsent(cell)) {
      const text = plainDecimal(cell ?? "", this.#plan.hasDecimalComma);
      if (text !== undefined) return text;
      this.#problem ??= refused("not-a-decimal", `its ${field} is ${shown(cell)}`);
    }
    this.#isPartial = true;
    return "0";
  }

  #count(cells: readonly string[]): number {
    const at = this.#plan.columns.tradeCount;
    const cell = at === undefined ? undefined : cells[at];
    if (cell === undefined || isAbsent(cell)) {
      this.#isPartial = true;
      return 0;
    }
    const count = plainCount(cell);
    if (count === undefined) {
      this.#problem ??= refused("not-a-count", `its tradeCount is ${shown(cell)}`);
    }
    return count ?? 0;
  }
}

type Needed = "open" | "high" | "low" | "close";
/** Fields that a file may lack. Zero stands for them, and the row's source says so. */
type Optional = "volume" | "quoteVolume" | "takerBuyVolume" | "takerBuyQuoteVolume";

/** Quick proof of the rules of {@link validateCandle} for usual candles: its decimals are checked already. */
function isSound({ openTime, open, high, low, close, tradeCount }: Candle): boolean {
  const isShort =
    open.length <= EXACT_LENGTH &&
    high.length <= EXACT_LENGTH &&
    low.length <= EXACT_LENGTH &&
    close.length <= EXACT_LENGTH;
  if (!isShort || openTime < MIN_TIME || tradeCount > MAX_COUNT) return false;
  const o = Number(open);
  const h = Number(high);
  const l = Number(low);
  const c = Number(close);
  return l > 0 && l <= o && o <= h && l <= c && c <= h;
}

const MIN_TIME = 1_199_145_600_000;
const MAX_COUNT = 2_147_483_647;

function refused(code: string, detail: string): RowRefusal {
  return { code, detail };
}

function shown(cell: string | undefined): string {
  const text = JSON.stringify(cell ?? "");
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…"` : text;
}
