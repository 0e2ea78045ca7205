import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm, statfs, unlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { promisify } from "node:util";
import { Scene } from "./scene.ts";

const run = promisify(execFile);
const FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/** Something that only the kernel, or a library under the program, can do. */
export interface KernelCase {
  readonly name: string;
  /** @returns what was seen, or `skipped: why`. @throws when a promise was broken */
  readonly run: () => Promise<string>;
}

/** Every candle is there, and as the exchange closed it. @throws otherwise */
async function check(scene: Scene, before: string): Promise<string> {
  const healMs = await scene.healed(150_000);
  await wait(8_000);
  const { candles, lost, extra, wrong } = await scene.compare();
  const all = [...lost, ...extra, ...wrong];
  if (all.length > 0) throw new Error(`${all.length} of ${candles} candles differ: ${all[0]}`);
  if (scene.honesty.false > 0) throw new Error(scene.findings[0]);
  return `${before}; whole again after ${(healMs / 1_000).toFixed(1)} s, ${candles} candles equal`;
}

async function withScene(
  work: (scene: Scene) => Promise<string>,
  dataDir?: string,
  env?: Record<string, string>,
): Promise<string> {
  const scene = await Scene.open(dataDir);
  try {
    scene.start(env);
    await scene.program.says(/Ingesting/, 60_000);
    await scene.healed(90_000);
    return await work(scene);
  } finally {
    await scene.close();
  }
}

async function diskFull(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "bt-full-"));
  try {
    await run("mount", ["-t", "tmpfs", "-o", "size=220m", "tmpfs", folder]);
  } catch (error) {
    await rm(folder, { recursive: true });
    return `skipped: no tmpfs can be mounted here (${String(error).split("\n")[0]})`;
  }
  try {
    return await withScene(async (scene) => {
      const { bavail, bsize } = await statfs(folder);
      const ballast = join(folder, "ballast");
      await writeFile(ballast, Buffer.alloc(bavail * bsize)).catch(() => undefined);
      // Files that are there already are written on: a checkpoint and new pages need room.
      await scene.admin("checkpoint").catch(() => undefined);
      await wait(20_000);
      await unlink(ballast);
      const said = /E_DB_\w+|disk/i.exec(scene.program.stderr)?.[0] ?? "nothing was said";
      return check(scene, `disk full for 20 s (${said})`);
    }, folder);
  } finally {
    await run("umount", ["-l", folder]).catch(() => undefined);
    await rm(folder, { recursive: true, force: true });
  }
}

async function fewFiles(): Promise<string> {
  return withScene(async (scene) => {
    const pid = String(scene.program.child.pid);
    try {
      await run("prlimit", ["--pid", pid, "--nofile=24:1024"]);
    } catch (error) {
      return `skipped: prlimit does not work here (${String(error).split("\n")[0]})`;
    }
    // What it has keeps working: only new connections need new descriptors.
    scene.stream.reset();
    scene.database.reset();
    await wait(12_000);
    await run("prlimit", ["--pid", pid, "--nofile=1024:1024"]);
    return check(scene, "24 file descriptors for 12 s");
  });
}

async function clockJumps(): Promise<string> {
  if (!existsSync(FAKETIME)) return "skipped: libfaketime is not installed";
  const folder = await mkdtemp(join(tmpdir(), "bt-time-"));
  const file = join(folder, "faketime");
  await writeFile(file, "+0\n");
  const env = {
    LD_PRELOAD: FAKETIME,
    FAKETIME_TIMESTAMP_FILE: file,
    FAKETIME_DONT_FAKE_MONOTONIC: "1",
    FAKETIME_NO_CACHE: "1",
  };
  try {
    return await withScene(
      async (scene) => {
        for (const jump of ["-600s", "+1200s", "+0"]) {
          await writeFile(file, `${jump}\n`);
          await wait(8_000);
        }
        return check(scene, "wall clock −10 min, +20 min, back");
      },
      undefined,
      env,
    );
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function smallHeap(): Promise<string> {
  return withScene(
    async (scene) => {
      scene.database.set({ isBlackHole: true });
      await wait(30_000);
      scene.database.set({});
      if (scene.program.child.exitCode !== null) throw new Error("it ended");
      return check(scene, "64 MB of heap, database gone for 30 s");
    },
    undefined,
    { NODE_OPTIONS: "--max-old-space-size=64" },
  );
}

/** Every case; what the kernel refuses is skipped with its reason. */
export const KERNEL_CASES: readonly KernelCase[] = [
  { name: "disk full under the database", run: diskFull },
  { name: "no file descriptors left", run: fewFiles },
  { name: "wall clock jumps", run: clockJumps },
  { name: "memory cap", run: smallHeap },
];
