import { mkdir, stat } from "node:fs/promises";
import { dirname } from "node:path";

/**
 * Makes a folder and those above it. Unlike the `recursive` of Node.js it ends where the parent is there and nothing can be
 * made in it (`/proc`, an automount): that one tries for ever. It also names a read-only disk as such.
 * @param mode of the folders that are made; the process's umask is taken off it
 * @throws {Error} what the system refused with; EEXIST where something else has the name
 */
export async function makeFolder(path: string, mode = 0o777): Promise<void> {
  const fault = await make(path, mode);
  if (fault === undefined) return;
  const parent = dirname(path);
  if (fault.code !== "ENOENT" || parent === path || (await isFolder(parent))) throw fault;
  await makeFolder(parent, mode);
  const again = await make(path, mode);
  if (again !== undefined) throw again;
}

/** @returns why there is no such folder now */
async function make(path: string, mode: number): Promise<NodeJS.ErrnoException | undefined> {
  try {
    await mkdir(path, { mode });
    return undefined;
  } catch (error) {
    return (await isFolder(path)) ? undefined : (error as NodeJS.ErrnoException);
  }
}

async function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}
