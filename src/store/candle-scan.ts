import { candlesOf } from "../core/candle-block.ts";
import type { VersionedCandle } from "../core/finality.ts";
import type { TimeRange } from "../core/range.ts";
import type { Series } from "../core/series.ts";
import { copyRows } from "./binary-rows.ts";
import { BLOCK_COLUMNS, BlockBuilder, type StoredBlock } from "./block-builder.ts";
import { roadOf } from "./candle-row.ts";
import { type CandleSelection, candlesSql, whole } from "./candle-select.ts";
import type { BulkExecutor } from "./database.ts";

/** How a range is read to its end. */
export interface ScanOptions {
  /** As known at this time, epoch ms: from the versions that were replaced since. */
  readonly at?: number | undefined;
  /** Rows of a page, 10,000 when not given. */
  readonly pageSize?: number;
  /** From the newest candle to the oldest; pages, too, are then descending. */
  readonly isDescending?: boolean;
}

const PAGE_SIZE = 10_000;
/** Room of a page at first: most ranges are short. */
const FIRST_CAPACITY = 1_024;

/**
 * All candles that open in a range, in pages, ascending. Each page is a statement of its own, so that a slow consumer holds
 * no connection, and a page sees what was committed when it was read; the next one is read while a page is consumed,
 * and into the memory of the page before: each is the consumer's until it asks for the next.
 */
export async function* scanBlocks(
  executor: BulkExecutor,
  series: Series,
  seriesId: number,
  range: TimeRange,
  options: ScanOptions = {},
): AsyncGenerator<StoredBlock> {
  const pageSize = options.pageSize ?? PAGE_SIZE;
  const query = { seriesId, at: options.at };
  // One is read into while the other is consumed.
  const builders = [builderOf(series, pageSize), builderOf(series, pageSize)];
  const read = (part: TimeRange): Promise<StoredBlock> => {
    const builder = builders.shift() as BlockBuilder;
    builders.push(builder);
    builder.clear();
    const page = fill(builder, executor, { ...query, range: part }, { ...options, pageSize });
    // It may fail while nobody looks; whoever asks for it is told.
    page.catch(() => undefined);
    return page;
  };
  let next: Promise<StoredBlock> | undefined = read(range);
  while (next !== undefined) {
    const page: StoredBlock = await next;
    const last = page.openTime[page.rowCount - 1];
    const isWhole = page.rowCount === pageSize && last !== undefined;
    next = isWhole ? read(restOf(range, last, options.isDescending === true)) : undefined;
    if (page.rowCount > 0) yield page;
  }
}

function restOf(range: TimeRange, last: number, isDescending: boolean): TimeRange {
  return isDescending ? { from: range.from, to: last } : { from: last + 1, to: range.to };
}

/** One page. */
export function readBlock(
  executor: BulkExecutor,
  series: Series,
  selection: CandleSelection,
  options: ScanOptions & { readonly pageSize: number },
): Promise<StoredBlock> {
  return fill(builderOf(series, options.pageSize), executor, selection, options);
}

function builderOf(series: Series, pageSize: number): BlockBuilder {
  return new BlockBuilder(series, Math.min(pageSize, FIRST_CAPACITY));
}

async function fill(
  builder: BlockBuilder,
  executor: BulkExecutor,
  selection: CandleSelection,
  { pageSize, isDescending = false }: ScanOptions & { readonly pageSize: number },
): Promise<StoredBlock> {
  await copyRows(
    executor,
    `select ${BLOCK_COLUMNS.join(", ")} from ${candlesSql(selection)}
     order by open_time ${isDescending ? "desc" : "asc"} limit ${whole(pageSize)}`,
    BLOCK_COLUMNS.length,
    (view, offsets) => builder.push(view, offsets),
  );
  return builder.finish();
}

/** A block as candles with their versions. @throws {BlackTradeError} E_DB_NEWER */
export function versionedCandlesOf(series: Series, block: StoredBlock): VersionedCandle[] {
  const versioned: VersionedCandle[] = [];
  for (const [row, candle] of candlesOf(block).entries()) {
    const { source, observedTime } = roadOf(block.version[row] as number);
    versioned.push({ series, candle, source, observedTime });
  }
  return versioned;
}
