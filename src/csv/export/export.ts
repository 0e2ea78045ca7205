import type { CandleBlock } from "../../core/candle-block.ts";
import type { CandleExtent } from "../../core/ports.ts";
import type { TimeRange } from "../../core/range.ts";
import type { Series } from "../../core/series.ts";
import { type ExportFormat, encodeBlocks, prepareEncoder } from "./encode.ts";

/** Where exported candles come from. */
export interface ExportSource {
  blocks(
    series: Series,
    range: TimeRange,
    options: { readonly at?: number | undefined },
  ): AsyncIterable<CandleBlock>;
  extent(series: Series, range: TimeRange, at?: number): Promise<CandleExtent>;
}

/** What is exported, and how. */
export interface ExportRequest {
  readonly series: Series;
  /** Open times, half-open, epoch ms. */
  readonly range: TimeRange;
  readonly format: ExportFormat;
  /** Decimals as 64-bit floats instead of exact decimals. */
  readonly areFloats?: boolean;
  /** As known at this time, epoch ms. */
  readonly at?: number | undefined;
  /** Aborting it ends the export with its reason. */
  readonly signal?: AbortSignal | undefined;
  /** Told of the candles of each block. */
  readonly onCandles?: (count: number) => void;
}

/**
 * The file of one series, as chunks. The digits of the decimals are counted first where the format needs to know them.
 * @throws {BlackTradeError} E_DB_*, and E_USAGE when a candle with more digits came meanwhile
 */
export async function* exportSeries(
  source: ExportSource,
  request: ExportRequest,
): AsyncGenerator<Uint8Array> {
  const { series, range, format, at, areFloats = false } = request;
  const isCounted = !areFloats && ["parquet", "arrow", "arrow-stream"].includes(format);
  const [extent] = await Promise.all([
    isCounted ? source.extent(series, range, at) : undefined,
    prepareEncoder(format),
  ]);
  const digits = extent?.digits ?? {};
  yield* encodeBlocks(format, readBlocks(source, request), { series, digits, areFloats });
}

async function* readBlocks(
  source: ExportSource,
  { series, range, at, signal, onCandles }: ExportRequest,
): AsyncGenerator<CandleBlock> {
  for await (const block of source.blocks(series, range, { at })) {
    signal?.throwIfAborted();
    const { rowCount } = block;
    yield block;
    onCandles?.(rowCount);
  }
}
