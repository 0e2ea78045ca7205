/** Who asks: live candles first, then what heals holes, then bulk history. */
export type RequestPriority = "live" | "heal" | "bulk";

/** Share of the exchange's limit that each priority may fill. Nobody goes above 90 % (R9); what is left is for live. */
const SHARES: Readonly<Record<RequestPriority, number>> = { live: 0.9, heal: 0.75, bulk: 0.6 };

const MINUTE_MS = 60_000;
/** Least and most time that an exchange's request to wait is obeyed for: 1 s, and 3 days, the longest ban documented. */
const MIN_HOLD_MS = 1_000;
const MAX_HOLD_MS = 3 * 24 * 60 * MINUTE_MS;
/** Wait when the exchange says stop but not for how long. */
const DEFAULT_HOLD_MS = 60_000;

/**
 * Request weight of one exchange and one address. The exchange counts by its own wall-clock minute and tells the sum in
 * every answer, other programs on the same address included; own sums add only what no header has told yet.
 * No I/O: all times are exchange time, epoch ms, given by the caller.
 */
export class WeightBudget {
  #limit: number;
  #minute = -1;
  /** Highest count that a header told in this minute. */
  #told = 0;
  /** Weight of this minute's requests that ended without a header: a header that comes later may be older than they. */
  #untold = 0;
  /** Weight of the requests under way. */
  #pending = 0;
  #heldUntil = 0;
  /** The hold that was found to be over. */
  #overUntil = Number.NaN;

  /** @param limitPerMinute the exchange's limit, from its rate-limit table */
  constructor(limitPerMinute: number) {
    this.#limit = limitPerMinute;
  }

  /** Takes over a limit that the exchange has said itself. @param limitPerMinute above 0 */
  setLimit(limitPerMinute: number): void {
    this.#limit = limitPerMinute;
  }

  /** Weight counted in the current minute, answers under way included. */
  usedAt(now: number): number {
    this.#turn(now);
    return this.#told + this.#untold + this.#pending;
  }

  /** End of the current hold (429, 418, 403), epoch ms; 0 when there never was one. */
  get heldUntil(): number {
    return this.#heldUntil;
  }

  /**
   * Asks for leave to send a request.
   * @returns 0 and counts the weight as under way, or the ms to wait before asking again
   */
  take(weight: number, priority: RequestPriority, now: number): number {
    if (now < this.#heldUntil) return this.#heldUntil - now;
    if (this.usedAt(now) + weight <= this.#limit * SHARES[priority]) {
      this.#pending += weight;
      return 0;
    }
    return MINUTE_MS - (now % MINUTE_MS);
  }

  /**
   * Ends a request that `take` allowed.
   * @param usedWeight the exchange's own count from the answer's header, when there was an answer with one
   */
  settle(weight: number, now: number, usedWeight?: number): void {
    this.#pending = Math.max(0, this.#pending - weight);
    this.#turn(now);
    // Answers overtake each other: within a minute the count only grows.
    if (usedWeight === undefined) this.#untold += weight;
    else this.#told = Math.max(this.#told, usedWeight);
  }

  /**
   * Forbids every request until `until`; a shorter hold never cuts a longer one short. What is not a finite time is
   * ignored: `NaN` would end every hold, `Infinity` would never end.
   */
  hold(until: number): void {
    if (!Number.isFinite(until) || until === this.#overUntil) return;
    this.#heldUntil = Math.max(this.#heldUntil, until);
  }

  /**
   * Ends a hold that has been sat out, by the clock that it was reckoned by: a better clock may step back before its end,
   * by years when that one was false.
   * @param until as `heldUntil` said it when the request was sent whose answer the better clock comes from
   */
  endHold(until: number): void {
    if (until === 0 || until !== this.#heldUntil) return;
    this.#overUntil = until;
    this.#heldUntil = 0;
  }

  #turn(now: number): void {
    const minute = Math.floor(now / MINUTE_MS);
    // A better estimate of the exchange's time may step back over the edge: no new minute begins, nothing is forgotten.
    if (minute === this.#minute || minute === this.#minute - 1) return;
    if (minute > this.#minute) {
      this.#told = 0;
      this.#untold = 0;
    }
    this.#minute = minute;
  }
}

/**
 * How long a `Retry-After` header asks to wait. Seconds only: Binance sends no dates.
 * @param header text of the header, if there is one; garbage counts as absent
 * @param fallbackMs wait when it says nothing usable
 * @returns ms, clamped to 1 s … 3 days
 */
export function retryAfterMs(header: string | null, fallbackMs: number = DEFAULT_HOLD_MS): number {
  const seconds = header !== null && /^\d+$/.test(header.trim()) ? Number(header) : Number.NaN;
  const ms = Number.isNaN(seconds) ? fallbackMs : seconds * 1_000;
  return Math.min(MAX_HOLD_MS, Math.max(MIN_HOLD_MS, ms));
}
