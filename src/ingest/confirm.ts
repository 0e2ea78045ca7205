import type { Recorder } from "../core/events.ts";
import { judgeRows, LONE_ROW_SETTLED_MS, SETTLE_MS } from "../core/finality.ts";
import type { ConfirmStore, HistorySource } from "../core/ports.ts";
import { isWithin } from "../core/range.ts";
import type { Series } from "../core/series.ts";
import { cellOf, nextOpenTime, openTimeAt, shiftOpenTime } from "../core/timeframe.ts";
import { type RemovedStore, removedRanges } from "./detect.ts";
import type { Intake } from "./intake.ts";
import type { Writer } from "./writer.ts";

/** What confirming needs. */
export interface ConfirmOptions {
  readonly history: HistorySource;
  readonly store: ConfirmStore & RemovedStore;
  readonly intake: Intake;
  readonly writer: Writer;
  readonly record: Recorder;
  /** Exchange time, epoch ms. */
  readonly exchangeNow: () => number;
}

/** Candles of one answer of REST. */
const PAGE_CANDLES = 1_000;
/** A page is asked for when it is half full, or after an hour, and never for less than one candle. */
const DUE_CANDLES = 500;
const DUE_MS = 60 * 60_000;

/** True when enough has settled since `confirmedTo` to be worth a request. */
export function isConfirmationDue(
  { timeframe }: Series,
  confirmedTo: number,
  exchangeNow: number,
): boolean {
  const end = openTimeAt(timeframe, exchangeNow - SETTLE_MS);
  const enough = Math.min(
    shiftOpenTime(timeframe, confirmedTo, DUE_CANDLES),
    Math.max(shiftOpenTime(timeframe, confirmedTo, 1), confirmedTo + DUE_MS),
  );
  return end >= enough;
}

/**
 * Reads one page of candles again that came by the stream, a young REST answer or CSV, and have settled. What differs is
 * stored as a newer version; the old one is kept as a revision.
 * @param from every stored candle before this is confirmed
 * @returns the new such instant; `undefined` when older candles to be confirmed were written meanwhile
 * @throws {BlackTradeError} E_SOURCE_*, E_DB_*
 */
export async function confirmPage(
  { history, store, intake, writer, record, exchangeNow }: ConfirmOptions,
  series: Series,
  from: number,
  signal: AbortSignal,
): Promise<number | undefined> {
  const { timeframe } = series;
  const end = openTimeAt(timeframe, exchangeNow() - SETTLE_MS);
  const openTimes = await store.unconfirmed(series, { from, to: end }, PAGE_CANDLES);
  const [first] = openTimes;
  const last = openTimes.at(-1);
  let confirmedTo = end;
  const unanswered = new Set<number>();
  if (first !== undefined && last !== undefined) {
    // Confirmed stretches between unconfirmed ones are not read again: a page ends where it would be mostly them.
    const reach = shiftOpenTime(timeframe, first, PAGE_CANDLES);
    const to = Math.min(reach, cellOf(timeframe, last).to);
    const wanted = new Set(openTimes.filter((openTime) => openTime < to));
    // One cell more, so that the last wanted row has a successor that proves it.
    const asked = { from: first, to: nextOpenTime(timeframe, to) };
    const removed = await removedRanges(store, series, { from: first, to });
    let answer: Answer = { askedTime: Number.NEGATIVE_INFINITY, servedTo: first };
    for await (const page of history.candles(series, asked, signal, "bulk")) {
      await writer.room(signal);
      const { settled, early, forming } = judgeRows(timeframe, page.rows, page.askedTime);
      // Served, and not to be believed yet, as the last row of a short answer.
      for (const { openTime } of [...early, ...forming]) unanswered.add(openTime);
      for (const row of settled) {
        if (row.openTime >= to || isWithin(removed, row.openTime)) continue;
        wanted.delete(row.openTime);
        const fate = intake.take(series, row, page.source, page.askedTime);
        if (fate === "shed") unanswered.add(row.openTime);
      }
      answer = {
        askedTime: page.askedTime,
        servedTo: settled.at(-1)?.openTime ?? answer.servedTo,
      };
    }
    for (const openTime of wanted) {
      if (isOpenStill(cellOf(timeframe, openTime).to, openTime, answer)) unanswered.add(openTime);
    }
    await writer.flushed(signal);
    confirmedTo = openTimes.length === PAGE_CANDLES || to < cellOf(timeframe, last).to ? to : end;
    const absentCount = [...wanted].filter((openTime) => !unanswered.has(openTime)).length;
    record({ kind: "confirmed", series, candleCount: openTimes.length, absentCount });
  }
  const answered = openTimes.filter((openTime) => !unanswered.has(openTime));
  return store.saveConfirmed(series, from, confirmedTo, answered);
}

/** What the exchange said last: when it was asked, and up to which settled row (open time) it told of candles. */
interface Answer {
  readonly askedTime: number;
  readonly servedTo: number;
}

/** True while a candle that was not served, or not as settled, may come still: a replica lags, or no row follows it yet. */
function isOpenStill(cellEnd: number, openTime: number, { askedTime, servedTo }: Answer): boolean {
  return openTime >= servedTo && askedTime < cellEnd + LONE_ROW_SETTLED_MS;
}
