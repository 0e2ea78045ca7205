import { BlackTradeError } from "../core/errors.ts";
import { notFetchedGap } from "../core/gaps.ts";
import type { TimeRange } from "../core/range.ts";
import { keptFrom, withoutKept } from "../core/retention.ts";
import type { Series } from "../core/series.ts";
import { ceilOpenTime, cellOf, type Timeframe } from "../core/timeframe.ts";
import { dropChunk, type Share, wholeChunks } from "./chunks.ts";
import { type Pacing, REAL_PACING, retryContention } from "./contention.ts";
import type { Database, Executor } from "./database.ts";
import { isContention, isGone } from "./db-errors.ts";
import { gapsOf, lockSeries, rewriteGaps } from "./gap-ledger.ts";
import { inspectTimescale, TIMESCALE_SETTING } from "./timescale.ts";

/** How long candles of a timeframe are kept. */
export interface Keep {
  readonly timeframe: Timeframe;
  readonly ageMs: number;
}

/** What of a series is older than what is kept. */
export interface Excess {
  readonly series: Series;
  readonly seriesId: number;
  /** Open time from which on candles are kept. */
  readonly before: number;
  readonly candleCount: number;
  /** Replaced versions of candles, which go with them. */
  readonly revisionCount: number;
}

/** What was removed. */
export interface Removal {
  readonly candleCount: number;
  readonly revisionCount: number;
  /** Chunks of TimescaleDB that were dropped whole. */
  readonly chunkCount: number;
}

/** A stretch of a series that is not kept. */
export interface NotKept {
  readonly series: Series;
  readonly range: TimeRange;
  /** When it last grew, epoch ms by the clock of the database. */
  readonly removedTime: number;
}

/** Candles of one transaction: about a tenth of a second's work. */
const BATCH = 10_000;
/** Counting, or deleting in compressed chunks, on a cold disk. */
const DEADLINE_MS = 10 * 60_000;

const EXCESS = `
  select
    s.exchange, s.symbol, s.timeframe, s.id as "seriesId", wanted.before_ms as before,
    (select count(*) from candles c where c.series_id = s.id and c.open_time < candle_time(before_ms)) as "candleCount",
    (
      select count(*) from candle_revisions r where r.series_id = s.id and r.open_time < candle_time(before_ms)
    ) as "revisionCount"
  from unnest($1::text[], $2::bigint[]) as wanted (timeframe, before_ms)
  join series s using (timeframe)
  where
    exists (select from candles c where c.series_id = s.id and c.open_time < candle_time(before_ms))
    or exists (
      select from gaps g
      where g.series_id = s.id and g.state = 'open' and g.range_from < candle_time(before_ms)
        and exists (select from candles c where c.series_id = s.id)
    )
  order by s.exchange, s.symbol, candle_step_ms(s.timeframe)`;

/** The first candle, the first one of the next batch, and whether any is kept. */
const EDGES = `
  select
    (select candle_epoch_ms(min(open_time)) from candles where series_id = $1) as first,
    (
      select candle_epoch_ms(open_time) from candles
      where series_id = $1 and open_time < candle_time($2)
      order by open_time offset ${BATCH} limit 1
    ) as next,
    (
      select candle_epoch_ms(max(open_time)) from candles where series_id = $1
    ) as newest`;

const COUNTS = `
  select
    (select count(*) from candles where series_id = $1 and open_time < candle_time($2)) as "candleCount",
    (select count(*) from candle_revisions where series_id = $1 and open_time < candle_time($2)) as "revisionCount"`;

/** Constants and nothing returned: so TimescaleDB takes compressed segments out whole, without unpacking them. */
const DELETE = "delete from candles where series_id = $1 and open_time < $2::timestamptz";
const DELETE_REVISIONS =
  "delete from candle_revisions where series_id = $1 and open_time < $2::timestamptz";

interface Edges {
  readonly first: number | null;
  readonly next: number | null;
  readonly newest: number | null;
}

/**
 * Removes candles that are older than what is kept. Each transaction deletes a bounded number and says so in the gap
 * ledger, so that nothing takes them for missing: what was stopped goes on at the next call.
 */
export class Retention {
  readonly #database: Database;
  readonly #pacing: Pacing;

  constructor(database: Database, pacing: Pacing = REAL_PACING) {
    this.#database = database;
    this.#pacing = pacing;
  }

