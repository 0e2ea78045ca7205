import { Command } from "commander";
import { openDatabase } from "../app.ts";
import { systemClock } from "../clock.ts";
import { seriesLabel } from "../core/series.ts";
import type { StatusWord } from "../core/status.ts";
import { createStatusReader, type SeriesView, type StatusView } from "../serve/status-reader.ts";
import { configOf, type ExitStatus, stopSignal, withDatabaseFlags } from "./command.ts";
import {
  type Cell,
  duration,
  instant,
  type Output,
  paint,
  Screen,
  type Tone,
  tableLines,
} from "./output.ts";

const WATCH_MS = 2_000;

const TONE_OF: Readonly<Record<StatusWord, Tone>> = {
  active: "good",
  starting: "busy",
  backfilling: "busy",
  lagging: "busy",
  gap: "busy",
  halted: "dim",
  paused: "dim",
  stale: "bad",
  banned: "bad",
  error: "bad",
};

/** `status`: the state of every series. */
export function statusCommand(output: Output, end: (status: ExitStatus) => void): Command {
  return withDatabaseFlags(new Command("status"))
    .description("state of every series, and why")
    .option("--watch", "draw it again every 2 s")
    .option("--json", "one JSON document; with --watch one a line")
    .addHelpText(
      "before",
      `Examples:
  npx black-trade status
  npx black-trade status --watch
  npx black-trade status --json | jq '.series[] | select(.status != "active")'

Exit status: 0 every series is active (or halted by the exchange), 3 some are not, 4 no database.
`,
    )
    .action(async (options: { watch?: boolean; json?: boolean }) => {
      const config = configOf({ ...options });
      const stop = stopSignal();
      const database = await openDatabase(config);
      const screen = new Screen(output);
      try {
        const store = await database.openStore("read");
        const read = createStatusReader(store, systemClock.monotonic);
        for (;;) {
          const view = await read();
          if (options.json) output.result(JSON.stringify(statusDocument(view)));
          else if (options.watch && output.isTerminal) {
            screen.draw([
              ...statusLines(output, view),
              paint(output, "dim", "Ctrl-C ends this view"),
            ]);
          } else for (const line of statusLines(output, view)) output.result(line);
          if (!options.watch) {
            end(isWhole(view) ? 0 : view.isKnown ? 3 : 4);
            return;
          }
          await systemClock.sleep(WATCH_MS, stop.signal).catch(() => undefined);
          if (stop.signal.aborted) {
            end(stop.exitStatus());
            return;
          }
        }
      } finally {
        screen.close();
        stop.dispose();
        await database.close();
      }
    });
}

function isWhole(view: StatusView): boolean {
  return (
    view.isKnown && view.series.every(({ status }) => ["active", "halted"].includes(status.word))
  );
}

/** Lines of the table, the headline first. */
function statusLines(output: Output, view: StatusView): string[] {
  if (!view.isKnown) return [paint(output, "bad", `status is not known: ${view.reason}`)];
  if (view.series.length === 0)
    return ["nothing is ingested yet: start with `npx black-trade ingest`"];
  const active = view.series.filter(({ status }) => status.word === "active").length;
  const { run } = view;
  const headline = `${active} of ${view.series.length} series active${
    run === undefined
      ? ""
      : ` · ${run.mode} · ingester pid ${run.pid} on ${run.host} · exchange time ${instant(run.now)} UTC`
  }`;
  return [
    headline,
    ...tableLines(
      output,
      ["SERIES", "STATUS", "NEWEST CANDLE", "LAG", "LATENCY", "GAPS", "BY", "WHY"],
      view.series.map((one) => rowOf(one)),
    ),
  ];
}

function rowOf({ series, facts, status }: SeriesView): Cell[] {
  return [
    { text: seriesLabel(series) },
    { text: status.word, tone: TONE_OF[status.word] },
    { text: facts.newestOpenTime === undefined ? "-" : instant(facts.newestOpenTime) },
    { text: status.lagMs === undefined ? "-" : duration(status.lagMs), isRight: true },
    {
      text: facts.latencyMs === undefined ? "-" : `${Math.round(facts.latencyMs)} ms`,
      isRight: true,
    },
    { text: `${facts.openGapCount}+${facts.confirmedGapCount}`, isRight: true },
    { text: facts.isStreamed ? "stream" : "REST" },
    { text: status.reason },
  ];
}

function statusDocument(view: StatusView): object {
  if (!view.isKnown) return { isKnown: false, reason: view.reason };
  return {
    isKnown: true,
    run: view.run ?? null,
    series: view.series.map(({ series, facts, status }) => ({
      ...series,
      status: status.word,
      reason: status.reason,
      lagMs: status.lagMs ?? null,
      newestOpenTime: facts.newestOpenTime ?? null,
      next: facts.next ?? null,
      latencyMs: facts.latencyMs ?? null,
      openGapCount: facts.openGapCount,
      confirmedGapCount: facts.confirmedGapCount,
      isStreamed: facts.isStreamed,
    })),
  };
}
