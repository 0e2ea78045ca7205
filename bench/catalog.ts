import { atLeast, atMost, type Line, type Target } from "./support/report.ts";

/** One benchmark of `npm run bench`. */
export interface Bench {
  readonly name: string;
  readonly title: string;
  /** Below the project's folder. */
  readonly script: string;
  readonly args: readonly string[];
  /** Instead of `args`, for a look at whether it works. */
  readonly quickArgs: readonly string[];
  /** Lines of the one JSON document that the script prints. */
  readonly linesOf: (report: Json) => readonly Line[];
}

/** What a script prints; a field that is missing reads as `NaN` or nothing. */
type Json = Readonly<Record<string, unknown>> | readonly Json[];

function at(report: unknown, ...path: readonly (string | number)[]): unknown {
  return path.reduce<unknown>(
    (value, key) =>
      typeof value === "object" && value !== null
        ? (value as Record<string | number, unknown>)[key]
        : undefined,
    report,
  );
}

function number(report: unknown, ...path: readonly (string | number)[]): number {
  const value = at(report, ...path);
  return typeof value === "number" ? value : Number.NaN;
}

/** Candles that were compared with the exchange: how many, and what of them differs. None may. */
function comparedLine(what: string, report: unknown, key: string): Line {
  const differing = ["lost", "extra", "wrong"].map((word) => number(report, key, word));
  return {
    what: `${what}: lost, extra, wrong`,
    ours: `${count(number(report, key, "exchange"))}: ${differing.join(", ")}`,
    target: atMost(
      differing.reduce((sum, value) => sum + value, 0),
      0,
    ),
  };
}

function list(report: unknown, ...path: readonly (string | number)[]): readonly Json[] {
  const value = at(report, ...path);
  return Array.isArray(value) ? value : [];
}

function text(report: unknown, ...path: readonly (string | number)[]): string {
  return String(at(report, ...path) ?? "");
}

function count(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}

/** A figure of ours, the other's, and their `ratio` as the script printed it. */
function besideLine(
  report: Json,
  what: string,
  ours: string,
  beside: string,
  target: (ratio: number) => Target,
): Line {
  const ratio = number(report, "ratio");
  return {
    what,
    ours: count(number(report, ours)),
    beside: count(number(report, beside)),
    ratio,
    target: target(ratio),
  };
}

