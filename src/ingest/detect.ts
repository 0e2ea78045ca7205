import { type Gap, notFetchedGap } from "../core/gaps.ts";
import type { CoverageStore } from "../core/ports.ts";
import {
  intersectRanges,
  isEmptyRange,
  mergeRanges,
  subtractRanges,
  type TimeRange,
} from "../core/range.ts";
import type { Series } from "../core/series.ts";

/** What of a stretch is missing. */
export interface Detected {
  /** Missing, and not in the ledger. */
  readonly unknown: readonly Gap[];
  /** The ledger's entries of the series. */
  readonly ledger: readonly Gap[];
}

/**
 * Compares what is stored with what the calendar asks for, and takes off what the ledger explains.
 * @param range open times that ought to be there, half-open
 * @param now exchange time, epoch ms
 */
export async function detectGaps(
  store: CoverageStore,
  series: Series,
  range: TimeRange,
  now: number,
): Promise<Detected> {
  if (isEmptyRange(range)) return { unknown: [], ledger: [] };
  // In this order: what is filled in between is still known as a gap, and the ledger takes no entry twice.
  const ledger = await store.gaps(series);
  const holes = await store.holes(series, range);
  const known = ledger.map((gap) => gap.range);
  const unknown = holes
    .flatMap((hole) => subtractRanges(hole, known))
    .map((hole) => notFetchedGap(series, hole, now));
  return { unknown, ledger };
}

/** What is asked about candles that were removed on purpose. */
export type RemovedStore = Pick<CoverageStore, "gaps" | "holes">;

/**
 * Stretches whose candles were removed on purpose: whatever is read again there, nothing of it is stored. What was brought
 * back since, by a file, is there and no part of them.
 * @returns disjoint, ascending, edges on the grid
 */
export async function removedRanges(
  store: RemovedStore,
  series: Series,
  range: TimeRange,
): Promise<TimeRange[]> {
  const removed: TimeRange[] = [];
  for (const gap of await store.gaps(series)) {
    const shared = gap.reason === "not-kept" ? intersectRanges(gap.range, range) : undefined;
    if (shared !== undefined) removed.push(...(await store.holes(series, shared)));
  }
  return removed;
}

/**
 * Ranges to read again, without what was removed on purpose: nobody is asked for what nobody wants.
 * @returns disjoint, ascending
 */
export async function withoutRemoved(
  store: RemovedStore,
  series: Series,
  ranges: readonly TimeRange[],
): Promise<TimeRange[]> {
  const all = mergeRanges(ranges);
  const [first, last] = [all.at(0), all.at(-1)];
  if (first === undefined || last === undefined) return [];
  // Asked once, however many they are.
  const removed = await removedRanges(store, series, { from: first.from, to: last.to });
  return all.flatMap((range) => subtractRanges(range, removed));
}
