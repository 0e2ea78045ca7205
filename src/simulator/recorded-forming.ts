import { scaleOf } from "../core/decimal.ts";
import type { MarketCandle } from "./market.ts";

/** Progress is counted in whole parts of this many, so that it never needs a float. */
const WHOLE = 10_000n;
const THIRD = 3_333n;

/**
 * How a recorded candle may have looked while it was forming: volumes grow with time, the price goes from open over both
 * extremes to close. Grows only, and meets the recorded values at the end.
 * @param elapsedMs since the open, at least 0
 * @param lengthMs of the whole candle, above `elapsedMs`
 */
export function formingOf(candle: MarketCandle, elapsedMs: number, lengthMs: number): MarketCandle {
  const part = BigInt(Math.floor((elapsedMs / lengthMs) * Number(WHOLE)));
  const scale = Math.max(
    ...[candle.open, candle.high, candle.low, candle.close].map((text) => scaleOf(text)),
  );
  const units = (text: string): bigint =>
    BigInt(text.replace(".", "") + "0".repeat(scale - scaleOf(text)));
  const open = units(candle.open);
  const close = units(candle.close);
  const extremes =
    close >= open
      ? [units(candle.low), units(candle.high)]
      : [units(candle.high), units(candle.low)];
  const path = pathUpTo([open, ...extremes, close], part);
  const tradeCount = Number((BigInt(candle.tradeCount) * part) / WHOLE);
  return {
    ...candle,
    high: written(path.high, scale),
    low: written(path.low, scale),
    close: written(path.last, scale),
    volume: share(candle.volume, part),
    quoteVolume: share(candle.quoteVolume, part),
    tradeCount,
    takerBuyVolume: share(candle.takerBuyVolume, part),
    takerBuyQuoteVolume: share(candle.takerBuyQuoteVolume, part),
    firstTradeId: tradeCount === 0 ? -1 : candle.firstTradeId,
    lastTradeId: tradeCount === 0 ? -1 : candle.firstTradeId + tradeCount - 1,
  };
}

function pathUpTo(
  corners: readonly bigint[],
  part: bigint,
): { last: bigint; high: bigint; low: bigint } {
  const leg = Math.min(2, Number(part / THIRD));
  const from = corners[leg] ?? 0n;
  const to = corners[leg + 1] ?? from;
  const within = part - BigInt(leg) * THIRD;
  const last = from + ((to - from) * within) / (WHOLE - 2n * THIRD);
  const passed = [...corners.slice(0, leg + 1), last];
  return {
    last,
    high: passed.reduce((a, b) => (b > a ? b : a)),
    low: passed.reduce((a, b) => (b < a ? b : a)),
  };
}

function share(text: string, part: bigint): string {
  return written((BigInt(text.replace(".", "")) * part) / WHOLE, scaleOf(text));
}

function written(units: bigint, scale: number): string {
  const digits = units.toString().padStart(scale + 1, "0");
  return scale === 0 ? digits : `${digits.slice(0, -scale)}.${digits.slice(-scale)}`;
}
