import { Command } from "commander";
import { type HistoryTools, seriesOf, withHistory } from "../app.ts";
import { systemClock } from "../clock.ts";
import { type Config, historyDays } from "../config.ts";
import { BlackTradeError } from "../core/errors.ts";
import type { Gap } from "../core/gaps.ts";
import type { Series } from "../core/series.ts";
import { EXCHANGE } from "../exchanges/binance/index.ts";
import { chooseWanted } from "../ingest/choose.ts";
import type { Wanted } from "../ingest/history.ts";
import {
  configOf,
  type ExitStatus,
  STORED_STAYS,
  untilStopped,
  withDatabaseFlags,
  withSeriesFlags,
} from "./command.ts";
import {
  gapDocument,
  gapLines,
  notKeptLines,
  planDocument,
  planLines,
  summaryDocument,
  summaryLines,
} from "./history-lines.ts";
import type { Output } from "./output.ts";
import { ProgressLine } from "./progress.ts";
import { checkRange, parseTime } from "./time-argument.ts";

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

function withRangeFlags(command: Command): Command {
  return withSeriesFlags(withDatabaseFlags(command))
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
  checkFlags(flags);
  const config = configOf({ ...flags });
  const isDrawn = process.stderr.isTTY === true && !flags.json;
  const line = new ProgressLine(output, isDrawn);
  await untilStopped(output, end, STORED_STAYS, async (signal) => {
    await withHistory(
      config,
      {
        signal,
        isLogPlain: !flags.json,
        symbols: kind === "backfill" || flags.symbols !== undefined ? config.symbols : [],
        onProgress: (progress) => line.show(progress),
      },
      async (tools) => {
        const wanted = await wantedOf(flags, config, kind, tools, signal);
        const gaps = await tools.history.findGaps(wanted, !flags.dryRun);
        const plan = tools.history.plan(gaps);
        if (!flags.json) {
          const notKept = await notKeptLines(tools.store, wanted);
          for (const text of [...planLines(plan, wanted), ...notKept]) output.note(text);
        }
        if (flags.dryRun) {
          const open = [...gaps, ...(await tools.history.waitingGaps(wanted))].filter(isOpen);
          if (flags.json) {
            const document = { plan: planDocument(plan), open: open.map(gapDocument) };
            output.result(JSON.stringify(document));
          } else for (const text of gapLines(output, open)) output.result(text);
          end(open.length === 0 ? 0 : 3);
          return;
        }
        const summary = await tools.history.fill(gaps, signal);
        line.end();
        const open = await tools.history.openGaps(wanted);
        if (flags.json) {
          const document = { plan: planDocument(plan), summary: summaryDocument(summary) };
          output.result(JSON.stringify({ ...document, open: open.map(gapDocument) }));
        } else for (const text of summaryLines(output, summary, open)) output.result(text);
        const isWhole = summary.outcomes.every(({ problem }) => problem === undefined);
        end(isWhole && open.length === 0 ? 0 : 3);
      },
    ).finally(() => line.end());
  });
}

function isOpen({ state }: Gap): boolean {
  return state === "open";
}

/** `backfill` takes what is configured; `fill-gaps` everything that is stored, unless it is told. */
function wantedOf(
  flags: HistoryFlags,
  config: Config,
  kind: "backfill" | "fill-gaps",
  { history, store, now }: HistoryTools,
  signal: AbortSignal,
): Promise<readonly Wanted[]> {
  const time = (flag: string, text: string | undefined): number | undefined =>
    text === undefined ? undefined : parseTime(flag, text, now());
  const startOf = async (series: Series): Promise<number | undefined> => {
    if (flags.sinceListing) return history.firstOpenTime(series, signal);
    return now() - daysOf(flags, config, series) * DAY_MS;
  };
  return chooseWanted(
    { store, configured: seriesOf(config), exchange: EXCHANGE, now: now() },
    {
      kind: kind === "backfill" ? "backfill" : "fill",
      symbols: flags.symbols === undefined ? undefined : config.symbols,
      timeframes: flags.timeframes === undefined ? undefined : config.timeframes,
      from: flags.sinceListing ? undefined : time("--from", flags.from),
      to: time("--to", flags.to),
      startOf: flags.sinceListing || kind === "backfill" ? startOf : undefined,
      isAsking: true,
    },
  );
}

/** Before a database is opened for it. @throws {BlackTradeError} E_USAGE */
function checkFlags(flags: HistoryFlags): void {
  checkRange(flags, systemClock.now());
  const { days } = flags;
  if (days === undefined || (/^\d{1,5}(\.\d{1,3})?$/.test(days) && Number(days) > 0)) return;
  throw new BlackTradeError("E_USAGE", `--days: "${days}" is not a number of days`, {
    remedy: "write it like 30, or give --from",
  });
}

function daysOf(flags: HistoryFlags, config: Config, { timeframe }: Series): number {
  return flags.days === undefined ? historyDays(config, timeframe) : Number(flags.days);
}
