import type { FileHandle } from "node:fs/promises";
import type { Candle } from "../core/candle.ts";
import { sameValues } from "../core/finality.ts";
import { formatOwnRow, OWN_LAYOUT_HEADER, ownRowOpenTime, parseOwnRow } from "./own-layout.ts";

/** A line of a file, read as latin1: one character a byte, so that what is copied is copied exactly. */
export interface FileLine {
  /** Without its line end; cut to {@link MAX_LINE} characters. */
  readonly text: string;
  /** Byte offset of its first and of what follows its line end. */
  readonly offset: number;
  readonly end: number;
  /** False for a last line that does not end. */
  readonly isEnded: boolean;
}

/** A row is about 200 bytes; of a longer line no more is kept, however long it is. */
export const MAX_LINE = 4_096;
const CHUNK_BYTES = 256 * 1_024;

/**
 * Lines of a file from byte `from` on, in order, a chunk at a time: memory does not depend on the file.
 * @param to byte before which it ends; a line that goes on there counts as not ended
 */
export async function* readLines(
  handle: FileHandle,
  from = 0,
  to = Number.POSITIVE_INFINITY,
): AsyncGenerator<readonly FileLine[]> {
  const buffer = Buffer.allocUnsafe(CHUNK_BYTES);
  let position = from;
  let offset = from;
  let begun = "";
  for (;;) {
    const length = Math.min(CHUNK_BYTES, to - position);
    if (length <= 0) break;
    const { bytesRead } = await handle.read(buffer, 0, length, position);
    if (bytesRead === 0) break;
    const text = buffer.toString("latin1", 0, bytesRead);
    const lines: FileLine[] = [];
    let start = 0;
    for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n", start)) {
      const line = (begun + text.slice(start, end)).slice(0, MAX_LINE);
      begun = "";
      start = end + 1;
      lines.push({ text: line, offset, end: position + start, isEnded: true });
      offset = position + start;
    }
    begun = (begun + text.slice(start)).slice(0, MAX_LINE);
    position += bytesRead;
    if (lines.length > 0) yield lines;
  }
  if (position > offset) yield [{ text: begun, offset, end: position, isEnded: false }];
}

/**
 * Where the rows from an open time on begin, by halving: for files whose rows ascend.
 * @param from where the first row begins, after the header
 * @returns offset of the first row that opens at `openTime` or later, or `size`
 */
export async function offsetOf(
  handle: FileHandle,
  from: number,
  size: number,
  openTime: number,
): Promise<number> {
  let low = from;
  let high = size;
  while (high - low > MAX_LINE) {
    const line = await lineAfter(handle, Math.floor((low + high) / 2), high);
    if (line === undefined) high = Math.floor((low + high) / 2);
    else if ((ownRowOpenTime(line.text) ?? openTime) >= openTime) high = line.offset;
    else low = line.end;
  }
  for await (const lines of readLines(handle, low)) {
    for (const line of lines) {
      if (line.offset >= high) return high;
      if ((ownRowOpenTime(line.text) ?? openTime) >= openTime) return line.offset;
    }
  }
  return size;
}

/** The first whole line that begins after `position` and before `high`. */
async function lineAfter(
  handle: FileHandle,
  position: number,
  high: number,
): Promise<FileLine | undefined> {
  for await (const lines of readLines(handle, position)) {
    // The first one is the rest of a line that begins before.
    const line = lines.find(({ offset }) => offset > position);
    if (line !== undefined) return line.offset < high ? line : undefined;
    if ((lines.at(-1)?.end ?? high) >= high) return undefined;
  }
  return undefined;
}

/** What the first line of a file says. */
export type Heading =
  /** Ours, or the beginning of ours that was not written to its end: rows begin at `end`. */
  | { readonly kind: "own" | "torn"; readonly end: number }
  /** Ours but for byte-order mark or line end. */
  | { readonly kind: "respelt"; readonly end: number }
  | { readonly kind: "foreign"; readonly text: string };

/** Tells a file of this layout from any other by its first line; an empty file is a torn one. */
export async function readHeading(handle: FileHandle): Promise<Heading> {
  for await (const [line] of readLines(handle)) {
    if (line === undefined) break;
    const { text, end, isEnded } = line;
    if (text === OWN_LAYOUT_HEADER && isEnded) return { kind: "own", end };
    if (!isEnded && OWN_LAYOUT_HEADER.startsWith(text)) return { kind: "torn", end };
    const plain = text.replace(/^\u00ef\u00bb\u00bf/, "").replace(/\r$/, "");
    return plain === OWN_LAYOUT_HEADER ? { kind: "respelt", end } : { kind: "foreign", text };
  }
  return { kind: "torn", end: 0 };
}

