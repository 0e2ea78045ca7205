import { readFile, stat, statfs } from "node:fs/promises";
import { freemem } from "node:os";
import { secretsOf } from "../config.ts";
import { BlackTradeError } from "../core/errors.ts";
import { inspectEmbedded } from "../store/index.ts";
import { redactor } from "../telemetry/log.ts";
import type { Check, Verdict } from "./check.ts";
import type { Context } from "./context.ts";
import { folderVerdict, nearestFolder } from "./folder.ts";

const MIN_NODE = [22, 18] as const;
const MIB = 2 ** 20;
/** Below it PostgreSQL stops writing before anybody has looked. */
const FULL_BYTES = 200 * MIB;
const LOW_BYTES = 2_048 * MIB;
const MIN_FILES = 256;
const USUAL_FILES = 1_024;
/** The program alone; the embedded server shares the limit of a container. */
const MIN_MEMORY = 256 * MIB;
const USUAL_MEMORY = 448 * MIB;

/** What can be looked at without database and network. */
export const SETUP_CHECKS: readonly Check<Context>[] = [
  { id: "node", title: "Node.js", run: () => nodeVersion(process.versions.node) },
  {
    id: "configuration",
    title: "settings from flags, environment and .env",
    run: (context) => {
      context.config = context.load();
      const { symbols, timeframes, mode } = context.config;
      const overruled = context.environment.overruled;
      const found = `${symbols.length} symbols × ${timeframes.length} timeframes, ${mode}`;
      return overruled.length === 0
        ? { status: "ok", found }
        : {
            status: "ok",
            found: `${found}; the environment overrules .env in ${overruled.join(", ")}`,
          };
    },
  },
  { id: "env-file", title: "rights of .env", needs: ["configuration"], run: envFile },
  { id: "network-environment", title: "proxy and TLS variables", run: networkEnvironment },
  { id: "data-dir", title: "data folder", needs: ["configuration"], run: dataDir },
  { id: "disk", title: "free disk space", needs: ["data-dir"], run: disk },
  { id: "embedded", title: "embedded PostgreSQL", needs: ["data-dir"], run: embedded },
  { id: "memory", title: "memory", run: () => memory(memoryLimit(), freemem()) },
  { id: "file-limit", title: "open files allowed", run: fileLimit },
];

/** Judges a version of Node.js. */
export function nodeVersion(version: string): Verdict {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const isOld = major < MIN_NODE[0] || (major === MIN_NODE[0] && minor < MIN_NODE[1]);
  return isOld
    ? {
        status: "fail",
        found: `Node.js ${version} is too old`,
        remedy: `Run it by npx in a checkout after "npm ci", which brings its own, or install Node.js ${MIN_NODE.join(".")} or newer.`,
        code: "E_NODE_VERSION",
      }
    : { status: "ok", found: `Node.js ${version}` };
}

async function envFile({ environment, config }: Context): Promise<Verdict> {
  const { envFile: path } = environment;
  const entry = await stat(path).catch(() => undefined);
  if (entry === undefined)
    return { status: "ok", found: "there is no .env; defaults and environment hold" };
  const isOpen = process.platform !== "win32" && (entry.mode & 0o077) !== 0;
  const text = await readFile(path, "utf8").catch(() => "");
  const hasSecret = redactor(secretsOf(config))(text) !== text;
  return isOpen && hasSecret
    ? {
        status: "warn",
        found: `${path} holds a password or token and other users of this machine may read it`,
        remedy: `chmod 600 ${path}`,
      }
    : { status: "ok", found: path };
}

function networkEnvironment({ environment }: Context): Verdict {
  const { isTlsUnchecked, proxies, usesProxies } = environment;
  if (isTlsUnchecked) {
    return {
      status: "fail",
      found: "NODE_TLS_REJECT_UNAUTHORIZED=0 switches the check of certificates off",
      remedy:
        "Unset it. For a proxy with a certificate of its own set NODE_EXTRA_CA_CERTS to its authority's file.",
    };
  }
  if (proxies.length > 0) {
    const names = proxies.join(" and ");
    return {
      status: "warn",
      found: usesProxies
        ? `${names} is used by REST and the archive; the WebSocket goes out directly`
        : `${names} is set and has no effect: this program goes out directly`,
      remedy: usesProxies
        ? 'If only the proxy may go out, collect without the WebSocket: "npx black-trade ingest polling".'
        : 'If only the proxy may go out, set NODE_USE_ENV_PROXY=1 and run "npx black-trade ingest polling".',
    };
  }
  return { status: "ok", found: "no proxy; certificates are checked" };
}

