import { BlackTradeError } from "../core/errors.ts";
import type { Executor } from "./database.ts";
import type { Migration } from "./migration-files.ts";

/** What the ledger table says about one migration. */
export interface LedgerEntry {
  readonly version: number;
  readonly name: string;
  readonly checksum: string;
  readonly state: "applied" | "skipped";
  /** Why it was skipped. */
  readonly reason: string | null;
  /** Epoch ms, by the clock of the database. */
  readonly appliedTime: number;
}

/** Where applied migrations are recorded. */
export const LEDGER_TABLE = "schema_migrations";

/** Creates the ledger. To be called under the migration lock, as concurrent `create table if not exists` may collide. */
export async function createLedger(executor: Executor): Promise<void> {
  await executor.run({
    text: `
      create table if not exists schema_migrations (
        version int primary key,
        name text not null,
        checksum text not null,
        state text not null,
        reason text,
        applied_at timestamptz not null default clock_timestamp()
      )`,
  });
}

/** Entries ascending by version, or `undefined` when the database has no ledger of ours. */
export async function readLedger(executor: Executor): Promise<readonly LedgerEntry[] | undefined> {
  const columns = await executor.run<{ name: string }>({
    text: `
      select attname::text as name from pg_attribute
      where attrelid = to_regclass('schema_migrations') and attname = 'checksum'`,
  });
  if (columns.length === 0) return undefined;
  return executor.run<LedgerEntry>({
    text: `
      select version, name, checksum, state, reason,
        (extract(epoch from applied_at) * 1000)::bigint as "appliedTime"
      from schema_migrations order by version`,
  });
}

/** Records a migration, or that it was skipped. */
export async function writeLedger(
  executor: Executor,
  migration: Migration,
  state: LedgerEntry["state"],
  reason?: string,
): Promise<void> {
  await executor.run({
    text: `
      insert into schema_migrations (version, name, checksum, state, reason) values ($1, $2, $3, $4, $5)
      on conflict (version) do update set
        name = excluded.name, checksum = excluded.checksum, state = excluded.state, reason = excluded.reason,
        applied_at = excluded.applied_at`,
    values: [migration.version, migration.name, migration.checksum, state, reason ?? null],
  });
}

/** Takes a migration out of the ledger. */
export async function eraseFromLedger(executor: Executor, version: number): Promise<void> {
  await executor.run({
    text: "delete from schema_migrations where version = $1",
    values: [version],
  });
}

/**
 * Refuses a ledger that this program's migrations do not continue.
 * @throws {BlackTradeError} E_DB_NEWER, E_DB_DRIFT
 */
export function refuseForeignHistory(
  ledger: readonly LedgerEntry[],
  migrations: readonly Migration[],
): void {
  const known = new Map(migrations.map((migration) => [migration.version, migration]));
  const newest = migrations.at(-1)?.version ?? 0;
  for (const entry of ledger) {
    const migration = known.get(entry.version);
    if (migration === undefined) {
      throw new BlackTradeError(
        "E_DB_NEWER",
        `the database is newer (migration ${entry.version} ${entry.name}) than this program (${newest})`,
        { remedy: "Update black-trade to the version that migrated the database, or a later one." },
      );
    }
    if (entry.state === "applied" && entry.checksum !== migration.checksum) {
      throw new BlackTradeError(
        "E_DB_DRIFT",
        `migration ${entry.version} ${entry.name} was applied from a file with another content`,
        {
          remedy:
            "Restore the file as it was released; changes of the schema go into a new migration.",
        },
      );
    }
  }
}
