import assert from "node:assert/strict";
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmod,
  chown,
  cp,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, describe, test } from "node:test";
import { promisify } from "node:util";
import { BlackTradeError, type ErrorCode } from "../src/core/errors.ts";
import { packagedFolder } from "../src/store/embedded/binaries.ts";
import { withLockFile } from "../src/store/embedded/lock-file.ts";
import { isServer } from "../src/store/embedded/postmaster.ts";
import {
  Database,
  type Embedded,
  type EmbeddedOptions,
  migrate,
  openStore,
  startEmbedded,
} from "../src/store/index.ts";
import { freePort } from "./support/free-port.ts";
import { Program } from "./support/program.ts";

const run = promisify(execFile);
const isRoot = process.getuid?.() === 0;
const needsRoot = { skip: isRoot ? false : "needs root" };

let base: string;
/** A data folder that was initialised once and is copied, as initialising takes a second. */
let pristine: string;

before(async () => {
  base = await mkdtemp(join(tmpdir(), "black-trade-embedded-"));
  await chmod(base, 0o755);
  pristine = join(base, "pristine");
  const server = await startEmbedded({ dataDir: pristine });
  await server.release();
});
after(async () => {
  for (const child of children) if (child.exitCode === null) child.kill("SIGKILL");
  await rm(base, { recursive: true, force: true });
});

/** Processes of a test that failed must not keep the others waiting. */
const children: ChildProcess[] = [];

let folderCount = 0;

/** A new folder with data in it. */
async function dataFolder(name = `data-${folderCount++}`, parent = base): Promise<string> {
  const folder = join(parent, name);
  await mkdir(folder, { recursive: true });
  await run("cp", ["-a", join(pristine, "pg18"), folder]);
  return folder;
}

async function withServer(
  options: EmbeddedOptions,
  use: (server: Embedded) => Promise<void>,
): Promise<void> {
  const server = await startEmbedded(options);
  try {
    await use(server);
  } finally {
    await server.release();
  }
}

async function ask<Row extends object>(
  server: { urlOf(name: string): string },
  text: string,
): Promise<Row> {
  const database = new Database({ url: server.urlOf("postgres"), poolSize: 1 });
  try {
    const [row] = await database.run<Row>({ text });
    return row ?? assert.fail("no row");
  } finally {
    await database.close();
  }
}

