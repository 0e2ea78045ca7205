import type { Gap } from "../core/gaps.ts";
import type { CoverageStore } from "../core/ports.ts";
import { intersectRanges } from "../core/range.ts";
import { seriesLabel } from "../core/series.ts";
import { countOpenTimes } from "../core/timeframe.ts";
import type { GapOutcome, HistoryPlan, HistorySummary, Wanted } from "../ingest/history.ts";
import { knownOutageOf } from "./known-outage.ts";
import { type Cell, duration, instant, type Output, type Tone, tableLines } from "./output.ts";
import { grouped } from "./progress.ts";

const SHOWN_GAPS = 40;

/** The plan, before anything is done. */
export function planLines(plan: HistoryPlan, wanted: readonly Wanted[]): string[] {
  const from = Math.min(...wanted.map(({ range }) => range.from));
  const to = Math.max(...wanted.map(({ range }) => range.to));
  const span = wanted.length === 0 ? "" : `, ${instant(from)} … ${instant(to)} UTC`;
  if (plan.candleCount === 0) return [`${wanted.length} series${span}: nothing is missing`];
  return [
    `${wanted.length} series${span}`,
    `missing ${grouped(plan.candleCount)} candles in ${plan.entries.length} stretch${plan.entries.length === 1 ? "" : "es"}: ` +
      `${plan.monthlyFileCount} monthly and ${plan.dailyFileCount} daily files, ` +
      `${grouped(plan.requestCount)} requests (weight ${grouped(plan.weight)}), about ${duration(estimateMs(plan))}`,
  ];
}

/** What of the stretches was removed on purpose, and so is not missing. */
export async function notKeptLines(
  { gaps }: Pick<CoverageStore, "gaps">,
  wanted: readonly Wanted[],
): Promise<string[]> {
  let count = 0;
  const timeframes = new Set<string>();
  for (const { series, range } of wanted) {
    for (const gap of await gaps(series)) {
      const shared = intersectRanges(gap.range, range);
      if (gap.reason !== "not-kept" || shared === undefined) continue;
      count += countOpenTimes(series.timeframe, shared);
      timeframes.add(`${series.timeframe}=all`);
    }
  }
  if (count === 0) return [];
  return [
    `${grouped(count)} candles in it are not kept, and not asked for; to have them again: npx black-trade db retain ${[...timeframes].join(" ")}`,
  ];
}

/** Requests go up to 60 % of 6,000 weight a minute, a file takes about a second, rows about 20 µs each. */
function estimateMs({
  weight,
  monthlyFileCount,
  dailyFileCount,
  candleCount,
}: HistoryPlan): number {
  const waitMs = Math.max(0, weight / 3_600 - 1) * 60_000;
  return waitMs + (monthlyFileCount + dailyFileCount) * 300 + candleCount * 0.02 + 1_000;
}

/** Gaps as a table, the first of them. */
export function gapLines(output: Output, gaps: readonly Gap[]): string[] {
  return limitedTable(
    output,
    ["SERIES", "FROM", "TO", "CANDLES", "STATE", "NEXT TRY", "REASON"],
    gaps.map((gap) => [
      ...stretchCells(gap),
      { text: gap.state, tone: gap.state === "open" ? "busy" : "dim" },
      { text: instant(gap.nextTryTime) },
      { text: reasonText(gap) },
    ]),
  );
}