/** One step of laying a file beside the database. */
export type MergedRow =
  /** The line is the candle's row, byte for byte. */
  | { readonly kind: "equal"; readonly candle: Candle; readonly line: FileLine }
  /** The same values in other characters: `1.0` for `1.00`, another `datetime`, CRLF. */
  | {
      readonly kind: "respelt";
      readonly candle: Candle;
      readonly line: FileLine;
      readonly inFile: Candle;
    }
  /** Other values, or a row that cannot be read (`inFile` absent). */
  | {
      readonly kind: "unequal";
      readonly candle: Candle;
      readonly line: FileLine;
      readonly inFile: Candle | undefined;
    }
  | { readonly kind: "onlyDatabase"; readonly candle: Candle }
  | { readonly kind: "onlyFile"; readonly openTime: number; readonly line: FileLine }
  /** No row that could be kept where it is: no open time, or one that does not ascend. */
  | { readonly kind: "bad"; readonly line: FileLine; readonly problem: string }
  /** A last line that was not written to its end. */
  | { readonly kind: "torn"; readonly line: FileLine };

/**
 * Lays the lines of a file beside the candles of the database, both ascending, by open time.
 * @param lines without the header
 */
export async function* mergeRows(
  lines: AsyncIterable<readonly FileLine[]>,
  pages: AsyncIterable<readonly Candle[]>,
): AsyncGenerator<readonly MergedRow[]> {
  const stored = new Cursor(pages);
  let last = Number.NEGATIVE_INFINITY;
  let merged: MergedRow[] = [];
  for await (const batch of lines) {
    for (const line of batch) {
      const { text, isEnded } = line;
      let head = stored.head ?? (await stored.fill());
      if (!isEnded && head !== undefined && formatOwnRow(head).startsWith(text)) {
        merged.push({ kind: "torn", line });
        continue;
      }
      const openTime = ownRowOpenTime(text);
      if (!isEnded && !parseOwnRow(text).isRow) {
        merged.push({ kind: "torn", line });
      } else if (openTime === undefined || text.length >= MAX_LINE) {
        const problem = openTime === undefined ? "begins with no open time" : "is too long";
        merged.push({ kind: "bad", line, problem });
      } else if (openTime <= last) {
        const problem = openTime === last ? "repeats a row" : "is out of order";
        merged.push({ kind: "bad", line, problem });
      } else {
        last = openTime;
        while (head !== undefined && head.openTime < openTime) {
          merged.push({ kind: "onlyDatabase", candle: head });
          stored.take();
          head = stored.head ?? (await stored.fill());
        }
        if (head?.openTime !== openTime) merged.push({ kind: "onlyFile", openTime, line });
        else {
          merged.push(beside(head, line));
          stored.take();
        }
      }
    }
    yield merged;
    merged = [];
  }
  for (;;) {
    for (let head = stored.head; head !== undefined; head = stored.head) {
      merged.push({ kind: "onlyDatabase", candle: head });
      stored.take();
    }
    if (merged.length > 0) yield merged;
    merged = [];
    if ((await stored.fill()) === undefined) return;
  }
}

function beside(candle: Candle, line: FileLine): MergedRow {
  const expected = formatOwnRow(candle);
  if (line.text === expected && line.isEnded) return { kind: "equal", candle, line };
  if (!line.isEnded && expected.startsWith(line.text)) return { kind: "torn", line };
  const row = parseOwnRow(line.text.replace(/\r$/, ""));
  const inFile = row.isRow ? row.candle : undefined;
  return inFile !== undefined && sameValues(candle, inFile)
    ? { kind: "respelt", candle, line, inFile }
    : { kind: "unequal", candle, line, inFile };
}

/** The next element of pages that are fetched one at a time. */
class Cursor {
  readonly #pages: AsyncIterator<readonly Candle[]>;
  #page: readonly Candle[] = [];
  #index = 0;

  constructor(pages: AsyncIterable<readonly Candle[]>) {
    this.#pages = pages[Symbol.asyncIterator]();
  }

  get head(): Candle | undefined {
    return this.#page[this.#index];
  }

  take(): void {
    this.#index += 1;
  }

  /** Fetches the next page when this one is used up. @returns the head, `undefined` at the end */
  async fill(): Promise<Candle | undefined> {
    while (this.#index >= this.#page.length) {
      const next = await this.#pages.next();
      if (next.done === true) return undefined;
      this.#page = next.value;
      this.#index = 0;
    }
    return this.head;
  }
}
