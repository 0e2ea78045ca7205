import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { runCommand } from "../../bench/support/command.ts";
import { writeMadeSeconds } from "../../bench/support/recorded-minutes.ts";
import { TIMEFRAMES } from "../../src/core/timeframe.ts";
import { Program } from "../support/program.ts";
import { atMostMs, type Reading } from "./metrics.ts";
import { LoadedProgram, type Shape } from "./program.ts";

/** One load, and what it must hold. */
export interface LoadCase {
  readonly name: string;
  readonly what: string;
  readonly shape: Shape;
  /** How long to wait for all series to be active, s; then it is measured as it is. */
  readonly readyS: number;
  /** Happens while it is measured. @returns what was seen of it */
  readonly meanwhile?: (program: LoadedProgram, seconds: number) => Promise<string>;
  /** Limits; what is not there is only reported. */
  readonly limits: { readonly rssMb?: number; readonly p99Ms?: number; readonly shed?: number };
}

/** What was measured. */
export interface LoadReport {
  readonly name: string;
  readonly line: string;
  readonly isGood: boolean;
  readonly seconds: number;
  readonly framesPerSecond: number;
  readonly storedPerSecond: number;
  /** Close → stored: upper edges of the buckets of the program's own histogram. */
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Sent by the stream → stored, p99: what a live close takes, without the exchange's delay and what REST catches up. */
  readonly liveP99Ms: number;
  /** Of the event loop: median of the p99 between two readings. */
  readonly loopP99Ms: number;
  readonly rssMb: number;
  readonly cpuPercent: number;
  readonly shed: number;
  /** Series by state when the measurement began. */
  readonly states: string;
}

const BIN = join(import.meta.dirname, "../../bin/black-trade.js");
const EIGHT = ["1s", "1m", "3m", "5m", "15m", "30m", "1h", "4h"];
const L3: Shape = { symbols: 1_500, timeframes: TIMEFRAMES };

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
/** Longer than catching all of them up takes within the exchange's limit of requests. */
const BEFORE_BOUNDARY_MS = 6 * 60_000;

/** What is to be stored of a boundary by then. */
const DURABLE_MS = 3_000;

/**
 * Waits for the boundary of all timeframes and counts what it brought: once at the limit, as reading thousands of metrics is
 * itself a load, and then until as many candles are stored as closed.
 */
async function boundary(program: LoadedProgram): Promise<string> {
  const untilMs = MONDAY_FIRST - (await program.exchangeTime());
  if (untilMs < 0) return `the boundary was passed ${-untilMs} ms before the measurement began`;
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
  return (
    `${atLimit.storedCount - before.storedCount} candles stored ${DURABLE_MS / 1_000} s after the boundary of ${closed}, ` +
    `the slowest ≤ ${slowest} ms after its close and ≤ ${slowestSent} ms after the exchange sent it`
  );
}

const IMPORTED_MB = 200;

