import { AUTHORITY, sameValues, type VersionedCandle } from "../core/finality.ts";
import type { Watermark, WriteOutcome, WriteResult } from "../core/ports.ts";
import type { Series } from "../core/series.ts";
import { openTimeAt } from "../core/timeframe.ts";
import type { Rejection } from "../core/validate.ts";
import { candleColumns, OFFERED, type OfferedRow, type Rivals, rivalsOf } from "./candle-batch.ts";
import { ChangePruner, type LoggedCandle, logCandles } from "./change-log.ts";
import { type Pacing, retryContention } from "./contention.ts";
import type { Database, Executor } from "./database.ts";
import { isContention, isDataError } from "./db-errors.ts";
import { putAside, QUARANTINE_DETAIL_LENGTH } from "./quarantine.ts";
import type { SeriesCatalog } from "./series-catalog.ts";
import { nullableNumberArray, numberArray } from "./sql-arrays.ts";

/** Rows of one statement; more do not make it faster, only its lists longer. */
const MAX_ROWS = 5_000;

/** End of an `insert into candles as stored`: the rule of finality, with the ties told apart as core/finality does. */
export const TAKE_NEWER = `
    on conflict (series_id, open_time) do update set
      trade_count = excluded.trade_count, version = excluded.version, cut_ms = excluded.cut_ms,
      open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close,
      volume = excluded.volume, quote_volume = excluded.quote_volume,
      taker_buy_volume = excluded.taker_buy_volume, taker_buy_quote_volume = excluded.taker_buy_quote_volume
    where
      (excluded.version, excluded.trade_count, excluded.volume, excluded.quote_volume, excluded.taker_buy_volume,
       excluded.taker_buy_quote_volume, excluded.open, excluded.high, excluded.low, excluded.close, -excluded.cut_ms)
      >
      (stored.version, stored.trade_count, stored.volume, stored.quote_volume, stored.taker_buy_volume,
       stored.taker_buy_quote_volume, stored.open, stored.high, stored.low, stored.close, -stored.cut_ms)`;

/** True of an `offered` candle whose values are those of the `stored` one. */
export const SAME_VALUES = `
  (stored.trade_count, stored.cut_ms, stored.open, stored.high, stored.low, stored.close,
   stored.volume, stored.quote_volume, stored.taker_buy_volume, stored.taker_buy_quote_volume)
  =
  (offered.trade_count, offered.cut_ms, offered.open, offered.high, offered.low, offered.close,
   offered.volume, offered.quote_volume, offered.taker_buy_volume, offered.taker_buy_quote_volume)`;

/**
 * Inserts, or replaces what is older: {@link TAKE_NEWER}.
 * Answers with null when every row was new, which is the usual case; else with one letter a row: n = new, u = updated,
 * k = kept what was stored. A row that was kept is locked, too.
 */
const UPSERT = `
  with offered as (select * from ${OFFERED}),
  written as (
    insert into candles as stored (
      series_id, trade_count, open_time, version, cut_ms, open, high, low, close,
      volume, quote_volume, taker_buy_volume, taker_buy_quote_volume
    )
    select
      series_id, trade_count, candle_time(open_ms), version, cut_ms, open, high, low, close,
      volume, quote_volume, taker_buy_volume, taker_buy_quote_volume
    from offered
    order by position
    ${TAKE_NEWER}
    returning series_id, open_time, xmax = 0 as is_new
  )
  select case when (select count(*) from written where is_new) < (select count(*) from offered) then (
    select
      string_agg(
        case when written.is_new then 'n' when written.is_new is null then 'k' else 'u' end, '' order by position
      )
    from offered
    left join written
      on written.series_id = offered.series_id and written.open_time = candle_time(offered.open_ms)
  ) end as letters`;

/**
 * What became of rows that were not new, in the same transaction: r = its values took the place of others (the trigger
 * has kept them), i = the stored values are the same, s = a higher version is stored.
 */
const CLASSIFY = `
  select
    string_agg(
      case
        when exists (
          select from candle_revisions r
          where r.series_id = stored.series_id and r.open_time = stored.open_time and r.replaced_in = txid_current()
        ) then 'r'
        when
          ${SAME_VALUES}
        then 'i'
        else 's'
      end,
      '' order by position
    ) as letters
  from ${OFFERED}
  join candles stored
    on stored.series_id = offered.series_id and stored.open_time = candle_time(offered.open_ms)`;

