import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { globSync } from "node:fs";
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { systemClock } from "../src/clock.ts";
import { SeededMarket, seededSymbols, startSimulator } from "../src/simulator/index.ts";
import { Database } from "../src/store/index.ts";
import { createTestDatabase, sharedServer } from "./support/postgres.ts";
import { exchangeSettings, Program } from "./support/program.ts";

/** Stands in every secret; nothing may ever show it. */
const CANARY = "S3CR3T";
const PASSWORD = `${CANARY}-pass-word`;
const TOKEN = `${CANARY}-0123456789-abcdefghijk`;
const ROUTES = [
  ...["/", "/metrics", "/livez", "/readyz", "/openapi.json", "/nothing", "/%zz"],
  ...["/api/v1/series", "/api/v1/status", "/api/v1/status/summary", "/api/v1/log", "/api/v1/jobs"],
  ...["/api/v1/errors", "/api/v1/candles?symbol=BTCUSDT&timeframe=1s&limit=5"],
  ...["/api/v1/gaps?symbol=BTCUSDT&timeframe=1s", "/api/v3/exchangeInfo", "/api/v3/time"],
  ...["/api/v3/klines?symbol=BTCUSDT&interval=1s&limit=5", "/udf/config", "/udf/search?query=B"],
] as const;

