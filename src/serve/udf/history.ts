import type { Candle } from "../../core/candle.ts";
import type { Gap } from "../../core/gaps.ts";
import type { TimeRange } from "../../core/range.ts";
import type { Series } from "../../core/series.ts";
import { readRows } from "../binance-compatible/klines.ts";
import type { ServeParts } from "../parts.ts";

/** Bars of one answer; a chart asks for some hundreds. */
const MAX_BARS = 10_000;
const MAX_MARKS = 1_000;

/** Which bars are wanted. */
export interface HistoryWanted {
  /** Epoch ms, half-open. */
  readonly range: TimeRange;
  /** So many bars that open before the end of the range, wherever the range begins. */
  readonly countBack?: number;
}

/**
 * The answer to `/history` as JSON text: the newest {@link MAX_BARS} bars that are wanted, ascending, the one that is
 * forming among them. Prices and volumes are JSON numbers with the digits that are stored. Without a bar in the range
 * `nextTime` is the newest one before it.
 */
export async function historyText(
  parts: ServeParts,
  series: Series,
  { range, countBack }: HistoryWanted,
): Promise<string> {
  const isCounted = countBack !== undefined && countBack > 0;
  const rows = await readRows(parts, series, {
    range: isCounted ? { from: Number.NEGATIVE_INFINITY, to: range.to } : range,
    limit: isCounted ? Math.min(countBack, MAX_BARS) : MAX_BARS,
    order: "descending",
  });
  if (rows.length > 0) return barsText(rows);
  const [before] = await parts.queries.latest(series, 1, Math.min(range.from, range.to));
  const next = before === undefined ? "" : `,"nextTime":${before.candle.openTime / 1_000}`;
  return `{"s":"no_data"${next}}`;
}

/** The answer to `/marks`: each gap at the bar after it. */
export function marksOf(
  gaps: readonly Gap[],
  { from, to }: TimeRange,
): Readonly<Record<string, readonly unknown[]>> {
  const shown = gaps.filter(({ range }) => range.to >= from && range.to <= to).slice(-MAX_MARKS);
  return {
    id: shown.map(({ range }) => `gap-${range.from}`),
    time: shown.map(({ range }) => range.to / 1_000),
    color: shown.map(({ state }) => (state === "confirmed" ? "blue" : "red")),
    text: shown.map(
      ({ range, reason, state }) =>
        `No candles from ${shownTime(range.from)} to ${shownTime(range.to)} UTC: ${reason} (${state})`,
    ),
    label: shown.map(() => "G"),
    labelFontColor: shown.map(() => "white"),
    minSize: shown.map(() => 14),
  };
}

function barsText(rows: readonly Candle[]): string {
  const column = (name: string, value: (row: Candle) => string | number): string =>
    `"${name}":[${rows.map(value).join(",")}]`;
  const columns = [
    column("t", ({ openTime }) => openTime / 1_000),
    column("o", ({ open }) => open),
    column("h", ({ high }) => high),
    column("l", ({ low }) => low),
    column("c", ({ close }) => close),
    column("v", ({ volume }) => volume),
  ];
  return `{"s":"ok",${columns.join(",")}}`;
}

function shownTime(time: number): string {
  return new Date(time).toISOString().slice(0, 16).replace("T", " ");
}
