import pg from "pg";
import { BlackTradeError } from "../core/errors.ts";
import type { Database, Executor } from "./database.ts";
import { readMigrations } from "./migration-files.ts";
import { LEDGER_TABLE, readLedger, refuseForeignHistory } from "./migration-ledger.ts";
import { EXPECTED_TABLES, type ExpectedTable } from "./schema.ts";
import { inspectTimescale, refuseInvisibleRows, TIMESCALE_SETTING } from "./timescale.ts";

/** What a process means to do with the tables. */
export type Access = "read" | "write";

/** What a check found that does not keep the store from working. */
export interface ServerReport {
  /** `PostgreSQL 18.4`. */
  readonly version: string;
  readonly hasTimescale: boolean;
  /** True behind a pooler in transaction mode. */
  readonly isPooled: boolean;
  /** One plain line each. */
  readonly warnings: readonly string[];
}

interface ServerRow {
  readonly version: number;
  readonly shownVersion: string;
  readonly encoding: string;
  readonly fsync: string;
  readonly fullPageWrites: string;
  readonly synchronousCommit: string;
}

const MIN_VERSION = 120_000;

/**
 * Looks whether the server keeps what it confirms, and whether the database is the one that this program's migrations
 * make. Where a setting of our own sessions mends a fault, it is set.
 * @param toleratesUnsafe a server that may lose commits is only warned of
 * @throws {BlackTradeError} E_DB_VERSION, E_DB_UNSAFE, E_DB_NOT_MIGRATED, E_DB_NEWER, E_DB_DRIFT, E_DB_RIGHT
 */
export async function checkServer(
  database: Database,
  access: Access,
  toleratesUnsafe: boolean,
): Promise<ServerReport> {
  const isPooled = await database.isPooled();
  if (isPooled) database.stopPreparing();
  const server = await readServer(database);
  if (server.version < MIN_VERSION) {
    throw new BlackTradeError("E_DB_VERSION", `the server is PostgreSQL ${server.shownVersion}`, {
      remedy: "Upgrade it to PostgreSQL 12 or newer.",
    });
  }
  const timescale = await inspectTimescale(database);
  refuseInvisibleRows(timescale);
  const faults = faultsOf(server);
  if (faults.length > 0 && !toleratesUnsafe) throw unsafe(faults);
  database.addTransactionSettings([
    ...(server.synchronousCommit === "off" ? ["synchronous_commit = on"] : []),
    ...(timescale.isInstalled ? [TIMESCALE_SETTING] : []),
  ]);
  await checkSchema(database, access);
  return {
    version: `PostgreSQL ${server.shownVersion}`,
    hasTimescale: timescale.isInstalled,
    isPooled,
    warnings: faults,
  };
}

async function checkSchema(database: Database, access: Access): Promise<void> {
  await checkRights(database, access);
  const ledger = await readLedger(database);
  const migrations = await readMigrations();
  refuseForeignHistory(ledger ?? [], migrations);
  const recorded = new Set((ledger ?? []).map(({ version }) => version));
  const pending = migrations.filter(({ version }) => !recorded.has(version));
  if (pending.length > 0) {
    throw new BlackTradeError(
      "E_DB_NOT_MIGRATED",
      `${pending.length} of ${migrations.length} migrations are not applied`,
      { remedy: 'Run "npx black-trade db migrate".' },
    );
  }
  const differences = differencesOf(await readTables(database));
  if (differences.length > 0) {
    throw new BlackTradeError("E_DB_DRIFT", `the database differs: ${differences.join("; ")}`, {
      remedy: "Undo the change by hand, or restore the database; nothing is written until then.",
    });
  }
}

async function readServer(executor: Executor): Promise<ServerRow> {
  const [row] = await executor.run<ServerRow>({
    text: `
      select
        current_setting('server_version_num')::int as version,
        split_part(current_setting('server_version'), ' ', 1) as "shownVersion",
        current_setting('server_encoding') as encoding,
        current_setting('fsync') as fsync,
        current_setting('full_page_writes') as "fullPageWrites",
        current_setting('synchronous_commit') as "synchronousCommit"`,
  });
  if (row === undefined) throw new Error("the server has no settings");
  return row;
}

function faultsOf({ encoding, fsync, fullPageWrites }: ServerRow): string[] {
  return [
    ...(encoding === "UTF8" ? [] : [`the database's encoding is ${encoding}, not UTF8`]),
    ...(fsync === "on" ? [] : ["fsync is off: a crash may lose or spoil what was committed"]),
    ...(fullPageWrites === "on"
      ? []
      : ["full_page_writes is off: a crash may spoil what was stored"]),
  ];
}

function unsafe(faults: readonly string[]): BlackTradeError {
  return new BlackTradeError("E_DB_UNSAFE", `the database may lose data: ${faults.join("; ")}`, {
    remedy: faults.some((fault) => fault.includes("encoding"))
      ? 'Create a database of its own with encoding UTF8: "npx black-trade db init" does.'
      : "Switch it on in the server's configuration and restart the server.",
  });
}

