import { BlackTradeError } from "../core/errors.ts";
import type { VersionedCandle } from "../core/finality.ts";
import type { TimeRange } from "../core/range.ts";
import type { Series } from "../core/series.ts";
import { candleOf } from "./candle-row.ts";
import { candlesSql, whole } from "./candle-select.ts";
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
const FIELD_COUNT = 12;

/**
 * All candles that open in a range, in pages, ascending. Each page is a statement of its own, so that a slow consumer holds
 * no connection, and a page sees what was committed when it was read; the next one is read while a page is consumed.
 */
export async function* scanCandles(
  executor: BulkExecutor,
  series: Series,
  seriesId: number,
  range: TimeRange,
  options: ScanOptions = {},
): AsyncGenerator<readonly VersionedCandle[]> {
  const pageSize = options.pageSize ?? PAGE_SIZE;
  const read = (part: TimeRange): Promise<VersionedCandle[]> => {
    const page = readPage(executor, series, seriesId, part, { ...options, pageSize });
    // It may fail while nobody looks; whoever asks for it is told.
    page.catch(() => undefined);
    return page;
  };
  let next: Promise<VersionedCandle[]> | undefined = read(range);
  while (next !== undefined) {
    const page: VersionedCandle[] = await next;
    const last = page.at(-1)?.candle.openTime;
    const isWhole = page.length === pageSize && last !== undefined;
    next = isWhole ? read(restOf(range, last, options.isDescending === true)) : undefined;
    if (page.length > 0) yield page;
  }
}

function restOf(range: TimeRange, last: number, isDescending: boolean): TimeRange {
  return isDescending ? { from: range.from, to: last } : { from: last + 1, to: range.to };
}

/** One page, by COPY: twice as fast as rows of a query. */
export async function readPage(
  executor: BulkExecutor,
  series: Series,
  seriesId: number,
  range: TimeRange,
  { at, pageSize = PAGE_SIZE, isDescending = false }: ScanOptions,
): Promise<VersionedCandle[]> {
  const candles: VersionedCandle[] = [];
  let rest = "";
  await executor.copyOut(
    `copy (
      select candle_epoch_ms(open_time), version, cut_ms, trade_count, open, high, low, close,
        volume, quote_volume, taker_buy_volume, taker_buy_quote_volume
      from ${candlesSql({ seriesId, range, at })}
      order by open_time ${isDescending ? "desc" : "asc"} limit ${whole(pageSize)}
    ) to stdout`,
    (chunk) => {
      const lines = (rest + chunk.toString("latin1")).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) candles.push(candleOfLine(series, line));
    },
  );
  return candles;
}

/** Numbers only, so nothing is escaped. */
function candleOfLine(series: Series, line: string): VersionedCandle {
  const fields = line.split("\t");
  if (fields.length !== FIELD_COUNT) {
    throw new BlackTradeError("E_DB_FAILED", "the database gave a row that is no candle", {
      remedy: "See the cause in the log.",
    });
  }
  return candleOf(series, {
    openTime: Number(fields[0]),
    version: Number(fields[1]),
    cutMs: fields[2] as string,
    tradeCount: Number(fields[3]),
    open: fields[4] as string,
    high: fields[5] as string,
    low: fields[6] as string,
    close: fields[7] as string,
    volume: fields[8] as string,
    quoteVolume: fields[9] as string,
    takerBuyVolume: fields[10] as string,
    takerBuyQuoteVolume: fields[11] as string,
  });
}
