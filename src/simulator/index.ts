export type {
  ActiveFault,
  ArchiveAnswer,
  ArchiveDirt,
  Fault,
  FaultKind,
  Faults,
  RestAnswer,
} from "./faults.ts";
export type { OffGrid } from "./grid.ts";
export type { Journal, JournalCounts, JournalEntry, Violation } from "./journal.ts";
export type {
  Corrections,
  Market,
  MarketCandle,
  MarketSeries,
  MarketSymbol,
  Order,
  Outage,
  Slot,
} from "./market.ts";
export type { Limits, Pace, SimulatorOptions, Switches } from "./options.ts";
export { RecordedMarket, type RecordedMarketOptions } from "./recorded-market.ts";
export {
  parseRecordedRows,
  type RecordedRow,
  type RecordedSeries,
  readRecordedFiles,
} from "./recorded-rows.ts";
export { SeededMarket, type SeededMarketOptions } from "./seeded-market.ts";
export {
  DEFAULT_SYMBOLS,
  manySymbols,
  type SeededSymbol,
  seededSymbols,
} from "./seeded-symbols.ts";
export { type Simulator, startSimulator } from "./server.ts";
