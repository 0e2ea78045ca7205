import type { DerivedTimeframe } from "../core/derived.ts";
import { nominalMs, type Timeframe } from "../core/timeframe.ts";
import { columnstoreObstacle } from "./compression.ts";
import { type Pacing, REAL_PACING, retryContention } from "./contention.ts";
import type { Database, Executor } from "./database.ts";
import { isContention } from "./db-errors.ts";
import { ROLLUP_LOCK } from "./locks.ts";
import { refuseNonOwner } from "./ownership.ts";

/** A derived timeframe of a database. */
export interface Rollup {
  /** `45m`. */
  readonly timeframe: string;
  /** The view to select from. */
  readonly view: string;
  /** Timeframe of the candles that it is made of. */
  readonly source: string;
  /** `read` = computed when it is read; `stored` = a continuous aggregate of TimescaleDB. */
  readonly kind: "read" | "stored";
  /** What the aggregate takes, with its indexes; absent for what is computed when it is read. */
  readonly bytes?: number;
}

/** The first fill of an aggregate reads every candle of the source. */
const DEADLINE_MS = 2 * 60 * 60_000;
/** A policy that runs more often finds nothing to do. */
const MIN_REFRESH_MS = 10 * 60_000;

/** Sums of `numeric` are exact. Only what lies on the grid counts towards a whole one (2017-12, 2018-02 do not). */
const SUMS = (sourceMs: number): string => `
      max(c.high) as high, min(c.low) as low,
      sum(c.volume) as volume, sum(c.quote_volume) as quote_volume, sum(c.trade_count) as trades,
      sum(c.taker_buy_volume) as taker_buy_base, sum(c.taker_buy_quote_volume) as taker_buy_quote,
      count(*)::int as source_count,
      (count(*) filter (where candle_epoch_ms(c.open_time) % ${sourceMs} = 0))::int as aligned_count`;

/** What every derived view shows, of a series `s`, the open time and `d`. */
const SHOWN = (
  { name, stepMs }: DerivedTimeframe,
  source: Timeframe,
  sourceMs: number,
  openMs: string,
): string => `
    s.exchange, s.symbol, '${name}'::text as timeframe, ${openMs} as "timestamp",
    d.open, d.high, d.low, d.close, d.volume, d.quote_volume, d.trades, d.taker_buy_base, d.taker_buy_quote,
    ${openMs} + ${stepMs - 1} as close_time,
    '${source}'::text as source_timeframe, d.source_count, ${stepMs / sourceMs} as expected_count,
    d.aligned_count = ${stepMs / sourceMs} as is_whole`;

/** One look at the index for each cell: what is asked of `timestamp` is sifted out before anything is read. */
function readView(derived: DerivedTimeframe, source: Timeframe): string {
  const { stepMs, originMs } = derived;
  const sourceMs = nominalMs(source);
  const cell = (end: "min" | "max"): string =>
    `derived_open_ms((select ${end}(open_time) from candles where series_id = s.id), ${stepMs}, ${originMs})`;
  return `
  create view ${viewOf(derived.name)} as
  select ${SHOWN(derived, source, sourceMs, "cell.open_ms")}
  from series s
  cross join lateral generate_series(${cell("min")}, ${cell("max")}, ${stepMs}) as cell (open_ms)
  cross join lateral (
    select
      (array_agg(c.open order by c.open_time))[1] as open,
      (array_agg(c.close order by c.open_time desc))[1] as close,${SUMS(sourceMs)}
    from candles c
    where c.series_id = s.id
      and c.open_time >= candle_time(cell.open_ms) and c.open_time < candle_time(cell.open_ms + ${stepMs})
  ) d
  where s.timeframe = '${source}' and d.source_count > 0`;
}

function aggregate({ name, stepMs, originMs }: DerivedTimeframe, source: Timeframe): string {
  return `
  create materialized view ${dataOf(name)}
  with (timescaledb.continuous, timescaledb.materialized_only = false) as
  select
    c.series_id,
    time_bucket(interval '${stepMs / 1_000} seconds', c.open_time, origin => ${instantText(originMs)}) as bucket,
    first(c.open, c.open_time) as open, last(c.close, c.open_time) as close,${SUMS(nominalMs(source))}
  from candles c
  join series s on s.id = c.series_id
  where s.timeframe = '${source}'
  group by 1, 2
  with no data`;
}

function aggregateView(derived: DerivedTimeframe, source: Timeframe): string {
  return `
  create view ${viewOf(derived.name)} as
  select ${SHOWN(derived, source, nominalMs(source), "candle_epoch_ms(d.bucket)")}
  from ${dataOf(derived.name)} d
  join series s on s.id = d.series_id`;
}

const LIST = `
  select
    v.relname::text as view,
    substring(v.relname from '^derived_candles_(.*)$') as timeframe,
    substring(obj_description(v.oid, 'pg_class') from '^Derived from (\\w+)') as source,
    to_regclass(quote_ident(v.relname || '_data')) is not null as "isStored"
  from pg_class v
  where v.relnamespace = current_schema()::regnamespace and v.relkind = 'v'
    and v.relname ~ '^derived_candles_[0-9]+[smhdw]$'
  order by v.relname`;

