import { Command } from "commander";
import { type DerivedTimeframe, parseDerived, sourcesOf } from "../core/derived.ts";
import { BlackTradeError } from "../core/errors.ts";
import { isTimeframe, type Timeframe } from "../core/timeframe.ts";
import type { Rollup } from "../store/index.ts";
import { type ExitStatus, withDatabaseFlags } from "./command.ts";
import { showAnswer, withTables } from "./database-command.ts";
import { byteSize, type Output, tableLines } from "./output.ts";

interface RollupOptions {
  readonly from?: string;
  readonly list?: boolean;
  readonly drop?: string;
  readonly json?: boolean;
}

/** `db rollup`: timeframes that the exchange does not have, as views. */
export function rollupCommand(output: Output, end: (status: ExitStatus) => void): Command {
  return withDatabaseFlags(new Command("rollup"))
    .description("a timeframe that the exchange does not have, made of stored candles, as a view")
    .argument(
      "[timeframe]",
      "e.g. 45m, 10m, 3h, 2d, 2w (weeks begin on Monday, all else at 1970-01-01 UTC)",
    )
    .option(
      "--from <timeframe>",
      "of which candles (default: 1m; 1s for what is no number of minutes)",
    )
    .option("--list", "show the views that there are")
    .option("--drop <timeframe>", "drop a view; no candle goes with it")
    .option("--json", "one JSON document")
    .addHelpText(
      "before",
      `Examples:
  npx black-trade db rollup 45m              make the view derived_candles_45m of candles of 1m
  npx black-trade db rollup 2w --from 1d
  npx black-trade db rollup --list
  npx black-trade db rollup --drop 45m

Each row says what it was made of (source_timeframe, source_count of expected_count) and whether all of it was there
(is_whole); the newest one is there while it forms, not whole. The rows are never in ohlcv_candles, in files or in the API.
Plain PostgreSQL makes them when they are read. With TimescaleDB (community licence) they are stored below the view and kept up
to date by a policy; corrections of old candles come in with its next run, at most an hour later, or by giving the command again.
`,
    )
    .action(async (timeframe: string | undefined, options: RollupOptions) => {
      const task = taskOf(timeframe, options);
      await withTables({ ...options }, async ({ rollups, openStore }) => {
        if (task.kind === "list") {
          const all = await rollups.list();
          showAnswer(output, options.json, { json: { rollups: all }, lines: linesOf(output, all) });
        } else if (task.kind === "drop") {
          const isDropped = await rollups.drop(task.name);
          const text = isDropped ? `dropped ${task.name}` : `there is no view of ${task.name}`;
          showAnswer(output, options.json, { json: { isDropped }, lines: [text] });
        } else {
          const made = await rollups.make(task.derived, task.source);
          const store = await openStore("read");
          const isEmpty = !(await store.series()).some((one) => one.timeframe === task.source);
          showAnswer(output, options.json, {
            json: { ...made, isEmpty },
            lines: [
              ...linesOf(output, [made]),
              ...(isEmpty
                ? [`no candle of ${task.source} is stored yet: the view is empty until then`]
                : []),
            ],
          });
        }
        end(0);
      });
    });
}

type Task =
  | { readonly kind: "list" }
  | { readonly kind: "drop"; readonly name: string }
  | { readonly kind: "make"; readonly derived: DerivedTimeframe; readonly source: Timeframe };

function taskOf(timeframe: string | undefined, { from, list, drop }: RollupOptions): Task {
  const asked = [timeframe, list, drop].filter((one) => one !== undefined);
  if (asked.length !== 1 || (from !== undefined && timeframe === undefined)) {
    throw new BlackTradeError("E_USAGE", "give a timeframe, or --list, or --drop", {
      remedy: "write it like: npx black-trade db rollup 45m",
    });
  }
  if (list) return { kind: "list" };
  if (drop !== undefined) return { kind: "drop", name: derivedOf(drop).name };
  const derived = derivedOf(timeframe ?? "");
  return { kind: "make", derived, source: sourceOf(derived, from) };
}

function derivedOf(text: string): DerivedTimeframe {
  const derived = parseDerived(text);
  if (typeof derived !== "string") return derived;
  throw new BlackTradeError("E_USAGE", `"${text}" ${derived}`, {
    remedy: "a derived timeframe is one that the exchange does not have, like 45m",
  });
}

function sourceOf(derived: DerivedTimeframe, from: string | undefined): Timeframe {
  const sources = sourcesOf(derived);
  const source = from ?? (sources.includes("1m") ? "1m" : "1s");
  if (isTimeframe(source) && sources.includes(source)) return source;
  throw new BlackTradeError("E_USAGE", `${derived.name} cannot be made of candles of ${source}`, {
    remedy: `it can of ${sources.join(", ")}`,
  });
}

function linesOf(output: Output, rollups: readonly Rollup[]): string[] {
  if (rollups.length === 0) return ["there are no derived timeframes"];
  return tableLines(
    output,
    ["TIMEFRAME", "MADE OF", "VIEW", "HOW"],
    rollups.map(({ timeframe, source, view, kind, bytes = 0 }) => [
      { text: timeframe },
      { text: source },
      { text: view },
      {
        text:
          kind === "read" ? "computed when it is read" : `continuous aggregate, ${byteSize(bytes)}`,
      },
    ]),
  );
}
