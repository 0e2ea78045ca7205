import type { Gap, GapReason } from "../core/gaps.ts";
import type { CoverageDay, SeriesOverview } from "../core/ports.ts";
import { intersectRanges, subtractRanges, type TimeRange } from "../core/range.ts";
import { type Series, seriesKey, sharedSeries } from "../core/series.ts";
import { countOpenTimes } from "../core/timeframe.ts";
import { CONFIRMED_FROM } from "./confirmation.ts";
import type { Executor } from "./database.ts";
import { numberArray } from "./sql-arrays.ts";

const DAY_MS = 86_400_000;

/** Each end is a look at one end of the index. */
const OVERVIEW = `
  select
    s.exchange, s.symbol, s.timeframe,
    candle_epoch_ms(first.open_time) as "firstOpenTime", candle_epoch_ms(newest.open_time) as "newestOpenTime"
  from series s
  left join lateral (
    select open_time from candles where series_id = s.id order by open_time limit 1
  ) first on true
  left join lateral (
    select open_time from candles where series_id = s.id order by open_time desc limit 1
  ) newest on true
  order by s.exchange, s.symbol, candle_step_ms(s.timeframe)`;

const FACTS = `
  select
    s.id, s.exchange, s.symbol, s.timeframe,
    candle_epoch_ms(st.wanted_from) as "wantedFrom",
    case when st.wanted_from is not null then candle_epoch_ms(st.next_open_time) end as next,
    candle_epoch_ms(st.confirmed_to) as "confirmedTo",
    coalesce(st.run_id = (select max(id) from ingestion_runs), false) as "isConfigured",
    candle_epoch_ms(first.open_time) as first, candle_epoch_ms(newest.open_time) as newest
  from unnest($1::text[], $2::text[], $3::text[]) as asked (exchange, symbol, timeframe)
  join series s using (exchange, symbol, timeframe)
  left join ingestion_status st on st.series_id = s.id
  left join lateral (
    select open_time from candles where series_id = s.id order by open_time limit 1
  ) first on true
  left join lateral (
    select open_time from candles where series_id = s.id order by open_time desc limit 1
  ) newest on true`;

const GAPS = `
  select
    g.series_id as id, candle_epoch_ms(g.range_from) as "from", candle_epoch_ms(g.range_to) as "to", g.reason, g.state
  from gaps g
  where g.series_id = any($1::int[]) and g.state <> 'filled'
    and g.range_from < candle_time($3) and g.range_to > candle_time($2)
  order by g.series_id, g.range_from`;

/**
 * Rows by day of stretches; $4 tells of which the versions are wanted, for only those rows have to be read themselves.
 * Lateral, so that each stretch is one look at the index whatever the planner thinks of the arrays.
 */
const COUNTS = `
  select part.id, days.day, days.stored, days.confirmed
  from unnest($1::int[], $2::bigint[], $3::bigint[], $4::boolean[]) as part (id, from_ms, to_ms, has_versions)
  cross join lateral (
    select
      (c.open_time at time zone 'UTC')::date - date '1970-01-01' as day,
      count(*) as stored,
      null::bigint as confirmed
    from candles c
    where not part.has_versions and c.series_id = part.id
      and c.open_time >= candle_time(part.from_ms) and c.open_time < candle_time(part.to_ms)
    group by 1
    union all
    select
      (c.open_time at time zone 'UTC')::date - date '1970-01-01',
      count(*),
      count(*) filter (where c.version >= ${CONFIRMED_FROM})
    from candles c
    where part.has_versions and c.series_id = part.id
      and c.open_time >= candle_time(part.from_ms) and c.open_time < candle_time(part.to_ms)
    group by 1
  ) days`;

interface SeriesFacts extends Series {
  readonly id: number;
  readonly wantedFrom: number | null;
  readonly next: number | null;
  readonly confirmedTo: number | null;
  readonly isConfigured: boolean;
  readonly first: number | null;
  readonly newest: number | null;
}

interface GapRow extends TimeRange {
  readonly id: number;
  readonly reason: GapReason;
  readonly state: Gap["state"];
}