/** Imports a file of seconds of a symbol that is not collected. */
async function importBeside(program: LoadedProgram): Promise<string> {
  const path = join(program.dataDir, "MADEUSDT_1s.csv");
  const rows = await writeMadeSeconds(path, IMPORTED_MB * 2 ** 20, 0);
  const { tookMs, peakMb } = await runCommand(process.execPath, [
    BIN,
    "import-csv",
    "--closed",
    "--data-dir",
    program.dataDir,
    path,
  ]);
  return `${rows} rows imported, ${Math.round((rows / tookMs) * 1_000)} a second, at most ${peakMb.toFixed(0)} MB`;
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
    readyS: 240,
    limits: { rssMb: 350, p99Ms: 3_000, shed: 0 },
  },
  {
    name: "L3-ceiling",
    what: "L3, every pair traded in every second: as many frames as the exchange sends at all",
    shape: { ...L3, tradesPerDay: 400_000 },
    readyS: 240,
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
    what: "L3, the database frozen for a third of the time",
    shape: L3,
    readyS: 240,
    limits: { rssMb: 450 },
    meanwhile: async (program, seconds) => {
      await sleep((seconds / 4) * 1_000);
      await signalServer(program, "SIGSTOP");
      await sleep((seconds / 3) * 1_000);
      await signalServer(program, "SIGCONT");
      const ms = await program.active(300_000);
      return `active again ${(ms / 1_000).toFixed(1)} s after it`;
    },
  },
  {
    name: "L6",
    what: "L3, every socket cut at once",
    shape: L3,
    readyS: 240,
    limits: { rssMb: 450, shed: 0 },
    meanwhile: async (program, seconds) => {
      await sleep((seconds / 3) * 1_000);
      await program.fault({ kind: "drop", code: 1006 });
      await sleep(2_000);
      const ms = await program.active(300_000);
      return `active again ${(ms / 1_000 + 2).toFixed(1)} s after it`;
    },
  },
  {
    name: "L7",
    what: "a backfill of 30 days × 20 × 1m beside L2",
    shape: { symbols: 200, timeframes: EIGHT },
    readyS: 240,
    limits: { shed: 0 },
    meanwhile: async (program) => {
      const began = performance.now();
      const symbols = program.symbols.slice(0, 20).join(",");
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
      return `backfill ended ${status} after ${seconds.toFixed(0)} s, ${count}`;
    },
  },
  {
    name: "L8",
    what: `an import of ${IMPORTED_MB} MB of CSV beside L2`,
    shape: { symbols: 200, timeframes: EIGHT },
    readyS: 240,
    limits: { shed: 0 },
    meanwhile: importBeside,
  },
  {
    name: "L9",
    what: "50 viewers and 100 requests a second beside L2",
    shape: { symbols: 200, timeframes: EIGHT },
    readyS: 240,
    limits: { p99Ms: 1_200, shed: 0 },
    meanwhile: watchAndAsk,
  },
];

async function watchAndAsk(program: LoadedProgram, seconds: number): Promise<string> {
  const viewers = new Program([], {}, "/", [
    process.execPath,
    new URL("../../bench/support/viewers.ts", import.meta.url).pathname,
    program.url,
    "50",
  ]);
  await viewers.says(/watching/);
  const times: number[] = [];
  let failed = 0;
  const end = performance.now() + seconds * 1_000;
  const ask = async (): Promise<void> => {
    while (performance.now() < end) {
      const began = performance.now();
      const symbol = program.symbols[times.length % program.symbols.length] ?? "";
      const answer = await fetch(
        `${program.url}/api/v1/candles?symbol=${symbol}&timeframe=1s&limit=100`,
      );
      await answer.arrayBuffer();
      if (!answer.ok) failed += 1;
      times.push(performance.now() - began);
      await sleep(Math.max(0, 100 - (performance.now() - began)));
    }
  };
  await Promise.all(Array.from({ length: 10 }, ask));
  viewers.kill("SIGTERM");
  const { stdout } = await viewers.ended();
  const sorted = times.sort((a, b) => a - b);
  const p99 = sorted[Math.floor(sorted.length * 0.99)] ?? Number.NaN;
  const told = /\{.*\}/.exec(stdout)?.[0] ?? "";
  return `${times.length} requests, ${failed} failed, p99 ${p99.toFixed(0)} ms; viewers ${told}`;
}

/** Memory is looked at so often; the page of metrics is read every 15 s, as `ops/prometheus` does. */
const LOOK_MS = 1_000;
const LOOKS_OF_SCRAPE = 15;

