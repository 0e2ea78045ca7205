import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { promisify } from "node:util";
import { systemClock } from "../src/clock.ts";
import {
  SeededMarket,
  type Simulator,
  seededSymbols,
  startSimulator,
} from "../src/simulator/index.ts";
import { Database, startEmbedded } from "../src/store/index.ts";
import { freePort } from "./support/free-port.ts";
import { createTestDatabase, sharedServer, type TestServer } from "./support/postgres.ts";
import { exchangeSettings, type Finished, Program } from "./support/program.ts";

/** Stands for every secret; no program may ever print it. */
const CANARY = "S3CR3T";
const TOKEN = `${CANARY}-0123456789-0123456789`;
const SYMBOLS = ["BTCUSDT", "ETHUSDT"];
/** Starting a program is nearly all work of the processor; waiting for a candle is none. */
const AT_ONCE = { concurrency: 3, timeout: 180_000 } as const;

const programs = new Set<Program>();
const folders = new Set<string>();

type Env = Readonly<Record<string, string>>;

/** Reading the sources is most of what the start of a program costs. */
const compiled = await newFolder();

function start(args: readonly string[], env: Env = {}, cwd?: string): Program {
  const program = new Program(args, { NODE_COMPILE_CACHE: compiled, ...env }, cwd);
  programs.add(program);
  return program;
}

/** Waits for the end. Whatever was printed: no secret, and no escape codes, as nothing here is a terminal. */
async function endOf(program: Program): Promise<Finished> {
  const finished = await program.ended();
  programs.delete(program);
  const said = finished.stdout + finished.stderr;
  assert.doesNotMatch(said, new RegExp(CANARY, "i"));
  assert.ok(!said.includes("\u001b"), `escape codes:\n${said}`);
  return finished;
}

function run(args: readonly string[], env: Env = {}, cwd?: string): Promise<Finished> {
  return endOf(start(args, env, cwd));
}

/** The program ended with an error of one line, and one line that says what to do. */
function assertRefused(
  { status, stdout, stderr }: Finished,
  expected: { readonly exit: number; readonly says: RegExp; readonly remedy: RegExp },
): void {
  assert.equal(status, expected.exit, stderr);
  assert.equal(stdout, "");
  const [error = "", remedy = "", ...more] = stderr
    .trimEnd()
    .split("\n")
    .filter((line) => !line.startsWith("{"));
  assert.match(error, expected.says);
  assert.match(error, /^error E_[A-Z_]+: \S/);
  assert.match(remedy, expected.remedy);
  assert.match(remedy, /^ {2}→ \S/);
  assert.deepEqual(more, []);
}

/** A folder that the server's user can reach, also when this runs as root. */
async function newFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "bt-cli-"));
  await chmod(folder, 0o755);
  folders.add(folder);
  return folder;
}

async function until<T>(what: string, look: () => Promise<T | undefined>, ms = 60_000): Promise<T> {
  for (const deadline = performance.now() + ms; ; await wait(100)) {
    const found = await look();
    if (found !== undefined) return found;
    assert.ok(performance.now() < deadline, `not within ${ms} ms: ${what}`);
  }
}

