import type { Candle } from "../../core/candle.ts";
import type { Market } from "../../core/ports.ts";
import type { Series } from "../../core/series.ts";
import { isTimeframe, type Timeframe } from "../../core/timeframe.ts";

/**
 * Binance's wire format, translated. No I/O, and nothing here throws: what cannot be read is a value with its reason.
 * Decimals stay the exchange's text, digit for digit. Known fields are picked, unknown ones ignored.
 * Facts are from binance.md; the sections are named where they are used.
 */

/** Name of the exchange in every series. */
export const EXCHANGE = "binance";

/** A request's id, as it was sent: the exchange echoes it with its type. */
type RequestId = number | string | null;

/** A `kline` event. */
export interface CandleFrame {
  readonly kind: "candle";
  /** Name of the stream that brought it; `undefined` on a raw connection. */
  readonly stream: string | undefined;
  readonly symbol: string;
  readonly timeframe: Timeframe;
  readonly candle: Candle;
  /** The exchange's own closed flag. */
  readonly isClosed: boolean;
  /** Time stamp of the event at the exchange, epoch ms. */
  readonly eventTime: number;
}

/** What one text frame of a market stream says. */
export type Frame =
  | CandleFrame
  /** The server goes down soon: connect anew at once. */
  | { readonly kind: "shutdown" }
  /** A control message was well-formed, no more: a stream that does not exist is acknowledged too (§1.4). */
  | { readonly kind: "ack"; readonly id: RequestId; readonly result: unknown }
  /** A control message was refused. The id is missing from some refusals. */
  | {
      readonly kind: "error";
      readonly id: RequestId | undefined;
      readonly code: number;
      readonly message: string;
    }
  /** A sound event of a kind that this program has no use for. */
  | { readonly kind: "other"; readonly event: string }
  | { readonly kind: "bad"; readonly reason: string };

/** Something read from an answer, or why it could not be. */
export type Decoded<T> =
  | { readonly isOk: true; readonly value: T }
  | { readonly isOk: false; readonly reason: string };

/** What `exchangeInfo` says that this program uses. */
export interface ExchangeInfo {
  readonly markets: readonly Market[];
  /** Request weight allowed to one address in a minute, when the answer says it. */
  readonly weightPerMinute: number | undefined;
}

type Json = Readonly<Record<string, unknown>>;

/** Longest text that passes for a number; what is no decimal below that is quarantined later, with its text. */
const MAX_NUMBER_LENGTH = 128;
/** Binance allows 50 characters of any script since 2025-12 (§3.6). */
const SYMBOL = /^[^\p{Ll}\p{Cc}\s]{1,64}$/u;
const MAX_SHOWN_LENGTH = 60;
/** 2001-09-09; seconds are below it until the year 33658. */
const MIN_TIME_MS = 1e12;
/** Microseconds are above it since 1973, milliseconds below it until the year 5138. */
const MIN_TIME_US = 1e14;

/**
 * Name of a series' stream (§1.2): `btcusdt@kline_1m`. The symbol is lower case there, which leaves scripts without case
 * as they are; the interval keeps its case.
 */
export function streamName({ symbol, timeframe }: Pick<Series, "symbol" | "timeframe">): string {
  return `${symbol.toLowerCase()}@kline_${timeframe}`;
}

/**
 * Reads a text frame, raw or combined (§1.1):
 *
 *     {"e":"kline","E":1653818762502,"s":"BTCUSDT","k":{…}}
 *     {"stream":"btcusdt@kline_1m","data":{"e":"kline","E":1653818762502,"s":"BTCUSDT","k":{…}}}
 *     {"e":"serverShutdown","E":1770123456789}
 *     {"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1770123456789}}
 *     {"result":null,"id":1}
 *     {"error":{"code":2,"msg":"Invalid request: invalid stream"}}
 *     {"code":3,"msg":"Invalid JSON: expected value at line 1 column 1"}
 */
