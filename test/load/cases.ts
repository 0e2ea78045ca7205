import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { runCommand } from "../../bench/support/command.ts";
import { writeMadeSeconds } from "../../bench/support/recorded-minutes.ts";
import { TIMEFRAMES } from "../../src/core/timeframe.ts";
import { Program } from "../support/program.ts";
import { aboutMs, atMostMs } from "./metrics.ts";
import type { LoadedProgram, Shape } from "./program.ts";
import type { LoadCase, Seen } from "./run-case.ts";

const BIN = join(import.meta.dirname, "../../bin/black-trade.js");
const EIGHT = ["1s", "1m", "3m", "5m", "15m", "30m", "1h", "4h"];
const L3: Shape = { symbols: 1_500, timeframes: TIMEFRAMES };
/** Longer than catching up its 24,000 series takes within the exchange's limit of requests: 3 to 6 minutes. */
const L3_READY_S = 480;

async function signalServer(program: LoadedProgram, signal: NodeJS.Signals): Promise<void> {
  const main = await program.postmaster();
  const children = await readFile(`/proc/${main}/task/${main}/children`, "utf8");
  for (const pid of [main, ...children.trim().split(/\s+/).map(Number)]) {
    try {
      process.kill(pid, signal);
    } catch {
      // It ended meanwhile.
    }
  }
}

/** Every timeframe closes a candle then. */
const MONDAY_FIRST = Date.UTC(2024, 0, 1);
/** Most of what catching all of them up takes within the exchange's limit of requests. */
const BEFORE_BOUNDARY_MS = 6 * 60_000;

/** What is to be stored of a boundary by then. */
const DURABLE_MS = 3_000;

/**
 * Waits for the boundary of all timeframes and counts what it brought: once at the limit, as reading thousands of metrics is
 * itself a load, and then until as many candles are stored as closed.
 */
async function boundary(program: LoadedProgram): Promise<Seen> {
  const untilMs = MONDAY_FIRST - (await program.exchangeTime());
  if (untilMs < 0) {
    const line = `the boundary was passed ${-untilMs} ms before the measurement began`;
    return { line, over: "not measured" };
  }
  await sleep(untilMs - 500);
  const before = await program.reading();
  const closed = program.symbols.length * TIMEFRAMES.length;
  await sleep(MONDAY_FIRST + DURABLE_MS - (await program.exchangeTime()));
  const atLimit = await program.reading();
  let after = atLimit;
  while (after.storedCount - before.storedCount < closed && after.at - before.at < 60_000) {
    await sleep(1_000);
    after = await program.reading();
  }
  const slowest = atMostMs(before.closeToStored, after.closeToStored, 1);
  const slowestSent = atMostMs(before.eventToStored, after.eventToStored, 1);
  const storedCount = atLimit.storedCount - before.storedCount;
  const line =
    `${storedCount} candles stored ${DURABLE_MS / 1_000} s after the boundary of ${closed}, ` +
    `the slowest ≤ ${slowest} ms after its close and ≤ ${slowestSent} ms after the exchange sent it`;
  return storedCount < closed ? { line, over: `not all within ${DURABLE_MS} ms` } : { line };
}

/** Everything is to be active again so long after a fault has ended. */
const RECOVERED_MS = 120_000;

/**
 * Waits until all is active again.
 * @param sinceMs how long ago the fault ended
 * @throws when it is not after five minutes
 */
async function recovery(program: LoadedProgram, sinceMs: number): Promise<Seen> {
  const ms = sinceMs + (await program.active(300_000));
  const line = `active again ${(ms / 1_000).toFixed(1)} s after it`;
  return ms > RECOVERED_MS ? { line, over: `longer than ${RECOVERED_MS / 1_000} s` } : { line };
}

/** Rows of a file that are stored in a second, at least, and memory at most. */
const IMPORT_LIMITS = { rowsPerSecond: 50_000, peakMb: 200 };

