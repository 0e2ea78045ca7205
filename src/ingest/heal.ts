import type { RequestPriority } from "../core/budget.ts";
import type { Candle } from "../core/candle.ts";
import type { Recorder } from "../core/events.ts";
import { judgeRows, SETTLE_MS } from "../core/finality.ts";
import { afterAnswer, afterRefusal, type Gap, knownAbsence, shedGap } from "../core/gaps.ts";
import type { GapStore, HistorySource } from "../core/ports.ts";
import { isEmptyRange, subtractRanges, type TimeRange } from "../core/range.ts";
import type { Series } from "../core/series.ts";
import { cellOf, nextOpenTime, shiftOpenTime } from "../core/timeframe.ts";
import type { Intake } from "./intake.ts";
import type { Writer } from "./writer.ts";

/** What is known of a series' life at the exchange: nothing was there before and nothing comes after. */
export interface Lifetime {
  /** Open time of the first candle that the exchange has, when it has any. */
  readonly firstOpenTime: number | undefined;
  /** False when the symbol is not traded now: what is missing after the last candle is not to be waited for. */
  readonly isTrading: boolean;
}

/** What healing needs. */
export interface HealOptions {
  readonly history: HistorySource;
  readonly gaps: GapStore;
  readonly intake: Intake;
  readonly writer: Pick<Writer, "room" | "flushed" | "refusedCells">;
  readonly record: Recorder;
  /** Asked when candles are missing; the caller keeps the answers. */
  readonly lifetime: (series: Series, signal: AbortSignal) => Promise<Lifetime>;
}

/** Candles of one turn: after each the ledger is cut down, so that what was killed goes on where it was. */
const PART_CANDLES = 10_000;

/**
 * Asks the exchange by REST once more for a gap of the ledger and enters what is left of it.
 * The ledger is changed only after what came is committed, so a crash in between asks again and loses nothing.
 * @returns what is left
 * @throws {BlackTradeError} E_SOURCE_* or E_DB_*; what was not answered stays in the ledger
 */
export async function healGap(
  options: HealOptions,
  gap: Gap,
  signal: AbortSignal,
  priority: RequestPriority = "heal",
): Promise<readonly Gap[]> {
  const { series, range } = gap;
  const left: Gap[] = [];
  for (let entry = gap; ; ) {
    const end = shiftOpenTime(series.timeframe, entry.range.from, PART_CANDLES);
    const part = { from: entry.range.from, to: Math.min(entry.range.to, end) };
    const rest = { ...entry, range: { from: part.to, to: entry.range.to } };
    const answered = await askPart(options, { ...entry, range: part }, signal, priority);
    const isLast = isEmptyRange(rest.range);
    await options.gaps.replace(entry, isLast ? answered : [...answered, rest]);
    left.push(...answered);
    if (isLast) break;
    entry = rest;
  }
  if (left.every(({ state }) => state === "confirmed")) {
    const outcome = left.length === 0 ? "filled" : "confirmed";
    options.record({ kind: "gapClosed", series, range, outcome });
  }
  return left;
}

/** @returns what is left of the part once all that came is committed */
async function askPart(
  { history, intake, writer, lifetime }: HealOptions,
  gap: Gap,
  signal: AbortSignal,
  priority: RequestPriority,
): Promise<readonly Gap[]> {
  const { series, range } = gap;
  const present: TimeRange[] = [];
  const covered: TimeRange[] = [];
  const left: Gap[] = [];
  let askedTime = Number.MAX_SAFE_INTEGER;
  // One cell more, so that the last wanted row has a successor that proves it.
  const asked = { from: range.from, to: nextOpenTime(series.timeframe, range.to) };
  for await (const page of history.candles(series, asked, signal, priority)) {
    await writer.room(signal);
    askedTime = Math.min(askedTime, page.askedTime);
    covered.push(page.range);
    const judged = judgeRows(series.timeframe, page.rows, page.askedTime);
    const isWanted = ({ openTime }: Candle): boolean => openTime < range.to;
    const [settled, early, forming] = [judged.settled, judged.early, judged.forming].map((rows) =>
      rows.filter(isWanted),
    ) as [Candle[], Candle[], Candle[]];
    for (const [source, rows] of [
      [page.source, settled],
      ["rest-early", early],
    ] as const) {
      for (const row of rows) {
        const cell = cellOf(series.timeframe, row.openTime);
        present.push(cell);
        const fate = intake.take(series, row, source, page.askedTime);
        if (fate === "refused") left.push(afterRefusal(gap, cell, page.askedTime));
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
  if (askedTime === Number.MAX_SAFE_INTEGER) return [gap];
  await writer.flushed(signal);
  for (const cell of writer.refusedCells(series)) {
    const isOurs = cell.from >= range.from && cell.to <= range.to;
    if (isOurs && present.some(({ from }) => from === cell.from)) {
      left.push(afterRefusal(gap, cell, askedTime));
    }
  }
  // Of what no page covered nothing was learned: our clock may have slept, and the gap lies ahead of it.
  const unanswered = subtractRanges(range, [...covered, ...present]);
  left.push(
    ...unanswered.map((part) => ({ ...gap, range: part, nextTryTime: askedTime + SETTLE_MS })),
  );
  const missing = subtractRanges(range, [...present, ...unanswered]);
  if (missing.length === 0) return left;
  const { firstOpenTime, isTrading } = await lifetime(series, signal);
  const lastSeen = present.at(-1)?.to ?? range.from;
  for (const hole of missing) {
    // Nothing but the present lies behind it: what is missing inside history is asked for twice like everything else.
    const isAtPresent = nextOpenTime(series.timeframe, hole.to) + SETTLE_MS * 2 > askedTime;
    const isTail = !isTrading && isAtPresent && hole.to === range.to && hole.from >= lastSeen;
    const known = knownAbsence(gap, hole, askedTime, firstOpenTime, isTail);
    left.push(
      ...known,
      ...afterAnswer(
        gap,
        subtractRanges(
          hole,
          known.map((one) => one.range),
        ),
        askedTime,
      ),
    );
  }
  return left;
}
