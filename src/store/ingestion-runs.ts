import { BlackTradeError } from "../core/errors.ts";
import { notFetchedGap } from "../core/gaps.ts";
import type { RunStore, SeriesReport, Watermark } from "../core/ports.ts";
import type { Series } from "../core/series.ts";
import { type Pacing, retryContention } from "./contention.ts";
import type { Database, Executor, Session } from "./database.ts";
import { enterGaps } from "./gap-ledger.ts";
import { INGEST_LOCK } from "./locks.ts";
import type { SeriesCatalog } from "./series-catalog.ts";
import { numberArray } from "./sql-arrays.ts";

interface Held {
  readonly session: Session;
  readonly runId: number;
}

interface HolderRow {
  readonly id: number;
  readonly host: string;
  readonly pid: number;
  readonly silentMs: number;
}

/**
 * The ingester's run. It holds an advisory lock on a connection of its own, so the database is free again as soon as the
 * process is gone, however it went. Behind a pooler in transaction mode the lock lives in an open transaction.
 */
export class IngestionRuns {
  readonly #database: Database;
  readonly #catalog: SeriesCatalog;
  readonly #pacing: Pacing;
  readonly #isPooled: boolean;
  #held: Held | undefined;

  constructor(database: Database, catalog: SeriesCatalog, pacing: Pacing, isPooled: boolean) {
    this.#database = database;
    this.#catalog = catalog;
    this.#pacing = pacing;
    this.#isPooled = isPooled;
  }