/** A stretch whose rows are counted. */
interface Part {
  readonly id: number;
  readonly range: TimeRange;
  readonly hasVersions: boolean;
}

/** What is kept of days, by series and day. */
type Tally = Map<string, { stored: number; confirmed: number | undefined }>;

/** First and newest stored candle of every series. @throws {BlackTradeError} E_DB_* */
export async function readOverview(executor: Executor): Promise<readonly SeriesOverview[]> {
  const rows = await executor.run<
    Series & { firstOpenTime: number | null; newestOpenTime: number | null }
  >({ name: "series-overview", text: OVERVIEW });
  return rows.map(({ exchange, symbol, timeframe, firstOpenTime, newestOpenTime }) => ({
    series: sharedSeries({ exchange, symbol, timeframe }),
    ...(firstOpenTime === null ? {} : { firstOpenTime }),
    ...(newestOpenTime === null ? {} : { newestOpenTime }),
  }));
}

/**
 * What is stored of each UTC day, see {@link CandleQueries.coverageDays}. Between the start of a series and its watermark
 * every candle is stored or in the gap ledger: there nothing is counted, only the ledger is read. Rows are counted before
 * and after, and on days of which something is not kept: a file may have brought it again. Rows are read where it is not
 * known yet whether they are confirmed.
 */
export async function readCoverageDays(
  executor: Executor,
  series: readonly Series[],
  asked: TimeRange,
): Promise<readonly CoverageDay[]> {
  const range = {
    from: Math.floor(asked.from / DAY_MS) * DAY_MS,
    to: Math.ceil(asked.to / DAY_MS) * DAY_MS,
  };
  const facts = await executor.run<SeriesFacts>({
    name: "coverage-facts",
    text: FACTS,
    values: [
      series.map(({ exchange }) => exchange),
      series.map(({ symbol }) => symbol),
      series.map(({ timeframe }) => timeframe),
    ],
  });
  const gaps = await executor.run<GapRow>({
    name: "coverage-gaps",
    text: GAPS,
    values: [numberArray(facts.map(({ id }) => id)), range.from, range.to],
  });
  const gapsById = Map.groupBy(gaps, ({ id }) => id);
  const tally = await count(
    executor,
    facts.flatMap((one) => partsOf(one, range, gapsById.get(one.id) ?? [])),
  );
  const known = new Map(facts.map((one) => [seriesKey(one), one]));
  return series.flatMap((one) => {
    const its = known.get(seriesKey(one));
    return its === undefined ? [] : daysOf(one, its, range, gapsById.get(its.id) ?? [], tally);
  });
}

/** The stretch of a series of which the ledger tells everything, in whole days. */
function accountedOf({ wantedFrom, next }: SeriesFacts, range: TimeRange): TimeRange | undefined {
  if (wantedFrom === null || next === null) return undefined;
  const from = Math.ceil(wantedFrom / DAY_MS) * DAY_MS;
  const to = Math.floor(next / DAY_MS) * DAY_MS;
  return intersectRanges({ from, to }, range);
}

/** Whole days of which something is not kept. */
function daysNotKept(gaps: readonly GapRow[]): TimeRange[] {
  return gaps
    .filter(({ reason }) => reason === "not-kept")
    .map(({ from, to }) => ({
      from: Math.floor(from / DAY_MS) * DAY_MS,
      to: Math.ceil(to / DAY_MS) * DAY_MS,
    }));
}

function partsOf(facts: SeriesFacts, range: TimeRange, gaps: readonly GapRow[]): Part[] {
  const whole = accountedOf(facts, range);
  const accounted = whole === undefined ? [] : subtractRanges(whole, daysNotKept(gaps));
  const { id, wantedFrom, confirmedTo } = facts;
  // What is confirmed up to a mark is confirmed from the start of the series.
  const confirmed =
    confirmedTo === null || wantedFrom === null
      ? []
      : [
          {
            from: Math.ceil(wantedFrom / DAY_MS) * DAY_MS,
            to: Math.floor(confirmedTo / DAY_MS) * DAY_MS,
          },
        ];
  const outside = subtractRanges(range, accounted);
  const part = (hasVersions: boolean) => (one: TimeRange) => ({ id, range: one, hasVersions });
  const inside = accounted.flatMap((one) => subtractRanges(one, confirmed));
  return [
    ...outside.flatMap((one) => subtractRanges(one, confirmed)).map(part(true)),
    ...outside
      .flatMap((one) => confirmed.flatMap((other) => intersectRanges(one, other) ?? []))
      .map(part(false)),
    ...inside.map(part(true)),
  ];
}