/**
 * Timeframes of our own, made of stored candles and never mixed with the exchange's: each is a view that says of every row
 * what it was made of and whether all of it was there. With TimescaleDB a continuous aggregate lies below the view.
 */
export class Rollups {
  readonly #database: Database;
  readonly #pacing: Pacing;

  constructor(database: Database, pacing: Pacing = REAL_PACING) {
    this.#database = database;
    this.#pacing = pacing;
  }

  /** @throws {BlackTradeError} E_DB_* */
  list(): Promise<readonly Rollup[]> {
    return listOf(this.#database);
  }

  /**
   * Makes the view, or, when it is there with the same source, brings an aggregate up to date. A view with another source,
   * or one that could be stored by now, is made anew.
   * @throws {BlackTradeError} E_DB_RIGHT when the user may not make views, other E_DB_*
   */
  async make(derived: DerivedTimeframe, source: Timeframe): Promise<Rollup> {
    const { name } = derived;
    await refuseNonOwner(this.#database, "make derived timeframes");
    const kind = (await columnstoreObstacle(this.#database)) === undefined ? "stored" : "read";
    await this.#alone(async (tx) => {
      const known = await find(tx, name);
      if (known?.source === source && known.kind === kind) return;
      if (known !== undefined) await drop(tx, known);
      if (kind === "read") await tx.run({ text: readView(derived, source) });
      else await makeStored(tx, derived, source);
      await tx.run({
        text: `comment on view ${viewOf(name)} is 'Derived from ${source} by black-trade; not candles that the exchange served. is_whole: all candles of ${source} were there.'`,
      });
    });
    if (kind === "stored") {
      await retryContention(this.#pacing, () => this.#refresh(name)).catch((error: unknown) => {
        // The policy is at it, and has been for longer than the retries take.
        if (!isContention(error)) throw error;
      });
    }
    const made = await find(this.#database, name);
    if (made === undefined) throw new Error("a view that was made cannot be found");
    return made;
  }

  /** Up to now, not to the end: what is stored of a cell while it forms would stand until the policy comes to it. */
  async #refresh(name: string): Promise<void> {
    await this.#database.run({
      text: `call refresh_continuous_aggregate('${dataOf(name)}', null, now())`,
      deadlineMs: DEADLINE_MS,
    });
  }

  /** @returns false when there is none of that name */
  async drop(name: string): Promise<boolean> {
    await refuseNonOwner(this.#database, "drop derived timeframes");
    return this.#alone(async (tx) => {
      const known = await find(tx, name);
      if (known !== undefined) await drop(tx, known);
      return known !== undefined;
    });
  }

  /** In a transaction, after those of others who make or drop one now. */
  #alone<T>(work: (tx: Executor) => Promise<T>): Promise<T> {
    return this.#database.transaction(async (tx) => {
      await tx.run({ text: `select pg_advisory_xact_lock(${ROLLUP_LOCK})` });
      return work(tx);
    }, DEADLINE_MS);
  }
}

async function listOf(executor: Executor): Promise<readonly Rollup[]> {
  const rows = await executor.run<
    Pick<Rollup, "view" | "timeframe" | "source"> & { readonly isStored: boolean }
  >({ text: LIST });
  const all: Rollup[] = [];
  for (const { isStored, ...rest } of rows) {
    if (!isStored) all.push({ ...rest, kind: "read" });
    else all.push({ ...rest, kind: "stored", bytes: await storedBytes(executor, rest.timeframe) });
  }
  return all;
}

async function storedBytes(executor: Executor, name: string): Promise<number> {
  const [size] = await executor.run<{ bytes: number }>({
    text: "select hypertable_size($1::regclass) as bytes",
    values: [dataOf(name)],
  });
  return size?.bytes ?? 0;
}

async function find(executor: Executor, name: string): Promise<Rollup | undefined> {
  return (await listOf(executor)).find(({ timeframe }) => timeframe === name);
}

/** A policy looks at everything that has changed, however old: corrections come late. */
async function makeStored(
  tx: Executor,
  derived: DerivedTimeframe,
  source: Timeframe,
): Promise<void> {
  await tx.run({ text: aggregate(derived, source) });
  await tx.run({
    text: `
      select add_continuous_aggregate_policy('${dataOf(derived.name)}',
        start_offset => null,
        end_offset => $1::bigint * interval '1 millisecond',
        schedule_interval => $2::bigint * interval '1 millisecond',
        initial_start => clock_timestamp() + $2::bigint * interval '1 millisecond')`,
    values: [derived.stepMs, Math.max(MIN_REFRESH_MS, Math.min(derived.stepMs, 3_600_000))],
  });
  await tx.run({ text: aggregateView(derived, source) });
}

async function drop(tx: Executor, { view, timeframe, kind }: Rollup): Promise<void> {
  await tx.run({ text: `drop view ${view}` });
  if (kind === "stored") await tx.run({ text: `drop materialized view ${dataOf(timeframe)}` });
}

/** Names are number and unit: nothing in them needs quoting. */
function viewOf(name: string): string {
  return `derived_candles_${name}`;
}

function dataOf(name: string): string {
  return `${viewOf(name)}_data`;
}

function instantText(timeMs: number): string {
  return `timestamptz '${new Date(timeMs).toISOString()}'`;
}
