import type { TimeRange } from "../core/range.ts";
import { type Bar, limbsToText, unitsToText } from "./bar.ts";
import { Closures, outagesOf } from "./closures.ts";
import { versionAt } from "./corrections.ts";
import { Grid, type OffGrid } from "./grid.ts";
import {
  type Corrections,
  type Market,
  type MarketCandle,
  type MarketSeries,
  type MarketSymbol,
  marketSeriesKey,
  type Order,
  type Outage,
  type Slot,
} from "./market.ts";
import { hashText } from "./noise.ts";
import { DEFAULT_SYMBOLS, type SeededSymbol } from "./seeded-symbols.ts";
import { SymbolHistory } from "./symbol-history.ts";
import { MIN_TRADES_PER_DAY, TradeTape } from "./trade-tape.ts";

/** How the seeded market is made. Same options, same candles, digit for digit. */
export interface SeededMarketOptions {
  /** Default 1. */
  readonly seed?: number;
  /** Default {@link DEFAULT_SYMBOLS}. */
  readonly symbols?: readonly SeededSymbol[];
  /** First trade of the symbols that name none, epoch ms. Default 2020-01-01 04:00 UTC. */
  readonly listedAt?: number;
  /** Windows in which candles never come into being. */
  readonly outages?: readonly Outage[];
  /** Candles that an outage ends early say so in `closeTime` (binance.md §3.2). Default true. */
  readonly cutShortCloses?: boolean;
  /** Spans in which 1m candles stand off the grid. Default none. */
  readonly offGrid?: readonly OffGrid[];
  /** Candles that change after their close. Default none. */
  readonly corrections?: Corrections;
  /** Hours of minute candles kept in memory over all symbols, about 5 KB each. Default 4,096. */
  readonly cachedHours?: number;
}

const DEFAULT_LISTED_AT = Date.UTC(2020, 0, 1, 4);

interface Listed {
  readonly spec: SeededSymbol;
  readonly info: MarketSymbol;
  readonly closures: Closures;
  readonly history: SymbolHistory;
  readonly grids: Map<string, Grid>;
}

/** A market whose every trade follows from a seed; all intervals are sums over one tape of trades. */
export class SeededMarket implements Market {
  readonly #listed = new Map<string, Listed>();
  readonly #offGrid: readonly OffGrid[];
  readonly #cutShortCloses: boolean;
  #corrections: Corrections | undefined;
  #declared: readonly Outage[] = [];

  /** @throws {RangeError} for a symbol whose figures cannot be exact: too few trades, more than 8 digits in a product */
  constructor(options: SeededMarketOptions = {}) {
    const symbols = options.symbols ?? DEFAULT_SYMBOLS;
    const perSymbol = Math.max(3, Math.floor((options.cachedHours ?? 4_096) / symbols.length));
    this.#cutShortCloses = options.cutShortCloses ?? true;
    this.#offGrid = options.offGrid ?? [];
    this.#corrections = options.corrections;
    for (const spec of symbols) {
      this.#listed.set(spec.symbol, listed(spec, options, perSymbol));
    }
  }

