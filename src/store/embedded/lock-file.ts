import { link, open, readFile, rename, rm, stat } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";

/** How long a lock may stand without a sign of its owner; none of what it guards takes so long. */
const STALE_AFTER_MS = 180_000;
const RETRY_MS = 20;

/** Locks that this very process has, or is about to take: its own number in a lock file says nothing otherwise, numbers are used again. */
const held = new Set<string>();

/**
 * Runs `work` while no other process is inside: initialising, starting and stopping a server are not for two at a time.
 * A lock whose process is dead is taken over.
 * @param deadlineMs how long to wait
 * @throws {Error} when the lock is not to be had; else what `work` throws
 */
export async function withLockFile<T>(
  path: string,
  deadlineMs: number,
  work: () => Promise<T>,
): Promise<T> {
  const deadline = performance.now() + deadlineMs;
  while (!(await take(path))) {
    if (performance.now() > deadline) {
      throw new Error(`lock ${path} is held by process ${await ownerOf(path)}`);
    }
    await sleep(RETRY_MS);
  }
  try {
    return await work();
  } finally {
    // In this order: one that is not held and bears this process's number counts as left behind.
    await rm(path, { force: true }).finally(() => held.delete(path));
  }
}

async function take(path: string): Promise<boolean> {
  if (held.has(path)) return false;
  // Before the file is made: another of this process would take it for one of a process that had its number before.
  held.add(path);
  let isTaken = false;
  try {
    isTaken = await create(path);
    if (!isTaken && (await isStale(path))) await remove(path);
  } finally {
    if (!isTaken) held.delete(path);
  }
  return isTaken;
}

async function create(path: string): Promise<boolean> {
  try {
    // On a full disk it is made and cannot be written: then nobody owns it, and it soon counts as stale.
    await using file = await open(path, "wx", 0o600);
    await file.writeFile(String(process.pid));
    return true;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "EEXIST") return false;
    throw error;
  }
}

async function isStale(path: string): Promise<boolean> {
  const entry = await stat(path).catch(() => undefined);
  if (entry === undefined) return false;
  const ageMs = Date.now() - entry.mtimeMs;
  if (ageMs > STALE_AFTER_MS) return true;
  const owner = Number(await ownerOf(path));
  // Just created and not written yet, unless it stays so.
  if (owner === 0) return ageMs > 1_000;
  return owner === process.pid || !isRunning(owner);
}

/**
 * Two processes may find the same stale lock; the slower one must not remove the faster one's new lock. So it is moved
 * aside first and looked at there.
 */
async function remove(path: string): Promise<void> {
  const aside = `${path}.${process.pid}`;
  try {
    await rename(path, aside);
  } catch {
    return;
  }
  if (!(await isStale(aside))) await link(aside, path).catch(() => undefined);
  await rm(aside, { force: true });
}

async function ownerOf(path: string): Promise<string> {
  return readFile(path, "utf8").catch(() => "");
}

/** True when a process of this number exists, whoever's it is. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}
