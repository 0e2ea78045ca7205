import { versionNumber } from "../core/finality.ts";
import type { ConfirmStore } from "../core/ports.ts";
import type { TimeRange } from "../core/range.ts";
import type { Series } from "../core/series.ts";
import { shiftOpenTime } from "../core/timeframe.ts";
import { type Pacing, retryContention } from "./contention.ts";
import type { Database, Executor } from "./database.ts";
import type { SeriesCatalog } from "./series-catalog.ts";

/** Version numbers from this one on are of roads that are not read again by REST. */
export const CONFIRMED_FROM = versionNumber("archive-monthly", 0);

const UNCONFIRMED = `
  select candle_epoch_ms(open_time) as "openTime"
  from candles
  where series_id = $1 and open_time >= candle_time($2) and open_time < candle_time($3) and version < ${CONFIRMED_FROM}
  order by open_time
  limit $4`;

/** Whoever writes something to be confirmed has taken this lock before it commits. */
const LOCK_CONFIRMED = `
  select candle_epoch_ms(confirmed_to) as at from ingestion_status where series_id = $1 for update`;
const SAVE_CONFIRMED = `
  insert into ingestion_status (series_id, confirmed_to) values ($1, candle_time($2))
  on conflict (series_id) do update set confirmed_to = excluded.confirmed_to`;

/** Cells that are looked through under one lock: live candles of the series wait for no more. */
const LOCKED_CELLS = 10_000;
/** A scan of tens of millions of rows on a cold disk. */
const SCAN_DEADLINE_MS = 10 * 60_000;

/** What was read again by REST after it had settled, and what was not. */
export class Confirmation implements ConfirmStore {
  readonly #database: Database;
  readonly #catalog: SeriesCatalog;
  readonly #pacing: Pacing;

  constructor(database: Database, catalog: SeriesCatalog, pacing: Pacing) {
    this.#database = database;
    this.#catalog = catalog;
    this.#pacing = pacing;
  }

  /**
   * Open times of stored candles that came by a road which is to be read again by REST (CSV, an archive file without a
   * checksum, a young REST answer, the stream), ascending, at most `limit`.
   * @throws {BlackTradeError} E_DB_*
   */
  async unconfirmed(series: Series, range: TimeRange, limit: number): Promise<number[]> {
    const id = await this.#catalog.find(series);
    if (id === undefined) return [];
    return readUnconfirmed(this.#database, id, range, limit, SCAN_DEADLINE_MS);
  }

  /** See {@link ConfirmStore.saveConfirmed}. @throws {BlackTradeError} E_DB_* */
  async saveConfirmed(
    series: Series,
    from: number,
    confirmedTo: number,
    asked: readonly number[],
  ): Promise<number | undefined> {
    const [id = 0] = await this.#catalog.register([series]);
    const known = new Set(asked);
    let at = from;
    while (at < confirmedTo) {
      const reach = shiftOpenTime(series.timeframe, at, LOCKED_CELLS);
      const range = { from: at, to: Math.min(confirmedTo, reach) };
      const saved = await retryContention(this.#pacing, () =>
        this.#database.transaction((tx) => savePart(tx, id, range, known)),
      );
      if (saved === undefined || saved < range.to) return saved;
      at = saved;
    }
    return at;
  }
}

/**
 * Looks and saves under the lock of the series' status. A transaction that took the lock before has committed, so its
 * candles are seen; one that takes it later sets back what is saved here.
 * @returns as {@link ConfirmStore.saveConfirmed}
 */
async function savePart(
  tx: Executor,
  id: number,
  range: TimeRange,
  asked: ReadonlySet<number>,
): Promise<number | undefined> {
  const [known] = await tx.run<{ at: number | null }>({
    name: "lock-confirmed",
    text: LOCK_CONFIRMED,
    values: [id],
  });
  if (known !== undefined && known.at !== null && known.at !== range.from) return undefined;
  const unconfirmed = await readUnconfirmed(tx, id, range, asked.size + 1);
  const notAsked = unconfirmed.filter((openTime) => !asked.has(openTime));
  const to = Math.min(range.to, ...notAsked);
  await tx.run({ name: "save-confirmed", text: SAVE_CONFIRMED, values: [id, to] });
  return to;
}

async function readUnconfirmed(
  executor: Executor,
  id: number,
  range: TimeRange,
  limit: number,
  deadlineMs?: number,
): Promise<number[]> {
  const rows = await executor.run<{ openTime: number }>({
    name: "coverage-unconfirmed",
    text: UNCONFIRMED,
    values: [id, range.from, range.to, limit],
    ...(deadlineMs === undefined ? {} : { deadlineMs }),
  });
  return rows.map(({ openTime }) => openTime);
}
