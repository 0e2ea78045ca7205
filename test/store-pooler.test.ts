import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { chown, mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { parseDatabaseUrl } from "../src/store/index.ts";
import { describeStore, type StoreHarness } from "./conformance/store-suite.ts";
import { freePort } from "./support/free-port.ts";
import { createTestDatabase, sharedServer } from "./support/postgres.ts";
import { openedStore } from "./support/store-harness.ts";

const isInstalled = await promisify(execFile)("pgbouncer", ["--version"]).then(
  () => true,
  () => false,
);

/** D17: a pooler in transaction mode keeps nothing of a session from one transaction to the next. */
async function harness(): Promise<StoreHarness> {
  const database = await createTestDatabase(await sharedServer(), "migrated");
  const pooler = await startPooler(database.url);
  return {
    open: () => openedStore(pooler.url),
    close: async () => {
      await pooler.stop();
      await database.drop();
    },
  };
}

async function startPooler(url: string): Promise<{ url: string; stop(): Promise<void> }> {
  const { host, port, database, user } = parseDatabaseUrl(url);
  const [, password = ""] = /:\/\/[^:]*:([^@]*)@/.exec(url) ?? [];
  const folder = await mkdtemp(join(tmpdir(), "black-trade-pooler-"));
  const poolPort = await freePort();
  const file = join(folder, "pgbouncer.ini");
  await writeFile(
    file,
    [
      "[databases]",
      `${database} = host=${host} port=${port} user=${user} password=${decodeURIComponent(password)}`,
      "[pgbouncer]",
      ...[
        "listen_addr = 127.0.0.1",
        `listen_port = ${poolPort}`,
        "unix_socket_dir =",
        "auth_type = any",
      ],
      ...["pool_mode = transaction", "default_pool_size = 5"],
    ].join("\n"),
    { mode: 0o600 },
  );
  // It refuses to run as root, and has to get at the server's socket.
  const owner = host.startsWith("/") ? await stat(host) : { uid: 65_534, gid: 65_534 };
  const account = process.getuid?.() === 0 ? { uid: owner.uid, gid: owner.gid } : undefined;
  if (account !== undefined) {
    for (const path of [folder, file]) await chown(path, account.uid, account.gid);
  }
  const pooler = spawn("pgbouncer", [file], { stdio: "ignore", cwd: "/", ...account });
  const exited = once(pooler, "exit");
  while (!(await answers(poolPort))) await new Promise((resolve) => setTimeout(resolve, 20));
  return {
    url: `postgresql://${user}@127.0.0.1:${poolPort}/${database}`,
    stop: async () => {
      pooler.kill("SIGTERM");
      await exited;
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function answers(port: number): Promise<boolean> {
  const socket = connect(port, "127.0.0.1");
  return once(socket, "connect")
    .then(
      () => true,
      () => false,
    )
    .finally(() => socket.destroy());
}

describeStore("store behind pgbouncer in transaction mode", harness, {
  skip: isInstalled ? false : "pgbouncer is not installed",
});
