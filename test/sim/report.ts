import { ALL_KINDS } from "./faults.ts";
import type { Violation } from "./journal.ts";
import { MARKS } from "./marks.ts";
import type { Done } from "./worker.ts";

/** A run that broke a promise. */
export interface Failure {
  readonly done: Done;
  readonly violation: Violation;
}

/** Which figure a broken promise belongs to. */
const FIGURES = {
  lost: ["R1 lost", "R1 late", "R1 dropped", "O5 not durable", "O8 watermark", "R7 not retried"],
  wrong: ["R2 altered", "R3 early kept", "R3 not confirmed", "R3 unconfirmed", "R3 unproven"],
  regressed: ["R3 regressed", "R3 newer lost"],
  unclosed: ["R3 unclosed"],
  "false-active": ["R4 false active", "R4 dead active", "O4 stuck"],
  ledger: [
    "R6 forgotten",
    "R6 uncounted",
    "R6 unlisted",
    "R6 not covered",
    "R7 never asked",
    "R7 believed",
    "R7 before listing",
  ],
  "in-hold": ["R9 request in hold"],
  limits: ["R8 queue", "R8 bound", "R9 weight", "R9 pace", "R9 no pong", "R9 dials"],
  "dead-links": ["O6 dead link", "O6 silent stream"],
  crashes: ["P2 stop", "P8 crash", "O11 real time"],
} as const;

/** Adds up what runs have shown. */
export class Tally {
  readonly failures: Failure[] = [];
  readonly #counts = new Map<string, number>();
  readonly #kinds = new Map<string, number>();
  #seeds = 0;
  #spanMs = 0;
  #candles = 0;
  #healMaxMs = 0;
  #falselyActiveMaxMs = 0;

  add(done: Done): void {
    const { outcome, setting } = done;
    this.#seeds += 1;
    this.#spanMs += outcome.spanMs;
    this.#candles += outcome.candleCount;
    this.#healMaxMs = Math.max(this.#healMaxMs, outcome.healMs ?? 0);
    this.#falselyActiveMaxMs = Math.max(this.#falselyActiveMaxMs, outcome.falselyActiveMaxMs);
    for (const [what, count] of Object.entries(outcome.counts)) {
      this.#counts.set(what, (this.#counts.get(what) ?? 0) + count);
    }
    for (const { kind } of setting.faults) this.#kinds.set(kind, (this.#kinds.get(kind) ?? 0) + 1);
    if (outcome.violation !== undefined) this.failures.push({ done, violation: outcome.violation });
  }

  get seedCount(): number {
    return this.#seeds;
  }

  /** Mechanisms that were not seen to act. */
  missingMarks(): string[] {
    return MARKS.filter((mark) => !this.#counts.has(mark));
  }

  /** Kinds of faults that did not occur. */
  missingKinds(): string[] {
    return ALL_KINDS.filter((kind) => !this.#kinds.has(kind));
  }

  count(what: string): number {
    return this.#counts.get(what) ?? 0;
  }

  /** The lines of figures. */
  lines(baseSeed: number): string[] {
    const kinds = [...this.#kinds.values()];
    const faultCount = kinds.reduce((sum, count) => sum + count, 0);
    const least = kinds.length < ALL_KINDS.length ? 0 : Math.min(...kinds);
    const markCount = MARKS.length - this.missingMarks().length;
    const leastMark = Math.min(...MARKS.map((mark) => this.count(mark)));
    const hours = Math.round(this.#spanMs / 3_600_000);
    const broken = Object.entries(FIGURES).map(([name, oracles]) => {
      const count = this.failures.filter(({ violation }) =>
        (oracles as readonly string[]).includes(violation.oracle),
      ).length;
      return `${name} ${count}`;
    });
    return [
      `sim      seeds ${this.#seeds}  sim-hours ${hours}  faults ${faultCount} (${kinds.length}/${ALL_KINDS.length} kinds, min ${least})  marks ${markCount}/${MARKS.length} (min ${leastMark})  candles ${this.#candles}  commits ${this.count("db write")}  requests ${this.count("requests")}  kills ${this.count("kills")}`,
      `sim      ${broken.join("  ")}  base-seed ${baseSeed}`,
      `sim      pages certified ${this.count("pages checked")}  poison frames ${this.count("poison frames")} rows ${this.count("poison rows")}  alien frames ${this.count("alien frames")}  archive files ${this.count("archive files")}`,
      `sim      heal max ${Math.round(this.#healMaxMs / 1_000)} s after the last fault  falsely active max ${(this.#falselyActiveMaxMs / 1_000).toFixed(1)} s of 90 s`,
    ];
  }
}
