import type { Candle } from "../../core/candle.ts";
import { SETTLE_MS } from "../../core/finality.ts";
import type { TimeRange } from "../../core/range.ts";
import {
  ceilOpenTime,
  isAligned,
  nextOpenTime,
  nominalMs,
  openTimeAt,
} from "../../core/timeframe.ts";
import type { ArchiveFile } from "./archive-plan.ts";
import { headerFault, isDigit, isSameRow, type Lines, readLine } from "./archive-row.ts";

/**
 * Rows of an archive file (binance.md §6), read from its bytes piece by piece. No I/O, and nothing here throws: what is
 * no candle of the file is a value with its line and reason. Memory is bounded whatever the file's size.
 */

/** Why a line is kept out. What passes may still be unsound as a candle: that is for `validateCandle`. */
export type RejectedLineCode =
  /** Neither 11 nor 12 columns. */
  | "columns"
  | "not-a-time"
  | "not-a-count"
  | "too-long"
  /** Opens outside of the file's day or month. */
  | "outside-file"
  /** Its candle was not closed and settled when the file was made. */
  | "not-closed"
  /** Stands so far behind later rows that its place has been given out already. */
  | "out-of-order";

/** A line that is kept out. */
export interface RejectedLine {
  /** Counted from 1. */
  readonly line: number;
  readonly code: RejectedLineCode;
  /** What is wrong, with the offending text, cut to a bounded length. */
  readonly detail: string;
}

/** What a file held. Complete once its last page was taken. */
export interface ArchiveReport {
  /** Rows in the pages. */
  readonly rowCount: number;
  /** Repeats of a row, equal to it: dropped. */
  readonly duplicateCount: number;
  /** Repeats of an open time with other values: the later line was taken. Each is noted. */
  readonly conflictCount: number;
  /** Rows that do not open on the grid: in the pages, as they are. */
  readonly offGridCount: number;
  readonly rejectedCount: number;
  /** The first hundred of them. */
  readonly rejected: readonly RejectedLine[];
  /**
   * Stretches of the file's range without a row, edges on the grid, ascending. The archive's silence proves nothing: a
   * daily file or REST may have them. Of very many holes the last ones are told as one stretch, candles between included.
   */
  readonly absent: readonly TimeRange[];
  /** What else is odd, one line each, the first hundred. */
  readonly notes: readonly string[];
}

/** Rows that follow one another, with the range that they are all rows of. */
export interface RowsPage {
  readonly range: TimeRange;
  readonly rows: readonly Candle[];
}

/** Rows of a page. */
const PAGE_ROWS = 5_000;
/** Rows that stay behind, so that one which comes a little late finds its place. */
const KEPT_ROWS = 1_000;
/** The longest real row has about 190 bytes. */
const MAX_LINE_BYTES = 1_024;
const MAX_LISTED = 100;
const MAX_ABSENT = 1_000;
const MAX_SHOWN_LENGTH = 60;
const LF = 10;
const CR = 13;
const BOM = [0xef, 0xbb, 0xbf];
const NOTHING = Buffer.alloc(0);

const WHAT: Readonly<Record<RejectedLineCode, string>> = {
  columns: "neither 11 nor 12 columns",
  "not-a-time": "not a time",
  "not-a-count": "not a count of trades",
  "too-long": "longer than any row",
  "outside-file": "opens outside of the file's range",
  "not-closed": "not closed when the file was made",
  "out-of-order": "not in its place",
};

/** Reads the rows of one file: `push` its bytes, `takePage` after each, `end`, `takePage` until there is none. */
export class ArchiveRows {
  readonly #file: ArchiveFile;
  readonly #madeTime: number;
  /** What opens no later needs no look at the calendar. */
  readonly #surelyClosedTime: number;
  /** Begin of a line whose end is still to come. */
  #tail: Buffer = NOTHING;
  #line = 0;
  #hasBegun = false;
  #hasEnded = false;
  #isInLongLine = false;
  #headerFault: string | undefined;

