import { setTimeout as sleep } from "node:timers/promises";
import { atMostMs, type Reading } from "./metrics.ts";
import { LoadedProgram, type Shape } from "./program.ts";

/** One load, and what it must hold. */
export interface LoadCase {
  readonly name: string;
  readonly what: string;
  /** Not among those that are run when none is named. */
  readonly isOnlyNamed?: true;
  readonly shape: Shape;
  /** How long to wait for all series to be active, s; then it is measured as it is. */
  readonly readyS: number;
  /** Happens while it is measured. */
  readonly meanwhile?: (program: LoadedProgram, seconds: number) => Promise<Seen>;
  /** Limits; what is not there is only reported. */
  readonly limits: { readonly rssMb?: number; readonly p99Ms?: number; readonly shed?: number };
}

/** What was seen of what happened meanwhile. */
export interface Seen {
  readonly line: string;
  /** The limit that it passed. */
  readonly over?: string;
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
    const { line: happened = "", over: late } = (await seen) ?? {};
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
      ...(limits.p99Ms !== undefined && !(p(0.99) <= limits.p99Ms)
        ? [`p99 over ${limits.p99Ms} ms`]
        : []),
      ...(limits.shed !== undefined && shed > limits.shed ? ["shed"] : []),
      ...(late === undefined ? [] : [late]),
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
