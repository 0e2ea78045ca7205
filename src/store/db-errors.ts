import pg from "pg";
import { BlackTradeError, type ErrorCode, messageOf } from "../core/errors.ts";
import { type DatabaseTarget, describeTarget, maskPasswords } from "./connection-url.ts";

/** A statement, or the wait for a connection, took longer than its deadline. */
export class DeadlineError extends Error {
  override readonly name = "DeadlineError";
}

interface Diagnosis {
  readonly code: ErrorCode;
  readonly message: string;
  readonly remedy: string;
}

const NETWORK: Readonly<Record<string, string>> = {
  ECONNREFUSED: "connection refused",
  ECONNRESET: "connection reset",
  ENOTFOUND: "host name is unknown",
  EAI_AGAIN: "host name cannot be looked up",
  ETIMEDOUT: "no answer in time",
  EHOSTUNREACH: "host cannot be reached",
  ENETUNREACH: "network cannot be reached",
  EPIPE: "connection lost",
  ENOENT: "its unix socket does not exist",
  EACCES: "its unix socket may not be opened",
};

const TLS =
  /^(?:ERR_TLS_|CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|HOSTNAME_MISMATCH|EPROTO$|ERR_SSL_)/;
const LOST =
  /Connection terminated|connection error and is not queryable|Client was closed|server closed the connection|timeout exceeded when trying to connect/i;

/** The SQLSTATE of an error or of what caused it, or `undefined` when the server did not speak. */
export function sqlStateOf(error: unknown): string | undefined {
  if (error instanceof BlackTradeError) {
    const { sqlState } = error.details;
    return typeof sqlState === "string" ? sqlState : undefined;
  }
  return error instanceof pg.DatabaseError ? error.code : undefined;
}

/** True for what a row's own values cause (classes 22 and 23): repeating cannot help, other rows may be sound. */
export function isDataError(error: unknown): boolean {
  return /^2[23]/.test(sqlStateOf(error) ?? "");
}

/** True for a deadlock, a serialisation failure or a lock that was not to be had: the same work may pass at once. */
export function isContention(error: unknown): boolean {
  return ["40P01", "40001", "55P03"].includes(sqlStateOf(error) ?? "");
}

/** True for a table that is not there: of a chunk of TimescaleDB, that somebody has dropped it. */
export function isGone(error: unknown): boolean {
  return sqlStateOf(error) === "42P01";
}

/**
 * The one place where errors of the driver and the server become errors of the program: one plain line, a remedy,
 * no secret. `details.sqlState` keeps the server's code.
 */
export function toDbError(error: unknown, target: DatabaseTarget): BlackTradeError {
  if (error instanceof BlackTradeError) return error;
  const { code, message, remedy } = diagnose(error, target);
  const sqlState = sqlStateOf(error);
  return new BlackTradeError(code, maskPasswords(message), {
    remedy,
    cause: withoutSecrets(error),
    details: {
      host: target.host,
      port: target.port,
      database: target.database,
      user: target.user,
      ...(sqlState === undefined ? {} : { sqlState }),
    },
  });
}

function diagnose(error: unknown, target: DatabaseTarget): Diagnosis {
  if (error instanceof pg.DatabaseError) return diagnoseSqlState(error, target);
  const where = describeTarget(target);
  if (error instanceof DeadlineError) {
    return {
      code: "E_DB_UNREACHABLE",
      message: `database ${where} is not answering: ${error.message}`,
      remedy:
        "Look at the load and the disk of the database server; the work is tried again by itself.",
    };
  }
  const text = messageOf(error);
  const networkCode = networkCodeOf(error);
  if (networkCode !== undefined && TLS.test(networkCode)) {
    return {
      code: "E_DB_UNREACHABLE",
      message: `database ${where} cannot be trusted: ${text}`,
      remedy:
        "Give the server's certificate authority as ?sslmode=verify-full&sslrootcert=FILE in DATABASE_URL.",
    };
  }
  if (/does not support SSL/i.test(text)) {
    return {
      code: "E_DB_UNREACHABLE",
      message: `database ${where} does not speak TLS`,
      remedy: "Switch TLS on at the server, or leave sslmode out of DATABASE_URL.",
    };
  }
  if (/SASL|client password|SCRAM/i.test(text)) {
    return {
      code: "E_DB_AUTH",
      message: `database ${where} wants a password and DATABASE_URL has none that fits`,
      remedy: "Put user and password into DATABASE_URL.",
    };
  }
  if (networkCode !== undefined || LOST.test(text)) {
    return {
      code: "E_DB_UNREACHABLE",
      message: `database ${where} does not answer: ${NETWORK[networkCode ?? ""] ?? "connection lost"}`,
      remedy: "Start PostgreSQL, or correct host and port in DATABASE_URL.",
    };
  }
  return {
    code: "E_DB_FAILED",
    message: `database ${where} failed: ${text}`,
    remedy: "See the cause in the log.",
  };
}

