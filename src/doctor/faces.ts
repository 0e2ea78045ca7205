import { readdir, readFile, readlink } from "node:fs/promises";
import { createServer } from "node:net";
import { basename } from "node:path";
import type { HttpConfig } from "../config.ts";
import type { Check, Verdict } from "./check.ts";
import type { Context } from "./context.ts";
import { folderVerdict } from "./folder.ts";

/** What other programs meet: the HTTP port and the mirrored files. */
export const FACE_CHECKS: readonly Check<Context>[] = [
  {
    id: "http-port",
    title: "HTTP port",
    needs: ["configuration"],
    run: ({ config }, signal) => httpPort(config.http, signal),
  },
  { id: "csv-mirror", title: "CSV mirror", needs: ["configuration"], run: csvMirror },
];

async function httpPort({ host, port }: HttpConfig, signal: AbortSignal): Promise<Verdict> {
  if (port === 0) return { status: "ok", found: "any free port is taken" };
  const fault = await tryToListen(host, port);
  if (fault === undefined) return { status: "ok", found: `${host}:${port} is free` };
  if (fault === "EADDRINUSE") return portInUse(host, port, signal);
  return {
    status: "fail",
    found: `nothing can listen on ${host}:${port} (${fault})`,
    remedy:
      fault === "EACCES"
        ? "Ports below 1024 need rights: set HTTP_PORT to one above, such as 9090."
        : "Set HTTP_HOST to an address of this machine: 127.0.0.1.",
    code: "E_HTTP_BIND",
  };
}

async function portInUse(host: string, port: number, signal: AbortSignal): Promise<Verdict> {
  const owner = await ownerOf(port);
  const who = owner === undefined ? "another program" : owner;
  if (await isOurs(host, port, signal)) {
    return { status: "ok", found: `black-trade listens on ${host}:${port} (${who})` };
  }
  return {
    status: "fail",
    found: `${host}:${port} is used by ${who}`,
    remedy: `Stop it (see: ss -ltnp 'sport = :${port}'), or set HTTP_PORT to a free port, or start with --no-http.`,
    code: "E_PORT_IN_USE",
  };
}

/** @returns the error's code, or `undefined` when the port is free */
function tryToListen(host: string, port: number): Promise<string | undefined> {
  const server = createServer();
  return new Promise((resolve) => {
    server.once("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? "unknown"));
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(undefined)));
  });
}

/** True when what listens there is this very program. */
async function isOurs(host: string, port: number, signal: AbortSignal): Promise<boolean> {
  const name = ["0.0.0.0", "::"].includes(host) ? "127.0.0.1" : host;
  const url = `http://${name.includes(":") ? `[${name}]` : name}:${port}/livez`;
  try {
    const deadline = AbortSignal.any([signal, AbortSignal.timeout(2_000)]);
    const answer = await fetch(url, { signal: deadline, redirect: "manual" });
    return (await answer.text()) === JSON.stringify({ status: "alive" });
  } catch {
    return false;
  }
}

/** `node (pid 123)`: who listens on a port, as far as Linux tells this user. */
async function ownerOf(port: number): Promise<string | undefined> {
  const tables = await Promise.all(
    ["tcp", "tcp6"].map((name) => readFile(`/proc/net/${name}`, "utf8").catch(() => "")),
  );
  const mark = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  const sockets = new Set(
    tables
      .flatMap((table) => table.split("\n"))
      .map((line) => line.trim().split(/\s+/))
      .filter(([, local = "", , state]) => local.endsWith(mark) && state === "0A")
      .map((fields) => `socket:[${fields[9]}]`),
  );
  if (sockets.size === 0) return undefined;
  for (const pid of (await readdir("/proc")).filter((name) => /^\d+$/.test(name))) {
    const files = await readdir(`/proc/${pid}/fd`).catch(() => []);
    for (const file of files) {
      const target = await readlink(`/proc/${pid}/fd/${file}`).catch(() => "");
      if (!sockets.has(target)) continue;
      // Only the program's own name: what follows may hold a password.
      const typed = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
      return `${basename(typed.split("\0")[0] ?? "") || "a program"} (pid ${pid})`;
    }
  }
  return undefined;
}

async function csvMirror({ config }: Context): Promise<Verdict> {
  const folder = config.csvMirrorDir;
  if (folder === undefined) return { status: "ok", found: "none: CSV_MIRROR_DIR is empty" };
  return folderVerdict(folder, "CSV_MIRROR_DIR", "E_CSV_MIRROR");
}
