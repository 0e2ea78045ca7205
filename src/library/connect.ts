import { readdirSync } from "node:fs";
import { loadConfig } from "../config.ts";
import { BlackTradeError } from "../core/errors.ts";
import {
  createDatabase,
  Database,
  EMBEDDED_DATABASE,
  migrate,
  openStore,
  type Store,
  startEmbedded,
} from "../store/index.ts";
import { CandleRepository } from "./candle-repository.ts";
import { IngestionRepository } from "./ingestion-repository.ts";

/** Which database, and what for. What is not given comes from the environment and `.env`, as for the commands. */
export interface ConnectOptions {
  /** `postgresql://user:password@host:5432/database`; default: `DATABASE_URL`, else the embedded database. */
  readonly url?: string;
  /** Folder of the embedded database; default: `DATA_DIR`. Means nothing beside a URL. */
  readonly dataDir?: string;
  /**
   * `read` (the default) needs only the right to read. `write` is needed to save candles; it makes the embedded database
   * when there is none, and applies pending migrations.
   */
  readonly access?: "read" | "write";
  /** Most connections at a time, 6 when not given; one more while somebody follows changes. */
  readonly poolSize?: number;
}

/** A connection to the database: a pool, which reconnects by itself. Close it, or declare it with `await using`. */
export interface Connection extends AsyncDisposable {
  /** Candles: read, save, follow. */
  readonly candles: CandleRepository;
  /** States of the ingestion. */
  readonly ingestion: IngestionRepository;
  /** Everything that is stored, at a lower level. */
  readonly store: Store;
  /** Ends streams, waits for what is running, and closes all connections. May be called twice. */
  close(): Promise<void>;
}

/**
 * Connects to the database.
 * @throws {BlackTradeError} E_CONFIG, E_DB_* (unreachable, wrong password, missing, not migrated, …), E_EMBEDDED_*; each
 * with its `code` and a `remedy` in plain words
 */
export async function connect(options: ConnectOptions = {}): Promise<Connection> {
  const config = loadConfig({
    ...(options.url === undefined ? {} : { DATABASE_URL: options.url }),
    ...(options.dataDir === undefined ? {} : { DATA_DIR: options.dataDir }),
  });
  const access = options.access ?? "read";
  const isEmbedded =
    config.databaseUrl === undefined ||
    (options.url === undefined && options.dataDir !== undefined);
  if (isEmbedded && access === "read") refuseMissing(config.dataDir);
  const embedded = isEmbedded ? await startEmbedded({ dataDir: config.dataDir }) : undefined;
  try {
    const url = embedded?.urlOf(EMBEDDED_DATABASE) ?? config.databaseUrl ?? "";
    if (access === "write") await prepare(url, isEmbedded);
    const { poolSize } = options;
    const store = await openStore({ url, access, ...(poolSize === undefined ? {} : { poolSize }) });
    return connectionOf(store, access, async () => embedded?.release());
  } catch (error) {
    await embedded?.release();
    throw error;
  }
}

function connectionOf(
  store: Store,
  access: "read" | "write",
  release: () => Promise<void>,
): Connection {
  let closing: Promise<void> | undefined;
  const close = (): Promise<void> => {
    closing ??= store.close().finally(release);
    return closing;
  };
  return {
    candles: new CandleRepository({ store, access }),
    ingestion: new IngestionRepository({ store }),
    store,
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** @throws {BlackTradeError} E_DB_MISSING: who only reads does not make a database */
function refuseMissing(dataDir: string): void {
  let names: string[] = [];
  try {
    names = readdirSync(dataDir);
  } catch {
    // No folder, no database.
  }
  if (names.some((name) => /^pg\d+$/.test(name))) return;
  throw new BlackTradeError("E_DB_MISSING", `there is no database in ${dataDir} yet`, {
    remedy:
      'Start with "npx black-trade ingest", or say where it is: connect({ url }) or DATABASE_URL, connect({ dataDir }) or DATA_DIR.',
  });
}

async function prepare(url: string, isEmbedded: boolean): Promise<void> {
  if (isEmbedded) await createDatabase({ url });
  const database = new Database({ url });
  try {
    await migrate(database);
  } finally {
    await database.close();
  }
}