/** Runs one load for so many seconds. */
export async function runCase(
  one: LoadCase,
  seconds: number,
  say: (line: string) => void,
): Promise<LoadReport> {
  const program = await LoadedProgram.start(one.shape);
  try {
    const { tookMs: readyMs, states } = await program.settled(one.readyS * 1_000);
    say(`${one.name}: after ${(readyMs / 1_000).toFixed(0)} s ${states}`);
    const first = await program.reading();
    const readings: Reading[] = [first];
    const seen = one.meanwhile?.(program, seconds);
    const end = performance.now() + seconds * 1_000;
    let isOver = seen === undefined;
    void seen?.then(
      () => (isOver = true),
      () => (isOver = true),
    );
    const memory = [first.rssMb];
    for (let look = 1; performance.now() < end || !isOver; look += 1) {
      await sleep(LOOK_MS);
      memory.push(await program.rssMb());
      if (look % LOOKS_OF_SCRAPE === 0) readings.push(await program.reading());
    }
    readings.push(await program.reading());
    const happened = (await seen) ?? "";
    const last = readings.at(-1) ?? first;
    const { violations, requestCount, maxWeightPerMinute } = await program.journal();
    const broken = Object.values(violations).reduce((sum, count) => sum + count, 0);
    const took = (last.at - first.at) / 1_000;
    const rssMb = Math.max(...memory);
    const heapMb = Math.max(...readings.map((reading) => reading.heapMb));
    const p = (share: number): number => atMostMs(first.closeToStored, last.closeToStored, share);
    const own = atMostMs(first.eventToStored, last.eventToStored, 0.99);
    const loops = readings.map((reading) => reading.loopP99Ms).sort((a, b) => a - b);
    const loopP99Ms = loops[Math.floor(loops.length / 2)] ?? Number.NaN;
    const endStates = Object.entries(await program.states()).map((one) => one.reverse().join(" "));
    const shed = last.shedCount - first.shedCount;
    const cpu = ((last.cpuSeconds - first.cpuSeconds) / took) * 100;
    const { limits } = one;
    const over = [
      ...(limits.rssMb !== undefined && rssMb > limits.rssMb
        ? [`rss over ${limits.rssMb} MB`]
        : []),
      ...(limits.p99Ms !== undefined && p(0.99) > limits.p99Ms
        ? [`p99 over ${limits.p99Ms} ms`]
        : []),
      ...(limits.shed !== undefined && shed > limits.shed ? ["shed"] : []),
      ...(broken > 0 ? ["the exchange's rules were broken"] : []),
    ];
    return {
      name: one.name,
      isGood: over.length === 0,
      seconds: took,
      framesPerSecond: (last.receivedCount - first.receivedCount) / took,
      storedPerSecond: (last.storedCount - first.storedCount) / took,
      p50Ms: p(0.5),
      p99Ms: p(0.99),
      liveP99Ms: own,
      loopP99Ms,
      rssMb,
      cpuPercent: cpu,
      shed,
      states,
      line:
        `load     ${one.name} (${one.what}) ${took.toFixed(0)} s  frames ${((last.receivedCount - first.receivedCount) / took).toFixed(0)}/s taken over  ` +
        `stored ${((last.storedCount - first.storedCount) / took).toFixed(0)}/s  close→stored p50 ≤ ${p(0.5)} ms p99 ≤ ${p(0.99)} ms  sent→stored p99 ≤ ${own} ms  ` +
        `loop p99 ${loopP99Ms.toFixed(0)} ms max ${last.loopMaxMs.toFixed(0)} ms  rss ${rssMb.toFixed(0)} MB heap ≤ ${heapMb.toFixed(0)} MB  cpu ${cpu.toFixed(0)} %  shed ${shed}  open gaps ${last.openGaps}  ` +
        `violations ${broken} of ${requestCount} requests  weight ≤ ${maxWeightPerMinute}  begun after ${(readyMs / 1_000).toFixed(0)} s with ${states}, ended with ${endStates.join(", ")}` +
        `${happened === "" ? "" : `  ${happened}`}${over.length === 0 ? "" : `  OVER: ${over.join(", ")}`}`,
    };
  } finally {
    await program.close();
  }
}
