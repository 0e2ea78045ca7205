import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import pg from "pg";
import { from as copyFrom } from "pg-copy-streams";
import { BlackTradeError, messageOf } from "../core/errors.ts";
import { type DatabaseTarget, parseDatabaseUrl } from "./connection-url.ts";
import { CopyOut, type TakeRow } from "./copy-out.ts";
import { DeadlineError, sqlStateOf, toDbError } from "./db-errors.ts";

/** A statement that was run, for an echo of all SQL. */
export interface StatementEcho {
  readonly text: string;
  readonly tookMs: number;
  readonly rowCount: number;
  /** One line, when it failed. */
  readonly error?: string;
}

/** How to reach a database. */
export interface DatabaseOptions {
  /** `postgresql://…`, TLS as in the URL. */
  readonly url: string;
  /** Shown in `pg_stat_activity`. */
  readonly applicationName?: string;
  /** Most connections at a time, 6 when not given. */
  readonly poolSize?: number;
  /**
   * How long a statement may take, ms; 15 s when not given. Kept by this side, as a frozen server cannot keep it;
   * the connection is destroyed then. The server is told to give up a little earlier by itself.
   */
  readonly deadlineMs?: number;
  /** How long to wait for a connection, ms; 10 s when not given. */
  readonly connectDeadlineMs?: number;
  /**
   * The server refuses every statement that would write, and ends each one a little before `deadlineMs` by itself; takes
   * effect when {@link Database.refuseWrites} is called.
   */
  readonly isReadOnly?: boolean;
  /** Called after every statement; parameters are not shown. */
  readonly onStatement?: (echo: StatementEcho) => void;
}

/** One SQL statement. Values go as parameters, never into the text. */
export interface Statement {
  readonly text: string;
  readonly values?: readonly unknown[];
  /** A name makes it a prepared statement. One name, one text. */
  readonly name?: string;
  /** Instead of the database's own deadline, ms. */
  readonly deadlineMs?: number;
}

/** Something that runs statements one after the other. */
export interface Executor {
  /**
   * Rows of one statement. `bigint` comes as a number, `numeric` as its exact text.
   * @throws {BlackTradeError} E_DB_*
   */
  run<Row extends object>(statement: Statement): Promise<readonly Row[]>;
}

/** Something that also gives rows in bulk. */
export interface BulkExecutor extends Executor {
  /**
   * Reads a `COPY … TO STDOUT`. The deadline counts between two chunks.
   * @param take is given the bytes of each row; before the first one stands the head of the binary format, its end is a row, too
   * @throws {BlackTradeError} E_DB_*, and what `take` throws
   */
  copyOut(text: string, take: TakeRow): Promise<void>;
}

/** A transaction, which can also take rows in bulk. */
export interface Transaction extends BulkExecutor {
  /**
   * Feeds a `COPY … FROM STDIN`.
   * @param data rows in the format of the statement, cut anywhere
   * @throws {BlackTradeError} E_DB_*; the transaction is then over
   */
  copyIn(text: string, data: readonly Buffer[]): Promise<void>;
}

/** A connection of its own, outside the pool, for what lives as long as a connection: locks. */
export interface Session extends Executor {
  /** Process of the server that serves it, and when it began: together they name it for ever. */
  readonly backend: { readonly pid: number; readonly start: string };
  /** False once the connection is gone. */
  readonly isAlive: boolean;
  /** Calls back once when the connection is lost; not when it is closed by this side. */
  onEnd(listener: () => void): void;
  /** Calls back for each notification of a channel that the session listens to. */
  onNotification(listener: () => void): void;
  /** From now on it does not keep the process running. */
  unref(): void;
  close(): Promise<void>;
}

/** A frozen server does not close a connection, either. */
const CLOSE_DEADLINE_MS = 2_000;
const INT8 = 20;
const types: pg.CustomTypesConfig = {
  // All our bigints are below 2^53 (versions: authority · 2^44).
  getTypeParser: ((oid: number, format?: "text" | "binary") =>
    oid === INT8
      ? Number
      : pg.types.getTypeParser(oid, format ?? "text")) as typeof pg.types.getTypeParser,
};

/**
 * A pool of connections to one PostgreSQL database. Every statement has a deadline, every transaction says all its
 * settings itself, so that it behaves the same behind a pooler in transaction mode.
 */
