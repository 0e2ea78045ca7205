import { cellsOf } from "./cells.ts";
import { readTime } from "./times.ts";

/** How the text of a file is cut into rows, and the rows that are looked at first. */
export interface Framing {
  readonly delimiter: string;
  readonly preamble: readonly string[];
  readonly header: readonly string[] | undefined;
  /** Index of the line that cannot be read where the header should be; absent when there is a header. */
  readonly unreadHeader?: number;
  /** False when no line has a delimiter. */
  readonly isDelimited: boolean;
  /** Number of lines before the first row of data. */
  readonly skippedLines: number;
  /** Cells of the first rows. */
  readonly rows: readonly (readonly string[])[];
}

const DELIMITERS = [",", ";", "\t", "|"] as const;
const MAX_PREAMBLE = 10;
const SAMPLE_ROWS = 500;

/**
 * Finds delimiter, header and first rows of a text.
 * @param lines its first lines; `undefined` stands for one that cannot be read
 * @param isComplete false when the last line may be cut off
 */
export function frame(lines: readonly (string | undefined)[]): Framing {
  const preamble: string[] = [];
  let at = 0;
  for (; at < Math.min(lines.length, MAX_PREAMBLE); at += 1) {
    const line = lines[at];
    if (line !== undefined && !isPreamble(line)) break;
    preamble.push(line ?? "");
  }
  const first = lines[at] ?? "";
  const told = preamble
    .map((line) => /^sep=(.)$/i.exec(line)?.[1])
    .find((one) => one !== undefined);
  const delimiter = told ?? delimiterOf(lines.slice(at, at + 20));
  const cells = cellsOf(first, delimiter)?.map(trimmed);
  const header = cells !== undefined && isHeader(cells) ? cells : undefined;
  const skippedLines = header === undefined ? at : at + 1;
  const rows = lines.slice(skippedLines, skippedLines + SAMPLE_ROWS).flatMap((line) => {
    if (line === undefined || line.trim() === "") return [];
    const found = cellsOf(line, delimiter);
    return found === undefined ? [] : [found.map(trimmed)];
  });
  const unread = header === undefined ? lines.slice(0, at).indexOf(undefined) : -1;
  const text = lines.filter((line) => line !== undefined && line.trim() !== "");
  const isDelimited = text.length === 0 || text.some((line) => line?.includes(delimiter));
  const found = { delimiter, preamble, header, skippedLines, rows, isDelimited };
  return unread < 0 ? found : { ...found, unreadHeader: unread };
}

/** An address, a comment, Excel's `sep=`, a title of one cell, an empty line. */
function isPreamble(line: string): boolean {
  const text = line.trim();
  if (text === "" || text.startsWith("#") || /^"?https?:\/\//i.test(text)) return true;
  if (/^sep=.$/i.test(text)) return true;
  return !DELIMITERS.some((delimiter) => text.includes(delimiter));
}

/** The delimiter that cuts most lines into the same number of cells, the most of them. */
function delimiterOf(lines: readonly (string | undefined)[]): string {
  let best: string = ",";
  let bestScore = 0;
  for (const delimiter of DELIMITERS) {
    const counts = lines.flatMap((line) =>
      line === undefined || line.trim() === "" ? [] : [cellsOf(line, delimiter)?.length ?? 0],
    );
    const [usual = 0, share = 0] = mostFrequent(counts);
    const score = usual < 2 ? 0 : share * usual;
    if (score > bestScore) [best, bestScore] = [delimiter, score];
  }
  return best;
}

function mostFrequent(values: readonly number[]): [value: number, share: number] {
  const counts = new Map<number, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  const [top] = [...counts].sort((a, b) => b[1] - a[1]);
  return top === undefined ? [0, 0] : [top[0], top[1] / values.length];
}

/** Names, not values: no cell is a number or a time, and one at least is a word. */
function isHeader(cells: readonly string[]): boolean {
  const isValue = (cell: string): boolean =>
    /^[+-]?(?:\d+[.,]?\d*|[.,]\d+)(?:e[+-]?\d+)?$/i.test(cell) || readTime(cell) !== undefined;
  return cells.some((cell) => /\p{L}/u.test(cell)) && !cells.some(isValue);
}

function trimmed(cell: string): string {
  return cell.trim();
}
