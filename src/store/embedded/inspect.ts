import { readdir, readFile, realpath, stat } from "node:fs/promises";
import { join } from "node:path";
import { messageOf } from "../../core/errors.ts";
import { packagedFolder } from "./binaries.ts";
import { isRunning } from "./lock-file.ts";
import { isServer, readPostmaster } from "./postmaster.ts";

/** What lies in the folder of the embedded server. Nothing is started or changed. */
export interface EmbeddedFacts {
  /** Why the package with the server cannot be used here; absent when it can. */
  readonly missing?: string;
  /** Folders with data, by the major version that made them. */
  readonly clusters: readonly { readonly folder: string; readonly major: string }[];
  /** The server that `postmaster.pid` names. */
  readonly server?: { readonly pid: number; readonly isAlive: boolean };
  /** The file that keeps two processes from starting it at once. */
  readonly lock?: { readonly path: string; readonly owner: string; readonly isAlive: boolean };
  /** Folders of an initialisation that was cut off. */
  readonly unfinished: readonly string[];
  readonly logFile?: string;
}

/** Looks at the folder of an embedded server, which need not exist. */
export async function inspectEmbedded(dataDir: string): Promise<EmbeddedFacts> {
  const names = await readdir(dataDir).catch(() => []);
  const clusters = await Promise.all(
    names
      .filter((name) => /^pg\d+$/.test(name))
      .map(async (name) => {
        const folder = await realpath(join(dataDir, name)).catch(() => join(dataDir, name));
        const major = await readFile(join(folder, "PG_VERSION"), "utf8").catch(() => "");
        return { folder, major: major.trim() };
      }),
  );
  const [first] = clusters;
  const missing = missingPackage();
  return {
    ...(missing === undefined ? {} : { missing }),
    clusters: clusters.filter(({ major }) => major !== ""),
    unfinished: names.filter((name) => /^pg\d+\.new/.test(name)).map((name) => join(dataDir, name)),
    ...(first === undefined ? {} : await factsOf(first.folder)),
  };
}

async function factsOf(
  folder: string,
): Promise<Pick<EmbeddedFacts, "server" | "lock" | "logFile">> {
  const postmaster = await readPostmaster(folder);
  const path = `${folder}.lock`;
  const owner = (await readFile(path, "utf8").catch(() => undefined))?.trim();
  const hasLog = await stat(`${folder}.log`).then(
    () => true,
    () => false,
  );
  return {
    ...(postmaster === undefined
      ? {}
      : { server: { pid: postmaster.pid, isAlive: await isServer(postmaster.pid) } }),
    ...(owner === undefined
      ? {}
      : { lock: { path, owner, isAlive: Number(owner) > 0 && isRunning(Number(owner)) } }),
    ...(hasLog ? { logFile: `${folder}.log` } : {}),
  };
}

function missingPackage(): string | undefined {
  try {
    packagedFolder();
    return undefined;
  } catch (error) {
    return messageOf(error);
  }
}
