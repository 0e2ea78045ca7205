import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { systemClock } from "../src/clock.ts";
import {
  SeededMarket,
  type Simulator,
  seededSymbols,
  startSimulator,
} from "../src/simulator/index.ts";
import { Database } from "../src/store/index.ts";
import { createTestDatabase, sharedServer, type TestDatabase } from "./support/postgres.ts";
import { exchangeSettings, Program, runProgram } from "./support/program.ts";

const PREFIX = `bt_sec_${process.pid}_`;
const ROLES = ["migrator", "ingest", "reader"] as const;
type Role = (typeof ROLES)[number];
const PASSWORD = "n0t-a-secret-of-anybody";

describe("S18 three roles", { timeout: 180_000 }, () => {
  let database: TestDatabase;
  let admin: Database;
  let simulator: Simulator;
  let script = "";
  const programs: Program[] = [];
  const start = (args: readonly string[], role: Role): Program => {
    const program = new Program(args, envOf(role));
    programs.push(program);
    return program;
  };

  const urlOf = (role: Role): string =>
    database.url
      .replace("@/", "@localhost/")
      .replace(/\/\/(?:[^@/]*@)?/, `//${PREFIX}${role}:${PASSWORD}@`);
  const envOf = (role: Role): Record<string, string> => ({
    DATABASE_URL: urlOf(role),
    TRADING_PAIRS: "BTCUSDT",
    TIMEFRAMES: "1s,1m",
    BACKFILL_DAYS: "0.01",
    ...exchangeSettings(simulator),
    HTTP_PORT: "0",
    DATA_DIR: `/tmp/${PREFIX}data`,
  });

  before(async () => {
    database = await createTestDatabase(await sharedServer(), "empty");
    admin = new Database({ url: database.url, poolSize: 1 });
    const text = await readFile(join(import.meta.dirname, "../ops/postgres/roles.sql"), "utf8");
    script = text.replaceAll("black_trade_", PREFIX);
    await admin.run({ text: script });
    for (const role of ROLES) {
      await admin.run({ text: `alter role ${PREFIX}${role} password '${PASSWORD}'` });
    }
    const market = new SeededMarket({
      symbols: seededSymbols(["BTCUSDT"]),
      listedAt: Date.now() - 86_400_000,
    });
    simulator = await startSimulator({ market, clock: systemClock });
  });

  after(async () => {
    for (const program of programs) {
      program.kill("SIGKILL");
      await program.ended();
    }
    await simulator?.close();
    for (const role of ROLES) {
      await admin.run({
        text: "select pg_terminate_backend(pid) from pg_stat_activity where usename = $1",
        values: [`${PREFIX}${role}`],
      });
      await admin.run({ text: `drop owned by ${PREFIX}${role} cascade` });
      await admin.run({ text: `drop role ${PREFIX}${role}` });
    }
    await admin.close();
    await database.drop();
  });

  test("each does its work, and the script may be run again", async () => {
    const early = await runProgram(["ingest", "--no-http"], envOf("ingest"));
    assert.equal(early.status, 4, early.stderr);
    assert.match(early.stderr, /E_DB_RIGHT|E_DB_NOT_MIGRATED/);
    const migrated = await runProgram(["db", "migrate"], envOf("migrator"));
    assert.equal(migrated.status, 0, migrated.stderr);
    await admin.run({ text: script });

    const ingesting = start(["ingest"], "ingest");
    const [, http = ""] = await ingesting.says(/HTTP on (http:\/\/\S+?):? /);
    const deadline = Date.now() + 60_000;
    while ((await fetch(`${http}/readyz`)).status !== 200) {
      assert.ok(Date.now() < deadline, ingesting.stderr);
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    const status = await runProgram(["status"], envOf("reader"));
    assert.match(status.stdout, /BTCUSDT 1s +active/, status.stderr);
    const serving = start(["serve"], "reader");
    const [, served = ""] = await serving.says(/HTTP on (http:\/\/\S+?):? /);
    await serving.says(/Serving without ingesting/);
    const page = await fetch(`${served}/api/v1/candles?symbol=BTCUSDT&timeframe=1s&limit=3`);
    assert.equal(page.status, 200, await page.text());
    const exported = await runProgram(
      ["export", "--symbols", "BTCUSDT", "--timeframes", "1s"],
      envOf("reader"),
    );
    assert.equal(exported.status, 0, exported.stderr);
    assert.match(exported.stdout, /^timestamp,datetime/);
    serving.kill("SIGTERM");
    ingesting.kill("SIGTERM");
    assert.equal((await serving.ended()).status, 143);
    const { status: code, stderr } = await ingesting.ended();
    assert.equal(code, 143, stderr);
    assert.doesNotMatch(stderr, /permission denied|E_DB_RIGHT/);
    assert.match(stderr, /Stopped\. [1-9]\d* candles were written/);
  });

  const forbidden: Readonly<Record<Exclude<Role, "migrator">, readonly string[]>> = {
    ingest: [
      ...["delete from candles", "truncate candles", "drop table candles", "delete from gaps"],
      ...["alter table candles add column x int", "create table x (y int)", "create schema x"],
      ...["drop view ohlcv_candles", "alter table candles disable trigger all", "create role x"],
      ...["alter table candles owner to current_user"],
      ...["copy candles to program 'id'", "create extension file_fdw"],
      ...["select pg_read_file('/etc/passwd')", "delete from schema_migrations"],
    ],
    reader: [
      ...["insert into exchange_bans select * from exchange_bans", "update candles set close = 1"],
      ...[
        "delete from candles",
        "truncate candles",
        "drop table candles",
        "create table x (y int)",
      ],
      ...["create temporary table x (y int)"],
      ...["update ingestion_status set problem = null", "copy candles from program 'id'"],
    ],
  };
  for (const role of ["ingest", "reader"] as const) {
    test(`the ${role} role is refused everything else with 42501`, async () => {
      const limited = new Database({ url: urlOf(role), poolSize: 1 });
      try {
        for (const text of forbidden[role]) {
          await assert.rejects(limited.run({ text }), (error: Error & { details?: object }) => {
            assert.deepEqual(
              { text, ...error.details, constraint: undefined },
              { text, ...error.details, sqlState: "42501", constraint: undefined },
            );
            return true;
          });
        }
        assert.ok((await limited.run({ text: "select 1 from candles limit 1" })).length <= 1);
      } finally {
        await limited.close();
      }
    });
  }
});