  /** Accepted and not yet given out, ascending. */
  readonly #rows: Candle[] = [];
  #newestTime = Number.NEGATIVE_INFINITY;
  #givenTime = Number.NEGATIVE_INFINITY;
  #pageFrom: number;
  /** The first cell of the grid that no row given out lies in or before. */
  #nextCell: number;

  #rowCount = 0;
  #duplicateCount = 0;
  #conflictCount = 0;
  #offGridCount = 0;
  #rejectedCount = 0;
  readonly #rejected: RejectedLine[] = [];
  readonly #absent: TimeRange[] = [];
  readonly #notes: string[] = [];

  /** @param madeTime when the file was made, epoch ms */
  constructor(file: ArchiveFile, madeTime: number) {
    const { series, range } = file;
    this.#file = file;
    this.#madeTime = madeTime;
    this.#surelyClosedTime = madeTime - SETTLE_MS - nominalMs(series.timeframe);
    this.#pageFrom = range.from;
    this.#nextCell = ceilOpenTime(series.timeframe, range.from);
  }

  /** Takes the next bytes of the file. */
  push(piece: Uint8Array): void {
    const fresh = Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength);
    let bytes = this.#tail.length === 0 ? fresh : Buffer.concat([this.#tail, fresh]);
    if (!this.#hasBegun) {
      // A byte order mark may come in pieces.
      if (bytes.length < BOM.length && !this.#hasEnded) {
        this.#tail = bytes;
        return;
      }
      this.#hasBegun = true;
      if (BOM.every((byte, index) => bytes[index] === byte)) bytes = bytes.subarray(BOM.length);
    }
    const text = bytes.toString("latin1");
    const lines = { bytes, text };
    let start = 0;
    for (let feed = bytes.indexOf(LF); feed >= 0; feed = bytes.indexOf(LF, start)) {
      this.#readLine(lines, start, bytes[feed - 1] === CR ? Math.max(start, feed - 1) : feed);
      start = feed + 1;
    }
    this.#tail = bytes.subarray(start);
    if (this.#isInLongLine) this.#tail = NOTHING;
    else if (this.#tail.length > MAX_LINE_BYTES) {
      this.#reject("too-long", text.slice(start), this.#line + 1);
      this.#tail = NOTHING;
      this.#isInLongLine = true;
    }
  }

