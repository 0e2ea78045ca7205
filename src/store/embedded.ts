import { createHash } from "node:crypto";
import { chown, mkdtemp, readFile, realpath, rmdir, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { messageOf } from "../core/errors.ts";
import { fileFault, pathOf } from "../core/file-fault.ts";
import { makeFolder } from "../make-folder.ts";
import { Database, type Session } from "./database.ts";
import { sqlStateOf } from "./db-errors.ts";
import { type Account, closedFolder, mayRun, serverAccount } from "./embedded/account.ts";
import {
  type Binaries,
  copyBinaries,
  packagedFolder,
  prepareBinaries,
  program,
} from "./embedded/binaries.ts";
import {
  EMBEDDED_USER,
  ensureCluster,
  passwordFile,
  readPassword,
  startError,
} from "./embedded/cluster.ts";
import { isRunning, withLockFile } from "./embedded/lock-file.ts";
import {
  isServer,
  type Postmaster,
  readPostmaster,
  ServerExit,
  startPostmaster,
  stopPostmaster,
} from "./embedded/postmaster.ts";

/** What an embedded server is started with. */
export interface EmbeddedOptions {
  /** Its data lies in `pg18` of this folder, which is made when it is missing. */
  readonly dataDir: string;
  /** Folder with `bin`, `lib` and `share` of another server than the package's. */
  readonly binariesFolder?: string;
  /** Further settings of the server, `name=value`. */
  readonly settings?: readonly string[];
  /** Where root's data and programs go when the server's user cannot reach `dataDir`. */
  readonly systemFolder?: string;
  /** How long the server may take to get ready, ms; it may have a crash to recover from. */
  readonly startDeadlineMs?: number;
  /** Told in one line when the server had to be started again. */
  readonly onNote?: (note: string) => void;
}

/** A running embedded server, used by this process. */
export interface Embedded {
  /** Connection URL of one of its databases, which need not exist yet. Holds the password. */
  urlOf(database: string): string;
  /** What to type for a look at a database with psql; holds no password. */
  psqlHint(database: string): string;
  readonly logFile: string;
  /** Number of the server's process. */
  readonly serverPid: number;
  /** False when it was running already and this process has joined. */
  readonly wasStarted: boolean;
  /** This process does not use it any more. The last one that leaves stops it. */
  release(): Promise<void>;
}

/** Name of the program's database in the embedded server. */
export const EMBEDDED_DATABASE = "black_trade";

const PRESENCE = "black-trade presence";
const PORT = 5432;
/** Of `sockaddr_un`, less the final zero. */
const MAX_SOCKET_PATH = 107;
/** How long a server that is just dying may take. */
const DYING_MS = 5_000;
const LOCK_DEADLINE_MS = 150_000;
const STOP_DEADLINE_MS = 60_000;
const MAX_REVIVE_PAUSE_MS = 30_000;
/** No process of Linux has a greater number. */
const MAX_PID = 4_194_304;

const SETTINGS = [
  "max_connections=60",
  "max_wal_size=512MB",
  "jit=off",
  // Containers often have 64 MB of /dev/shm, too little for parallel plans.
  "max_parallel_workers_per_gather=0",
  "timezone=UTC",
  "log_timezone=UTC",
  "log_line_prefix=%m [%p] ",
  "log_checkpoints=off",
];

/**
 * Starts PostgreSQL from the optional package, or joins the one that already runs on the folder. The server is no child of this process: it survives a crash, and the next user joins it. While this
 * process uses it, a server that dies is started again.
 * @throws {BlackTradeError} E_EMBEDDED_MISSING, E_EMBEDDED_START
 */
export async function startEmbedded(options: EmbeddedOptions): Promise<Embedded> {
  try {
    const place = await findPlace(options);
    return await withLock(place, async () => {
      const server = new EmbeddedServer(place, options);
      await server.join();
      return server;
    });
  } catch (error) {
    const place = pathOf(error) ?? options.dataDir;
    const fault = fileFault(error, place);
    if (fault === undefined) throw error;
    const { what, remedy = "Set DATA_DIR to a folder that this user may write." } = fault;
    throw startError(`${place} cannot be used: ${what}`, remedy, error);
  }
}

/** Where a server's files are. */
interface Place {
  readonly binaries: Binaries;
  readonly account: Account | undefined;
  readonly cluster: string;
}

class EmbeddedServer implements Embedded {
  readonly #place: Place;
  readonly #options: EmbeddedOptions;
  #postmaster: Postmaster | undefined;
  #presence: Session | undefined;
  #password = "";
  #wasStarted = false;
  #isReleased = false;

  constructor(place: Place, options: EmbeddedOptions) {
    this.#place = place;
    this.#options = options;
  }

  urlOf(database: string): string {
    const { port = PORT, socketFolder = "", address = "" } = this.#postmaster ?? {};
    const name = encodeURIComponent(database);
    const user = `${EMBEDDED_USER}:${this.#password}`;
    // The server has no TLS and needs none on this machine: PGSSLMODE is meant for others.
    return socketFolder === ""
      ? `postgresql://${user}@${address}:${port}/${name}?sslmode=disable`
      : `postgresql://${user}@/${name}?host=${encodeURIComponent(socketFolder)}&port=${port}&sslmode=disable`;
  }

  psqlHint(database: string): string {
    const { port = PORT, socketFolder = "", address = "" } = this.#postmaster ?? {};
    const host = socketFolder === "" ? address : socketFolder;
    const password = passwordFile(this.#place.cluster);
    return `PGPASSWORD="$(cat '${password}')" psql -h '${host}' -p ${port} -U ${EMBEDDED_USER} '${database}'`;
  }

  get logFile(): string {
    return `${this.#place.cluster}.log`;
  }

  get serverPid(): number {
    return this.#postmaster?.pid ?? 0;
  }

  get wasStarted(): boolean {
    return this.#wasStarted;
  }

  /** Joins or starts the server. To be called under the lock. */
  async join(): Promise<void> {
    const { cluster, binaries, account } = this.#place;
    await ensureCluster(cluster, binaries, account);
    this.#password = await readPassword(cluster);
    await this.#reach();
    this.#presence?.onEnd(() => {
      if (!this.#isReleased) void this.#revive();
    });
  }

  async release(): Promise<void> {
    if (this.#isReleased) return;
    this.#isReleased = true;
    await withLock(this.#place, async () => {
      const isLast = await this.#isLast();
      await this.#presence?.close();
      if (isLast) await this.#stop();
    });
  }

  async #stop(): Promise<void> {
    await stopPostmaster(this.serverPid, STOP_DEADLINE_MS);
    const folder = this.#postmaster?.socketFolder ?? "";
    // Empty by now, unless it is the data folder or somebody else's.
    if (folder !== "" && folder !== this.#place.cluster) await rmdir(folder).catch(() => undefined);
  }

  /** True when no other process says that it uses the server. */
  async #isLast(): Promise<boolean> {
    if (this.#presence?.isAlive !== true) return false;
    try {
      const [row] = await this.#presence.run<{ others: number }>({
        text: `
          select count(*) as others from pg_stat_activity
          where application_name = $1 and pid <> pg_backend_pid()`,
        values: [PRESENCE],
      });
      return row?.others === 0;
    } catch {
      return false;
    }
  }

  async #reach(): Promise<void> {
    const deadline = performance.now() + DYING_MS;
    for (;;) {
      const reason = await this.#tryToReach();
      if (reason === undefined) return;
      if (performance.now() > deadline) {
        const { cluster } = this.#place;
        const pid = (await readPostmaster(cluster))?.pid;
        throw startError(
          `the server process ${pid} on ${cluster} is not to be reached: ${messageOf(reason)}`,
          `Look into ${this.logFile}; when nobody else uses the folder, stop that process.`,
          reason,
        );
      }
      await sleep(50);
    }
  }

  /** @returns why not yet, when it may work in a moment */
  async #tryToReach(): Promise<unknown> {
    const { cluster } = this.#place;
    const running = await readPostmaster(cluster);
    if (running === undefined || !(await isServer(running.pid))) {
      if (running !== undefined) await disown(cluster, running.pid);
      return this.#start();
    }
    if (!running.isReady) return new Error("it is starting or stopping");
    this.#postmaster = running;
    try {
      this.#presence = await this.#announce();
      return undefined;
    } catch (error) {
      if (!["28P01", "28000"].includes(sqlStateOf(error) ?? "")) return error;
      throw startError(
        `process ${running.pid} serves ${cluster} and does not accept this program's password`,
        "Stop that server, or set DATA_DIR to a folder that nobody else uses.",
        error,
      );
    }
  }

  async #start(): Promise<unknown> {
    const { cluster, binaries, account } = this.#place;
    const { settings = [], startDeadlineMs = 120_000 } = this.#options;
    try {
      this.#postmaster = await startPostmaster({
        binaries,
        cluster,
        account,
        logFile: this.logFile,
        settings: [...SETTINGS, ...(await this.#listenSettings()), ...settings],
        deadlineMs: startDeadlineMs,
      });
    } catch (error) {
      if (!(error instanceof ServerExit)) throw error;
      if (error.isFolderInUse) return error;
      const [last = ""] = error.log
        .split("\n")
        .filter((line) => /FATAL|PANIC|could not/.test(line))
        .slice(-1);
      throw startError(
        `PostgreSQL did not start on ${cluster}: ${last.replace(/^.*?(?:FATAL|PANIC):\s*/, "") || error.message}`,
        `Look into ${this.logFile}; check free disk space and the rights on the folder, or set DATABASE_URL.`,
        new Error(`${error.message}\n${error.log}`),
      );
    }
    try {
      this.#presence = await this.#announce();
    } catch (error) {
      // Nobody has said that he uses it: nobody would stop it.
      await this.#stop().catch(() => undefined);
      throw error;
    }
    this.#wasStarted = true;
    return undefined;
  }

  /** A unix socket in the data folder, which only its owner may enter; Windows has none. */
  async #listenSettings(): Promise<string[]> {
    if (process.platform === "win32") {
      const port = this.#postmaster?.port ?? (await freePort());
      return ["listen_addresses=127.0.0.1", `port=${port}`];
    }
    const folder = await this.#socketFolder();
    return [
      "listen_addresses=",
      `port=${PORT}`,
      `unix_socket_directories="${folder.replaceAll('"', '""')}"`,
      "unix_socket_permissions=0700",
    ];
  }

  async #socketFolder(): Promise<string> {
    const { cluster, account } = this.#place;
    if (Buffer.byteLength(join(cluster, `.s.PGSQL.${PORT}`)) <= MAX_SOCKET_PATH) return cluster;
    // The same as before when a server is started again: connections of this process look there.
    const before = this.#postmaster?.socketFolder;
    const folder = before ?? (await mkdtemp(join(tmpdir(), "black-trade-")));
    await makeFolder(folder, 0o700);
    if (account !== undefined) await chown(folder, account.uid, account.gid);
    return folder;
  }

  /** The connection by which other processes see that this one uses the server. */
  async #announce(): Promise<Session> {
    const database = new Database({ url: this.urlOf("postgres"), connectDeadlineMs: 5_000 });
    const session = await database.openSession(PRESENCE);
    session.unref();
    return session;
  }

  /** The server has died under this process: brings it back, however long it takes. */
  async #revive(): Promise<void> {
    for (
      let pauseMs = 250;
      !this.#isReleased;
      pauseMs = Math.min(pauseMs * 2, MAX_REVIVE_PAUSE_MS)
    ) {
      try {
        await withLock(this.#place, async () => {
          if (!this.#isReleased) await this.join();
        });
        this.#options.onNote?.(
          `the embedded PostgreSQL had ended; it runs again as process ${this.serverPid}`,
        );
        return;
      } catch (error) {
        this.#options.onNote?.(`the embedded PostgreSQL has ended: ${messageOf(error)}`);
        await sleep(pauseMs, undefined, { ref: false });
      }
    }
  }
}

