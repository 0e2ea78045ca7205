import type { Clock } from "../../src/core/ports.ts";
import type { Timeline } from "./timeline.ts";

/** What the machine does to the process besides letting it run. */
interface Pause {
  /** Exchange time at which it goes on. */
  readonly untilTime: number;
  /** True when the whole machine sleeps: its monotonic clock stands still, too. */
  readonly isSuspended: boolean;
}

/**
 * The machine that the program runs on, with its two clocks. The monotonic one stands still while the machine sleeps;
 * the wall clock is wrong by `skewMs` and may be set.
 */
export class Machine {
  readonly timeline: Timeline;
  readonly #bootTime: number;
  #skewMs: number;
  #sleptMs = 0;
  #pause: Pause | undefined;
  #pausedAt = 0;

  constructor(timeline: Timeline, skewMs: number) {
    this.timeline = timeline;
    this.#bootTime = timeline.now - 1_000_000;
    this.#skewMs = skewMs;
  }

  /** Sets the wall clock forward or back. */
  jump(ms: number): void {
    this.#skewMs += ms;
  }

  /** Stops the process, or the whole machine, until an instant. */
  pause(untilTime: number, isSuspended: boolean): void {
    if (this.#pause !== undefined) return;
    this.#pause = { untilTime, isSuspended };
    this.#pausedAt = this.timeline.now;
    this.timeline.at(untilTime, "goes on", () => {
      if (isSuspended) this.#sleptMs += this.timeline.now - this.#pausedAt;
      this.#pause = undefined;
    });
  }

  /** Until when the process stands still, if it does. */
  get pausedUntil(): number | undefined {
    return this.#pause?.untilTime;
  }

  wall(): number {
    return this.timeline.now + this.#skewMs;
  }

  monotonic(): number {
    const isAsleep = this.#pause?.isSuspended === true;
    const now = isAsleep ? this.#pausedAt : this.timeline.now;
    return now - this.#bootTime - this.#sleptMs;
  }
}

/**
 * One process: nothing of the outside reaches it but by {@link deliver}, so that it can be killed between any two events
 * and leaves nothing behind that still runs.
 */
export class Process {
  readonly id: number;
  readonly clock: Clock;
  readonly #machine: Machine;
  #isDead = false;
  #eventCount = 0;
  #sleeperCount = 0;
  readonly #onDeath: (() => void)[] = [];
  /** Called before each event of the process; it may kill it. */
  onEvent: (label: string) => void = () => undefined;
  /** Called with what a callback of the process threw: nobody would have caught it. */
  onCrash: (error: unknown) => void = () => undefined;

  constructor(id: number, machine: Machine) {
    this.id = id;
    this.#machine = machine;
    this.clock = {
      now: () => machine.wall(),
      monotonic: () => machine.monotonic(),
      sleep: (ms, signal) => this.#sleep(ms, signal),
    };
  }

  get isDead(): boolean {
    return this.#isDead;
  }

  /** Events that reached it. */
  get eventCount(): number {
    return this.#eventCount;
  }

  /** Sleeps that have not ended. */
  get sleeperCount(): number {
    return this.#sleeperCount;
  }

  /** True while it stands still. */
  get isPaused(): boolean {
    return this.#machine.pausedUntil !== undefined;
  }

  /** Ends the process at once: none of its code ever runs again. */
  kill(): void {
    if (this.#isDead) return;
    this.#isDead = true;
    for (const act of this.#onDeath.splice(0)) act();
  }

  /** Calls `act` when the process dies. */
  whenDead(act: () => void): void {
    this.#onDeath.push(act);
  }

  /** Lets something reach the process at an instant: never when it is dead, later when it stands still. */
  deliver(time: number, label: string, act: () => void): void {
    const { timeline } = this.#machine;
    timeline.at(time, label, () => {
      if (this.#isDead) return false;
      const pausedUntil = this.#machine.pausedUntil;
      if (pausedUntil !== undefined) {
        this.deliver(pausedUntil, label, act);
        return false;
      }
      this.#eventCount += 1;
      this.onEvent(label);
      if (this.#isDead) return undefined;
      try {
        act();
      } catch (error) {
        this.onCrash(error);
      }
      return undefined;
    });
  }

  #sleep(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason);
      const dueMs = this.#machine.monotonic() + Math.max(0, ms);
      let isOver = false;
      this.#sleeperCount += 1;
      const end = (): void => {
        isOver = true;
        this.#sleeperCount -= 1;
        signal.removeEventListener("abort", onAbort);
      };
      const onAbort = (): void => {
        end();
        reject(signal.reason);
      };
      const plan = (): void => {
        // Whole: a fraction that is too small to be added to an instant would be planned for the same one for ever.
        const leftMs = Math.max(0, Math.ceil(dueMs - this.#machine.monotonic()));
        this.#machine.timeline.in(leftMs, "timer", () => {
          if (isOver || this.#isDead) return false;
          // The machine slept meanwhile, or stands still now.
          const pausedUntil = this.#machine.pausedUntil;
          if (pausedUntil !== undefined) {
            this.#machine.timeline.at(pausedUntil, "timer", plan);
            return false;
          }
          if (this.#machine.monotonic() < dueMs) {
            plan();
            return false;
          }
          this.#eventCount += 1;
          this.onEvent("timer");
          if (this.#isDead) return undefined;
          end();
          resolve();
          return undefined;
        });
      };
      signal.addEventListener("abort", onAbort, { once: true });
      plan();
    });
  }
}
