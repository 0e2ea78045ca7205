import { mergeRanges, type TimeRange } from "../core/range.ts";
import type { Series } from "../core/series.ts";
import { ceilOpenTime, cellOf, shiftOpenTime, type Timeframe } from "../core/timeframe.ts";
import { CONFIRMED_FROM } from "./confirmation.ts";
import type { Executor } from "./database.ts";
import type { SeriesCatalog } from "./series-catalog.ts";

/**
 * Holes in two steps, both by the index alone. First the candles on the grid are counted, a block of cells at a time: a
 * block that has as many as cells is whole, and counting costs a fraction of comparing neighbours. Only in the other blocks
 * are neighbours compared, and the first and the last candle with the block's edges.
 * A month is longer than 28 days: `1M` is one block that no count makes whole, and the calendar decides.
 * @param isOnGrid SQL that tells of an open time whether a cell opens then; `grid_from` is on the grid
 */
function holesText(isOnGrid: string): string {
  return `
  with blocks as materialized (
    select
      candle_time(block_from) as block_from,
      candle_time(least(block_from + $4::bigint, $3::bigint)) as block_to,
      (least(block_from + $4::bigint, $3::bigint) - block_from) / $5::bigint as cells,
      $5::bigint * interval '1 millisecond' as step,
      candle_time($2::bigint) as grid_from
    from generate_series($2::bigint, $3::bigint - 1, $4::bigint) block_from
  ), ragged as materialized (
    select block_from, block_to, step
    from blocks
    cross join lateral (
      select count(*) as count
      from candles
      where series_id = $1 and open_time >= block_from and open_time < block_to and ${isOnGrid}
    ) stored
    where $6 or count < cells
  )
  select
    candle_epoch_ms(block_from) as "blockFrom",
    candle_epoch_ms(block_to) as "blockTo",
    candle_epoch_ms(previous) as previous,
    candle_epoch_ms(next) as next
  from ragged
  cross join lateral (
    select previous, next
    from (
      select open_time as next, lag(open_time) over (order by open_time) as previous
      from candles
      where series_id = $1 and open_time >= block_from and open_time < block_to
    ) neighbours
    where previous is null or next > previous + step
    union all
    select max(open_time), null
    from candles
    where series_id = $1 and open_time >= block_from and open_time < block_to
  ) pairs
  order by block_from, next nulls last`;
}

const HOLES = holesText("date_bin(step, open_time, grid_from) = open_time");
/** The same for PostgreSQL 12 and 13, which have no `date_bin`; counting takes twice the time. */
const HOLES_BEFORE_14 = holesText(
  "((date_part('epoch', open_time) * 1000)::bigint - $2::bigint) % $5::bigint = 0",
);
const VERSION = `select current_setting('server_version_num')::int as version`;

/** Two neighbours too far apart inside a block; null stands for the block's edge. */
interface Pair {
  readonly blockFrom: number;
  readonly blockTo: number;
  readonly previous: number | null;
  readonly next: number | null;
}

/** Cells of a block: few, so that one hole costs little; but never more than so many blocks. */
const BLOCK_CELLS = 1_440;
const MAX_BLOCKS = 10_000;

const ENDS = `
  select
    candle_epoch_ms(min(open_time)) as first,
    candle_epoch_ms(max(open_time)) as last
  from candles
  where series_id = $1 and open_time >= candle_time($2) and open_time < candle_time($3)`;

const SHARE = `
  select
    count(*) as total,
    count(*) filter (where version >= ${CONFIRMED_FROM}) as confirmed
  from candles
  where series_id = $1 and open_time >= candle_time($2) and open_time < candle_time($3)`;

/** Shortest distance of two open times of a timeframe, ms. */
function shortestStep(timeframe: Timeframe): number {
  return timeframe === "1M"
    ? 28 * 86_400_000
    : shiftOpenTime(timeframe, 0, 1) - cellOf(timeframe, 0).from;
}

