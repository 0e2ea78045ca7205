import pg from "pg";
import { BlackTradeError } from "../core/errors.ts";
import { parseDatabaseUrl, withDatabase } from "./connection-url.ts";
import { Database, type DatabaseOptions } from "./database.ts";
import { sqlStateOf } from "./db-errors.ts";

/**
 * Creates the database that the URL names, in UTF-8, when the server does not have it.
 * @returns true when it was created by this call
 * @throws {BlackTradeError} E_DB_RIGHT with the statement for an administrator; E_DB_UNREACHABLE, E_DB_AUTH
 */
export async function createDatabase(options: DatabaseOptions): Promise<boolean> {
  const { database } = parseDatabaseUrl(options.url);
  if (await exists(options)) return false;
  const maintenance = new Database({ ...options, url: withDatabase(options.url, "postgres") });
  try {
    // The locale C goes with UTF-8 on every server; template0 has no encoding of its own to clash with.
    await maintenance.run({
      text: `create database ${pg.escapeIdentifier(database)} encoding 'UTF8' lc_collate 'C' lc_ctype 'C' template template0`,
      deadlineMs: 60_000,
    });
    return true;
  } catch (error) {
    // 42P04, 23505: another process has just created it.
    if (["42P04", "23505"].includes(sqlStateOf(error) ?? "")) return false;
    if (sqlStateOf(error) === "42501" && error instanceof BlackTradeError) {
      throw new BlackTradeError("E_DB_RIGHT", error.message, {
        remedy: remedyFor(database, maintenance.target.user),
        cause: error.cause,
        details: { ...error.details, database },
      });
    }
    throw error;
  } finally {
    await maintenance.close();
  }
}

async function exists(options: DatabaseOptions): Promise<boolean> {
  const database = new Database(options);
  try {
    await database.run({ text: "select 1" });
    return true;
  } catch (error) {
    if (sqlStateOf(error) === "3D000") return false;
    throw error;
  } finally {
    await database.close();
  }
}

function remedyFor(database: string, user: string): string {
  return `As an administrator run: CREATE DATABASE ${pg.escapeIdentifier(database)} OWNER ${pg.escapeIdentifier(user)} ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;`;
}
