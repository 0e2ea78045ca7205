import { BlackTradeError, type ErrorCode } from "../../src/core/errors.ts";
import type { Clock } from "../../src/core/ports.ts";
import {
  createMemoryStore,
  type MemoryOperation,
  type MemoryStore,
} from "../support/memory-store.ts";
import type { FaultPlan } from "./faults.ts";
import type { Process } from "./machine.ts";
import type { Random } from "./random.ts";
import type { Timeline } from "./timeline.ts";

/** Methods of the store's ports. */
export type Operation = MemoryOperation;

const READS: readonly string[] = [
  "due",
  "load",
  "facts",
  "gaps",
  "holes",
  "unconfirmed",
  "firstStored",
];
/** What a database may still carry out for a process that died meanwhile. */
const OUTLIVES: readonly string[] = [
  "write",
  "quarantine",
  "open",
  "replace",
  "save",
  "saveConfirmed",
];
/** What a process that has begun its run asks for next, before it can ingest. */
const NEEDED_AT_START: readonly string[] = ["saveMarkets", "want"];
/** The program gives a statement up after so long. */
const CLIENT_TIMEOUT_MS = 15_000;

/**
 * Looks at every operation as the database carries it out: called just before; what it returns is called just after, with
 * the result.
 */
export type CommitWatch = (
  operation: Operation,
  args: readonly unknown[],
) => ((result: unknown) => void) | undefined;

/** What the database is like in one run. */
export interface DatabaseOptions {
  readonly timeline: Timeline;
  readonly plan: FaultPlan;
  readonly random: Random;
  readonly skewMs: number;
  /** Operations that never work in this run: a safety net that is taken away. */
  readonly broken: readonly Operation[];
}

/**
 * The store in memory (the one that passes the same conformance suite as PostgreSQL) behind a connection that takes time
 * and breaks: refused, slow, frozen, read-only, in conflict, or carried out and the answer lost.
 */
export class SimDatabase {
  readonly #options: DatabaseOptions;
  readonly #tables: MemoryStore;
  #inFlight = 0;
  watch: CommitWatch = () => undefined;

  constructor(options: DatabaseOptions) {
    this.#options = options;
    const clock: Pick<Clock, "now"> = { now: () => options.timeline.now + options.skewMs };
    this.#tables = createMemoryStore({ clock });
  }

  /** The tables, for whoever looks at them from outside. */
  get tables(): MemoryStore {
    return this.#tables;
  }

  /** Operations under way. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** A connection of a process. */
  connect(process: Process): MemoryStore {
    const store = this.#tables.peer();
    process.whenDead(() => {
      store.crash();
      this.#inFlight = 0;
    });
    return new Proxy(store, {
      get: (target, name) => {
        const method: unknown = Reflect.get(target, name, target);
        if (typeof method !== "function") return method;
        return (...args: unknown[]) =>
          this.#call(process, target, name as Operation, args, method as Method);
      },
    });
  }

  #call(
    process: Process,
    store: MemoryStore,
    operation: Operation,
    args: readonly unknown[],
    method: Method,
  ): Promise<unknown> {
    const { timeline } = this.#options;
    this.#inFlight += 1;
    return new Promise((resolve, reject) => {
      let isAnswered = false;
      const answer = (act: () => void): void => {
        process.deliver(timeline.now + 1, `db ${operation}`, () => {
          if (isAnswered) return;
          isAnswered = true;
          this.#inFlight -= 1;
          act();
        });
      };
      const fail = (code: ErrorCode, what: string): void =>
        answer(() => reject(new BlackTradeError(code, what, { remedy: "Wait." })));
      const execute = (isAnswerLost: boolean): void => {
        if (process.isDead && !OUTLIVES.includes(operation)) return;
        const after = this.watch(operation, args);
        method.apply(store, args as unknown[]).then(
          (result) => {
            after?.(result);
            if (isAnswerLost) fail("E_DB_UNREACHABLE", "the connection broke in COMMIT");
            else answer(() => resolve(result));
          },
          (error: unknown) => answer(() => reject(error)),
        );
      };
      timeline.in(1, `db ${operation}`, () => this.#arrive(operation, execute, fail));
    });
  }

  /** Decides what becomes of a statement that has arrived. */
  #arrive(
    operation: Operation,
    execute: (isAnswerLost: boolean) => void,
    fail: (code: ErrorCode, what: string) => void,
  ): void {
    const { timeline, plan, random } = this.#options;
    const now = timeline.now;
    const refused = this.#refusal(operation, now);
    if (refused !== undefined) {
      fail(...refused);
      return;
    }
    const frozen = plan.on("db-frozen", now);
    if (frozen !== undefined) {
      const thawTime = plan.toOf(frozen);
      const giveUpTime = now + CLIENT_TIMEOUT_MS;
      timeline.at(giveUpTime, "db timeout", () => fail("E_DB_UNREACHABLE", "no answer for 15 s"));
      // What the client has given up may be carried out all the same.
      if (thawTime < giveUpTime || random() < 0.5)
        timeline.at(thawTime, "db thaw", () => execute(false));
      return;
    }
    const isAnswerLost = plan.on("db-lost-answer", now) !== undefined && random() < 0.5;
    const slow = plan.on("db-slow", now);
    if (slow === undefined) execute(isAnswerLost);
    else timeline.in(200 + random() * slow.arg * 6_000, "db slow", () => execute(isAnswerLost));
  }

  /** Why a statement is refused before anything is done. */
  #refusal(operation: Operation, now: number): [ErrorCode, string] | undefined {
    const { plan, random, broken } = this.#options;
    if (broken.includes(operation)) return ["E_DB_FAILED", `${operation} does not work here`];
    if (plan.on("db-down", now) !== undefined) return ["E_DB_UNREACHABLE", "connection refused"];
    if (NEEDED_AT_START.includes(operation) && plan.on("db-start", now) !== undefined) {
      return ["E_DB_UNREACHABLE", "connection refused"];
    }
    if (!READS.includes(operation) && plan.on("db-readonly", now) !== undefined) {
      return ["E_DB_FAILED", "the database is read-only"];
    }
    if (plan.on("db-conflict", now) !== undefined && random() < 0.3) {
      return ["E_DB_FAILED", "deadlock detected"];
    }
    return undefined;
  }
}

type Method = (...args: readonly unknown[]) => Promise<unknown>;