function diagnoseSqlState(error: pg.DatabaseError, target: DatabaseTarget): Diagnosis {
  const where = describeTarget(target);
  const state = error.code ?? "";
  const said = error.message;
  switch (state) {
    case "28P01":
    case "28000":
      return {
        code: "E_DB_AUTH",
        message: `database ${where} refused the login: ${said}`,
        remedy:
          "Correct user and password in DATABASE_URL; the server's pg_hba.conf must admit them.",
      };
    case "3D000":
      return {
        code: "E_DB_MISSING",
        message: `database "${target.database}" does not exist on ${target.host}:${target.port}`,
        remedy: 'Run "npx black-trade db init": it creates the database and its tables.',
      };
    case "42501":
      return {
        code: "E_DB_RIGHT",
        message: `user "${target.user}" lacks a right: ${said}`,
        remedy: grantFor(said, target),
      };
    case "42P01":
    case "42703":
    case "42883":
      return {
        code: "E_DB_NOT_MIGRATED",
        message: `database ${where} lacks something that this program needs: ${said}`,
        remedy: 'Run "npx black-trade db migrate".',
      };
    case "57P01":
    case "57P02":
    case "57P03":
      return {
        code: "E_DB_UNREACHABLE",
        message: `database ${where} is restarting: ${said}`,
        remedy: "Nothing to do: it is tried again by itself.",
      };
    case "57P05":
    case "25P03":
      return {
        code: "E_DB_UNREACHABLE",
        message: `database ${where} ended an idle connection: ${said}`,
        remedy: "Nothing to do: it is tried again by itself.",
      };
    case "53300":
      return {
        code: "E_DB_UNREACHABLE",
        message: `database ${where} has no free connection: ${said}`,
        remedy: "Close other programs' connections, or raise max_connections at the server.",
      };
    case "53100":
      return {
        code: "E_DB_FAILED",
        message: `the disk of database ${where} is full`,
        remedy: "Make room on the database server; writing goes on by itself.",
      };
    case "25006":
      return {
        code: "E_DB_FAILED",
        message: `database ${where} is read-only`,
        remedy: "Point DATABASE_URL at the primary server; after a failover it is found by itself.",
      };
    case "57014":
      return {
        code: "E_DB_FAILED",
        message: `database ${where} cancelled a statement: ${said}`,
        remedy:
          "Look at the load and at statement_timeout of the server; it is tried again by itself.",
      };
    default:
      return {
        code: "E_DB_FAILED",
        message: `database ${where} refused a statement (${state}): ${said}`,
        remedy: isContention(error)
          ? "Nothing to do: it is tried again by itself."
          : "See the cause in the log.",
      };
  }
}

/** The statement that gives the missing right, as far as the server's message tells which. */
function grantFor(said: string, { user, database }: DatabaseTarget): string {
  const role = pg.escapeIdentifier(user);
  const [, kind = "", name = ""] =
    /permission denied for (schema|table|view|relation|database|function) "?([^"]+)"?/.exec(said) ??
    [];
  switch (kind) {
    case "schema":
      return `As an administrator run: GRANT USAGE, CREATE ON SCHEMA ${pg.escapeIdentifier(name)} TO ${role};`;
    case "table":
    case "view":
    case "relation":
      return `As the owner of the tables run: GRANT SELECT, INSERT, UPDATE ON ${pg.escapeIdentifier(name)} TO ${role};`;
    case "database":
      return `As an administrator run: GRANT CONNECT, CREATE ON DATABASE ${pg.escapeIdentifier(name)} TO ${role};`;
    case "function":
      return `As an administrator run: GRANT EXECUTE ON FUNCTION ${pg.escapeIdentifier(name)} TO ${role};`;
  }
  if (/to create database/.test(said)) {
    return `As an administrator run: CREATE DATABASE ${pg.escapeIdentifier(database)} OWNER ${role} ENCODING 'UTF8' TEMPLATE template0;`;
  }
  if (/must be owner/.test(said)) {
    return 'Run "npx black-trade db migrate" as the user that owns the tables.';
  }
  return `As an administrator give the right to ${role}.`;
}

function networkCodeOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}

/** What goes to the log as the cause: errors of other makers may carry the URL in a property or in their text. */
function withoutSecrets(error: unknown): unknown {
  if (error instanceof pg.DatabaseError || error instanceof DeadlineError) return error;
  const copy = new Error(maskPasswords(messageOf(error)));
  if (error instanceof Error) {
    copy.name = error.name;
    if (error.stack !== undefined) copy.stack = maskPasswords(error.stack);
  }
  const code = networkCodeOf(error);
  return code === undefined ? copy : Object.assign(copy, { code });
}
