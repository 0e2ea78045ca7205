export {
  type ArchiveCheck,
  type BinanceArchive,
  type BinanceArchiveOptions,
  createBinanceArchive,
  type NotPublished,
  type OpenedArchive,
} from "./archive.ts";
export {
  type ArchiveFile,
  type ArchiveKind,
  type ArchivePlan,
  type ArchivePlanOptions,
  planArchive,
} from "./archive-plan.ts";
export type { ArchiveReport, RejectedLine, RejectedLineCode } from "./archive-rows.ts";
export { EXCHANGE } from "./codec.ts";
export { type BinanceRest, createBinanceRest } from "./rest.ts";
export { type BinanceStreamOptions, createBinanceStream } from "./stream.ts";
export { checkSymbols, refuseUnknownSymbols } from "./symbols.ts";
