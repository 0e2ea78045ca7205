import { BlackTradeError } from "../core/errors.ts";
import type { Database, Executor } from "./database.ts";
import { sqlStateOf } from "./db-errors.ts";
import { INGEST_LOCK, MIGRATION_LOCK } from "./locks.ts";
import { type Migration, readMigrations } from "./migration-files.ts";
import {
  createLedger,
  eraseFromLedger,
  LEDGER_TABLE,
  type LedgerEntry,
  readLedger,
  refuseForeignHistory,
  writeLedger,
} from "./migration-ledger.ts";
import { inspectTimescale, refuseInvisibleRows, timescaleObstacle } from "./timescale.ts";

/** Rewriting a large table takes its time. */
const DEADLINE_MS = 60 * 60_000;

/** One migration as the database has it. */
export interface MigrationState {
  readonly version: number;
  readonly name: string;
  /** `changed` = applied from a file with another content; `unknown` = applied by a newer program. */
  readonly state: "applied" | "skipped" | "pending" | "changed" | "unknown";
  /** Why it was skipped. */
  readonly reason?: string;
  /** Epoch ms, by the clock of the database. */
  readonly appliedTime?: number;
}

/**
 * Applies what is pending, each migration in a transaction of its own, under a lock: several processes may do it at
 * once. A migration whose extension is missing is recorded as skipped and looked at again at the next call.
 * @returns the migrations that were applied by this call
 * @throws {BlackTradeError} E_DB_NEWER, E_DB_DRIFT, E_DB_FOREIGN_TABLE, E_DB_RIGHT and other E_DB_*
 */
export async function migrate(
  database: Database,
  migrations?: readonly Migration[],
): Promise<readonly Migration[]> {
  const all = migrations ?? (await readMigrations());
  await database.transaction(async (tx) => {
    await takeLock(tx);
    refuseInvisibleRows(await inspectTimescale(tx));
    const ledger = await readLedger(tx);
    await refuseForeignTables(tx, all, ledger);
    if (ledger === undefined) await createLedger(tx);
  }, DEADLINE_MS);
  const applied: Migration[] = [];
  for (const migration of all) {
    const apply = migration.isTransactional ? applyInTransaction : applyAlone;
    if (await apply(database, migration, all)) applied.push(migration);
  }
  return applied;
}

/**
 * Undoes the last `count` applied migrations, newest first.
 * @returns the migrations that were undone
 * @throws {BlackTradeError} E_DB_BUSY while an ingester is active; E_DB_NEWER, E_DB_DRIFT and other E_DB_*
 */
export async function migrateDown(
  database: Database,
  count: number,
  migrations?: readonly Migration[],
): Promise<readonly Migration[]> {
  const all = migrations ?? (await readMigrations());
  const undone: Migration[] = [];
  while (undone.length < count) {
    const migration = await database.transaction((tx) => undoNewest(tx, all), DEADLINE_MS);
    if (migration === undefined) break;
    undone.push(migration);
  }
  return undone;
}

/** Every migration known to the program or the database, ascending. Changes nothing. @throws {BlackTradeError} E_DB_* */
export async function migrationStates(
  executor: Executor,
  migrations?: readonly Migration[],
): Promise<readonly MigrationState[]> {
  const all = migrations ?? (await readMigrations());
  const ledger = new Map(
    ((await readLedger(executor)) ?? []).map((entry) => [entry.version, entry]),
  );
  const states = all.map(({ version, name, checksum }): MigrationState => {
    const entry = ledger.get(version);
    ledger.delete(version);
    if (entry === undefined) return { version, name, state: "pending" };
    const isChanged = entry.state === "applied" && entry.checksum !== checksum;
    return stateOf(entry, isChanged ? "changed" : entry.state);
  });
  return [...states, ...[...ledger.values()].map((entry) => stateOf(entry, "unknown"))];
}

function stateOf(entry: LedgerEntry, state: MigrationState["state"]): MigrationState {
  const { version, name, appliedTime, reason } = entry;
  return { version, name, state, appliedTime, ...(reason === null ? {} : { reason }) };
}

async function applyInTransaction(
  database: Database,
  migration: Migration,
  all: readonly Migration[],
): Promise<boolean> {
  return database.transaction(async (tx) => {
    await takeLock(tx);
    if (await isDone(tx, migration, all)) return false;
    const obstacle = await provideExtension(tx, migration);
    if (obstacle !== undefined) {
      await writeLedger(tx, migration, "skipped", obstacle);
      return false;
    }
    await tx.run({ text: migration.up });
    await writeLedger(tx, migration, "applied");
    return true;
  }, DEADLINE_MS);
}

