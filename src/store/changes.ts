import { type BackoffPolicy, backoffDelay } from "../core/backoff.ts";
import { BlackTradeError } from "../core/errors.ts";
import type { CandleChange, CandleChanges } from "../core/ports.ts";
import { type Series, sharedSeries } from "../core/series.ts";
import { CANDLE_COLUMNS, type CandleRow, candleOf } from "./candle-row.ts";
import { ChangeListener } from "./change-listener.ts";
import type { Pacing } from "./contention.ts";
import type { Database } from "./database.ts";

/**
 * A place in the log: the row, and how many of its entries are done. As one number row · 2^16 + entries, below 2^53 for
 * 137 thousand million transactions.
 */
const ENTRY_SPAN = 2 ** 16;
/** Entries that a page aims at; its last row may go beyond. */
const PAGE_ENTRIES = 5_000;
const PAGE_ROWS = 1_000;
const RETRY: BackoffPolicy = { baseMs: 250, capMs: 10_000 };
/** Between two looks while commits are heard; only for a connection that died without a word. */
const HEARING_MS = 5_000;
/** Between two looks while they are not. */
const DEAF_MS = 500;
/** While an open transaction keeps later ones back: a rollback is not notified. */
const HELD_BACK_MS = 50;

/**
 * How far the log can be read. One statement: what is newest is as of its beginning, and locks are looked at after that.
 * A writer locks the newest number that it sees, then takes one of its own; so none at or below `newest` is without a
 * lock as long as it is not committed, and all above a lock's number are not certain.
 */
const LIMITS = `
  select
    pg_is_in_recovery() as "isReplica",
    (select min(id) from candle_changes) as oldest,
    (select max(id) from candle_changes) as newest,
    (
      select min(((classid::bigint << 32) | objid::bigint) - (7310::bigint << 48)) from pg_locks
      where locktype = 'advisory' and objsubid = 1 and classid::bigint >> 16 = 7310
        and database = (select oid from pg_database where datname = current_database())
    ) as floor,
    (
      select max(id) from (
        select id, sum(entry_count) over (order by id) - entry_count as before
        from (select id, entry_count from candle_changes where id >= $1 order by id limit ${PAGE_ROWS}) next_rows
      ) as page
      where before < ${PAGE_ENTRIES}
    ) as "pageEnd"`;

/** With what is kept as of the same instant: rows may have been forgotten since the limits were read. */
const ENTRIES = `
  select kept.oldest, found.*
  from (select min(id) as oldest from candle_changes) as kept
  left join lateral (
  select
    log.id, entry.position, s.exchange, s.symbol, s.timeframe, entry.open_ms as "openMs", entry.end_ms as "endMs",
    coalesce(entry.is_revised, false) as "isRevised", stored.*
  from candle_changes log
  cross join lateral unnest(log.series_ids, log.open_ms, log.end_ms, log.revised)
    with ordinality as entry (series_id, open_ms, end_ms, is_revised, position)
  join series s on s.id = entry.series_id
  left join lateral (
    select ${CANDLE_COLUMNS} from candles
    where series_id = entry.series_id and open_time = candle_time(entry.open_ms) and entry.end_ms is null
  ) as stored on true
  where log.id between $1 and $2 and (log.id > $1 or entry.position > $3)
  ) as found on true
  order by id, position`;

interface LimitsRow {
  readonly isReplica: boolean;
  readonly oldest: number;
  readonly newest: number;
  readonly floor: number | null;
  readonly pageEnd: number | null;
}

interface EntryRow extends Series, Omit<CandleRow, "openTime"> {
  readonly id: number;
  readonly position: number;
  readonly openMs: number;
  readonly endMs: number | null;
  readonly isRevised: boolean;
  /** Null for a stretch, and for a candle that was deleted by hand. */
  readonly openTime: number | null;
}

/** The one row of a page without entries. */
interface NoEntryRow {
  readonly id: null;
}

type FoundRow = { readonly oldest: number } & (EntryRow | NoEntryRow);

interface Page {
  readonly changes: readonly CandleChange[];
  /** Everything up to here is in the page, or was before it. */
  readonly lastId: number;
  /** True when later changes are committed but kept back by an open transaction. */
  readonly isHeldBack: boolean;
}

/** Candles as they are committed, read from the log of changes. */
export class ChangeFeed implements CandleChanges {
  readonly #database: Database;
  readonly #pacing: Pacing;
  readonly #listener: ChangeListener;
  readonly #closing = new AbortController();

  constructor(database: Database, pacing: Pacing, isPooled: boolean) {
    this.#database = database;
    this.#pacing = pacing;
    this.#listener = new ChangeListener(database, pacing, isPooled);
  }

