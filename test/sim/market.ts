import type { Candle } from "../../src/core/candle.ts";
import { type Series, seriesKey } from "../../src/core/series.ts";
import {
  ceilOpenTime,
  nextOpenTime,
  openTimeAt,
  previousOpenTime,
} from "../../src/core/timeframe.ts";
import type { Fault, FaultPlan } from "./faults.ts";
import { hashText, mix } from "./random.ts";

/** What the exchange says of a symbol. */
export interface Listing {
  readonly symbol: string;
  readonly status: "TRADING" | "BREAK";
}

/** What has no listing in the run is as old as the exchange. */
const FIRST_LISTING = Date.UTC(2017, 7, 17, 4);
/** Share of closed candles whose first REST answer lacks the last trades, and when such and corrected ones change. */
const YOUNG_SHARE = 0.06;
const SETTLING_MS = [3_000, 50_000] as const;
const CORRECTED_AFTER_MS = [15_000, 5_400_000] as const;

/** Share of candles of which the archive has other values. */
const ARCHIVE_DIFFERS_SHARE = 0.03;
/** What no candle can be, and yet may be served. */
const POISONS: readonly ((candle: Candle) => Partial<Candle>)[] = [
  () => ({ high: "NaN", low: "-1" }),
  ({ volume }) => ({ volume: `-${volume}` }),
  ({ high, low }) => ({ high: low, low: high }),
  ({ high }) => ({ close: `1${high}` }),
  () => ({ volume: "9".repeat(40) }),
  () => ({ quoteVolume: "1e5" }),
  () => ({ low: "0.00000000" }),
  () => ({ tradeCount: -1 }),
  () => ({ tradeCount: 3_000_000_000 }),
  () => ({ open: "" }),
  () => ({ takerBuyVolume: "Infinity" }),
];

/**
 * The exchange's candles as a function of seed, series, open time and instant: stream, REST and checks all ask this one,
 * so that none can be wrong alone. Each version of a candle has other digits, forming ones end in 9.
 */
export class Market {
  readonly #seed: number;
  readonly #plan: FaultPlan;
  readonly #symbols: readonly string[];
  readonly #listedAt = new Map<string, number>();
  readonly #delistedAt = new Map<string, number>();

  constructor(seed: number, plan: FaultPlan, symbols: readonly string[], historyMs: number) {
    this.#seed = seed;
    this.#plan = plan;
    this.#symbols = symbols;
    for (const fault of plan.of("listing")) {
      // Within the history that is wanted, so that its beginning is missing.
      this.#listedAt.set(this.symbolOf(fault), plan.startTime - Math.floor(fault.arg * historyMs));
    }
    for (const fault of plan.of("delisting")) {
      this.#delistedAt.set(this.symbolOf(fault), plan.fromOf(fault));
    }
  }

  /** The symbol that a fault is about. */
  symbolOf({ arg }: Fault): string {
    const index = Math.floor(arg * 1e6) % this.#symbols.length;
    return this.#symbols[index] as string;
  }

  /** First instant at which the symbol is traded. */
  listedAt(symbol: string): number {
    return this.#listedAt.get(symbol) ?? FIRST_LISTING;
  }

  /** Instant of its end, when it has one. */
  delistedAt(symbol: string): number | undefined {
    return this.#delistedAt.get(symbol);
  }