async function dataDir({ config }: Context): Promise<Verdict> {
  return folderVerdict(config.dataDir, "DATA_DIR", "E_EMBEDDED_START");
}

async function disk({ config }: Context): Promise<Verdict> {
  const folder = await nearestFolder(config.dataDir);
  const { bavail, bsize } = await statfs(folder);
  return freeSpace(bavail * bsize, folder);
}

/** Judges free space. */
export function freeSpace(freeBytes: number, folder: string): Verdict {
  const found = `${sizeText(freeBytes)} free at ${folder}`;
  const remedy =
    "Make room. A candle takes about 160 B in the database, a year of one 1m series about 84 MB.";
  if (freeBytes < FULL_BYTES) return { status: "fail", found, remedy };
  return freeBytes < LOW_BYTES ? { status: "warn", found, remedy } : { status: "ok", found };
}

async function embedded(context: Context): Promise<Verdict> {
  const { config } = context;
  if (config.databaseUrl !== undefined) {
    return { status: "ok", found: "not used: DATABASE_URL names a server" };
  }
  const facts = await inspectEmbedded(config.dataDir);
  context.embedded = facts;
  if (facts.missing !== undefined) {
    throw new BlackTradeError("E_EMBEDDED_MISSING", facts.missing, {
      remedy: 'Run "npm ci" without --omit=optional, or set DATABASE_URL to a server of your own.',
    });
  }
  const [cluster] = facts.clusters;
  if (cluster === undefined) {
    return {
      status: "ok",
      found: `none in ${config.dataDir} yet; "npx black-trade ingest" makes it`,
    };
  }
  const leftovers = [
    ...(facts.server?.isAlive === false
      ? [`process ${facts.server.pid} of ${cluster.folder} was killed or died`]
      : []),
    ...(facts.lock?.isAlive === false
      ? [`lock ${facts.lock.path} is of a process that is gone (${facts.lock.owner || "unknown"})`]
      : []),
    ...facts.unfinished.map((folder) => `${folder} is an initialisation that was cut off`),
  ];
  if (leftovers.length > 0) {
    const log = facts.logFile === undefined ? "" : ` Why it ended: tail ${facts.logFile}`;
    return {
      status: "warn",
      found: leftovers.join("; "),
      remedy: `Nothing has to be done: the next start recovers and clears it away.${log}`,
    };
  }
  const state =
    facts.server === undefined ? "not running" : `running as process ${facts.server.pid}`;
  return { status: "ok", found: `PostgreSQL ${cluster.major} in ${cluster.folder}, ${state}` };
}

/** Bytes that this process may use at most, when a container or service limits it. */
function memoryLimit(): number | undefined {
  const limit = process.constrainedMemory();
  // What no machine has stands for "no limit".
  return limit > 0 && limit < 2 ** 50 ? limit : undefined;
}

/** Judges a limit of memory. */
export function memory(limitBytes: number | undefined, freeBytes: number): Verdict {
  const remedy =
    "Raise the limit (docker: --memory, systemd: MemoryMax, Kubernetes: resources.limits.memory) to 512 MB, more for thousands of series.";
  const roomBytes = limitBytes ?? freeBytes;
  const found =
    limitBytes === undefined
      ? `no limit; ${sizeText(freeBytes)} free`
      : `limited to ${sizeText(limitBytes)}`;
  if (roomBytes < MIN_MEMORY) return { status: "fail", found, remedy };
  return roomBytes < USUAL_MEMORY ? { status: "warn", found, remedy } : { status: "ok", found };
}

async function fileLimit(): Promise<Verdict> {
  const text = await readFile("/proc/self/limits", "utf8").catch(() => undefined);
  const [, soft = ""] = /^Max open files\s+(\S+)/m.exec(text ?? "") ?? [];
  if (soft === "") return { status: "skip", found: "this system does not tell it" };
  const found = `${soft} open files allowed`;
  const remedy = "Raise it: ulimit -n 4096 (systemd: LimitNOFILE=4096).";
  if (Number(soft) < MIN_FILES) return { status: "fail", found, remedy };
  return Number(soft) < USUAL_FILES ? { status: "warn", found, remedy } : { status: "ok", found };
}

/** A size for people. */
export function sizeText(bytes: number): string {
  return bytes < 1_024 * MIB
    ? `${Math.round(bytes / MIB)} MB`
    : `${(bytes / MIB / 1_024).toFixed(1)} GB`;
}
