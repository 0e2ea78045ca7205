import { CloseClock, type DueFetch, STREAM_GRACE_MS } from "../core/close-clock.ts";
import { BlackTradeError, type ErrorCode, messageOf } from "../core/errors.ts";
import type { Recorder } from "../core/events.ts";
import type { ExchangeTime } from "../core/exchange-time.ts";
import { type Gap, notFetchedGap } from "../core/gaps.ts";
import type {
  ArchiveSource,
  Clock,
  ConfirmStore,
  CoverageStore,
  GapStore,
  HistorySource,
  LiveEvent,
  LiveSource,
  SeriesReport,
  StatusStore,
  Watermark,
} from "../core/ports.ts";
import { intersectRanges } from "../core/range.ts";
import { type Series, seriesKey } from "../core/series.ts";
import { countOpenTimes, nextOpenTime, nominalMs, shiftOpenTime } from "../core/timeframe.ts";
import { Audit } from "./audit.ts";
import { catchUp } from "./catch-up.ts";
import { confirmPage, isConfirmationDue } from "./confirm.ts";
import { type FillOptions, fillGap, MIN_ARCHIVE_CANDLES } from "./fill.ts";
import { FirstOpenTimes } from "./first-open-times.ts";
import { Intake } from "./intake.ts";
import { Wakeup } from "./wakeup.ts";
import type { Writer } from "./writer.ts";

/** What live ingestion needs. */
export interface LiveOptions {
  readonly watermarks: readonly Watermark[];
  /** Absent in polling mode: the same loop without a stream. */
  readonly live?: LiveSource;
  readonly history: HistorySource;
  /** Bulk history, for gaps that are large. */
  readonly archive?: ArchiveSource;
  readonly gaps: GapStore;
  readonly store: ConfirmStore & CoverageStore & Pick<StatusStore, "facts">;
  readonly writer: Writer;
  readonly clock: Clock;
  readonly exchangeTime: ExchangeTime;
  readonly record: Recorder;
  /** False while the exchange says that the symbol is not traded. */
  readonly isTrading: (symbol: string) => boolean;
  /** Exchange time until which no request may be sent; 0 when there is no hold. */
  readonly heldUntil: () => number;
  /** Told of everything that the stream says, as it comes; must not block or throw. */
  readonly onLive?: (event: LiveEvent) => void;
}

/** Fetches under way at once: candles that are due now, and series that are far behind. */
const LANES = { live: 16, bulk: 4 } as const;
type Lane = keyof typeof LANES;
/** A series further behind than one full answer of REST goes to the slow lanes. */
const BULK_CANDLES = 1_000;
/** A series further behind than so many requests are worth is left to the archive. */
const ARCHIVE_CANDLES = 20_000;
/** Gaps asked for at once, large ones among them, and how often the ledger is looked at. */
const HEAL_LANES = 8;
const LARGE_LANES = 3;
const DUE_GAPS = 256;
const MIN_HEAL_PAUSE_MS = 60_000;
const MAX_HEAL_PAUSE_MS = 60 * 60_000;
const HEAL_INTERVAL_MS = 5_000;
/** What says nothing about the gap that was asked for. */
const AWAY: ReadonlySet<ErrorCode> = new Set([
  "E_SOURCE_UNREACHABLE",
  "E_SOURCE_TIMEOUT",
  "E_SOURCE_SERVER",
]);
/** The newest candles are compared with the calendar so often, and it is looked so often whose whole history is due. */
const AUDIT_MS = 10 * 60_000;
const WHOLE_AUDIT_MS = 60_000;
const CONFIRM_MS = 30_000;
/** Of one series in one turn: years of a file that was imported are not to take months, nor all of a turn. */
const CONFIRM_PAGES = 10;
const CONFIRM_RETRY_MS = 10 * 60_000;
/** The close clock is looked at no more often than this, and no less often than that. */
const MIN_TICK_MS = 50;
const MAX_TICK_MS = 1_000;
/**
 * A look at all series rests for so many times as long as it took: with tens of thousands behind it takes a while. Never
 * past MAX_TICK_MS: what seemed long may have been a process that was stopped.
 */
