import type { Candle } from "../core/candle.ts";
import { isTimeframe, type Timeframe } from "../core/timeframe.ts";

const PLUS_8_HOURS_MS = 8 * 3_600_000;

/** One line of candles as requests and streams name it. */
export interface KlineSeries {
  readonly symbol: string;
  readonly interval: Timeframe;
  /** Time zone of the candle boundaries, ms east of UTC: 28,800,000 for `@+08:00`. Absent: UTC. */
  readonly offsetMs?: number;
}

/** A candle as the wire shows it. */
export interface Kline extends Candle {
  /** −1 when the candle has no trades; so, too, when the server does not know it. */
  readonly firstTradeId?: number;
  readonly lastTradeId?: number;
}

/** How a socket wants its frames. */
export interface FrameForm {
  /** `{"stream":…,"data":…}` instead of the bare payload. */
  readonly isCombined: boolean;
  /** 16-digit times. */
  readonly isMicro: boolean;
}

/**
 * The series that a stream name asks for: `btcusdt@kline_1m`, `btcusdt@kline_1d@+08:00` (binance.md §1.2).
 * @param symbolOf from the lower-case symbol to the exchange's spelling
 * @returns `undefined` for any other name: upper case, unknown symbol, another kind of stream
 */
export function seriesOfStream(
  name: string,
  symbolOf: (lowerCase: string) => string | undefined,
): KlineSeries | undefined {
  const [, lowerCase = "", interval = "", zone] = /^(.+)@kline_(\w+)(@\+08:00)?$/u.exec(name) ?? [];
  const symbol = symbolOf(lowerCase);
  if (symbol === undefined || !isTimeframe(interval)) return undefined;
  return zone === undefined
    ? { symbol, interval }
    : { symbol, interval, offsetMs: PLUS_8_HOURS_MS };
}

/** One row as REST writes it: O, H, L, C, unlike the stream (binance.md §2.2). */
export function klineRowText(candle: Candle, isMicro: boolean): string {
  const openTime = isMicro ? candle.openTime * 1_000 : candle.openTime;
  const closeTime = isMicro ? candle.closeTime * 1_000 + 999 : candle.closeTime;
  return (
    `[${openTime},"${candle.open}","${candle.high}","${candle.low}","${candle.close}","${candle.volume}",` +
    `${closeTime},"${candle.quoteVolume}",${candle.tradeCount},"${candle.takerBuyVolume}",` +
    `"${candle.takerBuyQuoteVolume}","0"]`
  );
}

/** One update of a stream, serialised once for all sockets that want it in the same form. */
export class KlineFrame {
  readonly isFinal: boolean;
  readonly #stream: string;
  readonly #series: KlineSeries;
  readonly #candle: Kline;
  readonly #eventTime: number;
  readonly #texts: (string | undefined)[] = [];

  /** @param eventTime `E`, epoch ms */
  constructor(
    stream: string,
    series: KlineSeries,
    candle: Kline,
    eventTime: number,
    isFinal: boolean,
  ) {
    this.#stream = stream;
    this.#series = series;
    this.#candle = candle;
    this.#eventTime = eventTime;
    this.isFinal = isFinal;
  }

  /** The frame's text. */
  text({ isCombined, isMicro }: FrameForm): string {
    const index = (isCombined ? 1 : 0) + (isMicro ? 2 : 0);
    const known = this.#texts[index];
    if (known !== undefined) return known;
    const payload = this.#payload(isMicro);
    const text = isCombined ? combined(this.#stream, payload) : payload;
    this.#texts[index] = text;
    return text;
  }

  /** Field order as on the wire (binance.md §1.3). */
  #payload(isMicro: boolean): string {
    const c = this.#candle;
    const { interval } = this.#series;
    const symbol = JSON.stringify(this.#series.symbol);
    const E = isMicro ? this.#eventTime * 1_000 : this.#eventTime;
    const t = isMicro ? c.openTime * 1_000 : c.openTime;
    // The last microsecond, not the last millisecond's first one.
    const T = isMicro ? c.closeTime * 1_000 + 999 : c.closeTime;
    return (
      `{"e":"kline","E":${E},"s":${symbol},"k":{"t":${t},"T":${T},"s":${symbol},"i":"${interval}",` +
      `"f":${c.firstTradeId ?? -1},"L":${c.lastTradeId ?? -1},"o":"${c.open}","c":"${c.close}","h":"${c.high}","l":"${c.low}",` +
      `"v":"${c.volume}","n":${c.tradeCount},"x":${this.isFinal},"q":"${c.quoteVolume}",` +
      `"V":"${c.takerBuyVolume}","Q":"${c.takerBuyQuoteVolume}","B":"0"}}`
    );
  }
}

/** The event that announces a close of the connection (binance.md §1.6). */
export function shutdownText({ isCombined, isMicro }: FrameForm, eventTime: number): string {
  const payload = `{"e":"serverShutdown","E":${isMicro ? eventTime * 1_000 : eventTime}}`;
  return isCombined ? combined("!serverShutdown", payload) : payload;
}

function combined(stream: string, payload: string): string {
  return `{"stream":${JSON.stringify(stream)},"data":${payload}}`;
}
