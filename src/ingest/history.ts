import { backoffDelay } from "../core/backoff.ts";
import type { WeightBudget } from "../core/budget.ts";
import { BlackTradeError, messageOf } from "../core/errors.ts";
import type { Recorder } from "../core/events.ts";
import type { ExchangeTime } from "../core/exchange-time.ts";
import { SETTLE_MS } from "../core/finality.ts";
import { type ExchangeFinding, type Finding, rangesToRepair } from "../core/findings.ts";
import type { Gap } from "../core/gaps.ts";
import type {
  ArchiveContent,
  ArchiveSource,
  CandleStore,
  Clock,
  GapStore,
  HistorySource,
  PlannedFile,
} from "../core/ports.ts";
import { intersectRanges, type TimeRange } from "../core/range.ts";
import type { Series } from "../core/series.ts";
import { countOpenTimes, openTimeAt } from "../core/timeframe.ts";
import { detectGaps } from "./detect.ts";
import { type FillOptions, fillGap, MIN_ARCHIVE_CANDLES, MIN_FILE_CANDLES } from "./fill.ts";
import { FirstOpenTimes } from "./first-open-times.ts";
import type { Lifetime } from "./heal.ts";
import { Intake } from "./intake.ts";
import { withNearbyPages } from "./nearby.ts";
import { Stopwatch, timedHistory, timedWriter } from "./stopwatch.ts";
import {
  compareWithExchange,
  type OnVerified,
  type Reread,
  rereadAll,
  type VerifyStore,
} from "./verify.ts";
import { Writer } from "./writer.ts";

/** What loading history needs. */
export interface HistoryOptions {
  readonly history: HistorySource;
  readonly archive: ArchiveSource;
  readonly store: CandleStore & GapStore & VerifyStore;
  readonly clock: Clock;
  readonly exchangeTime: ExchangeTime;
  readonly budget: WeightBudget;
  readonly random: () => number;
  readonly record: Recorder;
  readonly isTrading: (symbol: string) => boolean;
  readonly onProgress?: (progress: HistoryProgress) => void;
}

/** A stretch of a series that ought to be whole. */
export interface Wanted {
  readonly series: Series;
  readonly range: TimeRange;
}

/** What there is to do, before anything is done. */
export interface HistoryPlan {
  readonly entries: readonly Gap[];
  readonly candleCount: number;
  readonly monthlyFileCount: number;
  readonly dailyFileCount: number;
  readonly requestCount: number;
  readonly weight: number;
}

/** How far it is. */
export interface HistoryProgress {
  readonly doneCandles: number;
  readonly totalCandles: number;
  readonly storedCount: number;
  readonly elapsedMs: number;
}

/** What became of one gap. */
export interface GapOutcome {
  readonly gap: Gap;
  /** Candles of it that are stored now. */
  readonly filledCount: number;
  /** What is left, with its reason. */
  readonly left: readonly Gap[];
  /** Why it could not be asked for, one line. */
  readonly problem?: string;
}

/** What a pass did. */
export interface HistorySummary {
  readonly outcomes: readonly GapOutcome[];
  readonly storedCount: number;
  readonly files: Readonly<Record<"ok" | "mismatch" | "no-checksum" | "not-published", number>>;
  readonly rejectedRows: number;
  readonly elapsedMs: number;
  /** Where the time of the lanes went; they overlap, so it adds up to more than the elapsed time. */
  readonly phases: Phases;
  /** Time in which a batch was being written, ms. */
  readonly writingMs: number;
}

/** Time of lanes by what they were at or waited for, ms. */
export interface Phases {
  readonly databaseMs: number;
  readonly networkMs: number;
  /** All else: unpacking, parsing, checking, and waiting for another lane to do so. */
  readonly parsingMs: number;
}

/** Candles in one answer of REST, and its weight (binance.md §2.1). */
const PAGE_CANDLES = 1_000;
const PAGE_WEIGHT = 2;
/** Gaps under way at once: enough to overlap network, parsing and database, few enough to bound memory. */
const LANES = 4;

/** The newest instant up to which candles are due and settled: what is younger belongs to live ingestion. */
export function dueEnd(series: Series, exchangeNow: number): number {
  return openTimeAt(series.timeframe, exchangeNow - SETTLE_MS);
}

