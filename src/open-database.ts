import type { Config } from "./config.ts";
import {
  Compression,
  createDatabase,
  Database,
  type DatabaseFacts,
  describeTarget,
  EMBEDDED_DATABASE,
  type Embedded,
  inspectDatabase,
  migrate,
  migrateDown,
  migrationStates,
  openStore,
  parseDatabaseUrl,
  Retention,
  Rollups,
  type Store,
  type StoreOptions,
  startEmbedded,
} from "./store/index.ts";

/** A database that is reached, embedded or not. */
export interface OpenedDatabase {
  /** `user@host:port/database`; never a password. */
  readonly description: string;
  /** What to type for a look at it with psql. */
  readonly connectHint: string;
  /** True when it was created just now. */
  readonly isCreated: boolean;
  readonly migrate: () => ReturnType<typeof migrate>;
  readonly migrateDown: (count: number) => ReturnType<typeof migrateDown>;
  readonly migrationStates: () => ReturnType<typeof migrationStates>;
  readonly server: () => Promise<{ version: string; timescale: string | undefined; size: string }>;
  /** What server and database say of themselves, whatever state the tables are in. */
  readonly inspect: () => Promise<DatabaseFacts>;
  /** What may be done with candles that are stored; each asks for tables that are migrated. */
  readonly compression: Compression;
  readonly retention: Retention;
  readonly rollups: Rollups;
  /** @throws {BlackTradeError} E_DB_NOT_MIGRATED and the other refusals of the start-up check */
  readonly openStore: (
    access: "read" | "write",
    more?: Pick<StoreOptions, "isReadOnly" | "deadlineMs" | "poolSize">,
  ) => Promise<Store>;
  readonly close: () => Promise<void>;
}

/** How a database is reached. */
export interface OpenOptions {
  /** Create the database when it is missing; the embedded one is always created. */
  readonly isCreating?: boolean;
  /** Told of every SQL statement, in one line. */
  readonly onStatement?: (line: string) => void;
  /** Told when the embedded server ended and runs again. */
  readonly onNote?: (note: string) => void;
}

/**
 * Reaches the database of a configuration, starting the embedded server when no URL is given.
 * @throws {BlackTradeError} E_DB_*, E_EMBEDDED_*
 */
export async function openDatabase(
  config: Config,
  options: OpenOptions = {},
): Promise<OpenedDatabase> {
  const embedded =
    config.databaseUrl === undefined
      ? await startEmbedded({
          dataDir: config.dataDir,
          ...(options.onNote === undefined ? {} : { onNote: options.onNote }),
        })
      : undefined;
  try {
    return await reach(config, embedded, options);
  } catch (error) {
    await embedded?.release();
    throw error;
  }
}

async function reach(
  config: Config,
  embedded: Embedded | undefined,
  options: OpenOptions,
): Promise<OpenedDatabase> {
  const url = embedded?.urlOf(EMBEDDED_DATABASE) ?? config.databaseUrl ?? "";
  const { onStatement } = options;
  const connection = {
    url,
    ...(onStatement === undefined
      ? {}
      : {
          onStatement: ({
            text,
            tookMs,
            rowCount,
          }: {
            text: string;
            tookMs: number;
            rowCount: number;
          }) =>
            onStatement(
              `${text.replace(/\s+/g, " ").trim()} (${rowCount} rows, ${tookMs.toFixed(1)} ms)`,
            ),
        }),
  };
  const isCreated =
    embedded !== undefined || options.isCreating === true
      ? await createDatabase(connection)
      : false;
  const database = new Database(connection);
  const stores: Store[] = [];
  const target = describeTarget(parseDatabaseUrl(url));
  return {
    description:
      embedded === undefined ? target : `embedded PostgreSQL in ${config.dataDir}, ${target}`,
    connectHint:
      embedded === undefined ? `psql "$DATABASE_URL"` : embedded.psqlHint(EMBEDDED_DATABASE),
    isCreated,
    migrate: () => migrate(database),
    migrateDown: (count) => migrateDown(database, count),
    migrationStates: () => migrationStates(database),
    server: async () => {
      const [row] = await database.run<{ version: string; timescale: string | null; size: string }>(
        {
          text: `
          select current_setting('server_version') as version,
            (select extversion from pg_extension where extname = 'timescaledb') as timescale,
            pg_size_pretty(pg_database_size(current_database())) as size`,
        },
      );
      return {
        version: `PostgreSQL ${row?.version}`,
        timescale: row?.timescale ?? undefined,
        size: row?.size ?? "",
      };
    },
    inspect: () => inspectDatabase(database),
    compression: new Compression(database),
    retention: new Retention(database),
    rollups: new Rollups(database),
    openStore: async (access, more = {}) => {
      const store = await openStore({ ...connection, ...more, access });
      stores.push(store);
      return store;
    },
    close: async () => {
      await Promise.allSettled(stores.map((store) => store.close()));
      await database.close();
      await embedded?.release();
    },
  };
}
