import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { backoffDelay } from "../core/backoff.ts";
import { BlackTradeError, messageOf } from "../core/errors.ts";
import type { Recorder, WrittenCandle } from "../core/events.ts";
import { fileFault } from "../core/file-fault.ts";
import type { CandleChange, CandleChanges, CandleQueries, Clock } from "../core/ports.ts";
import type { TimeRange } from "../core/range.ts";
import type { Series } from "../core/series.ts";
import { makeFolder } from "../make-folder.ts";
import { MirrorFile, type Reconciled, TEMP_ENDING } from "./mirror-file.ts";
import { MirrorPlan, type PlannedFile } from "./mirror-plan.ts";

/** What the mirror meets. */
export interface MirrorOptions {
  /** Made when it is not there. */
  readonly folder: string;
  /** The exchange whose series are mirrored: file names do not say it. */
  readonly exchange: string;
  /** Connections of its own, so that it never takes one from ingestion. */
  readonly store: Pick<CandleQueries, "series" | "range" | "revisions"> & CandleChanges;
  readonly clock: Clock;
  readonly random: () => number;
  readonly record: Recorder;
}

/** How often files are looked at for changes of others, and series for new ones. */
const LOOK_MS = 30_000;
/** Between two looks for work. */
const TICK_MS = 100;
const RETRY = { baseMs: 2_000, capMs: 60_000 };
const MIN_RETRY_MS = 1_000;
/** How long a stop waits for the last changes. */
const HEAR_MS = 250;
/** How long a stop may spend on rows that are not in their files yet; the next start has the rest. */
const DRAIN_MS = 5_000;

/**
 * Keeps a folder of CSV files in the old layout in step with the database: one file a series, closed candles only.
 *
 * The database says what must be in a file and the file says what is: after a start every file is compared with its series
 * and put right, then changes are followed. A change is only a hint where to look. So there is nothing to queue and
 * nothing to lose, however far the mirror is behind. It fails alone: ingestion does not wait for it.
 */
export class Mirror {
  readonly #options: MirrorOptions;
  readonly #plan: MirrorPlan;
  #isFollowing = false;
  /** Since when changes are not heard of, monotonic ms; nothing is known to be in step then. */
  #deafSinceMs: number | undefined;

