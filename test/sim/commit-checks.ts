import type { VersionedCandle } from "../../src/core/finality.ts";
import type { Gap } from "../../src/core/gaps.ts";
import type { Watermark, WriteResult } from "../../src/core/ports.ts";
import { intersectRanges } from "../../src/core/range.ts";
import { type Series, seriesKey } from "../../src/core/series.ts";
import { nextOpenTime } from "../../src/core/timeframe.ts";
import type { Operation } from "./database.ts";
import type { Journal } from "./journal.ts";
import { type Market, textOf } from "./market.ts";
import { isConfirmed, rank } from "./ranking.ts";
import { nameOf, type TableView } from "./table-view.ts";
import type { Timeline } from "./timeline.ts";

/** The answers that make an absence believed must be at least so far apart. */
const CONFIRM_AFTER_MS = 3_600_000;
/** What the estimate of the exchange's time may be off by, and a request's way. */
const TOLERANCE_MS = 30_000;
const SETTLE_MS = 60_000;

/** Checks every commit: R3 (closed, served, never back), R7 (absence proved), the watermark and the ledger. */
export class CommitChecks {
  readonly #timeline: Timeline;
  readonly #market: Market;
  readonly #journal: Journal;
  readonly #view: TableView;
  readonly #watermarks = new Map<string, number>();
  /** Watermarks that the database took before its answer was lost, or before the process died, count as well. */
  readonly #series: readonly Series[];

  constructor(
    timeline: Timeline,
    market: Market,
    journal: Journal,
    view: TableView,
    series: readonly Series[],
  ) {
    this.#timeline = timeline;
    this.#market = market;
    this.#journal = journal;
    this.#view = view;
    this.#series = series;
  }

  /** Looks at an operation before it is carried out. @returns what to call after it */
  watch(operation: Operation, args: readonly unknown[]): ((result: unknown) => void) | undefined {
    this.#journal.count(`db ${operation}`);
    switch (operation) {
      case "write": {
        const [batch, watermarks] = args as [readonly VersionedCandle[], readonly Watermark[]];
        return (result) => this.#written(batch, watermarks, result as WriteResult);
      }
      case "replace": {
        const [gap] = args as [Gap];
        return () => this.#replaced(gap);
      }
      case "open":
        return () => this.#opened(args[0] as readonly Gap[]);
      case "want":
        return () => this.#wanted();
      case "saveConfirmed": {
        const [series, , confirmedTo] = args as [Series, number, number];
        return () => this.#confirmed(series, confirmedTo);
      }
      default:
        return undefined;
    }
  }

