import { addDecimals, isZeroDecimal, scaleOf } from "../core/decimal.ts";
import type { Corrections, MarketCandle, MarketSeries } from "./market.ts";
import { marketSeriesKey } from "./market.ts";
import { fraction, hashText } from "./noise.ts";

const QUOTE_SCALE = 8;

/**
 * The version of a closed candle that the exchange has at `at`.
 * The second version differs as real late trades do: one quantity step more, and another close within high and low.
 * @param closedAt first instant at which the candle is closed, epoch ms
 * @param step one quantity step, decimal text
 */
export function versionAt(
  candle: MarketCandle,
  series: MarketSeries,
  corrections: Corrections | undefined,
  closedAt: number,
  at: number,
  step: string,
): MarketCandle {
  if (corrections === undefined || isZeroDecimal(candle.volume)) return candle;
  if (closedAt < (corrections.since ?? 0) || at < closedAt + corrections.delayMs) return candle;
  if (!isChosen(series, candle.openTime, corrections.share)) return candle;
  const close = otherClose(candle);
  const quote = product(step, close);
  return {
    ...candle,
    close,
    volume: addDecimals(candle.volume, step),
    quoteVolume: addDecimals(candle.quoteVolume, quote),
    tradeCount: candle.tradeCount + 1,
  };
}

function isChosen(series: MarketSeries, openTime: number, share: number): boolean {
  const seed = hashText(marketSeriesKey(series), 0x1b873593);
  return fraction(seed, Math.floor(openTime / 1_000)) < share;
}

function otherClose(candle: MarketCandle): string {
  if (candle.close !== candle.high) return candle.high;
  return candle.low;
}

function product(a: string, b: string): string {
  const scale = scaleOf(a) + scaleOf(b);
  const value = BigInt(a.replace(".", "")) * BigInt(b.replace(".", ""));
  const digits =
    scale > QUOTE_SCALE
      ? value / 10n ** BigInt(scale - QUOTE_SCALE)
      : value * 10n ** BigInt(QUOTE_SCALE - scale);
  const text = digits.toString().padStart(QUOTE_SCALE + 1, "0");
  return `${text.slice(0, -QUOTE_SCALE)}.${text.slice(-QUOTE_SCALE)}`;
}
