import type { Health } from "./health.ts";
import type { Journal } from "./journal.ts";
import type { Timeline } from "./timeline.ts";

/** What the estimate of the exchange's time may be off by. */
const CLOCK_TOLERANCE_MS = 1_500;
const MAX_FRAMES_PER_SECOND = 4;
const MAX_DIALS = 300;
const DIAL_SPAN_MS = 300_000;
const MAX_SHARE = 0.9;
const WEIGHT: Readonly<Record<string, number>> = {
  "/api/v3/time": 1,
  "/api/v3/exchangeInfo": 20,
  "/api/v3/klines": 2,
};

/** R8 and R9, at every request, dial and frame that the program sends. */
export class CitizenChecks {
  readonly #timeline: Timeline;
  readonly #journal: Journal;
  readonly #health: Health;
  readonly #limit: number;
  readonly #frames = new Map<number, number[]>();
  readonly #dials: number[] = [];
  #minute = -1;
  #weight = 0;
  /** Hold that the process which runs now cannot know: the one before died before it could keep it. */
  unknownHold = 0;
  unknownArchiveHold = 0;
  requestsInHold = 0;
  weightMax = 0;
  framesMax = 0;

  constructor(timeline: Timeline, journal: Journal, health: Health, limit: number) {
    this.#timeline = timeline;
    this.#journal = journal;
    this.#health = health;
    this.#limit = limit;
  }

  request(path: string): void {
    const now = this.#timeline.now;
    const { toldUntil } = this.#journal;
    if (now < toldUntil - CLOCK_TOLERANCE_MS && toldUntil > this.unknownHold) {
      this.requestsInHold += 1;
      const leftS = Math.round((toldUntil - now) / 1_000);
      this.#fail("R9 request in hold", `${path} was asked ${leftS} s before the end of a hold`);
    }
    // Near the edge of a minute it is not known which one the exchange counts it in.
    const intoMs = now % 60_000;
    if (intoMs < 1_500 || intoMs > 58_500) return;
    const minute = Math.floor(now / 60_000);
    if (minute !== this.#minute) {
      this.#minute = minute;
      this.#weight = 0;
    }
    this.#weight += WEIGHT[path] ?? 1;
    this.weightMax = Math.max(this.weightMax, this.#weight / this.#limit);
    // Before the first list of symbols the limit is not known, nor what an earlier process has used of this minute.
    const { processSince } = this.#health;
    const isKnown = now - processSince > 5_000 && processSince < minute * 60_000;
    if (isKnown && this.#weight > this.#limit * MAX_SHARE) {
      this.#fail("R9 weight", `${this.#weight} of ${this.#limit} in one minute`);
    }
  }

  /** The archive's host has holds of its own, and no weight. */
  archiveRequest(path: string): void {
    const now = this.#timeline.now;
    const { archiveToldUntil } = this.#journal;
    if (now >= archiveToldUntil - CLOCK_TOLERANCE_MS) return;
    if (archiveToldUntil <= this.unknownArchiveHold) return;
    this.requestsInHold += 1;
    const leftS = Math.round((archiveToldUntil - now) / 1_000);
    this.#fail("R9 request in hold", `${path} was asked ${leftS} s before the end of a hold`);
  }

  dial(): void {
    const now = this.#timeline.now;
    this.#dials.push(now);
    while ((this.#dials[0] ?? 0) <= now - DIAL_SPAN_MS) this.#dials.shift();
    if (this.#dials.length > MAX_DIALS)
      this.#fail("R9 dials", `${this.#dials.length} in 5 minutes`);
  }

  /** @param isOnTime false for what a late ping made it send: the delay is the network's */
  frame(connection: number, isOnTime: boolean): void {
    if (!isOnTime) return;
    const now = this.#timeline.now;
    const times = this.#frames.get(connection) ?? [];
    this.#frames.set(connection, times);
    times.push(now);
    while ((times[0] ?? 0) <= now - 1_000) times.shift();
    this.framesMax = Math.max(this.framesMax, times.length);
    if (times.length > MAX_FRAMES_PER_SECOND) {
      this.#fail("R9 pace", `${times.length} frames in a second on connection ${connection}`);
    }
  }

  #fail(oracle: string, detail: string): void {
    this.#journal.fail(oracle, this.#timeline.now, detail);
  }
}
