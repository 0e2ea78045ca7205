/** A half-open span of time `[from, to)`, epoch ms UTC. Empty when `to` ≤ `from`. */
export interface TimeRange {
  readonly from: number;
  readonly to: number;
}

/** True when no instant lies in the range. */
export function isEmptyRange(range: TimeRange): boolean {
  return range.to <= range.from;
}

/** True when the instant lies in one of the ranges. */
export function isWithin(ranges: readonly TimeRange[], time: number): boolean {
  return ranges.some(({ from, to }) => time >= from && time < to);
}

/** The part that two ranges share, or `undefined` when they share none. */
export function intersectRanges(a: TimeRange, b: TimeRange): TimeRange | undefined {
  const shared = { from: Math.max(a.from, b.from), to: Math.min(a.to, b.to) };
  return isEmptyRange(shared) ? undefined : shared;
}

/**
 * The union of ranges as the fewest ranges that cover the same instants.
 * @returns disjoint, not touching, ascending; empty ranges vanish
 */
export function mergeRanges(ranges: readonly TimeRange[]): TimeRange[] {
  const merged: TimeRange[] = [];
  const sorted = ranges.filter((range) => !isEmptyRange(range)).sort((a, b) => a.from - b.from);
  for (const range of sorted) {
    const last = merged.at(-1);
    if (last !== undefined && range.from <= last.to) {
      merged[merged.length - 1] = { from: last.from, to: Math.max(last.to, range.to) };
    } else {
      merged.push(range);
    }
  }
  return merged;
}

/**
 * What is left of `range` when `holes` are taken out of it.
 * @returns disjoint, ascending
 */
export function subtractRanges(range: TimeRange, holes: readonly TimeRange[]): TimeRange[] {
  const left: TimeRange[] = [];
  let from = range.from;
  for (const hole of mergeRanges(holes)) {
    if (hole.to <= from) continue;
    if (hole.from >= range.to) break;
    if (hole.from > from) left.push({ from, to: hole.from });
    from = hole.to;
  }
  if (from < range.to) left.push({ from, to: range.to });
  return left;
}