  /** What would be removed. Changes nothing. @throws {BlackTradeError} E_DB_* */
  async excess(keeps: readonly Keep[]): Promise<readonly Excess[]> {
    const now = await this.#now();
    const rows = await this.#database.run<Series & Omit<Excess, "series">>({
      text: EXCESS,
      values: [
        keeps.map(({ timeframe }) => timeframe),
        keeps.map(({ timeframe, ageMs }) => keptFrom(timeframe, now, ageMs)),
      ],
      deadlineMs: DEADLINE_MS,
    });
    return rows.map(({ exchange, symbol, timeframe, ...rest }) => ({
      series: { exchange, symbol, timeframe },
      ...rest,
    }));
  }

  /**
   * Removes it: whole chunks of TimescaleDB where nothing else lies in them, rows elsewhere.
   * @param onProgress told after each transaction how many candles are gone
   * @throws {BlackTradeError} E_DB_RIGHT when the user may not delete, other E_DB_*; the signal's reason on abort
   */
  async remove(
    excess: readonly Excess[],
    signal: AbortSignal,
    onProgress: (candleCount: number) => void = () => undefined,
  ): Promise<Removal> {
    await this.#refuseWithoutRight();
    const sum = { candleCount: 0, revisionCount: 0, chunkCount: 0 };
    const add = (removed: Removal): void => {
      sum.candleCount += removed.candleCount;
      sum.revisionCount += removed.revisionCount;
      sum.chunkCount += removed.chunkCount;
      onProgress(sum.candleCount);
    };
    const { isInstalled } = await inspectTimescale(this.#database);
    if (isInstalled) await this.#dropChunks(excess, signal, add);
    for (const one of excess) {
      for (let isDone = false; !isDone; ) {
        signal.throwIfAborted();
        const batch = await this.#transact(isInstalled, (tx, now) => removeBatch(tx, one, now));
        add({ ...batch, chunkCount: 0 });
        isDone = batch.isLast;
      }
    }
    return sum;
  }

  /** Stretches that are not kept, by series. @throws {BlackTradeError} E_DB_* */
  async list(): Promise<readonly NotKept[]> {
    const rows = await this.#database.run<Series & TimeRange & Pick<NotKept, "removedTime">>({
      text: `
        select
          s.exchange, s.symbol, s.timeframe, candle_epoch_ms(g.range_from) as "from",
          candle_epoch_ms(g.range_to) as "to", candle_epoch_ms(g.found_time) as "removedTime"
        from gaps g join series s on s.id = g.series_id
        where g.state <> 'filled' and g.reason = 'not-kept'
        order by s.exchange, s.symbol, candle_step_ms(s.timeframe), g.range_from`,
    });
    return rows.map(({ exchange, symbol, timeframe, from, to, removedTime }) => ({
      series: { exchange, symbol, timeframe },
      range: { from, to },
      removedTime,
    }));
  }

  /** Wants everything of these timeframes again: it is due to be fetched at once. @returns the stretches */
  async wantAgain(timeframes: readonly Timeframe[]): Promise<readonly NotKept[]> {
    const wanted = (await this.list()).filter(({ series }) =>
      timeframes.includes(series.timeframe),
    );
    const bySeries = Map.groupBy(wanted, ({ series }) => JSON.stringify(series));
    for (const [{ series }] of [...bySeries.values()] as [NotKept, ...NotKept[]][]) {
      await this.#transact(false, async (tx, now) => {
        const seriesId = await seriesIdOf(tx, series);
        await lockSeries(tx, [seriesId]);
        const gone = (await gapsOf(tx, seriesId)).filter(({ reason }) => reason === "not-kept");
        const come = gone.map(({ range }) => notFetchedGap(series, range, now));
        await rewriteGaps(tx, seriesId, { gone, come });
      });
    }
    return wanted;
  }

  async #dropChunks(
    excess: readonly Excess[],
    signal: AbortSignal,
    add: (removed: Removal) => void,
  ): Promise<void> {
    for (const chunk of await wholeChunks(this.#database, excess)) {
      signal.throwIfAborted();
      try {
        const removed = await this.#transact(true, (tx, now) =>
          dropChunk(tx, chunk, excess, (share) => noteShare(tx, share, chunk, now)),
        );
        if (removed !== undefined) add({ ...removed, chunkCount: 1 });
      } catch (error) {
        // Somebody is in it: its rows are deleted like all others. Or has dropped it.
        if (!isContention(error) && !isGone(error)) throw error;
      }
    }
  }

  /** @param work is given the time by the clock of the database, epoch ms */
  #transact<T>(hasTimescale: boolean, work: (tx: Executor, now: number) => Promise<T>): Promise<T> {
    return retryContention(this.#pacing, () =>
      this.#database.transaction(async (tx) => {
        if (hasTimescale) await tx.run({ text: `set local ${TIMESCALE_SETTING}` });
        return work(tx, await nowOf(tx));
      }, DEADLINE_MS),
    );
  }

  #now(): Promise<number> {
    return nowOf(this.#database);
  }

  async #refuseWithoutRight(): Promise<void> {
    const missing = await this.#database.run<{ table: string }>({
      text: `
        select name as table from unnest(array['candles', 'candle_revisions', 'gaps']) as wanted (name)
        where not has_table_privilege(to_regclass(name), 'DELETE')`,
    });
    const [first] = missing;
    if (first === undefined) return;
    const { user } = this.#database.target;
    throw new BlackTradeError(
      "E_DB_RIGHT",
      `user "${user}" may not delete: it has no DELETE on ${first.table}`,
      { remedy: "Run it as the owner of the tables, the user that runs db migrate." },
    );
  }
}

