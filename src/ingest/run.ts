import { backoffDelay } from "../core/backoff.ts";
import type { WeightBudget } from "../core/budget.ts";
import { BlackTradeError, messageOf } from "../core/errors.ts";
import type { Recorder } from "../core/events.ts";
import type { ExchangeTime } from "../core/exchange-time.ts";
import type {
  ArchiveSource,
  BanStore,
  CandleStore,
  Clock,
  ConfirmStore,
  CoverageStore,
  GapStore,
  HistorySource,
  LiveEvent,
  LiveSource,
  Market,
  MarketSource,
  MarketStore,
  RunStore,
  SeriesReport,
  StatusStore,
} from "../core/ports.ts";
import { type Series, seriesKey } from "../core/series.ts";
import {
  HEARTBEAT_MS,
  type RunFacts,
  type SeriesFacts,
  type SeriesStatus,
  type StatusWord,
  seriesStatus,
} from "../core/status.ts";
import { openTimeAt, type Timeframe } from "../core/timeframe.ts";
import { Live } from "./live.ts";
import { Writer } from "./writer.ts";

/** Everything that a run of ingestion meets. */
export interface IngestOptions {
  readonly exchange: string;
  readonly series: readonly Series[];
  readonly mode: "websocket" | "polling";
  readonly host: string;
  readonly pid: number;
  /** History wanted of a series that is new, ms back from now. */
  readonly historyMs: (timeframe: Timeframe) => number;
  readonly live: LiveSource;
  readonly source: HistorySource & MarketSource;
  /** Bulk history, for gaps that are large. */
  readonly archive?: ArchiveSource;
  readonly store: CandleStore &
    GapStore &
    BanStore &
    RunStore &
    StatusStore &
    ConfirmStore &
    CoverageStore &
    MarketStore;
  /** Throws E_SOURCE_SYMBOL when a configured symbol is not listed. */
  readonly checkSymbols: (markets: readonly Market[]) => void;
  readonly clock: Clock;
  readonly exchangeTime: ExchangeTime;
  readonly budget: WeightBudget;
  readonly random: () => number;
  readonly record: Recorder;
  /** Candles that may wait for the database; beyond it they are shed into the gap ledger. */
  readonly capacity?: number;
  /** Told of everything that the stream says, as it comes; must not block or throw. */
  readonly onLive?: (event: LiveEvent) => void;
}

/** What a run did. */
export interface IngestSummary {
  /** Rows that were new or replaced another. */
  readonly storedCount: number;
  /** Closed candles that the database did not take before the stop; the next start fetches them again. */
  readonly pendingCount: number;
}

const TIME_SYNC_MS = 60_000;
const MARKETS_REFRESH_MS = 10 * 60_000;
/** How long a stop may spend on writing what waits. */
const DRAIN_MS = 10_000;
/** A hold may become shorter in the eyes of a better clock: it is looked at again. */
const MAX_HOLD_SLEEP_MS = 60_000;
const START_RETRY = { baseMs: 1_000, capMs: 30_000 };
/** Series that are looked at before candles get their turn. */
const TURN_SERIES = 1_000;
const NEVER = new AbortController().signal;

/**
 * Ingests until `signal` is aborted: takes the database, waits for the exchange, follows and heals, and stops cleanly.
 * An exchange that cannot be reached is waited for; an unknown symbol, or another ingester, is not.
 * @throws {BlackTradeError} E_DB_BUSY, E_SOURCE_SYMBOL, or the database's refusal at the start
 */
export async function ingest(options: IngestOptions, signal: AbortSignal): Promise<IngestSummary> {
  const { store, record, series, mode, host, pid } = options;
  await store.begin({ mode, host, pid }, series);
  record({ kind: "started", mode, seriesCount: series.length });
  try {
    await obeyStoredBan(options);
    return await new Run(options).run(signal);
  } finally {
    // A database that is gone cannot be told; what ended the run must not be hidden by that.
    await store.end().catch((error: unknown) => {
      record({ kind: "troubled", what: "stop", code: "E_DB_FAILED", reason: messageOf(error) });
    });
  }
}

