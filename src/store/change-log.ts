import type { TimeRange } from "../core/range.ts";
import type { Database, Executor } from "./database.ts";
import { numberArray } from "./sql-arrays.ts";

/** A candle that a transaction stored or replaced. */
export interface LoggedCandle {
  readonly seriesId: number;
  /** Epoch ms. */
  readonly openTime: number;
  readonly isRevised: boolean;
}

/** Many candles of a series that a transaction wrote. */
export interface LoggedStretch {
  readonly seriesId: number;
  /** Holds every open time that was written. */
  readonly range: TimeRange;
}

/** What stands in the log for one transaction. */
export type LogEntry = LoggedCandle | LoggedStretch;

/** More changes of a series in one transaction are history that is loaded, not candles that close: logged as a stretch. */
const MAX_SINGLE = 100;
/** Entries of one row; a page of a reader holds at least one row. */
const MAX_ROW_ENTRIES = 5_000;
const PRUNE_EVERY_MS = 3_600_000;

/** One call forgets a bounded number of rows. */
const PRUNE = "select prune_candle_changes()";
const HAS_OLD_ROWS = `
  select count(*) = 2 and bool_and(logged_at < clock_timestamp() - interval '7 days') as "hasOldRows"
  from (select logged_at from candle_changes order by id limit 2) as first_rows`;

const LOG = "select log_candle_changes($1::int[], $2::bigint[], $3::bigint[], $4::boolean[])";

/**
 * Notes what a transaction did to candles; to be called last in it, so that nobody waits for its numbers for long.
 * Series with many changes are noted as a stretch.
 * @param candles those of a series side by side
 */
export async function logCandles(tx: Executor, candles: readonly LoggedCandle[]): Promise<void> {
  await logEntries(tx, entriesOf(candles));
}

/** The same for entries that are put together already, as by a bulk load that knows its edges. */
export async function logEntries(tx: Executor, entries: readonly LogEntry[]): Promise<void> {
  for (let at = 0; at < entries.length; at += MAX_ROW_ENTRIES) {
    await logRow(tx, entries.slice(at, at + MAX_ROW_ENTRIES));
  }
}

/** Throws away what is no longer kept, now and then. */
export class ChangePruner {
  readonly #database: Database;
  #nextMs = 0;

  constructor(database: Database) {
    this.#database = database;
  }

  /** To be called after a commit; waits for nothing, and a failure is made good the next time. */
  pruneSometimes(): void {
    if (performance.now() < this.#nextMs) return;
    this.#nextMs = performance.now() + PRUNE_EVERY_MS;
    this.#prune().catch(() => undefined);
  }

  async #prune(): Promise<void> {
    for (let hasOldRows = true; hasOldRows; ) {
      await this.#database.run({ text: PRUNE });
      const [found] = await this.#database.run<{ hasOldRows: boolean }>({ text: HAS_OLD_ROWS });
      hasOldRows = found?.hasOldRows ?? false;
    }
  }
}

function entriesOf(candles: readonly LoggedCandle[]): readonly LogEntry[] {
  if (candles.length <= MAX_SINGLE) return candles;
  const entries: LogEntry[] = [];
  for (let from = 0, to = 0; from < candles.length; from = to) {
    const seriesId = candles[from]?.seriesId;
    while (candles[to]?.seriesId === seriesId && to < candles.length) to += 1;
    const group = candles.slice(from, to);
    if (group.length > MAX_SINGLE) entries.push(stretchOf(group));
    else entries.push(...group);
  }
  return entries;
}

function stretchOf(group: readonly LoggedCandle[]): LoggedStretch {
  let from = Number.POSITIVE_INFINITY;
  let last = Number.NEGATIVE_INFINITY;
  for (const { openTime } of group) {
    from = Math.min(from, openTime);
    last = Math.max(last, openTime);
  }
  return { seriesId: group[0]?.seriesId ?? 0, range: { from, to: last + 1 } };
}

async function logRow(tx: Executor, entries: readonly LogEntry[]): Promise<void> {
  const opens = entries.map((entry) => ("range" in entry ? entry.range.from : entry.openTime));
  const hasStretches = entries.some((entry) => "range" in entry);
  const isRevised = (entry: LogEntry): boolean => "isRevised" in entry && entry.isRevised;
  await tx.run({
    name: "log-changes",
    text: LOG,
    values: [
      numberArray(entries.map(({ seriesId }) => seriesId)),
      numberArray(opens),
      hasStretches
        ? `{${entries.map((entry) => ("range" in entry ? entry.range.to : "NULL")).join(",")}}`
        : null,
      entries.some(isRevised)
        ? `{${entries.map((entry) => (isRevised(entry) ? "t" : "f")).join(",")}}`
        : null,
    ],
  });
}
