import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chmod, chown, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { promisify } from "node:util";
import { BlackTradeError, messageOf } from "../../core/errors.ts";
import { makeFolder } from "../../make-folder.ts";
import type { Account } from "./account.ts";
import { type Binaries, program, programEnv } from "./binaries.ts";

/** The only user of an embedded server. */
export const EMBEDDED_USER = "postgres";
/** First release with a locale provider that needs nothing of the operating system. */
const BUILTIN_LOCALES_SINCE = 17;

/** Where the password of a server lies, for its owner only. */
export function passwordFile(cluster: string): string {
  return join(cluster, "black-trade.password");
}

const run = promisify(execFile);

/**
 * Makes the data folder of a server when there is none. It appears whole or not at all: a crash in between leaves only a
 * folder that the next call clears away. To be called under the lock.
 * @throws {BlackTradeError} E_EMBEDDED_START
 */
export async function ensureCluster(
  cluster: string,
  binaries: Binaries,
  account: Account | undefined,
): Promise<void> {
  const major = await majorOf(cluster);
  if (major === undefined) {
    await refuseOtherMajor(cluster, binaries.major);
    await initialise(cluster, binaries, account);
  } else if (major !== String(binaries.major)) {
    throw startError(
      `${cluster} was made by PostgreSQL ${major}, and this program brings ${binaries.major}`,
      `Run it with the version of black-trade that made the folder, or set DATA_DIR to another one.`,
    );
  }
}

/** @throws {BlackTradeError} E_EMBEDDED_START when it is missing or this user may not read it */
export async function readPassword(cluster: string): Promise<string> {
  const path = passwordFile(cluster);
  try {
    return (await readFile(path, "utf8")).trim();
  } catch (error) {
    throw startError(
      `the password of the server in ${cluster} cannot be read (${messageOf(error)})`,
      "Run it as the user who owns the folder, or set DATA_DIR to another one.",
      error,
    );
  }
}

/** An error about a server that does not run. */
export function startError(message: string, remedy: string, cause?: unknown): BlackTradeError {
  return new BlackTradeError("E_EMBEDDED_START", message, { remedy, cause });
}

async function majorOf(cluster: string): Promise<string | undefined> {
  return readFile(join(cluster, "PG_VERSION"), "utf8").then(
    (text) => text.trim(),
    () => undefined,
  );
}

/** An empty database in place of the one that was filled by an older version would look like a loss. */
async function refuseOtherMajor(cluster: string, major: number): Promise<void> {
  const others = (await readdir(dirname(cluster)).catch(() => [])).filter(
    (name) => /^pg\d+$/.test(name) && name !== basename(cluster),
  );
  for (const name of others) {
    const folder = join(dirname(cluster), name);
    const found = await majorOf(folder);
    if (found === undefined) continue;
    throw startError(
      `${folder} has the data of PostgreSQL ${found}, and this program brings ${major}`,
      `Run it with the version of black-trade that made the folder, or move the folder away to begin with an empty database.`,
    );
  }
}

async function initialise(
  cluster: string,
  binaries: Binaries,
  account: Account | undefined,
): Promise<void> {
  // A name of its own: the initdb of a process that was killed may still be at work in the last one.
  const unfinished = `${cluster}.new-${randomBytes(4).toString("hex")}`;
  const givenPassword = `${unfinished}.password`;
  const password = randomBytes(24).toString("base64url");
  try {
    await clearUnfinished(cluster);
    await makeFolder(unfinished, 0o700);
    await writeFile(givenPassword, `${password}\n`, { mode: 0o600 });
    if (account !== undefined) {
      for (const path of [unfinished, givenPassword]) await chown(path, account.uid, account.gid);
    }
    await run(
      program(binaries, "initdb"),
      [
        ...["-D", unfinished, `--username=${EMBEDDED_USER}`, `--pwfile=${givenPassword}`],
        ...["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"],
        ...(binaries.major < BUILTIN_LOCALES_SINCE
          ? []
          : ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]),
      ],
      { ...account, cwd: unfinished, env: programEnv(binaries), windowsHide: true },
    );
    await rename(givenPassword, passwordFile(unfinished));
    await chmod(unfinished, 0o700);
    await rename(unfinished, cluster);
  } catch (error) {
    throw initError(cluster, error);
  } finally {
    await rm(givenPassword, { force: true }).catch(() => undefined);
    await rm(unfinished, { recursive: true, force: true }).catch(() => undefined);
  }
}

/** What crashes left behind, as far as nobody is writing to it still. */
async function clearUnfinished(cluster: string): Promise<void> {
  const names = await readdir(dirname(cluster)).catch(() => []);
  for (const name of names.filter((one) => one.startsWith(`${basename(cluster)}.new`))) {
    await rm(join(dirname(cluster), name), { recursive: true, force: true }).catch(() => undefined);
  }
}

function initError(cluster: string, error: unknown): BlackTradeError {
  const said =
    error instanceof Error && "stderr" in error ? String(error.stderr) : messageOf(error);
  if (/could not look up effective user ID/.test(said)) {
    return startError(
      `PostgreSQL does not start for user number ${process.getuid?.()}, which has no entry in /etc/passwd`,
      "Add one (in a container: as root at build time, or run as an existing user), or set DATABASE_URL.",
      error,
    );
  }
  const lines = said.trim().split("\n");
  const reason = lines.find((line) => /error:|No space/.test(line)) ?? lines.at(-1) ?? "";
  return startError(
    `the data folder ${cluster} could not be made: ${reason}`,
    "Check free disk space and the rights on DATA_DIR, or set DATA_DIR to another folder.",
    error,
  );
}
