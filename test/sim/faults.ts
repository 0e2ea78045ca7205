import { between, pick, type Random, randomFor } from "./random.ts";

/** All that can go wrong in the simulated world, with how long it lasts (ms, least and most) and how it is drawn. */
export const FAULT_KINDS = {
  // The stream.
  "ws-drop": { ms: [0, 0], at: "network" },
  "ws-close": { ms: [0, 0], at: "network" },
  "ws-halfopen": { ms: [0, 0], at: "network" },
  "ws-refuse": { ms: [30_000, 400_000], at: "network" },
  "ws-hang": { ms: [30_000, 300_000], at: "network" },
  "ws-idle": { ms: [60_000, 900_000], at: "network" },
  "ws-mute": { ms: [0, 0], at: "exchange" },
  "ws-ack-silent": { ms: [60_000, 900_000], at: "exchange" },
  "ws-no-close": { ms: [60_000, 900_000], at: "exchange" },
  "ws-late-close": { ms: [120_000, 900_000], at: "exchange" },
  "ws-delay": { ms: [20_000, 300_000], at: "network" },
  "ws-reorder": { ms: [60_000, 600_000], at: "network" },
  "ws-duplicate": { ms: [60_000, 600_000], at: "network" },
  "ws-cut": { ms: [30_000, 400_000], at: "network" },
  "ws-burst": { ms: [60_000, 600_000], at: "network" },
  "ws-shutdown": { ms: [0, 0], at: "exchange" },
  "ws-false-stamp": { ms: [0, 0], at: "exchange" },
  "ws-differs": { ms: [60_000, 900_000], at: "exchange" },
  "ws-alien": { ms: [60_000, 900_000], at: "exchange" },
  // REST.
  "rest-5xx": { ms: [20_000, 600_000], at: "exchange" },
  "rest-html": { ms: [20_000, 600_000], at: "exchange" },
  "rest-cut": { ms: [20_000, 600_000], at: "exchange" },
  "rest-shape": { ms: [20_000, 600_000], at: "exchange" },
  "rest-hang": { ms: [20_000, 400_000], at: "network" },
  "rest-slow": { ms: [60_000, 600_000], at: "network" },
  "rest-refused": { ms: [20_000, 900_000], at: "network" },
  "rest-429": { ms: [5_000, 200_000], at: "exchange" },
  "rest-418": { ms: [120_000, 2_400_000], at: "exchange" },
  "rest-403": { ms: [5_000, 60_000], at: "exchange" },
  "rest-stale": { ms: [60_000, 1_200_000], at: "exchange" },
  "rest-stuck": { ms: [5_000, 25_000], at: "exchange" },
  "rest-short": { ms: [60_000, 3_600_000], at: "exchange" },
  "rest-unsorted": { ms: [60_000, 3_600_000], at: "exchange" },
  "rest-empty": { ms: [20_000, 1_200_000], at: "exchange" },
  // The market.
  outage: { ms: [60_000, 1_500_000], at: "market" },
  halt: { ms: [120_000, 1_500_000], at: "market" },
  late: { ms: [60_000, 600_000], at: "market" },
  correction: { ms: [300_000, 3_600_000], at: "market" },
  garbage: { ms: [60_000, 300_000], at: "market" },
  delisting: { ms: [0, 0], at: "market" },
  listing: { ms: [0, 0], at: "market" },
  // The machine.
  kill: { ms: [500, 300_000], at: "machine" },
  stop: { ms: [500, 60_000], at: "machine" },
  pause: { ms: [2_000, 240_000], at: "machine" },
  suspend: { ms: [2_000, 1_200_000], at: "machine" },
  "clock-jump": { ms: [0, 0], at: "machine" },
  // The database.
  "db-down": { ms: [5_000, 600_000], at: "database" },
  "db-frozen": { ms: [5_000, 120_000], at: "database" },
  "db-slow": { ms: [30_000, 600_000], at: "database" },
  "db-readonly": { ms: [5_000, 200_000], at: "database" },
  "db-lost-answer": { ms: [10_000, 300_000], at: "database" },
  "db-conflict": { ms: [10_000, 300_000], at: "database" },
  "db-deleted-row": { ms: [0, 0], at: "database" },
  "db-start": { ms: [5_000, 60_000], at: "database" },
  // The archive, in worlds that have one.
  "archive-down": { ms: [10_000, 900_000], at: "archive" },
  "archive-missing": { ms: [60_000, 3_600_000], at: "archive" },
  "archive-unproven": { ms: [60_000, 3_600_000], at: "archive" },
  "archive-broken": { ms: [60_000, 3_600_000], at: "archive" },
  "archive-holes": { ms: [60_000, 3_600_000], at: "archive" },
  "archive-odd": { ms: [60_000, 3_600_000], at: "archive" },
  "archive-poison": { ms: [60_000, 3_600_000], at: "archive" },
} as const satisfies Readonly<
  Record<
    string,
    {
      readonly ms: readonly [number, number];
      readonly at: "network" | "exchange" | "market" | "machine" | "database" | "archive";
    }
  >