  /** Says that the file has no more bytes. */
  end(): void {
    this.#hasEnded = true;
    if (this.#tail.length > 0) this.push(Buffer.from([LF]));
  }

  /** @returns the next rows, `undefined` while there are too few of them, or none left */
  takePage(): RowsPage | undefined {
    const isWaiting = !this.#hasEnded && this.#rows.length < PAGE_ROWS + KEPT_ROWS;
    if (isWaiting || this.#rows.length === 0) return undefined;
    const rows = this.#rows.splice(0, PAGE_ROWS);
    const { timeframe } = this.#file.series;
    for (const { openTime } of rows) {
      if (openTime < this.#nextCell) continue;
      const cell = openTimeAt(timeframe, openTime);
      if (cell > this.#nextCell) this.#addAbsent(this.#nextCell, cell);
      this.#nextCell = nextOpenTime(timeframe, cell);
    }
    this.#givenTime = rows.at(-1)?.openTime ?? this.#givenTime;
    const [next] = this.#rows;
    const { to } = this.#file.range;
    const end = next === undefined && this.#hasEnded ? to : Math.min(to, this.#nextCell);
    // Two rows off the grid may lie in one cell.
    const range = { from: this.#pageFrom, to: Math.min(end, next?.openTime ?? end) };
    this.#pageFrom = range.to;
    return { range, rows };
  }

  /** Why no row of the file can be trusted, if its header says so. */
  get headerFault(): string | undefined {
    return this.#headerFault;
  }

  /** Adds something odd about the file itself. */
  note(text: string): void {
    if (this.#notes.length < MAX_LISTED) this.#notes.push(text);
  }

  report(): ArchiveReport {
    const { series, range } = this.#file;
    const left = { from: this.#nextCell, to: ceilOpenTime(series.timeframe, range.to) };
    return {
      rowCount: this.#rowCount,
      duplicateCount: this.#duplicateCount,
      conflictCount: this.#conflictCount,
      offGridCount: this.#offGridCount,
      rejectedCount: this.#rejectedCount,
      rejected: [...this.#rejected],
      absent: left.from < left.to ? [...this.#absent, left] : [...this.#absent],
      notes: [...this.#notes],
    };
  }

  #readLine(lines: Lines, start: number, end: number): void {
    this.#line += 1;
    if (this.#isInLongLine) {
      this.#isInLongLine = false;
      return;
    }
    if (end === start) return;
    if (this.#line === 1 && !isDigit(lines.bytes[start])) {
      const header = lines.text.slice(start, end);
      this.#headerFault = headerFault(header);
      this.note(`line 1 is a header: ${shown(header)}`);
    } else if (end - start > MAX_LINE_BYTES) {
      this.#reject("too-long", lines.text.slice(start, end));
    } else {
      const row = readLine(lines, start, end);
      if ("code" in row) this.#reject(row.code, row.text);
      else this.#take(row);
    }
  }

  #take(row: Candle): void {
    const { openTime } = row;
    const fault = this.#placeFault(openTime);
    if (fault !== undefined) {
      this.#reject(fault, String(openTime));
      return;
    }
    if (openTime > this.#newestTime) {
      this.#newestTime = openTime;
      this.#rows.push(row);
    } else if (!this.#insert(row)) return;
    this.#rowCount += 1;
    if (!isAligned(this.#file.series.timeframe, openTime)) this.#offGridCount += 1;
  }

  #placeFault(openTime: number): RejectedLineCode | undefined {
    const { series, range } = this.#file;
    if (openTime < range.from || openTime >= range.to) return "outside-file";
    if (openTime <= this.#givenTime || openTime < this.#pageFrom) return "out-of-order";
    if (openTime <= this.#surelyClosedTime) return undefined;
    const settledTime = nextOpenTime(series.timeframe, openTime) + SETTLE_MS;
    return settledTime > this.#madeTime ? "not-closed" : undefined;
  }

  /** Puts a row that came late into its place. @returns false when there is one of this open time already */
  #insert(row: Candle): boolean {
    const rows = this.#rows;
    let low = 0;
    let high = rows.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((rows[middle]?.openTime ?? 0) < row.openTime) low = middle + 1;
      else high = middle;
    }
    const other = rows[low];
    if (other?.openTime !== row.openTime) {
      rows.splice(low, 0, row);
      return true;
    }
    if (isSameRow(other, row)) {
      this.#duplicateCount += 1;
    } else {
      this.#conflictCount += 1;
      this.note(`line ${this.#line} has other values for ${row.openTime} and was taken`);
      rows[low] = row;
    }
    return false;
  }

  #reject(code: RejectedLineCode, text: string, line: number = this.#line): void {
    this.#rejectedCount += 1;
    if (this.#rejected.length >= MAX_LISTED) return;
    this.#rejected.push({ line, code, detail: `${WHAT[code]}: ${shown(text)}` });
  }

  #addAbsent(from: number, to: number): void {
    const last = this.#absent.at(-1);
    if (last === undefined || this.#absent.length < MAX_ABSENT) this.#absent.push({ from, to });
    else this.#absent[this.#absent.length - 1] = { from: last.from, to };
  }
}

function shown(text: string): string {
  const isLong = text.length > MAX_SHOWN_LENGTH;
  return JSON.stringify(isLong ? `${text.slice(0, MAX_SHOWN_LENGTH)}…` : text);
}
