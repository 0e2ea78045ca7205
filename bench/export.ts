import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { EXPORT_FORMATS } from "../src/csv/export/encode.ts";
import { Program } from "../test/support/program.ts";
import { scriptOptions } from "../test/support/script-options.ts";
import { runCommand } from "./support/command.ts";
import { medianOf } from "./support/median.ts";
import { withCandles } from "./support/million-candles.ts";

/**
 * `export` of one series to a file, in every format: time by the command itself, size, and the most memory that its process
 * held (Linux). Run: `npm run bench:export -- [--rows 1000000] [--rounds 3] [--json]`.
 */
const options = scriptOptions({
  rows: 1000000,
  rounds: 3,
  json: false,
});
const RUNS: readonly (readonly [name: string, args: readonly string[]])[] = [
  ...Object.keys(EXPORT_FORMATS).map((name) => [name, ["--format", name]] as const),
  ["parquet --floats", ["--format", "parquet", "--floats"]],
  ["arrow --floats", ["--format", "arrow", "--floats"]],
];

interface Row {
  readonly name: string;
  readonly exportMs: number;
  readonly processMs: number;
  readonly megabytes: number;
  readonly peakRssMb: number;
  /** psql copying the same columns as CSV into a file, in turns; only beside CSV. */
  readonly psqlMs?: number;
  /** Whole process by whole process. */
  readonly ratio?: number;
}

/** The view that users know, to a file. */
async function psql(url: string, path: string): Promise<number> {
  const columns =
    "timestamp, open, high, low, close, volume, quote_volume, trades, taker_buy_base, taker_buy_quote, close_time";
  const script = `\\copy (select ${columns} from ohlcv_candles order by timestamp) to '${path}' with (format csv, header)\n`;
  return (await runCommand("psql", ["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", url], script))
    .tookMs;
}

/** The most memory that a process has held so far. */
function peakRss(pid: number | undefined): number {
  try {
    const [, kilobytes = "0"] =
      /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
    return Number(kilobytes) / 1_024;
  } catch {
    return 0;
  }
}

async function exported(url: string, path: string, args: readonly string[]) {
  const began = performance.now();
  const program = new Program(["export", ...args, "--out", path, "--json"], { DATABASE_URL: url });
  let peakRssMb = 0;
  const timer = setInterval(() => {
    peakRssMb = Math.max(peakRssMb, peakRss(program.child.pid));
  }, 20);
  const { status, stdout, stderr } = await program.ended();
  clearInterval(timer);
  if (status !== 0) throw new Error(stderr);
  const { elapsedMs, byteCount, candleCount } = JSON.parse(stdout);
  if (candleCount !== options.rows) throw new Error(`${candleCount} candles`);
  return { elapsedMs, byteCount, peakRssMb, processMs: performance.now() - began };
}

const rows = await withCandles(options.rows, async ({ url, dataDir }) => {
  const results: Row[] = [];
  for (const [name, args] of RUNS) {
    const format = args[1] as keyof typeof EXPORT_FORMATS;
    const path = join(dataDir, `candles.${EXPORT_FORMATS[format].extension}`);
    const rounds: Awaited<ReturnType<typeof exported>>[] = [];
    const theirs: number[] = [];
    for (let round = 0; round < options.rounds; round += 1) {
      rounds.push(await exported(url, path, args));
      if (name === "csv") theirs.push(await psql(url, join(dataDir, "psql.csv")));
    }
    const processMs = medianOf(rounds.map((round) => round.processMs));
    const psqlMs = medianOf(theirs);
    results.push({
      name,
      exportMs: Math.round(medianOf(rounds.map(({ elapsedMs }) => elapsedMs))),
      processMs: Math.round(processMs),
      megabytes: Number(((rounds[0]?.byteCount ?? 0) / 1e6).toFixed(1)),
      peakRssMb: Math.round(Math.max(...rounds.map(({ peakRssMb }) => peakRssMb))),
      ...(theirs.length === 0
        ? {}
        : { psqlMs: Math.round(psqlMs), ratio: Number((processMs / psqlMs).toFixed(2)) }),
    });
  }
  return results;
});
process.stdout.write(
  options.json
    ? `${JSON.stringify(rows)}\n`
    : `${[
        `${options.rows.toLocaleString("en-US")} candles, median of ${options.rounds} (${availableParallelism()} cores, Node.js ${process.version})`,
        "FORMAT            EXPORT MS  PROCESS MS      MB  PEAK RSS MB",
        ...rows.map(
          ({ name, exportMs, processMs, megabytes, peakRssMb }) =>
            `${name.padEnd(18)}${String(exportMs).padStart(9)}${String(processMs).padStart(12)}${String(megabytes).padStart(8)}${String(peakRssMb).padStart(13)}`,
        ),
      ].join("\n")}\n`,
);
