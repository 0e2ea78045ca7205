/**
 * The public library: what is in the database, read by a program of your own.
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
export { openStore, type Store, type StoreOptions } from "./store/index.ts";
