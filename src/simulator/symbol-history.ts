import { addBar, type Bar, emptyBar, packBar, packedBars, unpackBar } from "./bar.ts";
import type { Closures } from "./closures.ts";
import { Lru } from "./lru.ts";
import type { Slot } from "./market.ts";
import { DAY_MS, HOUR_MS, MINUTE_MS, type TradeTape } from "./trade-tape.ts";

/** A bar over the part of a forming candle that lies in minutes already over. */
interface Progress {
  readonly openTime: number;
  upTo: number;
  readonly bar: Bar;
}

/** How many chunks a symbol keeps: an hour of minutes is about 5 KB, a day of hours 2 KB, a day 0.2 KB. */
export interface HistoryCache {
  readonly hours: number;
  readonly days: number;
}

/** All candles of one symbol, summed from its one trade tape minus what its closures took away. */
export class SymbolHistory {
  readonly #tape: TradeTape;
  readonly #closures: Closures;
  readonly #minutesOfHour: Lru<number, Float64Array>;
  readonly #hoursOfDay: Lru<number, Float64Array>;
  readonly #days: Lru<number, Float64Array>;
  readonly #progress = new Map<string, Progress>();
  readonly #lost = new Map<string, number>();

  constructor(tape: TradeTape, closures: Closures, cache: HistoryCache) {
    this.#tape = tape;
    this.#closures = closures;
    this.#minutesOfHour = new Lru(cache.hours);
    this.#hoursOfDay = new Lru(cache.days);
    this.#days = new Lru(cache.days * 32);
  }

  /** The trades of `[from, to)` in one bar; any millisecond as edge. */
  range(from: number, to: number): Bar {
    const bar = emptyBar();
    this.#addRange(bar, from, to);
    return bar;
  }

