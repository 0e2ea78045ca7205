import type { Recorder } from "../core/events.ts";
import { judgeRows, SETTLE_MS } from "../core/finality.ts";
import { afterAnswer, type Gap, rejectedGap, shedGap } from "../core/gaps.ts";
import type { GapStore, HistorySource } from "../core/ports.ts";
import { subtractRanges, type TimeRange } from "../core/range.ts";
import { cellOf } from "../core/timeframe.ts";
import type { Intake } from "./intake.ts";
import type { Writer } from "./writer.ts";

/** What healing needs. */
export interface HealOptions {
  readonly history: HistorySource;
  readonly gaps: GapStore;
  readonly intake: Intake;
  readonly writer: Writer;
  readonly record: Recorder;
}

/**
 * Asks the exchange once more for a gap of the ledger and enters what is left of it.
 * The ledger is changed only after what came is committed, so a crash in between asks again and loses nothing.
 * @throws {BlackTradeError} E_SOURCE_* or E_DB_*; the gap then stays as it was
 */
export async function healGap(
  { history, gaps, intake, writer, record }: HealOptions,
  gap: Gap,
  signal: AbortSignal,
): Promise<void> {
  const { series, range } = gap;
  const present: TimeRange[] = [];
  const left: Gap[] = [];
  let askedTime = Number.MAX_SAFE_INTEGER;
  for await (const page of history.candles(series, range, signal, "heal")) {
    await writer.room(signal);
    askedTime = Math.min(askedTime, page.askedTime);
    const { settled, early, forming } = judgeRows(series.timeframe, page.rows, page.askedTime);
    for (const [source, rows] of [
      [page.source, settled],
      ["rest-early", early],
    ] as const) {
      for (const row of rows) {
        const cell = cellOf(series.timeframe, row.openTime);
        present.push(cell);
        const fate = intake.take(series, row, source, page.askedTime);
        if (fate === "refused") left.push(rejectedGap(series, row.openTime, page.askedTime));
        else if (fate === "shed") left.push(shedGap(series, cell, page.askedTime));
      }
    }
    for (const row of forming) {
      const cell = cellOf(series.timeframe, row.openTime);
      present.push(cell);
      left.push({ ...gap, range: cell, nextTryTime: page.askedTime + SETTLE_MS });
    }
  }
  // No page, no answer: nothing was learned.
  if (askedTime === Number.MAX_SAFE_INTEGER) return;
  await writer.flushed(signal);
  left.push(...afterAnswer(gap, subtractRanges(range, present), askedTime));
  await gaps.replace(gap, left);
  if (left.every((part) => part.state === "confirmed")) {
    record({
      kind: "gapClosed",
      series,
      range,
      outcome: left.length === 0 ? "filled" : "confirmed",
    });
  }
}