const TICK_REST = 9;
/** Closes in a row that REST had and the stream did not bring before the stream counts as dead for a series. */
const MISSES_BEFORE_RESUBSCRIBE = 2;
/** A stream that stays silent is subscribed anew again after so long; the pause doubles up to the longer one. */
const SILENCE_RETRY = { baseMs: 2 * 60_000, capMs: 10 * 60_000 };

/**
 * Live ingestion of a set of series: a stream when there is one, the close clock, catching up, healing.
 * One instance is one run; {@link run} goes on until it is aborted and never throws for anything outside this process.
 */
export class Live {
  readonly #options: LiveOptions;
  readonly #closeClock = new CloseClock();
  readonly #intake: Intake;
  readonly #audit: Audit;
  readonly #series: readonly Series[];
  readonly #tick = new Wakeup();
  readonly #misses = new Map<string, number>();
  /** Series that were subscribed anew because the stream was silent, and have had no data or other link since. */
  readonly #silent = new Map<string, { readonly attempts: number; readonly retryTime: number }>();
  readonly #catchingUp = new Set<string>();
  readonly #backfilling = new Set<string>();
  /** What goes wrong, by series; the fault of one request says nothing about the others. */
  readonly #problems = new Map<string, string>();
  /** Why no stream carries a series; and since when (exchange time) one does. */
  readonly #linkProblems = new Map<string, string>();
  readonly #streamedSince = new Map<string, number>();
  /** Newest candle that the stream closed, and newest that it should have and did not; open times. */
  readonly #closedByStream = new Map<string, number>();
  readonly #missedByStream = new Map<string, number>();
  readonly #firstOpenTimes: FirstOpenTimes;
  readonly #notConfirmedBefore = new Map<string, number>();
  /** Gaps being filled, and how often each that keeps failing has failed. */
  readonly #healing = new Map<string, Gap>();
  readonly #healFailures = new Map<string, number>();
  readonly #healEnded = new Wakeup();
  /** True once the exchange did not answer a gap's question: the others wait for the next look. */
  #isExchangeAway = false;
  readonly #failure = Promise.withResolvers<never>();
  readonly #lanes = { live: 0, bulk: 0 };

  constructor(options: LiveOptions) {
    this.#options = options;
    this.#intake = new Intake(options.writer, this.#closeClock);
    this.#firstOpenTimes = new FirstOpenTimes(options.history);
    this.#audit = new Audit({ ...options, exchangeNow: () => this.#now() });
    this.#series = options.watermarks.map(({ series }) => series);
    for (const watermark of options.watermarks) {
      this.#closeClock.track(watermark.series, watermark.next);
      options.writer.track(watermark);
    }
  }

  /** Ingests until `signal` is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    for (const series of this.#series) this.#leaveToArchive(series);
    await Promise.race([this.#failure.promise, this.#all(signal)]);
  }

  async #all(signal: AbortSignal): Promise<void> {
    await Promise.all([
      this.#follow(signal),
      this.#keepTime(signal),
      this.#heal(signal),
      this.#every(AUDIT_MS, signal, () => this.#audit.newest(signal)),
      this.#every(WHOLE_AUDIT_MS, signal, () => this.#audit.whole(signal)),
      this.#every(CONFIRM_MS, signal, () => this.#confirm(signal)),
    ]);
  }

  /** State of a series as this process sees it. @throws {RangeError} for one that is not ingested */
  report(series: Series): SeriesReport {
    const key = seriesKey(series);
    const problem =
      this.#options.writer.problem ?? this.#problems.get(key) ?? this.#linkProblem(key);
    return {
      series,
      mode: this.#options.live === undefined ? "polling" : "websocket",
      isStreamed: this.#closeClock.isStreamed(series),
      isCatchingUp:
        this.#catchingUp.has(key) || this.#backfilling.has(key) || this.#isFarBehind(series),
      ...(problem === undefined ? {} : { problem }),
    };
  }

  /** Why no stream carries a series, and what is done about it as long as that is so. */
  #linkProblem(key: string): string | undefined {
    const reason = this.#linkProblems.get(key);
    if (reason === undefined) return undefined;
    const heldUntil = this.#options.heldUntil();
    if (this.#now() >= heldUntil) return `${reason}; candles come by REST meanwhile`;
    const until = new Date(heldUntil).toISOString();
    return `${reason}; the exchange takes no request until ${until}, what closes meanwhile is fetched then`;
  }

