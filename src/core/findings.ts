import { type Candle, DECIMAL_FIELDS } from "./candle.ts";
import { AUTHORITY, type Source, type VersionedCandle } from "./finality.ts";
import type { GapReason } from "./gaps.ts";
import { mergeRanges, type TimeRange } from "./range.ts";
import { type Series, seriesKey } from "./series.ts";
import { TIMEFRAMES, type Timeframe } from "./timeframe.ts";

/** What `verify` has to say: one shape for the command line, the API and the repair. */

/** A candle as it is stored: with the road of its current version. */
export type StoredCandle = Pick<VersionedCandle, "candle" | "source">;

/**
 * `info` = real or explained, nothing to do; `suspect` = the exchange should be asked; `wrong` = proved: it breaks a rule
 * that no candle breaks, it is missing, or the exchange says otherwise.
 */
export type Severity = "info" | "suspect" | "wrong";

/** A field of a candle that holds a value. */
export type ValueField = Exclude<keyof Candle, "openTime">;

/** Two values that ought to be one. */
export interface ValueDifference {
  readonly field: ValueField;
  /** What is stored. */
  readonly actual: string;
  /** What the other side of the comparison says. */
  readonly expected: string;
}

interface FindingBase {
  /** The series whose candles are meant: the one to repair, when there is something to repair. */
  readonly series: Series;
  /** The candle that is meant; of several, the first. */
  readonly openTime: number;
  /** The cells that are meant, edges on the grid: what a repair would fetch. */
  readonly range: TimeRange;
  readonly severity: Severity;
  /** One plain sentence: why. Without times; they are in the other fields. */
  readonly evidence: string;
  readonly differences: readonly ValueDifference[];
}

/** A missing stretch. `unexplained` = the ledger knows nothing of it. */
export interface GapFinding extends FindingBase {
  readonly check: "gaps";
  readonly what: GapReason | "unexplained";
  readonly missingCount: number;
}

/** What is odd about the build of a stored candle. */
export type StructureDefect =
  /** Breaks a rule of `validateCandle`. */
  | "malformed"
  | "off-grid"
  | "cut-short"
  | "closes-late"
  | "closes-before-it-opens"
  | "shares-cell"
  | "repeated"
  /** Quote volume ÷ volume lies outside low … high. */
  | "mean-price-outside-range"
  | "takers-exceed-volume"
  /** A file did not have all columns: what it did not tell is stored as zero. One finding a stretch. */
  | "untold";

export interface StructureFinding extends FindingBase {
  readonly check: "structure";
  readonly what: StructureDefect;
}

/** One timeframe against another. */
export interface TimeframesFinding extends FindingBase {
  readonly check: "timeframes";
  /**
   * `contradiction` = one side can be named; `disagreement` = neither can, as where the exchange contradicts itself;
   * `rounding` = the values went through floats somewhere.
   */
  readonly what: "contradiction" | "disagreement" | "rounding";
  /** The timeframe it was compared with. */
  readonly against: Timeframe;
  /** Whether `series` is the coarser or the finer side, when one is suspect. */
  readonly suspectSide?: "coarser" | "finer";
}

/** Signs within one series that a candle was saved while it was forming. */
export interface FrozenFinding extends FindingBase {
  readonly check: "frozen";
  /** `implausible` = by its values; `last-of-import` = by its place: the newest candle of what a file brought. */
  readonly what: "implausible" | "last-of-import";
  /** Strength of the evidence: decimal digits of the odds against chance. */
  readonly points?: number;
}

/** The exchange's answer against what is stored. */
export interface ExchangeFinding extends FindingBase {
  readonly check: "exchange";
  readonly what: "differs" | "not-stored" | "not-served";
}

export type Finding =
  | GapFinding
  | StructureFinding
  | TimeframesFinding
  | FrozenFinding
  | ExchangeFinding;

/**
 * True when the row is the exchange's settled word. What contradicts it is suspect, it itself is not: asking again would
 * bring the same, and where two such rows disagree the exchange contradicts itself.
 */
export function isAttested(source: Source): boolean {
  return AUTHORITY[source] >= AUTHORITY["archive-monthly"];
}

/** A candle's value as text, whatever its type. */
export function valueText(candle: Candle, field: ValueField): string {
  return String(candle[field]);
}

/** The fields of value, in the order in which they are shown. */
export const VALUE_FIELDS = [
  ...DECIMAL_FIELDS.slice(0, 6),
  "tradeCount",
  ...DECIMAL_FIELDS.slice(6),
  "closeTime",
] as const satisfies readonly ValueField[];

const CHECK_ORDER = ["gaps", "structure", "timeframes", "frozen", "exchange"] as const;

/** Order of display: by series, timeframes by length; then by time; then by check. */
export function compareFindings(a: Finding, b: Finding): number {
  return (
    compareText(a.series.exchange, b.series.exchange) ||
    compareText(a.series.symbol, b.series.symbol) ||
    TIMEFRAMES.indexOf(a.series.timeframe) - TIMEFRAMES.indexOf(b.series.timeframe) ||
    a.openTime - b.openTime ||
    CHECK_ORDER.indexOf(a.check) - CHECK_ORDER.indexOf(b.check) ||
    compareText(a.what, b.what)
  );
}

/** Like findings of one series, counted: one line of a table. */
export interface FindingGroup {
  readonly series: Series;
  readonly check: Finding["check"];
  readonly what: Finding["what"];
  readonly severity: Severity;
  readonly count: number;
  /** From the first cell meant to the end of the last. */
  readonly range: TimeRange;
}

/** Findings that say the same of the same series, counted; in order of display. */
export function groupFindings(findings: readonly Finding[]): FindingGroup[] {
  const groups = new Map<string, FindingGroup>();
  for (const { series, check, what, severity, range } of findings.toSorted(compareFindings)) {
    const key = `${seriesKey(series)} ${check} ${what} ${severity}`;
    const known = groups.get(key);
    groups.set(key, {
      ...{ series, check, what, severity },
      count: (known?.count ?? 0) + 1,
      range: {
        from: Math.min(known?.range.from ?? range.from, range.from),
        to: Math.max(known?.range.to ?? range.to, range.to),
      },
    });
  }
  return [...groups.values()];
}

/** What a repair fetches: the cells of all findings above `info`, merged, by series; in order of display. */
export function rangesToRepair(
  findings: readonly Finding[],
): { readonly series: Series; readonly ranges: readonly TimeRange[] }[] {
  const bySeries = new Map<string, { series: Series; ranges: TimeRange[] }>();
  for (const { series, severity, range } of findings.toSorted(compareFindings)) {
    if (severity === "info") continue;
    const known = bySeries.get(seriesKey(series));
    if (known === undefined) bySeries.set(seriesKey(series), { series, ranges: [range] });
    else known.ranges.push(range);
  }
  return [...bySeries.values()].map(({ series, ranges }) => ({
    series,
    ranges: mergeRanges(ranges),
  }));
}

function compareText(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
