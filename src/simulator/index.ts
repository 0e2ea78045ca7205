export type { ArchiveDirt, Fault } from "./faults.ts";
export type { Market } from "./market.ts";
export type { SimulatorOptions } from "./options.ts";
export { RecordedMarket } from "./recorded-market.ts";
export { readRecordedFiles } from "./recorded-rows.ts";
export { SeededMarket } from "./seeded-market.ts";
export {
  DEFAULT_SYMBOLS,
  manySymbols,
  type SeededSymbol,
  seededSymbols,
} from "./seeded-symbols.ts";
export { type Simulator, startSimulator } from "./server.ts";
export { MIN_TRADES_PER_DAY } from "./trade-tape.ts";
