import { type Series, seriesKey } from "../../src/core/series.ts";
import { type SeriesStatus, seriesStatus } from "../../src/core/status.ts";
import { ceilOpenTime, nextOpenTime } from "../../src/core/timeframe.ts";
import type { MemoryStore } from "../support/memory-store.ts";
import type { Journal } from "./journal.ts";
import { keyOf, type Market } from "./market.ts";
import { nameOf, type TableView } from "./table-view.ts";
import type { Timeline } from "./timeline.ts";

/** Within this time a status says so when it is not `active` any more (R4). */
const HONEST_WITHIN_MS = 90_000;

/**
 * R4, a few times a minute: what a reader of the stored facts is told, against the exchange. Also keeps the list of
 * candles that exist and are not stored, which other checks use.
 */
export class StatusCheck {
  readonly #timeline: Timeline;
  readonly #market: Market;
  readonly #journal: Journal;
  readonly #view: TableView;
  readonly #reader: MemoryStore;
  /** By series: open time → instant from which on it has to be there. */
  readonly #missing = new Map<string, Map<number, number>>();
  readonly #scannedTo = new Map<string, number>();
  readonly #brokenSince = new Map<string, number>();
  readonly words = new Map<string, SeriesStatus>();
  falselyActiveMaxMs = 0;
  /** Since when no process runs. */
  deadSince: number | undefined;

  constructor(
    timeline: Timeline,
    market: Market,
    journal: Journal,
    view: TableView,
    reader: MemoryStore,
  ) {
    this.#timeline = timeline;
    this.#market = market;
    this.#journal = journal;
    this.#view = view;
    this.#reader = reader;
  }

  /** Candles of a series that exist, are closed and are not stored: open time and since when. */
  missing(series: Series): ReadonlyMap<number, number> {
    return this.#missing.get(seriesKey(series)) ?? new Map();
  }

  /** Looks at every series. */
  async check(): Promise<void> {
    const now = this.#timeline.now;
    const { run, series: facts } = await this.#reader.facts();
    for (const one of facts) {
      const key = seriesKey(one.series);
      this.#scan(one.series, now);
      const status = seriesStatus(one, run);
      this.words.set(key, status);
      this.#journal.count(`status ${status.word}`);
      if (status.word === "active" && now - (this.deadSince ?? now) > HONEST_WITHIN_MS) {
        this.#journal.fail("R4 dead active", now, `${key} says active, and no process runs`);
      }
      if (status.word === "active" && this.#view.wantedFrom(one.series) === undefined) {
        this.#journal.fail("R4 false active", now, `${key} says active before anything is known`);
      }
      const brokenSince = this.#findBreak(one.series, one.openGapCount, now);
      if (brokenSince === undefined || status.word !== "active") continue;
      const falselyMs = now - brokenSince;
      this.falselyActiveMaxMs = Math.max(this.falselyActiveMaxMs, falselyMs);
      if (falselyMs > HONEST_WITHIN_MS) {
        const [first] = this.missing(one.series).keys();
        const what =
          first === undefined ? "a gap is open" : `${nameOf(one.series, first)} is missing`;
        const since = new Date(brokenSince).toISOString();
        this.#journal.fail("R4 false active", now, `${key} says active; since ${since} ${what}`);
      }
    }
  }

  /** Takes in candles that have closed since the last look, and lets those go that were stored. */
  #scan(series: Series, now: number): void {
    const key = seriesKey(series);
    const wantedFrom = this.#view.wantedFrom(series);
    if (wantedFrom === undefined) return;
    const missing = this.#missing.get(key) ?? new Map<number, number>();
    this.#missing.set(key, missing);
    let open = this.#scannedTo.get(key) ?? ceilOpenTime(series.timeframe, wantedFrom);
    for (; ; open = nextOpenTime(series.timeframe, open)) {
      const closedAt = this.#market.closedAt(series, open);
      if (closedAt > now) break;
      if (this.#market.exists(series, open)) missing.set(open, closedAt);
    }
    this.#scannedTo.set(key, open);
    for (const one of missing.keys()) {
      if (this.#view.row(series, one) !== undefined) missing.delete(one);
    }
  }

  /** A hand in the database took a row away. */
  deletedRow(series: Series, openTime: number): void {
    this.deleted.add(keyOf(series, openTime));
    this.#missing.get(seriesKey(series))?.set(openTime, this.#timeline.now);
  }

  /** Since when `active` would be a lie; undefined while it is not. */
  #findBreak(series: Series, openGapCount: number, now: number): number | undefined {
    const key = seriesKey(series);
    let since = Number.POSITIVE_INFINITY;
    for (const [open, closedAt] of this.missing(series)) {
      // A row that a hand deleted is noticed by the next comparison with the calendar, not by the status.
      const isDeleted = this.deleted.size > 0 && this.deleted.has(keyOf(series, open));
      if (!isDeleted) since = Math.min(since, closedAt);
    }
    if (openGapCount > 0) since = Math.min(since, this.#brokenSince.get(key) ?? now);
    if (since === Number.POSITIVE_INFINITY) {
      this.#brokenSince.delete(key);
      return undefined;
    }
    this.#brokenSince.set(key, since);
    return since;
  }

  /** Rows that a hand deleted. */
  readonly deleted = new Set<string>();
}