test("no output, file, answer or command line holds a secret", { timeout: 240_000 }, async (t) => {
  const found: string[] = [];
  const endings: string[] = [];
  let byteCount = 0;
  let outputCount = 0;
  const look = (what: string, text: string): void => {
    outputCount += 1;
    byteCount += Buffer.byteLength(text);
    if (text.toUpperCase().includes(CANARY)) found.push(what);
  };

  const folder = await mkdtemp(join(tmpdir(), "bt-canary-"));
  await chmod(folder, 0o755);
  const database = await createTestDatabase(await sharedServer(), "empty");
  const admin = new Database({ url: database.url, poolSize: 1 });
  const role = `bt_canary_${process.pid}_${randomUUID().slice(0, 4)}`;
  const [, name = ""] = /\/(bt_test_\w+)/.exec(database.url) ?? [];
  await admin.run({ text: `create role ${role} login superuser password '${PASSWORD}'` });
  const inUser = database.url
    .replace("@/", "@localhost/")
    .replace(/\/\/(?:[^@/]*@)?/, `//${role}:${PASSWORD}@`);
  const inQuery = `${inUser.replace(`:${PASSWORD}@`, "@")}${inUser.includes("?") ? "&" : "?"}password=${PASSWORD}`;
  const market = new SeededMarket({
    symbols: seededSymbols(["BTCUSDT"]),
    listedAt: Date.now() - 86_400_000,
  });
  const simulator = await startSimulator({ market, clock: systemClock });
  const common = {
    API_TOKEN: TOKEN,
    TRADING_PAIRS: "BTCUSDT",
    TIMEFRAMES: "1s,1m",
    BACKFILL_DAYS: "0.01",
    ...exchangeSettings(simulator),
    HTTP_PORT: "0",
    DATA_DIR: join(folder, "data"),
    CSV_MIRROR_DIR: join(folder, "mirror"),
    NODE_COMPILE_CACHE: join(tmpdir(), "bt-canary-cache"),
    TMPDIR: folder,
  };
  await writeFile(join(folder, ".env"), `DATABASE_URL=${inUser}\nAPI_TOKEN=${TOKEN}\n`, {
    mode: 0o600,
  });
  const running = new Set<Program>();
  const start = (args: readonly string[], env: Record<string, string>, cwd = "/"): Program => {
    const program = new Program(args, { ...common, ...env }, cwd);
    running.add(program);
    return program;
  };
  /** A run that ended otherwise has shown other output than was meant to be looked at. */
  const end = async (program: Program, what: string, expected: number): Promise<void> => {
    const { stdout, stderr, status } = await program.ended();
    running.delete(program);
    if (status !== expected)
      endings.push(`${what} ended with ${status}, not ${expected}: ${stderr.slice(-300)}`);
    look(`${what}: stdout`, stdout);
    look(`${what}: stderr`, stderr);
  };
  const run = async (args: readonly string[], env: Record<string, string>, expected: number) => {
    await end(start(args, env), args.join(" "), expected);
  };

  try {
    await run(["db", "migrate"], { DATABASE_URL: inUser }, 0);
    const ingesting = start(["ingest"], {
      DATABASE_URL: inUser,
      LOG_LEVEL: "debug",
      DB_ECHO: "true",
    });
    const [, http = ""] = await ingesting.says(/HTTP on (http:\/\/127\.0\.0\.1:\d+)/);
    const headers = { authorization: `Bearer ${TOKEN}` };
    for (const deadline = Date.now() + 60_000; ; ) {
      if ((await fetch(`${http}/readyz`, { headers })).status === 200) break;
      assert.ok(Date.now() < deadline, ingesting.stderr);
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    // Connections that break in the middle of everything.
    await admin.run({
      text: "select pg_terminate_backend(pid) from pg_stat_activity where usename = $1",
      values: [role],
    });
    for (const path of ROUTES) {
      for (const sent of [headers, { "x-mbx-apikey": TOKEN }, {}]) {
        const answer = await fetch(`${http}${path}`, { headers: sent });
        look(
          `${path} ${answer.status}`,
          JSON.stringify([...answer.headers]) + (await answer.text()),
        );
      }
    }
    if (process.platform === "linux") {
      look("command line", await readFile(`/proc/${ingesting.child.pid}/cmdline`, "utf8"));
    }

    const commands = [
      ...[["status"], ["status", "--json"], ["db", "status"], ["doctor"], ["doctor", "--json"]],
      ...[
        ["export", "--symbols", "BTCUSDT", "--timeframes", "1s"],
        ["verify"],
        ["verify", "--json"],
      ],
      ...[
        ["fill-gaps", "--dry-run"],
        ["import-csv", join(folder, "mirror")],
        ["db", "init"],
      ],
    ] as const;
    const inDebug = { DATABASE_URL: inQuery, LOG_LEVEL: "debug" };
    for (const args of commands) await run(args, inDebug, 0);
    // Another one is at work there.
    await run(["ingest"], inDebug, 4);
    const serving = start(["serve"], {}, folder);
    await serving.says(/Serving without ingesting/);
    serving.kill("SIGTERM");
    await end(serving, "serve by .env", 143);

    const nobody = `postgresql://u:${PASSWORD}@127.0.0.1:1/${name}?password=${PASSWORD}`;
    const unusable = [
      { url: inUser.replace(PASSWORD, `${PASSWORD}-wrong`), status: 4, doctor: 4 },
      { url: nobody, status: 4, doctor: 4 },
      { url: `postgresql://u:${PASSWORD}#x@h/d`, status: 2, doctor: 1 },
      { url: PASSWORD, status: 2, doctor: 1 },
      { url: `mysql://u:${PASSWORD}@h/d`, status: 2, doctor: 1 },
    ];
    for (const { url, status, doctor } of unusable) {
      for (const command of ["ingest", "status"])
        await run([command], { DATABASE_URL: url }, status);
      await run(["doctor"], { DATABASE_URL: url }, doctor);
    }
    await run(["status", `--database-url=${nobody}`], {}, 4);
    await run(["status", nobody], {}, 2);
    const settings = { API_TOKEN: CANARY, HTTP_HOST: `${CANARY}@x`, BINANCE_REST_URL: nobody };
    await run(["ingest"], settings, 2);
    await run(["demo", "--for", "3", "--json"], { DATABASE_URL: inUser }, 0);
    for (const args of [["--help"], ["ingest", "--help"]])
      await run(args, { DATABASE_URL: inUser }, 0);
    ingesting.kill("SIGTERM");
    await end(ingesting, "ingest", 143);

    for (const path of globSync("**/*", { cwd: folder })) {
      const file = join(folder, path);
      const isSecretFile = path === ".env" || /password/.test(path);
      if (isSecretFile || !(await stat(file)).isFile()) continue;
      look(`file ${path}`, await readFile(file, "latin1"));
    }
  } finally {
    for (const program of running) {
      program.kill("SIGKILL");
      await program.ended();
    }
    await simulator.close();
    await admin.run({
      text: "select pg_terminate_backend(pid) from pg_stat_activity where usename = $1",
      values: [role],
    });
    await admin.run({ text: `reassign owned by ${role} to current_user` });
    await admin.run({ text: `drop owned by ${role}` });
    await admin.run({ text: `drop role ${role}` });
    await admin.close();
    await database.drop();
    await rm(folder, { recursive: true, force: true });
  }
  t.diagnostic(`secrets-in-output ${found.length} of ${byteCount} bytes in ${outputCount} outputs`);
  assert.deepEqual(found, []);
  assert.deepEqual(endings, []);
  assert.ok(outputCount > 100 && byteCount > 100_000, "it was looked at too little");
});