interface TableRow {
  readonly name: string;
  readonly columns: Readonly<Record<string, string>>;
  /** `p(series_id, open_time)`, `u(exchange, symbol, timeframe)`. */
  readonly keys: readonly string[] | null;
  readonly checks: readonly string[] | null;
  readonly persistence: string;
  readonly keepsRevisions: boolean;
}

async function readTables(executor: Executor): Promise<readonly TableRow[]> {
  return executor.run<TableRow>({
    text: `
      select
        c.relname::text as name,
        c.relpersistence::text as persistence,
        (
          select json_object_agg(
            a.attname, format_type(a.atttypid, a.atttypmod) || case when a.attnotnull then '!' else '' end
          )
          from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        ) as columns,
        (
          select array_agg(format('%s(%s)', p.contype, (
            select string_agg(a.attname, ', ' order by k.place)
            from unnest(p.conkey) with ordinality as k (attnum, place)
            join pg_attribute a on a.attrelid = c.oid and a.attnum = k.attnum
          )))
          from pg_constraint p
          where p.conrelid = c.oid and p.contype in ('p', 'u')
        ) as keys,
        (
          select array_agg(p.conname::text) from pg_constraint p
          where p.conrelid = c.oid and p.contype = 'c' and p.convalidated
        ) as checks,
        exists (
          select from pg_trigger t
          where t.tgrelid = c.oid and t.tgname = 'keep_candle_revision' and t.tgenabled in ('O', 'A')
        ) as "keepsRevisions"
      from unnest($1::text[]) as expected (name)
      join pg_class c on c.oid = to_regclass(quote_ident(expected.name))`,
    values: [Object.keys(EXPECTED_TABLES)],
  });
}

/** What sets the tables of a database apart from the migrated ones, in plain words. */
function differencesOf(tables: readonly TableRow[]): string[] {
  const found = new Map(tables.map((table) => [table.name, table]));
  return Object.entries(EXPECTED_TABLES).flatMap(([name, expected]) => {
    const table = found.get(name);
    return table === undefined ? [`table ${name} is missing`] : tableDifferences(expected, table);
  });
}

function tableDifferences(expected: ExpectedTable, table: TableRow): string[] {
  const { name } = table;
  const columns = Object.entries(expected.columns).flatMap(([column, type]) => {
    const actual = table.columns[column];
    if (actual === type) return [];
    return actual === undefined
      ? [`column ${name}.${column} is missing`]
      : [`column ${name}.${column} is ${shown(actual)}, not ${shown(type)}`];
  });
  const keys = table.keys ?? [];
  const key = expected.primaryKey.join(", ");
  const unique = expected.unique?.join(", ");
  const checks = (expected.checks ?? []).filter((check) => !table.checks?.includes(check));
  return [
    ...columns,
    ...(keys.includes(`p(${key})`) ? [] : [`table ${name} lacks its primary key (${key})`]),
    ...(unique === undefined || keys.includes(`u(${unique})`)
      ? []
      : [`table ${name} lacks its unique key (${unique})`]),
    ...checks.map((check) => `table ${name} lacks its check ${check}`),
    ...(table.persistence === "p" ? [] : [`table ${name} is unlogged: a crash would empty it`]),
    ...(name !== "candles" || table.keepsRevisions
      ? []
      : ["trigger keep_candle_revision on candles is missing or disabled"]),
  ];
}

function shown(type: string): string {
  return type.endsWith("!") ? `${type.slice(0, -1)} not null` : type;
}

/** No right to delete or to change tables is needed. */
const RIGHTS: Readonly<Record<Access, readonly string[]>> = {
  read: ["SELECT"],
  write: ["SELECT", "INSERT", "UPDATE"],
};
/** What the program itself never writes but by a migration. */
const ONLY_READ = [LEDGER_TABLE, "ohlcv_candles"];

interface MissingRight {
  readonly table: string;
  readonly privilege: string;
  readonly schema: string;
}

/** Tables that do not exist yet are another check's affair. */
async function checkRights(database: Database, access: Access): Promise<void> {
  const rights = RIGHTS[access];
  const missing = await database.run<MissingRight>({
    text: `
      select table_name as "table", privilege, c.relnamespace::regnamespace::text as schema
      from unnest($1::text[]) as wanted (table_name)
      join pg_class c on c.oid = to_regclass(quote_ident(table_name))
      cross join unnest($2::text[]) as needed (privilege)
      where (privilege = 'SELECT' or table_name <> all ($3::text[])) and not has_table_privilege(c.oid, privilege)`,
    values: [[...Object.keys(EXPECTED_TABLES), ...ONLY_READ], rights, ONLY_READ],
  });
  const [first] = missing;
  if (first === undefined) return;
  const { user } = database.target;
  throw new BlackTradeError(
    "E_DB_RIGHT",
    `user "${user}" needs ${first.privilege} on ${first.table}`,
    {
      remedy: `As the owner of the tables run: GRANT ${rights.join(", ")} ON ALL TABLES IN SCHEMA ${first.schema} TO ${pg.escapeIdentifier(user)};`,
      details: { missing: missing.map(({ table, privilege }) => `${privilege} on ${table}`) },
    },
  );
}