async function applyAlone(
  database: Database,
  migration: Migration,
  all: readonly Migration[],
): Promise<boolean> {
  const session = await database.openSession();
  try {
    await session.run({
      text: "select pg_advisory_lock($1)",
      values: [MIGRATION_LOCK],
      deadlineMs: DEADLINE_MS,
    });
    if (await isDone(session, migration, all)) return false;
    await session.run({ text: migration.up, deadlineMs: DEADLINE_MS });
    await writeLedger(session, migration, "applied");
    return true;
  } finally {
    await session.close();
  }
}

async function undoNewest(tx: Executor, all: readonly Migration[]): Promise<Migration | undefined> {
  await takeLock(tx);
  const [lock] = await tx.run<{ isFree: boolean }>({
    text: `select pg_try_advisory_xact_lock($1) as "isFree"`,
    values: [INGEST_LOCK],
  });
  if (lock?.isFree !== true) {
    throw new BlackTradeError("E_DB_BUSY", "an ingester is using the tables", {
      remedy: "Stop it first.",
    });
  }
  const ledger = (await readLedger(tx)) ?? [];
  refuseForeignHistory(ledger, all);
  for (const entry of [...ledger].reverse()) {
    const migration = all.find(({ version }) => version === entry.version);
    if (migration === undefined) continue;
    await eraseFromLedger(tx, entry.version);
    if (entry.state === "skipped") continue;
    if (migration.down !== "") await tx.run({ text: migration.down });
    return migration;
  }
  return undefined;
}

async function takeLock(tx: Executor): Promise<void> {
  await tx.run({ text: "select pg_advisory_xact_lock($1)", values: [MIGRATION_LOCK] });
}

async function isDone(
  executor: Executor,
  migration: Migration,
  all: readonly Migration[],
): Promise<boolean> {
  const ledger = (await readLedger(executor)) ?? [];
  refuseForeignHistory(ledger, all);
  return ledger.some(({ version, state }) => version === migration.version && state === "applied");
}

/** Creates the extension that a migration needs. @returns why that cannot be */
async function provideExtension(
  tx: Executor,
  { requires, version, name }: Migration,
): Promise<string | undefined> {
  if (requires === undefined) return undefined;
  if (requires !== "timescaledb") {
    throw new Error(`migration ${version} ${name} requires ${requires}, which is not known`);
  }
  const facts = await inspectTimescale(tx);
  const obstacle = timescaleObstacle(facts);
  if (obstacle !== undefined || facts.isInstalled) return obstacle;
  await tx.run({ text: "savepoint extension" });
  try {
    await tx.run({ text: "create extension if not exists timescaledb" });
    return undefined;
  } catch (error) {
    if (sqlStateOf(error) !== "42501") throw error;
    await tx.run({ text: "rollback to savepoint extension" });
    return "the user may not create the extension TimescaleDB";
  }
}

/**
 * Looks, without a lock, whether tables of another program stand where migrations would make theirs.
 * @throws {BlackTradeError} E_DB_FOREIGN_TABLE
 */
export async function checkForeignTables(database: Database): Promise<void> {
  await refuseForeignTables(database, await readMigrations(), await readLedger(database));
}

/** The replaced system kept tables of the same names: its data must neither be overwritten nor taken for ours. */
async function refuseForeignTables(
  tx: Executor,
  migrations: readonly Migration[],
  ledger: readonly LedgerEntry[] | undefined,
): Promise<void> {
  const applied = new Set(
    (ledger ?? []).filter(({ state }) => state === "applied").map(({ version }) => version),
  );
  const wanted = migrations
    .filter(({ version }) => !applied.has(version))
    .flatMap(({ up }) => [...up.matchAll(/^create (?:table|view) (\w+)/gm)])
    .map(([, relation]) => relation);
  if (ledger === undefined) wanted.push(LEDGER_TABLE);
  const found = await tx.run<{ name: string }>({
    text: `
      select relname::text as name from pg_class
      where relname = any($1) and relnamespace = to_regnamespace(quote_ident(current_schema()))
      order by relname`,
    values: [wanted],
  });
  const [first] = found;
  if (first === undefined) return;
  throw new BlackTradeError(
    "E_DB_FOREIGN_TABLE",
    `tables of another program are in the way: ${found.map(({ name }) => name).join(", ")}`,
    {
      remedy: `Name a database of its own in DATABASE_URL and run "npx black-trade db init", or rename each, e.g.: ALTER TABLE ${first.name} RENAME TO old_${first.name};`,
    },
  );
}
