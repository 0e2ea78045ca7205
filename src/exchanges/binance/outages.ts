import { intersectRanges, subtractRanges, type TimeRange } from "../../core/range.ts";

/**
 * When Binance's spot market is known to have been off (binance.md §3.2), as public reports have it. This is for people
 * to read beside a gap and decides nothing: a gap is believed for what the exchange answers, never for what stands here.
 */

/** A time in which the whole spot market was off: candles that lie in it never were. */
export interface Outage {
  /** Half-open, whole minutes: those for which BTCUSDT has no 1m candle, or no trade where that alone is reported. */
  readonly range: TimeRange;
  /** What is odd about it, where anything is. */
  readonly note?: string;
  /** A public report of it: `owner/repository#issue` on GitHub. */
  readonly source: string;
}

const BY_SECOND = "binance/binance-public-data#365";
const OF_2020 = "binance/binance-public-data#114";
const OF_2020_TO_2024 = "binance/binance-public-data#368";
const NO_TRADES = "edges are those of the trades; candles may begin earlier";

/**
 * Ascending, disjoint. From 2019 on it agrees with a scan of REST to 2026-09; before, edges may be off by minutes. That
 * such gaps are maintenance, and stay: `binance/binance-public-data#169`.
 */
export const OUTAGES: readonly Outage[] = [
  outage("2017-09-06T16:00", "2017-09-06T23:00", BY_SECOND),
  outage("2017-12-18T10:01", "2017-12-18T10:14", BY_SECOND, "the rows before it are off the grid"),
  outage("2017-12-18T12:30", "2017-12-18T13:34", BY_SECOND, NO_TRADES),
  outage("2018-01-04T03:01", "2018-01-04T05:06", BY_SECOND, NO_TRADES),
  outage("2018-02-08T00:29", "2018-02-09T09:59", BY_SECOND, "the rows after it are off the grid"),
  outage("2018-02-10T06:00", "2018-02-10T06:15", BY_SECOND, "the rows before it are off the grid"),
  outage("2018-02-11T04:01", "2018-02-11T04:35", BY_SECOND, NO_TRADES),
  outage("2018-06-26T02:00", "2018-06-26T12:00", BY_SECOND),
  outage("2018-06-27T13:00", "2018-06-27T14:45", BY_SECOND, NO_TRADES),
  outage("2018-07-04T00:23", "2018-07-04T08:00", BY_SECOND),
  outage("2018-10-19T06:00", "2018-10-19T09:30", BY_SECOND, NO_TRADES),
  outage("2018-11-14T02:00", "2018-11-14T09:00", BY_SECOND),
  outage("2019-03-12T02:00", "2019-03-12T08:00", BY_SECOND),
  outage("2019-05-15T03:00", "2019-05-15T13:00", BY_SECOND),
  outage("2019-06-07T21:14", "2019-06-07T22:15", BY_SECOND),
  outage("2019-08-15T02:00", "2019-08-15T10:00", BY_SECOND),
  outage("2019-11-13T02:00", "2019-11-13T04:20", BY_SECOND),
  outage("2019-11-13T05:30", "2019-11-13T05:33", BY_SECOND),
  outage("2019-11-25T02:00", "2019-11-25T04:00", BY_SECOND),
  outage("2020-02-09T02:00", "2020-02-09T03:00", OF_2020),
  outage("2020-02-19T11:36", "2020-02-19T17:30", OF_2020),
  outage("2020-03-04T09:22", "2020-03-04T11:30", OF_2020),
  outage("2020-04-25T02:00", "2020-04-25T04:30", OF_2020),
  outage("2020-06-28T02:00", "2020-06-28T05:30", OF_2020),
  outage("2020-11-30T06:00", "2020-11-30T07:00", OF_2020),
  outage("2020-12-21T13:48", "2020-12-21T18:00", OF_2020, "in archives from 14:10 on"),
  outage("2020-12-25T02:00", "2020-12-25T03:00", OF_2020),
  outage("2021-02-11T03:41", "2021-02-11T05:00", OF_2020_TO_2024),
  outage("2021-03-06T02:00", "2021-03-06T03:30", OF_2020_TO_2024),
  outage("2021-04-20T02:00", "2021-04-20T04:30", OF_2020_TO_2024),
  outage("2021-04-25T04:01", "2021-04-25T08:45", OF_2020_TO_2024),
  outage("2021-08-13T02:00", "2021-08-13T06:30", OF_2020_TO_2024),
  outage("2021-09-29T07:00", "2021-09-29T09:00", OF_2020_TO_2024),
  outage("2023-03-24T12:40", "2023-03-24T14:00", OF_2020_TO_2024),
];

/** So many are named; a stretch of years has dozens. */
const MOST_NAMED = 2;

/**
 * Names the known outages in a stretch without candles, for people to read: `known Binance outage 2021-04-25 04:01–08:45
 * (binance/binance-public-data#368)`. Begins with `in part` where the stretch is more than they explain.
 * @param range half-open, epoch ms UTC
 * @returns `undefined` when none overlaps
 */
export function knownOutage(range: TimeRange): string | undefined {
  const known = OUTAGES.filter((one) => intersectRanges(one.range, range) !== undefined);
  if (known.length === 0) return undefined;
  const rest = subtractRanges(
    range,
    known.map((one) => one.range),
  );
  const names = known.slice(0, MOST_NAMED).map(nameOf);
  const more = known.length > MOST_NAMED ? ` and ${known.length - MOST_NAMED} more` : "";
  return (
    `${rest.length === 0 ? "" : "in part "}known Binance outage${known.length > 1 ? "s" : ""} ` +
    `${names.join(", ")}${more}`
  );
}

function nameOf({ range, note, source }: Outage): string {
  const [fromDay, fromTime] = minuteOf(range.from);
  const [toDay, toTime] = minuteOf(range.to);
  const to = fromDay === toDay ? `–${toTime}` : ` – ${toDay} ${toTime}`;
  const remark = note === undefined ? "" : `; ${note}`;
  return `${fromDay} ${fromTime}${to} (${source}${remark})`;
}

function minuteOf(time: number): [day: string, time: string] {
  const text = new Date(time).toISOString();
  return [text.slice(0, 10), text.slice(11, 16)];
}

function outage(from: string, to: string, source: string, note?: string): Outage {
  const range = { from: Date.parse(`${from}Z`), to: Date.parse(`${to}Z`) };
  return note === undefined ? { range, source } : { range, source, note };
}
