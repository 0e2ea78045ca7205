import { open, readdir } from "node:fs/promises";
import { join } from "node:path";
import { type Candle, DECIMAL_FIELDS } from "../core/candle.ts";
import type { CandleQueries } from "../core/ports.ts";
import type { TimeRange } from "../core/range.ts";
import { type Series, seriesKey } from "../core/series.ts";
import { candlePages, EVER } from "./candle-pages.ts";
import {
  formatOwnRow,
  ownFileName,
  ownRowOpenTime,
  parseOwnFileName,
  parseOwnRow,
} from "./own-layout.ts";
import { type MergedRow, mergeRows, readHeading, readLines } from "./own-rows.ts";

/** In what way a file and the database differ. */
export type DifferenceKind =
  /** Values differ, or the line cannot be read. */
  | "unequal"
  /** Equal in value, written otherwise: `1.0` for `1.00`, CRLF. */
  | "respelt"
  | "only-database"
  | "only-file"
  /** The last row of the file and not in the database: usually saved while it was forming. */
  | "only-file-last"
  /** A line that is no row of the series, or stands where it must not. */
  | "bad-line";

/** One difference. */
export interface CsvDifference {
  readonly kind: DifferenceKind;
  /** Epoch ms; absent for a line without one. */
  readonly openTime?: number;
  /** What exactly, in one plain line. */
  readonly detail: string;
}

/** A file of the own layout beside the stored series of its name. */
export interface CsvComparison {
  readonly file: string;
  readonly series: Series;
  readonly state: "compared" | "no-file" | "other-layout" | "unreadable";
  /** Why it was not compared. */
  readonly reason?: string;
  readonly fileRowCount: number;
  readonly storedCount: number;
  readonly equalCount: number;
  readonly counts: Readonly<Record<DifferenceKind, number>>;
  /** The first differences, at most {@link MAX_EXAMPLES}. */
  readonly differences: readonly CsvDifference[];
}

/** Differences of a file that are kept; all are counted. */
const MAX_EXAMPLES = 100;

/** True when file and database say the same in every row, digit for digit. */
export function isSame({ state, counts }: CsvComparison): boolean {
  return state === "compared" && Object.values(counts).every((count) => count === 0);
}

/** What is compared. */
export interface CompareOptions {
  readonly store: Pick<CandleQueries, "series" | "range">;
  /** Folder of `{SYMBOL}_{TIMEFRAME}.csv`. */
  readonly folder: string;
  /** The exchange that the files are of: their names do not say it. */
  readonly exchange: string;
  readonly isChosen?: (series: Series) => boolean;
  /** Only candles that open in it, half-open. */
  readonly range?: TimeRange;
  readonly signal: AbortSignal;
  readonly onProgress?: (rowCount: number) => void;
}

/**
 * Compares every file of a folder with the database, and every stored series with its file: row by row, by the text of each
 * value; `datetime` is not a value and does not count. Reads both once, in bounded memory, and changes nothing.
 * @throws {BlackTradeError} E_DB_*; the error of the file system when the folder cannot be read
 */
export async function compareCsv(options: CompareOptions): Promise<CsvComparison[]> {
  const { store, folder, exchange, isChosen = () => true } = options;
  const wanted = new Map<string, { series: Series; file: string }>();
  for (const series of await store.series()) {
    if (series.exchange === exchange)
      wanted.set(seriesKey(series), { series, file: ownFileName(series) });
  }
  for (const file of (await readdir(folder)).sort()) {
    const named = parseOwnFileName(file);
    if (named === undefined) continue;
    const series = { exchange, ...named };
    // Of two spellings of a month's file the one that is written today counts.
    if (file === ownFileName(series) || !(await exists(join(folder, ownFileName(series)))))
      wanted.set(seriesKey(series), { series, file });
  }
  const compared: CsvComparison[] = [];
  for (const { series, file } of wanted.values()) {
    options.signal.throwIfAborted();
    if (isChosen(series)) compared.push(await compareFile(options, series, file));
  }
  return compared;
}

async function exists(path: string): Promise<boolean> {
  return open(path).then(
    async (handle) => {
      await handle.close();
      return true;
    },
    () => false,
  );
}

async function compareFile(
  { store, folder, range = EVER, signal, onProgress }: CompareOptions,
  series: Series,
  file: string,
): Promise<CsvComparison> {
  const tally = new Tally(series, file);
  const stored = (): AsyncIterable<readonly Candle[]> => candlePages(store, series, range);
  let handle: Awaited<ReturnType<typeof open>>;
  try {
    handle = await open(join(folder, file));
  } catch (error) {
    for await (const page of stored()) for (const candle of page) tally.add(missing(candle));
    const isMissing = (error as NodeJS.ErrnoException).code === "ENOENT";
    return tally.done(isMissing ? "no-file" : "unreadable", (error as Error).message);
  }
  try {
    const heading = await readHeading(handle);
    if (heading.kind === "foreign") {
      return tally.done("other-layout", `its first line is ${JSON.stringify(cut(heading.text))}`);
    }
    const lines = within(readLines(handle, heading.end), range);
    for await (const merged of mergeRows(lines, stored())) {
      signal.throwIfAborted();
      for (const row of merged) tally.add(row);
      onProgress?.(merged.length);
    }
    return tally.done("compared");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).syscall === undefined) throw error;
    return tally.done("unreadable", (error as Error).message);
  } finally {
    await handle.close();
  }
}

