import { type BackoffPolicy, backoffDelay, HEALTHY_AFTER_MS } from "../../core/backoff.ts";
import type { Recorder } from "../../core/events.ts";
import type { Clock, LiveEvent } from "../../core/ports.ts";
import type { Series } from "../../core/series.ts";
import type { CandleFrame } from "./codec.ts";
import type { DialLimiter } from "./dial-limiter.ts";
import { type ControlReply, Link, refusalText } from "./link.ts";

/** A series and the name of its stream. */
export interface Slot {
  readonly series: Series;
  readonly stream: string;
}

/** Limits and times of a stream; all durations in ms. */
export interface StreamTuning {
  /** Streams of one socket; the exchange allows 1024 (binance.md §1.5). */
  readonly maxStreamsPerSocket: number;
  /** Streams of one SUBSCRIBE; a message with 437 was ignored in silence (§1.5). */
  readonly subscribeBatch: number;
  /** Least time between two control messages of a socket; only 250 was always safe (§1.5). */
  readonly controlIntervalMs: number;
  /** A socket without any frame for so long is dead: three pings of the exchange. */
  readonly deadLinkMs: number;
  /** Age at which a socket is replaced: the exchange cuts it at 24 h. */
  readonly rotateAfterMs: number;
  /** By how much earlier at most, at random, so that sockets are not all replaced at once. */
  readonly rotateJitterMs: number;
  /** How long old and new socket run side by side. */
  readonly overlapMs: number;
  readonly connectTimeoutMs: number;
  /** Attempts to connect in any 5 minutes; the exchange allows 300 to one address. */
  readonly maxConnectsPer5Min: number;
}

/** What a shard needs. */
export interface ShardOptions {
  readonly name: string;
  readonly slots: readonly Slot[];
  readonly url: URL;
  readonly clock: Clock;
  readonly random: () => number;
  readonly record: Recorder;
  readonly firstDelayMs: number;
  readonly tuning: StreamTuning;
  readonly dials: DialLimiter;
  readonly onCandle: (frame: CandleFrame, receivedMonotonicMs: number) => void;
  readonly onLink: (event: Exclude<LiveEvent, { readonly kind: "candle" }>) => void;
  /** Takes series that the exchange does not allow on this socket any more. */
  readonly onTooMany: (slots: readonly Slot[]) => void;
  readonly signal: AbortSignal;
}

const MAX_DELAY_MS = 60_000;
/** How long after the last SUBSCRIBE its answer may come. */
const REPLY_TIMEOUT_MS = 10_000;
/** The same series is subscribed anew no more often than this. */
const RENEW_INTERVAL_MS = 60_000;
/** Series are found silent one by one: those of one moment are renewed together. */
const RENEW_GATHER_MS = 1_000;
/** `Invalid request: invalid stream` (§1.4). */
const CODE_INVALID = 2;
/** `Too many subscriptions` (§1.4). */
const CODE_TOO_MANY = 4;
const SHUTDOWN = "the server is about to shut down";

/**
 * The series of one socket, carried for ever: dialled again after every end, replaced before its time is over.
 * While a socket is replaced, two of them carry the series, and both bring candles.
 */
export class Shard {
  readonly #options: ShardOptions;
  readonly #backoff: BackoffPolicy;
  /** What one SUBSCRIBE names. A group with a name that the exchange refuses is halved until that name stands alone. */
  #groups: Slot[][];
  /** Every socket that is not closed yet. */
  readonly #links = new Set<Link>();
  /** Those that are subscribed, oldest first. The series are connected while there is one. */
  readonly #carriers = new Set<Link>();
  /** Asks for a successor of the newest carrier. */
  #replace: (reason: string) => void = () => undefined;
  /** Failures in a row. */
  #attempt = 0;
  #pauseMs = 0;
  readonly #renewedMs = new Map<Slot, number>();
  readonly #toRenew = new Set<Slot>();
  #isGathering = false;

