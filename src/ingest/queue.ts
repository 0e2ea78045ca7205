import { candleKey, compareVersions, sameValues, type VersionedCandle } from "../core/finality.ts";
import { mergeRanges, type TimeRange } from "../core/range.ts";
import { type Series, seriesKey } from "../core/series.ts";
import { cellOf } from "../core/timeframe.ts";

/** What became of a candle that was offered. */
export type Offered = "taken" | "identical" | "superseded" | "shed";

/** What was let go of a series for want of room. */
export interface ShedStretch {
  readonly series: Series;
  readonly ranges: readonly TimeRange[];
}

/** Candles ever taken in or finished, by lane. */
export interface LaneCounts {
  live: number;
  history: number;
}

/** True for what came at its close: somebody may be waiting for it. */
function isJustClosed({ source }: VersionedCandle): boolean {
  return source === "stream" || source === "rest-early";
}

/**
 * Candles that wait for the database, of each key the best version. What has just closed goes before history, however much
 * of that waits. When it is full, those series give way of which most waits: fetched again, each of them costs a request or
 * two, however many candles of it were let go; a candle of each series would cost as many requests as there are series.
 */
export class Queue {
  readonly #capacity: number;
  /** A candle waits in one of the two. */
  readonly #live = new Map<string, VersionedCandle>();
  readonly #history = new Map<string, VersionedCandle>();
  /** Keys of what waits and REST brought, too: who asked for it reckons with its commit. */
  readonly #asked = new Set<string>();
  /** What was let go and not told yet, by series: one range each while the flood lasts. */
  #shed = new Map<string, ShedStretch>();
  /** Series that gave way; they go on doing so until half of the room is free. */
  readonly #giving = new Set<string>();
  readonly #taken: LaneCounts = { live: 0, history: 0 };
  readonly #onLetGo: (series: Series, count: number) => void;

  /**
   * @param capacity candles that may wait
   * @param onLetGo told of each that is let go, at once
   */
  constructor(capacity: number, onLetGo: (series: Series, count: number) => void) {
    this.#capacity = capacity;
    this.#onLetGo = onLetGo;
  }

  /** Candles that wait. */
  get size(): number {
    return this.#live.size + this.#history.size;
  }

  /** True when nothing waits and nothing that was let go is untold. */
  get isEmpty(): boolean {
    return this.size === 0 && this.#shed.size === 0;
  }

  /** Candles ever taken in that were not let go afterwards. */
  get taken(): Readonly<LaneCounts> {
    return this.#taken;
  }

  /**
   * Offers a closed, valid candle.
   * @returns `identical` or `superseded` when a version of it waits already, whichever of the two stays
   */
  offer(candle: VersionedCandle): Offered {
    const key = candleKey(candle);
    const lane = this.#history.has(key) ? this.#history : this.#live;
    const waiting = lane.get(key);
    if (waiting !== undefined) {
      if (candle.source !== "stream") this.#asked.add(key);
      if (compareVersions(candle, waiting) > 0) lane.set(key, candle);
      return sameValues(candle.candle, waiting.candle) ? "identical" : "superseded";
    }
    this.#endFlood();
    if (this.size >= this.#capacity) this.#makeRoom();
    if (this.size >= this.#capacity || this.#giving.has(seriesKey(candle.series))) {
      this.#letGo(candle);
      this.#onLetGo(candle.series, 1);
      return "shed";
    }
    const isLive = isJustClosed(candle);
    (isLive ? this.#live : this.#history).set(key, candle);
    if (candle.source !== "stream") this.#asked.add(key);
    this.#taken[isLive ? "live" : "history"] += 1;
    return "taken";
  }

  /** Takes out at most so many, of each lane the oldest first, so that nothing waits for ever behind a flood of its kind. */
  take(count: number): { readonly batch: readonly VersionedCandle[]; readonly liveCount: number } {
    const live = this.#takeFrom(this.#live, count);
    const history = this.#takeFrom(this.#history, count - live.length);
    const batch = history.length === 0 ? live : live.concat(history);
    return { batch, liveCount: live.length };
  }

  /** Tells what was let go since the last call; nothing while the flood lasts, so that it is one stretch a series. */
  takeShed(): readonly ShedStretch[] {
    this.#endFlood();
    if (this.#giving.size > 0) return [];
    const shed = [...this.#shed.values()];
    this.#shed = new Map();
    return shed;
  }

  #endFlood(): void {
    if (this.#giving.size > 0 && this.size <= this.#capacity / 2) this.#giving.clear();
  }

  /** Lets go of what waits of whole series, until a part of the room is free. */
  #makeRoom(): void {
    const waiting = new Map<string, { readonly series: Series; count: number }>();
    for (const [key, { series }] of this.#live) {
      if (this.#asked.has(key)) continue;
      const known = waiting.get(seriesKey(series));
      if (known === undefined) waiting.set(seriesKey(series), { series, count: 1 });
      else known.count += 1;
    }
    const leaving = new Set<string>();
    let freed = 0;
    for (const [key, { series, count }] of [...waiting].sort((a, b) => b[1].count - a[1].count)) {
      // Nothing is won by a series of which one candle waits.
      if (count < 2 || freed >= this.#capacity * FREED_SHARE) break;
      leaving.add(key);
      freed += count;
      this.#onLetGo(series, count);
    }
    for (const [key, candle] of this.#live) {
      if (this.#asked.has(key) || !leaving.has(seriesKey(candle.series))) continue;
      this.#live.delete(key);
      this.#taken.live -= 1;
      this.#letGo(candle);
    }
  }

  /** Takes the first candles of a lane. */
  #takeFrom(lane: Map<string, VersionedCandle>, count: number): VersionedCandle[] {
    const taken: VersionedCandle[] = [];
    for (const [key, candle] of lane) {
      if (taken.length >= count) break;
      taken.push(candle);
      lane.delete(key);
      this.#asked.delete(key);
    }
    return taken;
  }

  #letGo({ series, candle }: VersionedCandle): void {
    const key = seriesKey(series);
    const { ranges = [] } = this.#shed.get(key) ?? {};
    const cell = cellOf(series.timeframe, candle.openTime);
    this.#shed.set(key, { series, ranges: mergeRanges([...ranges, cell]) });
    this.#giving.add(key);
  }
}

/** Of the room, freed at once: a look at all that waits must be rare. */
const FREED_SHARE = 0.1;
