import type { VersionedCandle } from "../core/finality.ts";
import type { CandleExtent, CandleRevision } from "../core/ports.ts";
import type { TimeRange } from "../core/range.ts";
import type { Series } from "../core/series.ts";
import type { StoredBlock } from "./block-builder.ts";
import { type CandleColumns, type ColumnField, readColumns } from "./candle-columns.ts";
import { readExtent } from "./candle-extent.ts";
import { CANDLE_COLUMNS, type CandleRow, candleOf, EVER, edgesOf, roadOf } from "./candle-row.ts";
import { readBlock, type ScanOptions, scanBlocks, versionedCandlesOf } from "./candle-scan.ts";
import type { BulkExecutor } from "./database.ts";
import type { SeriesCatalog } from "./series-catalog.ts";

const RANGE = `
  select ${CANDLE_COLUMNS} from candles
  where series_id = $1 and open_time >= candle_time($2) and open_time < candle_time($3)
  order by open_time
  limit $4`;

const LATEST = `
  select ${CANDLE_COLUMNS} from candles
  where series_id = $1 and open_time < candle_time($3)
  order by open_time desc
  limit $2`;

const COUNT = `
  select count(*) as count from candles
  where series_id = $1 and open_time >= candle_time($2) and open_time < candle_time($3)`;

const REVISIONS = `
  select ${CANDLE_COLUMNS}, replaced_by as "replacedBy", candle_epoch_ms(replaced_at) as "replacedTime"
  from candle_revisions
  where series_id = $1 and open_time >= candle_time($2) and open_time < candle_time($3)
  order by open_time, id
  limit $4`;

/** Reads what is stored. Every decimal is the text that was written. */
export class CandleReader {
  readonly #executor: BulkExecutor;
  readonly #catalog: SeriesCatalog;

  constructor(executor: BulkExecutor, catalog: SeriesCatalog) {
    this.#executor = executor;
    this.#catalog = catalog;
  }

  /**
   * Candles that open in `[from, to)`, ascending, at most `limit`.
   * @param at as known at this time, epoch ms
   * @throws {BlackTradeError} E_DB_*
   */
  async range(
    series: Series,
    range: TimeRange,
    limit: number,
    at?: number,
  ): Promise<readonly VersionedCandle[]> {
    if (at !== undefined) return this.#page(series, range, { at, pageSize: limit });
    const rows = await this.#rows<CandleRow>("read-range", RANGE, series, [
      ...edgesOf(range),
      limit,
    ]);
    return rows.map((row) => candleOf(series, row));
  }

  /**
   * The newest `count` candles that open before `before`, ascending.
   * @param at as known at this time, epoch ms
   * @throws {BlackTradeError} E_DB_*
   */
  async latest(
    series: Series,
    count: number,
    before: number = EVER.to,
    at?: number,
  ): Promise<readonly VersionedCandle[]> {
    if (at !== undefined) {
      const options = { at, pageSize: count, isDescending: true };
      return [...(await this.#page(series, { from: 0, to: before }, options))].reverse();
    }
    const [, to] = edgesOf({ from: 0, to: before });
    const rows = await this.#rows<CandleRow>("read-latest", LATEST, series, [count, to]);
    return rows.map((row) => candleOf(series, row)).reverse();
  }

  /** How many candles open in `[from, to)`; all of the series without a range. @throws {BlackTradeError} E_DB_* */
  async count(series: Series, range: TimeRange = EVER): Promise<number> {
    const rows = await this.#rows<{ count: number }>("count-range", COUNT, series, edgesOf(range));
    return rows[0]?.count ?? 0;
  }

  /** Replaced versions of candles that open in `[from, to)`, by open time, then oldest first. @throws {BlackTradeError} E_DB_* */
  async revisions(
    series: Series,
    range: TimeRange,
    limit: number,
  ): Promise<readonly CandleRevision[]> {
    const rows = await this.#rows<CandleRow & { replacedBy: number; replacedTime: number }>(
      "read-revisions",
      REVISIONS,
      series,
      [...edgesOf(range), limit],
    );
    return rows.map((row) => ({
      replaced: candleOf(series, row),
      replacedBy: roadOf(row.replacedBy),
      replacedTime: row.replacedTime,
    }));
  }

  /**
   * All candles that open in `[from, to)`, in pages, ascending; memory is bounded by two pages.
   * @throws {BlackTradeError} E_DB_*; the pages before it stand
   */
  async *scan(
    series: Series,
    range: TimeRange = EVER,
    options: ScanOptions = {},
  ): AsyncGenerator<readonly VersionedCandle[]> {
    for await (const block of this.blocks(series, range, options)) {
      yield versionedCandlesOf(series, block);
    }
  }

  /**
   * The same as columns, for who reads a million of them.
   * @throws {BlackTradeError} E_DB_*; the pages before it stand
   */
  async *blocks(
    series: Series,
    range: TimeRange = EVER,
    options: ScanOptions = {},
  ): AsyncGenerator<StoredBlock> {
    const id = await this.#catalog.find(series);
    if (id !== undefined) yield* scanBlocks(this.#executor, series, id, range, options);
  }

  /**
   * Fields of candles that open in `[from, to)` as columns of doubles, each the nearest to the stored decimal.
   * @param newest only so many, the newest ones
   * @throws {BlackTradeError} E_DB_*
   */
  async columns<Field extends ColumnField>(
    series: Series,
    range: TimeRange,
    fields: readonly Field[],
    { newest, at }: { readonly newest?: number | undefined; readonly at?: number | undefined } = {},
  ): Promise<CandleColumns<Field>> {
    // No series has the number 0: then there are no rows.
    const seriesId = (await this.#catalog.find(series)) ?? 0;
    return readColumns(this.#executor, { seriesId, range, at }, fields, newest);
  }

  /** Number of candles in `[from, to)` and of the digits of their decimals. @throws {BlackTradeError} E_DB_* */
  async extent(series: Series, range: TimeRange = EVER, at?: number): Promise<CandleExtent> {
    const seriesId = (await this.#catalog.find(series)) ?? 0;
    return readExtent(this.#executor, { seriesId, range, at });
  }

  async #page(
    series: Series,
    range: TimeRange,
    options: ScanOptions & { readonly pageSize: number },
  ): Promise<readonly VersionedCandle[]> {
    const id = await this.#catalog.find(series);
    if (id === undefined) return [];
    return versionedCandlesOf(
      series,
      await readBlock(this.#executor, series, { seriesId: id, range, at: options.at }, options),
    );
  }

  async #rows<Row extends object>(
    name: string,
    text: string,
    series: Series,
    values: readonly unknown[],
  ): Promise<readonly Row[]> {
    const id = await this.#catalog.find(series);
    return id === undefined ? [] : this.#executor.run<Row>({ name, text, values: [id, ...values] });
  }
}
