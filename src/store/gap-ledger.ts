import type { Gap, GapReason } from "../core/gaps.ts";
import { subtractRanges, type TimeRange } from "../core/range.ts";
import { type Series, sharedSeries } from "../core/series.ts";
import { type Pacing, retryContention } from "./contention.ts";
import type { Database, Executor } from "./database.ts";
import type { SeriesCatalog } from "./series-catalog.ts";
import { nullableNumberArray, numberArray } from "./sql-arrays.ts";

interface GapRow extends Series {
  readonly from: number;
  readonly to: number;
  readonly reason: GapReason;
  readonly state: Gap["state"];
  readonly foundTime: number;
  readonly emptyAnswers: number;
  readonly firstAskedTime: number | null;
  readonly nextTryTime: number;
}

const GAP_COLUMNS = `
  s.exchange, s.symbol, s.timeframe,
  candle_epoch_ms(g.range_from) as "from", candle_epoch_ms(g.range_to) as "to", g.reason, g.state,
  candle_epoch_ms(g.found_time) as "foundTime", g.empty_answers as "emptyAnswers",
  candle_epoch_ms(g.first_asked_time) as "firstAskedTime", candle_epoch_ms(g.next_try_time) as "nextTryTime"`;

/** More than there are open times of any timeframe. */
const MOST_CANDLES = 2 ** 43;

/** The gap ledger. Entries of a series that are not filled never overlap; filled ones stay as history. */
export class GapLedger {
  readonly #database: Database;
  readonly #catalog: SeriesCatalog;
  readonly #pacing: Pacing;

  constructor(database: Database, catalog: SeriesCatalog, pacing: Pacing) {
    this.#database = database;
    this.#catalog = catalog;
    this.#pacing = pacing;
  }

  /** See {@link GapStore.open}. */
  async open(gaps: readonly Gap[]): Promise<void> {
    if (gaps.length === 0) return;
    const ids = await this.#catalog.register(gaps.map(({ series }) => series));
    await this.#transact((tx) => enterGaps(tx, gaps, ids));
  }

  /** See {@link GapStore.due}. */
  async due(
    series: readonly Series[],
    now: number,
    limit: number,
    below = MOST_CANDLES,
  ): Promise<readonly Gap[]> {
    const ids = await this.#catalog.findAll(series);
    const rows = await this.#database.run<GapRow>({
      name: "due-gaps",
      text: `
        select ${GAP_COLUMNS}
        from gaps g
        join unnest($1::int[]) as wanted (series_id) on wanted.series_id = g.series_id
        join series s on s.id = g.series_id
        where g.state <> 'filled' and g.next_try_time <= candle_time($2)
          and candle_epoch_ms(g.range_to) - candle_epoch_ms(g.range_from) < $4::float8 * candle_step_ms(s.timeframe)
        order by g.next_try_time, g.range_from, g.series_id
        limit $3`,
      values: [numberArray(ids), now, limit, below],
    });
    return rows.map(gapOf);
  }

  /** See {@link GapStore.replace}. An entry that is not there any more has been answered by somebody else. */
  async replace(gap: Gap, left: readonly Gap[]): Promise<void> {
    const [seriesId = 0] = await this.#catalog.register([gap.series]);
    await this.#transact(async (tx) => {
      await lockSeries(tx, [seriesId]);
      const { from, to } = gap.range;
      const [entry] = await tx.run<{ id: number }>({
        text: `
          update gaps set state = 'filled', filled_at = clock_timestamp()
          where series_id = $1 and range_from = candle_time($2) and range_to = candle_time($3) and state <> 'filled'
            and (reason = 'not-kept') = $4
          returning id`,
        // What is not kept any more since the question was asked is no gap that its answer fills.
        values: [seriesId, from, to, gap.reason === "not-kept"],
      });
      if (entry === undefined) return;
      const [first, ...rest] = await uncovered(tx, left, new Array(left.length).fill(seriesId));
      if (first !== undefined) await reuse(tx, entry.id, first);
      await insert(tx, rest);
    });
  }

  /** Entries of a series that are not filled, ascending. @throws {BlackTradeError} E_DB_* */
  async list(series: Series): Promise<readonly Gap[]> {
    const id = await this.#catalog.find(series);
    return id === undefined ? [] : gapsOf(this.#database, id);
  }

  #transact(work: (tx: Executor) => Promise<void>): Promise<void> {
    return retryContention(this.#pacing, () => this.#database.transaction(work));
  }
}

/**
 * Enters what no entry covers yet of each gap; of gaps that overlap the first one wins.
 * @param ids numbers of the series, index for index
 */
export async function enterGaps(
  tx: Executor,
  gaps: readonly Gap[],
  ids: readonly number[],
): Promise<void> {
  if (gaps.length === 0) return;
  await lockSeries(tx, ids);
  await insert(tx, await uncovered(tx, gaps, ids));
}

/** Entries of a series that are not filled, ascending. */
export async function gapsOf(executor: Executor, seriesId: number): Promise<readonly Gap[]> {
  const rows = await executor.run<GapRow>({
    name: "list-gaps",
    text: `
      select ${GAP_COLUMNS}
      from gaps g join series s on s.id = g.series_id
      where g.series_id = $1 and g.state <> 'filled'
      order by g.range_from`,
    values: [seriesId],
  });
  return rows.map(gapOf);
}

