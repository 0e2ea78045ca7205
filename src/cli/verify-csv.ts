import { stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import type { Config } from "../config.ts";
import { BlackTradeError } from "../core/errors.ts";
import type { TimeRange } from "../core/range.ts";
import { type Series, seriesKey, seriesLabel } from "../core/series.ts";
import { type CompareOptions, type CsvComparison, compareCsv, isSame } from "../csv/compare.ts";
import { EXCHANGE } from "../exchanges/binance/index.ts";
import { openDatabase } from "../open-database.ts";
import { instant, type Output, paint, tableLines } from "./output.ts";
import { grouped, type ProgressLine } from "./progress.ts";

/** What is compared, and how it is shown. */
export interface VerifyCsvOptions {
  readonly folder: string;
  readonly isChosen: (series: Series) => boolean;
  readonly range?: TimeRange;
  /** Every difference that was kept, not only the counts. */
  readonly isListed: boolean;
  readonly isJson: boolean;
  readonly line: ProgressLine;
  readonly signal: AbortSignal;
}

/** A file that was written a moment ago may be in the middle of being brought into step. */
const FRESH_MS = 60_000;
const AGAIN_MS = 3_000;
const AGAIN_COUNT = 2;
const LISTED = 5;

/**
 * Compares a folder of CSV files with the database and shows the result. Changes nothing.
 * @returns true when they are the same
 * @throws {BlackTradeError} E_USAGE when the folder cannot be read, E_DB_*
 */
export async function verifyCsv(
  output: Output,
  config: Config,
  options: VerifyCsvOptions,
): Promise<boolean> {
  const folder = resolve(options.folder);
  const database = await openDatabase(config);
  try {
    const store = await database.openStore("read");
    const { isChosen, range, signal, line } = options;
    const series = (await store.series()).filter(isChosen);
    const counts = await Promise.all(series.map((one) => store.count(one, range)));
    const totalCandles = counts.reduce((sum, one) => sum + one, 0);
    const show = line.phase("comparing");
    let done = 0;
    const compared = await compareSettled({
      onProgress: (rowCount) => {
        done += rowCount;
        show({ doneCandles: Math.min(done, totalCandles), totalCandles });
      },
      store,
      folder,
      exchange: EXCHANGE,
      isChosen,
      ...(range === undefined ? {} : { range }),
      signal,
    });
    line.end();
    if (options.isJson) output.result(JSON.stringify(documentOf(folder, compared)));
    else
      for (const line of linesOf(output, folder, compared, options.isListed)) output.result(line);
    return compared.every(isSame);
  } catch (error) {
    const { code, syscall } = error as NodeJS.ErrnoException;
    if (syscall === undefined) throw error;
    throw new BlackTradeError("E_USAGE", `${folder} cannot be read (${code})`, {
      remedy: "name a folder of SYMBOL_TIMEFRAME.csv files: --csv data/ohlcv",
      cause: error,
    });
  } finally {
    await database.close();
  }
}

/** Compares; what differs and was written just now is compared again, for a mirror may be at work. */
async function compareSettled(options: CompareOptions): Promise<CsvComparison[]> {
  let compared = await compareCsv(options);
  for (let turn = 0; turn < AGAIN_COUNT; turn += 1) {
    const doubtful = new Set<string>();
    for (const one of compared) {
      if (!isSame(one) && (await isFresh(join(options.folder, one.file))))
        doubtful.add(seriesKey(one.series));
    }
    if (doubtful.size === 0) break;
    await wait(AGAIN_MS, undefined, { signal: options.signal });
    const again = await compareCsv({
      ...options,
      isChosen: (series) => doubtful.has(seriesKey(series)),
    });
    const newer = new Map(again.map((one) => [one.file, one]));
    compared = compared.map((one) => newer.get(one.file) ?? one);
  }
  return compared;
}

async function isFresh(path: string): Promise<boolean> {
  return stat(path).then(
    ({ mtimeMs }) => Math.abs(Date.now() - mtimeMs) < FRESH_MS,
    () => false,
  );
}

function documentOf(folder: string, compared: readonly CsvComparison[]): object {
  return {
    isSame: compared.every(isSame),
    folder,
    files: compared.map((one) => ({ ...one, isSame: isSame(one) })),
  };
}

const HEADINGS = ["FILE", "ROWS", "STORED", "EQUAL", "UNEQUAL", "DIGITS", "NOT IN FILE"];
const MORE_HEADINGS = ["NOT STORED", "BAD LINES", "RESULT"];

function linesOf(
  output: Output,
  folder: string,
  compared: readonly CsvComparison[],
  isListed: boolean,
): string[] {
  if (compared.length === 0) return [`nothing to compare: no file in ${folder}, no stored series`];
  const count = (value: number, isBad = value > 0) => ({
    text: grouped(value),
    isRight: true,
    tone: isBad ? ("bad" as const) : ("plain" as const),
  });
  const rows = compared.map((one) => {
    const { counts } = one;
    const tone = isSame(one) ? ("good" as const) : ("bad" as const);
    return [
      { text: one.file },
      count(one.fileRowCount, false),
      count(one.storedCount, false),
      count(one.equalCount, false),
      count(counts.unequal),
      count(counts.respelt),
      count(counts["only-database"]),
      count(counts["only-file"] + counts["only-file-last"]),
      count(counts["bad-line"]),
      { text: resultOf(one), tone },
    ];
  });
  const lines = tableLines(output, [...HEADINGS, ...MORE_HEADINGS], rows);
  const details = compared.flatMap((one) => detailLines(one, isListed));
  if (details.length > 0) lines.push("", ...details);
  const unlike = compared.filter((one) => !isSame(one));
  const rowCount = compared.reduce((sum, { equalCount }) => sum + equalCount, 0);
  lines.push(
    "",
    unlike.length === 0
      ? paint(
          output,
          "good",
          `${grouped(rowCount)} rows of ${compared.length} files: no difference`,
        )
      : paint(output, "bad", `${unlike.length} of ${compared.length} files differ`),
  );
  return lines;
}

function resultOf(one: CsvComparison): string {
  if (one.state === "compared") return isSame(one) ? "same" : "differs";
  if (one.state === "no-file") return "no such file";
  return one.state === "other-layout" ? "another layout" : "cannot be read";
}

function detailLines(one: CsvComparison, isListed: boolean): string[] {
  const { differences, counts, series } = one;
  const label = seriesLabel(series);
  const lines = differences
    .slice(0, isListed ? differences.length : LISTED)
    .map(
      ({ openTime, detail }) =>
        `${label} ${openTime === undefined ? "" : `${instant(openTime)} `}${detail}`,
    );
  if (one.state === "no-file") return [`${label}: ${one.file} is not there`];
  if (one.reason !== undefined) lines.push(`${label}: ${one.reason}`);
  const all = Object.values(counts).reduce((sum, value) => sum + value, 0);
  if (all > lines.length) {
    const how = isListed || differences.length <= LISTED ? "" : "; more of them: --list";
    lines.push(`${label}: ${grouped(all - Math.min(all, lines.length))} more differences${how}`);
  }
  return lines;
}
