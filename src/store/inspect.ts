import { BlackTradeError } from "../core/errors.ts";
import type { Database } from "./database.ts";
import { INGEST_LOCK } from "./locks.ts";
import { checkForeignTables } from "./migrate.ts";
import { inspectTimescale, type TimescaleFacts, timescaleObstacle } from "./timescale.ts";

/** What a database says about itself, without a judgement. */
export interface DatabaseFacts {
  /** `PostgreSQL 18.4`. */
  readonly version: string;
  /** As `server_version_num`: 120000 and above is what is needed. */
  readonly versionNumber: number;
  readonly encoding: string;
  readonly fsync: string;
  readonly fullPageWrites: string;
  readonly synchronousCommit: string;
  /** True for a standby, or when transactions are read-only by default. */
  readonly isReadOnly: boolean;
  readonly user: string;
  readonly schema: string | undefined;
  /** May the user make tables here? Needed for migrations only. */
  readonly canCreate: boolean;
  readonly sizeBytes: number;
  readonly isEncrypted: boolean;
  readonly isPooled: boolean;
  readonly maxConnections: number;
  /** Of all users, as far as this one may see them. */
  readonly connectionCount: number;
  /** The connection that an ingester holds, if one does. */
  readonly holder: { readonly pid: number; readonly client: string } | undefined;
  readonly timescale: TimescaleFacts & { readonly obstacle: string | undefined };
  /** Tables of another program are in the way of migrations. */
  readonly foreignTable: BlackTradeError | undefined;
}

type Row = Omit<DatabaseFacts, "isPooled" | "holder" | "timescale" | "schema" | "foreignTable"> & {
  readonly schema: string | null;
  readonly holderPid: number | null;
  readonly holderClient: string | null;
};

/**
 * Reads catalogs and settings only; needs no table of ours.
 * @throws {BlackTradeError} E_DB_*: unreachable, wrong password, missing
 */
export async function inspectDatabase(database: Database): Promise<DatabaseFacts> {
  const isPooled = await database.isPooled();
  const [row] = await database.run<Row>({
    text: `
      select
        'PostgreSQL ' || split_part(current_setting('server_version'), ' ', 1) as version,
        current_setting('server_version_num')::int as "versionNumber",
        current_setting('server_encoding') as encoding,
        current_setting('fsync') as fsync,
        current_setting('full_page_writes') as "fullPageWrites",
        current_setting('synchronous_commit') as "synchronousCommit",
        pg_is_in_recovery() or current_setting('default_transaction_read_only') = 'on' as "isReadOnly",
        current_user::text as "user",
        current_schema()::text as schema,
        coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) as "canCreate",
        pg_database_size(current_database()) as "sizeBytes",
        coalesce((select ssl from pg_stat_ssl where pid = pg_backend_pid()), false) as "isEncrypted",
        current_setting('max_connections')::int as "maxConnections",
        (select count(*) from pg_stat_activity where backend_type = 'client backend') as "connectionCount",
        holder.pid as "holderPid",
        coalesce(host(activity.client_addr), 'this machine') as "holderClient"
      from (select 1) as one
      left join pg_locks holder on holder.locktype = 'advisory' and holder.granted and holder.objsubid = 1
        and (holder.classid::bigint << 32) + holder.objid::bigint = $1
        and holder.database = (select oid from pg_database where datname = current_database())
      left join pg_stat_activity activity on activity.pid = holder.pid
      limit 1`,
    values: [INGEST_LOCK],
  });
  if (row === undefined) throw new Error("the server has no settings");
  const timescale = await inspectTimescale(database);
  const { holderPid, holderClient, schema, ...facts } = row;
  return {
    ...facts,
    schema: schema ?? undefined,
    isPooled,
    holder: holderPid === null ? undefined : { pid: holderPid, client: holderClient ?? "" },
    timescale: { ...timescale, obstacle: timescaleObstacle(timescale) },
    foreignTable: await foreignTable(database),
  };
}

async function foreignTable(database: Database): Promise<BlackTradeError | undefined> {
  try {
    await checkForeignTables(database);
    return undefined;
  } catch (error) {
    // Any other fault is found by whoever opens the store.
    const isForeign = error instanceof BlackTradeError && error.code === "E_DB_FOREIGN_TABLE";
    return isForeign ? error : undefined;
  }
}
