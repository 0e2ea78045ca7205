import type { Candle } from "../../core/candle.ts";
import type { TimeRange } from "../../core/range.ts";
import type { Series } from "../../core/series.ts";
import type { ServeParts } from "../parts.ts";

/** Which candles are wanted. */
export interface RowsWanted {
  /** Open times, half-open. `to` may be Infinity. */
  readonly range: TimeRange;
  readonly limit: number;
  /** `descending`: the newest of the range, `ascending`: the oldest. */
  readonly order: "ascending" | "descending";
}

/**
 * Candles of a series, ascending: the stored ones, and last the one that is forming, where a stream tells of it.
 * A candle whose close has passed is the committed one or absent; it is never shown as the stream left it before its end.
 */
export async function readRows(
  parts: Pick<ServeParts, "queries" | "feed" | "now">,
  series: Series,
  { range, limit, order }: RowsWanted,
): Promise<readonly Candle[]> {
  // Before the database is asked: what closes meanwhile is then in one of the two.
  const forming = formingCandle(parts, series, range);
  const { queries } = parts;
  const stored =
    order === "ascending"
      ? await queries.range(series, range, limit)
      : await queries.latest(series, limit, Number.isFinite(range.to) ? range.to : undefined);
  const rows = stored.map(({ candle }) => candle).filter(({ openTime }) => openTime >= range.from);
  if (forming === undefined || forming.openTime <= (rows.at(-1)?.openTime ?? -1)) return rows;
  if (order === "descending") return [...rows, forming].slice(-limit);
  return rows.length < limit ? [...rows, forming] : rows;
}

function formingCandle(
  { feed, now }: Pick<ServeParts, "feed" | "now">,
  series: Series,
  { from, to }: TimeRange,
): Candle | undefined {
  const candle = feed.forming(series);
  if (candle === undefined || candle.openTime < from || candle.openTime >= to) return undefined;
  return now() > candle.closeTime ? undefined : candle;
}