  /** See {@link CandleChanges.follow}. Ends, too, when the store is closed. */
  async *follow(signal: AbortSignal, afterId?: number): AsyncIterable<readonly CandleChange[]> {
    const ended = AbortSignal.any([signal, this.#closing.signal]);
    const leave = this.#listener.join();
    try {
      let place = afterId ?? (await this.#patiently(ended, () => this.lastChangeId()));
      if (place !== undefined) refuseNoPlace(place);
      while (place !== undefined && !ended.aborted) {
        // What is committed from here on is heard, also before the waiting has begun.
        const { heardCount } = this.#listener;
        const from: number = place;
        const page = await this.#patiently(ended, () => this.#read(from));
        if (page === undefined) return;
        place = page.lastId;
        if (page.changes.length > 0) yield page.changes;
        else if (place === from) {
          const ms = this.#listener.isListening ? HEARING_MS : DEAF_MS;
          await this.#listener.hears(heardCount, page.isHeldBack ? HELD_BACK_MS : ms, ended);
        }
      }
    } finally {
      leave();
    }
  }

  /** See {@link CandleChanges.lastChangeId}. @throws {BlackTradeError} E_DB_* */
  async lastChangeId(): Promise<number> {
    const limits = await this.#limits(0);
    if (limits.isReplica) throw replicaError();
    return endOf(certain(limits));
  }

  /** Ends all followers. */
  close(): void {
    this.#closing.abort();
  }

  async #read(afterId: number): Promise<Page> {
    const row = Math.floor(afterId / ENTRY_SPAN);
    const isRowDone = endOf(row) === afterId;
    const first = isRowDone ? row + 1 : row;
    const limits = await this.#limits(first);
    // A standby that has not become the primary yet, met in a failover: it does not tell what is open.
    if (limits.isReplica) throw replicaError();
    refuseGone(row, limits);
    const known = certain(limits);
    const to = Math.min(known, limits.pageEnd ?? known);
    const isHeldBack = known < limits.newest && to === known;
    if (to < first) return { changes: [], lastId: afterId, isHeldBack };
    const rows = await this.#database.run<FoundRow>({
      name: "changes-entries",
      text: ENTRIES,
      values: [first, to, isRowDone ? 0 : afterId % ENTRY_SPAN],
    });
    const [{ oldest } = limits] = rows;
    refuseGone(row, { ...limits, oldest });
    const entries = rows.filter((found): found is FoundRow & EntryRow => found.id !== null);
    return { changes: entries.flatMap(changeOf), lastId: endOf(to), isHeldBack };
  }

  async #limits(fromRow: number): Promise<LimitsRow> {
    const [limits] = await this.#database.run<LimitsRow>({
      name: "changes-limits",
      text: LIMITS,
      values: [fromRow],
    });
    if (limits === undefined) throw new Error("the log of changes has no limits");
    return limits;
  }

  /** Tries for as long as trying again can help. @returns `undefined` when the signal was aborted meanwhile */
  async #patiently<T>(signal: AbortSignal, act: () => Promise<T>): Promise<T | undefined> {
    for (let attempt = 0; !signal.aborted; attempt += 1) {
      try {
        return await act();
      } catch (error) {
        if (signal.aborted) return undefined;
        if (!(error instanceof BlackTradeError && error.retryable)) throw error;
        const delayMs = backoffDelay(RETRY, attempt, this.#pacing.random());
        await this.#listener.hears(this.#listener.heardCount, delayMs, signal);
      }
    }
    return undefined;
  }
}

/** The greatest row up to which every one is committed or will never be. */
function certain({ newest, floor }: LimitsRow): number {
  return Math.min(newest, floor ?? newest);
}

/** The place after all entries of a row. */
function endOf(row: number): number {
  return row * ENTRY_SPAN + ENTRY_SPAN - 1;
}

function changeOf({ id, position, openMs, endMs, isRevised, ...row }: EntryRow): CandleChange[] {
  const { exchange, symbol, timeframe, openTime, ...values } = row;
  const series = sharedSeries({ exchange, symbol, timeframe });
  const place = id * ENTRY_SPAN + position;
  if (endMs !== null) {
    return [{ kind: "stretch", id: place, series, range: { from: openMs, to: endMs } }];
  }
  if (openTime === null) return [];
  const candle = candleOf(series, { openTime, ...values });
  return [{ kind: "candle", id: place, candle, outcome: isRevised ? "revised" : "stored" }];
}

function refuseNoPlace(place: number): void {
  if (Number.isSafeInteger(place) && place >= 0) return;
  throw new BlackTradeError("E_USAGE", `${place} is not the number of a change`, {
    remedy: "Give the id of a change that was received, or none to follow from now on.",
  });
}

/** The oldest row stands for all that are not kept any more; the newest one is always kept. */
function refuseGone(row: number, { oldest, newest }: LimitsRow): void {
  if (row >= oldest && row <= newest) return;
  throw new BlackTradeError(
    "E_DB_CHANGES_GONE",
    row < oldest
      ? "changes after the given one are no longer kept"
      : "the database does not know the given change: it was restored from a backup",
    { remedy: "Read the candles from the table, then follow from now on." },
  );
}

function replicaError(): BlackTradeError {
  return new BlackTradeError(
    "E_DB_UNREACHABLE",
    "the database is a standby, which tells no changes",
    {
      remedy: "Point DATABASE_URL at the primary server; after a failover it is found by itself.",
    },
  );
}
