import type { Recorder } from "../core/events.ts";
import type { CandleQueries, Clock, CoverageStore, GapStore, StatusStore } from "../core/ports.ts";
import type { TimeRange } from "../core/range.ts";
import { type Series, seriesKey } from "../core/series.ts";
import { countOpenTimes, shiftOpenTime } from "../core/timeframe.ts";
import { detectGaps } from "./detect.ts";

/** What comparing with the calendar needs. */
export interface AuditOptions {
  readonly gaps: Pick<GapStore, "open">;
  readonly store: CoverageStore & Pick<StatusStore, "facts">;
  readonly clock: Clock;
  readonly record: Recorder;
  /** Exchange time, epoch ms. */
  readonly exchangeNow: () => number;
}

/** Candles of a series that are compared often: what went wrong lately lies there. */
const NEWEST_CANDLES = 2_000;
/** The whole of a series is compared so often. */
const WHOLE_EVERY_MS = 24 * 60 * 60_000;
/** Between two series: so many times what the last one took, so that the database is left to others, and at least this. */
const REST_FACTOR = 4;
const MIN_REST_MS = 250;

/**
 * Looks by the calendar for holes that nobody noticed (a crash between two writes, rows deleted by hand, a file that was
 * imported) and enters them into the gap ledger, from which they are filled.
 */
export class Audit {
  readonly #options: AuditOptions;
  /** When the whole of each series is to be compared again, on the monotonic clock. */
  readonly #wholeDue = new Map<string, number>();

  constructor(options: AuditOptions) {
    this.#options = options;
  }

  /** Compares the newest candles of every configured series. @throws {BlackTradeError} E_DB_* */
  async newest(signal: AbortSignal): Promise<void> {
    for (const { series, wantedFrom, next } of await this.#configured()) {
      signal.throwIfAborted();
      const from = Math.max(wantedFrom, shiftOpenTime(series.timeframe, next, -NEWEST_CANDLES));
      await this.#compare(series, { from, to: next });
    }
  }

  /**
   * Compares those configured series whose turn has come, from their first candle, stored, wanted or in the ledger, on;
   * one after the other, with rests. What was compared before an error is not compared again in the next call.
   * @throws {BlackTradeError} E_DB_*
   */
  async whole(signal: AbortSignal): Promise<void> {
    const { clock, store } = this.#options;
    for (const { series, wantedFrom, next } of await this.#configured()) {
      const began = clock.monotonic();
      if (began < (this.#wholeDue.get(seriesKey(series)) ?? Number.NEGATIVE_INFINITY)) continue;
      const from = await wholeFrom(store, series, wantedFrom);
      await this.#compare(series, { from: from ?? wantedFrom, to: next });
      const now = clock.monotonic();
      this.#wholeDue.set(seriesKey(series), now + WHOLE_EVERY_MS);
      await clock.sleep(Math.max(MIN_REST_MS, (now - began) * REST_FACTOR), signal);
    }
  }

  async #compare(series: Series, range: TimeRange): Promise<void> {
    const { store, gaps, record, exchangeNow } = this.#options;
    const { unknown } = await detectGaps(store, series, range, exchangeNow());
    if (unknown.length === 0) return;
    await gaps.open(unknown);
    for (const { range: hole, reason } of unknown) {
      const missing = countOpenTimes(series.timeframe, hole);
      record({ kind: "gapFound", series, range: hole, reason, missing });
    }
  }

  async #configured(): Promise<{ series: Series; wantedFrom: number; next: number }[]> {
    const { series: facts } = await this.#options.store.facts();
    return facts.flatMap(({ series, wantedFrom, next, isConfigured }) =>
      isConfigured && wantedFrom !== undefined && next !== undefined
        ? [{ series, wantedFrom, next }]
        : [],
    );
  }
}

/**
 * Enters every hole between the first and the newest stored candle of a series into the gap ledger, for what was stored
 * by others than the ingestion.
 * @param now exchange time, epoch ms
 * @returns missing candles that the ledger did not know
 * @throws {BlackTradeError} E_DB_*
 */
export async function enterHoles(
  store: CoverageStore & Pick<CandleQueries, "overview"> & Pick<GapStore, "open">,
  series: readonly Series[],
  now: number,
): Promise<number> {
  const newest = new Map(
    (await store.overview()).map((one) => [seriesKey(one.series), one.newestOpenTime]),
  );
  let missing = 0;
  for (const one of series) {
    const from = await store.firstStored(one);
    const to = newest.get(seriesKey(one));
    if (from === undefined || to === undefined) continue;
    const { unknown } = await detectGaps(store, one, { from, to }, now);
    if (unknown.length > 0) await store.open(unknown);
    for (const { range } of unknown) missing += countOpenTimes(one.timeframe, range);
  }
  return missing;
}

/** From where on a series ought to be whole: its first candle that is wanted, stored or in the ledger. */
export async function wholeFrom(
  store: CoverageStore,
  series: Series,
  wantedFrom: number | undefined,
): Promise<number | undefined> {
  const first = await store.firstStored(series);
  const [gap] = await store.gaps(series);
  const starts = [wantedFrom, first, gap?.range.from].filter((time) => time !== undefined);
  return starts.length === 0 ? undefined : Math.min(...starts);
}