  /** See {@link RunStore.begin}. */
  async begin(
    { mode, host, pid }: Parameters<RunStore["begin"]>[0],
    series: readonly Series[],
  ): Promise<void> {
    const ids = await this.#catalog.register(series);
    const held = this.#held?.session.isAlive === true ? this.#held.session : undefined;
    const session = held ?? (await this.#takeLock());
    try {
      this.#held = { session, runId: await this.#enter(mode, host, pid, ids) };
    } catch (error) {
      if (held === undefined) await this.#free(session);
      throw error;
    }
  }

  /** See {@link RunStore.want}. */
  async want(
    wanted: readonly { readonly series: Series; readonly wantedFrom: number }[],
    exchangeTime: number,
  ): Promise<readonly Watermark[]> {
    const { runId } = this.#holding();
    const ids = await this.#catalog.register(wanted.map(({ series }) => series));
    const next = await this.#transact(async (tx) => {
      await this.#giveSign(tx, runId, exchangeTime);
      const known = await lockWanted(tx, ids);
      const earlier = wanted.flatMap(({ series, wantedFrom }, index) => {
        const from = known.get(ids[index] ?? 0);
        return from === undefined || wantedFrom >= from
          ? []
          : [
              {
                id: ids[index] ?? 0,
                gap: notFetchedGap(series, { from: wantedFrom, to: from }, exchangeTime),
              },
            ];
      });
      await enterGaps(
        tx,
        earlier.map(({ gap }) => gap),
        earlier.map(({ id }) => id),
      );
      const next = await setWanted(
        tx,
        ids,
        wanted.map(({ wantedFrom }) => wantedFrom),
      );
      const behind = await nextBehindNotKept(tx, ids);
      const seriesOf = new Map(wanted.map(({ series }, index) => [ids[index], series]));
      const passed = [...behind].flatMap(([id, keptFrom]) => {
        const series = seriesOf.get(id);
        const range = { from: next.get(id) ?? keptFrom, to: keptFrom };
        return series === undefined
          ? []
          : [{ id, gap: notFetchedGap(series, range, exchangeTime) }];
      });
      await enterGaps(
        tx,
        passed.map(({ gap }) => gap),
        passed.map(({ id }) => id),
      );
      return new Map([...next, ...behind]);
    });
    return wanted.map(({ series, wantedFrom }, index) => ({
      series,
      next: next.get(ids[index] ?? 0) ?? wantedFrom,
    }));
  }

  /** See {@link RunStore.end}. */
  async end(): Promise<void> {
    const held = this.#held;
    if (held === undefined) return;
    this.#held = undefined;
    try {
      await this.#database.run({
        text: "update ingestion_runs set stopped_at = clock_timestamp() where id = $1",
        values: [held.runId],
      });
    } finally {
      await this.#free(held.session);
    }
  }

  /** See {@link StatusStore.report}. @throws {BlackTradeError} E_DB_BUSY only when another run has begun meanwhile */
  async report(reports: readonly SeriesReport[], exchangeTime: number | undefined): Promise<void> {
    const { runId, session } = this.#holding();
    if (!session.isAlive) {
      if (!this.#isPooled) await this.#endBackend(session);
      this.#held = { runId, session: await this.#takeLock(runId) };
    }
    const ids = await this.#catalog.register(reports.map(({ series }) => series));
    await this.#transact(async (tx) => {
      await this.#giveSign(tx, runId, exchangeTime);
      if (reports.length > 0) await writeReports(tx, reports, ids, runId);
    });
  }

  /** Gives the lock free without a word, as the end of the process would. */
  async close(): Promise<void> {
    const held = this.#held;
    this.#held = undefined;
    if (held !== undefined) await this.#free(held.session);
  }

  #enter(mode: string, host: string, pid: number, ids: readonly number[]): Promise<number> {
    return this.#transact(async (tx) => {
      const [run] = await tx.run<{ id: number }>({
        text: `
          insert into ingestion_runs (host, pid, mode, started_at, heartbeat_at, exchange_offset_ms)
          select
            $1, $2, $3, clock_timestamp(), clock_timestamp(),
            coalesce((select exchange_offset_ms from ingestion_runs order by id desc limit 1), 0)
          returning id`,
        values: [host, pid, mode],
      });
      const runId = run?.id ?? 0;
      await configure(tx, ids, runId, mode);
      return runId;
    });
  }

  #holding(): Held {
    if (this.#held === undefined) throw new Error("no run has begun");
    return this.#held;
  }

  #transact<T>(work: (tx: Executor) => Promise<T>): Promise<T> {
    return retryContention(this.#pacing, () => this.#database.transaction(work));
  }

  /** @param ownRunId the run that has lost the lock and takes it again */
  async #takeLock(ownRunId?: number): Promise<Session> {
    const session = await this.#database.openSession("black-trade ingest");
    try {
      if (this.#isPooled) await session.run({ text: "begin" });
      // A process that vanished with its machine is noticed within half a minute.
      await session.run({
        text: `
          select set_config(name, value, $1)
          from (values
            ('tcp_keepalives_idle', '10'), ('tcp_keepalives_interval', '5'), ('tcp_keepalives_count', '3'),
            ('idle_in_transaction_session_timeout', '0')
          ) as setting (name, value)`,
        values: [this.#isPooled],
      });
      const [lock] = await session.run<{ isTaken: boolean }>({
        text: this.#isPooled
          ? `select pg_try_advisory_xact_lock($1) as "isTaken"`
          : `select pg_try_advisory_lock($1) as "isTaken"`,
        values: [INGEST_LOCK],
      });
      if (lock?.isTaken !== true) {
        const holder = await this.#holder();
        throw ownRunId !== undefined && holder?.id === ownRunId
          ? stillHeldError()
          : busyError(holder);
      }
      return session;
    } catch (error) {
      await session.close();
      throw error;
    }
  }

  /** A pooler closes the server's side in its own time, so the lock is given back before the connection is. */
  async #free(session: Session): Promise<void> {
    if (session.isAlive && this.#isPooled) {
      await session.run({ text: "rollback" }).catch(() => undefined);
    }
    await session.close();
  }

  /** A connection may be gone on this side only; its process in the server would go on holding the lock. */
  async #endBackend({ backend }: Session): Promise<void> {
    const isGone = async (): Promise<boolean> => {
      const rows = await this.#database.run({
        text: `
          select pg_terminate_backend(pid) from pg_stat_activity
          where pid = $1 and backend_start = $2::timestamptz`,
        values: [backend.pid, backend.start],
      });
      return rows.length === 0;
    };
    for (let turn = 0; turn < 10 && !(await isGone()); turn += 1) await this.#pacing.sleep(100);
  }

  async #holder(): Promise<HolderRow | undefined> {
    const [row] = await this.#database.run<HolderRow>({
      text: `
        select
          id, host, pid, candle_epoch_ms(clock_timestamp()) - candle_epoch_ms(heartbeat_at) as "silentMs"
        from ingestion_runs order by id desc limit 1`,
    });
    return row;
  }

  async #giveSign(tx: Executor, runId: number, exchangeTime: number | undefined): Promise<void> {
    const alive = await tx.run({
      text: `
        update ingestion_runs set
          heartbeat_at = clock_timestamp(),
          exchange_offset_ms = coalesce($2::bigint - candle_epoch_ms(clock_timestamp()), exchange_offset_ms)
        where id = $1 and id = (select max(id) from ingestion_runs)
        returning id`,
      values: [runId, exchangeTime === undefined ? null : Math.trunc(exchangeTime)],
    });
    if (alive.length === 0) throw busyError(await this.#holder());
  }
}

/** Series that are not given keep the number of an older run: they are not configured any more. */
async function configure(
  tx: Executor,
  ids: readonly number[],
  runId: number,
  mode: string,
): Promise<void> {
  await tx.run({
    text: `
      insert into ingestion_status (series_id, run_id, mode)
      select series_id, $2, $3 from unnest($1::int[]) as configured (series_id)
      group by series_id
      order by series_id
      on conflict (series_id) do update set
        run_id = excluded.run_id, mode = excluded.mode, is_streamed = false, is_catching_up = false,
        problem = null, problem_since = null, halted_status = null`,
    values: [numberArray(ids), runId, mode],
  });
}

