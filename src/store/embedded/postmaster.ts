import { spawn } from "node:child_process";
import { constants } from "node:fs";
import { open, readFile, rename, stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Account } from "./account.ts";
import { type Binaries, program, programEnv } from "./binaries.ts";
import { isRunning } from "./lock-file.ts";

/** What `postmaster.pid` says of the server of a data folder. */
export interface Postmaster {
  readonly pid: number;
  readonly port: number;
  /** Folder of the unix socket; empty without one. */
  readonly socketFolder: string;
  /** Address listened on; empty without TCP. */
  readonly address: string;
  readonly isReady: boolean;
}

/** How a server is started. */
export interface StartOptions {
  readonly binaries: Binaries;
  readonly cluster: string;
  readonly account: Account | undefined;
  readonly logFile: string;
  /** `name=value`. */
  readonly settings: readonly string[];
  readonly deadlineMs: number;
}

const MAX_LOG_BYTES = 10_000_000;
const POLL_MS = 5;

/** The server that a data folder names, or `undefined` when it names none. It need not live any more. */
export async function readPostmaster(cluster: string): Promise<Postmaster | undefined> {
  const text = await readFile(join(cluster, "postmaster.pid"), "utf8").catch(() => "");
  const [pid = "", , , port = "", socketFolder = "", address = "", , state = ""] = text.split("\n");
  if (Number(pid) <= 0) return undefined;
  return {
    pid: Number(pid),
    port: Number(port),
    socketFolder: socketFolder.trim(),
    address: address.trim(),
    isReady: state.trim() === "ready",
  };
}

/**
 * True while the process is a PostgreSQL server. After a restart of the machine its number may be another's, and in a
 * container a dead one may stay in the table of processes for want of a parent that buries it.
 */
export async function isServer(pid: number): Promise<boolean> {
  if (!isRunning(pid)) return false;
  if (process.platform !== "linux") return true;
  const text = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
  const [, name = "", state = ""] = /^\d+ \((.*)\) (\S)/s.exec(text) ?? [];
  return name.startsWith("postgres") && state !== "Z";
}

/**
 * Starts a server as a process group of its own, so that neither this process's end nor Ctrl-C in its terminal takes it
 * along before what is to be written is written.
 * @throws {ServerExit} when it ends instead of getting ready
 */
export async function startPostmaster(options: StartOptions): Promise<Postmaster> {
  const { binaries, cluster, account, logFile, settings } = options;
  await rotate(logFile);
  const log = await open(
    logFile,
    constants.O_WRONLY | constants.O_CREAT | constants.O_APPEND,
    0o600,
  );
  let exit: string | undefined;
  let pid: number | undefined;
  try {
    const child = spawn(
      program(binaries, "postgres"),
      ["-D", cluster, ...settings.flatMap((setting) => ["-c", setting])],
      {
        ...account,
        cwd: cluster,
        env: programEnv(binaries),
        detached: true,
        stdio: ["ignore", log.fd, log.fd],
        windowsHide: true,
      },
    );
    child.on("error", (error) => {
      exit = error.message;
    });
    child.on("exit", (code, signal) => {
      exit = `it ended with ${signal ?? `status ${code}`}`;
    });
    child.unref();
    pid = child.pid;
  } finally {
    await log.close();
  }
  const deadline = performance.now() + options.deadlineMs;
  for (;;) {
    const postmaster = await readPostmaster(cluster);
    if (postmaster?.isReady === true && postmaster.pid === pid) return postmaster;
    if (exit !== undefined) throw new ServerExit(exit, await logTail(logFile));
    if (performance.now() > deadline) {
      throw new ServerExit(
        `it was not ready within ${options.deadlineMs / 1_000} s`,
        await logTail(logFile),
      );
    }
    await sleep(POLL_MS);
  }
}

/**
 * Stops a server at once, with its data safe: open transactions are rolled back, clients are cut off.
 * @throws {Error} when it does not end
 */
export async function stopPostmaster(pid: number, deadlineMs: number): Promise<void> {
  const deadline = performance.now() + deadlineMs;
  process.kill(pid, "SIGINT");
  while (await isServer(pid)) {
    if (performance.now() > deadline) throw new Error(`server process ${pid} does not stop`);
    await sleep(POLL_MS);
  }
}

/** A server ended before it was ready. */
export class ServerExit extends Error {
  override readonly name = "ServerExit";
  /** Last lines of its log. */
  readonly log: string;

  constructor(message: string, log: string) {
    super(message);
    this.log = log;
  }

  /** True when another server, perhaps one that is just dying, still holds the data folder. */
  get isFolderInUse(): boolean {
    return /lock file .* already exists|shared memory block .* still in use|Is another postmaster/.test(
      this.log,
    );
  }
}

/** The end of a log, for an error's cause. */
async function logTail(path: string): Promise<string> {
  const text = await readFile(path, "utf8").catch(() => "");
  return text.slice(-1_200).trim();
}

async function rotate(path: string): Promise<void> {
  const entry = await stat(path).catch(() => undefined);
  if (entry !== undefined && entry.size > MAX_LOG_BYTES) await rename(path, `${path}.1`);
}
