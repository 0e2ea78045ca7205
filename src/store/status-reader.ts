import { type Series, sharedSeries } from "../core/series.ts";
import type { RunFacts, SeriesFacts } from "../core/status.ts";
import type { Executor } from "./database.ts";

type OrNull<T> = {
  readonly [K in keyof T]-?: undefined extends T[K] ? Exclude<T[K], undefined> | null : T[K];
};
type Mutable<T> = { -readonly [K in keyof T]: T[K] };

type RunRow = OrNull<RunFacts> & { readonly id: number };
type SeriesRow = OrNull<Omit<SeriesFacts, "series">> & Series;

/**
 * All times are exchange time: the clock of the database, carried by the offset that the ingester gave last.
 * `offset 0` keeps the planner from joining every series before it looks whether there is any ban.
 */
const RUN = `
  with run as (
    select *, exchange_offset_ms * interval '1 millisecond' as ahead from ingestion_runs order by id desc limit 1
  )
  select
    id, host, pid, mode,
    candle_epoch_ms(started_at + ahead) as "startedTime",
    candle_epoch_ms(heartbeat_at + ahead) as "heartbeatTime",
    candle_epoch_ms(stopped_at + ahead) as "stoppedTime",
    candle_epoch_ms(clock_timestamp() + ahead) as now,
    (
      select candle_epoch_ms(max(until_time)) from exchange_bans b
      where exists (
        select from ingestion_status st join series s on s.id = st.series_id
        where st.run_id = run.id and s.exchange = b.exchange
        offset 0
      )
    ) as "bannedUntilTime"
  from run`;

const SERIES = `
  select
    s.exchange, s.symbol, s.timeframe,
    coalesce(st.run_id = $1, false) as "isConfigured",
    candle_epoch_ms(st.wanted_from) as "wantedFrom",
    case when st.wanted_from is not null then candle_epoch_ms(st.next_open_time) end as next,
    candle_epoch_ms(st.newest_open_time) as "newestOpenTime",
    st.is_streamed as "isStreamed",
    st.is_catching_up as "isCatchingUp",
    coalesce(g.open_count, 0) as "openGapCount",
    coalesce(g.confirmed_count, 0) as "confirmedGapCount",
    candle_epoch_ms(g.kept_from) as "keptFrom",
    st.halted_status as "haltedStatus",
    candle_epoch_ms(st.confirmed_to) as "confirmedTo",
    st.problem,
    candle_epoch_ms(st.problem_since) as "problemSinceTime",
    st.latency_ms as "latencyMs"
  from ingestion_status st
  join series s on s.id = st.series_id
  left join (
    select
      series_id,
      count(*) filter (where state = 'open') as open_count,
      count(*) filter (where state = 'confirmed' and reason <> 'not-kept') as confirmed_count,
      max(range_to) filter (where reason = 'not-kept') as kept_from
    from gaps where state <> 'filled'
    group by series_id
  ) g on g.series_id = st.series_id
  order by s.exchange, s.symbol, candle_step_ms(s.timeframe)`;

/** See {@link StatusStore.facts}. */
export async function readFacts(
  executor: Executor,
): Promise<{ readonly run: RunFacts | undefined; readonly series: readonly SeriesFacts[] }> {
  const [run] = await executor.run<RunRow>({ name: "read-run", text: RUN });
  const rows = await executor.run<SeriesRow>({
    name: "read-series-facts",
    text: SERIES,
    values: [run?.id ?? null],
  });
  return { run: run && runFactsOf(run), series: rows.map(seriesFactsOf) };
}

function runFactsOf(row: RunRow): RunFacts {
  const { host, pid, mode, startedTime, heartbeatTime, stoppedTime, bannedUntilTime, now } = row;
  return {
    ...{ host, pid, mode, startedTime, heartbeatTime, now },
    ...(stoppedTime === null ? {} : { stoppedTime }),
    ...(bannedUntilTime === null ? {} : { bannedUntilTime }),
  };
}

/** What the database does not know is absent, not null. There may be tens of thousands of rows. */
function seriesFactsOf(row: SeriesRow): SeriesFacts {
  const facts: Mutable<SeriesFacts> = {
    series: sharedSeries(row),
    isConfigured: row.isConfigured,
    isStreamed: row.isStreamed,
    isCatchingUp: row.isCatchingUp,
    openGapCount: row.openGapCount,
    confirmedGapCount: row.confirmedGapCount,
  };
  if (row.wantedFrom !== null) facts.wantedFrom = row.wantedFrom;
  if (row.next !== null) facts.next = row.next;
  if (row.newestOpenTime !== null) facts.newestOpenTime = row.newestOpenTime;
  if (row.keptFrom !== null) facts.keptFrom = row.keptFrom;
  if (row.haltedStatus !== null) facts.haltedStatus = row.haltedStatus;
  if (row.confirmedTo !== null) facts.confirmedTo = row.confirmedTo;
  if (row.problem !== null) facts.problem = row.problem;
  if (row.problemSinceTime !== null) facts.problemSinceTime = row.problemSinceTime;
  if (row.latencyMs !== null) facts.latencyMs = row.latencyMs;
  return facts;
}
