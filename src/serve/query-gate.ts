import type { CandleQueries } from "../core/ports.ts";
import { HttpProblem } from "./problem.ts";
import { sharedAnswer } from "./shared-answer.ts";

/** Queries at a time, and how many may wait; as many connections are theirs. */
export const QUERY_CONCURRENCY = 6;
const MAX_WAITING = 60;

/** Lets a few queries run at a time, and some wait; the others are told to come back. */
export class QueryGate {
  #running = 0;
  readonly #waiting: (() => void)[] = [];

  /** Runs `query` when its turn comes. @throws {HttpProblem} E_HTTP_BUSY when too many wait */
  async run<T>(query: () => Promise<T>): Promise<T> {
    if (this.#running >= QUERY_CONCURRENCY) await this.#turn();
    else this.#running += 1;
    try {
      return await query();
    } finally {
      const next = this.#waiting.shift();
      // The place is handed on, so that nobody slips in between.
      if (next === undefined) this.#running -= 1;
      else next();
    }
  }

  #turn(): Promise<void> {
    if (this.#waiting.length >= MAX_WAITING) {
      throw new HttpProblem("E_HTTP_BUSY", "too many queries wait for the database", {
        headers: { "retry-after": "2" },
        remedy: "Ask again in a few seconds, with fewer requests at once.",
      });
    }
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
    });
  }
}

/** The same queries, a few at a time. */
export function gated(
  queries: CandleQueries,
  gate: QueryGate,
  monotonicMs: () => number,
): CandleQueries {
  return {
    // Nearly every request looks up its series.
    series: sharedAnswer(() => gate.run(() => queries.series()), monotonicMs),
    range: (series, range, limit) => gate.run(() => queries.range(series, range, limit)),
    latest: (series, count, before) => gate.run(() => queries.latest(series, count, before)),
    revisions: (series, range, limit) => gate.run(() => queries.revisions(series, range, limit)),
    gaps: (series) => gate.run(() => queries.gaps(series)),
    overview: sharedAnswer(() => gate.run(() => queries.overview()), monotonicMs),
    coverageDays: (series, range) => gate.run(() => queries.coverageDays(series, range)),
    markets: () => gate.run(() => queries.markets()),
  };
}
