import { versionNumber } from "../core/finality.ts";
import type { Gap } from "../core/gaps.ts";
import type { ImportCounts, ImportedFile, ImportPart } from "../core/ports.ts";
import {
  type CandleWriter,
  type Implied,
  raise,
  SAME_VALUES,
  TAKE_NEWER,
} from "./candle-writer.ts";
import { logEntries } from "./change-log.ts";
import { type Pacing, retryContention } from "./contention.ts";
import { COPY_COLUMNS as COLUMNS, copySize, encodeCandles } from "./copy-text.ts";
import type { Database, Executor, Transaction } from "./database.ts";
import { isDataError } from "./db-errors.ts";
import { enterGaps } from "./gap-ledger.ts";
import { readImport, saveImport } from "./import-ledger.ts";
import type { SeriesCatalog } from "./series-catalog.ts";
import { numberArray } from "./sql-arrays.ts";

const IS_OCCUPIED = `
  select exists (
    select from candles
    where series_id = $1 and open_time >= candle_time($2) and open_time <= candle_time($3)
  ) as "isOccupied"`;

const COPY_STRAIGHT = `copy candles (${COLUMNS}) from stdin`;

/** Ends with the transaction; no index, for the upsert reads it once from its beginning. */
const STAGING = `create temp table offered_candles (like candles) on commit drop`;
const COPY_STAGED = `copy offered_candles (${COLUMNS}) from stdin`;

/** Counts what was new and what took the place of something. */
const UPSERT_STAGED = `
  with written as (
    insert into candles as stored (${COLUMNS})
    select ${COLUMNS} from offered_candles
    ${TAKE_NEWER}
    returning open_time, xmax = 0 as is_new
  )
  select
    count(*) filter (where is_new) as new,
    count(*) filter (where not is_new) as replaced,
    candle_epoch_ms(min(open_time)) as first
  from written`;

/** Rows of the series that were replaced by other values in this transaction: the trigger has kept them. */
const COUNT_REVISED = `
  select count(*) as count
  from candle_revisions
  where series_id = $1 and replaced_in = txid_current()
    and open_time >= candle_time($2) and open_time <= candle_time($3)`;

/** Offered rows whose values are the stored ones now; the upsert has locked every one of them. */
const COUNT_SAME = `
  select count(*) as count
  from offered_candles offered
  join candles stored on stored.series_id = offered.series_id and stored.open_time = offered.open_time
  where
    ${SAME_VALUES}`;

/** Of these cells, those that hold a candle which a file cannot call into question. */
const SETTLED = `
  select candle_epoch_ms(from_time) as "from"
  from unnest($2::bigint[], $3::bigint[]) as wanted (from_ms, to_ms)
  cross join lateral (select candle_time(from_ms) as from_time, candle_time(to_ms) as to_time) as cell
  where exists (
    select from candles
    where series_id = $1 and open_time >= from_time and open_time < to_time and version >= ${versionNumber("rest-early", 0)}
  )`;

/** A part of a file is small; a disk may be slow. */
const DEADLINE_MS = 5 * 60_000;
const FALLBACK_ROWS = 5_000;
const MAX_SPARE_BYTES = 2 ** 24;

type Offered = Pick<ImportCounts, "stored" | "revised" | "identical" | "superseded" | "refused">;

/** Loads candles of files in bulk, by the rule of finality. */
export class BulkLoader {
  readonly #database: Database;
  readonly #catalog: SeriesCatalog;
  readonly #writer: CandleWriter;
  readonly #pacing: Pacing;
  /** What the rows of a part were written into, for those of the next one. */
  #spare: Buffer | undefined;

  constructor(database: Database, catalog: SeriesCatalog, writer: CandleWriter, pacing: Pacing) {
    this.#database = database;
    this.#catalog = catalog;
    this.#writer = writer;
    this.#pacing = pacing;
  }