/** Imports a file of seconds of a symbol that is not collected. */
async function importBeside(program: LoadedProgram, megabytes: number): Promise<Seen> {
  const path = join(program.dataDir, "MADEUSDT_1s.csv");
  const rows = await writeMadeSeconds(path, megabytes * 2 ** 20, 0);
  const { tookMs, peakMb } = await runCommand(process.execPath, [
    BIN,
    "import-csv",
    "--closed",
    "--data-dir",
    program.dataDir,
    path,
  ]);
  const perSecond = Math.round((rows / tookMs) * 1_000);
  const line = `${rows} rows imported, ${perSecond} a second, at most ${peakMb.toFixed(0)} MB`;
  if (perSecond < IMPORT_LIMITS.rowsPerSecond) return { line, over: "the import is slow" };
  return peakMb > IMPORT_LIMITS.peakMb ? { line, over: "memory of the import" } : { line };
}

function importCase(name: string, megabytes: number, size: string): LoadCase {
  return {
    name,
    what: `an import of ${size} of CSV beside L2`,
    shape: { symbols: 200, timeframes: EIGHT },
    readyS: 240,
    limits: { shed: 0 },
    meanwhile: (program) => importBeside(program, megabytes),
  };
}

/** Every load of the table, smallest first. */
export const LOAD_CASES: readonly LoadCase[] = [
  {
    name: "L1",
    what: "2 pairs × 4 timeframes",
    shape: { symbols: 2, timeframes: ["1s", "1m", "5m", "1h"] },
    readyS: 60,
    limits: { rssMb: 120, p99Ms: 500, shed: 0 },
  },
  {
    name: "L2",
    what: "200 × 8 = 1,600 streams",
    shape: { symbols: 200, timeframes: EIGHT },
    readyS: 240,
    limits: { rssMb: 180, p99Ms: 1_000, shed: 0 },
  },
  {
    name: "L3",
    what: "1,500 × 16 = 24,000 streams",
    shape: L3,
    readyS: L3_READY_S,
    limits: { rssMb: 350, p99Ms: 3_000, shed: 0 },
  },
  {
    name: "L3-ceiling",
    what: "L3, every pair traded in every second: as many frames as the exchange sends at all",
    shape: { ...L3, tradesPerDay: 400_000 },
    readyS: L3_READY_S,
    limits: { rssMb: 350, p99Ms: 3_000, shed: 0 },
  },
  {
    name: "L4",
    what: "24,000 closes at one instant: a Monday that begins a month, 00:00 UTC",
    shape: { ...L3, startAt: new Date(MONDAY_FIRST - BEFORE_BOUNDARY_MS).toISOString() },
    readyS: 330,
    limits: { shed: 0 },
    meanwhile: boundary,
  },
  {
    name: "L5",
    what: "L3, the database frozen for as long as it is measured",
    shape: L3,
    readyS: L3_READY_S,
    limits: { rssMb: 450 },
    meanwhile: async (program, seconds) => {
      await signalServer(program, "SIGSTOP");
      await sleep(seconds * 1_000);
      await signalServer(program, "SIGCONT");
      return await recovery(program, 0);
    },
  },
  {
    name: "L6",
    what: "L3, every socket cut at once",
    shape: L3,
    readyS: L3_READY_S,
    limits: { rssMb: 450, shed: 0 },
    meanwhile: async (program, seconds) => {
      await sleep((seconds / 3) * 1_000);
      await program.fault({ kind: "drop", code: 1006 });
      await sleep(2_000);
      return await recovery(program, 2_000);
    },
  },
  {
    name: "L7",
    what: "a backfill of 30 days × 200 × 1m beside L2",
    shape: { symbols: 200, timeframes: EIGHT },
    readyS: 240,
    // Twice what L2 may take.
    limits: { p99Ms: 2_000, shed: 0 },
    meanwhile: async (program) => {
      const began = performance.now();
      const symbols = program.symbols.join(",");
      const backfill = program.also([
        "backfill",
        "--symbols",
        symbols,
        "--timeframes",
        "1m",
        "--days",
        "30",
        "--json",
      ]);
      const { status } = await backfill.ended();
      const seconds = (performance.now() - began) / 1_000;
      const [count] = /"storedCount":\s*\d+/.exec(backfill.stdout) ?? ["no count"];
      return { line: `backfill ended ${status} after ${seconds.toFixed(0)} s, ${count}` };
    },
  },
  importCase("L8", 200, "200 MB"),
  { ...importCase("L8-whole", 10_240, "10 GB, which takes 40 GB of disk,"), isOnlyNamed: true },
  {
    name: "L9",
    what: "50 dashboards and 100 requests a second beside L3",
    shape: L3,
    readyS: L3_READY_S,
    limits: { p99Ms: 3_000, shed: 0 },
    meanwhile: watchAndAsk,
  },
];