/** What was done: the sum, what happened to each gap and why, and the open gaps that remain. */
export function summaryLines(
  output: Output,
  summary: HistorySummary,
  open: readonly Gap[],
): string[] {
  const { outcomes, storedCount, files, elapsedMs, rejectedRows } = summary;
  const rate = elapsedMs > 0 ? Math.round((storedCount / elapsedMs) * 1_000) : 0;
  const fileText =
    `files: ${files.ok} verified, ${files.mismatch} with a wrong checksum, ` +
    `${files["no-checksum"]} without one (both stored as unproven: REST is asked again), ${files["not-published"]} not published; ${rejectedRows} rows refused`;
  return [
    ...outcomeLines(output, outcomes),
    `${grouped(storedCount)} candles stored in ${duration(elapsedMs)} (${grouped(rate)}/s)`,
    ...(Object.values(files).some((count) => count > 0) ? [fileText] : []),
    ...(open.length === 0
      ? ["no open gap is left"]
      : [
          `${grouped(open.length)} open gaps are left; ingestion asks for them by itself, or run this again:`,
          ...gapLines(output, open),
        ]),
  ];
}

function outcomeLines(output: Output, outcomes: readonly GapOutcome[]): string[] {
  return limitedTable(
    output,
    ["SERIES", "FROM", "TO", "CANDLES", "FILLED", "WHAT HAPPENED"],
    outcomes.map((one) => [
      ...stretchCells(one.gap),
      { text: grouped(one.filledCount), isRight: true },
      { text: outcomeText(one), tone: toneOf(one) },
    ]),
  );
}

/** Why candles of a gap are not there now, in the words of the ledger. */
function outcomeText({ gap, left, problem }: GapOutcome): string {
  if (problem !== undefined) return `not asked to the end: ${problem}`;
  if (left.length === 0) return `filled (${gap.reason})`;
  const parts = [...Map.groupBy(left, reasonText)].map(([reason, gaps]) => {
    const candles = gaps.reduce(
      (sum, { series, range }) => sum + countOpenTimes(series.timeframe, range),
      0,
    );
    return `${grouped(candles)} ${reason}`;
  });
  return parts.join(", ");
}

function toneOf({ left, problem }: GapOutcome): Tone {
  if (problem !== undefined) return "bad";
  return left.some(({ state }) => state === "open") ? "busy" : "good";
}

/** The reason, what was learned so far, and whether an outage is known at that time. */
function reasonText({ series, range, reason, state, emptyAnswers }: Gap): string {
  const known = knownOutageOf(series, range);
  const asked =
    reason === "exchange-had-none" && state === "open" ? ` (asked ${emptyAnswers}×)` : "";
  const believed = state === "confirmed" ? " (confirmed)" : "";
  return `${reason}${asked}${believed}${known === undefined ? "" : `; ${known}`}`;
}

function stretchCells({ series, range }: Gap): Cell[] {
  return [
    { text: seriesLabel(series) },
    { text: instant(range.from) },
    { text: instant(range.to) },
    { text: grouped(countOpenTimes(series.timeframe, range)), isRight: true },
  ];
}

function limitedTable(
  output: Output,
  headings: readonly string[],
  rows: readonly (readonly Cell[])[],
): string[] {
  if (rows.length === 0) return [];
  const more = rows.length - SHOWN_GAPS;
  return [
    ...tableLines(output, headings, rows.slice(0, SHOWN_GAPS)),
    ...(more > 0 ? [`… and ${grouped(more)} more: --json`] : []),
  ];
}

/** The plan for `--json`. */
export function planDocument({ entries, ...counts }: HistoryPlan): object {
  return { ...counts, gaps: entries.map(gapDocument) };
}

/** One gap for `--json`. */
export function gapDocument({
  series,
  range,
  reason,
  state,
  nextTryTime,
  emptyAnswers,
}: Gap): object {
  return {
    ...series,
    ...range,
    candles: countOpenTimes(series.timeframe, range),
    reason,
    state,
    emptyAnswers,
    nextTryTime,
    knownOutage: knownOutageOf(series, range) ?? null,
  };
}

/** The summary for `--json`. */
export function summaryDocument({ outcomes, ...rest }: HistorySummary): object {
  return {
    ...rest,
    outcomes: outcomes.map((one: GapOutcome) => ({
      ...gapDocument(one.gap),
      filledCount: one.filledCount,
      left: one.left.map(gapDocument),
      problem: one.problem ?? null,
    })),
  };
}
