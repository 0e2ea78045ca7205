/**
 * The exchange's time, estimated from its answers and kept going by a clock that never jumps.
 * The wall clock of this machine plays no part, so neither its error nor its jumps reach a decision.
 * All `monotonicMs` arguments come from the same monotonic clock.
 */
export class ExchangeTime {
  #offsetMs: number | undefined;
  #errorMs = Number.POSITIVE_INFINITY;

  /** True once the exchange has said its time at least once. */
  get isKnown(): boolean {
    return this.#offsetMs !== undefined;
  }

  /** Half the round trip of the measurement in use: the estimate is off by no more, unless the clock has drifted since. */
  get errorMs(): number {
    return this.#errorMs;
  }

  /**
   * Takes a time answer. A new measurement replaces the old one: drift makes an old one worthless.
   * @param serverTime epoch ms in the answer, stamped somewhere between the two instants
   */
  observeRoundTrip(sentMonotonicMs: number, receivedMonotonicMs: number, serverTime: number): void {
    this.#errorMs = (receivedMonotonicMs - sentMonotonicMs) / 2;
    this.#offsetMs = serverTime - (sentMonotonicMs + this.#errorMs);
  }

  /**
   * Takes the time stamp of a pushed event. It was stamped before it arrived, so exchange time is at least that:
   * a machine that slept is set right by the first frame.
   * @param eventTime epoch ms
   */
  observeEvent(eventTime: number, receivedMonotonicMs: number): void {
    const offset = eventTime - receivedMonotonicMs;
    if (this.#offsetMs === undefined || offset > this.#offsetMs) this.#offsetMs = offset;
  }

  /**
   * Exchange time, epoch ms, whole.
   * @throws {RangeError} while it is not known
   */
  now(monotonicMs: number): number {
    if (this.#offsetMs === undefined) throw new RangeError("exchange time is not known yet");
    return Math.floor(monotonicMs + this.#offsetMs);
  }
}