async function withLock<T>({ cluster }: Place, work: () => Promise<T>): Promise<T> {
  return withLockFile(`${cluster}.lock`, LOCK_DEADLINE_MS, work);
}

async function findPlace(options: EmbeddedOptions): Promise<Place> {
  const dataDir = resolve(options.dataDir);
  const isRoot = process.getuid?.() === 0;
  await makeFolder(dataDir, isRoot ? 0o755 : 0o700).catch((error: unknown) => {
    throw startError(
      `the folder ${dataDir} cannot be made: ${messageOf(error)}`,
      "Set DATA_DIR to a folder that this user may write.",
      error,
    );
  });
  const binaries = await prepareBinaries(options.binariesFolder ?? packagedFolder(), dataDir);
  const link = join(dataDir, `pg${binaries.major}`);
  const existing = await realpath(link).catch(() => undefined);
  const account = await serverAccount(existing ?? dataDir);
  if (account === undefined) return { binaries, account, cluster: existing ?? link };
  const cluster = existing ?? (await reachable(link, account, options.systemFolder));
  const isReachable =
    (await closedFolder(binaries.folder, account)) === undefined &&
    (await mayRun(program(binaries, "postgres"), account));
  return {
    binaries: isReachable ? binaries : await copyBinaries(binaries, dirname(cluster)),
    account,
    cluster,
  };
}