/** The dashboards and requests may make the slowest hundredth so much slower. */
const MAX_SLOWER = 1.2;
const MINUTE_MS = 60_000;

/**
 * The slowest hundredth of the closes of seconds, ms, estimated. Over whole minutes that begin in the middle of one: in each
 * the candles of longer timeframes come at once, and have to lie in the two that are compared alike.
 */
async function slowestSeconds(program: LoadedProgram, seconds: number): Promise<number> {
  const intoMinute = (await program.exchangeTime()) % MINUTE_MS;
  await sleep((1.5 * MINUTE_MS - intoMinute) % MINUTE_MS);
  const before = await program.reading();
  await sleep(Math.max(1, Math.round((seconds * 1_000) / MINUTE_MS)) * MINUTE_MS);
  const after = await program.reading();
  return aboutMs(before.secondsToStored, after.secondsToStored, 0.99);
}

/** As long without them as with them. */
async function watchAndAsk(program: LoadedProgram, seconds: number): Promise<Seen> {
  const alone = await slowestSeconds(program, seconds);
  const viewers = new Program([], {}, "/", [
    process.execPath,
    new URL("./pages.ts", import.meta.url).pathname,
    program.url,
    "50",
  ]);
  const times: number[] = [];
  let failed = 0;
  let isOver = false;
  const ask = async (): Promise<void> => {
    while (!isOver) {
      const began = performance.now();
      const symbol = program.symbols[times.length % program.symbols.length] ?? "";
      const path = `/api/v1/candles?symbol=${symbol}&timeframe=1s&limit=100`;
      const isGood = await fetch(`${program.url}${path}`)
        .then(async (answer) => (await answer.arrayBuffer()) && answer.ok)
        .catch(() => false);
      if (!isGood) failed += 1;
      times.push(performance.now() - began);
      await sleep(Math.max(0, 100 - (performance.now() - began)));
    }
  };
  try {
    await viewers.says(/watching/);
    const began = performance.now();
    const asking = Promise.all(Array.from({ length: 10 }, ask));
    const beside = await slowestSeconds(program, seconds).finally(() => {
      isOver = true;
    });
    await asking;
    const perSecond = (times.length / (performance.now() - began)) * 1_000;
    viewers.kill("SIGTERM");
    const { stdout } = await viewers.ended();
    const sorted = times.sort((a, b) => a - b);
    const p99 = sorted[Math.floor(sorted.length * 0.99)] ?? Number.NaN;
    const told = /\{.*\}/.exec(stdout)?.[0] ?? "{}";
    const line =
      `close→stored of 1s p99 ≈ ${alone.toFixed(0)} ms without and ${beside.toFixed(0)} ms with them; ` +
      `${times.length} requests, ${perSecond.toFixed(0)} a second, ${failed} failed, p99 ${p99.toFixed(0)} ms; dashboards ${told}`;
    const { failedCount, closedCount } = JSON.parse(told);
    const isWhole = failed === 0 && failedCount === 0 && closedCount > 0;
    if (!isWhole) return { line, over: "requests failed" };
    return beside <= alone * MAX_SLOWER
      ? { line }
      : { line, over: `p99 more than ${MAX_SLOWER} times` };
  } finally {
    viewers.kill("SIGKILL");
  }
}
