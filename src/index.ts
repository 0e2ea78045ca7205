/**
 * The public library: candles and states of the database, for a program of your own. `examples/` shows it step by step.
 *
 * Times are epoch milliseconds UTC, ranges are half-open, rows ascend by open time. Prices and volumes are decimal text as
 * the exchange sent it, unless numbers are asked for. Errors are `BlackTradeError` with a `code`, and a `remedy` in words.
 * @module
 */
export type { Candle, SeriesCandle } from "./core/candle.ts";
export { BlackTradeError } from "./core/errors.ts";
export type { Source, VersionedCandle } from "./core/finality.ts";
export type { Gap } from "./core/gaps.ts";
export type { TimeRange } from "./core/range.ts";
export type { Series } from "./core/series.ts";
export {
  type RunFacts,
  type SeriesFacts,
  type SeriesStatus,
  type StatusWord,
  seriesStatus,
} from "./core/status.ts";
export {
  closeTimeOf,
  nextOpenTime,
  openTimeAt,
  TIMEFRAMES,
  type Timeframe,
} from "./core/timeframe.ts";
export { CandleRepository } from "./library/candle-repository.ts";
export type { ColumnQuery, Columns } from "./library/columns.ts";
export { type Connection, type ConnectOptions, connect } from "./library/connect.ts";
export { IngestionRepository, type SeriesState } from "./library/ingestion-repository.ts";
export type { NewCandle, SaveOutcome, SaveRefusal, SaveResult } from "./library/save.ts";
export type {
  AsOf,
  SeriesSelector,
  StoredCandle,
  Time,
  TimeSelector,
} from "./library/selection.ts";
export type { StreamedCandle, StreamOptions } from "./library/stream.ts";
export { type ColumnField, openStore, type Store, type StoreOptions } from "./store/index.ts";