  constructor(options: ShardOptions) {
    this.#options = options;
    this.#backoff = { baseMs: options.firstDelayMs, capMs: MAX_DELAY_MS };
    this.#groups = chunks(options.slots, options.tuning.subscribeBatch);
  }

  /** Carries the series until the signal is aborted; resolves when every socket is closed. No fault of the network rejects it. */
  async run(): Promise<void> {
    const { signal } = this.#options;
    const onAbort = (): void => {
      for (const link of this.#links) link.close("stopped");
    };
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      let reason: string | undefined;
      while (this.#groups.length > 0) {
        const link = await this.#establish();
        if (link === undefined) continue;
        const wish = this.#join(link);
        if (await this.#takeOver(link, reason)) reason = await this.#untilItEnds(link, wish);
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      signal.removeEventListener("abort", onAbort);
      onAbort();
      await Promise.all([...this.#links].map(({ closed }) => closed));
    }
  }

  /** Subscribes these series anew, soon; those that were renewed within the last minute are passed over. */
  resubscribe(slots: readonly Slot[]): void {
    const now = this.#options.clock.monotonic();
    for (const slot of slots) {
      const renewedMs = this.#renewedMs.get(slot) ?? Number.NEGATIVE_INFINITY;
      if (now - renewedMs < RENEW_INTERVAL_MS) continue;
      this.#renewedMs.set(slot, now);
      this.#toRenew.add(slot);
    }
    if (this.#toRenew.size === 0 || this.#isGathering) return;
    this.#isGathering = true;
    // An abort ends it.
    this.#renewSoon().catch(() => undefined);
  }

  /** Tells the consumer that candles of these series were lost on the way to it. */
  interrupt(reason: string): void {
    if (this.#carriers.size === 0) return;
    const { name, onLink } = this.#options;
    const series = this.#series();
    onLink({ kind: "disconnected", connection: name, series, reason });
    onLink({ kind: "connected", connection: name, series });
  }

  /** Dials and subscribes once. @returns undefined when that failed and the next attempt is due after a pause */
  async #establish(): Promise<Link | undefined> {
    const { clock, random, dials, signal } = this.#options;
    if (this.#pauseMs > 0) await clock.sleep(this.#pauseMs, signal);
    this.#pauseMs = 0;
    await dials.turn(signal);
    signal.throwIfAborted();
    const link = this.#dial();
    const dialled = await link.opened;
    const failure = dialled.isOpen ? await this.#subscribe(link) : dialled.reason;
    signal.throwIfAborted();
    if (failure === undefined) return link;

    let leastMs = 0;
    if (!dialled.isOpen) {
      // Many sockets get the same answer at once: they are spread over another tenth.
      leastMs = dialled.retryAfterMs * (1 + random() / 10);
      if (dialled.isForAll) dials.hold(dialled.retryAfterMs);
    }
    this.#giveUp(link, failure, leastMs);
    return undefined;
  }

  #dial(): Link {
    const { url, clock, record, onCandle, tuning } = this.#options;
    const link: Link = new Link({
      url,
      clock,
      connectTimeoutMs: tuning.connectTimeoutMs,
      deadLinkMs: tuning.deadLinkMs,
      controlIntervalMs: tuning.controlIntervalMs,
      onCandle,
      onRefused: (reason) => record({ kind: "frameRefused", reason }),
      onShutdown: () => {
        if (this.#newest === link) this.#replace(SHUTDOWN);
      },
    });
    this.#links.add(link);
    void link.closed.then(() => this.#links.delete(link));
    return link;
  }

  #giveUp(link: Link, reason: string, leastMs: number): void {
    const { name, record } = this.#options;
    link.close(reason);
    this.#pauseMs = Math.max(leastMs, this.#nextDelayMs());
    record({ kind: "connectFailed", connection: name, reason, retryMs: this.#pauseMs });
  }

  /** A subscribed link begins to carry the series. @returns resolves with a reason for replacing it */
  #join(link: Link): Promise<string> {
    const { name, record, onLink } = this.#options;
    const { promise, resolve } = Promise.withResolvers<string>();
    this.#replace = resolve;
    if (link.isShutdown) resolve(SHUTDOWN);
    if (this.#carriers.size === 0) {
      const series = this.#series();
      onLink({ kind: "connected", connection: name, series });
      record({ kind: "connected", connection: name, seriesCount: series.length });
    }
    this.#carriers.add(link);
    void link.closed.then((reason) => this.#leave(link, reason));
    return promise;
  }

  #leave(link: Link, reason: string): void {
    const { name, record, onLink, signal } = this.#options;
    if (!this.#carriers.delete(link) || this.#carriers.size > 0 || signal.aborted) return;
    const series = this.#series();
    onLink({ kind: "disconnected", connection: name, series, reason });
    record({ kind: "disconnected", connection: name, reason, seriesCount: series.length });
  }

  /** Lets a new carrier run beside the old one for a while, then closes the old one. @returns false when it is no better */
  async #takeOver(link: Link, reason: string | undefined): Promise<boolean> {
    const [old] = this.#carriers;
    if (old === undefined || old === link) return true;
    const { clock, name, record, tuning, signal } = this.#options;
    const joinedMs = clock.monotonic();
    await this.#sleepUnless(tuning.overlapMs, [old.closed, link.closed]);
    signal.throwIfAborted();
    if (!this.#carriers.has(link)) {
      this.#giveUp(link, await link.closed, 0);
      return false;
    }
    // Acknowledged and silent, while the old one goes on: to change over would be a step back.
    if (this.#carriers.has(old) && !link.hasData && old.lastDataMs > joinedMs) {
      this.#giveUp(link, "subscribed, but no candle came while the old socket had some", 0);
      return false;
    }
    this.#carriers.delete(old);
    old.retire("replaced");
    record({ kind: "rotated", connection: name, reason: reason ?? "" });
    return true;
  }

  /** Waits until a carrier has ended or is to be replaced, and sets the pause before the next one. @returns why */
  async #untilItEnds(link: Link, wish: Promise<string>): Promise<string> {
    const { clock, random, tuning, signal } = this.#options;
    const ageMs = tuning.rotateAfterMs - random() * tuning.rotateJitterMs;
    let reason = "it is nearly a day old";
    await this.#sleepUnless(ageMs, [
      link.closed,
      wish.then((said) => {
        reason = said;
      }),
    ]);
    signal.throwIfAborted();
    const isHealthy = link.hasData && clock.monotonic() - link.openedMs >= HEALTHY_AFTER_MS;
    if (isHealthy) this.#attempt = 0;
    // A healthy one is replaced without a pause; all else might be a loop.
    if (!isHealthy || !this.#carriers.has(link)) this.#pauseMs = this.#nextDelayMs();
    return reason;
  }

  /** @returns why the link is of no use, if so */
  async #subscribe(link: Link): Promise<string | undefined> {
    const groups = this.#groups;
    const replies: ControlReply[] = [];
    const all = Promise.all(
      groups.map(async (group, index) => {
        replies[index] = await link.request(
          "SUBSCRIBE",
          group.map(({ stream }) => stream),
        );
      }),
    );
    const { controlIntervalMs } = this.#options.tuning;
    // Pongs take their share of the pace: twice the time is enough for any number of batches.
    const timeoutMs = REPLY_TIMEOUT_MS + 2 * controlIntervalMs * groups.length;
    const hasAll = await this.#sleepUnless(timeoutMs, [all]);
    // Candles prove more than an answer.
    if (!hasAll && !link.hasData) return "no answer to SUBSCRIBE";
    return this.#judgeReplies(link, groups, replies);
  }

  async #judgeReplies(
    link: Link,
    groups: readonly Slot[][],
    replies: readonly (ControlReply | undefined)[],
  ): Promise<string | undefined> {
    const refusedAt = replies.findIndex((reply) => reply?.kind === "refused");
    const refusal = replies[refusedAt];
    if (refusal?.kind === "refused") {
      const said = `SUBSCRIBE refused: ${refusalText(refusal)}`;
      if (refusal.code === CODE_TOO_MANY && refusedAt > 0) {
        this.#groups = groups.slice(0, refusedAt);
        this.#options.onTooMany(groups.slice(refusedAt).flat());
        return undefined;
      }
      // The exchange allows fewer on a socket than one message names.
      if (refusal.code === CODE_TOO_MANY) {
        const [first = [], ...others] = groups;
        this.#groups = [...halves(first), ...others];
      }
      if (refusal.code === CODE_INVALID) this.#isolate(groups[refusedAt] ?? [], said);
      return said;
    }
    if (replies.some((reply) => reply?.kind === "closed")) return await link.closed;
    return undefined;
  }

  /** One bad name costs the whole message, and the socket: it is searched for by halves and then left to REST. */
  #isolate(group: Slot[], said: string): void {
    const others = this.#groups.filter((each) => each !== group);
    this.#groups = group.length > 1 ? [...others, ...halves(group)] : others;
    if (group.length !== 1) return;
    this.#options.onLink({
      kind: "disconnected",
      connection: this.#options.name,
      series: group.map(({ series }) => series),
      reason: `${said}; it is not asked for again`,
    });
  }

