import { mergeRanges, type TimeRange } from "../core/range.ts";
import type { Outage } from "./market.ts";
import { SECOND_MS } from "./trade-tape.ts";

/**
 * When a symbol is not traded: before listing, after delisting, in outages. A second exists unless it opens inside such a
 * window; trades stop at the window's exact millisecond.
 */
export class Closures {
  readonly #fixed: readonly TimeRange[];
  #windows: readonly TimeRange[];

  /** @param fixed half-open windows that never change */
  constructor(fixed: readonly TimeRange[]) {
    this.#fixed = fixed.map(wholeSeconds);
    this.#windows = mergeRanges(this.#fixed);
  }

  /** Disjoint windows, ascending: `from` exact, `to` at a whole second. */
  get windows(): readonly TimeRange[] {
    return this.#windows;
  }

  /** Replaces the windows declared at run time. */
  declare(windows: readonly TimeRange[]): void {
    this.#windows = mergeRanges([...this.#fixed, ...windows.map(wholeSeconds)]);
  }

  /** True when no second opens in `[from, to)` outside the windows: such a candle does not exist. */
  covers(from: number, to: number): boolean {
    const window = this.at(from);
    if (window === undefined) return false;
    return window.to >= to;
  }

  /** The window that an instant lies in, seconds counted as they exist. */
  at(time: number): TimeRange | undefined {
    for (const window of this.#windows) {
      if (ceilSecond(window.from) > time) return undefined;
      if (time < window.to) return window;
    }
    return undefined;
  }

  /** True when a trade at this exact millisecond does not happen. */
  stopsTradeAt(time: number): boolean {
    for (const window of this.#windows) {
      if (window.from > time) return false;
      if (time < window.to) return true;
    }
    return false;
  }

  /** True when no window touches `[from, to)`. */
  areClearOf(from: number, to: number): boolean {
    for (const window of this.#windows) {
      if (window.from >= to) return true;
      if (window.to > from) return false;
    }
    return true;
  }

  /** The instant at which a window cut short a candle that should have lasted to `endTime`, or `undefined`. */
  cutOf(openTime: number, endTime: number): number | undefined {
    for (const window of this.#windows) {
      if (window.from >= endTime) return undefined;
      if (window.from > openTime && window.to >= endTime) return window.from;
    }
    return undefined;
  }
}

/** The outages that concern a symbol, as plain ranges. */
export function outagesOf(symbol: string, outages: readonly Outage[]): TimeRange[] {
  return outages.filter((outage) => outage.symbols?.includes(symbol) ?? true);
}

function wholeSeconds(range: TimeRange): TimeRange {
  return { from: range.from, to: ceilSecond(range.to) };
}

function ceilSecond(time: number): number {
  return Math.ceil(time / SECOND_MS) * SECOND_MS;
}