export function decodeFrame(text: string): Frame {
  let frame: unknown;
  try {
    frame = JSON.parse(text);
  } catch {
    return bad(`not JSON: ${shown(text)}`);
  }
  if (!isObject(frame)) return Array.isArray(frame) ? other("array") : bad("not a JSON object");
  if (typeof frame.stream === "string") {
    return isObject(frame.data) ? decodeEvent(frame.data, frame.stream) : other(frame.stream);
  }
  if (typeof frame.e === "string") return decodeEvent(frame, undefined);
  if (isObject(frame.error)) return decodeRefusal(frame.error, frame.id);
  if (typeof frame.code === "number") return decodeRefusal(frame, frame.id);
  if ("result" in frame && isRequestId(frame.id)) {
    return { kind: "ack", id: frame.id, result: frame.result };
  }
  return bad(`unknown frame with the fields ${shown(Object.keys(frame).join(","))}`);
}

function decodeEvent(event: Json, stream: string | undefined): Frame {
  if (event.e === "kline") return decodeCandleEvent(event, stream);
  if (event.e === "serverShutdown") return { kind: "shutdown" };
  return other(typeof event.e === "string" ? event.e : (stream ?? "unnamed"));
}

/**
 * Reads a `kline` event (§1.3):
 *
 *     {"e":"kline","E":1653818762502,"s":"BTCUSDT","k":{"t":1653818760000,"T":1653818819999,"s":"BTCUSDT","i":"1m",
 *     "f":1384844002,"L":1384844032,"o":"29038.46000000","c":"29038.47000000","h":"29038.47000000",
 *     "l":"29038.46000000","v":"0.20926000","n":31,"x":false,"q":"6076.58918320","V":"0.10436000",
 *     "Q":"3030.45472920","B":"0"}}
 *
 * Keys differ by case only: `t` opens and `T` closes, `l` is a price and `L` a trade id, `v q` count all trades and
 * `V Q` the taker's buys.
 */
function decodeCandleEvent(event: Json, stream: string | undefined): Frame {
  const kline = event.k;
  if (!isObject(kline)) return bad("kline event without k");
  const { s: symbol, i: timeframe, x: isClosed, n: tradeCount } = kline;
  const { o: open, h: high, l: low, c: close } = kline;
  const { v: volume, q: quoteVolume, V: takerBuyVolume, Q: takerBuyQuoteVolume } = kline;
  const eventTime = readTime(event.E);
  const openTime = readTime(kline.t);
  const closeTime = readCloseTime(kline.T);

  if (eventTime === undefined) return badField("E", event.E);
  if (typeof symbol !== "string" || !SYMBOL.test(symbol)) return badField("k.s", symbol);
  if (event.s !== symbol) return badField("s", event.s);
  if (typeof timeframe !== "string" || !isTimeframe(timeframe)) return badField("k.i", timeframe);
  if (typeof isClosed !== "boolean") return badField("k.x", isClosed);
  if (openTime === undefined) return badField("k.t", kline.t);
  if (closeTime === undefined) return badField("k.T", kline.T);
  if (typeof tradeCount !== "number") return badField("k.n", tradeCount);
  if (!isNumberText(open)) return badField("k.o", open);
  if (!isNumberText(high)) return badField("k.h", high);
  if (!isNumberText(low)) return badField("k.l", low);
  if (!isNumberText(close)) return badField("k.c", close);
  if (!isNumberText(volume)) return badField("k.v", volume);
  if (!isNumberText(quoteVolume)) return badField("k.q", quoteVolume);
  if (!isNumberText(takerBuyVolume)) return badField("k.V", takerBuyVolume);
  if (!isNumberText(takerBuyQuoteVolume)) return badField("k.Q", takerBuyQuoteVolume);

  return {
    kind: "candle",
    stream,
    symbol,
    timeframe,
    candle: {
      openTime,
      closeTime,
      open,
      high,
      low,
      close,
      volume,
      quoteVolume,
      tradeCount,
      takerBuyVolume,
      takerBuyQuoteVolume,
    },
    isClosed,
    eventTime,
  };
}

