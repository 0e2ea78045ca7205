import type { TimeRange } from "../core/range.ts";
import { type Series, seriesKey } from "../core/series.ts";
import { EVER } from "./candle-pages.ts";
import type { MirrorFile } from "./mirror-file.ts";

/** A file of the mirror, and what is to be done about it. */
export interface PlannedFile {
  readonly series: Series;
  readonly file: MirrorFile;
  /** Tries that have failed since the last one that went well. */
  failureCount: number;
  /** Somebody works on it. */
  readonly isBusy: boolean;
  /** The whole file has to be compared with the database first. */
  readonly isDistrusted: boolean;
}

/** What is to be done now: compare a range first when there is one, then append. */
export interface Job {
  readonly range: TimeRange | undefined;
}

interface State extends PlannedFile {
  isBusy: boolean;
  isDistrusted: boolean;
  hasNew: boolean;
  /** Spans everything that changed at or before the last row. */
  dirty: TimeRange | undefined;
  /** When the changes that have gathered are worth a rewrite. */
  dirtyAtMs: number;
  /** Not to be touched before. */
  readyAtMs: number;
  /** Since when something waits; `undefined` when nothing does. */
  sinceMs: number | undefined;
  nextRewriteMs: number;
  unknownRowCount: number;
  /** Rows that the database did not have may be there by now. */
  isRecountDue: boolean;
}

/** Corrections that come within this time are one rewrite. */
const GATHER_MS = 2_000;
/** A file is rewritten at most for this share of the time, however large it is. */
const REWRITE_SHARE = 10;
/** Before the next try, when a file was changed by others while it was worked on. */
const TOUCHED_RETRY_MS = 1_000;

/** Which file is next, and what for. Knows of no change but where it was: a few numbers a file. */
export class MirrorPlan {
  readonly #now: () => number;
  readonly #open: (series: Series) => MirrorFile;
  readonly #states = new Map<string, State>();

  /** @param now a clock that never goes back, ms */
  constructor(now: () => number, openFile: (series: Series) => MirrorFile) {
    this.#now = now;
    this.#open = openFile;
  }

