import { KlineFrame, seriesOfStream } from "../wire/kline-text.ts";
import type { Exchange } from "./exchange.ts";
import { concerns } from "./faults.ts";
import { isQuiet, type MarketCandle, type MarketSeries, type Slot } from "./market.ts";
import { fraction, hashText } from "./noise.ts";
import { TimeSlice } from "./time-slice.ts";

/** Whoever takes frames of a stream: a socket. */
export interface FrameTaker {
  take(stream: string, frame: KlineFrame): void;
}

interface Stream {
  readonly name: string;
  readonly seed: number;
  readonly series: MarketSeries;
  readonly takers: Set<FrameTaker>;
  /** The slot that is forming. */
  slot: Slot | undefined;
  /** What was pushed last, to push only what changed. */
  activity: number | undefined;
  payload: MarketCandle | undefined;
  /** Closing frames not yet sent; the next candle waits for them. */
  openFinals: number;
  /** A frame that the fault `reorder` holds back. */
  held: KlineFrame | undefined;
}

interface SymbolStreams {
  readonly phaseMs: number;
  pushes: number;
  readonly streams: Set<Stream>;
}

interface Final {
  readonly stream: Stream;
  readonly slot: Slot;
  readonly isLate: boolean;
  dueTime: number;
}

/** Pushes are spread over this many phases of a second, so that all symbols do not speak at once. */
const PHASES = 20;
/** A feed that slept through more candles than this tells only the newest ones. */
const MAX_MISSED_FINALS = 120;

/**
 * All kline streams of the exchange. Computes each update once, however many sockets want it, and needs one {@link tick}
 * every few ms instead of a timer per stream.
 */
export class Feed {
  readonly #exchange: Exchange;
  readonly #streams = new Map<string, Stream>();
  readonly #bySymbol = new Map<string, SymbolStreams>();
  readonly #symbolOf = new Map<string, string>();
  /** By due time, latest first. */
  #finals: Final[] = [];
  #nextBoundary = Number.POSITIVE_INFINITY;

  constructor(exchange: Exchange) {
    this.#exchange = exchange;
    for (const { symbol } of exchange.market.symbols(Number.POSITIVE_INFINITY)) {
      this.#symbolOf.set(symbol.toLowerCase(), symbol);
    }
  }

  /** Number of streams that somebody listens to and that can speak. */
  get size(): number {
    return this.#streams.size;
  }

  /** Adds a listener. A name that is no kline stream of this market is taken and stays silent. */
  subscribe(name: string, taker: FrameTaker): void {
    const stream = this.#streams.get(name) ?? this.#open(name);
    stream?.takers.add(taker);
  }

  /** Removes a listener. */
  unsubscribe(name: string, taker: FrameTaker): void {
    const stream = this.#streams.get(name);
    if (stream === undefined) return;
    stream.takers.delete(taker);
    if (stream.takers.size > 0) return;
    this.#streams.delete(name);
    const { symbol } = stream.series;
    const group = this.#bySymbol.get(symbol);
    group?.streams.delete(stream);
    if (group?.streams.size === 0) this.#bySymbol.delete(symbol);
  }

  /**
   * Sends what is due, closing frames first.
   * @param now exchange time
   * @returns true when it stopped to let others run, and more is due
   */
  tick(now: number): boolean {
    if (now >= this.#nextBoundary) this.#closeSlots(now);
    const slice = new TimeSlice();
    if (this.#sendFinals(now, slice)) return true;
    for (const [symbol, group] of this.#bySymbol) {
      if (slice.isOver) return true;
      this.#pushSymbol(symbol, group, now);
    }
    return false;
  }

  #open(name: string): Stream | undefined {
    const { market } = this.#exchange;
    const series = seriesOfStream(name, (lowerCase) => this.#symbolOf.get(lowerCase));
    if (series === undefined || !market.has(series)) return undefined;
    const now = this.#exchange.now();
    const slot = market.slotAt(series, now);
    const stream: Stream = {
      name,
      seed: hashText(name),
      series,
      takers: new Set(),
      slot,
      // Nothing is sent for what happened before: a subscription brings no snapshot (binance.md §1.1).
      activity: market.activity?.(series.symbol, now),
      payload:
        market.activity === undefined
          ? slot && market.candle(series, slot.openTime, now)
          : undefined,
      openFinals: 0,
      held: undefined,
    };
    this.#streams.set(name, stream);
    this.#nextBoundary = Math.min(this.#nextBoundary, slot?.endTime ?? now);
    const group = this.#bySymbol.get(series.symbol) ?? this.#newGroup(series.symbol, now);
    group.streams.add(stream);
    return stream;
  }

  #newGroup(symbol: string, now: number): SymbolStreams {
    const { secondPushMs } = this.#exchange.pace;
    const phaseMs = Math.floor(((hashText(symbol) % PHASES) * secondPushMs) / PHASES);
    const group = {
      phaseMs,
      pushes: Math.floor((now - phaseMs) / secondPushMs),
      streams: new Set<Stream>(),
    };
    this.#bySymbol.set(symbol, group);
    return group;
  }

  /** Finds the slots that are over and puts their closing frames on the list. */
  #closeSlots(now: number): void {
    let next = Number.POSITIVE_INFINITY;
    const before = this.#finals.length;
    for (const stream of this.#streams.values()) {
      if (stream.slot === undefined || stream.slot.endTime <= now) this.#advance(stream, now);
      // Without a slot (a hole in recorded data) one looks again every push.
      next = Math.min(next, stream.slot?.endTime ?? now + this.#exchange.pace.secondPushMs);
    }
    this.#nextBoundary = next;
    if (this.#finals.length > before) this.#finals.sort((a, b) => b.dueTime - a.dueTime);
  }

  #advance(stream: Stream, now: number): void {
    const { market } = this.#exchange;
    let closed = 0;
    while (stream.slot !== undefined && stream.slot.endTime <= now) {
      const slot = stream.slot;
      if (++closed <= MAX_MISSED_FINALS) this.#schedule(stream, slot);
      stream.slot =
        closed === MAX_MISSED_FINALS
          ? market.slotAt(stream.series, now)
          : market.slotAt(stream.series, slot.endTime);
    }
    stream.slot ??= market.slotAt(stream.series, now);
  }

  #schedule(stream: Stream, slot: Slot): void {
    const { minFinalDelayMs, maxFinalDelayMs } = this.#exchange.pace;
    const spread = fraction(stream.seed, Math.floor(slot.openTime / 1_000));
    const delay = minFinalDelayMs + Math.floor(spread * (maxFinalDelayMs - minFinalDelayMs + 1));
    stream.openFinals++;
    this.#finals.push({ stream, slot, isLate: false, dueTime: slot.endTime + delay });
  }

