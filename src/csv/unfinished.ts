import type { VersionedCandle } from "../core/finality.ts";
import { PackedCandles } from "../core/packed-candles.ts";
import { doubts } from "../core/plausibility.ts";
import type { Series } from "../core/series.ts";
import { cellOf, type Timeframe } from "../core/timeframe.ts";
import { type TimeframeRows, timeframeFindings } from "../core/timeframe-check.ts";
import { FileFault } from "./bytes.ts";
import type { CandleFile } from "./candle-file.ts";
import { PlainRows } from "./plain-rows.ts";
import { RowReader } from "./row-reader.ts";

/** Rows that are compared in memory at a time; a folder with more is left to `verify`. */
export const MAX_COMPARED_ROWS = 250_000;

/** Rows of a file, for comparing only. */
interface ReadFile {
  readonly key: string;
  readonly series: Series;
  readonly rows: readonly VersionedCandle[];
}

/** Files of one folder and one symbol, at several timeframes: a store that was saved at one time. */
export interface Snapshot {
  readonly files: readonly { readonly key: string; readonly file: CandleFile }[];
}

/**
 * Candles that the other timeframes of the same folder prove to have been saved while they formed, by file. Every file's
 * newest candle is left out: it is held back anyway, and proves nothing about others.
 * @returns `undefined` when the files have more than {@link MAX_COMPARED_ROWS} rows
 */
export async function provedUnfinished(
  { files }: Snapshot,
  now: number,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, ReadonlySet<number>> | undefined> {
  const read: ReadFile[] = [];
  let rowCount = 0;
  for (const { key, file } of files) {
    const rows = await readRows(file, now, MAX_COMPARED_ROWS - rowCount, signal);
    if (rows === undefined) return undefined;
    rowCount += rows.length;
    read.push({ key, series: file.plan.series, rows });
  }
  const all = byTimeframe(read);
  const doubted = new Set<string>();
  for (const { timeframe, rows } of all) {
    const candles = rows.map(({ candle }) => candle);
    for (const { openTime } of doubts(timeframe, candles)) doubted.add(`${timeframe} ${openTime}`);
  }
  const isDoubtful = (timeframe: Timeframe, openTime: number): boolean =>
    doubted.has(`${timeframe} ${openTime}`);
  const found = new Map(files.map(({ key }) => [key, new Set<number>()]));
  const [first] = read;
  if (first === undefined) return found;
  for (const finding of timeframeFindings(first.series, all, isDoubtful)) {
    const { what, series, openTime, range } = finding;
    // Where several are suspect together, none of them is proved.
    const isOne = cellOf(series.timeframe, openTime).to === range.to;
    if (what !== "contradiction" || !isOne) continue;
    for (const file of read) {
      if (file.series.timeframe === series.timeframe) found.get(file.key)?.add(openTime);
    }
  }
  return found;
}

/** Rows of several files of a timeframe as one: months of it, or one file twice. */
function byTimeframe(files: readonly ReadFile[]): TimeframeRows[] {
  const merged = new Map<Timeframe, Map<number, VersionedCandle>>();
  for (const { series, rows } of files) {
    const known = merged.get(series.timeframe) ?? new Map<number, VersionedCandle>();
    for (const row of rows) known.set(row.candle.openTime, row);
    merged.set(series.timeframe, known);
  }
  return [...merged].map(([timeframe, rows]) => ({
    timeframe,
    rows: [...rows.values()].sort((a, b) => a.candle.openTime - b.candle.openTime),
  }));
}

/** Sound rows of a file but the newest, ascending, each candle once. */
async function readRows(
  file: CandleFile,
  now: number,
  maxRows: number,
  signal: AbortSignal,
): Promise<VersionedCandle[] | undefined> {
  const reader = new RowReader(file.plan, now);
  const plain = PlainRows.of(file.plan, now);
  const { series } = file.plan;
  const packed = new PackedCandles(series);
  const byTime = new Map<number, VersionedCandle>();
  try {
    for await (const { lines, firstLine } of file.blocks(file.start)) {
      signal.throwIfAborted();
      lines.forEach((line, index) => {
        if (line === undefined || line.trim() === "" || file.isHead(firstLine + index)) return;
        if (plain?.readText(line, packed, file.newestTime) === true) {
          byTime.set(packed.openTime(0), packed.at(0));
          packed.pop();
          return;
        }
        const row = reader.read(file.cells(line) ?? []);
        if ("code" in row) return;
        byTime.set(row.candle.openTime, { series, observedTime: file.newestTime, ...row });
      });
      if (byTime.size > maxRows) return undefined;
    }
  } catch (error) {
    if (!(error instanceof FileFault)) throw error;
  }
  return [...byTime.values()].sort((a, b) => a.candle.openTime - b.candle.openTime).slice(0, -1);
}
