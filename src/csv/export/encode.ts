import type { Candle } from "../../core/candle.ts";
import { blockOf, type CandleBlock } from "../../core/candle-block.ts";
import type { CandleExtent } from "../../core/ports.ts";
import type { Series } from "../../core/series.ts";
import { encodeCsv, encodeJson, encodeNdjson } from "./text.ts";

/** Formats of exported candles. */
export const EXPORT_FORMATS = {
  csv: { extension: "csv", contentType: "text/csv; charset=utf-8; header=present" },
  parquet: { extension: "parquet", contentType: "application/vnd.apache.parquet" },
  /** Arrow IPC file, also known as Feather 2. */
  arrow: { extension: "arrow", contentType: "application/vnd.apache.arrow.file" },
  /** Arrow IPC stream. */
  "arrow-stream": { extension: "arrows", contentType: "application/vnd.apache.arrow.stream" },
  /** One array of objects. */
  json: { extension: "json", contentType: "application/json" },
  /** One object a line. */
  ndjson: { extension: "ndjson", contentType: "application/x-ndjson" },
} as const;

/** One of {@link EXPORT_FORMATS}. */
export type ExportFormat = keyof typeof EXPORT_FORMATS;

/** How candles are encoded. */
export interface EncodeOptions {
  /** The series, for the metadata of Parquet and Arrow files. */
  readonly series?: Series;
  /**
   * Digits of the decimals, as the store counts them: Parquet and Arrow then use the smallest lossless scale. Without them
   * every decimal is one of 38 digits, 18 of them behind the point.
   */
  readonly digits?: Partial<CandleExtent["digits"]>;
  /** Decimals as 64-bit floats (correctly rounded) instead of exact decimals; CSV stays text. */
  readonly areFloats?: boolean;
}

/** {@link encodeBlocks} of candles that are there one by one. @param pages ascending by open time */
export function encodeCandles(
  format: ExportFormat,
  pages: AsyncIterable<readonly Candle[]>,
  options?: EncodeOptions,
): AsyncIterable<Uint8Array> {
  return encodeBlocks(format, blocksOf(pages), options);
}

async function* blocksOf(pages: AsyncIterable<readonly Candle[]>): AsyncGenerator<CandleBlock> {
  for await (const page of pages) yield blockOf(page);
}

/**
 * Encodes candles of one series as they come, in bounded memory: a block and, for Parquet and Arrow, 100,000 rows.
 * @param blocks ascending by open time
 * @returns chunks of the file; without candles a file with no rows
 * @throws {BlackTradeError} E_USAGE for a decimal with more digits than `digits` says
 */
export function encodeBlocks(
  format: ExportFormat,
  blocks: AsyncIterable<CandleBlock>,
  { series, digits = {}, areFloats = false }: EncodeOptions = {},
): AsyncIterable<Uint8Array> {
  const labels = series === undefined ? {} : { ...series };
  switch (format) {
    case "csv":
      return encodeCsv(blocks);
    case "json":
      return encodeJson(blocks, areFloats);
    case "ndjson":
      return encodeNdjson(blocks, areFloats);
    case "parquet":
      return encodeLazily(async () => {
        const { encodeParquet } = await import("./parquet.ts");
        return encodeParquet(blocks, { areFloats, digits }, labels);
      });
    case "arrow":
    case "arrow-stream":
      return encodeLazily(async () => {
        const { encodeArrow } = await import("./arrow.ts");
        return encodeArrow(blocks, { areFloats, digits }, labels, format === "arrow-stream");
      });
  }
}

/** Loads what a format needs, for who waits for something else meanwhile. */
export async function prepareEncoder(format: ExportFormat): Promise<void> {
  if (format === "parquet") await import("./parquet.ts");
  if (format === "arrow" || format === "arrow-stream") await import("./arrow.ts");
}

/** The libraries of binary formats take their time to load: only who writes one waits for it. */
async function* encodeLazily(
  load: () => Promise<AsyncIterable<Uint8Array>>,
): AsyncGenerator<Uint8Array> {
  yield* await load();
}
