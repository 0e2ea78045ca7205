import { BlackTradeError } from "../core/errors.ts";
import { openDatabase } from "../open-database.ts";
import { type Check, type Verdict, verdictOf } from "./check.ts";
import type { Context } from "./context.ts";
import { sizeText } from "./setup.ts";

const MIN_VERSION = 120_000;
/** An embedded server may have a crash to recover from. */
const OPEN_DEADLINE_MS = 30_000;
/** What a running ingester and one more command take. */
const NEEDED_CONNECTIONS = 14;

/** The database: from the connection to the tables. */
export const DATABASE_CHECKS: readonly Check<Context>[] = [
  {
    id: "database",
    title: "connection to PostgreSQL",
    needs: ["configuration", "embedded"],
    deadlineMs: OPEN_DEADLINE_MS,
    run: connect,
  },
  { id: "database-version", title: "version of PostgreSQL", needs: ["database"], run: version },
  { id: "database-safety", title: "commits survive a crash", needs: ["database"], run: safety },
  { id: "database-connections", title: "free connections", needs: ["database"], run: connections },
  {
    id: "database-rights",
    title: "rights of the database user",
    needs: ["database", "database-version", "database-safety"],
    run: rights,
  },
  { id: "migrations", title: "tables", needs: ["database-rights"], run: migrations },
  { id: "timescaledb", title: "TimescaleDB", needs: ["database"], run: timescaledb },
];

async function connect(context: Context): Promise<Verdict> {
  const { config, embedded } = context;
  if (config.databaseUrl === undefined && (embedded?.clusters.length ?? 0) === 0) {
    return {
      status: "skip",
      found: 'there is no database yet; "npx black-trade ingest" makes the embedded one',
    };
  }
  const opened = await openDatabase(config);
  await context.keep(opened);
  context.database = await opened.inspect();
  const { sizeBytes, isEncrypted } = context.database;
  const tls = isEncrypted ? ", encrypted" : "";
  return { status: "ok", found: `${opened.description}${tls}, ${sizeText(sizeBytes)}` };
}

function version({ database }: Context): Verdict {
  if (database.versionNumber >= MIN_VERSION) return { status: "ok", found: database.version };
  throw new BlackTradeError("E_DB_VERSION", `the server is ${database.version}`, {
    remedy: "Upgrade it to PostgreSQL 12 or newer, or leave DATABASE_URL empty.",
  });
}

function safety({ database, opened }: Context): Verdict {
  const { fsync, fullPageWrites, encoding, isReadOnly, synchronousCommit } = database;
  const where = opened?.connectHint ?? "psql";
  if (encoding !== "UTF8") {
    return {
      status: "fail",
      found: `the database's encoding is ${encoding}, not UTF8`,
      remedy:
        'Name a new database in DATABASE_URL and run "npx black-trade db init", which makes it with UTF8.',
      code: "E_DB_UNSAFE",
    };
  }
  const off = [
    ...(fsync === "on" ? [] : ["fsync"]),
    ...(fullPageWrites === "on" ? [] : ["full_page_writes"]),
  ];
  if (off.length > 0) {
    const statements = off.map((name) => `ALTER SYSTEM SET ${name} = on;`).join(" ");
    return {
      status: "fail",
      found: `${off.join(" and ")} off: a crash of the server may lose or spoil what was committed`,
      remedy: `As an administrator (${where}): ${statements} SELECT pg_reload_conf();`,
      code: "E_DB_UNSAFE",
    };
  }
  if (isReadOnly) {
    return {
      status: "fail",
      found: "the database is read-only: a standby, or default_transaction_read_only is on",
      remedy: "Point DATABASE_URL at the primary server, or switch the setting off.",
      code: "E_DB_FAILED",
    };
  }
  const own =
    synchronousCommit === "off"
      ? "; synchronous_commit is off and is set for our own sessions"
      : "";
  return { status: "ok", found: `fsync and full_page_writes on, UTF8${own}` };
}

function connections({ database }: Context): Verdict {
  const { connectionCount, maxConnections, isPooled } = database;
  if (isPooled) return { status: "ok", found: "behind a pooler in transaction mode" };
  const found = `${connectionCount} of ${maxConnections} connections in use`;
  return maxConnections - connectionCount < NEEDED_CONNECTIONS
    ? {
        status: "warn",
        found,
        remedy: "Close connections of other programs, or raise max_connections of the server.",
      }
    : { status: "ok", found };
}

/** The start-up check of the program itself; what it says is dealt out between this check and `migrations`. */
async function rights(context: Context): Promise<Verdict> {
  const { opened, database } = context;
  try {
    context.store = await opened?.openStore("write");
  } catch (error) {
    const verdict = verdictOf(error);
    if (verdict.code === "E_DB_RIGHT") return verdict;
    if (verdict.code === "E_DB_NOT_MIGRATED" && !database.canCreate) {
      const schema = database.schema ?? "public";
      return {
        status: "fail",
        found: `user "${database.user}" may not make tables in schema ${schema}, and they are not there yet`,
        remedy: `As an administrator run: GRANT USAGE, CREATE ON SCHEMA ${schema} TO "${database.user}";`,
        code: "E_DB_RIGHT",
      };
    }
  }
  return { status: "ok", found: `user "${database.user}" has the rights that are needed` };
}

async function migrations(context: Context): Promise<Verdict> {
  const { opened, database } = context;
  if (database.foreignTable !== undefined) throw database.foreignTable;
  context.store ??= await opened?.openStore("write");
  if (context.store === undefined) throw new Error("no database is open");
  context.facts = await context.store.facts();
  const states = (await opened?.migrationStates()) ?? [];
  return { status: "ok", found: `${states.length} migrations, tables as they should be` };
}

function timescaledb({ config, database, opened }: Context): Verdict {
  const { isInstalled, isPreloaded, isAvailable, obstacle } = database.timescale;
  const where = opened?.connectHint ?? "psql";
  if (isInstalled && !isPreloaded) {
    return {
      status: "fail",
      found:
        "the database uses TimescaleDB, which the server does not load: compressed candles would be invisible",
      remedy:
        "Put timescaledb into shared_preload_libraries of postgresql.conf and restart PostgreSQL.",
      code: "E_DB_UNSAFE",
    };
  }
  if (isInstalled) return { status: "ok", found: "in use" };
  const optional = "It is optional: everything works without it.";
  if (config.databaseUrl === undefined) {
    return {
      status: "ok",
      found: "the embedded server does not have it",
      remedy: `${optional} To use it, set DATABASE_URL to a server that has it.`,
    };
  }
  if (obstacle === undefined) {
    return {
      status: "ok",
      found: "the server has it and this database does not use it",
      remedy: `${optional} To use it, as a superuser (${where}): CREATE EXTENSION timescaledb; then "npx black-trade db migrate".`,
    };
  }
  return {
    status: "ok",
    found: obstacle,
    remedy: isAvailable
      ? `${optional} To use it, put timescaledb into shared_preload_libraries of postgresql.conf, restart PostgreSQL, then "npx black-trade db migrate".`
      : `${optional} To use it, install it (docs.timescale.com/self-hosted), restart PostgreSQL, then "npx black-trade db migrate".`,
  };
}
