export {
  type BinanceArchive,
  type BinanceArchiveOptions,
  createBinanceArchive,
  type OpenedArchive,
} from "./archive.ts";
export { type ArchiveFile, planArchive } from "./archive-plan.ts";
export { EXCHANGE } from "./codec.ts";
export { knownOutage } from "./outages.ts";
export { type BinanceRest, createBinanceRest } from "./rest.ts";
export { type BinanceStreamOptions, createBinanceStream } from "./stream.ts";
export { refuseUnknownSymbols } from "./symbols.ts";
