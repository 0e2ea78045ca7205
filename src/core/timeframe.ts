import type { TimeRange } from "./range.ts";

/** The candle lengths of the exchange, shortest first. Case matters: `1m` is a minute, `1M` a calendar month. */
export const TIMEFRAMES = [
  "1s",
  "1m",
  "3m",
  "5m",
  "15m",
  "30m",
  "1h",
  "2h",
  "4h",
  "6h",
  "8h",
  "12h",
  "1d",
  "3d",
  "1w",
  "1M",
] as const;

/** One of {@link TIMEFRAMES}. */
export type Timeframe = (typeof TIMEFRAMES)[number];

const SECOND_MS = 1_000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

interface FixedGrid {
  readonly stepMs: number;
  /** A known open time, reduced modulo `stepMs`. */
  readonly originMs: number;
}

/**
 * Every timeframe but the calendar month has a constant length and a constant phase.
 * Source: binance.md §3.1, proved there on data: `3d` opens where `open % 259200000 == 86400000`
 * (2026-07-13 is one), `1w` on Monday 00:00 UTC (1970-01-05 was the first Monday of the epoch).
 */
const FIXED_GRIDS: Readonly<Record<Exclude<Timeframe, "1M">, FixedGrid>> = {
  "1s": { stepMs: SECOND_MS, originMs: 0 },
  "1m": { stepMs: MINUTE_MS, originMs: 0 },
  "3m": { stepMs: 3 * MINUTE_MS, originMs: 0 },
  "5m": { stepMs: 5 * MINUTE_MS, originMs: 0 },
  "15m": { stepMs: 15 * MINUTE_MS, originMs: 0 },
  "30m": { stepMs: 30 * MINUTE_MS, originMs: 0 },
  "1h": { stepMs: HOUR_MS, originMs: 0 },
  "2h": { stepMs: 2 * HOUR_MS, originMs: 0 },
  "4h": { stepMs: 4 * HOUR_MS, originMs: 0 },
  "6h": { stepMs: 6 * HOUR_MS, originMs: 0 },
  "8h": { stepMs: 8 * HOUR_MS, originMs: 0 },
  "12h": { stepMs: 12 * HOUR_MS, originMs: 0 },
  "1d": { stepMs: DAY_MS, originMs: 0 },
  "3d": { stepMs: 3 * DAY_MS, originMs: DAY_MS },
  "1w": { stepMs: 7 * DAY_MS, originMs: 4 * DAY_MS },
};

/** True for the exact spelling of a timeframe; `15min`, `1D` and `1H` are not timeframes. */
export function isTimeframe(text: string): text is Timeframe {
  return (TIMEFRAMES as readonly string[]).includes(text);
}

/** Months since 1970-01 of an instant (epoch ms, UTC). Proleptic Gregorian calendar, no `Date`. */
function monthIndexOf(timeMs: number): number {
  // Days to civil date with years that begin in March, so that the leap day is a year's last day.
  const days = Math.floor(timeMs / DAY_MS) + 719_468;
  const era = Math.floor(days / 146_097);
  const dayOfEra = days - era * 146_097;
  const yearOfEra = Math.floor(
    (dayOfEra -
      Math.floor(dayOfEra / 1_460) +
      Math.floor(dayOfEra / 36_524) -
      Math.floor(dayOfEra / 146_096)) /
      365,
  );
  const dayOfYear =
    dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const monthFromMarch = Math.floor((5 * dayOfYear + 2) / 153);
  const year = yearOfEra + era * 400 + (monthFromMarch >= 10 ? 1 : 0);
  const month = monthFromMarch < 10 ? monthFromMarch + 2 : monthFromMarch - 10;
  return (year - 1970) * 12 + month;
}