  #written(
    batch: readonly VersionedCandle[],
    watermarks: readonly Watermark[],
    result: WriteResult,
  ): void {
    for (const [index, offered] of batch.entries()) {
      const { series, candle } = offered;
      const outcome = result.outcomes[index];
      if (outcome === "quarantined") continue;
      this.#journal.count(`rows ${outcome}`);
      const before = this.#view.row(series, candle.openTime);
      const after = this.#view.stored(series, candle.openTime);
      if (after === undefined) {
        this.#fail(
          "R1 dropped",
          `${nameOf(series, candle.openTime)} was ${outcome} and is not there`,
        );
        continue;
      }
      this.#checkRow(after);
      if (before !== undefined && rank(after, before) < 0) {
        const what = `${before.source} ${before.observedTime} → ${after.source} ${after.observedTime}`;
        this.#fail("R3 regressed", `${nameOf(series, candle.openTime)}: ${what}`);
      }
      if (rank(after, offered) < 0) {
        const what = `${offered.source} ${offered.observedTime} lost against ${after.source} ${after.observedTime}`;
        this.#fail("R3 newer lost", `${nameOf(series, candle.openTime)}: ${what}`);
      }
      this.#view.put(after, this.#timeline.now);
    }
    for (const { series } of watermarks) this.#checkWatermark(series);
  }

  #checkRow({ series, candle, source }: VersionedCandle): void {
    const now = this.#timeline.now;
    const isProven = source !== "archive-daily" && source !== "archive-monthly";
    if (!isProven && !this.#journal.wasVouched(series, candle)) {
      const name = nameOf(series, candle.openTime);
      this.#fail("R3 unproven", `${name} is ${source}, and no checksum vouched for its file`);
    }
    if (this.#journal.wasServed(series, candle)) return;
    const name = nameOf(series, candle.openTime);
    const isUnclosed = now < this.#market.closedAt(series, candle.openTime);
    const isForming = candle.volume.endsWith("9");
    if (isUnclosed || isForming) this.#fail("R3 unclosed", `${name} is stored before its close`);
    else this.#fail("R2 altered", `${name} is stored as ${textOf(candle)}, never served so`);
  }

  /** Everything before a watermark is stored or explained. */
  #checkWatermark(series: Series): void {
    const key = seriesKey(series);
    const { next } = this.#view.facts(series);
    const wantedFrom = this.#view.wantedFrom(series);
    if (next === undefined || wantedFrom === undefined) return;
    const before = this.#watermarks.get(key) ?? wantedFrom;
    this.#watermarks.set(key, Math.max(before, next));
    const [first] = this.#view.unaccounted(series, before, next);
    if (first !== undefined) {
      const to = new Date(next).toISOString();
      this.#fail("O8 watermark", `${nameOf(series, first)} is missing, the watermark is ${to}`);
    }
  }

  #wanted(): void {
    for (const series of this.#series) this.#checkWatermark(series);
  }

  /** What leaves the ledger below the watermark is stored. */
  #replaced(gap: Gap): void {
    const { series, range } = gap;
    const watermark = this.#watermarks.get(seriesKey(series)) ?? 0;
    const [first] = this.#view.unaccounted(series, range.from, Math.min(range.to, watermark));
    if (first !== undefined) {
      this.#fail("R6 forgotten", `${nameOf(series, first)} left the ledger and is not stored`);
    }
    this.#checkEntries(series, range);
  }

  #opened(gaps: readonly Gap[]): void {
    for (const { series, range } of gaps) this.#checkEntries(series, range);
  }

  /** An absence that is believed was proved. */
  #checkEntries(series: Series, range: { readonly from: number; readonly to: number }): void {
    for (const gap of this.#view.ledger(series)) {
      const part = intersectRanges(gap.range, range);
      // Of what was not asked for nothing is said.
      if (part === undefined || gap.emptyAnswers + Number(gap.reason === "rejected") === 0)
        continue;
      for (let open = part.from; open < part.to; open = nextOpenTime(series.timeframe, open)) {
        if (gap.state === "confirmed") this.#checkAbsence(gap, open);
        else this.#checkClaim(gap, open);
      }
    }
  }

  /** What an open entry says of its candles is so: asked and not there, or refused and listed. */
  #checkClaim({ series, reason }: Gap, openTime: number): void {
    const isRefused = reason === "rejected";
    if (isRefused && !this.#view.isQuarantined(series, openTime)) {
      const name = nameOf(series, openTime);
      this.#fail("R6 unlisted", `${name} counts as refused, and is not in the quarantine`);
    }
    if (!isRefused && this.#journal.emptyAnswers(series, openTime) === undefined) {
      const name = nameOf(series, openTime);
      this.#fail("R7 never asked", `${name} counts as answered, and no answer said so`);
    }
  }

  #checkAbsence({ series, reason }: Gap, openTime: number): void {
    const name = nameOf(series, openTime);
    if (reason === "before-listing") {
      const isBefore =
        nextOpenTime(series.timeframe, openTime) <= this.#market.listedAt(series.symbol);
      if (!isBefore) this.#fail("R7 before listing", `${name} counts as before the listing`);
      return;
    }
    if (reason === "after-delisting") return;
    const answers = this.#journal.emptyAnswers(series, openTime);
    if (answers === undefined) {
      this.#fail("R7 never asked", `${name} is believed absent, and no answer said so`);
    } else if (answers.lastTime - answers.firstTime < CONFIRM_AFTER_MS - TOLERANCE_MS) {
      const apart = Math.round((answers.lastTime - answers.firstTime) / 1_000);
      this.#fail(
        "R7 believed",
        `${name} is believed absent after ${answers.count} answers ${apart} s apart`,
      );
    }
  }

  /** What counts as confirmed was read again after it had settled, or could not be. */
  #confirmed(series: Series, to: number): void {
    const { confirmedTo } = this.#view.facts(series);
    if (confirmedTo === undefined || confirmedTo < to) return;
    for (const row of this.#view.rowsOf(series)) {
      const { openTime } = row.candle;
      if (openTime >= to || isConfirmed(row)) continue;
      const endTime = nextOpenTime(series.timeframe, openTime);
      const lastRead = this.#journal.lastReads(series, openTime);
      if (lastRead === undefined || lastRead < endTime + SETTLE_MS - 1_000) {
        this.#fail(
          "R3 unconfirmed",
          `${nameOf(series, openTime)} counts as confirmed, and was not read again`,
        );
      }
    }
  }

  #fail(oracle: string, detail: string): void {
    this.#journal.fail(oracle, this.#timeline.now, detail);
  }
}
