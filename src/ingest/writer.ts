import { type BackoffPolicy, backoffDelay } from "../core/backoff.ts";
import { Contiguity } from "../core/close-clock.ts";
import { BlackTradeError, messageOf } from "../core/errors.ts";
import type { Recorder, WrittenCandle } from "../core/events.ts";
import type { VersionedCandle } from "../core/finality.ts";
import { type Gap, rejectedGap, shedGap } from "../core/gaps.ts";
import type { CandleStore, Clock, GapStore, Watermark } from "../core/ports.ts";
import type { TimeRange } from "../core/range.ts";
import { type Series, seriesKey } from "../core/series.ts";
import { cellOf } from "../core/timeframe.ts";
import type { Rejection } from "../core/validate.ts";
import { type LaneCounts, Queue } from "./queue.ts";
import { Wakeup } from "./wakeup.ts";

/** What a writer needs. */
export interface WriterOptions {
  readonly store: CandleStore & GapStore;
  readonly clock: Clock;
  readonly random: () => number;
  readonly record: Recorder;
  /** Exchange time, epoch ms: what the latency of a commit is measured with. */
  readonly exchangeNow: () => number;
  /** Candles that may wait; beyond it new ones are shed. */
  readonly capacity?: number;
}

/** About 60 MB of waiting candles: every close of 24,000 streams four times over. */
const DEFAULT_CAPACITY = 100_000;
/** Rows of one transaction: large enough to be fast, small enough that a retry is cheap. */
const MAX_BATCH = 5_000;
/** Candles that wait while history is let in: two batches keep the database busy, more would only lie in memory. */
const HISTORY_ROOM = 2 * MAX_BATCH;
const RETRY: BackoffPolicy = { baseMs: 250, capMs: 10_000 };
/** Bound of refusals and ledger entries that wait for the database. */
const MAX_NOTES = 10_000;
const MAX_REFUSED_CELLS = 1_000;

interface Refusal {
  readonly candle: VersionedCandle;
  readonly rejection: Rejection;
}

/** What one turn writes; the first `liveCount` candles of the batch have just closed. */
interface Work {
  readonly batch: readonly VersionedCandle[];
  readonly liveCount: number;
  readonly watermarks: readonly Watermark[];
  readonly gaps: readonly Gap[];
  readonly refusals: readonly Refusal[];
}

/**
 * Writes what has gathered as soon as the previous write has returned: one candle when it is quiet, thousands when a
 * burst closes; candles that have just closed before history. Everything that ingestion puts into the database about
 * candles passes here, so that a watermark never promises what is not there: ledger entries go first, then rows and
 * watermarks in one transaction.
 * A write that fails is repeated until it succeeds; the version rule makes a repeat harmless.
 */
export class Writer {
  readonly #options: WriterOptions;
  readonly #capacity: number;
  readonly #queue: Queue;
  /** Per series what has been handed to the database, in batches that are repeated until they are committed. */
  readonly #handed = new Map<string, Contiguity>();
  readonly #seriesByKey = new Map<string, Series>();
  /** Series whose watermark moved without a candle. */
  readonly #moved = new Map<string, Series>();
  #gaps: Gap[] = [];
  #refusals: Refusal[] = [];
  /** Candles that lost against a pending version of themselves; told with the next batch. */
  #merged: WrittenCandle[] = [];
  readonly #work = new Wakeup();
  readonly #room = new Wakeup();
  #inFlight = 0;
  #problem: string | undefined;
  #storedCount = 0;
  /** Exchange time of the start: what closed before it has no latency of ours. */
  #startTime = Number.POSITIVE_INFINITY;
  /** Cells whose candle the database refused, by series. */
  readonly #refusedCells = new Map<string, TimeRange[]>();
  /** What a stop found under way; written before all else, for watermarks have been reckoned with it. */
  #unfinished: Work | undefined;
  /** Candles ever finished, by lane; a flush waits for as many as the queue has ever taken in. */
  readonly #finished: LaneCounts = { live: 0, history: 0 };
  readonly #finishing = new Wakeup();