/**
 * A place for the data that the server's user can get to. Below root's own home it cannot: the data then lie in the
 * system's folder for them, and a link in `DATA_DIR` leads there.
 */
async function reachable(
  link: string,
  account: Account,
  systemFolder = "/var/lib/black-trade",
): Promise<string> {
  const closed = await closedFolder(dirname(link), account);
  if (closed === undefined) return link;
  const mark = createHash("sha256").update(link).digest("hex").slice(0, 12);
  const cluster = join(systemFolder, mark, link.slice(dirname(link).length + 1));
  try {
    await makeFolder(dirname(cluster), 0o755);
    const stillClosed = await closedFolder(dirname(cluster), account);
    if (stillClosed !== undefined) throw new Error(`${stillClosed} is closed, too`);
    await symlink(cluster, link).catch((error) => {
      // Made by another process, or before the data: it leads to the same place.
      if (error.code !== "EEXIST") throw error;
    });
  } catch (error) {
    throw startError(
      `PostgreSQL does not run as root, and user number ${account.uid} cannot pass ${closed}`,
      "Set DATA_DIR to a folder that every user can reach, or start black-trade as another user than root.",
      error,
    );
  }
  return cluster;
}

/**
 * After a restart of the machine the number in `postmaster.pid` may be that of some other process, and PostgreSQL would
 * take that for a server. A number that no process can have keeps the rest of the file, which tells PostgreSQL whether
 * processes of a dead server are still there.
 */
async function disown(cluster: string, pid: number): Promise<void> {
  if (process.platform !== "linux" || !isRunning(pid)) return;
  const path = join(cluster, "postmaster.pid");
  const text = await readFile(path, "utf8").catch(() => undefined);
  if (text === undefined) return;
  await writeFile(path, text.replace(/^\d+/, String(MAX_PID + 1)));
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((done, failed) => {
    server.once("error", failed);
    server.listen(0, "127.0.0.1", done);
  });
  const address = server.address();
  await new Promise((done) => server.close(done));
  return typeof address === "object" && address !== null ? address.port : PORT;
}
