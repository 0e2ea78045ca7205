export type { ArchiveDirt, Fault } from "./faults.ts";
export type { Market, MarketCandle } from "./market.ts";
export type { SimulatorOptions } from "./options.ts";
export { RecordedMarket } from "./recorded-market.ts";
export { readRecordedFiles } from "./recorded-rows.ts";
export { SeededMarket } from "./seeded-market.ts";
export { DEFAULT_SYMBOLS, manySymbols, seededSymbols } from "./seeded-symbols.ts";
export { type Simulator, startSimulator } from "./server.ts";
