import { setTimeout as wait } from "node:timers/promises";
import type { Clock } from "../core/ports.ts";

/** The machine's own time. */
export const realClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  sleep: async (ms, signal) => {
    signal.throwIfAborted();
    try {
      await wait(Math.max(0, ms), undefined, { signal });
    } catch (error) {
      signal.throwIfAborted();
      throw error;
    }
  },
};

/**
 * A clock that starts at the machine's time and runs `speed` times as fast: at 60 a day passes in 24 minutes.
 * Its sleeps are as much shorter. @throws {RangeError} when `speed` is not above 0
 */
export function fastClock(speed: number): Clock {
  if (!(speed > 0)) throw new RangeError("speed must be above 0");
  const wallStart = realClock.now();
  const start = realClock.monotonic();
  const monotonic = (): number => (realClock.monotonic() - start) * speed;
  return {
    now: () => Math.floor(wallStart + monotonic()),
    monotonic,
    sleep: (ms, signal) => realClock.sleep(ms / speed, signal),
  };
}
