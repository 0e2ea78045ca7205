import type { GapFinding } from "./findings.ts";
import type { Gap, GapReason } from "./gaps.ts";
import { intersectRanges, subtractRanges, type TimeRange } from "./range.ts";
import type { Series } from "./series.ts";
import { countOpenTimes } from "./timeframe.ts";

/** A stretch without candles and what the ledger knows of it. */
export interface Absence {
  /** Half-open, edges on the grid. */
  readonly range: TimeRange;
  readonly reason: GapReason | "unexplained";
  /** True when the reason is believed: nothing is to be done. */
  readonly isConfirmed: boolean;
}

/**
 * What the ledger says of missing stretches.
 * @param missing disjoint, as `missingRanges` gives them
 * @param gaps of the same series, disjoint
 * @returns ascending; together exactly what is missing
 */
export function explainAbsences(missing: readonly TimeRange[], gaps: readonly Gap[]): Absence[] {
  const absences: Absence[] = missing.flatMap((stretch) => {
    const explained = gaps.flatMap((gap) => {
      const range = intersectRanges(stretch, gap.range);
      if (range === undefined) return [];
      return [{ range, reason: gap.reason, isConfirmed: gap.state === "confirmed" }];
    });
    const rest = subtractRanges(
      stretch,
      explained.map(({ range }) => range),
    );
    const unexplained = rest.map((range) => ({
      range,
      reason: "unexplained" as const,
      isConfirmed: false,
    }));
    return [...explained, ...unexplained];
  });
  return absences.sort((a, b) => a.range.from - b.range.from);
}

/** Findings on what is missing: confirmed absences are information, all others wrong. */
export function gapFindings(series: Series, absences: readonly Absence[]): GapFinding[] {
  return absences.map(({ range, reason, isConfirmed }) => ({
    check: "gaps",
    what: reason,
    series,
    openTime: range.from,
    range,
    severity: isConfirmed ? "info" : "wrong",
    evidence: EVIDENCE[reason],
    differences: [],
    missingCount: countOpenTimes(series.timeframe, range),
  }));
}

const EVIDENCE: Readonly<Record<Absence["reason"], string>> = {
  "not-fetched": "not asked for yet",
  "exchange-had-none": "the exchange was asked and had none",
  "before-listing": "the symbol was not listed yet",
  "after-delisting": "the symbol was no longer traded",
  rejected: "served, but refused: see the quarantine",
  shed: "dropped under load, to be fetched again",
  "unfinished-in-source": "not closed when its file was saved",
  "not-kept": "older than what is kept (db retain)",
  unexplained: "missing, and not in the gap ledger",
};