  constructor(options: WriterOptions) {
    this.#options = options;
    this.#capacity = options.capacity ?? DEFAULT_CAPACITY;
    this.#queue = new Queue(this.#capacity, (series, count) =>
      options.record({ kind: "shed", series, count }),
    );
  }

  /** Candles that wait or are being written. */
  get size(): number {
    return this.#queue.size + this.#inFlight;
  }

  /** Why the last write failed, while it is being repeated. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** Rows that were new or replaced another since the start. */
  get storedCount(): number {
    return this.#storedCount;
  }

  /** Says from where on a series is written, so that its watermark can be kept. */
  track({ series, next }: Watermark): void {
    this.#startTime = Math.min(this.#startTime, this.#options.exchangeNow());
    this.#handed.set(seriesKey(series), new Contiguity(series, next));
    this.#seriesByKey.set(seriesKey(series), series);
  }

  /**
   * Takes a closed, valid candle.
   * @returns `shed` when there was no room: its stretch goes into the ledger instead, to be fetched later
   */
  offer(candle: VersionedCandle): "taken" | "shed" {
    const outcome = this.#queue.offer(candle);
    if (outcome === "identical" || outcome === "superseded") {
      this.#merged.push({ series: candle.series, openTime: candle.candle.openTime, outcome });
      return "taken";
    }
    this.#work.wake();
    return outcome;
  }

  /**
   * Enters a stretch without candles into the ledger; the watermark may then pass it.
   * @returns false when there is no room: the stretch stays unexplained for now
   */
  explain(gap: Gap): boolean {
    if (this.#gaps.length >= MAX_NOTES) return false;
    this.#gaps.push(gap);
    this.#work.wake();
    return true;
  }

  /**
   * Puts a refused candle where users can list it.
   * @returns false when there is no room: the candle must be asked for again
   */
  refuse(candle: VersionedCandle, rejection: Rejection): boolean {
    if (this.#refusals.length >= MAX_NOTES) return false;
    this.#options.record({
      kind: "quarantined",
      series: candle.series,
      openTime: candle.candle.openTime,
      rejection,
    });
    this.#refusals.push({ candle, rejection });
    this.#work.wake();
    return true;
  }

  /** Resolves when little waits: what loads history waits here, the stream never does. */
  async room(signal: AbortSignal): Promise<void> {
    while (!this.#hasRoom) {
      await this.#room.wait(signal);
      signal.throwIfAborted();
    }
  }

  get #hasRoom(): boolean {
    return this.size <= Math.min(HISTORY_ROOM, this.#capacity / 2);
  }

  /** Cells of a series whose candle was taken and then refused by the database; the newest of them. */
  refusedCells(series: Series): readonly TimeRange[] {
    return this.#refusedCells.get(seriesKey(series)) ?? [];
  }

  /** Resolves when everything that REST brought so far is committed, and of all else what was not let go since. */
  async flushed(signal: AbortSignal): Promise<void> {
    const { live, history } = this.#queue.taken;
    // What is let go is never finished: then one waits for later ones, or until nothing of the lane is left.
    const isDone = (): boolean =>
      this.#finished.live >= Math.min(live, this.#queue.taken.live) &&
      this.#finished.history >= history;
    while (!isDone()) {
      await this.#finishing.wait(signal);
      signal.throwIfAborted();
    }
  }

  /**
   * Writes until `signal` is aborted; then returns after the write under way.
   * Whatever still waits stays in {@link size}: `drain` writes it.
   */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      if (this.#isIdle()) await this.#work.wait(signal);
      else await this.#writeOnce(signal);
    }
  }

  /** Writes what waits, for a stop. Gives up when `signal` is aborted. @returns candles left unwritten */
  async drain(signal: AbortSignal): Promise<number> {
    while (!signal.aborted && !this.#isIdle()) await this.#writeOnce(signal);
    return this.size;
  }

  #isIdle(): boolean {
    return (
      this.#unfinished === undefined &&
      this.#queue.isEmpty &&
      this.#gaps.length === 0 &&
      this.#refusals.length === 0 &&
      this.#moved.size === 0
    );
  }

  async #writeOnce(signal: AbortSignal): Promise<void> {
    const { store, record, clock } = this.#options;
    const work = this.#unfinished ?? this.#takeWork();
    const { batch, watermarks, gaps, refusals } = work;
    this.#unfinished = work;
    this.#inFlight = batch.length;

    const began = clock.monotonic();
    const done = await this.#insist(signal, async () => {
      for (const { candle, rejection } of refusals) await store.quarantine(candle, rejection);
      if (gaps.length > 0) await store.open(gaps);
      if (batch.length === 0 && watermarks.length === 0)
        return { outcomes: [], rejections: new Map() };
      return await store.write(batch, watermarks);
    });
    if (done === undefined) return;
    this.#unfinished = undefined;
    this.#inFlight = 0;
    this.#finished.live += work.liveCount;
    this.#finished.history += batch.length - work.liveCount;
    this.#finishing.wake();
    const exchangeNow = this.#options.exchangeNow();
    const written = batch.map((candle, index): WrittenCandle => {
      const outcome = done.outcomes[index] ?? "quarantined";
      if (outcome === "stored" || outcome === "revised") this.#storedCount += 1;
      if (outcome !== "quarantined" && this.#refusedCells.size > 0) this.#forgetRefusal(candle);
      const isLive =
        (candle.source === "stream" || candle.source === "rest-early") &&
        candle.candle.closeTime >= this.#startTime;
      return {
        series: candle.series,
        openTime: candle.candle.openTime,
        outcome,
        ...(isLive && outcome === "stored"
          ? { latencyMs: exchangeNow - (candle.candle.closeTime + 1) }
          : {}),
        ...(isLive && outcome === "stored" && candle.source === "stream"
          ? { eventLatencyMs: Math.max(0, exchangeNow - candle.observedTime) }
          : {}),
      };
    });
    for (const [index, rejection] of done.rejections) {
      const candle = batch[index];
      if (candle === undefined) continue;
      record({
        kind: "quarantined",
        series: candle.series,
        openTime: candle.candle.openTime,
        rejection,
      });
      // Its cell would be asked for at every deadline for ever; the ledger asks again in its own time.
      this.#gaps.push(rejectedGap(candle.series, candle.candle.openTime, exchangeNow));
      const cells = this.#refusedCells.get(seriesKey(candle.series)) ?? [];
      cells.push(cellOf(candle.series.timeframe, candle.candle.openTime));
      this.#refusedCells.set(seriesKey(candle.series), cells.slice(-MAX_REFUSED_CELLS));
    }
    record({
      kind: "batchWritten",
      candles: this.#merged.length === 0 ? written : written.concat(this.#merged),
      tookMs: clock.monotonic() - began,
    });
    this.#merged = [];
    record({ kind: "queueSize", size: this.size });
    if (this.#hasRoom) this.#room.wake();
  }

  /** A sound version came after all. */
  #forgetRefusal({ series, candle }: VersionedCandle): void {
    const cells = this.#refusedCells.get(seriesKey(series));
    if (cells === undefined) return;
    const { from } = cellOf(series.timeframe, candle.openTime);
    this.#refusedCells.set(
      seriesKey(series),
      cells.filter((cell) => cell.from !== from),
    );
  }

  #takeWork(): Work {
    this.#enterShed();
    const gaps = this.#gaps;
    const refusals = this.#refusals;
    this.#gaps = [];
    this.#refusals = [];
    const { batch, liveCount } = this.#queue.take(MAX_BATCH);
    for (const { series, range } of gaps) {
      this.#handed.get(seriesKey(series))?.addRange(range);
      this.#moved.set(seriesKey(series), series);
    }
    const watermarks = this.#takeWatermarks(batch);
    return { batch, liveCount, watermarks, gaps, refusals };
  }

  #takeWatermarks(batch: readonly VersionedCandle[]): Watermark[] {
    for (const { series, candle } of batch) {
      const key = seriesKey(series);
      this.#handed.get(key)?.add(candle.openTime);
      this.#moved.set(key, series);
    }
    const watermarks: Watermark[] = [];
    for (const [key, series] of this.#moved) {
      const next = this.#handed.get(key)?.next;
      if (next !== undefined) watermarks.push({ series, next });
    }
    this.#moved.clear();
    return watermarks;
  }

  /** Repeats `write` until it succeeds. @returns undefined when `signal` ended it first */
  async #insist<T>(signal: AbortSignal, write: () => Promise<T>): Promise<T | undefined> {
    const { clock, random, record } = this.#options;
    let failedAt: number | undefined;
    for (let attempt = 0; ; attempt += 1) {
      try {
        const result = await write();
        this.#problem = undefined;
        if (failedAt !== undefined) {
          record({ kind: "writeRecovered", afterMs: clock.monotonic() - failedAt });
        }
        return result;
      } catch (error) {
        failedAt ??= clock.monotonic();
        const retryMs = backoffDelay(RETRY, attempt, random()) + RETRY.baseMs;
        this.#problem = `candles cannot be written: ${messageOf(error)}`;
        record({
          kind: "writeFailed",
          reason: messageOf(error),
          code: error instanceof BlackTradeError ? error.code : "E_DB_FAILED",
          retryMs,
          pendingCount: this.size,
        });
        if (signal.aborted) return undefined;
        try {
          await clock.sleep(retryMs, signal);
        } catch {
          return undefined;
        }
      }
    }
  }

  #enterShed(): void {
    const now = this.#options.exchangeNow();
    for (const { series, ranges } of this.#queue.takeShed()) {
      for (const range of ranges) this.#gaps.push(shedGap(series, range, now));
    }
  }
}