async function count(executor: Executor, parts: readonly Part[]): Promise<Tally> {
  const tally: Tally = new Map();
  if (parts.length === 0) return tally;
  const rows = await executor.run<{
    id: number;
    day: number;
    stored: number;
    confirmed: number | null;
  }>({
    name: "coverage-counts",
    text: COUNTS,
    values: [
      numberArray(parts.map(({ id }) => id)),
      numberArray(parts.map(({ range }) => range.from)),
      numberArray(parts.map(({ range }) => range.to)),
      parts.map(({ hasVersions }) => hasVersions),
    ],
  });
  for (const { id, day, stored, confirmed } of rows) {
    tally.set(`${id} ${day * DAY_MS}`, { stored, confirmed: confirmed ?? undefined });
  }
  return tally;
}

function daysOf(
  series: Series,
  facts: SeriesFacts,
  range: TimeRange,
  gaps: readonly GapRow[],
  tally: Tally,
): CoverageDay[] {
  const accounted = accountedOf(facts, range);
  const wanted = wantedOf(facts, gaps);
  const days: CoverageDay[] = [];
  let firstGap = 0;
  for (let from = range.from; from < range.to; from += DAY_MS) {
    const day = intersectRanges({ from, to: from + DAY_MS }, wanted);
    if (day === undefined) continue;
    const cells = countOpenTimes(series.timeframe, day);
    while (firstGap < gaps.length && (gaps[firstGap]?.to ?? 0) <= from) firstGap += 1;
    const absent: { reason: GapReason; state: Gap["state"]; count: number }[] = [];
    for (let index = firstGap; index < gaps.length; index += 1) {
      const gap = gaps[index];
      if (gap === undefined || gap.from >= day.to) break;
      const shared = intersectRanges(gap, day);
      const missing = shared === undefined ? 0 : countOpenTimes(series.timeframe, shared);
      if (missing === 0) continue;
      const same = absent.find(({ reason, state }) => reason === gap.reason && state === gap.state);
      if (same === undefined) {
        absent.push({ reason: gap.reason, state: gap.state, count: missing });
      } else same.count += missing;
    }
    const absentCount = absent.reduce((sum, one) => sum + one.count, 0);
    const notKept = absent.find(({ reason }) => reason === "not-kept");
    const isAccounted =
      notKept === undefined &&
      accounted !== undefined &&
      from >= accounted.from &&
      from < accounted.to;
    const counted = tally.get(`${facts.id} ${from}`);
    const storedCount = isAccounted ? Math.max(0, cells - absentCount) : (counted?.stored ?? 0);
    if (notKept !== undefined) {
      notKept.count = Math.max(0, Math.min(notKept.count, cells - storedCount));
    }
    // Off the grid (Binance 2017-12, 2018-02) a cell may hold two.
    const confirmedCount = Math.min(counted?.confirmed ?? storedCount, storedCount);
    if (cells === 0 && storedCount === 0) continue;
    days.push({ series, dayTime: from, wanted: day, storedCount, confirmedCount, absent });
  }
  return days;
}

/**
 * From the first candle that is stored, wanted or in the ledger; to the end of time for what is ingested, and to the
 * newest candle of what nobody ingests any more.
 */
function wantedOf(facts: SeriesFacts, gaps: readonly GapRow[]): TimeRange {
  const starts = [facts.wantedFrom, facts.first, gaps[0]?.from].filter((time) => time != null);
  const from = starts.length === 0 ? Number.MAX_SAFE_INTEGER : Math.min(...starts);
  const ends = [facts.newest ?? -1, facts.next === null ? -1 : facts.next - 1];
  return { from, to: facts.isConfigured ? Number.MAX_SAFE_INTEGER : Math.max(...ends) + 1 };
}
