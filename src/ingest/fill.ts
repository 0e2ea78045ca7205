import type { RequestPriority } from "../core/budget.ts";
import { BlackTradeError } from "../core/errors.ts";
import type { Gap } from "../core/gaps.ts";
import type { ArchiveContent, ArchiveSource, PlannedFile } from "../core/ports.ts";
import { isEmptyRange, subtractRanges, type TimeRange } from "../core/range.ts";
import { cellOf, countOpenTimes } from "../core/timeframe.ts";
import { type HealOptions, healGap } from "./heal.ts";

/** What filling needs: all of healing, and the archive when there is one. */
export interface FillOptions extends HealOptions {
  readonly archive?: ArchiveSource;
  /** Exchange time, epoch ms. */
  readonly exchangeNow: () => number;
  /** Told of every file that was read. */
  readonly onFile?: (file: PlannedFile, content: ArchiveContent | undefined) => void;
}

/** A gap of fewer candles is left to REST: five requests bring it sooner than a file of a month. */
export const MIN_ARCHIVE_CANDLES = 5_000;
/** A file that brings fewer than one request of REST is not worth its two requests. */
export const MIN_FILE_CANDLES = 1_000;

/**
 * Fills one entry of the ledger: whole months and days of it from the archive, the rest by REST. The ledger is cut down
 * after every file, once its candles are committed, so what was killed goes on where it was.
 * @returns what is left of the entry
 * @throws {BlackTradeError} E_SOURCE_*, E_DB_*; the ledger then holds what is still missing
 */
export async function fillGap(
  options: FillOptions,
  gap: Gap,
  priority: RequestPriority,
  signal: AbortSignal,
): Promise<readonly Gap[]> {
  const isLarge = countOpenTimes(gap.series.timeframe, gap.range) >= MIN_ARCHIVE_CANDLES;
  const entries =
    isLarge && options.archive !== undefined && gap.reason !== "exchange-had-none"
      ? await fillFromArchive(options, options.archive, gap, signal)
      : [gap];
  const left: Gap[] = [];
  for (const entry of entries) left.push(...(await healGap(options, entry, signal, priority)));
  return left;
}

async function fillFromArchive(
  options: FillOptions,
  archive: ArchiveSource,
  gap: Gap,
  signal: AbortSignal,
): Promise<readonly Gap[]> {
  let entries: readonly Gap[] = [gap];
  for (const kinds of [["archive-monthly", "archive-daily"], ["archive-daily"]] as const) {
    // The second round takes by days what a monthly file lacked or was not there for.
    const files = entries.flatMap(
      ({ series, range }) =>
        archive.plan(series, range, options.exchangeNow(), {
          kinds,
          minCandleCount: MIN_FILE_CANDLES,
        }).files,
    );
    for (const file of files) {
      const filled = await readFile(options, archive, file, signal).catch((error: unknown) => {
        signal.throwIfAborted();
        if (!(error instanceof BlackTradeError) || error.code.startsWith("E_DB")) throw error;
        // A file that cannot be had or read is no reason to wait: REST has the same candles.
        const { code, message } = error;
        options.record({ kind: "fetchFailed", series: file.series, code, reason: message });
        return [];
      });
      entries = await cutDown(options, entries, filled);
    }
  }
  return entries;
}

/** Reads one file into the table. @returns the stretches that are stored now; none when it is not published */
async function readFile(
  { intake, writer, record, onFile }: FillOptions,
  archive: ArchiveSource,
  file: PlannedFile,
  signal: AbortSignal,
): Promise<TimeRange[]> {
  const content = await archive.open(file, signal);
  if (content.kind === "not-published") {
    onFile?.(file, undefined);
    return [];
  }
  const { kind, series, range } = file;
  if (content.check !== "ok")
    record({ kind: "fileDoubted", file: kind, series, range, check: content.check });
  const refused: TimeRange[] = [];
  try {
    for await (const page of content.pages) {
      await writer.room(signal);
      for (const row of page.rows) {
        const fate = intake.take(file.series, row, page.source, page.askedTime);
        if (fate !== "taken") refused.push(cellOf(file.series.timeframe, row.openTime));
      }
    }
  } finally {
    await content.close();
  }
  await writer.flushed(signal);
  onFile?.(file, content);
  refused.push(...writer.refusedCells(file.series));
  return subtractRanges(file.range, [...content.report().absent, ...refused]);
}

/** Takes stretches that are stored out of ledger entries. @returns the entries that are left */
async function cutDown(
  { gaps }: FillOptions,
  entries: readonly Gap[],
  filled: readonly TimeRange[],
): Promise<readonly Gap[]> {
  const left: Gap[] = [];
  for (const entry of entries) {
    const parts = subtractRanges(entry.range, filled)
      .filter((range) => !isEmptyRange(range))
      .map((range) => ({ ...entry, range }));
    const isTouched =
      parts.length !== 1 ||
      parts[0]?.range.from !== entry.range.from ||
      parts[0]?.range.to !== entry.range.to;
    if (isTouched) await gaps.replace(entry, parts);
    left.push(...parts);
  }
  return left;
}
