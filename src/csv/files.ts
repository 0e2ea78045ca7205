import { glob, lstat, readdir, realpath, stat } from "node:fs/promises";
import { basename, dirname, join, relative, resolve, sep } from "node:path";

/** A path of the command line, taken apart: a file to read, or why one is not read. */
export type FoundFile =
  | { readonly kind: "file"; readonly path: string; readonly shown: string; readonly size: number }
  | { readonly kind: "skipped"; readonly shown: string; readonly reason: string };

/** Endings that are read; the content decides what it is. */
const READ = /\.(?:csv|tsv|txt|json|feather)(?:\.gz)?$|\.zip$/i;
const GLOB = /[*?[\]{}]/;
const MAX_DEPTH = 20;

/**
 * Files under the given paths, in the order of their names; each file once. In a folder, links that lead out of it are
 * not followed, and nothing but regular files is opened. A path that is named by itself may be a link.
 */
export async function findFiles(paths: readonly string[]): Promise<FoundFile[]> {
  const found: FoundFile[] = [];
  const seen = new Set<string>();
  for (const path of paths) {
    for (const one of await expand(path)) {
      const key = one.kind === "file" ? one.path : `${one.shown} ${one.reason}`;
      if (seen.has(key)) continue;
      seen.add(key);
      found.push(one);
    }
  }
  return found;
}

async function expand(path: string): Promise<FoundFile[]> {
  const known = await stat(path).catch(() => undefined);
  if (known?.isDirectory()) {
    const root = await realpath(path);
    return await walk({ root, folder: root, shown: path, depth: 0, visited: new Set([root]) });
  }
  if (known !== undefined) return [await named(path)];
  const link = await lstat(path).catch(() => undefined);
  if (link !== undefined) return [skipped(path, "a link that leads nowhere, or in a circle")];
  if (!GLOB.test(path)) return [skipped(path, "there is no such file or folder")];
  const matches: string[] = [];
  for await (const match of glob(path)) matches.push(match);
  if (matches.length === 0) return [skipped(path, "nothing matches it")];
  const all = await Promise.all(matches.sort().map((match) => expand(match)));
  return all.flat();
}

async function named(path: string): Promise<FoundFile> {
  const file = await stat(path);
  if (!file.isFile()) return skipped(path, `not a regular file: ${kindOf(file)}`);
  return { kind: "file", path: await realpath(path), shown: path, size: file.size };
}

interface Walk {
  readonly root: string;
  readonly folder: string;
  readonly shown: string;
  readonly depth: number;
  readonly visited: Set<string>;
}

async function walk({ root, folder, shown, depth, visited }: Walk): Promise<FoundFile[]> {
  if (depth > MAX_DEPTH) return [skipped(shown, `more than ${MAX_DEPTH} folders deep`)];
  const names = await readdir(folder).catch(() => undefined);
  if (names === undefined) return [skipped(shown, "the folder may not be read")];
  const found: FoundFile[] = [];
  for (const name of names.sort()) {
    const inner = join(shown, name);
    const target = await realpath(join(folder, name)).catch(() => undefined);
    const known = target === undefined ? undefined : await lstat(target).catch(() => undefined);
    if (target === undefined || known === undefined) {
      found.push(skipped(inner, "a link that leads nowhere, or in a circle"));
    } else if (target !== root && !target.startsWith(root + sep)) {
      found.push(skipped(inner, "a link out of the folder; name its target to import it"));
    } else if (known.isDirectory()) {
      if (visited.has(target)) continue;
      visited.add(target);
      found.push(
        ...(await walk({ root, folder: target, shown: inner, depth: depth + 1, visited })),
      );
    } else if (!known.isFile()) {
      found.push(skipped(inner, `not a regular file: ${kindOf(known)}`));
    } else if (READ.test(name)) {
      found.push({ kind: "file", path: target, shown: inner, size: known.size });
    } else {
      found.push(skipped(inner, "not a name of a candle file (.csv .csv.gz .zip .json .feather)"));
    }
  }
  return found;
}

function kindOf(file: { isFIFO(): boolean; isSocket(): boolean }): string {
  if (file.isFIFO()) return "a FIFO";
  return file.isSocket() ? "a socket" : "a device or folder";
}

function skipped(shown: string, reason: string): FoundFile {
  return { kind: "skipped", shown, reason };
}

/** The name without `.gz` and `.zip`, and the folders above, the nearest first. */
export function nameParts(path: string): { name: string; folders: string[] } {
  const full = resolve(path);
  const folders = relative("/", dirname(full)).split(sep).reverse();
  return { name: basename(full).replace(/\.(?:gz|zip)$/i, ""), folders };
}