/** What a batch implies for its series, as `excluded` rows. */
const IMPLIED = `
  select
    series_id,
    candle_time(next_ms) as next_open_time,
    candle_time(newest_ms) as newest_open_time,
    case when live_end_ms >= candle_epoch_ms(run.started_at) + run.exchange_offset_ms then
      least(greatest(candle_epoch_ms(clock_timestamp()) + run.exchange_offset_ms - live_end_ms, 0), 2147483647)
    end as latency_ms,
    candle_time(unconfirmed_ms) as confirmed_to
  from unnest($1::int[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[])
    as implied (series_id, next_ms, newest_ms, live_end_ms, unconfirmed_ms)
  left join (select started_at, exchange_offset_ms from ingestion_runs order by id desc limit 1) run on true`;

/**
 * Watermark, newest candle, and how long after its close the newest candle that came live was stored. None of these ever
 * goes back. A candle that is still to be confirmed takes back what was said of confirmation behind it, so that old
 * candles of a file are read again, too.
 */
const RAISED = `
  set
    next_open_time = greatest(known.next_open_time, excluded.next_open_time),
    newest_open_time = greatest(known.newest_open_time, excluded.newest_open_time),
    latency_ms = case
      when excluded.newest_open_time < known.newest_open_time then known.latency_ms
      else coalesce(excluded.latency_ms, known.latency_ms)
    end,
    confirmed_to = case when excluded.confirmed_to is null then known.confirmed_to
      else least(coalesce(known.confirmed_to, known.wanted_from), excluded.confirmed_to)
    end`;
const IS_RAISED = `(
    known.next_open_time is null and excluded.next_open_time is not null
    or excluded.next_open_time > known.next_open_time
    or known.newest_open_time is null and excluded.newest_open_time is not null
    or excluded.newest_open_time > known.newest_open_time
    or excluded.newest_open_time = known.newest_open_time and excluded.latency_ms is not null
    or excluded.confirmed_to < coalesce(known.confirmed_to, 'infinity')
  )`;

/**
 * For series whose candles close one after the other, as live: every row is there, and every row is raised. It locks rows in
 * no order: to lock them in that of the key before would cost 6 % of all that a burst costs the server.
 */
const RAISE_KNOWN = `
  with excluded as materialized (${IMPLIED}),
  raised as (
    update ingestion_status as known ${RAISED}
    from excluded
    where known.series_id = excluded.series_id and ${IS_RAISED}
    returning 1
  )
  select count(*) as count from raised`;

/**
 * For all others: adds rows, and leaves alone what need not be raised. Costs twice as much. Locks rows in the order of the
 * key, so that two of them cannot deadlock.
 */
const RAISE = `
  insert into ingestion_status as known (
    series_id, next_open_time, newest_open_time, latency_ms, confirmed_to
  )
  select * from (${IMPLIED}) as implied
  order by series_id
  on conflict (series_id) do update ${RAISED}
  where ${IS_RAISED}`;

const OUTCOMES: Readonly<Record<string, WriteOutcome>> = {
  n: "stored",
  r: "revised",
  i: "identical",
  s: "superseded",
};

/** Writes candles by the rule of finality. */
export class CandleWriter {
  readonly #database: Database;
  readonly #catalog: SeriesCatalog;
  readonly #pacing: Pacing;
  readonly #pruner: ChangePruner;

  constructor(database: Database, catalog: SeriesCatalog, pacing: Pacing) {
    this.#database = database;
    this.#catalog = catalog;
    this.#pacing = pacing;
    this.#pruner = new ChangePruner(database);
  }

  /** See {@link CandleStore.write}. A watermark stops before a candle that the database refused. */
  async write(
    batch: readonly VersionedCandle[],
    watermarks: readonly Watermark[],
  ): Promise<WriteResult> {
    if (batch.length === 0 && watermarks.length === 0) {
      return { outcomes: [], rejections: new Map() };
    }
    const ids = await this.#catalog.register(batch.map(({ series }) => series));
    const marks = await this.#catalog.register(watermarks.map(({ series }) => series));
    const rivals = rivalsOf(batch, ids);
    const written: Written = { outcomes: new Array(batch.length), rejections: new Map() };
    await this.#commit(rivals, written, async (tx, part, { isLast, isContended }) => {
      const rows = part.flat().map(({ index }) => index);
      const implied = isLast
        ? impliedBy(batch, ids, written, batch.keys(), watermarks, marks)
        : impliedBy(batch, ids, written, rows, [], []);
      await raise(tx, implied, isContended);
    });
    this.#pruner.pruneSometimes();
    return written;
  }

  /**
   * One transaction for everything; when others are in the way again and again, one for each half, each with what its own
   * rows imply: the other half may never come. Watermarks go with the last.
   */
  async #commit(
    rivals: readonly Rivals[],
    written: Written,
    finish: Finish,
    turn: Turn = { isLast: true, isContended: false },
  ): Promise<void> {
    let { isContended } = turn;
    try {
      await retryContention(this.#pacing, async () => {
        const isRepeated = isContended;
        isContended = true;
        await this.#commitOnce(rivals, written, finish, { ...turn, isContended: isRepeated });
      });
    } catch (error) {
      if (!isContention(error) || rivals.length < 2) throw error;
      const half = Math.ceil(rivals.length / 2);
      const first = { isLast: false, isContended: true };
      await this.#commit(rivals.slice(0, half), written, finish, first);
      await this.#commit(rivals.slice(half), written, finish, { ...turn, isContended: true });
    }
  }

  async #commitOnce(
    rivals: readonly Rivals[],
    written: Written,
    finish: Finish,
    turn: Turn,
  ): Promise<void> {
    try {
      await this.#database.transaction(async (tx) => {
        for (const chunk of chunksOf(rivals, MAX_ROWS)) await writeAll(tx, chunk, written);
        await finish(tx, rivals, turn);
        await logCandles(tx, changesOf(rivals, written));
      });
    } catch (error) {
      if (!isDataError(error)) throw error;
      await this.#database.transaction(async (tx) => {
        for (const chunk of chunksOf(rivals, MAX_ROWS)) await writeSound(tx, chunk, written);
        await finish(tx, rivals, turn);
        await logCandles(tx, changesOf(rivals, written));
      });
    }
  }
}