  /** See {@link ImportStore.imported}. */
  imported(file: string): Promise<ImportedFile | undefined> {
    return readImport(this.#database, file);
  }

  /**
   * See {@link ImportStore.loadPart}. Where no candle of the stretch is stored, rows are copied straight into the table: its
   * primary key proves it, and when another writer was faster the part is done again by way of a staging table.
   */
  async loadPart(part: ImportPart): Promise<ImportedFile> {
    const { candles, file } = part;
    const [id = 0] = await this.#catalog.register([file.series]);
    const size = copySize(candles);
    const spare = this.#spare;
    this.#spare = undefined;
    const room = spare !== undefined && spare.length >= size ? spare : Buffer.allocUnsafeSlow(size);
    const done = await this.#load(id, part, [encodeCandles(id, candles, room)]);
    // After a failure it may still be on its way.
    if (size <= MAX_SPARE_BYTES) this.#spare = room;
    return done;
  }

  async #load(id: number, part: ImportPart, data: readonly Buffer[]): Promise<ImportedFile> {
    let mayGoStraight = true;
    try {
      return await retryContention(this.#pacing, () =>
        this.#database.transaction(async (tx) => {
          const offered = await offer(tx, id, part, data, mayGoStraight).catch((error) => {
            mayGoStraight = false;
            throw error;
          });
          return this.#finish(tx, id, part, offered);
        }, DEADLINE_MS),
      );
    } catch (error) {
      if (!isDataError(error)) throw error;
    }
    try {
      return await retryContention(this.#pacing, () =>
        this.#database.transaction(
          async (tx) => this.#finish(tx, id, part, await offer(tx, id, part, data, false)),
          DEADLINE_MS,
        ),
      );
    } catch (error) {
      if (!isDataError(error)) throw error;
      return await this.#loadOneByOne(id, part);
    }
  }

  /** The database refuses a row for its values: the writer finds it and puts it into quarantine. */
  async #loadOneByOne(id: number, part: ImportPart): Promise<ImportedFile> {
    const offered = { stored: 0, revised: 0, identical: 0, superseded: 0, refused: 0 };
    for (let at = 0; at < part.candles.length; at += FALLBACK_ROWS) {
      const { outcomes } = await this.#writer.write(part.candles.slice(at, FALLBACK_ROWS), []);
      for (const outcome of outcomes) offered[outcome === "quarantined" ? "refused" : outcome] += 1;
    }
    return this.#database.transaction((tx) => this.#finish(tx, id, part, offered), DEADLINE_MS);
  }

  async #finish(
    tx: Executor,
    id: number,
    { candles, gaps, file }: ImportPart,
    offered: Offered,
  ): Promise<ImportedFile> {
    const wanted = await unsettled(tx, id, gaps);
    await enterGaps(
      tx,
      wanted,
      wanted.map(() => id),
    );
    const done = { ...file, counts: added(file.counts, offered) };
    await saveImport(tx, done);
    if (offered.stored + offered.revised > 0) {
      const range = { from: candles.openTime(0), to: candles.openTime(candles.length - 1) + 1 };
      await logEntries(tx, [{ seriesId: id, range }]);
    }
    return done;
  }
}

async function offer(
  tx: Transaction,
  id: number,
  { candles }: ImportPart,
  data: readonly Buffer[],
  mayGoStraight: boolean,
): Promise<Offered> {
  const none = { stored: 0, revised: 0, identical: 0, superseded: 0, refused: 0 };
  if (candles.length === 0) return none;
  const first = candles.openTime(0);
  const last = candles.openTime(candles.length - 1);
  const stretch = [id, first, last];
  const [found] = mayGoStraight
    ? await tx.run<{ isOccupied: boolean }>({ text: IS_OCCUPIED, values: stretch })
    : [];
  const implied: Implied = { seriesId: id, newest: last };
  if (found?.isOccupied === false) {
    await tx.copyIn(COPY_STRAIGHT, data);
    await raise(tx, [{ ...implied, unconfirmed: first }]);
    return { ...none, stored: candles.length };
  }
  await tx.run({ text: STAGING });
  await tx.copyIn(COPY_STAGED, data);
  const [written] = await tx.run<{ new: number; replaced: number; first: number | null }>({
    text: UPSERT_STAGED,
  });
  const stored = written?.new ?? 0;
  const revised = (written?.replaced ?? 0) === 0 ? 0 : await count(tx, COUNT_REVISED, stretch);
  // Rows that are the table's now were not the same before when they were new or revised.
  const isAllNew = stored === candles.length;
  const same = isAllNew ? stored : await count(tx, COUNT_SAME, []);
  await raise(tx, [written?.first == null ? implied : { ...implied, unconfirmed: written.first }]);
  const identical = same - stored - revised;
  return { ...none, stored, revised, identical, superseded: candles.length - same };
}

async function count(tx: Executor, text: string, values: readonly unknown[]): Promise<number> {
  const [row] = await tx.run<{ count: number }>({ text, values });
  return row?.count ?? 0;
}

async function unsettled(tx: Executor, id: number, gaps: readonly Gap[]): Promise<readonly Gap[]> {
  if (gaps.length === 0) return gaps;
  const rows = await tx.run<{ from: number }>({
    text: SETTLED,
    values: [
      id,
      numberArray(gaps.map(({ range }) => range.from)),
      numberArray(gaps.map(({ range }) => range.to)),
    ],
  });
  const settled = new Set(rows.map(({ from }) => from));
  return gaps.filter(({ range }) => !settled.has(range.from));
}

function added(counts: ImportCounts, offered: Offered): ImportCounts {
  return {
    ...counts,
    stored: counts.stored + offered.stored,
    revised: counts.revised + offered.revised,
    identical: counts.identical + offered.identical,
    superseded: counts.superseded + offered.superseded,
    refused: counts.refused + offered.refused,
  };
}