function decodeRefusal(error: Json, id: unknown): Frame {
  const { code, msg } = error;
  return {
    kind: "error",
    id: isRequestId(id) ? id : undefined,
    code: typeof code === "number" ? code : Number.NaN,
    message: typeof msg === "string" ? cut(msg) : "no message",
  };
}

/**
 * Reads the rows of a `klines` answer (§2.2), in the order of the answer:
 *
 *     [[1499040000000,"0.01634790","0.80000000","0.01575800","0.01577100","148976.11427815",1499644799999,
 *     "2434.19055334",308,"1756.87402397","28.46694368","0"]]
 *
 * open time, **open, high, low, close**, volume, close time, quote volume, trades, taker buys, taker buys in quote, unused.
 */
export function decodeCandleRows(answer: unknown): Decoded<Candle[]> {
  if (!Array.isArray(answer)) return refused(`expected rows, got ${kindOf(answer)}`);
  const candles: Candle[] = [];
  for (const [index, row] of answer.entries()) {
    const candle = decodeRow(row);
    if (typeof candle === "string") return refused(`row ${index}: ${candle}`);
    candles.push(candle);
  }
  return { isOk: true, value: candles };
}

/** @returns the candle, or what is wrong with the row */
function decodeRow(row: unknown): Candle | string {
  if (!Array.isArray(row)) return `expected an array, got ${kindOf(row)}`;
  const values: readonly unknown[] = row;
  const [, open, high, low, close, volume, , quoteVolume, tradeCount] = values;
  const [takerBuyVolume, takerBuyQuoteVolume] = values.slice(9);
  const openTime = readTime(values[0]);
  const closeTime = readCloseTime(values[6]);
  if (openTime === undefined) return `open time is ${shown(values[0])}`;
  if (closeTime === undefined) return `close time is ${shown(values[6])}`;
  if (typeof tradeCount !== "number") return `trade count is ${shown(tradeCount)}`;
  if (!isNumberText(open)) return `open is ${shown(open)}`;
  if (!isNumberText(high)) return `high is ${shown(high)}`;
  if (!isNumberText(low)) return `low is ${shown(low)}`;
  if (!isNumberText(close)) return `close is ${shown(close)}`;
  if (!isNumberText(volume)) return `volume is ${shown(volume)}`;
  if (!isNumberText(quoteVolume)) return `quote volume is ${shown(quoteVolume)}`;
  if (!isNumberText(takerBuyVolume)) return `taker buy volume is ${shown(takerBuyVolume)}`;
  if (!isNumberText(takerBuyQuoteVolume)) {
    return `taker buy quote volume is ${shown(takerBuyQuoteVolume)}`;
  }
  return {
    openTime,
    closeTime,
    open,
    high,
    low,
    close,
    volume,
    quoteVolume,
    tradeCount,
    takerBuyVolume,
    takerBuyQuoteVolume,
  };
}

/** Reads `{"serverTime":1499827319559}` (§2.1). @returns epoch ms */
export function decodeServerTime(answer: unknown): Decoded<number> {
  const time = isObject(answer) ? readTime(answer.serverTime) : undefined;
  return time === undefined ? refused("no serverTime in it") : { isOk: true, value: time };
}

/**
 * Reads `exchangeInfo` (§2.3):
 *
 *     {"rateLimits":[{"rateLimitType":"REQUEST_WEIGHT","interval":"MINUTE","intervalNum":1,"limit":6000}],
 *     "symbols":[{"symbol":"ETHBTC","status":"TRADING","baseAsset":"ETH","quoteAsset":"BTC"}]}
 *
 * Its `serverTime` was seen 37 hours old and is not read. A status that is not `TRADING` is not trading, known or not:
 * `CANCEL_ONLY` appeared in 2026. An entry without a symbol is passed over.
 */