export class Database {
  readonly target: DatabaseTarget;
  readonly #options: DatabaseOptions;
  readonly #pool: pg.Pool;
  readonly #deadlineMs: number;
  #settings: readonly string[] = [];
  #mayPrepare = true;
  readonly #connected = new Set<pg.PoolClient>();
  /** How writes are refused: by settings of each connection, or, behind a pooler, of each transaction. */
  #refusal: "none" | "connection" | "transaction" = "none";
  readonly #refusing = new WeakSet<pg.PoolClient>();
  /** Connections whose state is not known: no answer came, or the server said goodbye. */
  readonly #broken = new WeakSet<pg.Client>();

  /** @throws {BlackTradeError} E_CONFIG for a URL that cannot be used; nothing is connected yet */
  constructor(options: DatabaseOptions) {
    this.target = parseDatabaseUrl(options.url);
    this.#options = options;
    this.#deadlineMs = options.deadlineMs ?? 15_000;
    this.#pool = new pg.Pool({
      ...this.#clientConfig(),
      max: options.poolSize ?? 6,
      idleTimeoutMillis: 60_000,
      allowExitOnIdle: true,
    });
    // A connection that dies while idle, or between two statements of a transaction, is told by an event;
    // unheard it would end the process.
    this.#pool.on("error", ignore);
    this.#pool.on("connect", (client) => {
      client.on("error", ignore);
      this.#connected.add(client);
    });
    this.#pool.on("remove", (client) => this.#connected.delete(client));
  }

  /** Adds settings to every transaction: `name = value` of constants, never of input. */
  addTransactionSettings(settings: readonly string[]): void {
    this.#settings = [...this.#settings, ...settings];
  }

  /** Stops the use of prepared statements: a pooler in transaction mode may not know them. */
  stopPreparing(): void {
    this.#mayPrepare = false;
  }

  /** From now on statements that would write are refused, when the database was opened so. */
  refuseWrites(isPooled: boolean): void {
    if (this.#options.isReadOnly === true) this.#refusal = isPooled ? "transaction" : "connection";
  }

  /** Runs one statement by itself. @throws {BlackTradeError} E_DB_* */
  async run<Row extends object>(statement: Statement): Promise<readonly Row[]> {
    if (this.#refusal === "transaction") {
      return this.transaction((tx) => tx.run<Row>(statement), statement.deadlineMs);
    }
    return this.#withClient((client) => this.#runOn<Row>(client, statement));
  }

  /** See {@link BulkExecutor.copyOut}. */
  async copyOut(text: string, take: TakeRow): Promise<void> {
    if (this.#refusal === "transaction") {
      return this.transaction((tx) => tx.copyOut(text, take));
    }
    return this.#withClient((client) => this.#copyFrom(client, text, take, this.#deadlineMs));
  }

  /**
   * Runs `work` in one transaction, committed durably when it returns and rolled back when it throws.
   * @param deadlineMs of each statement, instead of the database's own
   * @throws {BlackTradeError} E_DB_*; with `details.isCommitUnknown` when the connection broke during COMMIT
   */
  async transaction<T>(
    work: (tx: Transaction) => Promise<T>,
    deadlineMs: number = this.#deadlineMs,
  ): Promise<T> {
    const client = await this.#checkOut();
    const tx: Transaction = {
      run: (statement) => this.#runOn(client, { deadlineMs, ...statement }),
      copyIn: (text, data) => this.#copyInto(client, text, data, deadlineMs),
      copyOut: (text, take) => this.#copyFrom(client, text, take, deadlineMs),
    };
    try {
      const settings = this.#refusal === "none" ? [] : ["transaction_read_only = on"];
      await tx.run({ text: beginText(deadlineMs, [...this.#settings, ...settings]) });
      const result = await work(tx);
      await this.#commit(client, deadlineMs);
      return result;
    } catch (error) {
      if (!this.#broken.has(client)) await tx.run({ text: "rollback" }).catch(ignore);
      throw error;
    } finally {
      client.release(this.#broken.has(client));
    }
  }

  /** Opens a connection of its own. @throws {BlackTradeError} E_DB_* */
  async openSession(applicationName?: string): Promise<Session> {
    const client = new pg.Client({
      ...this.#clientConfig(),
      ...(applicationName === undefined ? {} : { application_name: applicationName }),
    });
    let isAlive = true;
    let listener: () => void = ignore;
    client.on("error", ignore);
    client.on("end", () => {
      if (!isAlive) return;
      isAlive = false;
      listener();
    });
    try {
      await client.connect();
    } catch (error) {
      throw toDbError(error, this.target);
    }
    const run = <Row extends object>(statement: Statement): Promise<readonly Row[]> =>
      this.#runOn<Row>(client, statement);
    const close = async (): Promise<void> => {
      isAlive = false;
      await within(CLOSE_DEADLINE_MS, client.end().catch(ignore));
      client.connection.stream.destroy();
    };
    const [backend = { pid: 0, start: "" }] = await run<{ pid: number; start: string }>({
      text: "select pid, backend_start::text as start from pg_stat_activity where pid = pg_backend_pid()",
    }).catch(async (error: unknown) => {
      await close();
      throw error;
    });
    return {
      run,
      backend,
      get isAlive() {
        return isAlive;
      },
      onEnd: (callback) => {
        listener = callback;
      },
      onNotification: (callback) => {
        client.on("notification", () => callback());
      },
      unref: () => {
        if ("unref" in client && typeof client.unref === "function") client.unref();
      },
      close,
    };
  }

  /** True when a pooler stands between: it invents the process number that it tells its clients. */
  async isPooled(): Promise<boolean> {
    const client = await this.#checkOut();
    try {
      const [row] = await this.#runOn<{ pid: number }>(client, {
        text: "select pg_backend_pid() as pid",
      });
      return "processID" in client && client.processID !== row?.pid;
    } finally {
      client.release(this.#broken.has(client));
    }
  }

  /** Waits for running statements, at most their deadline, and closes all connections. */
  async close(): Promise<void> {
    if (this.#pool.ending) return;
    await within(this.#deadlineMs + CLOSE_DEADLINE_MS, this.#pool.end());
    for (const client of this.#connected) client.connection.stream.destroy();
  }

  #clientConfig(): pg.ClientConfig {
    return {
      connectionString: this.#options.url,
      application_name: this.#options.applicationName ?? "black-trade",
      connectionTimeoutMillis: this.#options.connectDeadlineMs ?? 10_000,
      keepAlive: true,
      keepAliveInitialDelayMillis: 10_000,
      types,
    };
  }

  async #withClient<T>(act: (client: pg.PoolClient) => Promise<T>): Promise<T> {
    const client = await this.#checkOut();
    try {
      if (this.#refusal === "connection" && !this.#refusing.has(client)) {
        await this.#runOn(client, { text: readOnlyText(this.#deadlineMs) });
        this.#refusing.add(client);
      }
      return await act(client);
    } finally {
      client.release(this.#broken.has(client));
    }
  }

  async #checkOut(): Promise<pg.PoolClient> {
    if (this.#pool.ending) {
      throw new BlackTradeError("E_DB_FAILED", "the store is closed", {
        remedy: "Open it again before using it.",
      });
    }
    try {
      return await this.#pool.connect();
    } catch (error) {
      throw toDbError(isConnectTimeout(error) ? this.#connectDeadline() : error, this.target);
    }
  }

  #connectDeadline(): DeadlineError {
    const ms = this.#options.connectDeadlineMs ?? 10_000;
    return new DeadlineError(
      this.#pool.totalCount >= this.#pool.options.max
        ? `no connection of the pool was free within ${ms / 1_000} s`
        : `no connection within ${ms / 1_000} s`,
    );
  }

  async #commit(client: pg.PoolClient, deadlineMs: number): Promise<void> {
    try {
      const { command } = await this.#query(client, { text: "commit", deadlineMs });
      if (command === "COMMIT") return;
    } catch (error) {
      if (sqlStateOf(error) !== undefined) throw error;
      const known = toDbError(error, this.target);
      throw new BlackTradeError(
        known.code,
        `${known.message}; whether the last commit stands is not known`,
        {
          remedy: "Nothing to do: the work is repeated, which changes nothing that was committed.",
          cause: known.cause,
          details: { ...known.details, isCommitUnknown: true },
        },
      );
    }
    throw new BlackTradeError(
      "E_DB_FAILED",
      "the database rolled a transaction back at its commit",
      {
        remedy: "Nothing to do: the work is tried again by itself.",
      },
    );
  }

  #copyInto(
    client: pg.Client,
    text: string,
    data: readonly Buffer[],
    deadlineMs: number,
  ): Promise<void> {
    return this.#copying(client, text, deadlineMs, async () => {
      const stream = client.query(copyFrom(text));
      await pipeline(Readable.from(data), stream);
      return stream.rowCount;
    });
  }

  async #copyFrom(
    client: pg.Client,
    text: string,
    take: TakeRow,
    deadlineMs: number,
  ): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const rows = new CopyOut(text, take, () => timer?.refresh());
    await this.#copying(client, text, deadlineMs, async (deadline) => {
      timer = deadline;
      client.query(rows);
      await rows.done;
      return rows.rowCount;
    }).catch((error: unknown) => {
      throw rows.fault === undefined ? error : rows.fault.error;
    });
  }

  /** A COPY within its deadline, which what it does may put off. @param copy returns the number of rows */
  async #copying(
    client: pg.Client,
    text: string,
    deadlineMs: number,
    copy: (timer: NodeJS.Timeout) => Promise<number>,
  ): Promise<void> {
    const startedMs = performance.now();
    let isOverdue = false;
    const timer = setTimeout(() => {
      isOverdue = true;
      client.connection.stream.destroy();
    }, deadlineMs);
    try {
      const rowCount = await copy(timer);
      this.#options.onStatement?.({ text, tookMs: performance.now() - startedMs, rowCount });
    } catch (error) {
      // What was not read to its end stands before the next answer.
      if (!isAnswer(error)) this.#broken.add(client);
      const overdue = new DeadlineError(`no answer within ${deadlineMs / 1_000} s`);
      throw toDbError(isOverdue ? overdue : error, this.target);
    } finally {
      clearTimeout(timer);
    }
  }

  async #runOn<Row extends object>(
    client: pg.Client,
    statement: Statement,
  ): Promise<readonly Row[]> {
    const { rows } = await this.#query<Row>(client, statement);
    return rows;
  }

  async #query<Row extends object>(
    client: pg.Client,
    statement: Statement,
  ): Promise<pg.QueryResult<Row>> {
    const startedMs = performance.now();
    const { text, values, name } = statement;
    const deadlineMs = statement.deadlineMs ?? this.#deadlineMs;
    let timer: NodeJS.Timeout | undefined;
    const deadline = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => {
        reject(new DeadlineError(`no answer within ${deadlineMs / 1_000} s`));
        // A connection whose answer is overdue is useless for ever: the answer may still come, to another question.
        client.connection.stream.destroy();
      }, deadlineMs);
    });
    const echo = (rowCount: number, error?: unknown): void => {
      this.#options.onStatement?.({
        text,
        tookMs: performance.now() - startedMs,
        rowCount,
        ...(error === undefined ? {} : { error: messageOf(error) }),
      });
    };
    try {
      const config: pg.QueryConfig<unknown[]> = {
        text,
        ...(values === undefined ? {} : { values: [...values] }),
        ...(name !== undefined && this.#mayPrepare ? { name } : {}),
      };
      const result = await Promise.race([client.query<Row, unknown[]>(config), deadline]);
      echo(result.rowCount ?? 0);
      return result;
    } catch (error) {
      if (!isAnswer(error)) this.#broken.add(client);
      const known = toDbError(error, this.target);
      echo(0, known);
      throw known;
    } finally {
      clearTimeout(timer);
    }
  }
}

