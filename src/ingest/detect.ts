import { type Gap, notFetchedGap } from "../core/gaps.ts";
import type { CoverageStore } from "../core/ports.ts";
import { isEmptyRange, subtractRanges, type TimeRange } from "../core/range.ts";
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
