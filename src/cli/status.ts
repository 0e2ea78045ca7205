import { Command } from "commander";
import { systemClock } from "../clock.ts";
import { seriesLabel } from "../core/series.ts";
import { CONCERN_OF, confirmedShare, mostUrgentFirst, type StatusWord } from "../core/status.ts";
import { openDatabase } from "../open-database.ts";
import { createStatusReader, type SeriesView, type StatusView } from "../serve/status-reader.ts";
import { configOfExisting, type ExitStatus, stopSignal, withDatabaseFlags } from "./command.ts";
import {
  type Cell,
  duration,
  instant,
  latency,
  moment,
  type Output,
  paint,
  printable,
  Screen,
  tableLines,
  wrapped,
} from "./output.ts";

const WATCH_MS = 2_000;

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
      const config = configOfExisting({ ...options });
      const stop = stopSignal();
      const database = await openDatabase(config);
      const screen = new Screen(output);
      try {
        const store = await database.openStore("read");
        const read = createStatusReader(store, systemClock.monotonic);
        for (;;) {
          const view = await read();
          if (options.json) output.result(JSON.stringify(statusDocument(view)));
          else if (options.watch && output.isTerminal) draw(output, screen, view);
          else {
            const { table, reasons } = statusLines(output, view);
            for (const line of [...table, ...reasons]) output.result(line);
            if (options.watch) output.result("");
          }
          if (!options.watch) {
            if (!options.json && isFailing(view))
              output.note('→ "npx black-trade doctor" looks for the cause');
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
    view.isKnown &&
    view.series.length > 0 &&
    view.series.every(({ status }) => ["active", "halted"].includes(status.word))
  );
}

/** True when somebody may have to do something. */
function isFailing(view: StatusView): boolean {
  return !view.isKnown || view.series.some(({ status }) => CONCERN_OF[status.word] === "bad");
}

/** On a low terminal the reasons stay, and the series that are not as they should be come first. */
function draw(output: Output, screen: Screen, view: StatusView): void {
  const { table, reasons } = statusLines(output, view);
  const height = output.rows - 1;
  const foot = [
    ...reasons.slice(0, Math.floor(height / 2)),
    "",
    paint(output, "dim", "Ctrl-C ends this view"),
  ];
  const isWhole = table.length + foot.length <= height;
  screen.draw(
    isWhole || !view.isKnown
      ? table
      : statusLines(output, { ...view, series: mostUrgentFirst(view.series) }).table,
    foot,
  );
}

/** Lines of the table, the headline first, and those of the reasons where they do not stand in the table. */
function statusLines(
  output: Output,
  view: StatusView,
): { readonly table: readonly string[]; readonly reasons: readonly string[] } {
  const alone = (line: string) => ({ table: [line], reasons: [] });
  if (!view.isKnown) return alone(paint(output, "bad", `status is not known: ${view.reason}`));
  if (view.series.length === 0)
    return alone("nothing is ingested yet: start with `npx black-trade ingest`");
  const active = view.series.filter(({ status }) => status.word === "active").length;
  const { run } = view;
  const ingester =
    run?.stoppedTime === undefined ? `pid ${run?.pid} on ${run?.host}` : "ingester stopped";
  const headline = `${active} of ${view.series.length} series active${
    run === undefined ? "" : ` · ${run.mode} · ${ingester} · ${instant(run.now)} UTC`
  }`;
  const headings = ["SERIES", "STATUS", "NEWEST", "LAG", "LATENCY", "GAPS", "CONFIRMED TO", "BY"];
  const rows = view.series.map((one) => rowOf(one, output.isTerminal ? run?.now : undefined));
  // A reason is longer than what a terminal leaves beside the table; elsewhere a line has to hold everything.
  if (output.isTerminal) {
    return {
      table: [headline, ...tableLines(output, headings, rows)],
      reasons: reasonLines(output, view.series),
    };
  }
  const reasoned = rows.map((row, index) => [
    ...row,
    { text: view.series[index]?.status.reason ?? "" },
  ]);
  return {
    table: [headline, ...tableLines(output, [...headings, "WHY"], reasoned)],
    reasons: [],
  };
}

const NAMED_SERIES = 8;

/** Every reason once, with the series that it is for. */
function reasonLines(output: Output, series: readonly SeriesView[]): string[] {
  const groups = new Map<string, { word: StatusWord; reason: string; labels: string[] }>();
  for (const { series: one, status } of series) {
    if (status.reason === "") continue;
    const { word, reason } = status;
    const group = groups.get(`${word} ${reason}`) ?? { word, reason, labels: [] };
    group.labels.push(seriesLabel(one));
    groups.set(`${word} ${reason}`, group);
  }
  return [...groups.values()].flatMap(({ word, reason, labels }) => {
    const named = labels.slice(0, NAMED_SERIES).join(", ");
    const more = labels.length - NAMED_SERIES;
    const who =
      labels.length === series.length && labels.length > 1
        ? "all series"
        : `${named}${more > 0 ? ` and ${more} more` : ""}`;
    const [first = "", ...rest] = wrapped(
      printable(`${word}: ${reason}`),
      output.columns - 1,
      "  ",
    );
    return [
      "",
      paint(output, CONCERN_OF[word], first),
      ...rest,
      ...wrapped(printable(who), output.columns - 3, "").map((line) =>
        paint(output, "dim", `  ${line}`),
      ),
    ];
  });
}

/** @param now where given, today's times are shown without the date */
function rowOf({ series, facts, status }: SeriesView, now: number | undefined): Cell[] {
  const { newestOpenTime: newest } = facts;
  const isAtWork = status.word !== "paused" && status.word !== "starting";
  return [
    { text: seriesLabel(series) },
    { text: status.word, tone: CONCERN_OF[status.word] },
    {
      text: newest === undefined ? "-" : now === undefined ? instant(newest) : moment(newest, now),
    },
    { text: status.lagMs === undefined ? "-" : duration(status.lagMs), isRight: true },
    {
      text: facts.latencyMs === undefined ? "-" : latency(facts.latencyMs),
      isRight: true,
    },
    { text: gapsText(facts), tone: facts.openGapCount > 0 ? "busy" : "plain" },
    { text: confirmedText(facts, now) },
    { text: isAtWork ? (facts.isStreamed ? "stream" : "REST") : "-" },
  ];
}

/** Up to where candles were read again after they had settled, and what share of the series that is. */
function confirmedText(facts: SeriesView["facts"], now: number | undefined): string {
  const { confirmedTo } = facts;
  const share = confirmedShare(facts);
  if (confirmedTo === undefined || share === undefined) return "-";
  const to = now === undefined ? instant(confirmedTo) : moment(confirmedTo, now);
  return `${to} (${Math.floor(share * 1_000) / 10} %)`;
}

function gapsText({ openGapCount, confirmedGapCount, keptFrom }: SeriesView["facts"]): string {
  const parts = [
    ...(openGapCount > 0 ? [`${openGapCount} open`] : []),
    ...(confirmedGapCount > 0 ? [`${confirmedGapCount} explained`] : []),
    ...(keptFrom === undefined ? [] : [`kept from ${instant(keptFrom).slice(0, 10)}`]),
  ];
  return parts.length === 0 ? "-" : parts.join(", ");
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
      keptFrom: facts.keptFrom ?? null,
      confirmedTo: facts.confirmedTo ?? null,
      confirmedShare: confirmedShare(facts) ?? null,
      isStreamed: facts.isStreamed,
    })),
  };
}
