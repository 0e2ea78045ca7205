import { performance } from "node:perf_hooks";
import type { Clock } from "./core/ports.ts";

/** The machine's own clock. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  sleep(ms, signal) {
    return new Promise((resolve, reject) => {
      if (signal.aborted) {
        reject(signal.reason);
        return;
      }
      const onAbort = (): void => {
        clearTimeout(timer);
        reject(signal.reason);
      };
      // Longer than a timer can be: wake up early and let the caller look at the time again.
      const timer = setTimeout(
        () => {
          signal.removeEventListener("abort", onAbort);
          resolve();
        },
        Math.min(ms, MAX_TIMER_MS),
      );
      signal.addEventListener("abort", onAbort, { once: true });
    });
  },
};

/** setTimeout's limit, 2^31 − 1 ms. */
const MAX_TIMER_MS = 2_147_483_647;

/** The machine's clock, run `speed` times as fast from now on; sleeps are as much shorter. */
export function fastClock(speed: number): Clock {
  const wallStart = systemClock.now();
  const start = systemClock.monotonic();
  const monotonic = (): number => (systemClock.monotonic() - start) * speed;
  return {
    now: () => Math.floor(wallStart + monotonic()),
    monotonic,
    sleep: (ms, signal) => systemClock.sleep(ms / speed, signal),
  };
}
