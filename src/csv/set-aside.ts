import { access, copyFile, link, readdir } from "node:fs/promises";
import { join } from "node:path";
import { BlackTradeError } from "../core/errors.ts";
import { makeFolder } from "../make-folder.ts";

/** Folder below the mirror's, in which files are kept as others had changed them. */
const SET_ASIDE = "set-aside";
/** Ending of the copies: an import of the whole folder must not take them for candles. */
const COPY_ENDING = ".aside";
/** Copies of one file that are kept; with so many, somebody else writes the file again and again. */
const MAX_COPIES = 5;

/**
 * Keeps a file as it is before it is replaced: `set-aside/<time>/<name>.aside`, so that nothing that others wrote is lost.
 * @param now epoch ms
 * @returns path of the copy
 * @throws {BlackTradeError} E_CSV_MIRROR when there are {@link MAX_COPIES} copies of it already
 */
export async function setAside(
  folder: string,
  path: string,
  name: string,
  now: number,
): Promise<string> {
  const root = join(folder, SET_ASIDE);
  await makeFolder(root);
  if ((await copyCount(root, name)) >= MAX_COPIES) {
    throw new BlackTradeError(
      "E_CSV_MIRROR",
      `${name} was changed by another program again; ${MAX_COPIES} earlier states of it are in ${root}`,
      { remedy: `stop what else writes it, then remove or move ${root}` },
    );
  }
  const copy = join(root, new Date(now).toISOString().replaceAll(":", "-"));
  await makeFolder(copy);
  const copyPath = join(copy, `${name}${COPY_ENDING}`);
  // Both names are of one file until the new one takes its place; some file systems have no such thing.
  await link(path, copyPath).catch(() => copyFile(path, copyPath));
  return copyPath;
}

async function copyCount(root: string, name: string): Promise<number> {
  let count = 0;
  for (const copy of await readdir(root)) {
    const hasOne = access(join(root, copy, `${name}${COPY_ENDING}`)).then(
      () => 1,
      () => 0,
    );
    count += await hasOne;
  }
  return count;
}
