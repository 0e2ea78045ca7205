import pg from "pg";
import { BlackTradeError } from "../core/errors.ts";

/** Where a database is, without its password. */
export interface DatabaseTarget {
  /** Host name, or the folder of a unix socket. */
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly user: string;
}

const SCHEME = /^postgres(?:ql)?:\/\//i;
const MAX_LENGTH = 4_096;
const USER = /:\/\/[^/:@]*:/;
const PARAMETER_PASSWORD = /([?&\s](?:ssl)?password=)[^&\s]*/gi;

/**
 * Reads a connection URL as the driver does: percent-coding, `?host=` for a unix socket, `PG*` variables as defaults.
 * @throws {BlackTradeError} E_CONFIG, without any part of the URL that could be a password
 */
export function parseDatabaseUrl(url: string): DatabaseTarget {
  if (!SCHEME.test(url)) {
    throw configError("it does not begin with postgresql://");
  }
  if (url.length > MAX_LENGTH) throw configError(`it is longer than ${MAX_LENGTH} characters`);
  let client: pg.Client;
  try {
    client = new pg.Client({ connectionString: url });
  } catch (error) {
    throw configError(reasonOf(error));
  }
  const { host, port, database, user } = client;
  if (!Number.isInteger(port) || port < 1 || port > 65_535)
    throw configError("its port is no port");
  return { host, port, database: database ?? user ?? "", user: user ?? "" };
}

/** The same URL with another database. */
export function withDatabase(url: string, database: string): string {
  return url.replace(
    /^([^:]+:\/\/[^/?#]*)(\/[^?#]*)?/,
    (_match, authority: string) => `${authority}/${encodeURIComponent(database)}`,
  );
}

/** A text in which the passwords of connection URLs, in user information and as a parameter, are masked. */
export function maskPasswords(text: string): string {
  return text.replace(/\S+/g, maskUrlPassword).replace(PARAMETER_PASSWORD, "$1***");
}

/** Up to the last @ of the word: a password may hold what should have been percent-coded. Linear, whatever the word. */
function maskUrlPassword(word: string): string {
  const end = word.lastIndexOf("@");
  const user = USER.exec(word.slice(0, Math.max(0, end)));
  return user === null
    ? word
    : `${word.slice(0, user.index + user[0].length)}***${word.slice(end)}`;
}

/** Where a database is, in one word for messages: `trader@db.example:5432/black_trade`. */
export function describeTarget({ host, port, database, user }: DatabaseTarget): string {
  return `${user}@${host}:${port}/${database}`;
}

function configError(reason: string): BlackTradeError {
  return new BlackTradeError("E_CONFIG", `DATABASE_URL cannot be used: ${reason}`, {
    remedy:
      "Write it as postgresql://user:password@host:5432/database, with special characters of the password percent-coded (@ is %40, # is %23, / is %2F).",
  });
}

/** Only reasons that are known to hold no part of the URL are passed on. */
function reasonOf(error: unknown): string {
  if (error instanceof Error && "path" in error && "code" in error) {
    return `file ${String(error.path)} cannot be read (${String(error.code)})`;
  }
  return "it is not a valid URL";
}
