import { setTimeout as moment, setImmediate as nextTurn } from "node:timers/promises";
import type { Clock } from "../../src/core/ports.ts";

/** Sleeps longer than this overflow Node's timers. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/**
 * A clock on real timers that runs `factor` times as fast as time does: for tests with real sockets.
 * A sleep never ends early by this clock's own measure.
 * @param startTime what `now()` says at first, epoch ms
 */
export function scaledClock(factor: number, startTime: number = Date.now()): Clock {
  const began = performance.now();
  const monotonic = (): number => (performance.now() - began) * factor;
  return {
    now: () => Math.floor(startTime + monotonic()),
    monotonic,
    sleep: (ms, signal) =>
      new Promise((resolve, reject) => {
        if (signal.aborted) return reject(signal.reason);
        const deadline = monotonic() + ms;
        let timer: NodeJS.Timeout;
        const onAbort = (): void => {
          clearTimeout(timer);
          reject(signal.reason);
        };
        const wait = (): void => {
          const leftMs = (deadline - monotonic()) / factor;
          if (leftMs > 0) {
            timer = setTimeout(wait, Math.min(leftMs, MAX_TIMER_MS));
            return;
          }
          signal.removeEventListener("abort", onAbort);
          resolve();
        };
        signal.addEventListener("abort", onAbort, { once: true });
        timer = setTimeout(wait, Math.min(ms / factor, MAX_TIMER_MS));
      }),
  };
}

/** A clock that stands still, for tests with real sockets: sleeps last a moment, only I/O passes. */
export function frozenClock(time: number): Clock {
  return {
    now: () => time,
    monotonic: () => performance.now(),
    sleep: async (_ms, signal) => {
      await moment(20, undefined, { signal });
    },
  };
}

/** A clock that stands still until it is told to go on. */
export interface VirtualClock extends Clock {
  /** Goes on by `ms`: ends every sleep that falls due on the way, in order, and lets what waits for it run. */
  advance(ms: number): Promise<void>;
  /** The machine sleeps: the wall clock goes on by `ms`, the monotonic one and every sleep stand still. */
  suspend(ms: number): void;
  /** Sleeps that have not ended. */
  readonly sleeperCount: number;
}

/** @param startTime what `now()` says at first, epoch ms; `monotonic()` starts at 0 */
export function virtualClock(startTime: number = Date.UTC(2026, 0, 1)): VirtualClock {
  let elapsed = 0;
  let suspendedMs = 0;
  const sleepers = new Set<{ readonly due: number; readonly wake: () => void }>();
  const nextDue = (until: number) =>
    [...sleepers].filter(({ due }) => due <= until).sort((a, b) => a.due - b.due)[0];
  return {
    now: () => startTime + suspendedMs + elapsed,
    monotonic: () => elapsed,
    suspend: (ms) => {
      suspendedMs += ms;
    },
    get sleeperCount() {
      return sleepers.size;
    },
    sleep: (ms, signal) =>
      new Promise((resolve, reject) => {
        if (signal.aborted) return reject(signal.reason);
        const sleeper = {
          due: elapsed + Math.max(0, ms),
          wake: () => {
            sleepers.delete(sleeper);
            signal.removeEventListener("abort", onAbort);
            resolve();
          },
        };
        const onAbort = (): void => {
          sleepers.delete(sleeper);
          reject(signal.reason);
        };
        signal.addEventListener("abort", onAbort, { once: true });
        sleepers.add(sleeper);
      }),
    advance: async (ms) => {
      const until = elapsed + ms;
      await nextTurn();
      for (let next = nextDue(until); next !== undefined; next = nextDue(until)) {
        elapsed = Math.max(elapsed, next.due);
        next.wake();
        await nextTurn();
      }
      elapsed = until;
    },
  };
}
