import { setTimeout as sleepFor } from "node:timers/promises";
import { backoffDelay } from "../core/backoff.ts";
import { isContention } from "./db-errors.ts";

/** Waiting and chance, so that tests need neither. */
export interface Pacing {
  readonly sleep: (ms: number) => Promise<void>;
  /** Value in `[0, 1)`. */
  readonly random: () => number;
}

/** The machine's own. */
export const REAL_PACING: Pacing = {
  sleep: async (ms) => {
    await sleepFor(ms);
  },
  random: Math.random,
};

/** How often work is tried again after a deadlock, a serialisation failure or a lock that was not to be had. */
const MAX_CONTENTION_RETRIES = 5;
const RETRY = { baseMs: 100, capMs: 1_000 };

/**
 * Runs a transaction anew while it loses against another one.
 * @throws what the last try threw; anything but contention at once
 */
export async function retryContention<T>(pacing: Pacing, work: () => Promise<T>): Promise<T> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await work();
    } catch (error) {
      if (!isContention(error) || attempt === MAX_CONTENTION_RETRIES) throw error;
      await pacing.sleep(backoffDelay(RETRY, attempt, pacing.random()));
    }
  }
}