/**
 * Makes history whole: finds by the calendar what is missing, enters it into the ledger, and fills the ledger from archive
 * and REST. The ledger is the only memory: a pass that was killed is continued by the next, and asks for nothing stored.
 */
export class History {
  readonly #options: HistoryOptions;
  readonly #writer: Writer;
  readonly #intake: Intake;
  readonly #nearby: HistorySource;
  readonly #firstOpenTimes: FirstOpenTimes;
  readonly #files = { ok: 0, mismatch: 0, "no-checksum": 0, "not-published": 0 };
  readonly #outcomes = { stored: 0, revised: 0, identical: 0, superseded: 0, quarantined: 0 };
  #rejectedRows = 0;
  #writingMs = 0;
  readonly #lanes = new Stopwatch<"lane" | "network" | "database">();

  constructor(options: HistoryOptions) {
    this.#options = options;
    const { store, clock, random } = options;
    this.#writer = new Writer({
      store,
      clock,
      random,
      record: (event) => {
        if (event.kind === "batchWritten") {
          this.#writingMs += event.tookMs;
          for (const { outcome } of event.candles) this.#outcomes[outcome] += 1;
        }
        options.record(event);
      },
      exchangeNow: () => this.#now(),
      capacity: WRITER_CAPACITY,
    });
    this.#intake = new Intake(this.#writer);
    this.#firstOpenTimes = new FirstOpenTimes(options.history);
    this.#nearby = withNearbyPages(options.history);
  }

  /** Open time of the first candle that the exchange has; asked for once a series. */
  firstOpenTime(series: Series, signal: AbortSignal): Promise<number | undefined> {
    return this.#firstOpenTimes.of(series, signal);
  }

  /**
   * What is missing of the wanted stretches and may be asked for now: entries of the ledger, and what it does not know of.
   * @param isEntering enters the unknown into the ledger, so that it survives this process
   */
  async findGaps(wanted: readonly Wanted[], isEntering: boolean): Promise<Gap[]> {
    const { store } = this.#options;
    const now = this.#now();
    const found: Gap[] = [];
    for (const { series, range } of wanted) {
      const end = Math.min(range.to, dueEnd(series, now));
      const due = { from: range.from, to: end };
      const { unknown, ledger } = await detectGaps(store, series, due, now);
      if (isEntering && unknown.length > 0) await store.open(unknown);
      found.push(...unknown);
      for (const gap of ledger) {
        const isDue = gap.nextTryTime <= now;
        if (isDue && intersectRanges(gap.range, due) !== undefined) found.push(gap);
      }
    }
    return found.sort((a, b) => a.range.from - b.range.from);
  }

  /** Open entries of the ledger in the wanted stretches whose next try has not come. */
  async waitingGaps(wanted: readonly Wanted[]): Promise<Gap[]> {
    const now = this.#now();
    const found: Gap[] = [];
    for (const { series, range } of wanted) {
      for (const gap of await this.#options.store.gaps(series)) {
        const isWaiting = gap.state === "open" && gap.nextTryTime > now;
        if (isWaiting && intersectRanges(gap.range, range) !== undefined) found.push(gap);
      }
    }
    return found;
  }

  /** What is missing of the wanted stretches now, whether its next try has come or not, and may still be had. */
  async openGaps(wanted: readonly Wanted[]): Promise<Gap[]> {
    const all = [...(await this.findGaps(wanted, false)), ...(await this.waitingGaps(wanted))];
    return all.filter(({ state }) => state === "open");
  }

  /** What filling would take. */
  plan(entries: readonly Gap[]): HistoryPlan {
    let candleCount = 0;
    let requestCount = 0;
    const files: PlannedFile[] = [];
    for (const { series, range } of entries) {
      const candles = countOpenTimes(series.timeframe, range);
      candleCount += candles;
      const plan =
        candles >= MIN_ARCHIVE_CANDLES
          ? this.#options.archive.plan(series, range, this.#now(), {
              minCandleCount: MIN_FILE_CANDLES,
            })
          : { files: [], rest: [range] };
      files.push(...plan.files);
      for (const rest of plan.rest) {
        requestCount += Math.ceil(countOpenTimes(series.timeframe, rest) / PAGE_CANDLES);
      }
    }
    const monthlyFileCount = files.filter(({ kind }) => kind === "archive-monthly").length;
    return {
      entries,
      candleCount,
      monthlyFileCount,
      dailyFileCount: files.length - monthlyFileCount,
      requestCount,
      weight: requestCount * PAGE_WEIGHT,
    };
  }

  /**
   * Fills ledger entries, several at once. A fault of the exchange ends one entry and not the others.
   * @throws {BlackTradeError} E_DB_* when the ledger cannot be kept; the signal's reason on abort
   */
  async fill(entries: readonly Gap[], signal: AbortSignal): Promise<HistorySummary> {
    const { clock, onProgress } = this.#options;
    const began = clock.monotonic();
    const totalCandles = entries.reduce(
      (sum, { series, range }) => sum + countOpenTimes(series.timeframe, range),
      0,
    );
    const outcomes: GapOutcome[] = [];
    let doneCandles = 0;
    const queue = [...entries];
    await this.#writing(signal, async (all) => {
      const ended = new AbortController();
      const lane = async (): Promise<void> => {
        for (let gap = queue.shift(); gap !== undefined; gap = queue.shift()) {
          outcomes.push(await this.#lanes.time("lane", clock, this.#fillOne(gap, all)));
          doneCandles += countOpenTimes(gap.series.timeframe, gap.range);
        }
      };
      const ticker = this.#every(PROGRESS_MS, ended.signal, () =>
        onProgress?.({
          doneCandles,
          totalCandles,
          storedCount: this.#writer.storedCount,
          elapsedMs: clock.monotonic() - began,
        }),
      );
      try {
        await Promise.all(Array.from({ length: LANES }, lane));
      } finally {
        ended.abort();
        await ticker;
      }
    });
    return {
      outcomes,
      storedCount: this.#writer.storedCount,
      files: { ...this.#files },
      rejectedRows: this.#rejectedRows,
      elapsedMs: clock.monotonic() - began,
      phases: this.#phases(),
      writingMs: this.#writingMs,
    };
  }

  /** Compares stretches of a series with what REST serves now; see {@link compareWithExchange}. */
  compare(
    series: Series,
    ranges: readonly TimeRange[],
    signal: AbortSignal,
    onProgress: OnVerified = () => undefined,
  ): Promise<ExchangeFinding[]> {
    const { history, store } = this.#options;
    return compareWithExchange({ history, store, onProgress }, series, ranges, signal);
  }

  /**
   * Fills what is missing of the wanted stretches and reads again what findings point at.
   * @param reread stretches that are read again whatever was found in them
   * @param onProgress told of reading again; filling tells by the options
   * @returns candles that were read again, and what became of them
   */
  async repair(
    wanted: readonly Wanted[],
    findings: readonly Finding[],
    reread: readonly Reread[],
    signal: AbortSignal,
    onProgress: OnVerified = () => undefined,
  ): Promise<{ askedCount: number; revisedCount: number; storedCount: number }> {
    const before = { ...this.#outcomes };
    await this.fill(await this.findGaps(wanted, true), signal);
    const suspects = rangesToRepair(findings.filter(({ check }) => check !== "gaps"));
    const askedCount = await this.#writing(signal, (all) =>
      rereadAll(
        {
          store: this.#options.store,
          history: this.#options.history,
          intake: this.#intake,
          writer: this.#writer,
          onProgress,
        },
        reread.length > 0 ? reread : suspects,
        all,
      ),
    );
    return {
      askedCount,
      revisedCount: this.#outcomes.revised - before.revised,
      storedCount: this.#outcomes.stored - before.stored,
    };
  }

  /** Runs the writer beside `work`, and writes what is left when it ends. */
  async #writing<T>(signal: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { clock } = this.#options;
    const stop = new AbortController();
    const writing = this.#writer.run(stop.signal);
    try {
      return await work(AbortSignal.any([signal, stop.signal]));
    } finally {
      stop.abort();
      await writing;
      const deadline = new AbortController();
      const timer = setDeadline(clock, DRAIN_MS, deadline);
      await this.#writer.drain(deadline.signal);
      timer.abort();
    }
  }

  /** Fills one entry; what the exchange fails at is tried again a few times from where the ledger says it stopped. */
  async #fillOne(gap: Gap, signal: AbortSignal): Promise<GapOutcome> {
    const { clock, random, record } = this.#options;
    const { timeframe } = gap.series;
    const left: Gap[] = [];
    let pending: readonly Gap[] = [gap];
    let problem: string | undefined;
    for (let attempt = 0; pending.length > 0; ) {
      const [entry = gap, ...others] = pending;
      try {
        left.push(...(await fillGap(this.#fillOptions(), entry, "bulk", signal)));
        pending = others;
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof BlackTradeError) || error.code.startsWith("E_DB")) throw error;
        record({
          kind: "fetchFailed",
          series: gap.series,
          code: error.code,
          reason: error.message,
        });
        pending = [...(await this.#entriesIn(entry)), ...others];
        attempt += 1;
        if (attempt === MAX_ATTEMPTS || !error.retryable) {
          problem = messageOf(error);
          break;
        }
        await clock.sleep(RETRY.baseMs + backoffDelay(RETRY, attempt, random()), signal);
      }
    }
    const open = [...left, ...pending];
    const openCount = open.reduce((sum, { range }) => sum + countOpenTimes(timeframe, range), 0);
    const filledCount = countOpenTimes(timeframe, gap.range) - openCount;
    return { gap, left: open, filledCount, ...(problem === undefined ? {} : { problem }) };
  }

  /** What the ledger still holds of an entry and lets be asked for. */
  async #entriesIn({ series, range }: Gap): Promise<Gap[]> {
    const entries = await this.#options.store.gaps(series);
    return entries.filter(
      (entry) =>
        intersectRanges(entry.range, range) !== undefined && entry.nextTryTime <= this.#now(),
    );
  }

  #fillOptions(): FillOptions {
    const { archive, store, record, clock } = this.#options;
    const network = <T>(work: Promise<T>): Promise<T> => this.#lanes.time("network", clock, work);
    const database = <T>(work: Promise<T>): Promise<T> => this.#lanes.time("database", clock, work);
    return {
      history: timedHistory(this.#nearby, network),
      archive: {
        plan: archive.plan.bind(archive),
        open: (file, signal) => network(archive.open(file, signal)),
      },
      gaps: {
        open: (gaps) => database(store.open(gaps)),
        due: (series, now, limit, below) => database(store.due(series, now, limit, below)),
        replace: (gap, left) => database(store.replace(gap, left)),
      },
      intake: this.#intake,
      writer: timedWriter(this.#writer, database),
      record,
      exchangeNow: () => this.#now(),
      lifetime: (series, abort) => network(this.#lifetime(series, abort)),
      onFile: (_file, content) => this.#countFile(content),
    };
  }

  async #lifetime(series: Series, signal: AbortSignal): Promise<Lifetime> {
    return {
      firstOpenTime: await this.firstOpenTime(series, signal),
      isTrading: this.#options.isTrading(series.symbol),
    };
  }

  #phases(): Phases {
    const { lane, network, database } = this.#lanes.spent();
    const [laneMs = 0, networkMs = 0, databaseMs = 0] = [lane, network, database];
    return { databaseMs, networkMs, parsingMs: Math.max(0, laneMs - networkMs - databaseMs) };
  }

  #countFile(content: ArchiveContent | undefined): void {
    this.#files[content?.check ?? "not-published"] += 1;
    this.#rejectedRows += content?.report().rejectedCount ?? 0;
  }

  async #every(intervalMs: number, signal: AbortSignal, act: () => void): Promise<void> {
    try {
      for (;;) {
        await this.#options.clock.sleep(intervalMs, signal);
        act();
      }
    } catch {
      act();
    }
  }

  #now(): number {
    return this.#options.exchangeTime.now(this.#options.clock.monotonic());
  }
}

/** What a lane reads ahead of the database: four files' pages. */
const WRITER_CAPACITY = 40_000;
const PROGRESS_MS = 500;
const MAX_ATTEMPTS = 5;
const RETRY = { baseMs: 1_000, capMs: 30_000 };
const DRAIN_MS = 30_000;

function setDeadline(clock: Clock, ms: number, deadline: AbortController): AbortController {
  const timer = new AbortController();
  clock.sleep(ms, timer.signal).then(
    () => deadline.abort(),
    () => undefined,
  );
  return timer;
}
