import { Command } from "commander";
import { type HistoryTools, seriesOf, withHistory } from "../app.ts";
import { type Config, historyDays, SETTINGS } from "../config.ts";
import type { Gap } from "../core/gaps.ts";
import { type Series, seriesLabel } from "../core/series.ts";
import { countOpenTimes, openTimeAt } from "../core/timeframe.ts";
import {
  dueEnd,
  type GapOutcome,
  type HistoryPlan,
  type HistorySummary,
  type Wanted,
} from "../ingest/history.ts";
import { configOf, type ExitStatus, stopSignal, withDatabaseFlags } from "./command.ts";
import { knownOutageOf } from "./known-outage.ts";
import { type Cell, duration, instant, type Output, tableLines } from "./output.ts";
import { grouped, ProgressLine } from "./progress.ts";
import { parseTime } from "./time-argument.ts";

interface HistoryFlags {
  readonly symbols?: string;
  readonly timeframes?: string;
  readonly from?: string;
  readonly to?: string;
  readonly days?: string;
  readonly sinceListing?: boolean;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

const DAY_MS = 86_400_000;
const SHOWN_GAPS = 40;

function withRangeFlags(command: Command): Command {
  return withDatabaseFlags(command)
    .option(
      "--symbols <list>",
      `${SETTINGS.TRADING_PAIRS.help} (default: ${SETTINGS.TRADING_PAIRS.fallback})`,
    )
    .option(
      "--timeframes <list>",
      `${SETTINGS.TIMEFRAMES.help} (default: ${SETTINGS.TIMEFRAMES.fallback})`,
    )
    .option("--from <time>", "first open time, e.g. 2025-01-01 or -30d")
    .option("--to <time>", "end of the range, itself not in it; default: now")
    .option("--since-listing", "from the first candle that the exchange has")
    .option("--dry-run", "show what there is to do, and do nothing")
    .option("--json", "one JSON document");
}

/** `backfill`: load history on purpose. */
export function backfillCommand(output: Output, end: (status: ExitStatus) => void): Command {
  return withRangeFlags(new Command("backfill"))
    .description(
      "load history: whole months and days from archives, the rest by REST; what is stored is not fetched again",
    )
    .option(
      "--days <number>",
      "days back from now; default by timeframe: 1m 7, 15m 30, 1h 90, 1d 365, …",
    )
    .addHelpText(
      "before",
      `Examples:
  npx black-trade backfill
  npx black-trade backfill --symbols BTCUSDT --timeframes 1m --from 2024-01-01 --to 2025-01-01
  npx black-trade backfill --symbols BTCUSDT,ETHUSDT --timeframes 1h,1d --since-listing
  npx black-trade backfill --days 30 --dry-run

It can be stopped and started again at any time, and may run beside ingestion: live candles come first.
Exit status: 0 whole, 3 gaps are left (see the reasons), 4 no database or exchange.
`,
    )
    .action((flags: HistoryFlags) => run(output, end, flags, "backfill"));
}

/** `fill-gaps`: find what is missing and fill it. */
export function fillGapsCommand(output: Output, end: (status: ExitStatus) => void): Command {
  return withRangeFlags(new Command("fill-gaps"))
    .description("one pass over everything that is stored: find gaps by the calendar and fill them")
    .addHelpText(
      "before",
      `Examples:
  npx black-trade fill-gaps --dry-run
  npx black-trade fill-gaps
  npx black-trade fill-gaps --symbols BTCUSDT --timeframes 1h --from 2021-01-01

A gap that the exchange had nothing for is asked for again an hour later, and then believed.
Ingestion does the same all the time by itself. Exit status: 0 no open gap is left, 3 some are.
`,
    )
    .action((flags: HistoryFlags) => run(output, end, flags, "fill-gaps"));
}

async function run(
  output: Output,
  end: (status: ExitStatus) => void,
  flags: HistoryFlags,
  kind: "backfill" | "fill-gaps",
): Promise<void> {
  const config = configOf({ ...flags });
  const stop = stopSignal();
  const isDrawn = process.stderr.isTTY === true && !flags.json;
  const line = new ProgressLine(output, isDrawn);
  try {
    await withHistory(
      config,
      {
        signal: stop.signal,
        isLogPlain: !flags.json,
        symbols: kind === "backfill" || flags.symbols !== undefined ? config.symbols : [],
        onProgress: (progress) => line.show(progress),
      },
      async (tools) => {
        const series = await chosenSeries(config, flags, kind, tools);
        const wanted = await Promise.all(
          series.map((one) => wantedOf(one, flags, config, kind, tools, stop.signal)),
        );
        const gaps = await tools.history.findGaps(wanted, !flags.dryRun);
        const plan = tools.history.plan(gaps);
        if (!flags.json) for (const text of planLines(plan, wanted)) output.note(text);
        if (flags.dryRun) {
          if (flags.json) output.result(JSON.stringify({ plan: planDocument(plan) }));
          else for (const text of gapLines(output, gaps)) output.result(text);
          end(gaps.length === 0 ? 0 : 3);
          return;
        }
        const summary = await tools.history.fill(gaps, stop.signal);
        line.end();
        if (flags.json) {
          output.result(
            JSON.stringify({ plan: planDocument(plan), summary: summaryDocument(summary) }),
          );
        } else for (const text of summaryLines(output, summary)) output.result(text);
        const isWhole = summary.outcomes.every(
          ({ left, problem }) =>
            problem === undefined && left.every(({ state }) => state === "confirmed"),
        );
        end(isWhole ? 0 : 3);
      },
    );
  } catch (error) {
    if (!stop.signal.aborted) throw error;
    line.end();
    output.note("stopped; what is stored stays, the next run goes on from here");
    end(stop.exitStatus());
  } finally {
    line.end();
    stop.dispose();
  }
}

/** `backfill` takes what is configured; `fill-gaps` everything that is stored, unless it is told. */
async function chosenSeries(
  config: Config,
  flags: HistoryFlags,
  kind: "backfill" | "fill-gaps",
  { store }: HistoryTools,
): Promise<readonly Series[]> {
  if (kind === "backfill") return seriesOf(config);
  const stored = await store.series();
  return stored.filter(
    ({ symbol, timeframe }) =>
      (flags.symbols === undefined || config.symbols.includes(symbol)) &&
      (flags.timeframes === undefined || config.timeframes.includes(timeframe)),
  );
}

async function wantedOf(
  series: Series,
  flags: HistoryFlags,
  config: Config,
  kind: "backfill" | "fill-gaps",
  { history, store, now }: HistoryTools,
  signal: AbortSignal,
): Promise<Wanted> {
  const to = flags.to === undefined ? now() : parseTime("--to", flags.to, now());
  const range = (from: number): Wanted => ({
    series,
    range: { from: openTimeAt(series.timeframe, from), to: Math.min(to, dueEnd(series, now())) },
  });
  if (flags.sinceListing) return range((await history.firstOpenTime(series, signal)) ?? to);
  if (flags.from !== undefined) return range(parseTime("--from", flags.from, now()));
  if (kind === "backfill") {
    const days =
      flags.days === undefined ? historyDays(config, series.timeframe) : Number(flags.days);
    if (!(days > 0)) parseTime("--days", flags.days ?? "", Number.NaN);
    return range(now() - days * DAY_MS);
  }
  const { series: facts } = await store.facts();
  const known = facts.find(
    (one) => one.series.symbol === series.symbol && one.series.timeframe === series.timeframe,
  );
  const [first] = await store.range(series, { from: 0, to: Number.MAX_SAFE_INTEGER }, 1);
  const [gap] = await store.gaps(series);
  const starts = [known?.wantedFrom, first?.candle.openTime, gap?.range.from].filter(
    (time) => time !== undefined,
  );
  return range(starts.length === 0 ? to : Math.min(...starts));
}

function planLines(plan: HistoryPlan, wanted: readonly Wanted[]): string[] {
  const from = Math.min(...wanted.map(({ range }) => range.from));
  const to = Math.max(...wanted.map(({ range }) => range.to));
  const span = wanted.length === 0 ? "" : `, ${instant(from)} … ${instant(to)} UTC`;
  if (plan.candleCount === 0) return [`${wanted.length} series${span}: nothing is missing`];
  return [
    `${wanted.length} series${span}`,
    `missing ${grouped(plan.candleCount)} candles in ${plan.entries.length} stretches: ` +
      `${plan.monthlyFileCount} monthly and ${plan.dailyFileCount} daily files, ` +
      `${grouped(plan.requestCount)} requests (weight ${grouped(plan.weight)}), about ${duration(estimateMs(plan))}`,
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

function gapLines(output: Output, gaps: readonly Gap[]): string[] {
  const shown = gaps.slice(0, SHOWN_GAPS);
  const known = shown.map(({ series, range }) => knownOutageOf(series, range));
  const isAnyKnown = known.some((text) => text !== undefined);
  const rows = shown.map((gap, index) =>
    isAnyKnown ? [...gapCells(gap), { text: known[index] ?? "" }] : gapCells(gap),
  );
  const headings = isAnyKnown ? [...GAP_HEADINGS, "KNOWN"] : GAP_HEADINGS;
  const more = gaps.length > SHOWN_GAPS ? [`… and ${gaps.length - SHOWN_GAPS} more`] : [];
  return gaps.length === 0 ? [] : [...tableLines(output, headings, rows), ...more];
}

const GAP_HEADINGS = ["SERIES", "FROM", "TO", "CANDLES", "STATE", "REASON"];

function gapCells({ series, range, reason, state }: Gap): Cell[] {
  return [
    { text: seriesLabel(series) },
    { text: instant(range.from) },
    { text: instant(range.to) },
    { text: grouped(countOpenTimes(series.timeframe, range)), isRight: true },
    { text: state, tone: state === "open" ? "busy" : "dim" },
    { text: reason },
  ];
}

function summaryLines(output: Output, summary: HistorySummary): string[] {
  const { outcomes, storedCount, files, elapsedMs, rejectedRows } = summary;
  const left = outcomes.flatMap((one) => one.left);
  const problems = [...new Set(outcomes.flatMap(({ problem }) => problem ?? []))];
  const rate = elapsedMs > 0 ? Math.round((storedCount / elapsedMs) * 1_000) : 0;
  const fileText =
    `files: ${files.ok} verified, ${files.mismatch} with a wrong checksum (stored, see the log), ` +
    `${files["no-checksum"]} without one, ${files["not-published"]} not published; ${rejectedRows} rows refused`;
  return [
    `${grouped(storedCount)} candles stored in ${duration(elapsedMs)} (${grouped(rate)}/s)`,
    ...(Object.values(files).some((count) => count > 0) ? [fileText] : []),
    ...(left.length === 0
      ? ["no gap is left"]
      : ["left in the ledger:", ...gapLines(output, left)]),
    ...problems.map((problem) => `problem: ${problem}`),
  ];
}

function planDocument({ entries, ...counts }: HistoryPlan): object {
  return { ...counts, gaps: entries.map(gapDocument) };
}

function gapDocument({ series, range, reason, state, nextTryTime, emptyAnswers }: Gap): object {
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

function summaryDocument({ outcomes, ...rest }: HistorySummary): object {
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
