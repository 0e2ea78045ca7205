import type { KlinesRequest } from "../wire/klines-query.ts";
import type { Market, MarketCandle } from "./market.ts";

/**
 * The answer's rows in the order of the request, the candle that is forming among them; lazy.
 * @param at exchange time that the answer shows
 */
export function* klineRows(
  market: Market,
  request: KlinesRequest,
  at: number,
): Generator<MarketCandle> {
  let left = request.limit;
  for (const candle of market.candles(request.series, request.range, at, request.order)) {
    yield candle;
    if (--left === 0) return;
  }
}
