import type { Candle } from "../core/candle.ts";
import type { HistoryPage, HistorySource } from "../core/ports.ts";
import { type Series, seriesKey } from "../core/series.ts";
import { countOpenTimes, shiftOpenTime } from "../core/timeframe.ts";

/** Candles of one answer of REST; its weight is the same for one candle and for a thousand (binance.md §2.1). */
const PAGE_CANDLES = 1_000;

/**
 * A source that asks for a whole page where little is wanted, and answers from it what is wanted near by soon after: a
 * hundred small gaps of one day cost two requests. Keeps the newest page of each series.
 */
export function withNearbyPages(history: HistorySource): HistorySource {
  const pages = new Map<string, Promise<HistoryPage | undefined>>();

  async function fetchPage(
    ...[series, { from }, signal, priority]: Parameters<HistorySource["candles"]>
  ): Promise<HistoryPage | undefined> {
    const wide = { from, to: shiftOpenTime(series.timeframe, from, PAGE_CANDLES) };
    const rows: Candle[] = [];
    let first: HistoryPage | undefined;
    let to = from;
    for await (const page of history.candles(series, wide, signal, priority)) {
      first ??= page;
      rows.push(...page.rows);
      to = page.range.to;
    }
    return first && { ...first, range: { from, to }, rows };
  }

  return {
    firstOpenTime: (series: Series, signal) => history.firstOpenTime(series, signal),
    async *candles(series, range, signal, priority) {
      const key = seriesKey(series);
      if (countOpenTimes(series.timeframe, range) > PAGE_CANDLES) {
        yield* history.candles(series, range, signal, priority);
        return;
      }
      const covers = (page: HistoryPage | undefined): page is HistoryPage =>
        page !== undefined && page.range.from <= range.from && page.range.to >= range.to;
      let page = await pages.get(key)?.catch(() => undefined);
      if (!covers(page)) {
        const asked = fetchPage(series, range, signal, priority);
        pages.set(key, asked);
        asked.catch(() => pages.delete(key));
        page = await asked;
      }
      if (page === undefined) return;
      yield {
        ...page,
        range: { from: range.from, to: Math.min(range.to, page.range.to) },
        rows: page.rows.filter(({ openTime }) => openTime >= range.from && openTime < range.to),
      };
    },
  };
}