>;

/** One of {@link FAULT_KINDS}. */
export type FaultKind = keyof typeof FAULT_KINDS;

/** One fault of a run. */
export interface Fault {
  readonly kind: FaultKind;
  /** Ms after the start of the run. */
  readonly atMs: number;
  readonly forMs: number;
  /** What else there is to decide about it: which series, how much; in `[0, 1)`. */
  readonly arg: number;
}

/** Each kind is switched off for a whole run with this probability, so that rare ones are not always masked by others. */
const OFF = 0.62;
/** Faults of a run, least and most. */
const COUNT = [6, 18] as const;
/** These change the market for good or for everyone: at most one a run. */
const ONCE: readonly FaultKind[] = ["listing", "delisting"];

/** The names of all kinds. */
export const ALL_KINDS = Object.keys(FAULT_KINDS) as FaultKind[];
/** Those that befall files; each is drawn only where files are read. */
const ARCHIVE_KINDS = ALL_KINDS.filter((kind) => FAULT_KINDS[kind].at === "archive");
const LIVE_KINDS = ALL_KINDS.filter((kind) => FAULT_KINDS[kind].at !== "archive");
/** Files are read in the first minutes of a run: that is when faults of them, and kills, have to strike. */
const FILES_READ_MS = 60_000;

/**
 * Draws the faults of a run: some kinds, at random instants.
 * @param spanMs the part of the run in which faults begin and end
 * @param wanted kinds of which every second fault is to be
 * @returns ascending by instant
 */
export function drawFaults(
  seed: number,
  spanMs: number,
  wanted: readonly FaultKind[] = [],
): Fault[] {
  const random = randomFor(seed, "faults");
  const kinds = LIVE_KINDS.filter(() => random() > OFF);
  const faults: Fault[] = [];
  const count = kinds.length === 0 ? 0 : between(random, ...COUNT);
  for (let index = 0; index < count; index += 1) {
    const kind = pick(random, wanted.length > 0 && index % 2 === 0 ? wanted : kinds);
    const fault = drawFault(kind, random, spanMs);
    if (ONCE.includes(kind) && faults.some((other) => other.kind === kind)) continue;
    faults.push(fault);
  }
  return faults.sort((a, b) => a.atMs - b.atMs);
}

/**
 * Draws what befalls the archive and its reader: most of it is there from the beginning.
 * @param wanted kinds that are to be among them
 */
export function drawArchiveFaults(
  seed: number,
  spanMs: number,
  wanted: readonly FaultKind[] = [],
): Fault[] {
  const random = randomFor(seed, "archive faults");
  const kinds = ARCHIVE_KINDS.filter((kind) => wanted.includes(kind) || random() > OFF);
  const faults = kinds.map((kind) => {
    const fault = drawFault(kind, random, spanMs);
    return random() < 0.7 ? { ...fault, atMs: 0 } : { ...fault, atMs: fault.atMs % FILES_READ_MS };
  });
  if (random() < 0.5) {
    const kill = drawFault("kill", random, spanMs);
    faults.push({ ...kill, atMs: kill.atMs % FILES_READ_MS });
  }
  return faults;
}

function drawFault(kind: FaultKind, random: Random, spanMs: number): Fault {
  const [least, most] = FAULT_KINDS[kind].ms;
  // Short ones are more likely than long ones, as in life.
  const forMs = Math.min(Math.round(least + (most - least) * random() ** 2), spanMs);
  const atMs = Math.round(random() * (spanMs - forMs));
  return { kind, atMs, forMs, arg: Math.round(random() * 1e6) / 1e6 };
}

/** A schedule that can be asked what is the matter. */
export class FaultPlan {
  readonly faults: readonly Fault[];
  readonly startTime: number;
  readonly #byKind = new Map<FaultKind, Fault[]>();

  /** @param startTime exchange time at which the run begins, epoch ms */
  constructor(faults: readonly Fault[], startTime: number) {
    this.faults = faults;
    this.startTime = startTime;
    for (const fault of faults) {
      const list = this.#byKind.get(fault.kind) ?? [];
      list.push(fault);
      this.#byKind.set(fault.kind, list);
    }
  }

  /** Faults of a kind. */
  of(kind: FaultKind): readonly Fault[] {
    return this.#byKind.get(kind) ?? [];
  }

  /** The fault of a kind that is on at an instant, if there is one. */
  on(
    kind: FaultKind,
    time: number,
    accept: (fault: Fault) => boolean = () => true,
  ): Fault | undefined {
    const list = this.#byKind.get(kind);
    return list?.find(
      (fault) => time >= this.fromOf(fault) && time < this.toOf(fault) && accept(fault),
    );
  }

  fromOf({ atMs }: Fault): number {
    return this.startTime + atMs;
  }

  toOf({ atMs, forMs }: Fault): number {
    return this.startTime + atMs + forMs;
  }
}
