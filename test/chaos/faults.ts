import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import type { Fault } from "../../src/simulator/index.ts";
import type { Scene } from "./scene.ts";

/** One thing that goes wrong. */
export interface ChaosFault {
  readonly name: string;
  /** How long it lasts, s. */
  readonly lastS: number;
  /** How long healing may take after it, s; 60 when not given. */
  readonly healS?: number;
  readonly strike: (scene: Scene) => unknown;
  readonly mend?: (scene: Scene) => unknown;
}

/** A fault of the exchange itself. */
function exchange(name: string, lastS: number, fault: Fault, healS?: number): ChaosFault {
  return {
    name,
    lastS,
    ...(healS === undefined ? {} : { healS }),
    strike: ({ simulator }) => simulator.faults.set(fault),
    mend: ({ simulator }) => simulator.faults.clear(),
  };
}

/** A fault of a road. */
function road(
  name: string,
  which: "rest" | "stream" | "database",
  lastS: number,
  weather: Parameters<Scene["rest"]["set"]>[0],
  healS?: number,
): ChaosFault {
  return {
    name,
    lastS,
    ...(healS === undefined ? {} : { healS }),
    strike: (scene) => scene[which].set(weather),
    mend: (scene) => scene[which].set({}),
  };
}

/** Number of the server's main process. */
async function postmaster({ dataDir }: Scene): Promise<number> {
  return Number((await readFile(join(dataDir, "pg18", "postmaster.pid"), "utf8")).split("\n")[0]);
}

/** Every process of the server. */
async function serverProcesses(scene: Scene): Promise<number[]> {
  const main = await postmaster(scene);
  const children = await readFile(`/proc/${main}/task/${main}/children`, "utf8");
  return [main, ...children.trim().split(/\s+/).filter(Boolean).map(Number)];
}

async function signalServer(scene: Scene, signal: NodeJS.Signals): Promise<void> {
  for (const pid of await serverProcesses(scene)) {
    try {
      process.kill(pid, signal);
    } catch {
      // It ended meanwhile.
    }
  }
}

/** COMMIT was done, and its answer does not come: `C`, length, `COMMIT` (PostgreSQL, message formats). */
const isCommitDone = (chunk: Buffer): boolean => chunk.includes("COMMIT\0");

/** What happens to the exchange and to the road that leads to it. */
const OUTSIDE: readonly ChaosFault[] = [
  exchange("stream: cut without a word", 1, { kind: "drop", code: 1006 }),
  exchange("stream: cut in the middle of a frame", 1, { kind: "cutMidFrame" }),
  exchange("stream: server goes down with notice", 3, {
    kind: "serverShutdown",
    closeAfterMs: 1_000,
  }),
  exchange("stream: silent, pings go on", 20, { kind: "silence" }),
  exchange("stream: one series silent", 20, { kind: "silence", streams: ["btcusdt@kline_1s"] }),
  exchange("stream: no closing frames", 15, { kind: "missingFinal" }),
  exchange("stream: closing frames late", 15, { kind: "lateFinal", ms: 4_000 }),
  exchange("stream: closing frames twice", 5, { kind: "duplicateFinal" }),
  exchange("stream: frames out of order", 8, { kind: "reorder" }),
  exchange("stream: old forming frame after the close", 8, { kind: "staleForming" }),
  exchange("stream: new sockets refused, 403", 8, { kind: "refuseUpgrades", status: 403 }),
  exchange("stream: pings stop", 8, { kind: "noPings" }),
  road("stream: black hole", "stream", 15, { isBlackHole: true }, 120),
  road("stream: 3 s late", "stream", 12, { delayMs: 3_000 }),
  road("stream: 600 bytes a second", "stream", 15, { bytesPerSecond: 600 }, 120),
  {
    name: "stream: refused and cut",
    lastS: 10,
    strike: ({ stream }) => {
      stream.set({ isRefusing: true });
      stream.reset();
    },
    mend: ({ stream }) => stream.set({}),
  },
  exchange("REST: 429 with Retry-After", 4, { kind: "rest", answer: "429", retryAfter: "5" }),
  exchange("REST: banned for 8 s", 9, { kind: "ban", ms: 8_000 }),
  exchange("REST: 503", 8, { kind: "rest", answer: "503" }),
  exchange("REST: a web page", 8, { kind: "rest", answer: "html" }),
  exchange("REST: JSON cut off", 8, { kind: "rest", answer: "truncated" }),
  exchange("REST: no answer", 12, { kind: "rest", answer: "timeout" }, 90),
  exchange("REST: replica lags 3 s", 12, { kind: "restLag", ms: 3_000 }),
  road("REST: refused", "rest", 8, { isRefusing: true }),
  road("REST: black hole", "rest", 15, { isBlackHole: true }, 90),
  exchange(
    "both: corrections after the close",
    12,
    { kind: "corrections", share: 0.3, delayMs: 1_500 },
    120,
  ),
  {
    name: "both: stream and REST gone",
    lastS: 15,
    healS: 120,
    strike: ({ stream, rest }) => {
      for (const proxy of [stream, rest]) {
        proxy.set({ isRefusing: true });
        proxy.reset();
      }
    },
    mend: ({ stream, rest }) => {
      stream.set({});
      rest.set({});
    },
  },
];

