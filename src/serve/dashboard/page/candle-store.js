/**
 * Candles of one series that the page holds: a stretch without a hole in what was asked, ascending.
 * @typedef {{ openTime: number, closeTime: number, open: string, high: string, low: string, close: string, volume: string, source?: string }} Candle
 */

const DAY_MS = 86_400_000;

/** @type {Readonly<Record<string, number>>} */
const UNIT_MS = { s: 1_000, m: 60_000, h: 3_600_000, d: DAY_MS, w: 7 * DAY_MS };

/** @param {string} timeframe @param {number} openTime @returns {number} open time of the candle after it */
export function nextOpenTime(timeframe, openTime) {
  if (timeframe === "1M") {
    const at = new Date(openTime);
    return Date.UTC(at.getUTCFullYear(), at.getUTCMonth() + 1);
  }
  return openTime + Number(timeframe.slice(0, -1)) * (UNIT_MS[timeframe.slice(-1)] ?? 0);
}

export class CandleStore {
  /** @type {Map<number, Candle>} */
  #candles = new Map();
  /** @type {number[]} ascending */
  #openTimes = [];

  /** @param {readonly Candle[]} candles */
  add(candles) {
    let isSorted = true;
    for (const candle of candles) {
      if (!this.#candles.has(candle.openTime)) {
        isSorted &&= candle.openTime > (this.#openTimes.at(-1) ?? -Infinity);
        this.#openTimes.push(candle.openTime);
      }
      this.#candles.set(candle.openTime, candle);
    }
    if (!isSorted) this.#openTimes.sort((a, b) => a - b);
  }

  get size() {
    return this.#openTimes.length;
  }

  get oldest() {
    return this.#openTimes[0];
  }

  get newest() {
    return this.#openTimes.at(-1);
  }

  /** @param {number} openTime @returns {Candle | undefined} */
  at(openTime) {
    return this.#candles.get(openTime);
  }

  /** @param {number} [newest] how many; all when not given @returns {Candle[]} ascending */
  list(newest) {
    const times = newest === undefined ? this.#openTimes : this.#openTimes.slice(-newest);
    return times.flatMap((time) => this.#candles.get(time) ?? []);
  }
}
