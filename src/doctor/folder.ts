import { access, constants, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { type ErrorCode, messageOf } from "../core/errors.ts";
import type { Verdict } from "./check.ts";

/** Can the folder of a setting be written, or made? */
export async function folderVerdict(
  folder: string,
  setting: "DATA_DIR" | "CSV_MIRROR_DIR",
  code: ErrorCode,
): Promise<Verdict> {
  try {
    return { status: "ok", found: await tryFolder(folder) };
  } catch (error) {
    return {
      status: "fail",
      found: `${folder} cannot be written: ${messageOf(error)}`,
      remedy: `Give it to the user who runs this (chown -R "$(id -u):$(id -g)" ${folder}), or set ${setting} to another folder.`,
      code,
    };
  }
}

/**
 * Tries to write in a folder, or in the one above it in which it would be made.
 * @returns what was found, in words
 * @throws {Error} when that cannot be written
 */
export async function tryFolder(folder: string): Promise<string> {
  const existing = await nearestFolder(folder);
  if (existing !== folder) {
    await access(existing, constants.W_OK);
    return `${folder} is made at the first start`;
  }
  const probe = join(folder, `.doctor-${process.pid}`);
  // A link of that name, whoever put it there, is not written through.
  await rm(probe, { force: true });
  await writeFile(probe, "", { flag: "wx" });
  await rm(probe, { force: true });
  return folder;
}

/** The folder itself, or the nearest one above it that exists. @throws {Error} when a file stands in the way */
export async function nearestFolder(path: string): Promise<string> {
  const entry = await stat(path).catch(() => undefined);
  if (entry?.isDirectory()) return path;
  if (entry !== undefined) throw new Error(`${path} is not a folder`);
  return dirname(path) === path ? path : nearestFolder(dirname(path));
}
