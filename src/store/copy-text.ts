import { versionNumber } from "../core/finality.ts";
import type { PackedCandles } from "../core/packed-candles.ts";
import { closeTimeOf } from "../core/timeframe.ts";

/** Columns of the rows of {@link encodeCandles}, in their order. */
export const COPY_COLUMNS =
  "series_id, trade_count, version, cut_ms, open_time, open, high, low, close, " +
  "volume, quote_volume, taker_buy_volume, taker_buy_quote_volume";

const TAB = 9;
const MINUS = 45;
const POINT = 46;
const ZERO = 48;
const COLON = 58;
const DAY_MS = 86_400_000;
/** Bytes of a row before its decimals, at most. */
const MAX_HEAD = 120;

/** Room that the rows of some candles need at most, bytes. */
export function copySize(candles: PackedCandles): number {
  return candles.digitsLength + candles.length * MAX_HEAD;
}

/**
 * Candles as the text format of COPY has them. Nothing in them needs escaping: they are numbers, times, and decimals of
 * digits and points.
 * @param id number of the series
 * @param out has {@link copySize} bytes at least
 * @returns the part of `out` that is used
 */
export function encodeCandles(id: number, candles: PackedCandles, out: Buffer): Buffer {
  const { digits, series } = candles;
  const clock = new TimeText();
  let at = 0;
  let digit = 0;
  for (let index = 0; index < candles.length; index += 1) {
    const openTime = candles.openTime(index);
    const cutMs = closeTimeOf(series.timeframe, openTime) - candles.closeTime(index);
    const version = versionNumber(candles.source(index), candles.observedTime(index));
    at = writeInteger(out, at, id);
    at = writeInteger(out, at, candles.tradeCount(index));
    at = writeInteger(out, at, version);
    at = writeInteger(out, at, cutMs);
    at = clock.write(out, at, openTime);
    for (const end = candles.digitsEnd(index); digit < end; digit += 1) {
      out[at] = digits[digit] ?? 0;
      at += 1;
    }
  }
  return out.subarray(0, at);
}

/** A whole number and a tab. @returns offset behind them */
function writeInteger(out: Buffer, from: number, value: number): number {
  let at = from;
  if (!Number.isSafeInteger(value)) throw new RangeError(`no whole number: ${value}`);
  let rest = Math.abs(value);
  if (value < 0) {
    out[at] = MINUS;
    at += 1;
  }
  let end = at + 1;
  for (let limit = 10; limit <= rest; limit *= 10) end += 1;
  for (let place = end - 1; place >= at; place -= 1) {
    const tens = Math.floor(rest / 10);
    out[place] = ZERO + (rest - tens * 10);
    rest = tens;
  }
  out[end] = TAB;
  return end + 1;
}

/** Instants as text with zone; the day is worked out once for all candles of it. */
class TimeText {
  #day = Number.NaN;
  #date = "";

  /** An instant and a tab. @returns offset behind them */
  write(out: Buffer, from: number, timeMs: number): number {
    const day = Math.floor(timeMs / DAY_MS);
    if (day !== this.#day) {
      this.#day = day;
      this.#date = `${new Date(day * DAY_MS).toISOString().slice(0, 10)} `;
    }
    let at = from;
    for (let index = 0; index < this.#date.length; index += 1) {
      out[at] = this.#date.charCodeAt(index);
      at += 1;
    }
    const ms = timeMs - day * DAY_MS;
    const seconds = Math.floor(ms / 1_000);
    const minutes = Math.floor(seconds / 60);
    const hours = Math.floor(minutes / 60);
    at = writeTwo(out, at, hours);
    out[at] = COLON;
    at = writeTwo(out, at + 1, minutes - hours * 60);
    out[at] = COLON;
    at = writeTwo(out, at + 1, seconds - minutes * 60);
    const rest = ms - seconds * 1_000;
    if (rest > 0) {
      out[at] = POINT;
      out[at + 1] = ZERO + Math.floor(rest / 100);
      at = writeTwo(out, at + 2, rest % 100);
    }
    out.write("+00\t", at, "latin1");
    return at + 4;
  }
}

function writeTwo(out: Buffer, at: number, value: number): number {
  const tens = Math.floor(value / 10);
  out[at] = ZERO + tens;
  out[at + 1] = ZERO + (value - tens * 10);
  return at + 2;
}