  async #renewSoon(): Promise<void> {
    const { clock, record, signal, tuning } = this.#options;
    await clock.sleep(RENEW_GATHER_MS, signal).finally(() => {
      this.#isGathering = false;
    });
    const slots = [...this.#toRenew];
    this.#toRenew.clear();
    const link = this.#newest;
    if (link === undefined) return;
    const reason = `${slots.length} of ${this.#series().length} series are silent`;
    const isSilent = clock.monotonic() - link.lastDataMs >= tuning.deadLinkMs;
    if (isSilent || slots.length > this.#series().length / 2) {
      this.#replace(isSilent ? "no candle at all for a long time" : reason);
      return;
    }
    record({ kind: "resubscribed", seriesCount: slots.length, reason });
    const batches = chunks(slots, tuning.subscribeBatch);
    await Promise.all(
      batches.flatMap((batch) => {
        const streams = batch.map(({ stream }) => stream);
        return [link.request("UNSUBSCRIBE", streams), link.request("SUBSCRIBE", streams)];
      }),
    );
  }

  get #newest(): Link | undefined {
    return [...this.#carriers].at(-1);
  }

  #series(): Series[] {
    return this.#groups.flat().map(({ series }) => series);
  }

  #nextDelayMs(): number {
    const delayMs = backoffDelay(this.#backoff, this.#attempt, this.#options.random());
    this.#attempt += 1;
    return delayMs;
  }

  /** @returns true when one of the promises came first, false when the time was over */
  async #sleepUnless(ms: number, others: readonly Promise<unknown>[]): Promise<boolean> {
    const { clock, signal } = this.#options;
    const timer = new AbortController();
    const onAbort = (): void => timer.abort(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    if (signal.aborted) onAbort();
    try {
      return await Promise.race([
        clock.sleep(ms, timer.signal).then(() => false),
        ...others.map((other) => other.then(() => true)),
      ]);
    } finally {
      signal.removeEventListener("abort", onAbort);
      timer.abort();
    }
  }
}

/** Two parts of a group; the group itself when it cannot be parted. */
function halves<T>(group: T[]): T[][] {
  return chunks(group, Math.ceil(group.length / 2));
}

/** Parts of at most `size`, in order. */
export function chunks<T>(items: readonly T[], size: number): T[][] {
  const parts: T[][] = [];
  for (let from = 0; from < items.length; from += size) parts.push(items.slice(from, from + size));
  return parts;
}
