import { type Series, seriesKey } from "../../src/core/series.ts";
import { nextOpenTime, nominalMs } from "../../src/core/timeframe.ts";
import type { Health, Part } from "./health.ts";
import type { Journal } from "./journal.ts";
import { keyOf } from "./market.ts";
import { isConfirmed } from "./ranking.ts";
import type { Setting } from "./setting.ts";
import type { StatusCheck } from "./status-check.ts";
import { POISON_MARK, type StreamServer } from "./stream-server.ts";
import { nameOf, type TableView } from "./table-view.ts";
import type { Timeline } from "./timeline.ts";

/** A delivered candle is durable after so long, while database and process are sound. */
const DURABLE_WITHIN_MS = 20_000;
/** A closed candle is stored so long after everything that it takes is sound again. */
const STORED_WITHIN_MS = 200_000;
/** With a small request budget a backlog takes its time. */
const STORED_WITHIN_SCARCE_MS = 500_000;
/** A gap is asked for so long after its time has come: it may have been put off for an hour. */
const RETRIED_WITHIN_MS = 65 * 60_000;
const SETTLE_MS = 60_000;
const REREAD_WITHIN_MS = 15 * 60_000;
/** Read again at the latest an hour after a candle; a page that failed is put off by ten minutes. */
const CONFIRMED_WITHIN_MS = 90 * 60_000;
/** With a small request budget confirming comes last. */
const CONFIRMED_WITHIN_SCARCE_MS = 150 * 60_000;
/** A dead link is replaced: 60 s to see it, 60 s of back-off, and the dial. */
const LINKED_WITHIN_MS = 150_000;

interface Delivery {
  readonly series: Series;
  readonly openTime: number;
  readonly time: number;
  /** What came is no candle. */
  readonly isPoison: boolean;
}

/** Checks that what has to happen happens soon: R1 while it is still going on, dead links, silent streams, second looks. */
export class PromptChecks {
  readonly #timeline: Timeline;
  readonly #journal: Journal;
  readonly #health: Health;
  readonly #view: TableView;
  readonly #status: StatusCheck;
  readonly #streams: StreamServer;
  readonly #setting: Setting;
  readonly #unlinkedSince = new Map<string, number>();
  #deliveries: Delivery[] = [];

  constructor(
    timeline: Timeline,
    journal: Journal,
    health: Health,
    view: TableView,
    status: StatusCheck,
    streams: StreamServer,
    setting: Setting,
  ) {
    this.#timeline = timeline;
    this.#journal = journal;
    this.#health = health;
    this.#view = view;
    this.#status = status;
    this.#streams = streams;
    this.#setting = setting;
  }

  /** A closing frame reached the program. @returns false when it was not sound */
  delivered(text: string): boolean {
    let data: { s: string; k: { i: Series["timeframe"]; t: number; B: string } };
    try {
      ({ data } = JSON.parse(text));
    } catch {
      return false;
    }
    this.#journal.count("closing frames delivered");
    const { s: symbol, k } = data;
    // A buffer of three drops closes, says so, and has REST bring them.
    if (this.#setting.tuning.maxBufferedEvents < 1_000) return true;
    const series: Series = { exchange: "binance", symbol, timeframe: k.i };
    const isPoison = k.B === POISON_MARK;
    if (isPoison) this.#journal.count("poison frames");
    this.#deliveries.push({ series, openTime: k.t, time: this.#timeline.now, isPoison });
    return true;
  }

  check(): void {
    this.#checkDeliveries();
    for (const series of this.#setting.series) {
      this.#checkMissing(series);
      if (this.#setting.mode === "websocket") {
        this.#checkLink(series);
        if (this.#setting.isResubscribing) this.#checkSilence(series);
      }
    }
  }

  /** The slower ones. */
  checkRarely(): void {
    const now = this.#timeline.now;
    const soundMs = this.#soundMs(["rest", "database", "machine"]);
    for (const row of this.#view.rows()) {
      if (isConfirmed(row)) continue;
      const { series, candle, source } = row;
      const ageMs = now - this.#view.since(series, candle.openTime);
      const sinceMs = Math.min(ageMs, soundMs);
      // A process that died took with it what it meant to read again: then it is confirmation that does.
      const isOurs = this.#view.since(series, candle.openTime) > this.#health.processSince;
      const settledAt = nextOpenTime(series.timeframe, candle.openTime) + SETTLE_MS;
      const wasReread = (this.#journal.lastReads(series, candle.openTime) ?? 0) >= settledAt;
      if (source === "rest-early" && isOurs && !wasReread && sinceMs > REREAD_WITHIN_MS) {
        this.#fail(
          "R3 early kept",
          `${nameOf(series, candle.openTime)} rests on a young answer for ${minutes(ageMs)} min`,
        );
      }
      const withinMs =
        this.#setting.weightLimit < 1_000 ? CONFIRMED_WITHIN_SCARCE_MS : CONFIRMED_WITHIN_MS;
      const limitMs = withinMs + 2 * nominalMs(series.timeframe);
      if (!this.#setting.broken.includes("unconfirmed") && sinceMs > limitMs) {
        this.#fail(
          "R3 not confirmed",
          `${nameOf(series, candle.openTime)} was not read again for ${minutes(ageMs)} min`,
        );
      }
    }
  }

  /** How long all of the parts have been sound. */
  #soundMs(parts: readonly Part[]): number {
    return this.#timeline.now - this.#health.lastBad(this.#timeline.now, parts);
  }

