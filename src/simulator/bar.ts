/**
 * A candle in whole ticks and lots. Quote sums can pass 2^53, so each is kept as `high * 10^12 + low`:
 * exact integer additions without the price of BigInt.
 */
export interface Bar {
  /** Trades in it; with 0 the prices mean nothing. */
  trades: number;
  open: number;
  high: number;
  low: number;
  close: number;
  lots: number;
  takerLots: number;
  quoteHigh: number;
  quoteLow: number;
  takerQuoteHigh: number;
  takerQuoteLow: number;
}

const LIMB = 1e12;

/** A bar without trades. */
export function emptyBar(): Bar {
  return {
    trades: 0,
    open: 0,
    high: 0,
    low: 0,
    close: 0,
    lots: 0,
    takerLots: 0,
    quoteHigh: 0,
    quoteLow: 0,
    takerQuoteHigh: 0,
    takerQuoteLow: 0,
  };
}

/**
 * Adds a later bar. A bar without trades adds nothing, not even its flat price: the exchange opens a candle with its
 * first trade (binance.md §3.2; seen on all 2,421 such rows of NXS/BTC 1m against 5m, 2021-04).
 */
export function addBar(bar: Bar, later: Bar): void {
  if (later.trades === 0) return;
  if (bar.trades === 0) {
    bar.open = later.open;
    bar.high = later.high;
    bar.low = later.low;
  } else {
    if (later.high > bar.high) bar.high = later.high;
    if (later.low < bar.low) bar.low = later.low;
  }
  bar.close = later.close;
  bar.trades += later.trades;
  bar.lots += later.lots;
  bar.takerLots += later.takerLots;
  bar.quoteHigh += later.quoteHigh;
  bar.quoteLow += later.quoteLow;
  bar.takerQuoteHigh += later.takerQuoteHigh;
  bar.takerQuoteLow += later.takerQuoteLow;
  carry(bar);
}

function carry(bar: Bar): void {
  if (bar.quoteLow >= LIMB) {
    const over = Math.floor(bar.quoteLow / LIMB);
    bar.quoteHigh += over;
    bar.quoteLow -= over * LIMB;
  }
  if (bar.takerQuoteLow >= LIMB) {
    const over = Math.floor(bar.takerQuoteLow / LIMB);
    bar.takerQuoteHigh += over;
    bar.takerQuoteLow -= over * LIMB;
  }
}

/** Numbers that one bar takes in a packed row. */
const WIDTH = 11;

/** Room for `count` bars in one block: a third of the memory of as many objects. */
export function packedBars(count: number): Float64Array {
  return new Float64Array(count * WIDTH);
}

/** Writes a bar into a block. */
export function packBar(bar: Bar, block: Float64Array, index: number): void {
  const at = index * WIDTH;
  block[at] = bar.trades;
  block[at + 1] = bar.open;
  block[at + 2] = bar.high;
  block[at + 3] = bar.low;
  block[at + 4] = bar.close;
  block[at + 5] = bar.lots;
  block[at + 6] = bar.takerLots;
  block[at + 7] = bar.quoteHigh;
  block[at + 8] = bar.quoteLow;
  block[at + 9] = bar.takerQuoteHigh;
  block[at + 10] = bar.takerQuoteLow;
}

/** Reads a bar of a block. */
export function unpackBar(block: Float64Array, index: number): Bar {
  const at = index * WIDTH;
  return {
    trades: block[at] ?? 0,
    open: block[at + 1] ?? 0,
    high: block[at + 2] ?? 0,
    low: block[at + 3] ?? 0,
    close: block[at + 4] ?? 0,
    lots: block[at + 5] ?? 0,
    takerLots: block[at + 6] ?? 0,
    quoteHigh: block[at + 7] ?? 0,
    quoteLow: block[at + 8] ?? 0,
    takerQuoteHigh: block[at + 9] ?? 0,
    takerQuoteLow: block[at + 10] ?? 0,
  };
}

/** Spot sends 8 digits after the point (binance.md §1.3). */
const SCALE = 8;
const ZEROS = "00000000";

/** A whole number of units of 10^−decimals as text with 8 decimals: `(6022231, 2)` is `60222.31000000`. */
export function unitsToText(units: number, decimals: number): string {
  return pointed(String(units), decimals);
}

/** As {@link unitsToText} for `high * 10^12 + low` units. */
export function limbsToText(high: number, low: number, decimals: number): string {
  const text = high === 0 ? String(low) : String(high) + String(low).padStart(12, "0");
  return pointed(text, decimals);
}

function pointed(digits: string, decimals: number): string {
  if (decimals === 0) return `${digits}.${ZEROS}`;
  const padded = digits.length > decimals ? digits : digits.padStart(decimals + 1, "0");
  const point = padded.length - decimals;
  return `${padded.slice(0, point)}.${padded.slice(point)}${ZEROS.slice(0, SCALE - decimals)}`;
}