  async #follow(signal: AbortSignal): Promise<void> {
    const { live, record, onLive } = this.#options;
    if (live === undefined) return;
    for await (const events of live.stream(this.#series, signal)) {
      let closedCount = 0;
      let formingCount = 0;
      for (const event of events) {
        onLive?.(event);
        if (event.kind !== "candle") this.#takeLink(event);
        else if (event.isClosed) {
          closedCount += 1;
          this.#closed(event.series, event.candle.openTime);
          this.#intake.take(event.series, event.candle, "stream", event.eventTime);
        } else {
          formingCount += 1;
          if (!this.#closeClock.isStreamed(event.series)) this.#linkUp(event.series);
        }
      }
      record({ kind: "received", closedCount, formingCount });
      if (closedCount > 0) this.#tick.wake();
    }
  }

  #takeLink(event: Exclude<LiveEvent, { kind: "candle" }>): void {
    for (const series of event.series) {
      this.#misses.delete(seriesKey(series));
      this.#silent.delete(seriesKey(series));
      if (event.kind === "connected") this.#linkUp(series);
      else this.#linkDown(series, event.reason);
    }
    this.#tick.wake();
  }

  #linkUp(series: Series): void {
    const key = seriesKey(series);
    this.#closeClock.setStreamed(series, true);
    this.#streamedSince.set(key, this.#now());
    this.#silent.delete(key);
    this.#linkProblems.delete(key);
  }

  #linkDown(series: Series, reason: string): void {
    this.#closeClock.setStreamed(series, false);
    this.#linkProblems.set(seriesKey(series), reason);
  }

  /** Data came, and only that proves a subscription. */
  #closed(series: Series, openTime: number): void {
    const key = seriesKey(series);
    this.#misses.delete(key);
    this.#problems.delete(key);
    this.#closedByStream.set(key, Math.max(openTime, this.#closedByStream.get(key) ?? 0));
    if (!this.#closeClock.isStreamed(series)) this.#linkUp(series);
  }

  /** The close clock's loop: asks REST for what is due. */
  async #keepTime(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    let nextScanMs = Number.NEGATIVE_INFINITY;
    while (!signal.aborted) {
      // A scan looks at every series: many wakes in a row share one.
      const restMs = nextScanMs - clock.monotonic();
      if (restMs > 0) await clock.sleep(restMs, signal).catch(() => undefined);
      const beganMs = clock.monotonic();
      const now = this.#now();
      let waitMs = MAX_TICK_MS;
      if (now < this.#options.heldUntil()) {
        waitMs = Math.min(waitMs, this.#options.heldUntil() - now);
      } else {
        const lanes = new Map<DueFetch, Lane>();
        const due = this.#closeClock.takeDue(now, (fetch) => {
          const lane = this.#isBulk(fetch, now) ? "bulk" : "live";
          if (this.#lanes[lane] >= LANES[lane]) return false;
          this.#lanes[lane] += 1;
          lanes.set(fetch, lane);
          return true;
        });
        for (const fetch of due) void this.#fetch(fetch, lanes.get(fetch) ?? "live", signal);
        const nextDue = this.#closeClock.nextDueTime();
        if (nextDue !== undefined) waitMs = Math.min(waitMs, nextDue - now);
      }
      const endMs = clock.monotonic();
      const restingMs = Math.min(MAX_TICK_MS, TICK_REST * (endMs - beganMs));
      nextScanMs = Math.max(beganMs + MIN_TICK_MS, endMs + restingMs);
      const sleeper = new AbortController();
      const any = AbortSignal.any([signal, sleeper.signal]);
      await Promise.race([
        clock.sleep(Math.max(MIN_TICK_MS, waitMs), any).catch(() => undefined),
        this.#tick.wait(any),
      ]);
      sleeper.abort();
    }
  }

  #isBulk(fetch: DueFetch, now: number): boolean {
    return (now - fetch.from) / nominalMs(fetch.series.timeframe) > BULK_CANDLES;
  }

  #isFarBehind(series: Series): boolean {
    const behindMs = this.#now() - this.#closeClock.nextOf(series);
    return behindMs / nominalMs(series.timeframe) > BULK_CANDLES;
  }

  /**
   * What is very far behind is entered into the ledger and filled from there, by archive where there is one; live candles
   * need not wait for it.
   */
  #leaveToArchive(series: Series): void {
    if (this.#options.archive === undefined) return;
    const next = this.#closeClock.nextOf(series);
    const edge = shiftOpenTime(series.timeframe, this.#now(), -BULK_CANDLES);
    const range = { from: next, to: edge };
    if (countOpenTimes(series.timeframe, range) < ARCHIVE_CANDLES) return;
    if (!this.#options.writer.explain(notFetchedGap(series, range, this.#now()))) return;
    this.#closeClock.explained(series, range);
    this.#backfilling.add(seriesKey(series));
  }

  async #fetch(fetch: DueFetch, lane: Lane, signal: AbortSignal): Promise<void> {
    const { record } = this.#options;
    const { series } = fetch;
    const key = seriesKey(series);
    const isBulk = lane === "bulk";
    if (isBulk && fetch.cause !== "settle") this.#catchingUp.add(key);
    try {
      const { tradedOpenTimes, isDone } = await catchUp(
        {
          ...this.#options,
          closeClock: this.#closeClock,
          intake: this.#intake,
          firstOpenTime: (one, abort) => this.#firstOpenTimes.of(one, abort),
          exchangeNow: () => this.#now(),
        },
        fetch,
        isBulk ? "bulk" : "live",
        signal,
      );
      this.#problems.delete(key);
      this.#closeClock.answered(fetch, isDone ? "done" : "absent", this.#now());
      this.#checkStream(series, tradedOpenTimes);
    } catch (error) {
      this.#closeClock.answered(fetch, "failed", this.#now());
      if (!signal.aborted) {
        this.#problems.set(key, messageOf(error));
        const code = error instanceof BlackTradeError ? error.code : "E_SOURCE_UNREACHABLE";
        record({ kind: "fetchFailed", series, code, reason: messageOf(error) });
      }
    } finally {
      this.#lanes[lane] -= 1;
      if (nextOpenTime(series.timeframe, this.#closeClock.nextOf(series)) > this.#now()) {
        this.#catchingUp.delete(key);
      }
      this.#tick.wake();
    }
  }

  /** Reads again what has settled, a few pages a series and turn, from what live candles leave of the budget. */
  async #confirm(signal: AbortSignal): Promise<void> {
    const { store, heldUntil } = this.#options;
    const { series: facts } = await store.facts();
    for (const { series, wantedFrom, confirmedTo, isConfigured } of facts) {
      const from = confirmedTo ?? wantedFrom;
      if (!isConfigured || from === undefined || this.#now() < heldUntil()) continue;
      if (!isConfirmationDue(series, from, this.#now())) continue;
      signal.throwIfAborted();
      const key = seriesKey(series);
      if (this.#now() < (this.#notConfirmedBefore.get(key) ?? 0)) continue;
      const options = { ...this.#options, intake: this.#intake, exchangeNow: () => this.#now() };
      try {
        let at = from;
        for (let page = 0; page < CONFIRM_PAGES; page += 1) {
          const to = await confirmPage(options, series, at, signal);
          if (to === at) this.#notConfirmedBefore.set(key, this.#now() + CONFIRM_RETRY_MS);
          if (to === undefined || to === at || this.#now() < heldUntil()) break;
          if (!isConfirmationDue(series, to, this.#now())) break;
          at = to;
        }
      } catch (error) {
        // What the exchange refuses for one series must not keep the others waiting.
        if (!(error instanceof BlackTradeError) || error.code.startsWith("E_DB")) throw error;
        this.#notConfirmedBefore.set(key, this.#now() + CONFIRM_RETRY_MS);
        this.#options.record({
          kind: "fetchFailed",
          series,
          code: error.code,
          reason: error.message,
        });
      }
    }
  }

  /** Repeats `act`; what the database or the exchange fails at is tried again in the next turn. */
  async #every(intervalMs: number, signal: AbortSignal, act: () => Promise<void>): Promise<void> {
    const { clock, record } = this.#options;
    while (!signal.aborted) {
      try {
        await clock.sleep(intervalMs, signal);
        await act();
      } catch (error) {
        if (signal.aborted) return;
        if (!(error instanceof BlackTradeError)) throw error;
        record({ kind: "troubled", what: "history", code: error.code, reason: error.message });
      }
    }
  }

  #fillOptions(): FillOptions {
    return {
      ...this.#options,
      intake: this.#intake,
      exchangeNow: () => this.#now(),
      lifetime: async (series, signal) => ({
        firstOpenTime: await this.#firstOpenTimes.of(series, signal),
        isTrading: this.#options.isTrading(series.symbol),
      }),
    };
  }

  /**
   * REST had candles with trades: did the stream bring them? A stream that misses several in a row is silent, or was
   * never subscribed. Silence alone proves nothing, for thin pairs are silent for minutes.
   */
  #checkStream(series: Series, tradedOpenTimes: readonly number[]): void {
    const { live, record } = this.#options;
    const key = seriesKey(series);
    if (live === undefined) return;
    if (!this.#closeClock.isStreamed(series)) {
      if (tradedOpenTimes.length > 0) this.#retrySilent(series);
      return;
    }
    const seen = Math.max(this.#closedByStream.get(key) ?? 0, this.#missedByStream.get(key) ?? 0);
    const since = this.#streamedSince.get(key) ?? 0;
    const missed = tradedOpenTimes.filter((openTime) => {
      const endTime = nextOpenTime(series.timeframe, openTime);
      return openTime > seen && endTime > since && endTime + STREAM_GRACE_MS <= this.#now();
    });
    const newest = missed.at(-1);
    if (newest === undefined) return;
    this.#missedByStream.set(key, newest);
    record({ kind: "missedByStream", series, count: missed.length });
    const misses = (this.#misses.get(key) ?? 0) + missed.length;
    this.#misses.set(key, misses);
    if (misses < MISSES_BEFORE_RESUBSCRIBE) return;
    this.#misses.delete(key);
    this.#linkDown(series, "the WebSocket is silent for this series");
    this.#renew(series, 0);
  }

  /** Subscribed anew and silent still: no event comes of a socket that replaces another, so nobody else would notice. */
  #retrySilent(series: Series): void {
    const silence = this.#silent.get(seriesKey(series));
    if (silence !== undefined && this.#now() >= silence.retryTime) {
      this.#renew(series, silence.attempts);
    }
  }

  #renew(series: Series, attempts: number): void {
    const { baseMs, capMs } = SILENCE_RETRY;
    const retryTime = this.#now() + Math.min(capMs, baseMs * 2 ** attempts);
    this.#silent.set(seriesKey(series), { attempts: attempts + 1, retryTime });
    this.#options.live?.resubscribe([series]);
  }

  /** Asks again for what the ledger says is missing, in its own time; several gaps at once, large ones never all. */
  async #heal(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    while (!signal.aborted) {
      try {
        await clock.sleep(HEAL_INTERVAL_MS, signal);
        await this.#healAll(signal);
      } catch (error) {
        // The database is away: the writer says so; the ledger waits.
        if (!(error instanceof BlackTradeError) && !signal.aborted) throw error;
      }
    }
  }

  /** Begins to fill all that is due. After an outage there are thousands, which follow one another without a pause. */
  async #healAll(signal: AbortSignal): Promise<void> {
    const { gaps } = this.#options;
    const begun = new Set<string>();
    this.#isExchangeAway = false;
    for (let limit = DUE_GAPS; await this.#mayHeal(signal); ) {
      // Behind hundreds of years to load, what an outage left would else not be seen before they are done.
      const below = this.#areLargeOnesFull() ? MIN_ARCHIVE_CANDLES : undefined;
      const due = await gaps.due(this.#series, this.#now(), limit, below);
      const hasAll = due.length < limit;
      if (hasAll && below === undefined) this.#endBackfills(due);
      const begunBefore = begun.size;
      await this.#healDue(due, begun, signal);
      if (hasAll) return;
      // Those that were seen stand in front: being filled, and cut into pieces meanwhile.
      limit = begun.size > begunBefore ? DUE_GAPS : limit * 2;
    }
  }

  /** Waits for a free lane. @returns false when nothing may be asked now */
  async #mayHeal(signal: AbortSignal): Promise<boolean> {
    while (this.#healing.size >= HEAL_LANES && !signal.aborted) await this.#healEnded.wait(signal);
    return !signal.aborted && !this.#isExchangeAway && this.#now() >= this.#options.heldUntil();
  }

  /** @param begun grows by what is begun; what is in it is passed over */
  async #healDue(due: readonly Gap[], begun: Set<string>, signal: AbortSignal): Promise<void> {
    for (const gap of due) {
      if (!(await this.#mayHeal(signal))) return;
      const key = gapKey(gap);
      const isPutBack = isLarge(gap) && this.#areLargeOnesFull();
      if (begun.has(key) || this.#isHealing(gap) || isPutBack) continue;
      begun.add(key);
      this.#healing.set(key, gap);
      void this.#healOne(gap, signal).catch((error) => this.#failure.reject(error));
    }
  }

  /** True when no more large gaps may be begun: the other lanes are for the small. */
  #areLargeOnesFull(): boolean {
    return [...this.#healing.values()].filter(isLarge).length >= LARGE_LANES;
  }

  /** What was left to the archive and is not due any more was filled, or given up, by somebody else. */
  #endBackfills(due: readonly Gap[]): void {
    const left = [...due, ...this.#healing.values()].filter(isNotFetched);
    const keys = new Set(left.map(({ series }) => seriesKey(series)));
    for (const key of this.#backfilling) if (!keys.has(key)) this.#backfilling.delete(key);
  }

  async #healOne(gap: Gap, signal: AbortSignal): Promise<void> {
    const { record, heldUntil } = this.#options;
    const key = gapKey(gap);
    try {
      await fillGap(this.#fillOptions(), gap, "heal", signal);
      this.#healFailures.delete(seriesKey(gap.series));
      if (isNotFetched(gap)) this.#backfilling.delete(seriesKey(gap.series));
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof BlackTradeError)) throw error;
      const { code, message } = error;
      record({ kind: "fetchFailed", series: gap.series, code, reason: message });
      if (AWAY.has(code)) this.#isExchangeAway = true;
      // A hold is everybody's, and a database that is away is the writer's affair; only this gap's own fault counts.
      if (code.startsWith("E_SOURCE") && this.#now() >= heldUntil()) await this.#putOff(gap);
    } finally {
      this.#healing.delete(key);
      this.#healEnded.wake();
    }
  }

  /** True for an entry that is what is left of one being filled. */
  #isHealing({ series, range }: Gap): boolean {
    return [...this.#healing.values()].some(
      (active) =>
        seriesKey(active.series) === seriesKey(series) &&
        intersectRanges(active.range, range) !== undefined,
    );
  }

  /** A gap that keeps failing is asked for ever more rarely, so that it does not stand in the way of the others. */
  async #putOff({ series, range }: Gap): Promise<void> {
    const { gaps, store } = this.#options;
    const failures = (this.#healFailures.get(seriesKey(series)) ?? 0) + 1;
    this.#healFailures.set(seriesKey(series), failures);
    const pauseMs = Math.min(
      MAX_HEAL_PAUSE_MS,
      MIN_HEAL_PAUSE_MS * 2 ** Math.min(failures - 1, 10),
    );
    const nextTryTime = this.#now() + pauseMs;
    try {
      for (const entry of await store.gaps(series)) {
        const isPart = intersectRanges(entry.range, range) !== undefined;
        if (isPart && entry.nextTryTime < nextTryTime) {
          await gaps.replace(entry, [{ ...entry, nextTryTime }]);
        }
      }
    } catch (error) {
      // The database is away: the entry comes again at once, and fails again at the database.
      if (!(error instanceof BlackTradeError)) throw error;
    }
  }

  #now(): number {
    return this.#options.exchangeTime.now(this.#options.clock.monotonic());
  }
}

function isNotFetched({ reason }: Gap): boolean {
  return reason === "not-fetched";
}

function gapKey({ series, range }: Gap): string {
  return `${seriesKey(series)}@${range.from}`;
}

function isLarge({ series, range }: Gap): boolean {
  return countOpenTimes(series.timeframe, range) >= MIN_ARCHIVE_CANDLES;
}