  symbols(at: number): readonly MarketSymbol[] {
    return [...this.#listed.values()]
      .filter(({ info }) => info.listedAt <= at)
      .map(({ info, spec }) =>
        spec.status === undefined && at >= (spec.delistedAt ?? Number.POSITIVE_INFINITY)
          ? { ...info, status: "BREAK" }
          : info,
      );
  }

  has(series: MarketSeries): boolean {
    return this.#listed.has(series.symbol);
  }

  slotAt(series: MarketSeries, time: number): Slot | undefined {
    const found = this.#listed.get(series.symbol);
    return found && this.#grid(found, series).slotAt(time);
  }

  candle(series: MarketSeries, openTime: number, at: number): MarketCandle | undefined {
    const found = this.#listed.get(series.symbol);
    if (found === undefined || at < openTime) return undefined;
    const slot = this.#grid(found, series).slotAt(openTime);
    return slot.openTime === openTime ? this.#candle(found, series, slot, at) : undefined;
  }

  *candles(
    series: MarketSeries,
    range: TimeRange,
    at: number,
    order: Order,
  ): Iterable<MarketCandle> {
    const found = this.#listed.get(series.symbol);
    if (found === undefined) return;
    const grid = this.#grid(found, series);
    const to = Math.min(range.to, at + 1);
    const isAscending = order === "ascending";
    let time = isAscending ? Math.max(range.from, 0) : to - 1;
    // A slot may open before the range and hold its first instant.
    while (isAscending ? time < to : time >= range.from) {
      const slot = grid.slotAt(time);
      const closure = found.closures.at(slot.openTime);
      if (closure !== undefined && closure.to >= slot.endTime) {
        // The slot in which it ends may have opened before that: it holds the first trades after it.
        const next = Math.min(to, closure.to);
        time = isAscending
          ? Math.max(slot.endTime, grid.slotAt(next).openTime)
          : Math.min(slot.openTime, closure.from) - 1;
        continue;
      }
      if (slot.openTime >= range.from && slot.openTime < to) {
        const candle = this.#candle(found, series, slot, at);
        if (candle !== undefined) yield candle;
      }
      time = isAscending ? slot.endTime : slot.openTime - 1;
    }
  }

  activity(symbol: string, at: number): number {
    return this.#listed.get(symbol)?.history.tradesBefore(at + 1) ?? 0;
  }

  setOutages(outages: readonly Outage[]): void {
    const changed = [...outages, ...this.#declared].filter(
      (outage) => !(outages.includes(outage) && this.#declared.includes(outage)),
    );
    this.#declared = outages;
    for (const { spec, closures, history } of this.#listed.values()) {
      const since = outagesOf(spec.symbol, changed).map(({ from }) => from);
      if (since.length === 0) continue;
      closures.declare(outagesOf(spec.symbol, outages));
      history.forgetSince(Math.min(...since));
    }
  }

  setCorrections(corrections: Corrections | undefined): void {
    this.#corrections = corrections;
  }

  #grid(found: Listed, { interval, offsetMs = 0 }: MarketSeries): Grid {
    const key = offsetMs === 0 ? interval : `${interval}${offsetMs}`;
    const known = found.grids.get(key);
    if (known !== undefined) return known;
    const { symbol } = found.spec;
    const grid = new Grid(
      interval,
      offsetMs,
      this.#offGrid.filter(({ symbols }) => symbols?.includes(symbol) ?? true),
    );
    found.grids.set(key, grid);
    return grid;
  }

  #candle(found: Listed, series: MarketSeries, slot: Slot, at: number): MarketCandle | undefined {
    const { closures, history, info } = found;
    const isClosed = at >= slot.endTime;
    const { openTime } = slot;
    if (closures.covers(openTime, isClosed ? slot.endTime : at + 1)) return undefined;
    const bar = isClosed
      ? history.range(openTime, slot.endTime)
      : history.forming(marketSeriesKey(series), slot, at);
    const cut =
      isClosed && this.#cutShortCloses ? closures.cutOf(openTime, slot.endTime) : undefined;
    const candle = write(found, bar, openTime, (cut ?? slot.endTime) - 1);
    return isClosed
      ? versionAt(candle, series, this.#corrections, slot.endTime, at, info.stepSize)
      : candle;
  }
}

function listed(spec: SeededSymbol, options: SeededMarketOptions, cachedHours: number): Listed {
  const { symbol, baseAsset, quoteAsset, priceDecimals, lotDecimals, delistedAt } = spec;
  if (priceDecimals + lotDecimals > 8) {
    throw new RangeError(`${symbol}: priceDecimals + lotDecimals must not pass 8`);
  }
  if (spec.tradesPerDay < MIN_TRADES_PER_DAY) {
    throw new RangeError(`${symbol}: tradesPerDay must be at least ${MIN_TRADES_PER_DAY}`);
  }
  const listedAt = spec.listedAt ?? options.listedAt ?? DEFAULT_LISTED_AT;
  const fixed: TimeRange[] = [
    { from: Number.NEGATIVE_INFINITY, to: listedAt },
    ...outagesOf(symbol, options.outages ?? []),
  ];
  if (delistedAt !== undefined) fixed.push({ from: delistedAt, to: Number.POSITIVE_INFINITY });
  const closures = new Closures(fixed);
  const tape = new TradeTape(
    {
      seed: hashText(symbol, options.seed ?? 1),
      priceTicks: spec.price * 10 ** priceDecimals,
      volatility: spec.volatility ?? 0.004,
      tradesPerDay: spec.tradesPerDay,
      lotsPerTrade: (spec.tradeValue / spec.price) * 10 ** lotDecimals,
      listedAt,
    },
    cachedHours + 2,
  );
  return {
    spec,
    info: {
      symbol,
      baseAsset,
      quoteAsset,
      status: spec.status ?? "TRADING",
      listedAt,
      tickSize: unitsToText(1, priceDecimals),
      stepSize: unitsToText(1, lotDecimals),
    },
    closures,
    history: new SymbolHistory(tape, closures, {
      hours: cachedHours,
      days: Math.max(3, Math.floor(cachedHours / 4)),
    }),
    grids: new Map(),
  };
}

function write(found: Listed, bar: Bar, openTime: number, closeTime: number): MarketCandle {
  const { history } = found;
  const { priceDecimals, lotDecimals } = found.spec;
  const quoteDecimals = priceDecimals + lotDecimals;
  if (bar.trades === 0) {
    const flat = unitsToText(history.closeBefore(openTime), priceDecimals);
    return { ...QUIET, openTime, closeTime, open: flat, high: flat, low: flat, close: flat };
  }
  const firstTradeId = history.tradesBefore(openTime);
  return {
    openTime,
    closeTime,
    open: unitsToText(bar.open, priceDecimals),
    high: unitsToText(bar.high, priceDecimals),
    low: unitsToText(bar.low, priceDecimals),
    close: unitsToText(bar.close, priceDecimals),
    volume: unitsToText(bar.lots, lotDecimals),
    quoteVolume: limbsToText(bar.quoteHigh, bar.quoteLow, quoteDecimals),
    tradeCount: bar.trades,
    takerBuyVolume: unitsToText(bar.takerLots, lotDecimals),
    takerBuyQuoteVolume: limbsToText(bar.takerQuoteHigh, bar.takerQuoteLow, quoteDecimals),
    firstTradeId,
    lastTradeId: firstTradeId + bar.trades - 1,
  };
}

/** What a candle without trades says besides its price (binance.md §1.3). */
const QUIET = {
  volume: "0.00000000",
  quoteVolume: "0.00000000",
  tradeCount: 0,
  takerBuyVolume: "0.00000000",
  takerBuyQuoteVolume: "0.00000000",
  firstTradeId: -1,
  lastTradeId: -1,
} as const;
