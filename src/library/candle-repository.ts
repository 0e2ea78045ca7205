import type { Table } from "apache-arrow";
import { systemClock } from "../clock.ts";
import { BlackTradeError } from "../core/errors.ts";
import type { Series } from "../core/series.ts";
import { exportSeries } from "../csv/export/export.ts";
import type { Store } from "../store/index.ts";
import { type ColumnQuery, type Columns, readQuery, toColumns } from "./columns.ts";
import { type NewCandle, type SaveOutcome, type SaveResult, saveCandles } from "./save.ts";
import {
  type AsOf,
  atOf,
  limitOf,
  rangeOf,
  type SeriesSelector,
  type StoredCandle,
  seriesOf,
  storedCandle,
  type Time,
  type TimeSelector,
} from "./selection.ts";
import { type StreamedCandle, type StreamOptions, streamCandles } from "./stream.ts";

/**
 * Candles: closed ones only, each once. Times are epoch ms UTC, ranges half-open, rows ascending by open time; prices and
 * volumes are decimal text, digit for digit as the exchange closed them, unless numbers are asked for.
 * Every method throws a `BlackTradeError`: E_USAGE for what cannot be meant, E_DB_* for the database.
 */
export class CandleRepository {
  readonly #store: Store;
  readonly #access: "read" | "write";

  /** @param connection what `connect` gives */
  constructor(connection: { readonly store: Store; readonly access?: "read" | "write" }) {
    this.#store = connection.store;
    this.#access = connection.access ?? "write";
  }

  /** Every series that the database knows, by exchange, symbol and timeframe. */
  series(): Promise<readonly Series[]> {
    return this.#store.series();
  }

  /**
   * Saves one closed candle.
   * @returns what became of it; `saveBatch` also says why one was refused
   */
  async saveCandle(candle: NewCandle): Promise<SaveOutcome> {
    const { outcomes } = await this.saveBatch([candle]);
    return outcomes[0] ?? "refused";
  }

  /**
   * Saves closed candles: validated one by one, by the version rule. A bad row is refused with its reason, the good ones are
   * saved. They get the authority of files (source `csv`, or `csv-partial` without quote volume, trades or taker buys): what
   * an exchange served is never replaced, and takes their place when it comes. Twice the same is `identical`.
   */
  async saveBatch(candles: readonly NewCandle[]): Promise<SaveResult> {
    if (this.#access !== "write") {
      throw new BlackTradeError("E_USAGE", "the connection is for reading only", {
        remedy: 'Connect with connect({ access: "write" }).',
      });
    }
    return saveCandles(this.#store, candles, systemClock.now());
  }

  /**
   * The newest candles, ascending.
   * @param query `limit`: how many at most, 1 when not given; `before`: only those that open before this time; `at`: as
   * known at this time
   */
  async latest(
    query: SeriesSelector & AsOf & { readonly limit?: number; readonly before?: Time },
  ): Promise<StoredCandle[]> {
    const { to } = rangeOf(query.before === undefined ? {} : { to: query.before });
    const limit = limitOf(query.limit ?? 1);
    const rows = await this.#store.latest(seriesOf(query), limit, to, atOf(query));
    return rows.map(storedCandle);
  }

  /**
   * Candles that open in `[from, to)`, one by one, ascending; memory stays bounded however long the range is, and leaving
   * the loop ends the reading. What is committed meanwhile may show in later parts.
   */
  async *range(
    query: SeriesSelector & TimeSelector & AsOf,
  ): AsyncGenerator<StoredCandle, void, undefined> {
    const options = { at: atOf(query) };
    for await (const page of this.#store.scan(seriesOf(query), rangeOf(query), options)) {
      for (const row of page) yield storedCandle(row);
    }
  }

  /**
   * Candles as columns, ascending, index for index: `openTime` in epoch ms and a `Float64Array` for each field, every value
   * the double that is nearest to the stored decimal.
   * @param query a range, or `limit` = the newest n; `fields`, open, high, low, close and volume when not given;
   * `exact: true` gives decimals as strings; `time: "bigint"` gives `openTime` as a `BigInt64Array`
   */
  toColumns<const Query extends ColumnQuery>(query: Query): Promise<Columns<Query>> {
    return toColumns(this.#store, query);
  }

  /**
   * All fields of candles as an Arrow table, ascending: times are `timestamp[ms, UTC]`, decimals `Decimal128` with the
   * smallest scale that is exact; with `floats: true` they are `Float64`.
   * @param query a range, or `limit` = the newest n
   */
  async toArrow(
    query: Omit<ColumnQuery, "fields" | "exact" | "time"> & { readonly floats?: boolean },
  ): Promise<Table> {
    const { series, range, at } = await readQuery(this.#store, query);
    // Loading the library takes a while: only who asks for a table waits for it.
    const { tableFromIPC } = await import("apache-arrow");
    const chunks = exportSeries(this.#store, {
      ...{ series, range, at, format: "arrow-stream" },
      areFloats: query.floats === true,
    });
    return tableFromIPC(chunks);
  }

  /**
   * Closed candles as they are stored, by whichever process, in the order of their commits. Goes on over lost connections
   * without a loss; a candle may come twice after one. Kept for a week: give the `id` of the last candle that was dealt with
   * as `afterId` to go on after a restart. Leaving the loop, the signal, or closing the connection end it.
   * @throws {BlackTradeError} E_DB_CHANGES_GONE when `afterId` is older than what is kept
   */
  stream(options: StreamOptions = {}): AsyncGenerator<StreamedCandle, void, undefined> {
    return streamCandles(this.#store, options);
  }
}
