import { type Candle, DECIMAL_FIELDS, type SeriesCandle } from "./candle.ts";
import { compareDecimals } from "./decimal.ts";
import { seriesKey } from "./series.ts";
import { isAligned, nextOpenTime, nominalMs, type Timeframe } from "./timeframe.ts";

/**
 * The one rule of finality. Only closed candles have a version; between two versions of a candle the higher
 * authority wins, then the later one. The same rule stands in the `WHERE` of the store's upsert.
 */

/**
 * Roads on which a closed candle comes, with their authority.
 * `rest-early` is REST's answer while a candle is younger than {@link SETTLE_MS}: the kline server and the matching
 * engine are separate, and the answer may still change. It ranks below the stream's closing frame and is read again.
 * `csv-partial` is a file's candle without some of the columns that an exchange serves: a zero among quote volume,
 * trades and taker buys was not told there. Whatever tells them ranks above it.
 * `archive-unproven` is a candle of an archive file that no checksum vouches for: it is read again by REST.
 */
export const AUTHORITY = {
  "csv-partial": 5,
  csv: 10,
  "archive-unproven": 15,
  "rest-early": 20,
  stream: 30,
  "archive-monthly": 40,
  "archive-daily": 50,
  rest: 60,
} as const;

/** One of the roads of {@link AUTHORITY}. */
export type Source = keyof typeof AUTHORITY;

/** How long after its close a candle is taken as settled at the exchange's REST service. */
export const SETTLE_MS = 60_000;

/**
 * How long after its close the newest row of an answer, with no row after it, is taken as closed: its successor has
 * not begun to trade, or a replica lags. Longer than any lag that was reported; 2 s would be the least.
 */
export const LONE_ROW_CLOSED_MS = 30_000;

/** A row with no row after it may be a replica that is stuck in mid-candle: it takes longer to be believed for good. */
export const LONE_ROW_SETTLED_MS = 10 * 60_000;

/** A closed candle with the road and the exchange time (epoch ms) at which this version of it was seen. */
export interface VersionedCandle extends SeriesCandle {
  readonly source: Source;
  readonly observedTime: number;
}

const TIME_SPAN = 2 ** 44;

/**
 * A version as one integer, so that one comparison decides: authority · 2^44 + observed time. Below 2^53.
 * @param observedTime epoch ms, below 2^44
 */
export function versionNumber(source: Source, observedTime: number): number {
  return AUTHORITY[source] * TIME_SPAN + observedTime;
}

/** The road and observed time that a stored version number stands for. An unknown authority gives `undefined`. */
export function readVersionNumber(
  version: number,
): { source: Source; observedTime: number } | undefined {
  const authority = Math.floor(version / TIME_SPAN);
  for (const source of Object.keys(AUTHORITY) as Source[]) {
    if (AUTHORITY[source] === authority) return { source, observedTime: version % TIME_SPAN };
  }
  return undefined;
}

/**
 * Total order of the versions of one candle: version number, then trade count, then the decimals by value.
 * The values break a tie only so that any order of arrival ends at the same row.
 * @returns positive when `a` replaces `b`, negative when `b` replaces `a`, 0 when they are equal in value
 */
export function compareVersions(a: VersionedCandle, b: VersionedCandle): number {
  const byVersion =
    versionNumber(a.source, a.observedTime) - versionNumber(b.source, b.observedTime);
  if (byVersion !== 0) return byVersion;
  if (a.candle.tradeCount !== b.candle.tradeCount) return a.candle.tradeCount - b.candle.tradeCount;
  for (const field of TIE_ORDER) {
    const byField = compareDecimals(a.candle[field], b.candle[field]);
    if (byField !== 0) return byField;
  }
  return a.candle.closeTime - b.candle.closeTime;
}

/** Order in which equal versions are told apart; the upsert of the store uses the same. */
const TIE_ORDER = [
  "volume",
  "quoteVolume",
  "takerBuyVolume",
  "takerBuyQuoteVolume",
  "open",
  "high",
  "low",
  "close",
] as const satisfies readonly (typeof DECIMAL_FIELDS)[number][];

/** True when two candles say the same: equal times and counts, decimals equal by value (`1.0` = `1.00`). */
export function sameValues(a: Candle, b: Candle): boolean {
  return (
    a.openTime === b.openTime &&
    a.closeTime === b.closeTime &&
    a.tradeCount === b.tradeCount &&
    DECIMAL_FIELDS.every((field) => compareDecimals(a[field], b[field]) === 0)
  );
}

/** Identity of a candle across all series. */
export function candleKey({ series, candle }: SeriesCandle): string {
  return `${seriesKey(series)}@${candle.openTime}`;
}

/** Rows of a REST answer, told apart. All three ascending. */
export interface JudgedRows {
  /** Closed and settled: authority `rest`. */
  readonly settled: readonly Candle[];
  /** Closed, but so young that the answer may change: authority `rest-early`, to be read again. */
  readonly early: readonly Candle[];
  /** Still forming, or not provably closed: never stored. */
  readonly forming: readonly Candle[];
}

/**
 * Which rows of a REST answer are closed. REST has no closed flag and serves the open candle as its last row.
 * A row is closed when a later row follows it in the same answer (the exchange itself had moved on when it answered:
 * a lagging replica is seen through), or when exchange time is past its close by {@link LONE_ROW_CLOSED_MS}.
 * The local clock plays no part.
 * @param rows ascending by open time
 * @param askedTime exchange time (epoch ms) just before the request was sent, so never later than the answer
 */
export function judgeRows(
  timeframe: Timeframe,
  rows: readonly Candle[],
  askedTime: number,
): JudgedRows {
  const settled: Candle[] = [];
  const early: Candle[] = [];
  const forming: Candle[] = [];
  rows.forEach((row, index) => {
    const cellEnd = nextOpenTime(timeframe, row.openTime);
    const endTime = endOf(timeframe, row, cellEnd);
    const hasSuccessor = index < rows.length - 1;
    // A successor proves a close only when the close is also past by exchange time: it may be a row from the future.
    if (askedTime < endTime) forming.push(row);
    else if (!hasSuccessor && askedTime < endTime + LONE_ROW_CLOSED_MS) forming.push(row);
    else if (askedTime < cellEnd + (hasSuccessor ? SETTLE_MS : LONE_ROW_SETTLED_MS))
      early.push(row);
    else settled.push(row);
  });
  return { settled, early, forming };
}

/** When a row stops changing: with its cell. An off-grid row goes on over the edge as it says, a full length at most. */
function endOf(timeframe: Timeframe, { openTime, closeTime }: Candle, cellEnd: number): number {
  if (isAligned(timeframe, openTime)) return cellEnd;
  return Math.max(cellEnd, Math.min(closeTime + 1, openTime + nominalMs(timeframe)));
}
