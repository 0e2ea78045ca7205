import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** A numbered SQL file: how to go up, and how to go back down. */
export interface Migration {
  readonly version: number;
  /** File name without number and ending: `candles`. */
  readonly name: string;
  readonly up: string;
  readonly down: string;
  /** An extension without which the file is recorded as skipped. */
  readonly requires?: string;
  /** False for a single statement that PostgreSQL refuses inside a transaction. */
  readonly isTransactional: boolean;
  /** SHA-256 of the text with normalised line ends. */
  readonly checksum: string;
}

const FILE_NAME = /^(\d{4})-([a-z0-9-]+)\.sql$/;
const FOLDER = fileURLToPath(new URL("./migrations/", import.meta.url));

/**
 * The migrations of a folder, ascending; the program's own when none is given. They lie beside this module,
 * in the sources as in the published package.
 * @throws {Error} for a file name that is no migration's, or a number twice
 */
export async function readMigrations(folder: string = FOLDER): Promise<readonly Migration[]> {
  const names = (await readdir(folder)).filter((name) => name.endsWith(".sql")).sort();
  const migrations = await Promise.all(
    names.map(async (name) => parseMigration(name, await readFile(join(folder, name), "utf8"))),
  );
  for (const [index, { version }] of migrations.entries()) {
    if (version !== index + 1) throw new Error(`${names[index]}: expected number ${index + 1}`);
  }
  return migrations;
}

/** @throws {Error} for a file name that is no migration's, or a file without a down part */
export function parseMigration(fileName: string, content: string): Migration {
  const [, number = "", name = ""] = FILE_NAME.exec(fileName) ?? [];
  if (name === "") throw new Error(`${fileName}: not NNNN-name.sql`);
  const text = content.replace(/^\uFEFF/, "").replace(/\r\n?/g, "\n");
  const [up = "", down] = text.split(/^-- down$/m);
  if (down === undefined) throw new Error(`${fileName}: no "-- down" line`);
  const requires = /^-- requires: (\w+)$/m.exec(up)?.[1];
  return {
    version: Number(number),
    name,
    up: up.trim(),
    down: down.trim(),
    ...(requires === undefined ? {} : { requires }),
    isTransactional: !/^-- transaction: none$/m.test(up),
    checksum: createHash("sha256").update(text.trimEnd()).digest("hex"),
  };
}
