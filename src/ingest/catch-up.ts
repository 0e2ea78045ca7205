import type { RequestPriority } from "../core/budget.ts";
import type { Candle } from "../core/candle.ts";
import {
  type CloseClock,
  type DueFetch,
  POLL_DELAY_MS,
  STREAM_GRACE_MS,
} from "../core/close-clock.ts";
import type { Recorder } from "../core/events.ts";
import { judgeRows } from "../core/finality.ts";
import { absentGaps } from "../core/gaps.ts";
import type { HistoryPage, HistorySource } from "../core/ports.ts";
import { subtractRanges } from "../core/range.ts";
import type { Series } from "../core/series.ts";
import { cellOf, countOpenTimes, nextOpenTime, openTimeAt } from "../core/timeframe.ts";
import type { Intake } from "./intake.ts";
import type { Writer } from "./writer.ts";

/** What fetching needs. */
export interface CatchUpOptions {
  readonly history: HistorySource;
  readonly closeClock: CloseClock;
  readonly intake: Intake;
  readonly writer: Writer;
  readonly record: Recorder;
  /** Open time of the first candle that the exchange has of a series; asked for once. */
  readonly firstOpenTime: (series: Series, signal: AbortSignal) => Promise<number | undefined>;
  /** Exchange time, epoch ms. */
  readonly exchangeNow: () => number;
}

/** What a fetch brought. */
export interface CatchUpResult {
  /** Open times of the closed candles with trades in the answer, ascending. */
  readonly tradedOpenTimes: readonly number[];
  /** False when what was due is still not there. */
  readonly isDone: boolean;
}

/** Pages of one turn: a series that is years behind gives way to the others after so many. */
const PAGES_PER_TURN = 10;

/**
 * Fetches by REST what the close clock says is due for one series, up to the candle that still forms.
 * Where the exchange itself moved on without a candle, the stretch goes into the gap ledger.
 * @throws {BlackTradeError} E_SOURCE_*; what came before stays
 */
export async function catchUp(
  { history, closeClock, intake, writer, record, firstOpenTime, exchangeNow }: CatchUpOptions,
  due: DueFetch,
  priority: RequestPriority,
  signal: AbortSignal,
): Promise<CatchUpResult> {
  const { series } = due;
  const began = closeClock.nextOf(series);
  let receivedCount = 0;
  const tradedOpenTimes: number[] = [];
  let pages = 0;
  // Not only before a page is taken: one that is here and waits for room lies in memory.
  await writer.room(signal);
  for await (const page of history.candles(
    series,
    { from: due.from, to: Number.MAX_SAFE_INTEGER },
    signal,
    priority,
  )) {
    await writer.room(signal);
    await takePage(page);
    pages += 1;
    if (pages === PAGES_PER_TURN) break;
  }
  if (receivedCount > 0)
    record({ kind: "fetched", series, cause: due.cause, candleCount: receivedCount });
  const dueOpen = nextOpenTime(series.timeframe, closeClock.nextOf(series)) + POLL_DELAY_MS;
  const hasMoved = closeClock.nextOf(series) > began;
  return { tradedOpenTimes, isDone: hasMoved || (pages > 0 && exchangeNow() < dueOpen) };

  async function takePage(page: HistoryPage): Promise<void> {
    const { settled, early, forming } = judgeRows(series.timeframe, page.rows, page.askedTime);
    // A close that the stream may still bring is left to it: its frame is final, a young answer may not be.
    const isLeft = ({ openTime }: Candle): boolean =>
      closeClock.isStreamed(series) &&
      page.askedTime < nextOpenTime(series.timeframe, openTime) + STREAM_GRACE_MS;
    const young = early.filter((row) => !isLeft(row));
    for (const row of [...settled, ...young]) {
      if (row.tradeCount > 0) tradedOpenTimes.push(row.openTime);
      if (isNew(row)) receivedCount += 1;
    }
    for (const row of settled) intake.take(series, row, page.source, page.askedTime);
    for (const row of young) {
      // Read again too soon, it is known and still not settled.
      if (isNew(row)) intake.take(series, row, "rest-early", page.askedTime);
    }
    closeClock.reread(series, page.range, page.askedTime);
    const newest = early.find(isLeft) ?? forming[0] ?? early.at(-1) ?? settled.at(-1);
    if (newest !== undefined)
      await explainHoles(page, openTimeAt(series.timeframe, newest.openTime));
  }

  function isNew({ openTime }: Candle): boolean {
    return closeClock.missingIn(series, cellOf(series.timeframe, openTime)).length > 0;
  }

  /** What lies before the newest row of the answer, was asked for and did not come, the exchange does not have. */
  async function explainHoles(page: HistoryPage, end: number): Promise<void> {
    // A row that was served and could be neither stored nor noted is not absent: it is asked for again.
    const served = page.rows.map((row) => cellOf(series.timeframe, row.openTime));
    const holes = closeClock
      .missingIn(series, { from: page.range.from, to: end })
      .flatMap((hole) => subtractRanges(hole, served));
    if (holes.length === 0) return;
    const listed = await firstOpenTime(series, signal);
    for (const gap of holes.flatMap((hole) => absentGaps(series, hole, page.askedTime, listed))) {
      if (!writer.explain(gap)) return;
      closeClock.explained(series, gap.range);
      const missing = countOpenTimes(series.timeframe, gap.range);
      record({ kind: "gapFound", series, range: gap.range, reason: gap.reason, missing });
    }
  }
}