const refusal =
  (message: RegExp, code: ErrorCode = "E_EMBEDDED_START") =>
  (error: unknown): true => {
    assert.ok(error instanceof BlackTradeError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    assert.ok(error.remedy.length > 10);
    return true;
  };

interface Told {
  readonly serverPid?: number;
  readonly wasStarted?: boolean;
  readonly url?: string;
  readonly code?: string;
  readonly message?: string;
}

/** Another process that uses the server until it is let go. */
async function userProcess(
  options: EmbeddedOptions,
  account: { uid?: number; gid?: number } = {},
): Promise<{ told: Told; child: ChildProcess; leave: () => Promise<void> }> {
  const child = spawn(
    process.execPath,
    [join(import.meta.dirname, "support/embedded-user.ts"), JSON.stringify(options)],
    { stdio: ["pipe", "pipe", "inherit"], cwd: "/", ...account },
  );
  children.push(child);
  const exited = once(child, "exit");
  const [line] = await once(createInterface({ input: child.stdout }), "line");
  return {
    told: JSON.parse(String(line)) as Told,
    child,
    leave: async () => {
      child.stdin.end();
      await exited;
    },
  };
}

describe("the embedded server", () => {
  test("listens on a private socket only, wants a password, and is UTF-8 whatever the environment says", async () => {
    const dataDir = await dataFolder();
    await withServer({ dataDir }, async (server) => {
      assert.equal(server.wasStarted, true);
      const settings = await ask<Record<string, string>>(
        server,
        `select current_setting('listen_addresses') as listen, current_setting('server_encoding') as encoding,
           current_setting('timezone') as timezone, current_setting('fsync') as fsync,
           current_setting('password_encryption') as password, upper('é') as upper,
           current_setting('unix_socket_permissions') as socket`,
      );
      assert.deepEqual(settings, {
        ...{ listen: "", encoding: "UTF8", timezone: "UTC", fsync: "on" },
        ...{ password: "scram-sha-256", upper: "É", socket: "0700" },
      });
      const cluster = join(dataDir, "pg18");
      assert.equal((await stat(cluster)).mode & 0o777, 0o700);
      const password = join(cluster, "black-trade.password");
      assert.equal((await stat(password)).mode & 0o777, 0o600);
      const access = await readFile(join(cluster, "pg_hba.conf"), "utf8");
      assert.doesNotMatch(access, /^[^#]*\b(trust|password|md5)$/m);
      const secret = (await readFile(password, "utf8")).trim();
      assert.ok(secret.length >= 32 && server.urlOf("x").includes(secret));
      assert.ok(!server.psqlHint("x").includes(secret));
      const wrong = server.urlOf("postgres").replace(secret, "wrong");
      await assert.rejects(
        ask({ urlOf: () => wrong }, "select 1"),
        refusal(/refused the login/, "E_DB_AUTH"),
      );
      if (isRoot) assert.notEqual((await stat(cluster)).uid, 0);
    });
  });

  test("two processes that begin at once on an empty folder share one server", async () => {
    const dataDir = join(base, "raced");
    const users = await Promise.all([1, 2, 3].map(() => userProcess({ dataDir })));
    const pids = new Set(users.map(({ told }) => told.serverPid));
    assert.equal(pids.size, 1, JSON.stringify(users.map(({ told }) => told)));
    assert.equal(users.filter(({ told }) => told.wasStarted).length, 1);
    const [pid = 0] = pids;
    for (const { leave } of users.slice(1)) await leave();
    assert.equal(await isServer(Number(pid)), true, "a user was left without a server");
    await users[0]?.leave();
    assert.equal(await isServer(Number(pid)), false, "the last one out left the light on");
  });

  test("a server whose user was killed is joined by the next, who stops it at the end", async () => {
    const dataDir = await dataFolder();
    const { told, child } = await userProcess({ dataDir });
    child.kill("SIGKILL");
    await once(child, "exit");
    assert.equal(await isServer(told.serverPid ?? 0), true);
    const server = await startEmbedded({ dataDir });
    assert.equal(server.serverPid, told.serverPid);
    assert.equal(server.wasStarted, false);
    await ask(server, "select 1");
    await server.release();
    await server.release();
    assert.equal(await isServer(told.serverPid ?? 0), false);
  });

  test("one who only looks in does not stop the server of one who works", async () => {
    const dataDir = await dataFolder();
    await withServer({ dataDir }, async (server) => {
      const visitor = await userProcess({ dataDir });
      assert.equal(visitor.told.wasStarted, false);
      await visitor.leave();
      await ask(server, "select 1");
    });
  });

  test("a server that is killed is brought back, with what was committed", async () => {
    const dataDir = await dataFolder();
    const notes: string[] = [];
    await withServer({ dataDir, onNote: (note) => notes.push(note) }, async (server) => {
      const database = new Database({ url: server.urlOf("postgres"), connectDeadlineMs: 500 });
      await database.run({ text: "create table kept as select 42 as answer" });
      const before = server.serverPid;
      process.kill(before, "SIGKILL");
      let rows: readonly object[] = [];
      for (let tries = 0; rows.length === 0; tries += 1) {
        assert.ok(tries < 400, "it did not come back");
        rows = await database.run({ text: "select answer from kept" }).catch(() => []);
        await new Promise((resolve) => setTimeout(resolve, 25));
      }
      assert.deepEqual(rows, [{ answer: 42 }]);
      for (let tries = 0; !notes.some((note) => /runs again/.test(note)); tries += 1) {
        assert.ok(tries < 400, "it said nothing");
        await new Promise((resolve) => setTimeout(resolve, 25));
      }
      assert.notEqual(server.serverPid, before);
      await database.close();
    });
  });

  test("a start right after the server was killed waits until the old one is gone", async () => {
    const dataDir = await dataFolder();
    const { told, child } = await userProcess({ dataDir });
    child.kill("SIGKILL");
    await once(child, "exit");
    process.kill(told.serverPid ?? 0, "SIGKILL");
    await withServer({ dataDir }, async (server) => {
      assert.notEqual(server.serverPid, told.serverPid);
      await ask(server, "select 1");
    });
  });

  test("a pid file of a dead server, or whose number is somebody else's now, does not keep it from starting", async () => {
    const dataDir = await dataFolder();
    const pidFile = join(dataDir, "pg18", "postmaster.pid");
    const { uid, gid } = await stat(join(dataDir, "pg18"));
    for (const pid of [4_194_000, process.pid]) {
      await writeFile(
        pidFile,
        `${pid}\n${dataDir}/pg18\n1700000000\n5432\n\n\n  1234   5678\nready   \n`,
      );
      await chown(pidFile, uid, gid);
      await withServer({ dataDir }, async (server) => {
        assert.equal(server.wasStarted, true);
      });
    }
  });

  test("PGSSLMODE of the environment is meant for other servers", async () => {
    process.env.PGSSLMODE = "require";
    try {
      await withServer({ dataDir: await dataFolder() }, async (server) => {
        assert.deepEqual(await ask(server, "select 1 as one"), { one: 1 });
      });
    } finally {
      delete process.env.PGSSLMODE;
    }
  });

  test("a server that was started and cannot be used is not left running", async () => {
    const dataDir = await dataFolder();
    const postmaster = join(dataDir, "pg18", "postmaster.pid");
    const [password = assert.fail("no password file")] = (await readdir(join(dataDir, "pg18")))
      .filter((name) => name.includes("password"))
      .map((name) => join(dataDir, "pg18", name));
    await writeFile(password, "another-password-than-the-right-one\n");
    await assert.rejects(startEmbedded({ dataDir }), BlackTradeError);
    await assert.rejects(stat(postmaster), { code: "ENOENT" });
  });

  test("a folder too deep for a socket has its socket elsewhere", async () => {
    const dataDir = await dataFolder("deep/".repeat(25));
    await withServer({ dataDir }, async (server) => {
      await ask(server, "select 1");
      const visitor = await userProcess({ dataDir });
      assert.equal(visitor.told.serverPid, server.serverPid);
      await visitor.leave();
    });
  });

  test("data of another version is neither used nor replaced", async () => {
    const other = await dataFolder();
    await writeFile(join(other, "pg18", "PG_VERSION"), "17\n");
    await assert.rejects(startEmbedded({ dataDir: other }), refusal(/made by PostgreSQL 17/));
    const older = join(base, "older");
    await mkdir(join(older, "pg17"), { recursive: true });
    await writeFile(join(older, "pg17", "PG_VERSION"), "17\n");
    await assert.rejects(
      startEmbedded({ dataDir: older }),
      refusal(/has the data of PostgreSQL 17/),
    );
  });

  test("a folder that somebody else's server uses is left alone, politely", async () => {
    const dataDir = await dataFolder();
    const { told, leave } = await userProcess({ dataDir });
    const owner = new Database({ url: told.url ?? "" });
    await owner.run({ text: "alter role postgres password 'another'" });
    await owner.close();
    await assert.rejects(
      startEmbedded({ dataDir }),
      refusal(new RegExp(`process ${told.serverPid} serves .*does not accept`)),
    );
    assert.equal(await isServer(told.serverPid ?? 0), true);
    await leave();
  });

  test("a server that does not start says why, with the end of its log as the cause", async () => {
    const dataDir = await dataFolder();
    await assert.rejects(
      startEmbedded({ dataDir, settings: ["shared_buffers=plenty"] }),
      (error) => {
        refusal(/invalid value for parameter "shared_buffers"/)(error);
        assert.ok(error instanceof Error && error.cause instanceof Error);
        assert.match(error.cause.message, /shared_buffers/);
        return true;
      },
    );
    await withServer({ dataDir }, async () => undefined);
  });

  test("a folder that cannot be made is named", async () => {
    await writeFile(join(base, "file"), "");
    await assert.rejects(
      startEmbedded({ dataDir: join(base, "file", "data") }),
      refusal(/cannot be made/),
    );
    // Node.js tries for ever to make one where there can be none.
    if (process.platform === "linux") {
      await assert.rejects(
        startEmbedded({ dataDir: "/proc/black-trade/data" }),
        refusal(/cannot be made: ENOENT/),
      );
    }
  });

  test("a folder in which nothing can be written is named", async () => {
    const dataDir = await dataFolder();
    const full = ["/bin/sh", "-c", 'ulimit -f 0; exec "$@"', "sh"];
    const env = { DATA_DIR: dataDir, NODE_DISABLE_COMPILE_CACHE: "1" };
    const { status, stderr } = await new Program(["status"], env, "/", full).ended();
    assert.match(
      stderr,
      /^error E_EMBEDDED_START: .* cannot be used: the file cannot be larger .*\n {2}→ .*\n$/,
    );
    assert.equal(status, 4);
  });

  test("programs that do not run here are told from data that is broken", async () => {
    await assert.rejects(
      startEmbedded({ dataDir: join(base, "none"), binariesFolder: join(base, "no-programs") }),
      refusal(/do not run here/, "E_EMBEDDED_MISSING"),
    );
  });

  test("D16: a server that may lose commits is refused, or warned of when that is tolerated", async () => {
    const dataDir = await dataFolder();
    await withServer({ dataDir, settings: ["fsync=off"] }, async (server) => {
      const url = server.urlOf("postgres");
      const database = new Database({ url });
      await migrate(database);
      await database.close();
      await assert.rejects(openStore({ url }), refusal(/fsync is off/, "E_DB_UNSAFE"));
      const store = await openStore({ url, toleratesUnsafe: true });
      assert.match(store.server.warnings.join(), /fsync is off/);
      await store.close();
    });
  });

  test("N9: a certificate that is not trusted is refused, and accepted with its authority", async (t) => {
    const [key, certificate] = [join(base, "server.key"), join(base, "server.crt")];
    try {
      await run("openssl", [
        ...[
          "req",
          "-x509",
          "-newkey",
          "rsa:2048",
          "-nodes",
          "-days",
          "2",
          "-subj",
          "/CN=localhost",
        ],
        ...[
          "-addext",
          "subjectAltName=DNS:localhost,IP:127.0.0.1",
          "-keyout",
          key,
          "-out",
          certificate,
        ],
      ]);
    } catch {
      t.skip("openssl is not installed");
      return;
    }
    const dataDir = await dataFolder();
    const { uid, gid } = await stat(join(dataDir, "pg18"));
    await chown(key, uid, gid);
    await chmod(key, 0o600);
    const port = await freePort();
    const settings = [
      ...["listen_addresses=127.0.0.1", `port=${port}`, "ssl=on"],
      ...[`ssl_key_file=${key}`, `ssl_cert_file=${certificate}`],
    ];
    await withServer({ dataDir, settings }, async (server) => {
      const [, user = ""] = /:\/\/([^@]*)@/.exec(server.urlOf("postgres")) ?? [];
      const url = `postgresql://${user}@localhost:${port}/postgres?sslmode=verify-full`;
      await assert.rejects(
        ask({ urlOf: () => url }, "select 1"),
        refusal(/cannot be trusted: .*self.signed/, "E_DB_UNREACHABLE"),
      );
      const trusting = `${url}&sslrootcert=${encodeURIComponent(certificate)}`;
      const row = await ask(
        { urlOf: () => trusting },
        "select ssl from pg_stat_ssl where pid = pg_backend_pid()",
      );
      assert.deepEqual(row, { ssl: true });
    });
  });
});

describe("the embedded server of root", () => {
  test(
    "whose folder nobody else can reach has its data in the system's folder, and a link to them",
    needsRoot,
    async () => {
      const closed = join(base, "closed");
      await mkdir(closed, { mode: 0o700 });
      const systemFolder = join(base, "system");
      const dataDir = join(closed, "data");
      for (const wasMade of [true, false]) {
        await withServer({ dataDir, systemFolder }, async (server) => {
          const row = await ask<{ folder: string }>(
            server,
            "select current_setting('data_directory') as folder",
          );
          assert.ok(row.folder.startsWith(systemFolder), `${row.folder}, ${wasMade}`);
        });
        assert.ok((await stat(join(dataDir, "pg18", "PG_VERSION"))).isFile());
      }
      const alsoClosed = join(closed, "system");
      await assert.rejects(
        startEmbedded({ dataDir: join(closed, "other"), systemFolder: alsoClosed }),
        refusal(/cannot pass .*closed/),
      );
    },
  );

  test("whose programs nobody else can reach gets a copy of them", needsRoot, async () => {
    const closed = join(base, "closed-programs");
    await mkdir(closed, { mode: 0o700 });
    const binariesFolder = join(closed, "native");
    await cp(packagedFolder(), binariesFolder, { recursive: true, verbatimSymlinks: true });
    const dataDir = await dataFolder();
    for (let turn = 0; turn < 2; turn += 1) {
      await withServer({ dataDir, binariesFolder }, async (server) => {
        await ask(server, "select 1");
      });
    }
  });

  test(
    "an ordinary user runs it as themselves, also from programs without their links that cannot be written",
    needsRoot,
    async () => {
      const nobody = { uid: 65_534, gid: 65_534 };
      const binariesFolder = join(base, "no-links", "native");
      await cp(packagedFolder(), binariesFolder, {
        recursive: true,
        filter: async (path) => !(await lstat(path)).isSymbolicLink(),
      });
      const dataDir = join(base, "of-nobody");
      await mkdir(dataDir);
      await chown(dataDir, nobody.uid, nobody.gid);
      const { told, leave } = await userProcess({ dataDir, binariesFolder }, nobody);
      assert.equal(told.wasStarted, true, JSON.stringify(told));
      assert.equal((await stat(join(dataDir, "pg18"))).uid, nobody.uid);
      await leave();
      // Root joins in as the folder's owner.
      await withServer({ dataDir, binariesFolder }, async (server) => {
        await ask(server, "select 1");
      });
    },
  );

  test("a user without an entry in /etc/passwd is told what is missing", needsRoot, async () => {
    const dataDir = join(base, "of-nobody-known");
    await mkdir(dataDir);
    await chown(dataDir, 12_345, 12_345);
    const { told, leave } = await userProcess({ dataDir }, { uid: 12_345, gid: 12_345 });
    assert.equal(told.code, "E_EMBEDDED_START", JSON.stringify(told));
    assert.match(told.message ?? "", /12345.*\/etc\/passwd/);
    await leave();
  });
});

describe("a lock file", () => {
  const lock = (): string => join(base, `lock-${folderCount++}`);
  const dead = 4_194_000;

  test("lets one in at a time", async () => {
    const path = lock();
    let inside = 0;
    let most = 0;
    const enter = async (): Promise<void> => {
      for (let time = 0; time < 10; time += 1) {
        await withLockFile(path, 20_000, async () => {
          inside += 1;
          most = Math.max(most, inside);
          await new Promise((resolve) => setTimeout(resolve, 2));
          inside -= 1;
        });
      }
    };
    await Promise.all(Array.from({ length: 20 }, enter));
    assert.equal(most, 1);
    await assert.rejects(stat(path));
  });

  test("of a dead process, or of this one's number before, is taken over; of a living one it is waited for", async () => {
    for (const owner of [dead, process.pid]) {
      const path = lock();
      await writeFile(path, String(owner));
      assert.equal(await withLockFile(path, 1_000, async () => 7), 7);
    }
    const path = lock();
    await writeFile(path, String(process.ppid));
    await assert.rejects(
      withLockFile(path, 100, async () => 7),
      new RegExp(`held by process ${process.ppid}`),
    );
  });

  test("is given back when the work fails", async () => {
    const path = lock();
    await assert.rejects(
      withLockFile(path, 100, async () => Promise.reject(new Error("no"))),
      /no/,
    );
    assert.equal(await withLockFile(path, 100, async () => 7), 7);
  });
});
