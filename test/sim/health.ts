import type { FaultKind, FaultPlan } from "./faults.ts";
import type { Journal } from "./journal.ts";

/** Faults that excuse a part of the world from doing its share. */
const EXCUSES = {
  rest: [
    ...(["rest-5xx", "rest-html", "rest-cut", "rest-shape", "rest-hang", "rest-slow"] as const),
    ...(["rest-refused", "rest-429", "rest-418", "rest-403", "rest-stale", "rest-stuck"] as const),
    ...(["rest-short", "rest-empty", "late"] as const),
  ],
  stream: ["ws-refuse", "ws-hang", "ws-delay"],
  database: [
    "db-down",
    "db-frozen",
    "db-slow",
    "db-readonly",
    "db-lost-answer",
    "db-conflict",
    "db-start",
  ],
  machine: ["kill", "stop", "pause", "suspend", "db-start"],
} as const satisfies Readonly<Record<string, readonly FaultKind[]>>;

export type Part = keyof typeof EXCUSES;

/** Since when parts of the world have been sound: a promise about promptness counts from there on. */
export class Health {
  readonly #plan: FaultPlan;
  readonly #journal: Journal;
  /** When the process that runs now began. */
  processSince: number;
  /** Last instant at which the process stood still or there was none. */
  haltedAt = 0;

  constructor(plan: FaultPlan, journal: Journal, startTime: number) {
    this.#plan = plan;
    this.#journal = journal;
    this.processSince = startTime;
  }

  /** The last instant up to `now` at which one of the parts was not sound. */
  lastBad(now: number, parts: readonly Part[]): number {
    const held = parts.includes("rest") ? Math.min(now, this.#heldUntil()) : 0;
    return Math.max(this.processSince, this.haltedAt, held, this.lastFault(now, parts));
  }

  /** A machine that slept in a hold obeys it for longer: the exchange must not be asked for the time. */
  #heldUntil(): number {
    const { toldAt, toldUntil } = this.#journal;
    let sleptMs = 0;
    for (const fault of this.#plan.of("suspend")) {
      const from = Math.max(this.#plan.fromOf(fault), toldAt);
      const to = Math.min(this.#plan.toOf(fault), toldUntil);
      sleptMs += Math.max(0, to - from);
    }
    return toldUntil + sleptMs;
  }

  /** The last instant up to `now` at which a fault of one of the parts was on. */
  lastFault(now: number, parts: readonly Part[]): number {
    let last = 0;
    for (const part of parts) {
      for (const kind of EXCUSES[part]) {
        for (const fault of this.#plan.of(kind)) {
          if (this.#plan.fromOf(fault) <= now)
            last = Math.max(last, Math.min(now, this.#plan.toOf(fault)));
        }
      }
    }
    return last;
  }
}