/** Command lines of running processes that name a folder. */
async function usersOf(folder: string): Promise<string[]> {
  if (process.platform !== "linux") return [];
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const lines = await Promise.all(
    pids.map((pid) => readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")),
  );
  return lines.filter((line) => line.includes(folder));
}

function newMarket(): SeededMarket {
  const listedAt = Date.now() - 2 * 86_400_000;
  return new SeededMarket({ symbols: seededSymbols(SYMBOLS), listedAt });
}

/** Of util-linux: runs a command on a terminal of its own. */
const TERMINAL = "script";

/** `status --watch` on a terminal of 60 columns, ended by Ctrl-C. @returns undefined where no terminal is to be had */
async function watchOnTerminal(
  env: Env,
): Promise<{ readonly status: number | null; readonly text: string } | undefined> {
  const bin = join(import.meta.dirname, "../bin/black-trade.js");
  const command = `stty cols 60 rows 12; exec '${process.execPath}' '${bin}' status --watch`;
  const { PATH = "", HOME = "" } = process.env;
  const child = spawn(TERMINAL, ["-qefc", command, "/dev/null"], {
    cwd: "/",
    env: { PATH, HOME, TERM: "xterm-256color", NODE_COMPILE_CACHE: compiled, ...env },
    stdio: ["pipe", "pipe", "ignore"],
  });
  let text = "";
  child.stdout.setEncoding("utf8").on("data", (part: string) => {
    text += part;
  });
  const ended = once(child, "close").catch(() => undefined);
  let isOver = false;
  void ended.then(() => {
    isOver = true;
  });
  await until("a drawing", async () => isOver || text.includes("Ctrl-C") || undefined);
  if (isOver && !text.includes("\u001b")) return undefined;
  child.stdin.write("\u0003");
  await ended;
  assert.doesNotMatch(text, new RegExp(CANARY, "i"));
  return { status: child.exitCode, text };
}

after(async () => {
  for (const program of programs) {
    program.kill("SIGKILL");
    await program.ended();
  }
  for (const folder of folders) {
    // What a failed test has left; the next user of a server is the one who stops it.
    const names: readonly string[] = await readdir(folder).catch(() => []);
    if (names.includes("pg18")) await (await startEmbedded({ dataDir: folder })).release();
    await rm(folder, { recursive: true, force: true });
  }
});

describe("the command line", AT_ONCE, () => {
  test("every command's help opens with examples", async () => {
    const visit = async (command: readonly string[]): Promise<string[]> => {
      const { status, stdout, stderr } = await run([...command, "--help"]);
      assert.equal(status, 0, stderr);
      assert.match(stdout, /^Examples:\n {2}npx black-trade /, command.join(" "));
      assert.match(stdout, /\n\nUsage: black-trade /);
      const [, listed = ""] = /\nCommands:\n([\s\S]*)$/.exec(stdout) ?? [];
      const names = [...listed.matchAll(/^ {2}([a-z][a-z-]*)/gm)].map(([, name = ""]) => name);
      const below = names
        .filter((name) => name !== "help")
        .map((name) => visit([...command, name]));
      return [command.join(" "), ...(await Promise.all(below)).flat()];
    };
    const seen = await visit([]);
    for (const name of ["ingest", "demo", "db init", "db migrate", "db down", "db status"])
      assert.ok(seen.includes(name), name);
    for (const name of ["db compress", "db retain", "db rollup"])
      assert.ok(seen.includes(name), name);
    for (const name of ["status", "simulate"]) assert.ok(seen.includes(name), name);
  });

  const misuses: readonly (readonly [readonly string[], RegExp])[] = [
    [["ingset"], /unknown command 'ingset'\n\(Did you mean ingest\?\)/],
    [["db", "statsu"], /unknown command 'statsu'\n\(Did you mean status\?\)/],
    [["ingest", "--symbls", "X"], /unknown option '--symbls'\n\(Did you mean --symbols\?\)/],
    [["ingest", "websockt"], /INGESTION_MODE: "websockt" .*did you mean websocket\?/],
    [["status", `postgresql://u:${CANARY}@h/d`], /too many arguments.*u:\*\*\*@h\/d/],
    [["status", `--databse-url=postgresql://u:${CANARY}@h/d`], /unknown option .*u:\*\*\*@h/],
    [["db", "down", "--steps", "x"], /E_USAGE: --steps: "x" is not a number/],
    [["verify", "--from", "2025-02-30"], /E_USAGE: --from: "2025-02-30": there is no such day/],
    [
      ["verify", "--to", "2025-01-01", "--from", "2025-01-02"],
      /E_USAGE: --from 2025-01-02 does not/,
    ],
    [["verify", "--against-exchange", "al"], /E_USAGE: --against-exchange: "al" is not a number/],
    [["verify", "--csv", ".", "--repair"], /E_USAGE: --csv only compares/],
    [["fill-gaps", "--to", "soon"], /E_USAGE: --to: "soon" is not a time/],
    [["backfill", "--days", "now"], /E_USAGE: --days: "now" is not a number of days/],
    [["demo", "--for", "soon"], /E_USAGE: --for: "soon" is not a number/],
    [["demo", "--timeframes", "15min"], /TIMEFRAMES: "15min" .*did you mean 15m\?/],
    [["simulate", "--port", "99999"], /E_USAGE: --port: "99999" is not a port/],
    [["simulate", "--speed", "0"], /E_USAGE: --speed: /],
    [["simulate", "--symbols", "a b"], /E_USAGE: --symbols: "A B" is not a symbol/],
    [["simulate", "--trades-per-day", "500"], /E_USAGE: --trades-per-day is for made-up symbols/],
    [
      ["simulate", "--symbols", "2", "--trades-per-day", "5"],
      /E_USAGE: --trades-per-day: at least 200/,
    ],
    [["simulate", "--csv", "nothing.csv"], /E_USAGE: --csv: nothing\.csv/],
    [[], /^Examples:/],
  ];
  for (const [args, says] of misuses) {
    test(`refused with a hint: ${args.join(" ").replaceAll(CANARY, "…") || "no command"}`, async () => {
      const { status, stdout, stderr } = await run(args);
      assert.equal(status, 2, stderr);
      assert.equal(stdout, "");
      assert.match(stderr, says);
      assert.match(stderr, /^error|^Examples:/);
    });
  }

  test("every mistake of configuration at once, each with its fix, and nothing is started", async () => {
    const folder = await newFolder();
    const dataDir = join(folder, "data");
    const { status, stdout, stderr } = await run(["ingest"], {
      DATA_DIR: dataDir,
      DATABASE_URL: `mysql://u:${CANARY}@h/d`,
      API_TOKEN: CANARY,
      TIMEFRAMES: "15min,60m,1h,1h",
      TRADING_PAIRS: "BTC/USDT",
      INGESTION_MODE: "web",
      HTTP_PORT: "99999",
      HTTP_HOST: "a b",
      LOG_LEVEL: "inof",
      DB_ECHO: "maybe",
      BACKFILL_DAYS: "-1",
      WEBSOCKET_RECONNECT_DELAY: "0",
      BINANCE_WS_URL: `postgresql://u:${CANARY}@h/d`,
      BINANCE_REST_URL: "https://h/api/v3",
      TRADING_PAIR: "X",
    });
    assert.equal(status, 2);
    assert.equal(stdout, "");
    const lines = stderr.trimEnd().split("\n");
    assert.match(lines.at(0) ?? "", /^error E_CONFIG: 1\d settings are wrong$/);
    assert.match(lines.at(-1) ?? "", /^ {2}→ mend the settings above/);
    for (const fix of [
      /TRADING_PAIR: is not a setting; did you mean TRADING_PAIRS\?/,
      /DATABASE_URL: is not of the form postgresql:\/\//,
      /API_TOKEN: is too short or too plain; make one of 192 bits/,
      /TIMEFRAMES: "15min" is not a timeframe; did you mean 15m\?/,
      /TIMEFRAMES: "60m" is not a timeframe; did you mean 1h\?/,
      /TIMEFRAMES: "1h" is listed twice; remove one/,
      /TRADING_PAIRS: "BTC\/USDT" is not a symbol; did you mean BTCUSDT\?/,
      /INGESTION_MODE: "web" is not one of websocket, polling/,
      /HTTP_PORT: "99999" is not a port from 0 to 65535/,
      /HTTP_HOST: is not an address; use 127\.0\.0\.1/,
      /LOG_LEVEL: "inof" .*did you mean info\?/,
      /DB_ECHO: "maybe" is not one of true, false/,
      /BACKFILL_DAYS: "-1" is not a number of days from 0\.01/,
      /WEBSOCKET_RECONNECT_DELAY: "0" is not a number of seconds from 0\.1/,
      /BINANCE_WS_URL: .* is not a wss:\/\/ address/,
      /BINANCE_REST_URL: give the base without a path: https:\/\/h/,
    ]) {
      assert.equal(lines.filter((line) => fix.test(line)).length, 1, `${fix}\n${stderr}`);
    }
    assert.deepEqual(await readdir(folder), []);
  });

  test("an old Node.js is named in one line", async (t) => {
    const version = await promisify(execFile)("/usr/bin/node", ["--version"]).then(
      ({ stdout }) => stdout.trim(),
      () => undefined,
    );
    const [major = 99, minor = 0] = (version ?? "").slice(1).split(".").map(Number);
    if (version === undefined || major > 22 || (major === 22 && minor >= 18)) {
      t.skip(`/usr/bin/node is ${version ?? "absent"}, not an old one`);
      return;
    }
    const bin = join(import.meta.dirname, "../bin/black-trade.js");
    const failed = promisify(execFile)("/usr/bin/node", [bin, "status"], { cwd: "/" });
    await assert.rejects(failed, (error: Error & { code?: number; stderr?: string }) => {
      assert.equal(error.code, 2);
      assert.match(error.stderr ?? "", /^black-trade needs Node\.js 22\.18 .*`npm ci`.*\n$/);
      return true;
    });
  });

  test("a reader that goes away is no error", async () => {
    const program = start(["--help"]);
    program.child.stdout?.destroy();
    const { status, stderr } = await endOf(program);
    assert.deepEqual({ status, stderr }, { status: 0, stderr: "" });
  });
});

describe("with a database", AT_ONCE, () => {
  const role = `bt_cli_${process.pid}`;
  const owner = `bt_cli_owner_${process.pid}`;
  const names = { absent: `bt_test_${process.pid}_absent`, own: `bt_test_${process.pid}_own` };
  let server: TestServer;
  let admin: Database;
  let simulator: Simulator;
  let drops: (() => Promise<void>)[] = [];
  const databases = { migrated: "", empty: "" };

  /** A superuser's URL as the configuration wants it: with a host, also when that is a folder. */
  const superUrl = (url: string): string => url.replace("@/", "@localhost/");
  /** A URL whose password is the canary. */
  const urlOf = (user: string, database: string): string =>
    superUrl(server.urlOf(database)).replace(/\/\/(?:[^@/]*@)?/, `//${user}:${CANARY}@`);

  before(async () => {
    server = await sharedServer();
    admin = new Database({ url: server.urlOf("postgres"), poolSize: 1 });
    await admin.run({ text: `create role ${role} login password '${CANARY}'` });
    await admin.run({ text: `create role ${owner} login createdb password '${CANARY}'` });
    for (const content of ["migrated", "empty"] as const) {
      const { url, drop } = await createTestDatabase(server, content);
      drops.push(drop);
      const [, name = ""] = /\/(bt_test_\w+)/.exec(url) ?? [];
      databases[content] = name;
      if (content === "migrated") continue;
      const empty = new Database({ url, poolSize: 1 });
      await empty.run({ text: "revoke create on schema public from public" });
      await empty.close();
    }
    simulator = await startSimulator({ market: newMarket(), clock: systemClock });
  });

  after(async () => {
    await simulator?.close();
    for (const drop of drops) await drop();
    drops = [];
    for (const name of Object.values(names)) {
      await admin.run({
        text: "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1",
        values: [name],
      });
      await admin.run({ text: `drop database if exists ${name}` });
    }
    for (const name of [role, owner]) await admin.run({ text: `drop role if exists ${name}` });
    await admin.close();
  });

  const exchange = (): Env => ({
    TRADING_PAIRS: SYMBOLS.join(","),
    TIMEFRAMES: "1s,1m",
    BACKFILL_DAYS: "0.01",
    ...exchangeSettings(simulator),
    WEBSOCKET_RECONNECT_DELAY: "0.2",
    HTTP_PORT: "0",
  });

  const refusals: readonly {
    readonly name: string;
    readonly args: readonly string[];
    readonly url: () => string | Promise<string>;
    readonly exit?: number;
    readonly says: RegExp;
    readonly remedy: RegExp;
  }[] = [
    {
      name: "nobody listens",
      args: ["ingest"],
      url: async () => `postgresql://u:${CANARY}@127.0.0.1:${await freePort()}/d`,
      says: /E_DB_UNREACHABLE: database u@127\.0\.0\.1:\d+\/d does not answer: connection refused/,
      remedy: /Start PostgreSQL, or correct host and port/,
    },
    {
      name: "the password is refused",
      args: ["status"],
      url: () => urlOf("bt_nobody", "postgres"),
      says: /E_DB_AUTH: .*refused the login/,
      remedy: /Correct user and password in DATABASE_URL/,
    },
    {
      name: "the database is absent",
      args: ["ingest"],
      url: () => urlOf(role, names.absent),
      says: /E_DB_MISSING: database "bt_test_\d+_absent" does not exist on /,
      remedy: /black-trade db init/,
    },
    {
      name: "the database is absent and may not be created",
      args: ["db", "init"],
      url: () => urlOf(role, names.absent),
      says: /E_DB_RIGHT: .*permission denied to create database/,
      remedy: /CREATE DATABASE "bt_test_\d+_absent" OWNER "bt_cli_\d+"/,
    },
    {
      name: "tables may not be read",
      args: ["status"],
      url: () => urlOf(role, databases.migrated),
      says: /E_DB_RIGHT: user "bt_cli_\d+" needs SELECT on /,
      remedy: /GRANT SELECT ON ALL TABLES IN SCHEMA public TO "bt_cli_\d+";/,
    },
    {
      name: "tables may not be made",
      args: ["db", "migrate"],
      url: () => urlOf(role, databases.empty),
      says: /E_DB_RIGHT: .*permission denied for schema public/,
      remedy: /GRANT USAGE, CREATE ON SCHEMA "public" TO "bt_cli_\d+";/,
    },
    {
      name: "it is not migrated",
      args: ["status", "--json"],
      url: () => urlOf(role, databases.empty),
      says: /E_DB_NOT_MIGRATED: \d+ of \d+ migrations are not applied/,
      remedy: /black-trade db migrate/,
    },
  ];
  for (const { name, args, url, says, remedy } of refusals) {
    test(`one line and a remedy when ${name}`, async () => {
      const env = { ...exchange(), DATABASE_URL: await url(), LOG_LEVEL: "silent" };
      assertRefused(await run(args, env), { exit: 4, says, remedy });
    });
  }

  test("a URL of the wrong form is a mistake of configuration", async () => {
    for (const url of [`postgresql://u:${CANARY}#x@h/d`, `postgresql://u:${CANARY}@h`]) {
      const { status, stderr } = await run(["db", "status"], { DATABASE_URL: url });
      assert.equal(status, 2, stderr);
      assert.match(stderr, /^error E_CONFIG: a setting is wrong\n {2}DATABASE_URL: /);
    }
  });

  test("no embedded database: a command that looks makes none", async () => {
    const dataDir = join(await newFolder(), "data");
    for (const args of [["status"], ["db", "status", "--json"], ["db", "down"], ["verify"]]) {
      assertRefused(await run(args, { DATA_DIR: dataDir }), {
        exit: 4,
        says: /E_DB_MISSING: there is no database in .*data yet/,
        remedy: /npx black-trade ingest/,
      });
    }
    await mkdir(dataDir);
    assert.deepEqual(await readdir(dataDir), []);
  });

  test("a port in use is named before anything is started", async () => {
    const dataDir = await newFolder();
    const taken = createServer().listen(0, "127.0.0.1");
    await once(taken, "listening");
    const address = taken.address();
    const port = String(typeof address === "object" ? address?.port : 0);
    try {
      const env = { ...exchange(), DATA_DIR: dataDir, HTTP_PORT: port };
      assertRefused(await run(["ingest"], env), {
        exit: 2,
        says: new RegExp(`E_PORT_IN_USE: port ${port} on 127\\.0\\.0\\.1 is used`),
        remedy: /HTTP_PORT/,
      });
      assert.deepEqual(await readdir(dataDir), []);
      assertRefused(await run(["simulate", "--port", port]), {
        exit: 2,
        says: new RegExp(`E_PORT_IN_USE: port ${port} on 127\\.0\\.0\\.1 is used`),
        remedy: /--port/,
      });
    } finally {
      taken.close();
    }
  });

  /** `db …` from nothing to everything and back. */
  async function lifecycle(env: Env, hold: () => Promise<() => Promise<void>>): Promise<void> {
    interface Listed {
      readonly isCreated?: boolean;
      readonly applied?: readonly { readonly name: string }[];
      readonly undone?: readonly { readonly name: string }[];
      readonly migrations?: readonly { name: string; state: string; reason?: string }[];
    }
    const db = async (...args: string[]): Promise<Listed> => {
      const { status, stdout, stderr } = await run(["db", ...args, "--json"], env);
      assert.equal(status, 0, stderr);
      assert.equal(stdout.split("\n").length, 2);
      return JSON.parse(stdout) as Listed;
    };
    const namesOf = (list: readonly { readonly name: string }[] = []): string[] =>
      list.map(({ name }) => name);

    const made = await db("init");
    assert.equal(made.isCreated, true);
    assert.deepEqual(namesOf(made.applied).slice(0, 3), ["candles", "ledgers", "ingestion"]);
    const release = await hold();
    try {
      const again = await run(["db", "init"], env);
      assert.equal(again.status, 0, again.stderr);
      assert.match(again.stdout, /^exists already: .*\nnothing to apply: /);
      const timescale = made.migrations?.find(({ name }) => name === "timescaledb");
      if (timescale?.state === "skipped") {
        assert.match(timescale.reason ?? "", /TimescaleDB/);
        assert.match(again.stdout, /skipped \d+ timescaledb: the server does not have TimescaleDB/);
      }
      const status = await run(["db", "status"], env);
      assert.match(status.stdout, /^server {6}PostgreSQL \d+.*\ndatabase {4}.*\nconnect {5}.*psql/);
      assert.match(status.stdout, /\n0001 {7}candles +applied +\d{4}-/);
      const nothing = await run(["status"], env);
      assert.equal(nothing.status, 3, nothing.stderr);
      assert.match(nothing.stdout, /^nothing is ingested yet: start with `npx black-trade ingest`/);

      const { undone } = await db("down");
      assert.equal(undone?.length, 1);
      const pending = (await db("status")).migrations?.filter(({ state }) => state === "pending");
      assert.ok(namesOf(pending).includes(namesOf(undone)[0] ?? ""));
      assertRefused(await run(["status"], env), {
        exit: 4,
        says: /E_DB_NOT_MIGRATED/,
        remedy: /black-trade db migrate/,
      });
      assert.deepEqual(namesOf((await db("migrate")).applied), namesOf(undone));
      const all = await db("down", "--steps", "99");
      assert.deepEqual(namesOf(all.undone).sort(), namesOf(made.applied).sort());
      const none = await run(["db", "down"], env);
      assert.equal(none.stdout, "nothing to undo\n");
    } finally {
      await release();
    }
  }

  test("db init, status, down and migrate on a server", async () => {
    const env = { DATABASE_URL: urlOf(owner, names.own) };
    await lifecycle(env, async () => async () => undefined);
  });

  test("db init, status, down and migrate on the embedded server, which is gone afterwards", async () => {
    const dataDir = await newFolder();
    await lifecycle({ DATA_DIR: dataDir }, async () => {
      // Only for speed: it need not be started for every command.
      const held = await startEmbedded({ dataDir });
      return () => held.release();
    });
    assert.deepEqual(await usersOf(dataDir), []);
  });

  test("an unknown symbol is refused with the nearest one", async () => {
    const own = await createTestDatabase(server, "migrated");
    drops.push(own.drop);
    const env = {
      ...exchange(),
      DATABASE_URL: superUrl(own.url),
      LOG_LEVEL: "silent",
      TRADING_PAIRS: "BTCUSD,ETHUSDT",
    };
    assertRefused(await run(["ingest"], env), {
      exit: 2,
      says: /E_SOURCE_SYMBOL: Binance has no symbol BTCUSD \(did you mean BTCUSDT\?\)$/,
      remedy: /TRADING_PAIRS/,
    });
  });

  test("an exchange that is away at the start is waited for, with HTTP and database up", async () => {
    const own = await createTestDatabase(server, "migrated");
    drops.push(own.drop);
    const port = await freePort();
    const program = start(["ingest"], {
      ...exchange(),
      DATABASE_URL: superUrl(own.url),
      BINANCE_REST_URL: `http://127.0.0.1:${port}`,
      BINANCE_WS_URL: `ws://127.0.0.1:${port}`,
    });
    const [, http = ""] = await program.says(/HTTP on (http:\/\/127\.0\.0\.1:\d+)/);
    await program.says(new RegExp(`127\\.0\\.0\\.1:${port} refused the connection.*tried again`));
    assert.equal((await fetch(`${http}/livez`)).status, 200);
    const ready = await fetch(`${http}/readyz`);
    assert.equal(ready.status, 503);
    assert.match(await ready.text(), /not ready/);
    const beside = await run(["status"], { DATABASE_URL: superUrl(own.url) });
    assert.equal(beside.status, 3, beside.stderr);
    const late = await startSimulator({ market: newMarket(), clock: systemClock, port });
    try {
      await until("ready", async () => {
        const { status } = await fetch(`${http}/readyz`);
        return status === 200 ? true : undefined;
      });
    } finally {
      program.kill("SIGTERM");
      await late.close();
    }
    const { status, stderr } = await endOf(program);
    assert.equal(status, 143);
    assert.match(stderr, /Stopped\. [1-9]\d* candles were written/);
  });

  test("ingestion from start to stop, with everything that looks at it meanwhile", async (t) => {
    const own = await createTestDatabase(server, "empty");
    drops.push(own.drop);
    const [, name = ""] = /\/(bt_test_\w+)/.exec(own.url) ?? [];
    await admin.run({ text: `alter database ${name} owner to ${owner}` });
    const env = {
      ...exchange(),
      DATABASE_URL: urlOf(owner, name),
      API_TOKEN: TOKEN,
      LOG_LEVEL: "debug",
      DB_ECHO: "true",
    };
    const program = start(["ingest"], env);
    const [, http = ""] = await program.says(/HTTP on (http:\/\/127\.0\.0\.1:\d+)/);
    const headers = { authorization: `Bearer ${TOKEN}` };
    await until("ready", async () => {
      const { status } = await fetch(`${http}/readyz`, { headers });
      return status === 200 ? true : undefined;
    });

    // Metrics under their old names.
    assert.equal((await fetch(`${http}/metrics`)).status, 401);
    simulator.faults.set({ kind: "refuseUpgrades", status: 503, forMs: 1_500 });
    simulator.faults.set({ kind: "drop", code: 1006 });
    const values = [
      /^ingestion_candles_processed_total\{(?=.*symbol="BTCUSDT")(?=.*timeframe="1s")(?=.*mode="websocket").*\} [1-9]/m,
      /^ingestion_latency_seconds_count\{(?=.*symbol="BTCUSDT")(?=.*timeframe="1s").*\} [1-9]/m,
      /^ingestion_latency_seconds_bucket\{.*le="\+Inf".*\} [1-9]/m,
      /^ingestion_status\{(?=.*symbol="BTCUSDT")(?=.*timeframe="1s")(?=.*mode="websocket").*\} 1$/m,
      /^ingestion_queue_size\{queue_name="candles"\} \d+$/m,
      /^ingestion_errors_total\{.*error_type="connect".*\} [1-9]/m,
    ];
    await until("real values under the old names", async () => {
      const text = await (await fetch(`${http}/metrics`, { headers })).text();
      assert.doesNotMatch(text, new RegExp(CANARY, "i"));
      return values.every((value) => value.test(text)) ? text : undefined;
    });
    simulator.faults.clear();

    // A second ingester.
    assertRefused(await run(["ingest"], { ...env, LOG_LEVEL: "silent" }), {
      exit: 4,
      says: new RegExp(
        `E_DB_BUSY: another ingester \\(pid ${program.child.pid} on ${hostname()}\\) is active; its last sign of life was \\d+ s ago`,
      ),
      remedy: /Stop it/,
    });
    assertRefused(await run(["db", "down"], env), {
      exit: 4,
      says: /E_DB_BUSY: an ingester is using the tables/,
      remedy: /Stop it/,
    });

    // Status beside it.
    const table = await until("all active in a table", async () => {
      const { status, stdout } = await run(["status"], env);
      return status === 0 ? stdout : undefined;
    });
    assert.match(table, /^4 of 4 series active · websocket · pid \d+ on /);
    assert.match(table, /\nBTCUSDT 1s +active +\d{4}-/);
    const { stdout } = await run(["status", "--json"], env);
    const document = JSON.parse(stdout) as { series: { symbol: string; status: string }[] };
    assert.deepEqual(
      document.series.map(({ symbol, status }) => `${symbol} ${status}`),
      ["BTCUSDT active", "BTCUSDT active", "ETHUSDT active", "ETHUSDT active"],
    );
    const watch = start(["status", "--watch", "--json"], env);
    await until("two documents", async () => watch.stdout.split("\n")[2]);
    watch.kill("SIGINT");
    const watched = await endOf(watch);
    assert.equal(watched.status, 130);
    for (const line of watched.stdout.trimEnd().split("\n")) JSON.parse(line);
    const unread = start(["status", "--watch", "--json"], env);
    await unread.says(/isKnown/);
    unread.child.stdout?.destroy();
    const left = await endOf(unread);
    assert.deepEqual([left.status, left.stderr], [0, ""]);

    // On a terminal, with colours and without.
    for (const more of [{}, { NO_COLOR: "1" }] as const) {
      const watched = await watchOnTerminal({ ...env, ...more });
      if (watched === undefined) {
        t.diagnostic("no `script` here that gives a terminal: not tried on one");
        break;
      }
      assert.equal(watched.status, 130, watched.text);
      const places = ["\u001b[?1049h", "Ctrl-C ends this view", "\u001b[?1049l"].map((part) =>
        watched.text.indexOf(part),
      );
      assert.ok(
        places.every((place, index) => place > (places[index - 1] ?? -1)),
        JSON.stringify(watched.text),
      );
      assert.equal(watched.text.includes("\u001b[32mactive"), !("NO_COLOR" in more));
    }

    // Both ways to stop.
    program.kill("SIGINT");
    const first = await endOf(program);
    assert.equal(first.status, 130);
    assert.equal(first.stdout, "");
    assert.match(first.stderr, /Stopped\. [1-9]\d* candles were written/);
    assert.match(first.stderr, /insert into candles/i, "DB_ECHO shows statements");
    const paused = await run(["status"], env);
    assert.equal(paused.status, 3);
    assert.match(paused.stdout, /^0 of 4 series active · websocket · ingester stopped · /);
    const second = start(["ingest", "polling", "--json", "--no-http"], env);
    await second.says(/Ingesting 4 series \(polling\)/);
    await wait(1_500);
    second.kill("SIGTERM");
    const { status, stdout: summary } = await endOf(second);
    assert.equal(status, 143);
    const { storedCount, pendingCount } = JSON.parse(summary) as Record<string, number>;
    assert.deepEqual([typeof storedCount, pendingCount], ["number", 0]);
  });
});

describe("the demo and the simulator", AT_ONCE, () => {
  /** Settings of real ingestion lie about; made-up candles must not get into that database. */
  async function demoScene(): Promise<{ env: Env; cwd: string; tmp: string }> {
    const [tmp, cwd] = [await newFolder(), await newFolder()];
    const DATABASE_URL = `postgresql://u:${CANARY}@127.0.0.1:1/d`;
    await writeFile(join(cwd, ".env"), `DATABASE_URL=${DATABASE_URL}\nTIMEFRAMES=nonsense\n`);
    return { env: { TMPDIR: tmp, DATABASE_URL, API_TOKEN: CANARY }, cwd, tmp };
  }

  test("demo --json prints candles, one a line, and leaves nothing behind", async () => {
    const { env, cwd, tmp } = await demoScene();
    const args = ["demo", "--for", "8", "--json", "--symbols", "BTCUSDT,币安人生USDT"];
    const { status, stdout, stderr } = await run(args, env, cwd);
    assert.equal(status, 0, stderr);
    const candles = stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    assert.ok(candles.length > 8, stdout);
    const keys = new Set<string>();
    for (const { exchange, symbol, timeframe, openTime, closeTime, open, close } of candles) {
      assert.equal(exchange, "binance");
      assert.match(String(symbol), /^(?:BTC|币安人生)USDT$/);
      assert.ok(Number(closeTime) > Number(openTime));
      assert.match(`${open} ${close}`, /^\d+\.\d+ \d+\.\d+$/);
      keys.add(`${symbol} ${timeframe} ${openTime}`);
    }
    assert.equal(keys.size, candles.length, "a candle was shown twice");
    assert.ok(
      candles.filter(({ symbol, timeframe }) => symbol === "BTCUSDT" && timeframe === "1s").length >
        3,
    );
    assert.match(stderr, /[\d,]+ candles were stored; .* nothing is left running\.\n$/);
    assert.deepEqual(await readdir(tmp), []);
    assert.deepEqual(await usersOf(tmp), []);
  });

  test("demo | head ends the demo cleanly", async () => {
    const { env, cwd, tmp } = await demoScene();
    const program = start(["demo", "--symbols", "BTCUSDT", "--timeframes", "1s"], env, cwd);
    await program.says(/BTCUSDT 1s {3}open \d/);
    program.child.stdout?.destroy();
    const { status, stderr } = await endOf(program);
    assert.equal(status, 0, stderr);
    assert.match(stderr, /nothing is left running\.\n$/);
    assert.deepEqual(await readdir(tmp), []);
    assert.deepEqual(await usersOf(tmp), []);
  });

  test("a second Ctrl-C ends the demo at once, and leaves nothing behind either", async () => {
    const { env, cwd, tmp } = await demoScene();
    const program = start(["demo", "--symbols", "BTCUSDT", "--timeframes", "1s"], env, cwd);
    await program.says(/BTCUSDT 1s {3}open \d/);
    program.kill("SIGINT");
    program.kill("SIGTERM");
    const { status } = await endOf(program);
    assert.equal(status, 1);
    assert.deepEqual(await readdir(tmp), []);
    for (let left = 50; left > 0 && (await usersOf(tmp)).length > 0; left -= 1) await wait(100);
    assert.deepEqual(await usersOf(tmp), []);
  });

  test("simulate --json says where it listens, and ends at a signal", async () => {
    const program = start(["simulate", "--port", "0", "--json", "--symbols", "btcusdt, NEWUSDT"]);
    const [line] = await program.says(/^\{.*\}$/m);
    const { url, symbols } = JSON.parse(line) as { url: string; symbols: string[] };
    assert.deepEqual(symbols, ["BTCUSDT", "NEWUSDT"]);
    assert.equal((await fetch(`${url}/api/v3/ping`)).status, 200);
    program.kill("SIGINT");
    const { status, stderr } = await endOf(program);
    assert.deepEqual({ status, stderr }, { status: 130, stderr: "" });
  });
});