/** Does what follows from rows, in their own transaction. */
type Finish = (tx: Executor, rivals: readonly Rivals[], turn: Turn) => Promise<void>;

interface Turn {
  /** With it all rows of the batch are written. */
  readonly isLast: boolean;
  /** True when others were in the way before. */
  readonly isContended: boolean;
}

interface Written {
  readonly outcomes: WriteOutcome[];
  readonly rejections: Map<number, Rejection>;
}

/** Rows whose values are new in the table, in the order of the key. */
function changesOf(rivals: readonly Rivals[], { outcomes }: Written): LoggedCandle[] {
  const changes: LoggedCandle[] = [];
  for (const versions of rivals) {
    for (const { index, seriesId, offered } of versions) {
      const outcome = outcomes[index];
      if (outcome !== "stored" && outcome !== "revised") continue;
      const isRevised = outcome === "revised";
      changes.push({ seriesId, openTime: offered.candle.openTime, isRevised });
    }
  }
  return changes;
}

async function writeAll(tx: Executor, rivals: readonly Rivals[], written: Written): Promise<void> {
  const rows = rivals.map(([winner]) => winner);
  const letters = await lettersOf(tx, "upsert-candles", UPSERT, rows);
  const others = letters === null ? [] : rows.filter((_row, at) => letters[at] !== "n");
  const rest =
    others.length === 0 ? null : await lettersOf(tx, "classify-candles", CLASSIFY, others);
  let next = 0;
  for (const [at, [winner, ...losers]] of rivals.entries()) {
    const letter = letters === null || letters[at] === "n" ? "n" : rest?.[next++];
    written.outcomes[winner.index] = OUTCOMES[letter ?? ""] ?? unknownOutcome();
    written.rejections.delete(winner.index);
    for (const loser of losers) written.outcomes[loser.index] = outcomeAgainst(loser, winner);
  }
}

/** The table went another way than the statement that had just written it: a trigger or a rule of somebody else's. */
function unknownOutcome(): never {
  throw new Error("a written candle cannot be found again in the same transaction");
}

async function lettersOf(
  tx: Executor,
  name: string,
  text: string,
  rows: readonly OfferedRow[],
): Promise<string | null> {
  const [row] = await tx.run<{ letters: string | null }>({
    name,
    text,
    values: candleColumns(rows),
  });
  return row?.letters ?? null;
}

function outcomeAgainst(loser: OfferedRow, winner: OfferedRow): WriteOutcome {
  return sameValues(loser.offered.candle, winner.offered.candle) ? "identical" : "superseded";
}

/** Writes what the database takes, halving down to each row that it refuses; that one is put aside. */
async function writeSound(
  tx: Executor,
  rivals: readonly Rivals[],
  written: Written,
): Promise<void> {
  await tx.run({ text: "savepoint candles" });
  try {
    await writeAll(tx, rivals, written);
    await tx.run({ text: "release savepoint candles" });
    return;
  } catch (error) {
    if (!isDataError(error)) throw error;
    await tx.run({ text: "rollback to savepoint candles; release savepoint candles" });
    const [only] = rivals;
    if (rivals.length === 1 && only !== undefined) {
      await refuse(tx, only, error, written);
      return;
    }
  }
  const half = Math.ceil(rivals.length / 2);
  await writeSound(tx, rivals.slice(0, half), written);
  await writeSound(tx, rivals.slice(half), written);
}