  #sendFinals(now: number, slice: TimeSlice): boolean {
    while ((this.#finals.at(-1)?.dueTime ?? Number.POSITIVE_INFINITY) <= now) {
      if (slice.isOver) return true;
      const final = this.#finals.pop();
      if (final === undefined) return false;
      if (!this.#sendFinal(final, now)) this.#finals.sort((a, b) => b.dueTime - a.dueTime);
    }
    return false;
  }

  /** @returns false when the frame went back on the list, to come late */
  #sendFinal({ stream, slot, isLate }: Final, now: number): boolean {
    const { market, faults, switches } = this.#exchange;
    const applies = concerns(stream.name);
    const late = isLate ? undefined : faults.strike("lateFinal", applies);
    if (!isLate) stream.openFinals--;
    if (late !== undefined) {
      this.#finals.push({ stream, slot, isLate: true, dueTime: now + late.ms });
      return false;
    }
    const candle = market.candle(stream.series, slot.openTime, slot.endTime);
    if (candle === undefined || (!switches.quietFinals && isQuiet(candle))) return true;
    if (faults.strike("missingFinal", applies) !== undefined) return true;
    const final = this.#frame(stream, candle, true);
    this.#emit(stream, final);
    if (faults.strike("duplicateFinal", applies) !== undefined) this.#emit(stream, final);
    if (faults.strike("staleForming", applies) !== undefined) {
      const older = market.candle(stream.series, slot.openTime, slot.endTime - 1);
      if (older !== undefined) this.#emit(stream, this.#frame(stream, older, false));
    }
    return true;
  }

  #pushSymbol(symbol: string, group: SymbolStreams, now: number): void {
    const { market, pace } = this.#exchange;
    const pushes = Math.floor((now - group.phaseMs) / pace.secondPushMs);
    if (pushes === group.pushes) return;
    const every = Math.max(1, Math.round(pace.pushMs / pace.secondPushMs));
    const isFullPush = Math.floor(pushes / every) !== Math.floor(group.pushes / every);
    group.pushes = pushes;
    const activity = market.activity?.(symbol, now);
    for (const stream of group.streams) {
      if (!isFullPush && stream.series.interval !== "1s") continue;
      if (stream.openFinals > 0) continue;
      if (activity !== undefined && activity === stream.activity) continue;
      this.#pushForming(stream, now);
      stream.activity = activity;
    }
  }

  #pushForming(stream: Stream, now: number): void {
    const { slot, series, payload } = stream;
    if (slot === undefined) return;
    const candle = this.#exchange.market.candle(series, slot.openTime, now);
    if (candle === undefined || (payload !== undefined && isSame(candle, payload))) return;
    stream.payload = candle;
    this.#emit(stream, this.#frame(stream, candle, false));
  }

  #frame(stream: Stream, candle: MarketCandle, isFinal: boolean): KlineFrame {
    const { name, series } = stream;
    return new KlineFrame(name, series, candle, this.#exchange.toldTime(), isFinal);
  }

  #emit(stream: Stream, frame: KlineFrame): void {
    const { faults } = this.#exchange;
    const applies = concerns(stream.name);
    if (faults.strike("silence", applies) !== undefined) return;
    if (stream.held === undefined && faults.strike("reorder", applies) !== undefined) {
      stream.held = frame;
      return;
    }
    for (const taker of stream.takers) taker.take(stream.name, frame);
    const { held } = stream;
    if (held === undefined) return;
    stream.held = undefined;
    for (const taker of stream.takers) taker.take(stream.name, held);
  }
}

function isSame(a: MarketCandle, b: MarketCandle): boolean {
  return (
    a.openTime === b.openTime &&
    a.tradeCount === b.tradeCount &&
    a.volume === b.volume &&
    a.close === b.close &&
    a.quoteVolume === b.quoteVolume
  );
}
