import type { RequestPriority, WeightBudget } from "../../core/budget.ts";
import { SourceHoldError } from "../../core/errors.ts";
import type { Recorder } from "../../core/events.ts";
import type { ExchangeTime } from "../../core/exchange-time.ts";
import type { Ban, Clock } from "../../core/ports.ts";
import { HOLD_REMEDY, type Hold, holdOf, holdOfHead, readAnswer } from "./answers.ts";
import type { Decoded } from "./codec.ts";
import { type HttpHead, httpGet } from "./http.ts";

/** What sending requests needs. */
export interface RequestsOptions {
  readonly baseUrl: URL;
  readonly exchange: string;
  readonly clock: Clock;
  readonly exchangeTime: ExchangeTime;
  readonly budget: WeightBudget;
  readonly random: () => number;
  readonly record: Recorder;
  readonly onHold: (ban: Ban) => Promise<void>;
  readonly deadlineMs: number;
}

/** One request. */
export interface Question<T> {
  readonly path: string;
  /** @param askedTime exchange time just before the request is sent, epoch ms */
  readonly query?: (askedTime: number) => Readonly<Record<string, string>>;
  readonly weight: number;
  readonly priority: RequestPriority;
  readonly decode: (answer: unknown) => Decoded<T>;
  /** What is asked for, to name it when there is no such thing. */
  readonly symbol?: string;
  readonly maxBodyBytes?: number;
}

/** A sound answer. */
export interface Reply<T> {
  readonly value: T;
  /** Exchange time just before the request was sent, epoch ms. */
  readonly askedTime: number;
  /** The same instant, and that of the answer's head, on the clock's monotonic scale. */
  readonly sentMonotonicMs: number;
  readonly receivedMonotonicMs: number;
  /** True when `askedTime` is not to be built upon; see {@link ExchangeTime.isUnfit}. */
  readonly isTimeUnfit: boolean;
  /** End of the last hold before it was sent, by the clock of then. */
  readonly heldUntil: number;
}

const MAX_BODY_BYTES = 8 * 2 ** 20;
/** Requests that waited for the same instant leave within so many ms, not all at once. */
const SPREAD_MS = 250;
/** Answers that forbid requests. */
const HOLD_STATUSES: ReadonlySet<number> = new Set([403, 418, 429]);
/** Holds that end this close together are told once. */
const SAME_HOLD_MS = 2_000;

/**
 * Sends requests to one address of the exchange: within the budget, never during a hold, each once.
 */
export class Requests {
  readonly #options: RequestsOptions;
  /** End of the hold that was told last. */
  #toldUntilTime = Number.NEGATIVE_INFINITY;

  constructor(options: RequestsOptions) {
    this.#options = options;
  }

  /** Exchange time, epoch ms; until that is known once, the wall clock has to do for budget and holds. */
  now(): number {
    const { exchangeTime, clock } = this.#options;
    return exchangeTime.isKnown ? exchangeTime.now(clock.monotonic()) : clock.now();
  }

  /**
   * Waits for leave, asks, reads.
   * @throws {BlackTradeError} E_SOURCE_*; {@link SourceHoldError} after the hold was reported
   */
  async ask<T>(question: Question<T>, signal: AbortSignal): Promise<Reply<T>> {
    const { baseUrl, clock, budget, exchangeTime, deadlineMs } = this.#options;
    const { weight, maxBodyBytes = MAX_BODY_BYTES } = question;
    await this.#leave(question, signal);

    exchangeTime.compareClocks(clock.now(), clock.monotonic());
    const askedTime = this.now();
    const isTimeUnfit = exchangeTime.isUnfit;
    const { heldUntil } = budget;
    const sentMonotonicMs = clock.monotonic();
    const url = new URL(`${baseUrl.pathname.replace(/\/+$/, "")}${question.path}`, baseUrl);
    url.search = new URLSearchParams(question.query?.(askedTime)).toString();
    let isSettled = false;
    const onHead = (head: HttpHead): void => {
      isSettled = true;
      this.#takeHead(head, question, sentMonotonicMs);
    };
    try {
      const answer = await httpGet(url, { clock, deadlineMs, maxBodyBytes, onHead }, signal);
      const hold = holdOf(answer, url.host, this.now());
      if (hold !== undefined) throw await this.#obey(hold, answer.head.status);
      return {
        value: readAnswer(answer, url.host, question.decode, question.symbol),
        askedTime,
        sentMonotonicMs,
        receivedMonotonicMs: answer.head.receivedMonotonicMs,
        isTimeUnfit,
        heldUntil,
      };
    } finally {
      if (!isSettled) budget.settle(weight, this.now());
    }
  }

  /** Waits until the budget gives leave to send; the weight is then under way. */
  async #leave<T>({ weight, priority }: Question<T>, signal: AbortSignal): Promise<void> {
    const { budget, clock, random } = this.#options;
    for (;;) {
      signal.throwIfAborted();
      const waitMs = budget.take(weight, priority, this.now());
      if (waitMs <= 0) return;
      await clock.sleep(waitMs + random() * SPREAD_MS, signal);
    }
  }

  #takeHead<T>(
    { status, headers, receivedMonotonicMs }: HttpHead,
    { path, weight }: Question<T>,
    sentMonotonicMs: number,
  ): void {
    const { budget, record } = this.#options;
    if (HOLD_STATUSES.has(status)) this.#takeStamp(headers.get("date"), receivedMonotonicMs);
    const now = this.now();
    budget.settle(weight, now, readWeight(headers));
    const untilTime = holdOfHead(status, headers.get("retry-after"), now);
    // At once: nobody may send while the body is still on its way.
    if (untilTime !== undefined) budget.hold(untilTime);
    record({
      kind: "requestDone",
      path,
      httpStatus: status,
      usedWeight: budget.usedAt(now),
      tookMs: receivedMonotonicMs - sentMonotonicMs,
    });
  }

  /** A ban names its end by the exchange's clock, which must not be asked now: the answer's own stamp has to do. */
  #takeStamp(date: string | null, receivedMonotonicMs: number): void {
    const time = date === null ? Number.NaN : Date.parse(date);
    if (!Number.isNaN(time)) this.#options.exchangeTime.observeStamp(time, receivedMonotonicMs);
  }

  async #obey({ code, reason, untilTime }: Hold, httpStatus: number): Promise<SourceHoldError> {
    const { exchange, budget, record, onHold } = this.#options;
    budget.hold(untilTime);
    // All requests under way are refused, each with an instant of its own: that is one hold.
    if (untilTime > this.#toldUntilTime + SAME_HOLD_MS) {
      this.#toldUntilTime = untilTime;
      record({ kind: "held", httpStatus, untilTime, reason });
    }
    let cause: unknown;
    try {
      await onHold({ exchange, untilTime, httpStatus });
    } catch (error) {
      // The hold stands in memory; what the exchange said matters more than that it could not be kept.
      cause = error;
    }
    return new SourceHoldError(code, reason, untilTime, { remedy: HOLD_REMEDY, cause });
  }
}

/** The exchange's own count of this minute for this address (§2.4); the older header has the same number. */
function readWeight(headers: Headers): number | undefined {
  const text = headers.get("x-mbx-used-weight-1m") ?? headers.get("x-mbx-used-weight");
  return text !== null && /^\d{1,7}$/.test(text.trim()) ? Number(text) : undefined;
}
