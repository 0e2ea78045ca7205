import { setTimeout as wait } from "node:timers/promises";
import { DATABASE_NAME, Scene } from "./scene.ts";

/** A place at which the program is killed. */
export interface CrashPoint {
  /** As `crash-hook.ts` calls it. */
  readonly name: string;
  /** Reached only when the exchange is in trouble. */
  readonly isProvoked?: boolean;
  /** Reached only once, or seldom, in a run. */
  readonly isOnce?: boolean;
  /** Makes it due, whatever the runs before it have done: a statement for the database. */
  readonly prepare?: string;
}

const both = (name: string, more: Omit<CrashPoint, "name"> = {}): CrashPoint[] => [
  { name: `before ${name}`, ...more },
  { name: `after ${name}`, ...more },
];

/** Every point, in the order of a run. */
export const CRASH_POINTS: readonly CrashPoint[] = [
  ...both("run-begin", { isOnce: true }),
  ...both("run-want", { isOnce: true }),
  ...both("sql begin"),
  ...both("sql insert"),
  ...both("sql with"),
  ...both("sql commit"),
  ...both("write"),
  ...both("report"),
  // Due after 500 candles, and an earlier run that lived long enough may just have done it.
  ...both("confirm-save", {
    isOnce: true,
    prepare: "update ingestion_status set confirmed_to = confirmed_to - interval '1 hour'",
  }),
  ...both("gap-open", { isProvoked: true, isOnce: true }),
  ...both("gap-replace", { isProvoked: true, isOnce: true }),
  ...both("ban-save", { isProvoked: true, isOnce: true }),
];

/** What became of it. */
export interface CrashReport {
  readonly isGood: boolean;
  readonly line: string;
  readonly notReached: readonly string[];
}

const REACHED_WITHIN_MS = 90_000;

/** Kills the program at each point, at each of these hits, one run after another on one database; compares at the end. */
export async function crashes(
  points: readonly CrashPoint[],
  hits: readonly number[],
  say: (line: string) => void,
): Promise<CrashReport> {
  const scene = await Scene.open();
  const hook = `--import ${new URL("./crash-hook.ts", import.meta.url).href}`;
  const notReached: string[] = [];
  let killed = 0;
  let historyDays = 0.01;
  try {
    scene.start();
    await scene.program.says(/Ingesting/);
    await scene.healed(60_000);
    await scene.end("SIGKILL");
    for (const { name, isProvoked, isOnce, prepare } of points) {
      for (const hit of isOnce === true ? hits.slice(0, 1) : hits) {
        // Each time a little more history is wanted: a gap to be filled.
        historyDays += 0.002;
        const env = {
          CRASH_POINT: name,
          CRASH_HIT: String(hit),
          BACKFILL_DAYS: historyDays.toFixed(3),
        };
        if (prepare !== undefined) await scene.admin(prepare, DATABASE_NAME);
        scene.start(env, hook);
        const calm = isProvoked === true ? provoke(scene) : undefined;
        const ended = await within(REACHED_WITHIN_MS, scene.program.ended());
        calm?.();
        if (ended?.signal === "SIGKILL") killed += 1;
        else {
          await scene.end("SIGKILL");
          notReached.push(`${name} ×${hit}`);
        }
        say(
          `crash: ${name}, hit ${hit}: ${ended?.signal === "SIGKILL" ? "killed" : "not reached"}`,
        );
      }
    }
    scene.start();
    // An outage leaves a gap that is open for an hour: what counts is the table, not the word.
    const healMs = await scene.complete(120_000);
    // What is stored early is read again once it has settled.
    await wait(8_000);
    const until = scene.simulator.now();
    await scene.complete(30_000).catch(() => undefined);
    const { candles, lost, extra, wrong } = await scene.compare(until);
    for (const finding of [...lost, ...extra, ...wrong].slice(0, 5)) say(`finding: ${finding}`);
    const { violations } = scene.simulator.journal.counts();
    const broken = Object.values(violations).reduce((sum, count) => sum + count, 0);
    return {
      isGood: lost.length + extra.length + wrong.length + broken + notReached.length === 0,
      notReached,
      line:
        `crashes  points ${points.length}  kills ${killed}  not reached ${notReached.length}${notReached.length === 0 ? "" : ` (${notReached.join(", ")})`}  ` +
        `whole again ${(healMs / 1_000).toFixed(1)} s after the last  candles ${candles}  lost ${lost.length}  extra ${extra.length}  wrong ${wrong.length}  violations ${broken}`,
    };
  } finally {
    await scene.close();
  }
}

/** @returns what `work` gives, or `undefined` when it takes longer */
async function within<T>(ms: number, work: Promise<T>): Promise<T | undefined> {
  const done = new AbortController();
  try {
    return await Promise.race([work, wait(ms, undefined, { signal: done.signal })]);
  } finally {
    done.abort();
  }
}

/** An outage that leaves a hole, a silent stream, and at last a ban. @returns ends it */
function provoke({ simulator }: Scene): () => void {
  simulator.faults.set({ kind: "outage", symbols: ["NXSBTC"], forMs: 4_000 });
  simulator.faults.set({ kind: "silence", streams: ["btcusdt@kline_1s"], forMs: 30_000 });
  const timer = setTimeout(() => simulator.faults.set({ kind: "ban", ms: 8_000 }), 6_000);
  return () => {
    clearTimeout(timer);
    simulator.faults.clear();
  };
}
