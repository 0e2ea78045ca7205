import type { TimeRange } from "./range.ts";
import { isEmptyRange, subtractRanges } from "./range.ts";
import type { Series } from "./series.ts";
import { ceilOpenTime, cellOf, openTimeAt, type Timeframe } from "./timeframe.ts";

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
  | "unfinished-in-source"
  /** Older than what is kept: removed, or never fetched for that reason. */
  | "not-kept";

/** A stretch of missing candles in the ledger. Times are exchange time, epoch ms. */
export interface Gap {
  readonly series: Series;
  /** Half-open, edges on the grid. */
  readonly range: TimeRange;
  readonly reason: GapReason;
  /** `open` = will be tried again at `nextTryTime`; `confirmed` = believed, and looked at again only rarely. */
  readonly state: "open" | "confirmed";
  readonly foundTime: number;
  /** How often the exchange was asked and had none, or none that could be taken. */
  readonly emptyAnswers: number;
  readonly firstAskedTime?: number;
  readonly nextTryTime: number;
}

/** An empty answer is believed when it was given twice, at least this far apart (R7). */
export const CONFIRM_AFTER_MS = 60 * 60_000;
/**
 * A confirmed gap is asked for again after so long, for exchanges do re-issue history; the pause doubles with every
 * empty answer after the second, up to five years: hardly ever, not for ever (R7).
 */
const RECHECK_MS = 7 * 24 * 60 * 60_000;
const MAX_RECHECK_DOUBLINGS = 8;

/**
 * Stretches of `range` for which no candle is present.
 * @param openTimes ascending epoch ms; repeats allowed; an off-grid time stands for the cell that it lies in
 * @param range half-open, epoch ms; a cell belongs to it when it opens in it
 * @returns disjoint, ascending, edges on the grid; empty when complete
 */
export function missingRanges(
  timeframe: Timeframe,
  openTimes: readonly number[],
  range: TimeRange,
): TimeRange[] {
  const from = ceilOpenTime(timeframe, range.from);
  const to = ceilOpenTime(timeframe, range.to);
  return subtractRanges(
    { from, to },
    openTimes.map((time) => cellOf(timeframe, time)),
  );
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
 * Ledger entries for a stretch that the exchange was asked for and had nothing in, told apart by its listing.
 * @param firstOpenTime open time of the first candle that the exchange has, when it has any
 */
export function absentGaps(
  series: Series,
  range: TimeRange,
  askedTime: number,
  firstOpenTime: number | undefined,
): Gap[] {
  const gap = emptyAnswer(series, range, askedTime);
  const known = knownAbsence(gap, range, askedTime, firstOpenTime, false);
  const rest = subtractRanges(
    range,
    known.map((one) => one.range),
  );
  return [...known, ...rest.map((part) => ({ ...gap, range: part }))];
}

/**
 * The parts of a missing stretch whose absence needs no second answer: before the first candle that the exchange has, and,
 * when the symbol is not traded, after its last one.
 * @param gap the entry that was asked for
 * @param isTail true when nothing follows the stretch and the symbol is not traded
 */
export function knownAbsence(
  gap: Gap,
  range: TimeRange,
  askedTime: number,
  firstOpenTime: number | undefined,
  isTail: boolean,
): Gap[] {
  const { timeframe } = gap.series;
  const listed = firstOpenTime === undefined ? range.from : openTimeAt(timeframe, firstOpenTime);
  const before = { from: range.from, to: Math.min(range.to, listed) };
  const after = { from: Math.max(range.from, listed), to: isTail ? range.to : range.from };
  const confirmed = (part: TimeRange, reason: GapReason): Gap[] =>
    isEmptyRange(part)
      ? []
      : [
          {
            ...gap,
            range: part,
            reason,
            state: "confirmed",
            emptyAnswers: Math.max(1, gap.emptyAnswers),
            firstAskedTime: gap.firstAskedTime ?? askedTime,
            nextTryTime: askedTime + RECHECK_MS,
          },
        ];
  return [...confirmed(before, "before-listing"), ...confirmed(after, "after-delisting")];
}

/** A ledger entry for candles that ought to be there and were not asked for yet: due at once. */
export function notFetchedGap(series: Series, range: TimeRange, now: number): Gap {
  return dueGap(series, range, "not-fetched", now);
}

/** A ledger entry for candles that were dropped under load: to be fetched as soon as there is room. */
export function shedGap(series: Series, range: TimeRange, now: number): Gap {
  return dueGap(series, range, "shed", now);
}

/** No time at which anything is asked for again: 9999-01-01. */
const NEVER = 253_370_764_800_000;

/** A ledger entry for candles that are not kept: not asked for until somebody wants them back. */
export function notKeptGap(series: Series, range: TimeRange, now: number): Gap {
  return { ...dueGap(series, range, "not-kept", now), state: "confirmed", nextTryTime: NEVER };
}

/**
 * A ledger entry for a candle that a file had saved before it was closed: to be fetched, once it is closed.
 * @param openTime as the file has it; the entry is for its cell
 */
export function unfinishedGap(series: Series, openTime: number, now: number): Gap {
  const gap = dueGap(series, cellOf(series.timeframe, openTime), "unfinished-in-source", now);
  return { ...gap, nextTryTime: Math.max(now, gap.range.to) };
}

/** A ledger entry for a candle that was served and refused; it is asked for again, for the exchange may mend it. */
export function rejectedGap(series: Series, openTime: number, now: number): Gap {
  const gap = dueGap(series, cellOf(series.timeframe, openTime), "rejected", now);
  return { ...gap, nextTryTime: now + CONFIRM_AFTER_MS };
}

/** A new ledger entry for a stretch that was never asked for, due at once. */
function dueGap(series: Series, range: TimeRange, reason: GapReason, now: number): Gap {
  return {
    ...{ series, range, reason },
    ...{ state: "open", foundTime: now, emptyAnswers: 0, nextTryTime: now },
  };
}

/**
 * What is left when the exchange served a candle of a gap and it was refused once more: asked again ever more rarely, an
 * hour at first and a week at most, for the exchange may mend it. That it has none is not believed of one that served
 * something: the two answers which that takes are counted from here anew.
 */
export function afterRefusal(gap: Gap, range: TimeRange, askedTime: number): Gap {
  const emptyAnswers = gap.emptyAnswers + 1;
  const pauseMs = Math.min(RECHECK_MS, CONFIRM_AFTER_MS * 2 ** Math.min(emptyAnswers - 1, 10));
  return {
    series: gap.series,
    range,
    reason: "rejected",
    state: "open",
    foundTime: gap.foundTime,
    emptyAnswers,
    nextTryTime: askedTime + pauseMs,
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
    // What was refused until now was not absent: those answers do not make the absence any older.
    const emptyAnswers = (gap.reason === "rejected" ? 0 : gap.emptyAnswers) + 1;
    const doublings = Math.min(MAX_RECHECK_DOUBLINGS, Math.max(0, emptyAnswers - 2));
    return {
      series: gap.series,
      range,
      reason:
        gap.reason === "before-listing" || gap.reason === "after-delisting"
          ? gap.reason
          : "exchange-had-none",
      state: isConfirmed ? "confirmed" : "open",
      foundTime: gap.foundTime,
      emptyAnswers,
      firstAskedTime,
      nextTryTime: isConfirmed
        ? askedTime + RECHECK_MS * 2 ** doublings
        : firstAskedTime + CONFIRM_AFTER_MS,
    };
  });
}
