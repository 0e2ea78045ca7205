/**
 * Every error that reaches a user: its exit status and whether trying again can help.
 * `docs/reference/errors.md` lists the same codes; a test compares the two.
 */
export const ERRORS = {
  E_CONFIG: { exit: 2, retryable: false, title: "wrong configuration" },
  E_USAGE: { exit: 2, retryable: false, title: "wrong use of a command" },
  E_NODE_VERSION: { exit: 2, retryable: false, title: "Node.js is too old" },
  E_PORT_IN_USE: { exit: 2, retryable: false, title: "HTTP port in use" },
  E_HTTP_BIND: { exit: 2, retryable: false, title: "HTTP address cannot be used" },
  E_HTTP_REQUEST: { exit: 2, retryable: false, title: "wrong HTTP request" },
  E_HTTP_NOT_FOUND: { exit: 2, retryable: false, title: "nothing under this address" },
  E_HTTP_TOKEN: { exit: 2, retryable: false, title: "API token is missing or wrong" },
  E_HTTP_ORIGIN: { exit: 2, retryable: false, title: "request of another site" },
  E_HTTP_HOST: { exit: 2, retryable: false, title: "host name is not served" },
  E_HTTP_BUSY: { exit: 4, retryable: true, title: "too much is asked at once" },
  E_HTTP_NOT_READY: { exit: 4, retryable: true, title: "database is not open yet" },
  E_DB_UNREACHABLE: { exit: 4, retryable: true, title: "database does not answer" },
  E_DB_AUTH: { exit: 4, retryable: false, title: "database refused the password" },
  E_DB_MISSING: { exit: 4, retryable: false, title: "database does not exist" },
  E_DB_RIGHT: { exit: 4, retryable: false, title: "database right is missing" },
  E_DB_VERSION: { exit: 4, retryable: false, title: "PostgreSQL is too old" },
  E_DB_NOT_MIGRATED: { exit: 4, retryable: false, title: "database is not migrated" },
  E_DB_NEWER: { exit: 4, retryable: false, title: "database is newer than this program" },
  E_DB_DRIFT: { exit: 4, retryable: false, title: "database differs from its migrations" },
  E_DB_FOREIGN_TABLE: {
    exit: 4,
    retryable: false,
    title: "tables of another program are in the way",
  },
  E_DB_BUSY: { exit: 4, retryable: false, title: "another ingester is active" },
  E_DB_UNSAFE: { exit: 4, retryable: false, title: "database may lose commits" },
  E_DB_CHANGES_GONE: { exit: 4, retryable: false, title: "changes are no longer kept" },
  E_DB_FEATURE: { exit: 1, retryable: false, title: "server cannot do this" },
  E_DB_FAILED: { exit: 4, retryable: true, title: "database refused a statement" },
  E_EMBEDDED_START: { exit: 4, retryable: false, title: "embedded PostgreSQL did not start" },
  E_EMBEDDED_MISSING: {
    exit: 4,
    retryable: false,
    title: "no embedded PostgreSQL for this platform",
  },
  E_SOURCE_UNREACHABLE: { exit: 4, retryable: true, title: "exchange cannot be reached" },
  E_SOURCE_TIMEOUT: { exit: 4, retryable: true, title: "exchange did not answer in time" },
  E_SOURCE_RATE_LIMIT: { exit: 4, retryable: true, title: "exchange asks to wait (429)" },
  E_SOURCE_BANNED: { exit: 4, retryable: true, title: "exchange has banned this address (418)" },
  E_SOURCE_BLOCKED: { exit: 4, retryable: true, title: "blocked by the exchange's firewall (403)" },
  E_SOURCE_REGION: { exit: 4, retryable: true, title: "exchange is closed to this region (451)" },
  E_SOURCE_BAD_ANSWER: { exit: 4, retryable: true, title: "exchange gave a bad answer" },
  E_SOURCE_REFUSED: { exit: 4, retryable: false, title: "exchange refused the request" },
  E_SOURCE_SERVER: { exit: 4, retryable: true, title: "exchange has an internal error" },
  E_SOURCE_SYMBOL: { exit: 2, retryable: false, title: "exchange has no such symbol" },
  E_FILE: { exit: 1, retryable: false, title: "file cannot be used" },
  E_CSV_MIRROR: { exit: 1, retryable: false, title: "CSV mirror cannot be kept" },
} as const satisfies Readonly<Record<string, { exit: number; retryable: boolean; title: string }>>;

/** One of the codes of {@link ERRORS}. */
export type ErrorCode = keyof typeof ERRORS;

/** What goes with an error besides its message. */
export interface ErrorOptions {
  /** What the user can do about it, one sentence. */
  readonly remedy: string;
  readonly cause?: unknown;
  /** Facts for the log; never a secret. */
  readonly details?: Readonly<Record<string, unknown>>;
}

/** The only error class that is thrown on purpose. `message` is one plain line; the cause goes to the log. */
export class BlackTradeError extends Error {
  override readonly name: string = "BlackTradeError";
  readonly code: ErrorCode;
  readonly remedy: string;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, options: ErrorOptions) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.remedy = options.remedy;
    this.details = options.details ?? {};
  }

  /** Exit status of a command that ends with this error. */
  get exit(): number {
    return ERRORS[this.code].exit;
  }

  /** True when the same thing may work later without anybody doing anything. */
  get retryable(): boolean {
    return ERRORS[this.code].retryable;
  }
}

/** The exchange forbids requests until a known instant (429, 418, 403). */
export class SourceHoldError extends BlackTradeError {
  override readonly name = "SourceHoldError";
  /** Exchange time, epoch ms, from which on requests are allowed again. */
  readonly untilTime: number;

  constructor(code: ErrorCode, message: string, untilTime: number, options: ErrorOptions) {
    super(code, message, options);
    this.untilTime = untilTime;
  }
}

/** The message of anything that was thrown; never empty for an error. */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) {
    try {
      return String(error);
    } catch {
      return "something without a text was thrown";
    }
  }
  if (error.message !== "") return error.message;
  // Node reports a host whose every address refused by an AggregateError without a message.
  const parts = error instanceof AggregateError ? error.errors.map(messageOf) : [];
  return parts.length === 0 ? error.name : parts.join("; ");
}
