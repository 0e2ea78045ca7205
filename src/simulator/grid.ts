import { nextOpenTime, openTimeAt, type Timeframe } from "../core/timeframe.ts";
import type { Slot } from "./market.ts";

/**
 * A span in which the exchange's 1m candles stood off the grid, as +20,799 ms in 2017-12 (binance.md §3.3). Minute-aligned,
 * half-open. The minute of `from` is split in two candles, and the last candle is cut at `to`, so that no trade is lost.
 */
export interface OffGrid {
  readonly from: number;
  readonly to: number;
  /** 1…59,999 ms. */
  readonly shiftMs: number;
  /** Absent: all symbols. */
  readonly symbols?: readonly string[];
}

/** The slots in which candles of one interval and one time zone stand. */
export class Grid {
  readonly #interval: Timeframe;
  readonly #offsetMs: number;
  readonly #offGrid: readonly OffGrid[];

  constructor(interval: Timeframe, offsetMs: number, offGrid: readonly OffGrid[]) {
    this.#interval = interval;
    this.#offsetMs = offsetMs;
    this.#offGrid = interval === "1m" && offsetMs === 0 ? offGrid : [];
  }

  /** The slot that holds an instant. */
  slotAt(time: number): Slot {
    for (const span of this.#offGrid) {
      if (time < span.from || time >= span.to) continue;
      const start = span.from + span.shiftMs;
      if (time < start) return { openTime: span.from, endTime: start };
      const openTime = start + Math.floor((time - start) / 60_000) * 60_000;
      return { openTime, endTime: Math.min(openTime + 60_000, span.to) };
    }
    const local = time + this.#offsetMs;
    return {
      openTime: openTimeAt(this.#interval, local) - this.#offsetMs,
      endTime: nextOpenTime(this.#interval, local) - this.#offsetMs,
    };
  }
}