/**
 * Takes entries of a series out and enters others, which may overlap none that stay. The ledger of the series is locked
 * by the caller, who needs the right to delete.
 */
export async function rewriteGaps(
  tx: Executor,
  seriesId: number,
  { gone, come }: { readonly gone: readonly Gap[]; readonly come: readonly Gap[] },
): Promise<void> {
  await tx.run({
    text: `
      delete from gaps
      where series_id = $1 and state <> 'filled' and range_from in (
        select candle_time(from_ms) from unnest($2::bigint[]) as gone (from_ms)
      )`,
    values: [seriesId, numberArray(gone.map(({ range }) => range.from))],
  });
  await insert(
    tx,
    come.map((gap) => ({ seriesId, gap, range: gap.range })),
  );
}

/** A part of a gap that no entry covers. */
interface Entry {
  readonly seriesId: number;
  readonly gap: Gap;
  readonly range: TimeRange;
}

async function uncovered(
  tx: Executor,
  gaps: readonly Gap[],
  ids: readonly number[],
): Promise<Entry[]> {
  if (gaps.length === 0) return [];
  const covered = await coveredRanges(tx, gaps, ids);
  const entries: Entry[] = [];
  for (const [index, gap] of gaps.entries()) {
    const seriesId = ids[index] ?? 0;
    const others = covered.get(seriesId) ?? [];
    for (const range of subtractRanges(gap.range, others)) entries.push({ seriesId, gap, range });
    covered.set(seriesId, [...others, gap.range]);
  }
  return entries;
}

async function insert(tx: Executor, entries: readonly Entry[]): Promise<void> {
  if (entries.length === 0) return;
  await tx.run({
    text: `
      insert into gaps (
        series_id, range_from, range_to, reason, state, empty_answers, found_time, first_asked_time, next_try_time
      )
      select
        series_id, candle_time(from_ms), candle_time(to_ms), reason, state, empty_answers,
        candle_time(found_ms), candle_time(first_asked_ms), candle_time(next_try_ms)
      from unnest(
        $1::int[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::int[], $7::bigint[], $8::bigint[], $9::bigint[]
      ) as entered (
        series_id, from_ms, to_ms, reason, state, empty_answers, found_ms, first_asked_ms, next_try_ms
      )`,
    values: [
      numberArray(entries.map(({ seriesId }) => seriesId)),
      numberArray(entries.map(({ range }) => range.from)),
      numberArray(entries.map(({ range }) => range.to)),
      entries.map(({ gap }) => gap.reason),
      entries.map(({ gap }) => gap.state),
      numberArray(entries.map(({ gap }) => gap.emptyAnswers)),
      numberArray(entries.map(({ gap }) => gap.foundTime)),
      nullableNumberArray(entries.map(({ gap }) => gap.firstAskedTime)),
      numberArray(entries.map(({ gap }) => gap.nextTryTime)),
    ],
  });
}

/** Makes an entry that has just been answered the first part of what is left: the ledger need not grow for it. */
async function reuse(tx: Executor, id: number, { gap, range }: Entry): Promise<void> {
  await tx.run({
    text: `
      update gaps set
        range_from = candle_time($2), range_to = candle_time($3), reason = $4, state = $5, empty_answers = $6,
        found_time = candle_time($7), first_asked_time = candle_time($8), next_try_time = candle_time($9),
        filled_at = null
      where id = $1`,
    values: [
      ...[id, range.from, range.to, gap.reason, gap.state, gap.emptyAnswers],
      ...[gap.foundTime, gap.firstAskedTime ?? null, gap.nextTryTime],
    ],
  });
}

/** One writer of a series' ledger at a time, in one order for all. */
export async function lockSeries(tx: Executor, ids: readonly number[]): Promise<void> {
  await tx.run({
    text: "select from series where id = any($1::int[]) order by id for update",
    values: [numberArray(ids)],
  });
}

async function coveredRanges(
  tx: Executor,
  gaps: readonly Gap[],
  ids: readonly number[],
): Promise<Map<number, TimeRange[]>> {
  const rows = await tx.run<{ id: number; from: number; to: number }>({
    text: `
      select distinct
        g.series_id as id, candle_epoch_ms(g.range_from) as "from", candle_epoch_ms(g.range_to) as "to"
      from unnest($1::int[], $2::bigint[], $3::bigint[]) as wanted (series_id, from_ms, to_ms)
      join gaps g on g.series_id = wanted.series_id
      where g.state <> 'filled'
        and g.range_from < candle_time(wanted.to_ms) and g.range_to > candle_time(wanted.from_ms)`,
    values: [
      numberArray(ids),
      numberArray(gaps.map(({ range }) => range.from)),
      numberArray(gaps.map(({ range }) => range.to)),
    ],
  });
  const covered = new Map<number, TimeRange[]>();
  for (const { id, from, to } of rows) covered.set(id, [...(covered.get(id) ?? []), { from, to }]);
  return covered;
}

function gapOf({ exchange, symbol, timeframe, from, to, firstAskedTime, ...rest }: GapRow): Gap {
  return {
    series: sharedSeries({ exchange, symbol, timeframe }),
    range: { from, to },
    ...rest,
    ...(firstAskedTime === null ? {} : { firstAskedTime }),
  };
}