/** A ban outlives the process that earned it: the exchange does not know about restarts. */
export async function obeyStoredBan(
  options: Pick<IngestOptions, "exchange" | "exchangeTime" | "budget" | "clock" | "record"> & {
    readonly store: BanStore;
  },
): Promise<void> {
  const { store, exchange, exchangeTime, budget, clock, record } = options;
  const ban = await store.load(exchange);
  if (ban === undefined) return;
  // The database's clock stands in for the exchange's, which must not be asked now.
  exchangeTime.seed(ban.untilTime - ban.remainingMs, clock.monotonic());
  budget.hold(ban.untilTime);
  record({
    kind: "held",
    httpStatus: ban.httpStatus,
    untilTime: ban.untilTime,
    reason: "hold of an earlier run",
  });
}

class Run {
  readonly #options: IngestOptions;
  readonly #writer: Writer;
  #live: Live | undefined;
  #problem: string | undefined;
  #halted = new Map<string, string>();
  readonly #reported = new Map<string, SeriesReport>();
  readonly #told = new Map<string, StatusWord>();

  constructor(options: IngestOptions) {
    this.#options = options;
    const { store, clock, random, record } = options;
    this.#writer = new Writer({
      store,
      clock,
      random,
      record,
      exchangeNow: () => this.#now() ?? 0,
      ...(options.capacity === undefined ? {} : { capacity: options.capacity }),
    });
  }

  async run(signal: AbortSignal): Promise<IngestSummary> {
    const stop = new AbortController();
    const all = AbortSignal.any([signal, stop.signal]);
    const parts = [
      this.#ingest(all),
      this.#writer.run(all),
      this.#every("clocks", HEARTBEAT_MS / 4, all, () => this.#watchClocks(all)),
      // Told by the clock: a writer whose database hangs tells nothing.
      this.#every("queue", HEARTBEAT_MS / 4, all, async () => {
        this.#options.record({ kind: "queueSize", size: this.#writer.size });
      }),
      this.#every("status report", HEARTBEAT_MS / 2, all, async () => {
        await this.#shareBan();
        await this.#report();
      }),
    ];
    try {
      await Promise.all(parts);
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      stop.abort();
      await Promise.allSettled(parts);
    }
    const pendingCount = await this.#drain();
    const summary = { storedCount: this.#writer.storedCount, pendingCount };
    this.#options.record({ kind: "stopped", ...summary });
    return summary;
  }

  async #ingest(signal: AbortSignal): Promise<void> {
    const { store, series, historyMs, source, mode, record } = this.#options;
    const markets = await this.#reachExchange(signal);
    if (markets === undefined) return;
    if ((await this.#insist(signal, async () => this.#takeMarkets(markets))) === undefined) return;
    const now = this.#now() ?? 0;
    const wanted = series.map((one) => ({
      series: one,
      wantedFrom: openTimeAt(one.timeframe, now - historyMs(one.timeframe)),
    }));
    const watermarks = await this.#insist(signal, () => store.want(wanted, now));
    if (watermarks === undefined) return;
    const { live, ...rest } = this.#options;
    this.#live = new Live({
      ...rest,
      ...(mode === "websocket" ? { live } : {}),
      watermarks,
      history: source,
      gaps: store,
      writer: this.#writer,
      isTrading: (symbol) => !this.#halted.has(symbol),
      heldUntil: () => this.#options.budget.heldUntil,
    });
    await Promise.all([
      this.#live.run(signal),
      this.#every("exchange time", TIME_SYNC_MS, signal, () => this.#syncTime(signal)),
      this.#every("symbol list", MARKETS_REFRESH_MS, signal, async () => {
        await this.#takeMarkets(await source.markets(signal));
      }),
    ]);
    record({ kind: "queueSize", size: this.#writer.size });
  }

  /** Tries until the exchange has said its time and its symbols. @returns undefined when aborted first */
  async #reachExchange(signal: AbortSignal): Promise<readonly Market[] | undefined> {
    const { source, clock, random, record, checkSymbols, budget, exchange } = this.#options;
    for (let attempt = 0; !signal.aborted; attempt += 1) {
      try {
        // Before the exchange has said its time, holds are kept by this machine's clock.
        for (;;) {
          const heldMs = budget.heldUntil - (this.#now() ?? clock.now());
          if (heldMs <= 0) break;
          await clock.sleep(Math.min(heldMs, MAX_HOLD_SLEEP_MS), signal);
        }
        await this.#syncTime(signal);
        const markets = await source.markets(signal);
        checkSymbols(markets);
        this.#problem = undefined;
        return markets;
      } catch (error) {
        if (signal.aborted) return undefined;
        if (!(error instanceof BlackTradeError) || error.code === "E_SOURCE_SYMBOL") throw error;
        this.#problem = messageOf(error);
        const { code, message } = error;
        record({ kind: "troubled", what: `start, ${exchange}`, code, reason: message });
        const retryMs = START_RETRY.baseMs + backoffDelay(START_RETRY, attempt, random());
        await clock.sleep(retryMs, signal).catch(() => undefined);
      }
    }
    return undefined;
  }

  /** Repeats what the database fails at for a while. @returns undefined when aborted first */
  async #insist<T>(signal: AbortSignal, act: () => Promise<T>): Promise<T | undefined> {
    const { clock, random, record } = this.#options;
    for (let attempt = 0; !signal.aborted; attempt += 1) {
      try {
        return await act();
      } catch (error) {
        if (!(error instanceof BlackTradeError) || !error.retryable) throw error;
        const { code, message } = error;
        record({ kind: "troubled", what: "start, database", code, reason: message });
        const retryMs = START_RETRY.baseMs + backoffDelay(START_RETRY, attempt, random());
        await clock.sleep(retryMs, signal).catch(() => undefined);
      }
    }
    return undefined;
  }

  async #syncTime(signal: AbortSignal): Promise<void> {
    const { source, exchangeTime, clock, record } = this.#options;
    await source.syncTime(signal);
    record({
      kind: "clockSynced",
      offsetMs: exchangeTime.now(clock.monotonic()) - clock.now(),
      errorMs: exchangeTime.errorMs,
    });
  }

  /** Learns which symbols are halted, and keeps what the exchange says of each. */
  async #takeMarkets(markets: readonly Market[]): Promise<readonly Market[]> {
    const { series, store, exchange } = this.#options;
    const wanted = new Set(series.map(({ symbol }) => symbol));
    const listed = new Map(markets.map((market) => [market.symbol, market]));
    this.#halted = new Map(
      [...wanted].flatMap((symbol): [string, string][] => {
        const market = listed.get(symbol);
        if (market === undefined) return [[symbol, "not listed any more"]];
        return market.isTrading ? [] : [[symbol, market.status]];
      }),
    );
    const collected = [...wanted].flatMap((symbol) => listed.get(symbol) ?? []);
    await store.saveMarkets(exchange, collected);
    return collected;
  }

  /** A machine that slept does not know how long: the exchange is asked, and until then its time counts as unknown. */
  async #watchClocks(signal: AbortSignal): Promise<void> {
    const { budget, clock, exchangeTime } = this.#options;
    exchangeTime.compareClocks(clock.now(), clock.monotonic());
    const now = this.#now();
    if (exchangeTime.isDoubtful && now !== undefined && now >= budget.heldUntil) {
      await this.#syncTime(signal);
    }
  }

  /**
   * Another process on this address may have met a ban: it holds for all. One that was met here while the database was
   * away is kept now, for a restart has to obey it, too.
   */
  async #shareBan(): Promise<void> {
    const { store, exchange, budget, exchangeTime, clock } = this.#options;
    const ban = await store.load(exchange);
    if (ban !== undefined) budget.hold(ban.untilTime);
    // How long it still lasts is known only with the exchange's time.
    if (!exchangeTime.isKnown) return;
    const untilTime = budget.heldUntil;
    const remainingMs = untilTime - exchangeTime.now(clock.monotonic());
    if (remainingMs <= 0 || (ban?.untilTime ?? 0) >= untilTime) return;
    await store.save({ exchange, untilTime, httpStatus: ban?.httpStatus ?? 429 }, remainingMs);
  }

  /** Writes what changed, gives a sign of life, and tells what became of the statuses. */
  async #report(): Promise<void> {
    const { store, series, clock, exchangeTime } = this.#options;
    const changed: SeriesReport[] = [];
    await this.#inTurns(series, (one) => {
      const report = this.#reportOf(one);
      const last = this.#reported.get(seriesKey(one));
      if (last === undefined || !isSameReport(last, report)) changed.push(report);
    });
    // This may be the first thing to run after a sleep.
    exchangeTime.compareClocks(clock.now(), clock.monotonic());
    // A time that this machine slept through must not be told: readers reckon with it.
    try {
      await store.report(changed, exchangeTime.hasSlept ? undefined : this.#now());
    } catch (error) {
      // It may have been committed all the same: what stands there is not known any more.
      for (const report of changed) this.#reported.delete(seriesKey(report.series));
      throw error;
    }
    for (const report of changed) this.#reported.set(seriesKey(report.series), report);
    const { run, series: facts } = await store.facts();
    await this.#tell(facts, run);
  }

  #reportOf(series: Series): SeriesReport {
    const problem = this.#problem === undefined ? {} : { problem: this.#problem };
    const { mode } = this.#options;
    const report = this.#live?.report(series) ?? {
      ...{ series, mode, isStreamed: false, isCatchingUp: false },
      ...problem,
    };
    const haltedStatus = this.#halted.get(series.symbol);
    return haltedStatus === undefined ? report : { ...report, haltedStatus };
  }

  /** Tells of each status that is another than at the last look. */
  async #tell(all: readonly SeriesFacts[], run: RunFacts | undefined): Promise<void> {
    const changes: { series: Series; from: StatusWord | undefined; to: SeriesStatus }[] = [];
    let seriesCount = 0;
    let activeCount = 0;
    await this.#inTurns(all, (facts) => {
      if (!facts.isConfigured) return;
      const { series } = facts;
      const to = seriesStatus(facts, run);
      seriesCount += 1;
      if (to.word === "active") activeCount += 1;
      const from = this.#told.get(seriesKey(series));
      if (from !== to.word) changes.push({ series, from, to });
    });
    for (const { series, from, to } of changes) {
      const { word, reason } = to;
      this.#told.set(seriesKey(series), word);
      const kind = "statusChanged";
      this.#options.record({ kind, series, from, to: word, reason, activeCount, seriesCount });
    }
  }

  /** Does something with each, in turns between which candles go on: there may be tens of thousands. */
  async #inTurns<T>(all: readonly T[], act: (one: T) => void): Promise<void> {
    for (let from = 0; from < all.length; from += TURN_SERIES) {
      if (from > 0) await this.#options.clock.sleep(0, NEVER);
      for (const one of all.slice(from, from + TURN_SERIES)) act(one);
    }
  }

  /** Repeats `act`; its failures are the affair of whoever shows status, and the next turn tries again. */
  async #every(
    what: string,
    intervalMs: number,
    signal: AbortSignal,
    act: () => Promise<void>,
  ): Promise<void> {
    const { clock, record } = this.#options;
    while (!signal.aborted) {
      try {
        await clock.sleep(intervalMs, signal);
        await act();
      } catch (error) {
        if (signal.aborted) return;
        // Another ingester has taken the database over: two must not go on.
        if (!(error instanceof BlackTradeError) || error.code === "E_DB_BUSY") throw error;
        record({ kind: "troubled", what, code: error.code, reason: error.message });
      }
    }
  }

  async #drain(): Promise<number> {
    const { clock } = this.#options;
    const deadline = new AbortController();
    const timer = new AbortController();
    void clock.sleep(DRAIN_MS, timer.signal).then(
      () => deadline.abort(),
      () => undefined,
    );
    const pendingCount = await this.#writer.drain(deadline.signal);
    timer.abort();
    await this.#report().catch(() => undefined);
    return pendingCount;
  }

  #now(): number | undefined {
    const { exchangeTime, clock } = this.#options;
    return exchangeTime.isKnown ? exchangeTime.now(clock.monotonic()) : undefined;
  }
}

/** True when two reports of one series say the same; all of them are compared at every sign of life. */
function isSameReport(a: SeriesReport, b: SeriesReport): boolean {
  return (
    a.mode === b.mode &&
    a.isStreamed === b.isStreamed &&
    a.isCatchingUp === b.isCatchingUp &&
    a.problem === b.problem &&
    a.haltedStatus === b.haltedStatus
  );
}
