import { versionNumber } from "../core/finality.ts";
import type { TimeRange } from "../core/range.ts";
import type { Series } from "../core/series.ts";
import { ceilOpenTime, cellOf, shiftOpenTime, type Timeframe } from "../core/timeframe.ts";
import type { Executor } from "./database.ts";
import type { SeriesCatalog } from "./series-catalog.ts";

/**
 * Neighbours that lie further apart than one candle, by the index alone, and the two ends.
 * A month is longer than 28 days: for `1M` every pair comes back and the calendar decides.
 */
const NEIGHBOURS = `
  with stored as (
    select open_time, lead(open_time) over (order by open_time) as next
    from candles
    where series_id = $1 and open_time >= candle_time($2) and open_time < candle_time($3)
  )
  select candle_epoch_ms(open_time) as "openTime", candle_epoch_ms(next) as next
  from stored
  where next - open_time > $4::bigint * interval '1 millisecond'
  order by open_time`;

const ENDS = `
  select
    candle_epoch_ms(min(open_time)) as first,
    candle_epoch_ms(max(open_time)) as last
  from candles
  where series_id = $1 and open_time >= candle_time($2) and open_time < candle_time($3)`;

/** Version numbers below this one are of roads that are read again by REST. */
const CONFIRMED_FROM = versionNumber("archive-monthly", 0);

const UNCONFIRMED = `
  select candle_epoch_ms(open_time) as "openTime"
  from candles
  where series_id = $1 and open_time >= candle_time($2) and open_time < candle_time($3) and version < ${CONFIRMED_FROM}
  order by open_time
  limit $4`;

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

const SAVE_CONFIRMED = `
  insert into ingestion_status as known (series_id, confirmed_to) values ($1, candle_time($2))
  on conflict (series_id) do update set confirmed_to = greatest(known.confirmed_to, excluded.confirmed_to)`;

/** What is stored and what is not, by the calendar of the timeframe. */
export class Coverage {
  readonly #executor: Executor;
  readonly #catalog: SeriesCatalog;

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
    const rows = await this.#executor.run<{ openTime: number; next: number }>({
      name: "coverage-neighbours",
      text: NEIGHBOURS,
      values: [id, from, to, shortestStep(timeframe)],
      deadlineMs: SCAN_DEADLINE_MS,
    });
    const holes = [
      { from, to: cellOf(timeframe, ends.first).from },
      ...rows.map(({ openTime, next }) => ({
        from: cellOf(timeframe, openTime).to,
        to: cellOf(timeframe, next).from,
      })),
      { from: cellOf(timeframe, ends.last).to, to },
    ];
    return holes.filter((hole) => hole.from < hole.to);
  }

  /**
   * Open times of stored candles that came by a road which is to be read again by REST (CSV, a young REST answer, the
   * stream), ascending, at most `limit`.
   * @throws {BlackTradeError} E_DB_*
   */
  async unconfirmed(series: Series, range: TimeRange, limit: number): Promise<number[]> {
    const id = await this.#catalog.find(series);
    if (id === undefined) return [];
    const rows = await this.#executor.run<{ openTime: number }>({
      name: "coverage-unconfirmed",
      text: UNCONFIRMED,
      values: [id, range.from, range.to, limit],
      deadlineMs: SCAN_DEADLINE_MS,
    });
    return rows.map(({ openTime }) => openTime);
  }

  /** See {@link ConfirmStore.saveConfirmed}. @throws {BlackTradeError} E_DB_* */
  async saveConfirmed(series: Series, confirmedTo: number): Promise<void> {
    const [id] = await this.#catalog.register([series]);
    await this.#executor.run({
      name: "save-confirmed",
      text: SAVE_CONFIRMED,
      values: [id, confirmedTo],
    });
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
