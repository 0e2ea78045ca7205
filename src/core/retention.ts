import { type Gap, notKeptGap } from "./gaps.ts";
import { intersectRanges, mergeRanges, subtractRanges, type TimeRange } from "./range.ts";
import type { Series } from "./series.ts";
import { openTimeAt, type Timeframe } from "./timeframe.ts";

const DAY_MS = 86_400_000;

/**
 * Open time of the first candle that is kept. At the start of a UTC day, so that repeats on one day remove no more;
 * never later than `now - ageMs`.
 * @param now epoch ms
 */
export function keptFrom(timeframe: Timeframe, now: number, ageMs: number): number {
  const day = Math.floor((now - ageMs) / DAY_MS) * DAY_MS;
  return openTimeAt(timeframe, day);
}

/** Entries of the ledger to be taken out, and those that come in their place. */
export interface LedgerChange {
  readonly gone: readonly Gap[];
  readonly come: readonly Gap[];
}

/**
 * What the ledger says once the candles of a stretch are not kept any more. What was believed of candles that never were
 * (the exchange had none) stays; what was still to be fetched is so no longer; stretches that touch become one.
 * @param entries of the series, disjoint
 * @param range half-open, edges on the grid
 * @param now epoch ms
 */
export function withoutKept(
  series: Series,
  entries: readonly Gap[],
  range: TimeRange,
  now: number,
): LedgerChange {
  const open = entries.filter(
    (gap) => gap.state === "open" && intersectRanges(gap.range, range) !== undefined,
  );
  const earlier = entries.filter(
    ({ reason, range: { from, to } }) =>
      reason === "not-kept" && from <= range.to && to >= range.from,
  );
  const believed = entries.filter((gap) => gap.state === "confirmed" && gap.reason !== "not-kept");
  const all = mergeRanges([range, ...earlier.map((gap) => gap.range)]);
  const notKept = all.flatMap((one) =>
    subtractRanges(
      one,
      believed.map((gap) => gap.range),
    ),
  );
  const rest = open.flatMap((gap) =>
    subtractRanges(gap.range, [range]).map((part) => ({ ...gap, range: part })),
  );
  return {
    gone: [...open, ...earlier],
    come: [...notKept.map((part) => notKeptGap(series, part, now)), ...rest],
  };
}
