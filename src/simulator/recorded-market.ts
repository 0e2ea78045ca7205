import { scaleOf } from "../core/decimal.ts";
import type { TimeRange } from "../core/range.ts";
import { nextOpenTime, nominalMs, type Timeframe } from "../core/timeframe.ts";
import { Closures, outagesOf } from "./closures.ts";
import { versionAt } from "./corrections.ts";
import type {
  Corrections,
  Market,
  MarketCandle,
  MarketSeries,
  MarketSymbol,
  Order,
  Outage,
  Slot,
} from "./market.ts";
import { formingOf } from "./recorded-forming.ts";
import type { RecordedRow, RecordedSeries } from "./recorded-rows.ts";

/** A market that replays recorded candles. */
export interface RecordedMarketOptions {
  /** Only these series exist. Holes between rows stay holes; of rows with one open time the last counts. */
  readonly series: readonly RecordedSeries[];
  /** Overrides what is guessed of a symbol: assets by its name, listing by its first row, steps by its decimals. */
  readonly symbols?: readonly (Partial<MarketSymbol> & Pick<MarketSymbol, "symbol">)[];
  readonly outages?: readonly Outage[];
  readonly corrections?: Corrections;
}

/** One series, a row as one text: a quarter of the memory of an object of strings. */
interface Track {
  readonly interval: Timeframe;
  readonly openTimes: Float64Array;
  /** First instant after each candle. */
  readonly endTimes: Float64Array;
  readonly closeTimes: Float64Array;
  readonly firstTradeIds: Float64Array;
  readonly texts: readonly string[];
}

/** Candles that were recorded somewhere, served as if they happened now; values are the recorded text. */
export class RecordedMarket implements Market {
  readonly #tracks = new Map<string, Track>();
  readonly #symbols: readonly MarketSymbol[];
  readonly #closures = new Map<string, Closures>();
  #corrections: Corrections | undefined;

  constructor(options: RecordedMarketOptions) {
    for (const series of options.series) {
      this.#tracks.set(`${series.symbol} ${series.interval}`, trackOf(series));
    }
    const names = [...new Set(options.series.map(({ symbol }) => symbol))];
    this.#symbols = names.map((name) => ({
      ...guessed(
        name,
        options.series.filter(({ symbol }) => symbol === name),
      ),
      ...options.symbols?.find(({ symbol }) => symbol === name),
    }));
    for (const name of names) {
      this.#closures.set(name, new Closures(outagesOf(name, options.outages ?? [])));
    }
    this.#corrections = options.corrections;
  }

  symbols(at: number): readonly MarketSymbol[] {
    return this.#symbols.filter(({ listedAt }) => listedAt <= at);
  }

  has(series: MarketSeries): boolean {
    return this.#track(series) !== undefined;
  }

  slotAt(series: MarketSeries, time: number): Slot | undefined {
    const track = this.#track(series);
    const index = track === undefined ? -1 : lastAtOrBefore(track.openTimes, time);
    const openTime = track?.openTimes[index];
    const endTime = track?.endTimes[index];
    if (openTime === undefined || endTime === undefined || time >= endTime) return undefined;
    return { openTime, endTime };
  }

  candle(series: MarketSeries, openTime: number, at: number): MarketCandle | undefined {
    const track = this.#track(series);
    if (track === undefined) return undefined;
    const index = lastAtOrBefore(track.openTimes, openTime);
    return track.openTimes[index] === openTime ? this.#at(track, series, index, at) : undefined;
  }

  *candles(
    series: MarketSeries,
    range: TimeRange,
    at: number,
    order: Order,
  ): Iterable<MarketCandle> {
    const track = this.#track(series);
    if (track === undefined) return;
    const first = lastAtOrBefore(track.openTimes, range.from - 1) + 1;
    const last = lastAtOrBefore(track.openTimes, Math.min(range.to - 1, at));
    for (let step = 0; step <= last - first; step++) {
      const index = order === "ascending" ? first + step : last - step;
      const candle = this.#at(track, series, index, at);
      if (candle !== undefined) yield candle;
    }
  }

  setOutages(outages: readonly Outage[]): void {
    for (const [symbol, closures] of this.#closures) closures.declare(outagesOf(symbol, outages));
  }

  setCorrections(corrections: Corrections | undefined): void {
    this.#corrections = corrections;
  }

  #track({ symbol, interval, offsetMs = 0 }: MarketSeries): Track | undefined {
    // Only where the boundaries of the time zone fall on those of UTC do the recorded candles answer for it.
    const isSameGrid =
      offsetMs === 0 || (interval !== "1M" && offsetMs % nominalMs(interval) === 0);
    return isSameGrid ? this.#tracks.get(`${symbol} ${interval}`) : undefined;
  }

  #at(track: Track, series: MarketSeries, index: number, at: number): MarketCandle | undefined {
    const openTime = track.openTimes[index];
    const endTime = track.endTimes[index];
    if (openTime === undefined || endTime === undefined || at < openTime) return undefined;
    if (this.#closures.get(series.symbol)?.covers(openTime, endTime)) return undefined;
    const candle = read(track, index);
    if (at < endTime) return formingOf(candle, at - openTime, endTime - openTime);
    return versionAt(candle, series, this.#corrections, endTime, at, stepOf(candle.volume));
  }
}

