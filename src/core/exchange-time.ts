/** A claim of events that the estimate is too low, until time or an answer settles it. */
interface Claim {
  readonly sinceMonotonicMs: number;
  /** The smallest that was claimed. */
  readonly offsetMs: number;
}

/** An event that is further ahead than this, or than the estimate may be off by, has a false stamp, or this machine slept. */
const MAX_LEAD_MS = 5_000;
/** A measured estimate is not off by more. */
const MAX_ERROR_MS = 1_000;
/** After a sleep all events are far ahead: so long without one that is not, and they are believed. */
const DOUBT_MS = 3_000;

/** The two clocks of this machine part by more when it slept, or when its wall clock was set. */
const CLOCK_JUMP_MS = 2_000;

/**
 * The exchange's time, estimated from its answers and kept going by a clock that never jumps.
 * The wall clock of this machine plays no part in it, so neither its error nor its jumps reach a decision; that it parts
 * from the other clock only makes the estimate doubtful.
 * All `monotonicMs` arguments come from the same monotonic clock.
 */
export class ExchangeTime {
  #offsetMs: number | undefined;
  #errorMs = Number.POSITIVE_INFINITY;
  #isSeeded = false;
  #claim: Claim | undefined;
  #isDoubtful = false;
  #isBorrowed = false;
  /** Wall clock minus monotonic clock, at the last look. */
  #clockGap: number | undefined;
  #hasSlept = false;

  /** True once there is an estimate, be it a seeded one. */
  get isKnown(): boolean {
    return this.#offsetMs !== undefined;
  }

  /**
   * True from an event far ahead of the estimate, or a sleep of this machine, until the next time answer, which should be
   * asked for at once.
   */
  get isDoubtful(): boolean {
    return this.#isDoubtful || this.#hasSlept;
  }

  /** True from a sleep of this machine until the next time answer: the estimate is behind by nobody knows how much. */
  get hasSlept(): boolean {
    return this.#hasSlept;
  }

  /**
   * True when a time answer has to come before candles are asked for: the estimate is the stamp of whoever forbade
   * questions, which may be too high to say what is closed, or the machine slept, and two answers seem further apart than
   * they are.
   */
  get isUnfit(): boolean {
    return this.#isBorrowed || this.#hasSlept;
  }

  /**
   * Looks whether this machine slept, or its wall clock was set, since the last look.
   * @param wallMs epoch ms by this machine's clock
   */
  compareClocks(wallMs: number, monotonicMs: number): void {
    const gap = wallMs - monotonicMs;
    const hasJumped =
      this.#clockGap !== undefined && Math.abs(gap - this.#clockGap) > CLOCK_JUMP_MS;
    this.#clockGap = gap;
    if (hasJumped) this.#hasSlept = true;
  }

  /** The estimate is off by no more, unless the clock has drifted since: half the round trip of a measurement, as a rule. */
  get errorMs(): number {
    return this.#errorMs;
  }

