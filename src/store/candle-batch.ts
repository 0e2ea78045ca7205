import { compareVersions, type VersionedCandle, versionNumber } from "../core/finality.ts";
import { closeTimeOf } from "../core/timeframe.ts";
import { numberArray } from "./sql-arrays.ts";

/** An offered candle with its place in the batch and the number of its series. */
export interface OfferedRow {
  readonly index: number;
  readonly seriesId: number;
  readonly offered: VersionedCandle;
}

/** All offered versions of one candle, the one that wins first. */
export type Rivals = readonly [OfferedRow, ...OfferedRow[]];

/**
 * A batch by candle: the same key twice in one statement is an error of PostgreSQL (21000).
 * @param ids numbers of the series, index for index
 * @returns in the order of the primary key, which all writers keep so that they cannot deadlock
 */
export function rivalsOf(batch: readonly VersionedCandle[], ids: readonly number[]): Rivals[] {
  const rows = batch.map((offered, index): OfferedRow => {
    return { index, seriesId: ids[index] ?? 0, offered };
  });
  rows.sort(
    (a, b) =>
      a.seriesId - b.seriesId ||
      placeOf(a) - placeOf(b) ||
      compareVersions(b.offered, a.offered) ||
      a.index - b.index,
  );
  const groups: [OfferedRow, ...OfferedRow[]][] = [];
  for (const row of rows) {
    const group = groups.at(-1);
    if (group !== undefined && isSameKey(group[0], row)) group.push(row);
    else groups.push([row]);
  }
  return groups;
}

/** What is no time at all sorts first; compared as it is, it would leave the whole order undefined. */
function placeOf({ offered }: OfferedRow): number {
  const { openTime } = offered.candle;
  return Number.isFinite(openTime) ? openTime : -1;
}

function isSameKey(a: OfferedRow, b: OfferedRow): boolean {
  return (
    a.seriesId === b.seriesId && Object.is(a.offered.candle.openTime, b.offered.candle.openTime)
  );
}

/** Columns of {@link candleColumns} in the order of the parameters, as SQL. */
export const OFFERED = `
  unnest(
    $1::int[], $2::int[], $3::bigint[], $4::bigint[], $5::numeric[], $6::numeric[], $7::numeric[], $8::numeric[],
    $9::numeric[], $10::numeric[], $11::numeric[], $12::numeric[], $13::numeric[]
  ) with ordinality as offered (
    series_id, trade_count, open_ms, version, cut_ms, open, high, low, close,
    volume, quote_volume, taker_buy_volume, taker_buy_quote_volume, position
  )`;

/** Rows as array literals, one a column. Values that are no numbers reach the server, which refuses them. */
export function candleColumns(rows: readonly OfferedRow[]): string[] {
  const column = (value: (row: VersionedCandle) => number | string): string =>
    numberArray(rows.map(({ offered }) => value(offered)));
  return [
    numberArray(rows.map(({ seriesId }) => seriesId)),
    column(({ candle }) => candle.tradeCount),
    column(({ candle }) => candle.openTime),
    column(({ source, observedTime }) => versionNumber(source, observedTime)),
    column(
      ({ series, candle }) => closeTimeOf(series.timeframe, candle.openTime) - candle.closeTime,
    ),
    column(({ candle }) => candle.open),
    column(({ candle }) => candle.high),
    column(({ candle }) => candle.low),
    column(({ candle }) => candle.close),
    column(({ candle }) => candle.volume),
    column(({ candle }) => candle.quoteVolume),
    column(({ candle }) => candle.takerBuyVolume),
    column(({ candle }) => candle.takerBuyQuoteVolume),
  ];
}