  /**
   * The trades of a slot up to and including instant `at`.
   * @param key names the slot's series; successive calls with one key and growing `at` cost one minute each
   */
  forming(key: string, slot: Slot, at: number): Bar {
    const minuteStart = Math.floor(at / MINUTE_MS) * MINUTE_MS;
    if (minuteStart <= slot.openTime) return this.range(slot.openTime, at + 1);
    const bar = { ...this.#progressTo(key, slot.openTime, minuteStart) };
    this.#addRange(bar, minuteStart, at + 1);
    return bar;
  }

  /** Price in ticks of the last trade before an instant; before any trade the price at which the tape begins. */
  closeBefore(time: number): number {
    let minute = Math.floor(time / MINUTE_MS);
    if (time > minute * MINUTE_MS) {
      const bar = this.range(minute * MINUTE_MS, time);
      if (bar.trades > 0) return bar.close;
    }
    while (minute * MINUTE_MS > this.#tape.spec.listedAt) {
      const window = this.#closures.at(minute * MINUTE_MS - 1);
      if (window !== undefined && window.from <= (minute - 1) * MINUTE_MS) {
        // Nothing can be found inside a long closure, so it is skipped whole.
        minute = Math.ceil(window.from / MINUTE_MS);
        if (minute === Number.NEGATIVE_INFINITY) break;
        if (!this.#closures.covers((minute - 1) * MINUTE_MS, minute * MINUTE_MS)) {
          const edge = this.range((minute - 1) * MINUTE_MS, minute * MINUTE_MS);
          if (edge.trades > 0) return edge.close;
        }
        minute -= 1;
        continue;
      }
      minute -= 1;
      const hour = Math.floor(minute / 60);
      const bar = unpackBar(this.#minutes(hour), minute - hour * 60);
      if (bar.trades > 0) return bar.close;
    }
    return Math.round(this.#tape.hourPrice(Math.floor(this.#tape.spec.listedAt / HOUR_MS)));
  }

  /** Number of trades since listing that happened before an instant: the id of the next one. */
  tradesBefore(time: number): number {
    let lost = 0;
    for (const window of this.#closures.windows) {
      if (window.from >= time) break;
      lost += this.#lostIn(window.from, Math.min(window.to, time));
    }
    return this.#tapeCountBefore(time) - lost;
  }

  /** Forgets everything that depends on trades at or after an instant. */
  forgetSince(time: number): void {
    this.#minutesOfHour.forget((hour) => (hour + 1) * HOUR_MS > time);
    this.#hoursOfDay.forget((day) => (day + 1) * DAY_MS > time);
    this.#days.forget((day) => (day + 1) * DAY_MS > time);
    this.#lost.clear();
    for (const [key, progress] of this.#progress) {
      if (progress.upTo > time) this.#progress.delete(key);
    }
  }

  #progressTo(key: string, openTime: number, minuteStart: number): Bar {
    const known = this.#progress.get(key);
    if (known !== undefined && known.openTime === openTime && known.upTo <= minuteStart) {
      this.#addRange(known.bar, known.upTo, minuteStart);
      known.upTo = minuteStart;
      return known.bar;
    }
    const bar = this.range(openTime, minuteStart);
    // A question about the past (a lagging replica) must not throw away the present.
    if (known === undefined || known.openTime < openTime) {
      this.#progress.set(key, { openTime, upTo: minuteStart, bar });
    }
    return bar;
  }

  #addRange(bar: Bar, from: number, to: number): void {
    let time = from;
    while (time < to) {
      if (time % DAY_MS === 0 && time + DAY_MS <= to) {
        addBar(bar, unpackBar(this.#day(time / DAY_MS), 0));
        time += DAY_MS;
      } else if (time % HOUR_MS === 0 && time + HOUR_MS <= to) {
        const hour = time / HOUR_MS;
        addBar(bar, unpackBar(this.#hours(Math.floor(hour / 24)), hour % 24));
        time += HOUR_MS;
      } else if (time % MINUTE_MS === 0 && time + MINUTE_MS <= to) {
        const minute = time / MINUTE_MS;
        addBar(bar, unpackBar(this.#minutes(Math.floor(minute / 60)), minute % 60));
        time += MINUTE_MS;
      } else {
        const minute = Math.floor(time / MINUTE_MS);
        const end = Math.min(to, (minute + 1) * MINUTE_MS);
        this.#addTrades(bar, minute, time, end);
        time = end;
      }
    }
  }

  /** Adds the trades of `[from, to)`, a part of one minute, whose quote units together stay below 2^53. */
  #addTrades(bar: Bar, minute: number, from: number, to: number): void {
    const start = minute * MINUTE_MS;
    const isOpen = this.#closures.areClearOf(start, start + MINUTE_MS);
    const tape = this.#tape.minute(minute);
    const { times, prices } = tape;
    let trades = 0;
    let open = 0;
    let high = 0;
    let low = Number.POSITIVE_INFINITY;
    let close = 0;
    let lots = 0;
    let takerLots = 0;
    let quote = 0;
    let takerQuote = 0;
    for (let entry = 0; entry < tape.count; entry++) {
      const time = start + (times[entry] ?? 0);
      if (time < from) continue;
      if (time >= to) break;
      if (!isOpen && this.#closures.stopsTradeAt(time)) continue;
      const price = prices[entry] ?? 0;
      const quantity = tape.lots[entry] ?? 0;
      const taker = tape.takerLots[entry] ?? 0;
      if (trades === 0) open = price;
      if (price > high) high = price;
      if (price < low) low = price;
      close = price;
      trades += tape.trades[entry] ?? 0;
      lots += quantity;
      takerLots += taker;
      quote += price * quantity;
      takerQuote += price * taker;
    }
    if (trades === 0) return;
    addBar(bar, {
      trades,
      open,
      high,
      low,
      close,
      lots,
      takerLots,
      quoteHigh: 0,
      quoteLow: quote,
      takerQuoteHigh: 0,
      takerQuoteLow: takerQuote,
    });
  }

  #minutes(hour: number): Float64Array {
    const known = this.#minutesOfHour.get(hour);
    if (known !== undefined) return known;
    const block = packedBars(60);
    for (let index = 0; index < 60; index++) {
      const minute = hour * 60 + index;
      const from = minute * MINUTE_MS;
      if (this.#closures.covers(from, from + MINUTE_MS)) continue;
      const bar = emptyBar();
      this.#addTrades(bar, minute, from, from + MINUTE_MS);
      packBar(bar, block, index);
    }
    this.#minutesOfHour.set(hour, block);
    return block;
  }

  #hours(day: number): Float64Array {
    const known = this.#hoursOfDay.get(day);
    if (known !== undefined) return known;
    const block = packedBars(24);
    for (let index = 0; index < 24; index++) {
      const hour = day * 24 + index;
      if (this.#closures.covers(hour * HOUR_MS, (hour + 1) * HOUR_MS)) continue;
      packBar(sum(this.#minutes(hour), 60), block, index);
    }
    this.#hoursOfDay.set(day, block);
    return block;
  }

  #day(day: number): Float64Array {
    const known = this.#days.get(day);
    if (known !== undefined) return known;
    const block = packedBars(1);
    if (!this.#closures.covers(day * DAY_MS, (day + 1) * DAY_MS)) {
      packBar(sum(this.#hours(day), 24), block, 0);
    }
    this.#days.set(day, block);
    return block;
  }

  #tapeCountBefore(time: number): number {
    const minute = Math.floor(time / MINUTE_MS);
    const start = minute * MINUTE_MS;
    if (time === start) return this.#tape.countBefore(minute);
    const { count, firstId, times, trades } = this.#tape.minute(minute);
    let id = firstId;
    for (let entry = 0; entry < count && start + (times[entry] ?? 0) < time; entry++) {
      id += trades[entry] ?? 0;
    }
    return id;
  }

  /** Trades of the tape that a closure kept from happening. */
  #lostIn(from: number, to: number): number {
    if (from === Number.NEGATIVE_INFINITY) return this.#tapeCountBefore(to);
    const key = `${from} ${to}`;
    const known = this.#lost.get(key);
    if (known !== undefined) return known;
    const lost = this.#tapeCountBefore(to) - this.#tapeCountBefore(from);
    // Inside a window that lasts, every instant has its own count: only ended windows are worth keeping.
    if (this.#closures.windows.some((window) => window.to === to)) this.#lost.set(key, lost);
    return lost;
  }
}

function sum(block: Float64Array, count: number): Bar {
  const bar = emptyBar();
  for (let index = 0; index < count; index++) addBar(bar, unpackBar(block, index));
  return bar;
}