/** Puts the winner aside and lets the next version of the same candle try. */
async function refuse(
  tx: Executor,
  [winner, ...losers]: Rivals,
  error: unknown,
  written: Written,
): Promise<void> {
  const rejection = rejectionOf(error);
  await putAside(tx, winner.seriesId, winner.offered, rejection);
  written.outcomes[winner.index] = "quarantined";
  written.rejections.set(winner.index, rejection);
  const [next, ...rest] = losers;
  if (next !== undefined) await writeSound(tx, [[next, ...rest]], written);
}

function rejectionOf(error: unknown): Rejection {
  const cause = error instanceof Error ? (error.cause ?? error) : error;
  const said = cause instanceof Error ? cause.message : String(cause);
  return { code: "database-refused", detail: said.slice(0, QUARANTINE_DETAIL_LENGTH) };
}

/** What a batch implies for a series. */
export interface Implied {
  readonly seriesId: number;
  next?: number;
  newest?: number;
  /** Close + 1 ms of the newest candle, when it came live and was new. */
  liveEnd?: number;
  /** Open time of the oldest row that was written and is to be read again by REST. */
  unconfirmed?: number;
  /** Cell of a candle that was refused. */
  barrier?: number;
}

/**
 * What rows that are in the table, and watermarks, say about their series. Ascending by series.
 * @param rows indices of the rows of the batch that are meant
 */
function impliedBy(
  batch: readonly VersionedCandle[],
  ids: readonly number[],
  { outcomes }: Written,
  rows: Iterable<number>,
  watermarks: readonly Watermark[],
  marks: readonly number[],
): Implied[] {
  const all = new Map<number, Implied>();
  const of = (seriesId: number): Implied => {
    const implied = all.get(seriesId) ?? { seriesId };
    all.set(seriesId, implied);
    return implied;
  };
  for (const index of rows) {
    const row = batch[index];
    if (row === undefined) continue;
    const implied = of(ids[index] ?? 0);
    if (outcomes[index] === "quarantined") stopAt(implied, row.series, row.candle.openTime);
    else {
      takeNewest(implied, row, outcomes[index]);
      takeUnconfirmed(implied, row, outcomes[index]);
    }
  }
  for (const [index, { next }] of watermarks.entries()) {
    const implied = of(marks[index] ?? 0);
    const reached = Math.min(next, implied.barrier ?? next);
    implied.next = Math.max(implied.next ?? reached, reached);
  }
  return [...all.values()]
    .filter(({ next, newest }) => next !== undefined || newest !== undefined)
    .sort((a, b) => a.seriesId - b.seriesId);
}

function stopAt(implied: Implied, { timeframe }: Series, openTime: number): void {
  const cell = openTimeAt(timeframe, openTime);
  if (Number.isFinite(cell)) implied.barrier = Math.min(implied.barrier ?? cell, cell);
}

function takeNewest(
  implied: Implied,
  { source, candle }: VersionedCandle,
  outcome: WriteOutcome | undefined,
): void {
  const { openTime, closeTime } = candle;
  if (implied.newest !== undefined && openTime < implied.newest) return;
  const isLive = outcome === "stored" && (source === "stream" || source === "rest-early");
  if (openTime !== implied.newest) delete implied.liveEnd;
  if (isLive) implied.liveEnd = closeTime + 1;
  implied.newest = openTime;
}

/** By a row that is kept as it is nothing changes. */
function takeUnconfirmed(
  implied: Implied,
  { source, candle }: VersionedCandle,
  outcome: WriteOutcome | undefined,
): void {
  const isWritten = outcome === "stored" || outcome === "revised";
  if (!isWritten || AUTHORITY[source] >= AUTHORITY["archive-monthly"]) return;
  implied.unconfirmed = Math.min(implied.unconfirmed ?? candle.openTime, candle.openTime);
}

/**
 * Raises the facts of series, in the transaction of the rows that imply them.
 * @param isContended others were in the way before: then they are locked in the order that all keep
 */
export async function raise(
  tx: Executor,
  implied: readonly Implied[],
  isContended = false,
): Promise<void> {
  if (implied.length === 0) return;
  const values = [
    numberArray(implied.map(({ seriesId }) => seriesId)),
    nullableNumberArray(implied.map(({ next }) => next)),
    nullableNumberArray(implied.map(({ newest }) => newest)),
    nullableNumberArray(implied.map(({ liveEnd }) => liveEnd)),
    nullableNumberArray(implied.map(({ unconfirmed }) => unconfirmed)),
  ];
  if (!isContended) {
    const known = { name: "raise-known-status", text: RAISE_KNOWN, values };
    const [raised] = await tx.run<{ count: number }>(known);
    if (raised?.count === implied.length) return;
  }
  await tx.run({ name: "raise-status", text: RAISE, values });
}

function chunksOf<T>(items: readonly T[], size: number): (readonly T[])[] {
  const chunks: (readonly T[])[] = [];
  for (let at = 0; at < items.length; at += size) chunks.push(items.slice(at, at + size));
  return chunks;
}
