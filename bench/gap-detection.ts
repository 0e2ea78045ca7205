import { chmod, mkdtemp, rm } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import type { TimeRange } from "../src/core/range.ts";
import type { Series } from "../src/core/series.ts";
import { Coverage } from "../src/store/coverage.ts";
import { createDatabase, Database, migrate, startEmbedded } from "../src/store/index.ts";
import { SeriesCatalog } from "../src/store/series-catalog.ts";
import { scriptOptions } from "../test/support/script-options.ts";
import { medianOf } from "./support/median.ts";

/**
 * How long it takes to find every hole of 40 series of 1m, and the newest candle of each, and how that grows with the
 * table. The rows are made by SQL; what is timed is what every command calls. Run:
 * `npm run bench:gaps -- [--rows 1000000,10000000] [--series 40] [--rounds 3] [--json]`; 50,000,000 rows take 13 GB and half
 * an hour, so they have to be asked for.
 */
const options = scriptOptions({
  rows: "1000000,10000000",
  series: 40,
  rounds: 3,
  json: false,
});
const MINUTE_MS = 60_000;
const FROM = Date.UTC(2020, 0, 1);
/** One candle in so many is missing, and the one after it in every second case. */
const HOLE_EVERY = 4_999;
const FILL_DEADLINE_MS = 30 * 60_000;

interface Report {
  readonly rows: number;
  readonly tableMb: number;
  readonly indexMb: number;
  readonly holeCount: number;
  /** Holes that were made; the same as those found. */
  readonly madeCount: number;
  readonly medianMs: number;
  readonly worstSeriesMs: number;
  /** Newest candle of every series, one look into the index each. */
  readonly latestMs: number;
  /** The same by DISTINCT ON, as one writes it first. */
  readonly distinctMs: number;
  /** Of one series after vacuum. */
  readonly plan: readonly string[];
}

/** Rows `0 … count-1` of each series, but for the holes; returns after vacuum and analyze. */
async function fill(database: Database, ids: readonly number[], from: number, to: number) {
  for (const id of ids) {
    await database.run({
      deadlineMs: FILL_DEADLINE_MS,
      text: `
        insert into candles (series_id, trade_count, open_time, version, open, high, low, close,
          volume, quote_volume, taker_buy_volume, taker_buy_quote_volume)
        select $1, 100, candle_time($2 + minute * ${MINUTE_MS}::bigint), 52776558133248 + minute,
          95000.12, 95100.34, 94900.56, 95050.78, 12.34567, 1172839.4506, 6.17283, 586419.7253
        from generate_series($3::bigint, $4::bigint - 1) minute
        where not (${isMissing("minute")})`,
      values: [id, FROM, from, to],
    });
  }
  await database.run({ deadlineMs: FILL_DEADLINE_MS, text: "vacuum (analyze) candles" });
}

function isMissing(minute: string): string {
  return `${minute} % ${HOLE_EVERY} = ${HOLE_EVERY - 2} or ${minute} % ${2 * HOLE_EVERY} = ${HOLE_EVERY - 1}`;
}

/** Holes that {@link fill} left among the first `count` minutes of a series. */
function madeHoles(count: number): number {
  return Math.floor((count - 1 - (HOLE_EVERY - 2)) / HOLE_EVERY) + 1;
}

async function timed<T>(act: () => Promise<T>): Promise<{ result: T; tookMs: number }> {
  const began = performance.now();
  const result = await act();
  return { result, tookMs: performance.now() - began };
}

const LATEST = `
  select s.id, c.* from series s
  cross join lateral (
    select * from candles where series_id = s.id order by open_time desc limit 1
  ) c`;
const DISTINCT = "select distinct on (series_id) * from candles order by series_id, open_time desc";

/** Median of the rounds; both kinds answer with one row a series. */
async function latestMs(database: Database, text: string, count: number): Promise<number> {
  const times: number[] = [];
  for (let round = 0; round < options.rounds; round += 1) {
    const { result, tookMs } = await timed(() =>
      database.run({ text, deadlineMs: FILL_DEADLINE_MS }),
    );
    if (result.length !== count) throw new Error(`${result.length} rows for ${count} series`);
    times.push(tookMs);
  }
  return medianOf(times);
}