  #checkDeliveries(): void {
    const now = this.#timeline.now;
    const lastBad = this.#health.lastBad(now, ["database", "machine"]);
    this.#deliveries = this.#deliveries.filter(({ series, openTime, time, isPoison }) => {
      if (now < time + DURABLE_WITHIN_MS) return true;
      // The writer may be in a pause after a failure, and a process that stood still has a backlog.
      if (lastBad + 30_000 > time) return false;
      if (isPoison) {
        if (!this.#view.isQuarantined(series, openTime)) {
          const what = `${nameOf(series, openTime)} came ${now - time} ms ago as no candle and is not listed`;
          this.#fail("R6 unlisted", what);
        }
        return false;
      }
      const isAccounted =
        this.#view.row(series, openTime) !== undefined ||
        this.#view.entryOf(series, openTime) !== undefined ||
        this.#status.deleted.has(keyOf(series, openTime)) ||
        openTime < (this.#view.wantedFrom(series) ?? 0);
      if (!isAccounted) {
        this.#fail(
          "O5 not durable",
          `${nameOf(series, openTime)} came ${now - time} ms ago and is not stored`,
        );
      }
      return false;
    });
  }

  #checkMissing(series: Series): void {
    const soundMs = this.#soundMs(["rest", "database", "machine"]);
    const isScarce = this.#setting.weightLimit < 1_000 || this.#setting.capacity < 1_000;
    const withinMs = isScarce ? STORED_WITHIN_SCARCE_MS : STORED_WITHIN_MS;
    const now = this.#timeline.now;
    if (soundMs < withinMs) return;
    for (const [openTime, closedAt] of this.#status.missing(series)) {
      const entry = this.#view.entryOf(series, openTime);
      if (entry === undefined) {
        const isDeleted = this.#status.deleted.size > 0;
        const limitMs = isDeleted ? 25 * 60_000 : withinMs;
        if (this.#setting.broken.includes("holes") && isDeleted) continue;
        if (Math.min(soundMs, now - closedAt) > limitMs) {
          this.#fail(
            "R1 late",
            `${nameOf(series, openTime)} is not stored ${minutes(now - closedAt)} min after its close`,
          );
        }
      } else {
        const lateMs = Math.min(soundMs, now - entry.nextTryTime);
        if (lateMs > RETRIED_WITHIN_MS) {
          this.#fail(
            "R7 not retried",
            `${nameOf(series, openTime)} (${entry.reason}) is overdue for ${minutes(lateMs)} min`,
          );
        }
      }
    }
  }

  #checkLink(series: Series): void {
    const now = this.#timeline.now;
    const key = seriesKey(series);
    const stream = streamOf(series);
    const isLinked = this.#streams.connections.some(
      (one) => one.isOpen && !one.isBlackHole && one.subscriptions.has(stream),
    );
    if (isLinked) {
      this.#unlinkedSince.delete(key);
      return;
    }
    const since = this.#unlinkedSince.get(key) ?? now;
    this.#unlinkedSince.set(key, since);
    // Ingestion begins when exchange and database have answered.
    const parts: Part[] = ["stream", "rest", "database", "machine"];
    const unlinkedMs = Math.min(now - since, this.#soundMs(parts));
    if (unlinkedMs > LINKED_WITHIN_MS) {
      this.#fail(
        "O6 dead link",
        `no stream carries ${key} for ${Math.round(unlinkedMs / 1_000)} s`,
      );
    }
  }

  /** A stream that the exchange does not send any more is subscribed anew. */
  #checkSilence(series: Series): void {
    const now = this.#timeline.now;
    const stream = streamOf(series);
    if (this.#streams.connections.some((one) => one.carries(stream))) return;
    const silentSince = this.#streams.connections
      .map((one) => one.subscriptions.get(stream)?.silentSince)
      .find((since) => since !== undefined);
    if (silentSince === undefined) return;
    const parts: Part[] = ["stream", "rest", "database", "machine"];
    const silentMs = Math.min(now - silentSince, this.#soundMs(parts));
    if (silentMs > 5 * nominalMs(series.timeframe) + 840_000) {
      this.#fail(
        "O6 silent stream",
        `${seriesKey(series)} is silent for ${Math.round(silentMs / 1_000)} s`,
      );
    }
  }

  #fail(oracle: string, detail: string): void {
    this.#journal.fail(oracle, this.#timeline.now, detail);
  }

  /** What is missing for good at the end: closed candles that are not stored. */
  left(until: number): string[] {
    return this.#setting.series.flatMap((series) =>
      [...this.#status.missing(series)]
        .filter(([openTime]) => nextOpenTime(series.timeframe, openTime) <= until)
        .map(([openTime]) => nameOf(series, openTime)),
    );
  }
}

function streamOf({ symbol, timeframe }: Series): string {
  return `${symbol.toLowerCase()}@kline_${timeframe}`;
}

function minutes(ms: number): number {
  return Math.round(ms / 60_000);
}