  /**
   * Gives a time from elsewhere, for while the exchange must not be asked. Whatever the exchange says replaces it.
   * @param exchangeTime epoch ms
   */
  seed(exchangeTime: number, monotonicMs: number): void {
    if (this.#offsetMs !== undefined && !this.#isSeeded) return;
    this.#offsetMs = exchangeTime - monotonicMs;
    this.#isSeeded = true;
  }

  /**
   * Takes a time answer. A new measurement replaces the old one: drift makes an old one worthless.
   * @param serverTime epoch ms in the answer, stamped somewhere between the two instants
   */
  observeRoundTrip(sentMonotonicMs: number, receivedMonotonicMs: number, serverTime: number): void {
    const errorMs = (receivedMonotonicMs - sentMonotonicMs) / 2;
    this.#settle(serverTime - (sentMonotonicMs + errorMs), errorMs);
  }

  /**
   * Takes a time answer that was too long under way to measure by. An estimate that it does not contradict stays;
   * otherwise exchange time is taken to be the least that the answer allows.
   * @param serverTime epoch ms in the answer, stamped somewhere between the two instants
   */
  observeSlowRoundTrip(
    sentMonotonicMs: number,
    receivedMonotonicMs: number,
    serverTime: number,
  ): void {
    const leastMs = serverTime - receivedMonotonicMs;
    // Stamps are cut to whole milliseconds.
    const mostMs = serverTime + 1 - sentMonotonicMs;
    const offsetMs = this.#isSeeded ? undefined : this.#offsetMs;
    if (offsetMs !== undefined && offsetMs >= leastMs && offsetMs <= mostMs) {
      this.#settle(offsetMs, this.#errorMs);
    } else {
      this.#settle(leastMs, mostMs - leastMs);
    }
  }

  /**
   * Takes the time stamp of an answer that forbids further questions, and so the measurement that would settle the time:
   * exchange time is at least that. An estimate that is clearly behind it is from before a sleep of this machine.
   * @param stampTime epoch ms
   */
  observeStamp(stampTime: number, receivedMonotonicMs: number): void {
    const offsetMs = stampTime - receivedMonotonicMs;
    if (this.#offsetMs === undefined || this.#isSeeded) this.seed(stampTime, receivedMonotonicMs);
    else if (offsetMs > this.#offsetMs + MAX_ERROR_MS) {
      this.#offsetMs = offsetMs;
      // Stamps are cut to whole seconds. Still measured: an event far ahead is doubted.
      this.#errorMs = MAX_ERROR_MS;
      this.#claim = undefined;
      // Whoever forbids, perhaps a firewall on the way, may have a false clock: to be measured as soon as one may ask.
      this.#isDoubtful = true;
      this.#isBorrowed = true;
    }
  }

  /**
   * Takes the time stamp of a pushed event. It was stamped before it arrived, so exchange time is at least that, unless
   * the stamp is false: far ahead of the estimate, events are believed only when they go on claiming it, as they
   * do after a sleep of this machine.
   * @param eventTime epoch ms
   */
  observeEvent(eventTime: number, receivedMonotonicMs: number): void {
    const offsetMs = eventTime - receivedMonotonicMs;
    if (this.#offsetMs === undefined || this.#isSeeded) {
      this.#offsetMs = offsetMs;
      this.#isSeeded = false;
    } else if (offsetMs > this.#offsetMs + Math.max(MAX_LEAD_MS, this.#errorMs)) {
      this.#doubt(offsetMs, receivedMonotonicMs);
    } else {
      this.#claim = undefined;
      const riseMs = Math.max(0, offsetMs - this.#offsetMs);
      this.#offsetMs += riseMs;
      // As much less remains of what a slow answer left open.
      if (this.#errorMs > MAX_ERROR_MS) {
        this.#errorMs = Math.max(MAX_ERROR_MS, this.#errorMs - riseMs);
      }
    }
  }

  /**
   * Exchange time, epoch ms, whole.
   * @throws {RangeError} while it is not known
   */
  now(monotonicMs: number): number {
    if (this.#offsetMs === undefined) throw new RangeError("exchange time is not known yet");
    return Math.floor(monotonicMs + this.#offsetMs);
  }

  #settle(offsetMs: number, errorMs: number): void {
    this.#offsetMs = offsetMs;
    this.#errorMs = errorMs;
    this.#isSeeded = false;
    this.#claim = undefined;
    this.#isDoubtful = false;
    this.#isBorrowed = false;
    this.#hasSlept = false;
  }

  #doubt(offsetMs: number, monotonicMs: number): void {
    this.#isDoubtful = true;
    const claim = {
      sinceMonotonicMs: this.#claim?.sinceMonotonicMs ?? monotonicMs,
      offsetMs: Math.min(offsetMs, this.#claim?.offsetMs ?? offsetMs),
    };
    const isBelieved = monotonicMs - claim.sinceMonotonicMs >= DOUBT_MS;
    if (isBelieved) this.#offsetMs = claim.offsetMs;
    this.#claim = isBelieved ? undefined : claim;
  }
}