async function* within<Line extends { readonly text: string }>(
  batches: AsyncIterable<readonly Line[]>,
  { from, to }: TimeRange,
): AsyncGenerator<readonly Line[]> {
  for await (const lines of batches) {
    yield lines.filter(({ text }) => {
      const openTime = ownRowOpenTime(text) ?? from;
      return openTime >= from && openTime < to;
    });
  }
}

function missing(candle: Candle): MergedRow {
  return { kind: "onlyDatabase", candle };
}

/** Counts what the rows of one file are. */
class Tally {
  readonly #series: Series;
  readonly #file: string;
  readonly #counts: Record<DifferenceKind, number> = {
    unequal: 0,
    respelt: 0,
    "only-database": 0,
    "only-file": 0,
    "only-file-last": 0,
    "bad-line": 0,
  };
  readonly #differences: CsvDifference[] = [];
  #fileRowCount = 0;
  #storedCount = 0;
  #equalCount = 0;
  /** A row that only the file has: the last one is told apart. */
  #lonely: number | undefined;

  constructor(series: Series, file: string) {
    this.#series = series;
    this.#file = file;
  }

  add(row: MergedRow): void {
    if ("line" in row) this.#fileRowCount += 1;
    if ("candle" in row) this.#storedCount += 1;
    if ("line" in row && row.kind !== "bad" && row.kind !== "torn") this.#settleLonely("only-file");
    switch (row.kind) {
      case "equal":
        this.#equalCount += 1;
        return;
      case "respelt":
        // Line ends and `datetime` are no values.
        if (formatOwnRow(row.inFile) === formatOwnRow(row.candle)) this.#equalCount += 1;
        else this.#differ("respelt", row.candle.openTime, unlike(row.inFile, row.candle));
        return;
      case "unequal":
        this.#differ("unequal", row.candle.openTime, inequality(row));
        return;
      case "onlyDatabase":
        this.#differ("only-database", row.candle.openTime, "not in the file");
        return;
      case "onlyFile":
        this.#lonely = row.openTime;
        return;
      case "bad":
        this.#differ("bad-line", undefined, `line ${row.problem}: ${shown(row.line.text)}`);
        return;
      case "torn":
        this.#fileRowCount -= 1;
        this.#differ("bad-line", undefined, `last line is cut off: ${shown(row.line.text)}`);
        return;
      default:
        row satisfies never;
    }
  }

  done(state: CsvComparison["state"], reason?: string): CsvComparison {
    this.#settleLonely("only-file-last");
    return {
      file: this.#file,
      series: this.#series,
      state,
      ...(reason === undefined ? {} : { reason }),
      fileRowCount: this.#fileRowCount,
      storedCount: this.#storedCount,
      equalCount: this.#equalCount,
      counts: this.#counts,
      differences: this.#differences,
    };
  }

  #settleLonely(kind: "only-file" | "only-file-last"): void {
    if (this.#lonely === undefined) return;
    const isLast = kind === "only-file-last";
    this.#differ(
      kind,
      this.#lonely,
      isLast ? "last row of the file, not stored (still forming when saved?)" : "not stored",
    );
    this.#lonely = undefined;
  }

  #differ(kind: DifferenceKind, openTime: number | undefined, detail: string): void {
    this.#counts[kind] += 1;
    if (this.#differences.length < MAX_EXAMPLES) {
      this.#differences.push({ kind, ...(openTime === undefined ? {} : { openTime }), detail });
    }
  }
}

const SHOWN_LENGTH = 60;

function cut(text: string): string {
  return text.length > SHOWN_LENGTH ? `${text.slice(0, SHOWN_LENGTH)}…` : text;
}

function shown(text: string): string {
  return JSON.stringify(cut(text));
}

function inequality({
  line,
  inFile,
  candle,
}: Extract<MergedRow, { readonly kind: "unequal" }>): string {
  if (inFile !== undefined) return unlike(inFile, candle);
  const row = parseOwnRow(line.text);
  return row.isRow ? shown(line.text) : `row ${row.problem}`;
}

/** What differs, field by field: `close 1.5 ≠ 1.6`, the file's value first. */
function unlike(inFile: Candle, candle: Candle): string {
  return ([...DECIMAL_FIELDS, "tradeCount", "closeTime"] as const)
    .filter((field) => inFile[field] !== candle[field])
    .map((field) => `${field} ${inFile[field]} ≠ ${candle[field]}`)
    .join(", ");
}