const FIRST = `
  select candle_epoch_ms(min(open_time)) as first from candles where series_id = $1`;

/** What is stored and what is not, by the calendar of the timeframe. */
export class Coverage {
  readonly #executor: Executor;
  readonly #catalog: SeriesCatalog;
  #version: number | undefined;

  constructor(executor: Executor, catalog: SeriesCatalog) {
    this.#executor = executor;
    this.#catalog = catalog;
  }

  /**
   * Stretches of `range` without a candle: before the first, between two, after the last, or all of it.
   * An off-grid candle stands for the cell that it opens in, so it neither hides a gap nor makes one.
   * @returns disjoint, ascending, edges on the grid
   * @throws {BlackTradeError} E_DB_*
   */
  async holes(series: Series, range: TimeRange): Promise<TimeRange[]> {
    const { timeframe } = series;
    const from = ceilOpenTime(timeframe, range.from);
    const to = ceilOpenTime(timeframe, range.to);
    const id = await this.#catalog.find(series);
    if (from >= to) return [];
    if (id === undefined) return [{ from, to }];
    const [ends] = await this.#executor.run<{ first: number | null; last: number | null }>({
      name: "coverage-ends",
      text: ENDS,
      values: [id, from, to],
    });
    if (ends === undefined || ends.first === null || ends.last === null) return [{ from, to }];
    const first = cellOf(timeframe, ends.first).from;
    const last = cellOf(timeframe, ends.last).to;
    const step = shortestStep(timeframe);
    const isCalendar = timeframe === "1M";
    const cells = Math.max(BLOCK_CELLS, Math.ceil((last - first) / step / MAX_BLOCKS));
    const isOld = await this.#isBefore14();
    const pairs = await this.#executor.run<Pair>({
      name: isOld ? "coverage-holes-12" : "coverage-holes",
      text: isOld ? HOLES_BEFORE_14 : HOLES,
      values: [id, first, last, isCalendar ? last - first : cells * step, step, isCalendar],
      deadlineMs: SCAN_DEADLINE_MS,
    });
    const holes = [
      { from, to: first },
      ...pairs.map(({ blockFrom, blockTo, previous, next }) => ({
        from: previous === null ? blockFrom : cellOf(timeframe, previous).to,
        to: next === null ? blockTo : cellOf(timeframe, next).from,
      })),
      { from: last, to },
    ];
    return mergeRanges(holes.filter((hole) => hole.from < hole.to));
  }

  /** See {@link CoverageStore.firstStored}. @throws {BlackTradeError} E_DB_* */
  async firstStored(series: Series): Promise<number | undefined> {
    const id = await this.#catalog.find(series);
    if (id === undefined) return undefined;
    const [row] = await this.#executor.run<{ first: number | null }>({
      name: "coverage-first",
      text: FIRST,
      values: [id],
    });
    return row?.first ?? undefined;
  }

  async #isBefore14(): Promise<boolean> {
    if (this.#version === undefined) {
      const [row] = await this.#executor.run<{ version: number }>({ text: VERSION });
      this.#version = row?.version ?? 0;
    }
    return this.#version < 140_000;
  }

  /** How many candles of a range are stored, and how many of them an archive or settled REST vouches for. */
  async share(series: Series, range: TimeRange): Promise<{ total: number; confirmed: number }> {
    const id = await this.#catalog.find(series);
    if (id === undefined) return { total: 0, confirmed: 0 };
    const [row] = await this.#executor.run<{ total: number; confirmed: number }>({
      name: "coverage-share",
      text: SHARE,
      values: [id, range.from, range.to],
      deadlineMs: SCAN_DEADLINE_MS,
    });
    return row ?? { total: 0, confirmed: 0 };
  }
}

/** A scan of tens of millions of rows on a cold disk. */
const SCAN_DEADLINE_MS = 10 * 60_000;
