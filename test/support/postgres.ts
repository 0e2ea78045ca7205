import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import pg from "pg";
import { Database } from "../../src/store/database.ts";
import { packagedFolder } from "../../src/store/embedded/binaries.ts";
import { isRunning } from "../../src/store/embedded/lock-file.ts";
import { startEmbedded } from "../../src/store/embedded.ts";
import { migrate } from "../../src/store/migrate.ts";
import { readMigrations } from "../../src/store/migration-files.ts";
import { testSetting } from "./setting.ts";

export { testSetting };

/** A server that tests may fill with databases of their own. */
export interface TestServer {
  /** Connection URL of one of its databases. */
  urlOf(database: string): string;
  /** Stops using it. */
  release(): Promise<void>;
}

/** A database of one test or one suite. */
export interface TestDatabase {
  readonly url: string;
  /** The same server with another database. */
  urlOf(database: string): string;
  drop(): Promise<void>;
}

/** What is in a test's database at first: the migrated schema, or nothing. */
export type TestContent = "migrated" | "empty";

const timescaleUrl = testSetting("TEST_TIMESCALE_URL");

/** The server with TimescaleDB; `skip` says why there is none. */
export const timescale = {
  skip: timescaleUrl === undefined ? "TEST_TIMESCALE_URL names no server with TimescaleDB" : false,
  server: serverAt(timescaleUrl ?? "postgresql://localhost"),
} as const;

/** Serialises the making of a template among test files that share a server. */
const TEMPLATE_LOCK = 4_611_686;

const templates = new WeakMap<TestServer, Promise<string>>();
let shared: Promise<TestServer> | undefined;
let count = 0;

after(async () => {
  await (await shared?.catch(() => undefined))?.release();
});

/**
 * Runs a test with a database of its own on the server of `TEST_DATABASE_URL`, or on an embedded one that all test files
 * share; the last one that ends stops it.
 */
export async function withDatabase<T>(
  run: (database: TestDatabase) => Promise<T>,
  content: TestContent = "migrated",
): Promise<T> {
  const database = await createTestDatabase(await sharedServer(), content);
  try {
    return await run(database);
  } finally {
    await database.drop();
  }
}

/** The server that {@link withDatabase} uses. */
export function sharedServer(): Promise<TestServer> {
  shared ??= openServer();
  return shared;
}

/** A new database, to be dropped by whoever asked for it. */
export async function createTestDatabase(
  server: TestServer,
  content: TestContent,
): Promise<TestDatabase> {
  count += 1;
  const name = `bt_test_${process.pid}_${count}`;
  await asAdmin(server, async (admin) => {
    const template = content === "empty" ? "template0" : await templateOf(server, admin);
    await admin.run({
      text: `create database ${name} template ${template} encoding 'UTF8'`,
      deadlineMs: 60_000,
    });
  });
  return {
    url: server.urlOf(name),
    urlOf: (other) => server.urlOf(other),
    drop: () => asAdmin(server, (admin) => drop(admin, name)),
  };
}

/** The server behind a connection URL. */
export function serverAt(url: string): TestServer {
  return {
    urlOf: (database) => {
      const changed = new URL(url);
      changed.pathname = `/${database}`;
      return changed.href;
    },
    release: async () => undefined,
  };
}

async function openServer(): Promise<TestServer> {
  const url = testSetting("TEST_DATABASE_URL");
  if (url !== undefined) return serverAt(url);
  const server = await startEmbedded({ dataDir: testDataFolder() });
  await asAdmin(server, dropOrphans);
  return server;
}

/** One folder for each version of the server and each checkout: made once, it serves later runs, too. */
function testDataFolder(): string {
  const { version } = JSON.parse(
    readFileSync(join(packagedFolder(), "../package.json"), "utf8"),
  ) as { version: string };
  const mark = createHash("sha256")
    .update(`${version}:${import.meta.dirname}`)
    .digest("hex");
  return join(tmpdir(), `black-trade-test-${process.getuid?.() ?? 0}-${mark.slice(0, 8)}`);
}

/** Databases of test processes that were killed. */
async function dropOrphans(admin: Database): Promise<void> {
  const rows = await admin.run<{ name: string }>({
    text: "select datname::text as name from pg_database where datname ~ '^bt_test_[0-9]+_'",
  });
  for (const { name } of rows) {
    if (!isRunning(Number(name.split("_")[2]))) await drop(admin, name);
  }
}

function templateOf(server: TestServer, admin: Database): Promise<string> {
  const template = templates.get(server) ?? migratedTemplate(server, admin);
  templates.set(server, template);
  return template;
}

/** Cloning is an order of magnitude faster than migrating. A comment says that a template is whole. */
async function migratedTemplate(server: TestServer, admin: Database): Promise<string> {
  const checksums = (await readMigrations()).map(({ checksum }) => checksum);
  const mark = createHash("sha256").update(checksums.join()).digest("hex").slice(0, 12);
  const name = `bt_template_${mark}`;
  await admin.transaction(async (tx) => {
    await tx.run({ text: "select pg_advisory_xact_lock($1)", values: [TEMPLATE_LOCK] });
    const [found] = await tx.run<{ comment: string | null }>({
      text: `
        select shobj_description(oid, 'pg_database') as comment from pg_database where datname = $1`,
      values: [name],
    });
    if (found?.comment === "whole") return;
    // Not inside a transaction: another connection does it while this one holds the lock.
    await asAdmin(server, async (other) => {
      await drop(other, name);
      await other.run({
        text: `create database ${name} template template0 encoding 'UTF8'`,
        deadlineMs: 60_000,
      });
      const database = new Database({ url: server.urlOf(name), poolSize: 1 });
      await migrate(database).finally(() => database.close());
      // TimescaleDB's own workers look into every database that lets them, and one that is in use cannot be cloned.
      await other.run({ text: `alter database ${name} allow_connections false` });
      await other.run({
        text: "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1",
        values: [name],
      });
      await other.run({ text: `comment on database ${name} is 'whole'` });
    });
  }, 60_000);
  return name;
}

async function asAdmin<T>(
  server: TestServer,
  work: (database: Database) => Promise<T>,
): Promise<T> {
  const database = new Database({ url: server.urlOf("postgres"), poolSize: 1 });
  try {
    return await work(database);
  } finally {
    await database.close();
  }
}

/** PostgreSQL 12 does not know `with (force)`. */
async function drop(admin: Database, name: string): Promise<void> {
  await admin.run({
    text: "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1",
    values: [name],
  });
  for (let tries = 20; ; tries -= 1) {
    try {
      await admin.run({
        text: `drop database if exists ${pg.escapeIdentifier(name)}`,
        deadlineMs: 60_000,
      });
      return;
    } catch (error) {
      if (tries === 0) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}