  constructor(options: MirrorOptions) {
    this.#options = options;
    const { folder, store, clock } = options;
    this.#plan = new MirrorPlan(
      () => clock.monotonic(),
      (series) => new MirrorFile({ folder, series, store, now: () => clock.now() }),
    );
  }

  /** True when everything that is known to have changed is in its file. */
  get isInStep(): boolean {
    return this.#isFollowing && this.#plan.behindMs === 0;
  }

  /**
   * Candles that this process wrote. An identical one may have other digits than before (`1.0`, `1.00`), which is no change
   * that would be followed; all others come by themselves.
   */
  heedWritten(candles: readonly WrittenCandle[]): void {
    for (const { series, openTime, outcome } of candles) {
      if (outcome === "identical" && series.exchange === this.#options.exchange)
        this.#plan.changed(series, { from: openTime, to: openTime + 1 });
    }
  }

  /** Mirrors until `signal` is aborted, then writes what is waiting, for a few seconds at most. Never throws. */
  async run(signal: AbortSignal): Promise<void> {
    const heard = new AbortController();
    const following = this.#follow(heard.signal);
    await Promise.all([
      this.#look(signal),
      this.#lane(signal, () => this.#plan.next() ?? this.#plan.nextAppend()),
      // A large file must not keep the live candles of the others waiting.
      this.#lane(signal, () => this.#plan.nextAppend()),
    ]);
    // What ingestion wrote last is being told.
    await this.#sleep(HEAR_MS, heard.signal);
    heard.abort();
    await following;
    await this.#drain();
    this.#tellState();
  }

  /** Follows changes; whenever that breaks, every file is compared anew, from a place taken before. */
  async #follow(signal: AbortSignal): Promise<void> {
    const { store, folder, record, clock } = this.#options;
    for (let failures = 0; !signal.aborted; failures += 1) {
      this.#deafSinceMs ??= clock.monotonic();
      try {
        await makeFolder(folder);
        await this.#sweep();
        const place = await store.lastChangeId();
        await this.#refresh();
        this.#plan.distrustAll();
        if (!this.#isFollowing) {
          record({ kind: "mirrorStarted", folder, fileCount: this.#plan.files.length });
        }
        this.#isFollowing = true;
        this.#deafSinceMs = undefined;
        for await (const changes of store.follow(signal, place)) {
          failures = 0;
          for (const change of changes) this.#heed(change);
        }
      } catch (error) {
        if (signal.aborted) return;
        await this.#sleep(this.#failed("CSV mirror", error, failures), signal);
      }
    }
  }

  #heed(change: CandleChange): void {
    const series = change.kind === "candle" ? change.candle.series : change.series;
    if (series.exchange !== this.#options.exchange) return;
    if (change.kind === "stretch") this.#plan.changed(series, change.range);
    else {
      const { openTime } = change.candle.candle;
      this.#plan.changed(series, { from: openTime, to: openTime + 1 });
    }
  }

  /** Removes what a crash has left of files that were being written. */
  async #sweep(): Promise<void> {
    const { folder } = this.#options;
    for (const name of await readdir(folder)) {
      if (name.startsWith(".") && name.endsWith(TEMP_ENDING))
        await rm(join(folder, name), { force: true });
    }
  }

  /** Every series that the database has is mirrored, also one that another process has just imported. */
  async #refresh(): Promise<void> {
    for (const series of await this.#options.store.series()) {
      if (series.exchange === this.#options.exchange) this.#plan.add(series);
    }
  }

  async #look(signal: AbortSignal): Promise<void> {
    while (await this.#sleep(LOOK_MS, signal)) {
      this.#tellState();
      if (!this.#isFollowing) continue;
      await this.#refresh().catch(ignore);
      this.#plan.recount();
      for (const planned of this.#plan.quietFiles()) {
        const isAsLeft = await planned.file.isAsLeft().catch(() => false);
        // It may have been taken up meanwhile: then its state is known to who works on it.
        if (!isAsLeft && !planned.isBusy) this.#plan.distrust(planned);
      }
    }
  }

  async #lane(signal: AbortSignal, next: () => PlannedFile | undefined): Promise<void> {
    while (!signal.aborted) {
      const planned = this.#isFollowing ? next() : undefined;
      if (planned === undefined) await this.#sleep(TICK_MS, signal);
      else await this.#work(planned, signal);
    }
  }

  async #work(planned: PlannedFile, signal: AbortSignal, isLast = false): Promise<void> {
    const { clock } = this.#options;
    const job = this.#plan.begin(planned, isLast);
    const startMs = clock.monotonic();
    try {
      const isRewritten =
        job.range !== undefined && (await this.#reconcile(planned, job.range, signal));
      const rewriteMs = isRewritten ? clock.monotonic() - startMs : 0;
      this.#plan.done(planned, await this.#append(planned, signal), rewriteMs);
      const isDone = !planned.isDistrusted;
      if (isDone && planned.failureCount > 0) {
        planned.failureCount = 0;
        this.#options.record({ kind: "mirrorRecovered", file: planned.file.name });
      }
    } catch (error) {
      const retryMs = signal.aborted
        ? 0
        : this.#failed(planned.file.name, error, planned.failureCount);
      planned.failureCount += 1;
      this.#plan.failed(planned, retryMs);
    }
  }

  async #append({ file, series }: PlannedFile, signal: AbortSignal): Promise<boolean> {
    const rowCount = await file.append(signal);
    if (rowCount !== undefined && rowCount > 0)
      this.#options.record({ kind: "mirrored", series, how: "appended", rowCount });
    return rowCount !== undefined;
  }

  async #reconcile(
    { file, series }: PlannedFile,
    range: TimeRange,
    signal: AbortSignal,
  ): Promise<boolean> {
    const found = await file.reconcile(range, signal);
    this.#tell(series, file.name, found);
    return found.isRewritten;
  }

  #tell(series: Series, file: string, found: Reconciled): void {
    const { record } = this.#options;
    const { isRewritten, foreignEdit, setAsidePath, unknownRowCount } = found;
    if (isRewritten) record({ kind: "mirrored", series, how: "rewritten", rowCount: 0 });
    if (foreignEdit !== undefined) {
      const aside = setAsidePath === undefined ? {} : { setAsidePath };
      record({ kind: "mirrorRepaired", file, edit: foreignEdit, ...aside });
    }
    if (unknownRowCount !== undefined && this.#plan.isNewUnknown(series, unknownRowCount))
      record({ kind: "mirrorUnknownRows", series, file, rowCount: unknownRowCount });
  }

  /** @returns how long to wait before the next try, ms */
  #failed(what: string, error: unknown, attempt: number): number {
    const { random, record } = this.#options;
    const retryMs = Math.max(MIN_RETRY_MS, backoffDelay(RETRY, attempt, random()));
    record({ kind: "mirrorFailed", what, ...explained(error), retryMs });
    return retryMs;
  }

  #tellState(): void {
    const { behindMs, pendingCount } = this.#plan;
    const deafMs =
      this.#options.clock.monotonic() - (this.#deafSinceMs ?? Number.POSITIVE_INFINITY);
    this.#options.record({
      kind: "mirrorState",
      pendingCount,
      behindMs: Math.max(behindMs, deafMs),
    });
  }

  /** Brings every file up to date that is known to be right otherwise, and does not wait for more to gather. */
  async #drain(): Promise<void> {
    const limit = new AbortController();
    const end = this.#sleep(DRAIN_MS, limit.signal).then((isOver) => isOver && limit.abort());
    for (const planned of this.#isFollowing ? this.#plan.files : []) {
      if (limit.signal.aborted) break;
      if (!planned.isDistrusted) await this.#work(planned, limit.signal, true);
    }
    limit.abort();
    await end;
  }

  /** @returns false when the signal was aborted */
  async #sleep(ms: number, signal: AbortSignal): Promise<boolean> {
    await this.#options.clock.sleep(ms, signal).catch(ignore);
    return !signal.aborted;
  }
}

function ignore(): void {}

/** What a failure is called in the log: a code, what happened, what to do. */
function explained(error: unknown): { readonly code: string; readonly reason: string } {
  if (error instanceof BlackTradeError)
    return { code: error.code, reason: `${error.message}; ${error.remedy}` };
  const fault = fileFault(error, "CSV_MIRROR_DIR");
  if (fault === undefined) return { code: "E_CSV_MIRROR", reason: messageOf(error) };
  const { code, path = "" } = error as NodeJS.ErrnoException;
  const meaning = [fault.what, fault.remedy].filter((text) => text !== undefined).join("; ");
  return { code: "E_CSV_MIRROR", reason: `${meaning} (${code} ${path})` };
}
