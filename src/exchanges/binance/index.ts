export { EXCHANGE } from "./codec.ts";
export { type BinanceRest, type BinanceRestOptions, createBinanceRest } from "./rest.ts";
export { type BinanceStreamOptions, createBinanceStream } from "./stream.ts";
export { checkSymbols, refuseUnknownSymbols, type SymbolCheck } from "./symbols.ts";
