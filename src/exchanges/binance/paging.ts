import type { Candle } from "../../core/candle.ts";
import type { TimeRange } from "../../core/range.ts";
import { nextOpenTime, openTimeAt, type Timeframe } from "../../core/timeframe.ts";

/** Most rows of one `klines` answer (binance.md §2.2). */
export const MAX_ROWS = 1_000;
/** How far the exchange's clock and the estimate of it may be apart. */
const CLOCK_TOLERANCE_MS = 2_000;

/** One answer to "candles from `startTime` on". Times are exchange time, epoch ms. */
export interface PageAnswer {
  /** As they came. */
  readonly rows: readonly Candle[];
  readonly startTime: number;
  /** Just before the question. */
  readonly askedTime: number;
  readonly answeredTime: number;
  /** True when no end was sent. */
  readonly isOpenEnded: boolean;
}

/** What an answer is worth. */
export interface Page {
  /** Those asked for, ascending, no repeats. */
  readonly rows: readonly Candle[];
  /** The exchange had `rows` up to here and nothing else; on the grid, or the end of what was asked. */
  readonly coveredTo: number;
  /** Where to ask on; `undefined` at the end. */
  readonly nextStartTime: number | undefined;
}

/**
 * Judges an answer. Gaps are absent rows, so a short answer is not the end (§2.2); an answer proves something only
 * - up to its last row, because rows come ascending from the start and cannot be left out;
 * - up to the end of what was asked, when it is empty or its last row stands in the last cell;
 * - never for the cell that is still open: a candle without a trade so far is absent too.
 *
 * The next question starts right after the last row, not at the next cell: the minute 2017-12-04 06:00 has two candles.
 * @param left what is not covered yet of the range that is wanted
 * @returns `undefined` when it has rows, and none of those that were asked for: it proves nothing
 */
export function judgePage(
  timeframe: Timeframe,
  left: TimeRange,
  answer: PageAnswer,
): Page | undefined {
  const { rows, startTime, askedTime, answeredTime, isOpenEnded } = answer;
  const lastTime = isOpenEnded ? answeredTime + CLOCK_TOLERANCE_MS : left.to - 1;
  const fitting = rows.filter(({ openTime }) => openTime >= startTime && openTime <= lastTime);
  if (rows.length > 0 && fitting.length === 0) return undefined;

  const kept = ascending(fitting.filter(({ openTime }) => openTime < left.to));
  const last = kept.at(-1);
  if (last === undefined) {
    const openCell = openTimeAt(timeframe, askedTime);
    const coveredTo = Math.max(left.from, Math.min(left.to, openCell));
    return { rows: kept, coveredTo, nextStartTime: undefined };
  }
  const cellEnd = nextOpenTime(timeframe, last.openTime);
  const isForming = cellEnd > askedTime;
  // After the newest closed cell there is only the open one.
  const isNewest = nextOpenTime(timeframe, cellEnd) > askedTime;
  const isFull = rows.length >= MAX_ROWS;
  const isEnd = isForming || (!isFull && (isNewest || cellEnd >= left.to));
  return {
    rows: kept,
    coveredTo: Math.max(left.from, Math.min(left.to, cellEnd)),
    nextStartTime: isEnd ? undefined : last.openTime + 1,
  };
}

/** Sorted by open time; of repeats the one with more trades, which is the later one. */
function ascending(rows: readonly Candle[]): readonly Candle[] {
  const isAscending = rows.every((row, index) => {
    const before = rows[index - 1];
    return before === undefined || before.openTime < row.openTime;
  });
  if (isAscending) return rows;
  const byOpenTime = new Map<number, Candle>();
  for (const row of rows) {
    const other = byOpenTime.get(row.openTime);
    if (other === undefined || row.tradeCount >= other.tradeCount)
      byOpenTime.set(row.openTime, row);
  }
  return [...byOpenTime.values()].sort((a, b) => a.openTime - b.openTime);
}