export function decodeExchangeInfo(answer: unknown): Decoded<ExchangeInfo> {
  if (!isObject(answer)) return refused(`expected an object, got ${kindOf(answer)}`);
  if (!Array.isArray(answer.symbols)) return refused("no symbols in it");
  const markets: Market[] = [];
  for (const entry of answer.symbols as readonly unknown[]) {
    if (!isObject(entry) || typeof entry.symbol !== "string" || entry.symbol === "") continue;
    const { symbol, status, baseAsset, quoteAsset } = entry;
    markets.push({
      symbol,
      baseAsset: typeof baseAsset === "string" ? baseAsset : "",
      quoteAsset: typeof quoteAsset === "string" ? quoteAsset : "",
      isTrading: status === "TRADING",
      status: typeof status === "string" ? cut(status) : "unknown",
      listing: entry,
    });
  }
  // An exchange without a symbol is a broken answer, and must not make every configured one unknown.
  if (markets.length === 0) return refused("no symbol in it");
  return { isOk: true, value: { markets, weightPerMinute: weightPerMinute(answer.rateLimits) } };
}

function weightPerMinute(rateLimits: unknown): number | undefined {
  if (!Array.isArray(rateLimits)) return undefined;
  for (const entry of rateLimits as readonly unknown[]) {
    if (!isObject(entry) || entry.rateLimitType !== "REQUEST_WEIGHT") continue;
    const { interval, intervalNum, limit } = entry;
    if (interval !== "MINUTE" || typeof intervalNum !== "number" || typeof limit !== "number") {
      continue;
    }
    const perMinute = Math.floor(limit / intervalNum);
    if (intervalNum >= 1 && perMinute >= 1 && Number.isFinite(perMinute)) return perMinute;
  }
  return undefined;
}

/** Reads an error body (§2.4): `{"code":-1121,"msg":"Invalid symbol."}`. `undefined` when it is none. */
export function decodeErrorBody(answer: unknown): { code: number; message: string } | undefined {
  if (!isObject(answer) || typeof answer.code !== "number") return undefined;
  return {
    code: answer.code,
    message: typeof answer.msg === "string" ? cut(answer.msg, 200) : "no message",
  };
}

/**
 * End of a ban as the body of a 418 says it (§2.4): `Way too much request weight used; IP banned until 1795366119820.`
 * @returns epoch ms
 */
export function banEndOf(message: string): number | undefined {
  const [, digits] = /banned until (\d{13})\b/.exec(message) ?? [];
  return digits === undefined ? undefined : Number(digits);
}

/**
 * A time in ms, or in µs where the exchange sends these (§1.1, §6): told apart by magnitude, value by value.
 * @returns epoch ms, a µs rounded down; `undefined` for what can be neither, seconds included
 */
function readTime(value: unknown): number | undefined {
  const time = readCloseTime(value);
  return time === undefined || time < MIN_TIME_MS ? undefined : time;
}

/** As {@link readTime}, but any integer: an odd close time is for the quarantine and must not cost the whole answer. */
function readCloseTime(value: unknown): number | undefined {
  if (typeof value !== "number" || !Number.isSafeInteger(value)) return undefined;
  return value >= MIN_TIME_US ? Math.floor(value / 1_000) : value;
}

function isNumberText(value: unknown): value is string {
  return typeof value === "string" && value.length <= MAX_NUMBER_LENGTH;
}

function isRequestId(value: unknown): value is RequestId {
  return typeof value === "number" || typeof value === "string" || value === null;
}

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function other(event: string): Frame {
  return { kind: "other", event: cut(event) };
}

function bad(reason: string): Frame {
  return { kind: "bad", reason };
}

function badField(field: string, value: unknown): Frame {
  return bad(`kline event: ${field} is ${shown(value)}`);
}

function refused(reason: string): { readonly isOk: false; readonly reason: string } {
  return { isOk: false, reason };
}

function kindOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "an array";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}

function shown(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(cut(value));
  return typeof value === "object" && value !== null ? kindOf(value) : String(value);
}

/** Text from outside for a message: one line of bounded length. */
export function cut(text: string, length: number = MAX_SHOWN_LENGTH): string {
  const short = text.length > length ? `${text.slice(0, length)}…` : text;
  return short.replace(/\p{Cc}+/gu, " ");
}
