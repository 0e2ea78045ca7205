/**
 * At most `limit` events in any span of `spanMs`: a strict rolling window, as the exchange counts (binance.md §1.5), not
 * a bucket that lets twice as many through. All times come from one monotonic clock, ms.
 */
export class RateWindow {
  readonly #limit: number;
  readonly #spanMs: number;
  /** The last `limit` events, oldest first. */
  readonly #times: number[] = [];

  constructor(limit: number, spanMs: number) {
    this.#limit = limit;
    this.#spanMs = spanMs;
  }

  /** Counts an event, allowed or not. */
  note(now: number): void {
    this.#times.push(now);
    if (this.#times.length > this.#limit) this.#times.shift();
  }

  /** Ms until another event keeps the limit; 0 when it does so now. */
  waitMs(now: number): number {
    const [oldest] = this.#times;
    if (oldest === undefined || this.#times.length < this.#limit) return 0;
    return Math.max(0, oldest + this.#spanMs - now);
  }
}
