import { readFile, stat } from "node:fs/promises";
import { dirname } from "node:path";

/** A user of the operating system that a server runs as. */
export interface Account {
  readonly uid: number;
  readonly gid: number;
}

const NOBODY = 65_534;

/**
 * As whom the server is to run: `undefined` = as this process. PostgreSQL refuses to run as root; then it is the owner of
 * the folder, else the user `postgres`, else nobody. None of them has to be made for it.
 * @param folder folder of the data, or the nearest parent that exists
 */
export async function serverAccount(folder: string): Promise<Account | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const owner = await stat(folder).catch(() => undefined);
  if (owner !== undefined && owner.uid !== 0) return { uid: owner.uid, gid: owner.gid };
  return (await accountOf("postgres")) ?? { uid: NOBODY, gid: NOBODY };
}

/** Entry of `/etc/passwd`. */
async function accountOf(name: string): Promise<Account | undefined> {
  const text = await readFile("/etc/passwd", "utf8").catch(() => "");
  const [, , uid, gid] =
    text
      .split("\n")
      .map((line) => line.split(":"))
      .find(([user]) => user === name) ?? [];
  return uid === undefined || gid === undefined
    ? undefined
    : { uid: Number(uid), gid: Number(gid) };
}

/**
 * The nearest folder on the way to `path` that an account may not pass, or `undefined` when it can reach the path.
 * The path itself need not exist.
 */
export async function closedFolder(path: string, account: Account): Promise<string | undefined> {
  for (let folder = path; ; folder = dirname(folder)) {
    const entry = await stat(folder).catch(() => undefined);
    if (entry?.isDirectory() && !mayPass(entry, account)) return folder;
    if (folder === dirname(folder)) return undefined;
  }
}

/** True when an account may read and run a file, its folders aside. */
export async function mayRun(path: string, account: Account): Promise<boolean> {
  const entry = await stat(path).catch(() => undefined);
  return entry !== undefined && mayPass(entry, account);
}

/** The server gets no supplementary groups, so three bits decide. */
function mayPass(
  { uid, gid, mode }: { readonly uid: number; readonly gid: number; readonly mode: number },
  account: Account,
): boolean {
  if (uid === account.uid) return (mode & 0o100) !== 0;
  if (gid === account.gid) return (mode & 0o010) !== 0;
  return (mode & 0o001) !== 0;
}
