import type { Clock } from "../../core/ports.ts";
import { RateWindow } from "./rate-window.ts";

const SPAN_MS = 5 * 60_000;
/** When everything was lost at once, sockets come back a few at a time (reliability.md L6). */
const MAX_BURST = 25;
const BURST_SPAN_MS = 5_000;

/**
 * Turns for connecting, shared by all sockets: the exchange allows 300 attempts in 5 minutes to one address (§1.5), and
 * when it has refused one for the address's sake, nobody else may try either.
 */
export class DialLimiter {
  readonly #clock: Clock;
  readonly #long: RateWindow;
  readonly #short = new RateWindow(MAX_BURST, BURST_SPAN_MS);
  #heldUntilMs = 0;

  /** @param maxPer5Min attempts in any 5 minutes */
  constructor(clock: Clock, maxPer5Min: number) {
    this.#clock = clock;
    this.#long = new RateWindow(maxPer5Min, SPAN_MS);
  }

  /** Resolves when it is the caller's turn, which counts as an attempt. @throws the signal's reason on abort */
  async turn(signal: AbortSignal): Promise<void> {
    for (;;) {
      signal.throwIfAborted();
      const now = this.#clock.monotonic();
      const waitMs = Math.max(
        this.#long.waitMs(now),
        this.#short.waitMs(now),
        this.#heldUntilMs - now,
      );
      if (waitMs <= 0) {
        this.#long.note(now);
        this.#short.note(now);
        return;
      }
      await this.#clock.sleep(waitMs, signal);
    }
  }

  /** Nobody connects for so long; a shorter hold never cuts a longer one short. */
  hold(ms: number): void {
    this.#heldUntilMs = Math.max(this.#heldUntilMs, this.#clock.monotonic() + ms);
  }
}
