import type { Candle } from "../core/candle.ts";
import type { CandleQueries } from "../core/ports.ts";
import type { TimeRange } from "../core/range.ts";
import type { Series } from "../core/series.ts";

/** Candles of one question: enough to be fast, few enough to be little memory. */
const PAGE_ROWS = 5_000;

/** All stored candles of a range, ascending, a page at a time. @throws {BlackTradeError} E_DB_* */
export async function* candlePages(
  store: Pick<CandleQueries, "range">,
  series: Series,
  { from, to }: TimeRange,
): AsyncGenerator<readonly Candle[]> {
  let next = from;
  while (next < to) {
    const page = await store.range(series, { from: next, to }, PAGE_ROWS);
    const last = page.at(-1);
    if (last === undefined) return;
    yield page.map(({ candle }) => candle);
    if (page.length < PAGE_ROWS) return;
    next = last.candle.openTime + 1;
  }
}

/** Every open time there is. */
export const EVER: TimeRange = { from: 0, to: Number.MAX_SAFE_INTEGER };