/**
 * The server gives up a little before this side does, so that a slow statement ends cleanly and only a frozen server
 * costs the connection. A process that was stopped in a transaction does not hold its locks for ever.
 */
function beginText(deadlineMs: number, settings: readonly string[]): string {
  return [
    "begin isolation level read committed",
    `set local lock_timeout = ${Math.ceil(deadlineMs / 3)}`,
    `set local statement_timeout = ${Math.ceil(deadlineMs * 0.9)}`,
    "set local idle_in_transaction_session_timeout = 60000",
    ...settings.map((setting) => `set local ${setting}`),
  ].join("; ");
}

/** Settings of a connection that is never shared with others. */
function readOnlyText(deadlineMs: number): string {
  return [
    "set default_transaction_read_only = on",
    `set statement_timeout = ${Math.ceil(deadlineMs * 0.9)}`,
    `set lock_timeout = ${Math.ceil(deadlineMs / 3)}`,
  ].join("; ");
}

/** True when the server refused a statement and goes on serving the connection. */
function isAnswer(error: unknown): boolean {
  const state = sqlStateOf(error);
  return state !== undefined && !/^(?:57P|08|25P03)/.test(state);
}

/** Waits for `work`, but no longer than `ms`. */
async function within(ms: number, work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  await Promise.race([work, limit]);
  clearTimeout(timer);
}

function isConnectTimeout(error: unknown): boolean {
  return /timeout exceeded when trying to connect|due to connection timeout/.test(messageOf(error));
}

function ignore(): void {}