/** Every benchmark, in the order of the page. */
export const BENCHES: readonly Bench[] = [
  {
    name: "pipeline",
    title: "Live: frames through socket, codec, buffer and intake, beside bare ws + JSON.parse",
    script: "bench/pipeline.ts",
    args: [],
    quickArgs: ["--frames", "30000", "--rounds", "1"],
    linesOf: (report) => [
      besideLine(report, "frames a second", "ownPerSecond", "barePerSecond", (ratio) =>
        atLeast(ratio, 0.5),
      ),
    ],
  },
  {
    name: "burst",
    title: "Live: 24,000 closes at once until durable, beside the bare upsert of the same rows",
    script: "bench/burst.ts",
    args: ["--rounds", "9"],
    quickArgs: ["--symbols", "150", "--rounds", "1"],
    linesOf: (report) => [
      besideLine(
        report,
        `ms for ${count(number(report, "rows"))} rows`,
        "ownMs",
        "bareMs",
        (ratio) => atMost(ratio, 2),
      ),
    ],
  },
  {
    name: "live",
    title: "Live: 200 symbols × 1s, close → stored, seen from outside",
    script: "bench/live.ts",
    args: ["--seconds", "40"],
    quickArgs: ["--seconds", "5", "--symbols", "20"],
    linesOf: (report) => [
      comparedLine("candles of the exchange", report, "candles"),
      {
        what: "closing frame sent → committed, ms p50 / p99 / max",
        ours: ["p50", "p99", "max"]
          .map((word) => number(report, "sentToStoredMs", word).toFixed(1))
          .join(" / "),
      },
      {
        what: "close → committed, ms p50 / p99 / max (the simulator sends 2 to 300 ms after the close)",
        ours: ["p50", "p99", "max"]
          .map((word) => number(report, "closeToStoredMs", word).toFixed(1))
          .join(" / "),
      },
      {
        what: "CPU of a core, most memory",
        ours: `${number(report, "ingester", "cpuPercent").toFixed(0)} %, ${number(report, "ingester", "maxRssMb").toFixed(0)} MB`,
      },
      {
        what: "start → first live candle stored, ms: empty folder, existing data",
        ours: `${count(number(report, "startMs", "emptyFolder"))}, ${count(number(report, "startMs", "existingData"))}`,
      },
    ],
  },
  {
    name: "compositions",
    title: "Live: the same market by what a user would write (client library + insert row by row)",
    script: "bench/compositions.ts",
    args: ["--seconds", "24"],
    quickArgs: ["--seconds", "6", "--symbols", "20"],
    linesOf: (report) =>
      list(report, "contenders").map((one) => ({
        what: text(one, "name"),
        ours:
          `of ${count(number(one, "candles"))} candles: exact ${count(number(one, "exact"))}, other digits ${count(number(one, "sameValue"))}, ` +
          `lost ${count(number(one, "lost"))}, forming kept as final ${count(number(one, "forming"))}; ` +
          `across a dropped connection, of ${count(number(one, "dropped", "candles"))}: lost ${count(number(one, "dropped", "lost"))}, forming ${count(number(one, "dropped", "forming"))}; ` +
          `CPU ${number(one, "cpuPercent").toFixed(0)} %, ${number(one, "maxRssMb").toFixed(0)} MB`,
      })),
  },
  {
    name: "load",
    title: "Live: 1,500 symbols × 16 timeframes = 24,000 streams (load L3)",
    script: "test/load/run.ts",
    args: ["--cases", "L3", "--seconds", "60", "--json"],
    quickArgs: ["--cases", "L1", "--seconds", "10", "--json"],
    linesOf: (report) => [
      { what: "frames a second taken over", ours: count(number(report, "framesPerSecond")) },
      {
        what: "close → stored, ms at most p50 / p99",
        ours: `${count(number(report, "p50Ms"))} / ${count(number(report, "p99Ms"))}`,
        target: atMost(number(report, "p99Ms"), 3_000, " ms"),
      },
      {
        what: "shed",
        ours: count(number(report, "shed")),
        target: atMost(number(report, "shed"), 0),
      },
      {
        what: "most memory, MB",
        ours: count(number(report, "rssMb")),
        target: atMost(number(report, "rssMb"), 350),
      },
      { what: "CPU of a core, %", ours: count(number(report, "cpuPercent")) },
      { what: "states at the beginning of the measurement", ours: text(report, "states") },
    ],
  },
  {
    name: "archive",
    title:
      "History: archive files → table, beside download + unzip + psql COPY + INSERT … ON CONFLICT",
    script: "bench/sources.ts",
    args: ["--only", "archive"],
    quickArgs: ["--only", "archive", "--months", "1", "--rounds", "1"],
    linesOf: (report) => [
      {
        what: `candles a second, of ${count(number(report, "archive", "candles"))}`,
        ours: count(number(report, "archive", "ownPerSecond")),
        beside: count(number(report, "archive", "barePerSecond")),
        ratio: number(report, "archive", "ratio"),
      },
    ],
  },
  {
    name: "rest",
    title: "History: REST pages of 1,000, checked and judged, beside bare fetch + JSON",
    script: "bench/sources.ts",
    args: ["--only", "rest"],
    quickArgs: ["--only", "rest", "--pages", "5", "--rounds", "1"],
    linesOf: (report) => [
      {
        what: "pages a second",
        ours: number(report, "rest", "ownPerSecond").toFixed(1),
        beside: number(report, "rest", "barePerSecond").toFixed(1),
        ratio: number(report, "rest", "ratio"),
      },
    ],
  },
  {
    name: "history",
    title: "History: backfill by the program, every candle compared",
    script: "bench/history.ts",
    args: [],
    quickArgs: ["--days", "3", "--many", "2", "--many-days", "2"],
    linesOf: (report) => [
      ...list(report, "runs").map((run) => ({
        what: `${text(run, "name")}, simulator ${text(run, "simulator")}`,
        ours: `${count(number(run, "candlesPerSecond"))} candles a second, ${count(number(run, "maxRssMb"))} MB`,
      })),
      comparedLine("candles compared", report, "compared"),
    ],
  },
  {
    name: "import",
    title: "CSV import of recorded minutes, beside psql, pgloader and a row a statement",
    script: "bench/csv-import.ts",
    args: ["--others"],
    quickArgs: ["--rounds", "1", "--others"],
    linesOf: (report) => {
      const ratio = number(report, "ratio");
      const own = number(report, "importRowsPerSecond");
      const other = (what: string, key: string): Line[] => {
        const rate = number(report, key);
        if (Number.isNaN(rate)) return [];
        return [{ what, ours: count(own), beside: count(rate), ratio: rate / own }];
      };
      return [
        {
          what: "rows a second, beside psql (\\copy + INSERT … ON CONFLICT); ratio of times",
          ours: `${count(own)}, at most ${count(number(report, "importPeakMb"))} MB`,
          beside: count(number(report, "psqlRowsPerSecond")),
          ratio,
          target: atMost(ratio, 1),
        },
        ...other("rows a second, beside pgloader; ratio of times", "pgloaderRowsPerSecond"),
        ...other("rows a second, beside a row a statement; ratio of times", "rowWiseRowsPerSecond"),
      ];
    },
  },
  {
    name: "export",
    title: "Export of 1,000,000 candles to a file",
    script: "bench/export.ts",
    args: ["--rounds", "5"],
    quickArgs: ["--rows", "20000", "--rounds", "1"],
    linesOf: (report) => [
      ...list(report).map((one) => ({
        what: text(one, "name"),
        ours: `${count(number(one, "processMs"))} ms, ${number(one, "megabytes").toFixed(1)} MB, at most ${count(number(one, "peakRssMb"))} MB of memory`,
        ...(at(one, "psqlMs") === undefined
          ? {}
          : { beside: `psql ${count(number(one, "psqlMs"))} ms`, ratio: number(one, "ratio") }),
      })),
    ],
  },
  {
    name: "columns",
    title:
      "Reading 1,000,000 candles into typed arrays (toColumns), beside psql's binary copy to nowhere",
    script: "bench/columns.ts",
    args: [],
    quickArgs: ["--rows", "20000", "--rounds", "1"],
    linesOf: (report) => [
      besideLine(report, "ms", "columnsMs", "psqlMs", (ratio) => atMost(ratio, 1.5)),
    ],
  },
  {
    name: "api",
    title: "HTTP: 1,000 candles an answer, four at a time, beside the bare query through pg",
    script: "bench/api.ts",
    args: ["--only", "requests", "--json"],
    quickArgs: ["--only", "requests", "--rounds", "1", "--json"],
    linesOf: (report) => {
      const [bare] = list(report);
      return list(report)
        .slice(1, 3)
        .map((one) => ({
          what: `${text(one, "name")}: answers a second (p50, p99)`,
          ours: `${count(number(one, "perSecond"))} (${number(one, "p50").toFixed(1)}, ${number(one, "p99").toFixed(1)} ms)`,
          beside: `${count(number(bare, "perSecond"))} (${number(bare, "p50").toFixed(1)}, ${number(bare, "p99").toFixed(1)} ms)`,
          ratio: number(one, "perSecond") / number(bare, "perSecond"),
        }));
    },
  },
  {
    name: "storage",
    title: "Storage: bytes a candle, indexes included",
    script: "bench/storage.ts",
    args: [],
    quickArgs: ["--quick"],
    linesOf: (report) =>
      list(report).flatMap((sample): Line[] => {
        const plain = number(sample, "plain", "bytes");
        const compressed = number(sample, "compressed", "bytes");
        const old = number(sample, "old", "bytes");
        return [
          {
            what: `${text(sample, "what")}, ${count(number(sample, "rows"))} rows, plain PostgreSQL, beside the old layout`,
            ours: plain.toFixed(0),
            beside: old.toFixed(0),
            ratio: plain / old,
            target: atMost(plain, 160),
          },
          Number.isNaN(compressed)
            ? {
                what: "the same, TimescaleDB compressed",
                ours: `not measured: ${text(sample, "compressed", "skipped")}`,
              }
            : {
                what: "the same, TimescaleDB compressed",
                ours: compressed.toFixed(0),
                beside: old.toFixed(0),
                ratio: compressed / old,
              },
        ];
      }),
  },
  {
    name: "gaps",
    title: "Large tables: gap detection, and the newest candle of every series",
    script: "bench/gap-detection.ts",
    args: ["--rounds", "5"],
    quickArgs: ["--rows", "100000", "--rounds", "1"],
    linesOf: (report) =>
      list(report).flatMap((one) => [
        {
          what: `${count(number(one, "rows"))} rows: all holes of 40 series, ms`,
          ours: `${count(number(one, "medianMs"))} (${number(one, "holeCount")} of ${number(one, "madeCount")} found)`,
        },
        {
          what: `${count(number(one, "rows"))} rows: newest candle of 40 series, ms, beside DISTINCT ON`,
          ours: number(one, "latestMs").toFixed(2),
          beside: number(one, "distinctMs").toFixed(0),
          ratio: number(one, "latestMs") / number(one, "distinctMs"),
        },
      ]),
  },
];