  get files(): readonly PlannedFile[] {
    return [...this.#states.values()];
  }

  /** Files for which nothing is to be done. */
  quietFiles(): PlannedFile[] {
    return [...this.#states.values()].filter((state) => !isPending(state) && !state.isBusy);
  }

  /** How many files are not in step. */
  get pendingCount(): number {
    return [...this.#states.values()].filter((state) => state.sinceMs !== undefined).length;
  }

  /** How long the file that waits longest has been waiting, ms; 0 when all are in step. */
  get behindMs(): number {
    const now = this.#now();
    let since = now;
    for (const { sinceMs } of this.#states.values()) since = Math.min(since, sinceMs ?? now);
    // Something that waits since this very moment waits all the same.
    return this.pendingCount === 0 ? 0 : Math.max(1, now - since);
  }

  /** Enters a series; a new one is compared first. */
  add(series: Series): PlannedFile {
    return this.#state(series);
  }

  /** Every file has to be compared with the database. */
  distrustAll(): void {
    for (const state of this.#states.values()) this.distrust(state);
  }

  distrust(planned: PlannedFile): void {
    const state = this.#state(planned.series);
    state.isDistrusted = true;
    state.sinceMs ??= this.#now();
  }

  /** Candles of a range have changed. */
  changed(series: Series, { from, to }: TimeRange): void {
    const state = this.#state(series);
    const now = this.#now();
    state.sinceMs ??= now;
    const last = state.file.lastOpenTime;
    if (to > last + 1 || state.isBusy) state.hasNew = true;
    // While somebody appends, the last row is not known: the change may be behind it or not.
    const end = state.isBusy ? to : Math.min(to, last + 1);
    if (from >= end) return;
    state.isRecountDue ||= state.unknownRowCount > 0;
    if (state.dirty === undefined) state.dirtyAtMs = Math.max(now + GATHER_MS, state.nextRewriteMs);
    state.dirty = {
      from: Math.min(from, state.dirty?.from ?? from),
      to: Math.max(end, state.dirty?.to ?? end),
    };
  }

  /** Files with rows that the database did not have are compared anew when something has changed before their last row. */
  recount(): void {
    for (const state of this.#states.values()) {
      if (!state.isRecountDue) continue;
      state.isRecountDue = false;
      this.distrust(state);
    }
  }

  /** A file that only has to grow. */
  nextAppend(): PlannedFile | undefined {
    return this.#find(({ isDistrusted, hasNew }) => hasNew && !isDistrusted);
  }

  /** A file that has to be compared. */
  next(): PlannedFile | undefined {
    const now = this.#now();
    return this.#find(
      ({ isDistrusted, dirty, dirtyAtMs }) =>
        isDistrusted || (dirty !== undefined && now >= dirtyAtMs),
    );
  }

  /**
   * Takes a file up: what changes from now on counts for the next time.
   * @param isLast there is no next time: corrections do not wait for others
   */
  begin(planned: PlannedFile, isLast = false): Job {
    const state = this.#state(planned.series);
    const isDue = state.dirty !== undefined && (isLast || this.#now() >= state.dirtyAtMs);
    const range = state.isDistrusted ? EVER : isDue ? state.dirty : undefined;
    state.isBusy = true;
    state.isDistrusted = false;
    state.hasNew = false;
    if (range !== undefined) state.dirty = undefined;
    return { range };
  }

  /**
   * @param isWhole false when others changed the file meanwhile: it has to be compared
   * @param rewriteMs how long comparing and rewriting took; 0 when the file was not rewritten
   */
  done(planned: PlannedFile, isWhole: boolean, rewriteMs: number): void {
    const state = this.#state(planned.series);
    const now = this.#now();
    state.isBusy = false;
    if (rewriteMs > 0) state.nextRewriteMs = now + rewriteMs * REWRITE_SHARE;
    if (!isWhole) {
      state.isDistrusted = true;
      state.readyAtMs = now + TOUCHED_RETRY_MS;
    }
    if (!isPending(state)) state.sinceMs = undefined;
  }

  failed(planned: PlannedFile, retryMs: number): void {
    const state = this.#state(planned.series);
    state.isBusy = false;
    state.isDistrusted = true;
    state.readyAtMs = this.#now() + retryMs;
    state.sinceMs ??= this.#now();
  }

  /** True when a file has rows that the database does not have, and that was not said before. */
  isNewUnknown(series: Series, rowCount: number): boolean {
    const state = this.#state(series);
    const isNew = rowCount !== state.unknownRowCount;
    state.unknownRowCount = rowCount;
    return isNew;
  }

  #find(isMeant: (state: State) => boolean): PlannedFile | undefined {
    const now = this.#now();
    let found: State | undefined;
    for (const state of this.#states.values()) {
      if (state.isBusy || state.readyAtMs > now || !isMeant(state)) continue;
      // Who has waited longest comes first: none is forgotten.
      if (found === undefined || (state.sinceMs ?? now) < (found.sinceMs ?? now)) found = state;
    }
    return found;
  }

  #state(series: Series): State {
    const key = seriesKey(series);
    const known = this.#states.get(key);
    if (known !== undefined) return known;
    const state: State = {
      series,
      file: this.#open(series),
      failureCount: 0,
      isBusy: false,
      isDistrusted: true,
      hasNew: false,
      dirty: undefined,
      dirtyAtMs: 0,
      readyAtMs: 0,
      sinceMs: this.#now(),
      nextRewriteMs: 0,
      unknownRowCount: 0,
      isRecountDue: false,
    };
    this.#states.set(key, state);
    return state;
  }
}

function isPending({ isDistrusted, hasNew, dirty }: State): boolean {
  return isDistrusted || hasNew || dirty !== undefined;
}