/** First instant (epoch ms, UTC) of the month that is `monthIndex` months after 1970-01. */
function monthStart(monthIndex: number): number {
  const year = 1970 + Math.floor(monthIndex / 12);
  const month = monthIndex - Math.floor(monthIndex / 12) * 12;
  const marchYear = month < 2 ? year - 1 : year;
  const monthFromMarch = month < 2 ? month + 10 : month - 2;
  const era = Math.floor(marchYear / 400);
  const yearOfEra = marchYear - era * 400;
  const dayOfYear = Math.floor((153 * monthFromMarch + 2) / 5);
  const dayOfEra =
    yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear;
  return (era * 146_097 + dayOfEra - 719_468) * DAY_MS;
}

/**
 * Open time of the candle that holds an instant.
 * @param timeMs epoch ms, UTC
 * @returns the greatest grid open time that is ≤ `timeMs`
 */
export function openTimeAt(timeframe: Timeframe, timeMs: number): number {
  if (timeframe === "1M") return monthStart(monthIndexOf(timeMs));
  const { stepMs, originMs } = FIXED_GRIDS[timeframe];
  return Math.floor((timeMs - originMs) / stepMs) * stepMs + originMs;
}

/**
 * Open time of the next candle of the grid.
 * @param timeMs epoch ms; an off-grid time belongs to the candle that holds it
 * @returns the least grid open time that is > `timeMs`
 */
export function nextOpenTime(timeframe: Timeframe, timeMs: number): number {
  if (timeframe === "1M") return monthStart(monthIndexOf(timeMs) + 1);
  return openTimeAt(timeframe, timeMs) + FIXED_GRIDS[timeframe].stepMs;
}

/** Open time of the last candle of the grid before `timeMs`: the greatest grid open time that is < `timeMs`. */
export function previousOpenTime(timeframe: Timeframe, timeMs: number): number {
  return openTimeAt(timeframe, timeMs - 1);
}

/**
 * Last millisecond of the candle that opens at `openTime`: next open − 1.
 * An off-grid candle (2017-12, 2018-02) is cut where the grid goes on, which only its served `closeTime` tells exactly.
 */
export function closeTimeOf(timeframe: Timeframe, openTime: number): number {
  return nextOpenTime(timeframe, openTime) - 1;
}

/** The cell of the grid that an instant lies in: what one candle accounts for. */
export function cellOf(timeframe: Timeframe, timeMs: number): TimeRange {
  const from = openTimeAt(timeframe, timeMs);
  return { from, to: nextOpenTime(timeframe, from) };
}

/** True when `timeMs` is an open time of the grid. */
export function isAligned(timeframe: Timeframe, timeMs: number): boolean {
  return openTimeAt(timeframe, timeMs) === timeMs;
}

/**
 * Number of grid open times in a half-open range.
 * @param range `[from, to)`, epoch ms; the edges need not be aligned
 */
export function countOpenTimes(timeframe: Timeframe, range: TimeRange): number {
  if (range.to <= range.from) return 0;
  const first = ceilOpenTime(timeframe, range.from);
  const end = ceilOpenTime(timeframe, range.to);
  if (timeframe === "1M") return monthIndexOf(end) - monthIndexOf(first);
  return (end - first) / FIXED_GRIDS[timeframe].stepMs;
}

/** The least grid open time that is ≥ `timeMs`. */
export function ceilOpenTime(timeframe: Timeframe, timeMs: number): number {
  return isAligned(timeframe, timeMs) ? timeMs : nextOpenTime(timeframe, timeMs);
}

/** The open time `count` candles after (or, negative, before) the candle that holds `timeMs`. */
export function shiftOpenTime(timeframe: Timeframe, timeMs: number, count: number): number {
  if (timeframe === "1M") return monthStart(monthIndexOf(timeMs) + count);
  return openTimeAt(timeframe, timeMs) + count * FIXED_GRIDS[timeframe].stepMs;
}

/** Usual length in ms; for `1M` the longest, 31 days. Only for waiting times and bounds, never for a grid. */
export function nominalMs(timeframe: Timeframe): number {
  return timeframe === "1M" ? 31 * DAY_MS : FIXED_GRIDS[timeframe].stepMs;
}
