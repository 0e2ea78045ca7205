import { BlackTradeError } from "../core/errors.ts";
import type { Executor } from "./database.ts";

/** What a database has of TimescaleDB. */
export interface TimescaleFacts {
  /** The extension exists in this database. */
  readonly isInstalled: boolean;
  /** The server could create it. */
  readonly isAvailable: boolean;
  /** Its library is loaded at the server's start. Without that, rows in compressed chunks are invisible. */
  readonly isPreloaded: boolean;
}

/**
 * Looks at catalogs and settings only: creating the extension where it is not preloaded would cost the connection.
 * `shared_preload_libraries` itself is for administrators only; a setting that the preloaded library defines is not.
 */
export async function inspectTimescale(executor: Executor): Promise<TimescaleFacts> {
  const [row] = await executor.run<TimescaleFacts>({
    text: `
      select
        exists (select from pg_extension where extname = 'timescaledb') as "isInstalled",
        exists (select from pg_available_extensions where name = 'timescaledb') as "isAvailable",
        current_setting('timescaledb.disable_load', true) is not null as "isPreloaded"`,
  });
  return row ?? { isInstalled: false, isAvailable: false, isPreloaded: false };
}

/** Why the extension cannot be used, or `undefined` when it can (it may have to be created first). */
export function timescaleObstacle(facts: TimescaleFacts): string | undefined {
  if (!facts.isAvailable && !facts.isInstalled) return "the server does not have TimescaleDB";
  if (!facts.isPreloaded) return "TimescaleDB is not in the server's shared_preload_libraries";
  return undefined;
}

/** @throws {BlackTradeError} E_DB_UNSAFE when the database has the extension and the server does not load it */
export function refuseInvisibleRows(facts: TimescaleFacts): void {
  if (!facts.isInstalled || facts.isPreloaded) return;
  throw new BlackTradeError(
    "E_DB_UNSAFE",
    "the database uses TimescaleDB, which the server does not load: candles in compressed chunks would be invisible",
    { remedy: "Put timescaledb into shared_preload_libraries of the server and restart it." },
  );
}

/** Correcting many candles of compressed chunks in one transaction must not hit the extension's limit. */
export const TIMESCALE_SETTING = "timescaledb.max_tuples_decompressed_per_dml_transaction = 0";