/** What happens to the database and to the road that leads to it. */
const DATABASE: readonly ChaosFault[] = [
  {
    name: "database: fast stop, started again",
    lastS: 2,
    strike: async (scene) => process.kill(await postmaster(scene), "SIGINT"),
  },
  {
    name: "database: immediate stop",
    lastS: 2,
    strike: async (scene) => process.kill(await postmaster(scene), "SIGQUIT"),
  },
  {
    name: "database: kill -9",
    lastS: 2,
    strike: async (scene) => process.kill(await postmaster(scene), "SIGKILL"),
  },
  {
    name: "database: every session ended",
    lastS: 1,
    strike: (scene) =>
      scene.admin(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = 'black_trade'",
      ),
  },
  {
    name: "database: frozen (SIGSTOP)",
    lastS: 25,
    healS: 120,
    strike: (scene) => signalServer(scene, "SIGSTOP"),
    mend: (scene) => signalServer(scene, "SIGCONT"),
  },
  {
    name: "database: read-only",
    lastS: 10,
    strike: async (scene) => {
      await scene.admin("alter database black_trade set default_transaction_read_only = on");
      await scene.admin(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = 'black_trade'",
      );
    },
    mend: async (scene) => {
      await scene.admin("alter database black_trade set default_transaction_read_only = off");
      await scene.admin(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = 'black_trade'",
      );
    },
  },
  {
    name: "database: no free connection",
    lastS: 10,
    strike: async (scene) => {
      // A superuser is let in beyond the limit of a database; one that may not be connected to lets nobody in.
      await scene.admin(
        "update pg_database set datallowconn = false where datname = 'black_trade'",
      );
      await scene.admin(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = 'black_trade'",
      );
    },
    mend: (scene) =>
      scene.admin("update pg_database set datallowconn = true where datname = 'black_trade'"),
  },
  {
    name: "database: table locked by another",
    lastS: 12,
    healS: 90,
    strike: (scene) => {
      // Not waited for: the lock is the fault.
      void scene
        .admin("lock table candles in exclusive mode; select pg_sleep(12)", "black_trade")
        .catch(() => undefined);
    },
  },
  road("database: answers to COMMIT lost", "database", 12, { cutsBefore: isCommitDone }, 90),
  road("database: black hole", "database", 25, { isBlackHole: true }, 120),
  road("database: 400 ms late", "database", 15, { delayMs: 400 }, 120),
  road("database: refused", "database", 8, { isRefusing: true }),
  { name: "database: connections reset", lastS: 1, strike: ({ database }) => database.reset() },
];

async function restart(scene: Scene): Promise<void> {
  scene.start();
  await scene.program.says(/Ingesting/, 60_000);
}

/** What happens to the program. */
const PROGRAM: readonly ChaosFault[] = [
  {
    name: "program: kill -9",
    lastS: 3,
    strike: (scene) => scene.end("SIGKILL"),
    mend: restart,
  },
  {
    name: "program: SIGTERM",
    lastS: 3,
    strike: async (scene) => {
      const status = await scene.end("SIGTERM");
      if (status !== 143) scene.findings.push(`SIGTERM ended it with ${status}`);
    },
    mend: restart,
  },
  {
    name: "program: stopped for 20 s (a laptop asleep)",
    lastS: 20,
    healS: 120,
    strike: ({ program }) => program.kill("SIGSTOP"),
    mend: ({ program }) => program.kill("SIGCONT"),
  },
  {
    name: "program: kill -9 in the middle of a ban",
    lastS: 6,
    healS: 120,
    strike: async (scene) => {
      scene.simulator.faults.set({ kind: "ban", ms: 12_000 });
      // So that it meets the ban and has to write it down.
      scene.simulator.faults.set({ kind: "silence" });
      await wait(4_000);
      await scene.end("SIGKILL");
      scene.start();
    },
    mend: async ({ simulator, program }) => {
      simulator.faults.clear();
      await program.says(/Ingesting/, 60_000);
    },
  },
];

/** Every fault, each once, in the order in which they strike. */
export const CHAOS_FAULTS: readonly ChaosFault[] = [...OUTSIDE, ...DATABASE, ...PROGRAM];
