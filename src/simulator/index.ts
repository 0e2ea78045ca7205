export { fastClock, realClock } from "./clock.ts";
export { FAULT_KINDS } from "./fault-json.ts";
export type {
  ActiveFault,
  Fault,
  FaultChange,
  FaultKind,
  FaultOf,
  Faults,
  FaultTerms,
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
export {
  DEFAULT_LIMITS,
  DEFAULT_PACE,
  DEFAULT_SWITCHES,
  type Limits,
  type Pace,
  type SimulatorOptions,
  type Switches,
} from "./options.ts";
export { RecordedMarket, type RecordedMarketOptions } from "./recorded-market.ts";
export {
  parseRecordedRows,
  type RecordedRow,
  type RecordedSeries,
  readRecordedFiles,
  readRecordedRows,
} from "./recorded-rows.ts";
export { SeededMarket, type SeededMarketOptions } from "./seeded-market.ts";
export {
  DEFAULT_SYMBOLS,
  manySymbols,
  type SeededSymbol,
  seededSymbols,
} from "./seeded-symbols.ts";
export { type Simulator, startSimulator } from "./server.ts";