  /** True when there is a candle of that open time at all, ever. */
  exists({ symbol, timeframe }: Series, openTime: number): boolean {
    if (openTime !== openTimeAt(timeframe, openTime)) return false;
    const endTime = nextOpenTime(timeframe, openTime);
    if (endTime <= this.listedAt(symbol)) return false;
    if (openTime >= (this.#delistedAt.get(symbol) ?? Number.POSITIVE_INFINITY)) return false;
    return (
      this.#plan.on("outage", openTime) === undefined && this.#halt(symbol, openTime) === undefined
    );
  }

  /** How far behind the exchange's candles are: its candle service is apart from its matching engine. */
  lagAt(at: number): number {
    const late = this.#plan.on("late", at);
    return late === undefined ? 0 : 5_000 + Math.floor(late.arg * 20_000);
  }

  /** First instant at which the exchange serves the candle as closed. */
  closedAt({ timeframe }: Series, openTime: number): number {
    const endTime = nextOpenTime(timeframe, openTime);
    const late = this.#plan.on("late", endTime);
    if (late === undefined) return endTime;
    return Math.min(endTime + this.lagAt(endTime), this.#plan.toOf(late));
  }

  /**
   * The closed candle as REST has it, or `undefined` where there is none yet.
   * @param view the instant at which the replica that answers stands
   */
  closed(series: Series, openTime: number, view: number): Candle | undefined {
    if (!this.exists(series, openTime) || view < nextOpenTime(series.timeframe, openTime)) {
      return undefined;
    }
    return this.#version(series, openTime, this.versionAt(series, openTime, view));
  }

  /** The closed candle as the stream says it. */
  streamed(series: Series, openTime: number, at: number): Candle | undefined {
    if (!this.exists(series, openTime)) return undefined;
    const differs = this.#plan.on("ws-differs", at) !== undefined;
    return this.#version(
      series,
      openTime,
      differs && this.#share(series, openTime, 7) < 0.5 ? 4 : 1,
    );
  }

  /** A candle that has not closed. */
  forming(series: Series, openTime: number, at: number): Candle | undefined {
    if (!this.exists(series, openTime) || at < openTime) return undefined;
    const bits = this.#hash(series, openTime, Math.floor(at / 2_000));
    const final = this.#version(series, openTime, 1);
    return {
      ...final,
      close: final.open,
      volume: `${bits % 1_000}.${String(bits % 9_973).padStart(4, "0")}0009`,
      tradeCount: 1 + (bits % 300),
    };
  }

  /**
   * Which version REST serves: 3 = before the last trades are in, 1 = as the stream closed it, 2 = corrected later.
   */
  versionAt(series: Series, openTime: number, view: number): 1 | 2 | 3 {
    const endTime = nextOpenTime(series.timeframe, openTime);
    if (view >= endTime + this.correctedAfterMs(series, openTime)) return 2;
    const share = this.#share(series, openTime, 2) / YOUNG_SHARE;
    const [least, most] = SETTLING_MS;
    return share < 1 && view < endTime + least + share * (most - least) ? 3 : 1;
  }

  /** How long after its close a candle is corrected; `Infinity` when it never is. */
  correctedAfterMs(series: Series, openTime: number): number {
    if (this.#plan.on("correction", openTime) === undefined) return Number.POSITIVE_INFINITY;
    const share = this.#share(series, openTime, 3) * 3;
    const [least, most] = CORRECTED_AFTER_MS;
    return share < 1 ? Math.floor(least + share ** 3 * (most - least)) : Number.POSITIVE_INFINITY;
  }

  /** A trade count above 0 proves that a candle should have been streamed. */
  isTraded(series: Series, openTime: number): boolean {
    return this.#version(series, openTime, 1).tradeCount > 0;
  }

  /** The closed candle as a file of the archive has it: some say other things than REST, for ever. */
  archived(series: Series, openTime: number): Candle | undefined {
    if (!this.exists(series, openTime)) return undefined;
    const isOther = this.#share(series, openTime, 5) < ARCHIVE_DIFFERS_SHARE;
    return this.#version(series, openTime, isOther ? 5 : 1);
  }

  /** What is served in place of a candle that is none: each of its own kind. */
  garbled(series: Series, candle: Candle): Candle {
    const spoil = POISONS[this.#hash(series, candle.openTime, 11) % POISONS.length];
    return { ...candle, ...spoil?.(candle) };
  }

  /** True while what is served of a candle is no candle. */
  isGarbage({ symbol }: Series, openTime: number, at: number): boolean {
    const fault = this.#plan.on("garbage", openTime, (one) => this.symbolOf(one) === symbol);
    // Mended within the half hour after the last of them.
    return fault !== undefined && at < this.#plan.toOf(fault) + Math.floor(fault.arg * 1_800_000);
  }

  listings(at: number): Listing[] {
    return this.#symbols.map((symbol) => {
      const isOver = at >= (this.#delistedAt.get(symbol) ?? Number.POSITIVE_INFINITY);
      const isHalted = isOver || this.#halt(symbol, at) !== undefined || at < this.listedAt(symbol);
      return { symbol, status: isHalted ? "BREAK" : "TRADING" };
    });
  }

  /** Open times of candles that exist and open in `[from, to)`, ascending, at most `limit`. */
  openTimes(series: Series, from: number, to: number, limit: number): number[] {
    const { timeframe, symbol } = series;
    const listed = openTimeAt(timeframe, this.listedAt(symbol));
    const found: number[] = [];
    let open = Math.max(ceilOpenTime(timeframe, from), listed);
    for (; open < to && found.length < limit; open = nextOpenTime(timeframe, open)) {
      if (this.exists(series, open)) found.push(open);
    }
    return found;
  }

  /** Open time of the last candle that exists before an instant, within a day. */
  previous(series: Series, before: number): number | undefined {
    let open = previousOpenTime(series.timeframe, openTimeAt(series.timeframe, before));
    for (let tries = 0; tries < 1_500; tries += 1) {
      if (this.exists(series, open)) return open;
      open = previousOpenTime(series.timeframe, open);
    }
    return undefined;
  }

  #version(series: Series, openTime: number, version: 1 | 2 | 3 | 4 | 5): Candle {
    const bits = this.#hash(series, openTime, 0);
    const open = 100 + (bits % 900);
    const cents = String(bits % 97).padStart(2, "0");
    const tradeCount = bits % 41 === 0 ? 0 : 1 + (bits % 500);
    return {
      openTime,
      closeTime: nextOpenTime(series.timeframe, openTime) - 1,
      open: `${open}.${cents}000000`,
      high: `${open + 1 + ((bits >>> 8) % 50)}.50000000`,
      low: `${open - 1 - ((bits >>> 16) % 50)}.25000000`,
      close: `${open}.${cents}100000`,
      volume: `${bits % 1_000}.1234567${version}`,
      quoteVolume: `${bits % 100_000}.5000000${version}`,
      tradeCount: version === 3 && tradeCount > 1 ? tradeCount - 1 : tradeCount,
      takerBuyVolume: "1.50000000",
      takerBuyQuoteVolume: "2.25000000",
    };
  }

  #halt(symbol: string, at: number): Fault | undefined {
    return this.#plan.on("halt", at, (fault) => this.symbolOf(fault) === symbol);
  }

  #hash(series: Series, openTime: number, salt: number): number {
    return mix(hashText(`${this.#seed}|${seriesKey(series)}|${openTime}`) + salt);
  }

  #share(series: Series, openTime: number, salt: number): number {
    return this.#hash(series, openTime, salt) / 2 ** 32;
  }
}

/** Identity of a candle. */
export function keyOf(series: Series, openTime: number): string {
  return `${seriesKey(series)}@${openTime}`;
}

/** All values of a candle in one text: digits count. */
export function textOf(candle: Candle): string {
  const { openTime, closeTime, open, high, low, close, volume, quoteVolume, tradeCount } = candle;
  const { takerBuyVolume, takerBuyQuoteVolume } = candle;
  return [openTime, closeTime, open, high, low, close, volume, quoteVolume, tradeCount]
    .concat([takerBuyVolume, takerBuyQuoteVolume] as never[])
    .join(" ");
}