function trackOf({ interval, rows }: RecordedSeries): Track {
  const byOpenTime = new Map(rows.map((row) => [row.openTime, row]));
  const sorted = [...byOpenTime.values()].sort((a, b) => a.openTime - b.openTime);
  const count = sorted.length;
  const track = {
    interval,
    openTimes: new Float64Array(count),
    endTimes: new Float64Array(count),
    closeTimes: new Float64Array(count),
    firstTradeIds: new Float64Array(count),
    texts: sorted.map(textOf),
  };
  let tradeId = 1;
  sorted.forEach((row, index) => {
    const slotEnd = nextOpenTime(interval, row.openTime);
    const closeTime = row.closeTime ?? slotEnd - 1;
    // Recorded closes before the open exist (binance.md §3.3).
    const end = closeTime >= row.openTime ? closeTime + 1 : slotEnd;
    track.openTimes[index] = row.openTime;
    track.closeTimes[index] = closeTime;
    track.endTimes[index] = Math.min(end, sorted[index + 1]?.openTime ?? Number.POSITIVE_INFINITY);
    track.firstTradeIds[index] = tradeId;
    tradeId += row.tradeCount ?? 0;
  });
  return track;
}

function textOf(row: RecordedRow): string {
  return [
    row.open,
    row.high,
    row.low,
    row.close,
    row.volume,
    row.quoteVolume ?? "0",
    row.tradeCount ?? 0,
    row.takerBuyVolume ?? "0",
    row.takerBuyQuoteVolume ?? "0",
  ].join(",");
}

function read(track: Track, index: number): MarketCandle {
  const [
    open = "",
    high = "",
    low = "",
    close = "",
    volume = "",
    quoteVolume = "",
    trades = "",
    ...taker
  ] = track.texts[index]?.split(",") ?? [];
  const tradeCount = Number(trades);
  const firstTradeId = track.firstTradeIds[index] ?? 0;
  return {
    openTime: track.openTimes[index] ?? 0,
    closeTime: track.closeTimes[index] ?? 0,
    open,
    high,
    low,
    close,
    volume,
    quoteVolume,
    tradeCount,
    takerBuyVolume: taker[0] ?? "0",
    takerBuyQuoteVolume: taker[1] ?? "0",
    firstTradeId: tradeCount === 0 ? -1 : firstTradeId,
    lastTradeId: tradeCount === 0 ? -1 : firstTradeId + tradeCount - 1,
  };
}

/** Index of the last entry ≤ `time`, −1 when there is none. */
function lastAtOrBefore(times: Float64Array, time: number): number {
  let low = 0;
  let high = times.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((times[middle] ?? 0) <= time) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

function guessed(symbol: string, series: readonly RecordedSeries[]): MarketSymbol {
  const quoteAsset =
    ["USDT", "USDC", "FDUSD", "BUSD", "BTC", "ETH", "BNB", "EUR", "TRY"].find((asset) =>
      symbol.endsWith(asset),
    ) ?? "USDT";
  const rows = series.flatMap((each) => each.rows.slice(0, 100));
  const finest = (texts: readonly string[]): string =>
    texts.map(stepOf).reduce((a, b) => (b.length > a.length ? b : a), "1");
  const openTimes = series.flatMap(({ rows: all }) => all.map(({ openTime }) => openTime));
  return {
    symbol,
    baseAsset: symbol.endsWith(quoteAsset) ? symbol.slice(0, -quoteAsset.length) : symbol,
    quoteAsset,
    status: "TRADING",
    listedAt: openTimes.reduce((least, time) => Math.min(least, time), openTimes[0] ?? 0),
    tickSize: finest(rows.map(({ close }) => close)),
    stepSize: finest(rows.map(({ volume }) => volume)),
  };
}

function stepOf(decimal: string): string {
  const scale = scaleOf(decimal);
  return scale === 0 ? "1" : `0.${"0".repeat(scale - 1)}1`;
}
