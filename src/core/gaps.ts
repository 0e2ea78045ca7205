import type { TimeRange } from "./range.ts";
import { mergeRanges, subtractRanges } from "./range.ts";
import type { Series } from "./series.ts";
import { ceilOpenTime, nextOpenTime, type Timeframe } from "./timeframe.ts";

/** Why candles are missing. */
export type GapReason =
  /** Not asked for yet. */
  | "not-fetched"
  /** The exchange was asked and had none; asked again before it is believed. */
  | "exchange-had-none"
  | "before-listing"
  | "after-delisting"
  /** Served, but refused: see the quarantine. */
  | "rejected"
  /** Dropped under load. */
  | "shed"
  /** A file's candle that was not closed when it was saved. */
  | "unfinished-in-source";

/** A stretch of missing candles in the ledger. Times are exchange time, epoch ms. */
export interface Gap {
  readonly series: Series;
  /** Half-open, edges on the grid. */
  readonly range: TimeRange;
  readonly reason: GapReason;
  /** `open` = will be tried again at `nextTryTime`; `confirmed` = believed, and looked at again only rarely. */
  readonly state: "open" | "confirmed";
  readonly foundTime: number;
  /** How often the exchange was asked and had none. */
  readonly emptyAnswers: number;
  readonly firstAskedTime?: number;
  readonly nextTryTime: number;
}

/** An empty answer is believed when it was given twice, at least this far apart (R7). */
export const CONFIRM_AFTER_MS = 60 * 60_000;
/** A confirmed gap is asked for again after so long: exchanges do re-issue history. */
const RECHECK_MS = 7 * 24 * 60 * 60_000;

/**
 * Stretches of `range` for which no candle is present.
 * @param openTimes ascending epoch ms; repeats and off-grid times allowed, the latter stand for no cell of the grid
 * @param range half-open, epoch ms; widened inward to the grid
 * @returns disjoint, ascending, edges on the grid; empty when complete
 */
export function missingRanges(
  timeframe: Timeframe,
  openTimes: readonly number[],
  range: TimeRange,
): TimeRange[] {
  const from = ceilOpenTime(timeframe, range.from);
  const to = ceilOpenTime(timeframe, range.to);
  const present = openTimes
    .filter((time) => ceilOpenTime(timeframe, time) === time)
    .map((time) => ({ from: time, to: nextOpenTime(timeframe, time) }));
  return subtractRanges({ from, to }, mergeRanges(present));
}

/** A new ledger entry for a stretch that the exchange was asked for and had nothing in. */
export function emptyAnswer(series: Series, range: TimeRange, askedTime: number): Gap {
  return {
    series,
    range,
    reason: "exchange-had-none",
    state: "open",
    foundTime: askedTime,
    emptyAnswers: 1,
    firstAskedTime: askedTime,
    nextTryTime: askedTime + CONFIRM_AFTER_MS,
  };
}

/**
 * What a new answer leaves of a gap.
 * @param missing the parts of `gap.range` that the answer did not bring, edges on the grid
 * @param askedTime exchange time of the question
 */
export function afterAnswer(gap: Gap, missing: readonly TimeRange[], askedTime: number): Gap[] {
  return missing.map((range) => {
    const firstAskedTime = gap.firstAskedTime ?? askedTime;
    const isConfirmed = gap.state === "confirmed" || askedTime - firstAskedTime >= CONFIRM_AFTER_MS;
    return {
      series: gap.series,
      range,
      reason:
        gap.reason === "before-listing" || gap.reason === "after-delisting"
          ? gap.reason
          : "exchange-had-none",
      state: isConfirmed ? "confirmed" : "open",
      foundTime: gap.foundTime,
      emptyAnswers: gap.emptyAnswers + 1,
      firstAskedTime,
      nextTryTime: isConfirmed ? askedTime + RECHECK_MS : firstAskedTime + CONFIRM_AFTER_MS,
    };
  });
}
