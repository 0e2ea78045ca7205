import type { TimeRange } from "../core/range.ts";
import type { Series } from "../core/series.ts";
import { EXCHANGE, knownOutage } from "../exchanges/binance/index.ts";

/** The known outages of its exchange in a stretch without candles, by name: a remark for people, nothing is decided by it. */
export function knownOutageOf(series: Series, range: TimeRange): string | undefined {
  return series.exchange === EXCHANGE ? knownOutage(range) : undefined;
}