async function measure(database: Database, all: readonly Series[], count: number): Promise<Report> {
  const coverage = new Coverage(database, new SeriesCatalog(database));
  const range: TimeRange = { from: FROM, to: FROM + count * MINUTE_MS };
  const totals: number[] = [];
  let worstSeriesMs = 0;
  let holeCount = 0;
  for (let round = 0; round < options.rounds; round += 1) {
    let totalMs = 0;
    holeCount = 0;
    for (const series of all) {
      const { result, tookMs } = await timed(() => coverage.holes(series, range));
      totalMs += tookMs;
      holeCount += result.length;
      worstSeriesMs = Math.max(worstSeriesMs, tookMs);
    }
    totals.push(totalMs);
  }
  const [size] = await database.run<{ rows: number; tableMb: number; indexMb: number }>({
    deadlineMs: FILL_DEADLINE_MS,
    text: `
      select
        (select count(*) from candles) as rows,
        pg_relation_size('candles') / 1048576 as "tableMb",
        pg_indexes_size('candles') / 1048576 as "indexMb"`,
  });
  return {
    rows: size?.rows ?? 0,
    tableMb: size?.tableMb ?? 0,
    indexMb: size?.indexMb ?? 0,
    holeCount,
    madeCount: all.length * madeHoles(count),
    medianMs: medianOf(totals),
    worstSeriesMs,
    latestMs: await latestMs(database, LATEST, all.length),
    distinctMs: await latestMs(database, DISTINCT, all.length),
    plan: await planOf(database, all[0], range),
  };
}

/** What PostgreSQL does for the statements of one look at a series. */
async function planOf(database: Database, series: Series | undefined, range: TimeRange) {
  const plans: string[] = [];
  if (series === undefined) return plans;
  const catalog = new SeriesCatalog(database);
  const explaining = new Coverage(
    {
      run: async (statement) => {
        const { text, values = [] } = statement;
        const lines = await database.run<{ "QUERY PLAN": string }>({
          text: `explain (analyze, buffers, timing off) ${text}`,
          values,
        });
        plans.push(...lines.map((line) => line["QUERY PLAN"]));
        return database.run(statement);
      },
    },
    catalog,
  );
  await explaining.holes(series, range);
  return plans;
}

async function run(dataDir: string): Promise<Report[]> {
  const embedded = await startEmbedded({ dataDir });
  const url = embedded.urlOf("bench");
  await createDatabase({ url });
  const database = new Database({ url });
  try {
    await migrate(database);
    const all = Array.from({ length: options.series }, (_, index) => ({
      exchange: "binance",
      symbol: `SIM${String(index).padStart(4, "0")}USDT`,
      timeframe: "1m" as const,
    }));
    const ids = await new SeriesCatalog(database).register(all);
    const reports: Report[] = [];
    let done = 0;
    for (const text of options.rows.split(",")) {
      const count = Math.round(Number(text) / all.length);
      await fill(database, ids, done, count);
      done = count;
      reports.push(await measure(database, all, count));
    }
    return reports;
  } finally {
    await database.close();
    await embedded.release();
  }
}

function textOf(reports: readonly Report[]): string {
  const [first] = reports;
  const rows = reports.map((report) => {
    const growth = (value: number, base = Number.NaN): string => `${(value / base).toFixed(1)}`;
    return [
      report.rows.toLocaleString("en-US"),
      `${report.tableMb}`,
      `${report.indexMb}`,
      `${report.holeCount} of ${report.madeCount}`,
      report.medianMs.toFixed(0),
      report.worstSeriesMs.toFixed(1),
      report.latestMs.toFixed(1),
      report.distinctMs.toFixed(0),
      growth(report.rows, first?.rows),
      growth(report.medianMs, first?.medianMs),
    ];
  });
  const headings =
    "ROWS,TABLE MB,INDEX MB,HOLES FOUND,ALL SERIES MS,WORST SERIES MS,NEWEST MS,DISTINCT ON MS,ROWS ×,TIME ×";
  const table = [headings.split(","), ...rows];
  const lines = table.map((cells) =>
    cells
      .map((cell, column) =>
        cell.padStart(Math.max(...table.map((row) => row[column]?.length ?? 0))),
      )
      .join("  "),
  );
  return `${[
    `holes of ${options.series} series of 1m, median of ${options.rounds} rounds (${availableParallelism()} cores, Node.js ${process.version})`,
    ...lines,
    "plan of one series at the last size:",
    ...(reports.at(-1)?.plan ?? []),
  ].join("\n")}\n`;
}

const dataDir = await mkdtemp(join(tmpdir(), "black-trade-bench-"));
try {
  // The server's own user has to reach it when this runs as root.
  await chmod(dataDir, 0o755);
  const reports = await run(dataDir);
  process.stdout.write(options.json ? `${JSON.stringify(reports)}\n` : textOf(reports));
} finally {
  await rm(dataDir, { recursive: true, force: true });
}
