import { Command } from "commander";
import { BlackTradeError } from "../core/errors.ts";
import { type Series, seriesLabel } from "../core/series.ts";
import {
  countOpenTimes,
  isTimeframe,
  nominalMs,
  TIMEFRAMES,
  type Timeframe,
} from "../core/timeframe.ts";
import { EXCHANGE } from "../exchanges/binance/index.ts";
import type { Excess, Keep, NotKept } from "../store/index.ts";
import { type ExitStatus, untilStopped, withDatabaseFlags } from "./command.ts";
import { type Answer, showAnswer, withTables } from "./database-command.ts";
import { instant, type Output, tableLines } from "./output.ts";
import { grouped, ProgressLine } from "./progress.ts";
import { parseAge } from "./time-argument.ts";

interface RetainOptions {
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

const DAY_MS = 86_400_000;
/** A candle that is confirmed, or compared with its neighbours, must still be there. */
const MIN_CANDLES = 2;

/** `db retain`: remove candles that are older than is wanted. */
export function retainCommand(output: Output, end: (status: ExitStatus) => void): Command {
  return withDatabaseFlags(new Command("retain"))
    .description(
      "remove candles of a timeframe that are older than wanted, and say so in the gap ledger",
    )
    .argument(
      "[rules...]",
      "TIMEFRAME=AGE: 1s=30d 1m=5y; TIMEFRAME=all wants back what was removed",
    )
    .option("--dry-run", "show what would be removed; remove nothing")
    .option("--json", "one JSON document")
    .addHelpText(
      "before",
      `Examples:
  npx black-trade db retain                        show what is not kept
  npx black-trade db retain 1s=30d 1m=5y --dry-run
  npx black-trade db retain 1s=30d 1m=5y           remove it; may run beside an ingester, daily by cron
  npx black-trade db retain 1m=all                 have it fetched again, by the ingester or fill-gaps

An age is a number with h, d, w or y (365 days), counted from the start of the UTC day. Replaced versions of the candles go,
too. The stretch stands in the gap ledger as not-kept: no gap filling, backfill or import history takes it for missing, and
nothing fetches it again. Timeframes that are not named keep everything. Needs the right to delete: the owner of the tables.
`,
    )
    .action(async (rules: readonly string[], options: RetainOptions) => {
      const { keeps, wantedAgain } = rulesOf(rules);
      const line = new ProgressLine(output, process.stderr.isTTY === true && !options.json);
      const stays = "what is removed is in the ledger, the next run goes on from here";
      await untilStopped(output, end, stays, (signal) =>
        withTables({ ...options }, async ({ retention }) => {
          if (rules.length === 0) {
            showAnswer(output, options.json, listed(output, await retention.list()));
            end(0);
            return;
          }
          const again = options.dryRun
            ? (await retention.list()).filter(({ series }) =>
                wantedAgain.includes(series.timeframe),
              )
            : await retention.wantAgain(wantedAgain);
          const excess = await retention.excess(keeps);
          const planned = keeps.length === 0 ? [] : excessLines(output, excess);
          if (options.dryRun) {
            showAnswer(output, options.json, {
              json: { dryRun: true, excess, wantedAgain: again },
              lines: [...planned, ...againLines(again, "would be")],
            });
            end(0);
            return;
          }
          if (!options.json) for (const text of planned) output.note(text);
          const totalCandles = excess.reduce((sum, { candleCount }) => sum + candleCount, 0);
          const show = line.phase("removing");
          const removed = await retention.remove(excess, signal, (doneCandles) =>
            show({ doneCandles, totalCandles }),
          );
          line.end();
          showAnswer(output, options.json, {
            json: { ...removed, excess, wantedAgain: again },
            lines: [
              ...(keeps.length === 0
                ? []
                : [
                    `removed ${grouped(removed.candleCount)} candles and ${grouped(removed.revisionCount)} replaced versions${removed.chunkCount === 0 ? "" : `; chunks dropped whole: ${removed.chunkCount}`}`,
                  ]),
              ...(removed.candleCount === 0
                ? []
                : [
                    "Their room is used again after the next autovacuum; to give it back to the disk: VACUUM FULL candles, which locks the table.",
                  ]),
              ...againLines(again, "are"),
            ],
          });
          end(0);
        }).finally(() => line.end()),
      );
    });
}

function rulesOf(rules: readonly string[]): { keeps: Keep[]; wantedAgain: Timeframe[] } {
  const keeps: Keep[] = [];
  const wantedAgain: Timeframe[] = [];
  const seen = new Set<string>();
  for (const rule of rules) {
    const [, timeframe = "", age = ""] = /^([^=]+)=(.+)$/.exec(rule) ?? [];
    if (!isTimeframe(timeframe)) {
      throw new BlackTradeError("E_USAGE", `"${rule}" is not TIMEFRAME=AGE`, {
        remedy: `write it like 1m=5y; timeframes are ${TIMEFRAMES.join(", ")}`,
      });
    }
    if (seen.has(timeframe)) {
      throw new BlackTradeError("E_USAGE", `${timeframe} is named twice`, {
        remedy: "give one age for each timeframe",
      });
    }
    seen.add(timeframe);
    if (age === "all") wantedAgain.push(timeframe);
    else keeps.push({ timeframe, ageMs: ageOf(timeframe, age) });
  }
  return { keeps, wantedAgain };
}

function ageOf(timeframe: Timeframe, text: string): number {
  const ageMs = parseAge(timeframe, text);
  const leastMs = Math.max(DAY_MS, MIN_CANDLES * nominalMs(timeframe));
  if (ageMs >= leastMs) return ageMs;
  throw new BlackTradeError("E_USAGE", `${timeframe}=${text} keeps too little`, {
    remedy: `give ${Math.ceil(leastMs / DAY_MS)}d or more: younger candles are still worked on`,
  });
}

function excessLines(output: Output, excess: readonly Excess[]): string[] {
  if (excess.length === 0) return ["nothing is older than what is kept"];
  return tableLines(
    output,
    ["SERIES", "KEPT FROM", "CANDLES BEFORE", "REPLACED VERSIONS"],
    excess.map(({ series, before, candleCount, revisionCount }) => [
      { text: seriesLabel(series) },
      { text: instant(before) },
      { text: grouped(candleCount), isRight: true },
      { text: grouped(revisionCount), isRight: true },
    ]),
  );
}

/** Ingestion asks for what is due of the series it collects, `fill-gaps` of all that are stored; other exchanges nobody asks. */
function againLines(again: readonly NotKept[], verb: "are" | "would be"): string[] {
  const ours = again.filter(({ series }) => series.exchange === EXCHANGE);
  const others = again.filter(({ series }) => series.exchange !== EXCHANGE);
  return [
    ...(ours.length === 0
      ? []
      : [
          `${grouped(candlesOf(ours))} candles ${verb} due to be fetched again: by "ingest" for the series that it collects, by "fill-gaps" for all`,
        ]),
    ...(others.length === 0
      ? []
      : [
          `${grouped(candlesOf(others))} candles of other exchanges than ${EXCHANGE} ${verb} wanted again; nothing fetches them: import their files once more with "import-csv --again"`,
        ]),
  ];
}

function listed(output: Output, notKept: readonly NotKept[]): Answer {
  return {
    json: { notKept },
    lines:
      notKept.length === 0
        ? ["everything that was stored is kept"]
        : tableLines(
            output,
            ["SERIES", "NOT KEPT FROM", "TO", "CANDLES", "REMOVED"],
            notKept.map(({ series, range, removedTime }) => [
              { text: seriesLabel(series) },
              { text: instant(range.from) },
              { text: instant(range.to) },
              { text: grouped(countOf(series, range)), isRight: true },
              { text: instant(removedTime) },
            ]),
          ),
  };
}

function candlesOf(notKept: readonly NotKept[]): number {
  return notKept.reduce((sum, { series, range }) => sum + countOf(series, range), 0);
}

function countOf({ timeframe }: Series, range: NotKept["range"]): number {
  return countOpenTimes(timeframe, range);
}