/** Deletes the oldest candles of a series and enters the stretch into the ledger. */
async function removeBatch(
  tx: Executor,
  { series, seriesId, before }: Excess,
  now: number,
): Promise<{ candleCount: number; revisionCount: number; isLast: boolean }> {
  await lockSeries(tx, [seriesId]);
  const { timeframe } = series;
  const [edges] = await tx.run<Edges>({ text: EDGES, values: [seriesId, before] });
  const { first, next, newest } = edges ?? { first: null, next: null, newest: null };
  const none = { candleCount: 0, revisionCount: 0, isLast: true };
  if (first === null || newest === null) return none;
  // Behind the newest candle nothing was removed: what is to come there is the ingester's affair.
  const last = Math.min(before, cellOf(timeframe, newest).to);
  const to = next === null ? last : cellOf(timeframe, next).from;
  const entries = await gapsOf(tx, seriesId);
  const [deleted = none] = await tx.run<Omit<typeof none, "isLast">>({
    text: COUNTS,
    values: [seriesId, to],
  });
  const end = [seriesId, new Date(to).toISOString()];
  if (deleted.candleCount > 0) await tx.run({ text: DELETE, values: end });
  if (deleted.revisionCount > 0) await tx.run({ text: DELETE_REVISIONS, values: end });
  const starts = [
    ...(first < to ? [cellOf(timeframe, first).from] : []),
    ...entries.filter(({ state }) => state === "open").map(({ range }) => range.from),
    ...entries.filter(({ reason }) => reason === "not-kept").map(({ range }) => range.to),
  ];
  const range = { from: Math.min(to, ...starts), to };
  if (range.from < range.to) {
    await rewriteGaps(tx, seriesId, withoutKept(series, entries, range, now));
  }
  return { ...deleted, isLast: next === null };
}

/** Enters what a dropped chunk held of one series. */
async function noteShare(
  tx: Executor,
  { series, seriesId, first, last, goesOn }: Share,
  chunk: TimeRange,
  now: number,
): Promise<void> {
  const entries = await gapsOf(tx, seriesId);
  const { timeframe } = series;
  const to = goesOn ? ceilOpenTime(timeframe, chunk.to) : cellOf(timeframe, last).to;
  const range = { from: cellOf(timeframe, first).from, to };
  await rewriteGaps(tx, seriesId, withoutKept(series, entries, range, now));
}

async function seriesIdOf(tx: Executor, series: Series): Promise<number> {
  const [row] = await tx.run<{ id: number }>({
    text: "select id from series where exchange = $1 and symbol = $2 and timeframe = $3",
    values: [series.exchange, series.symbol, series.timeframe],
  });
  if (row === undefined) throw new Error("a series of the ledger is not in the table series");
  return row.id;
}

async function nowOf(executor: Executor): Promise<number> {
  const [row] = await executor.run<{ now: number }>({
    text: "select candle_epoch_ms(clock_timestamp()) as now",
  });
  if (row === undefined) throw new Error("the server has no time");
  return row.now;
}