/** Since when each series has been wanted, if it has; the rows stay locked. */
async function lockWanted(tx: Executor, ids: readonly number[]): Promise<Map<number, number>> {
  const rows = await tx.run<{ id: number; wantedFrom: number | null }>({
    text: `
      select series_id as id, candle_epoch_ms(wanted_from) as "wantedFrom"
      from ingestion_status where series_id = any($1::int[])
      order by series_id
      for update`,
    values: [numberArray(ids)],
  });
  return new Map(
    rows.flatMap(({ id, wantedFrom }): [number, number][] =>
      wantedFrom === null ? [] : [[id, wantedFrom]],
    ),
  );
}

/** @returns how far each series is accounted for */
async function setWanted(
  tx: Executor,
  ids: readonly number[],
  wantedFrom: readonly number[],
): Promise<Map<number, number>> {
  const rows = await tx.run<{ id: number; next: number }>({
    text: `
      insert into ingestion_status as known (series_id, wanted_from, next_open_time)
      select series_id, candle_time(min(from_ms)), candle_time(min(from_ms))
      from unnest($1::int[], $2::bigint[]) as wanted (series_id, from_ms)
      group by series_id
      order by series_id
      on conflict (series_id) do update set
        wanted_from = least(known.wanted_from, excluded.wanted_from),
        next_open_time = case
          when known.wanted_from is null then excluded.next_open_time
          else known.next_open_time
        end
      returning series_id as id, candle_epoch_ms(next_open_time) as next`,
    values: [numberArray(ids), numberArray(wantedFrom)],
  });
  return new Map(rows.map(({ id, next }) => [id, next]));
}

/**
 * Moves series that are accounted for only up to somewhere before the end of what is not kept behind it: whoever goes on
 * from there fetches nothing that was removed. What lies before is for the caller to enter into the ledger.
 * @returns how far those are accounted for now
 */
async function nextBehindNotKept(
  tx: Executor,
  ids: readonly number[],
): Promise<Map<number, number>> {
  const rows = await tx.run<{ id: number; next: number }>({
    text: `
      update ingestion_status known set next_open_time = removed.kept_from
      from (
        select series_id, max(range_to) as kept_from
        from gaps
        where state <> 'filled' and reason = 'not-kept' and series_id = any($1::int[])
        group by series_id
      ) removed
      where removed.series_id = known.series_id and removed.kept_from > known.next_open_time
      returning known.series_id as id, candle_epoch_ms(known.next_open_time) as next`,
    values: [numberArray(ids)],
  });
  return new Map(rows.map(({ id, next }) => [id, next]));
}

/** A problem stands since it was first reported, whatever its words become meanwhile. */
async function writeReports(
  tx: Executor,
  reports: readonly SeriesReport[],
  ids: readonly number[],
  runId: number,
): Promise<void> {
  await tx.run({
    text: `
      insert into ingestion_status as known (
        series_id, run_id, mode, is_streamed, is_catching_up, problem, problem_since, halted_status
      )
      select
        series_id, run.id, reported.mode, is_streamed, is_catching_up, problem,
        case when problem is not null
          then run.heartbeat_at + run.exchange_offset_ms * interval '1 millisecond'
        end,
        halted_status
      from unnest($1::int[], $2::text[], $3::boolean[], $4::boolean[], $5::text[], $6::text[])
        as reported (series_id, mode, is_streamed, is_catching_up, problem, halted_status)
      join ingestion_runs run on run.id = $7
      order by series_id
      on conflict (series_id) do update set
        run_id = excluded.run_id, mode = excluded.mode, is_streamed = excluded.is_streamed,
        is_catching_up = excluded.is_catching_up, problem = excluded.problem,
        problem_since = case
          when excluded.problem is not null then coalesce(known.problem_since, excluded.problem_since)
        end,
        halted_status = excluded.halted_status`,
    values: [
      numberArray(ids),
      reports.map(({ mode }) => mode),
      reports.map(({ isStreamed }) => isStreamed),
      reports.map(({ isCatchingUp }) => isCatchingUp),
      reports.map(({ problem }) => withoutNul(problem)),
      reports.map(({ haltedStatus }) => withoutNul(haltedStatus)),
      runId,
    ],
  });
}

/** Words of an exchange may hold anything; PostgreSQL has no place for one character. */
function withoutNul(text: string | undefined): string | null {
  return text?.replaceAll("\0", "") ?? null;
}

/** No other run has begun: the server, or a pooler, has not noticed yet that the connection of this run is gone. */
function stillHeldError(): BlackTradeError {
  return new BlackTradeError("E_DB_UNREACHABLE", "the old connection still holds the lock", {
    remedy: "Nothing to do: the lock is taken again as soon as the server gives it free.",
  });
}

function busyError(holder: HolderRow | undefined): BlackTradeError {
  const who =
    holder === undefined
      ? "another ingester"
      : `another ingester (pid ${holder.pid} on ${holder.host})`;
  const sign =
    holder === undefined
      ? ""
      : `; its last sign of life was ${Math.max(0, Math.round(holder.silentMs / 1_000))} s ago`;
  return new BlackTradeError("E_DB_BUSY", `${who} is active${sign}`, {
    remedy: "Stop it, or give this one a database of its own.",
    details: holder === undefined ? {} : { host: holder.host, pid: holder.pid },
  });
}
