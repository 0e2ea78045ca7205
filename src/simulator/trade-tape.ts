import { Lru } from "./lru.ts";
import { fraction, growthOf, mix, walkNoise } from "./noise.ts";

export const SECOND_MS = 1_000;
export const MINUTE_MS = 60_000;
export const HOUR_MS = 3_600_000;
export const DAY_MS = 86_400_000;

/** Above this many trades a minute, trades at one price and instant share an entry. */
const MAX_EVENTS = 48;
/** Makes a fraction of 16 random bits. */
const UNIT_16 = 1 / 0x1_0000;

/** Everything that the trades of a symbol follow from. Prices are whole ticks, quantities whole lots. */
export interface TapeSpec {
  /** 32-bit seed of this symbol. */
  readonly seed: number;
  /** Usual price in ticks. */
  readonly priceTicks: number;
  /** Relative size of an hour's move, e.g. 0.004. */
  readonly volatility: number;
  /** Mean number of trades a day; at least {@link MIN_TRADES_PER_DAY}, so that no hour is without a trade. */
  readonly tradesPerDay: number;
  /** Mean lots of one trade. */
  readonly lotsPerTrade: number;
  /** Trade ids count from the day of this instant. */
  readonly listedAt: number;
}

export const MIN_TRADES_PER_DAY = 200;

/** The trades of one minute, in order of time. Reused: read it before the next {@link TradeTape.minute}. */
export interface MinuteTrades {
  /** Number of entries in use. */
  count: number;
  /** Ids of trades before this minute, on the tape without outages. */
  firstId: number;
  /** Milliseconds since the minute's start, ascending. */
  readonly times: Int32Array;
  readonly prices: Float64Array;
  /** How many trades one entry stands for. */
  readonly trades: Float64Array;
  readonly lots: Float64Array;
  readonly takerLots: Float64Array;
}

interface HourFrame {
  /** Price in ticks at each minute's start, and at the hour's end: 61 values, not rounded. */
  readonly prices: Float64Array;
  /** Trades before each minute's start since the tape began: 61 values. */
  readonly counts: Float64Array;
  readonly lotsPerTrade: number;
}

/** Share of the day's trades before each UTC hour: a U, busy around midnight, calm at noon. */
const HOUR_SHARES: readonly number[] = cumulativeShares();
const SMALLEST_HOUR_SHARE = 0.02;

function cumulativeShares(): number[] {
  const weights = Array.from({ length: 24 }, (_, hour) => 0.6 + 0.8 * ((hour - 12) / 12) ** 2);
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const shares = [0];
  for (const weight of weights) shares.push((shares.at(-1) ?? 0) + weight / total);
  return shares;
}

/** The one trade tape of a symbol: which trades happen in which minute, were there never an outage. */
export class TradeTape {
  readonly spec: TapeSpec;
  readonly #frames: Lru<number, HourFrame>;
  readonly #firstDay: number;
  readonly #scratch: MinuteTrades = {
    count: 0,
    firstId: 0,
    times: new Int32Array(MAX_EVENTS),
    prices: new Float64Array(MAX_EVENTS),
    trades: new Float64Array(MAX_EVENTS),
    lots: new Float64Array(MAX_EVENTS),
    takerLots: new Float64Array(MAX_EVENTS),
  };
  #scratchMinute = Number.NaN;

  /** @param cachedHours how many hours' frames (about 1 KB each) are kept */
  constructor(spec: TapeSpec, cachedHours: number) {
    if (spec.tradesPerDay < MIN_TRADES_PER_DAY) {
      throw new RangeError(`tradesPerDay must be at least ${MIN_TRADES_PER_DAY}`);
    }
    this.spec = spec;
    this.#frames = new Lru(cachedHours);
    this.#firstDay = Math.floor(spec.listedAt / DAY_MS);
  }

  /** Trades of the minute with this number (epoch ms / 60,000). */
  minute(minute: number): MinuteTrades {
    const out = this.#scratch;
    if (this.#scratchMinute === minute) return out;
    this.#scratchMinute = minute;
    const hour = Math.floor(minute / 60);
    const index = minute - hour * 60;
    const frame = this.#frame(hour);
    const firstId = frame.counts[index] ?? 0;
    const total = (frame.counts[index + 1] ?? 0) - firstId;
    out.firstId = firstId;
    out.count = Math.min(total, MAX_EVENTS);
    if (total > 0) this.#fill(out, minute, total, frame, index);
    return out;
  }

  /** Number of trades before the start of a minute since the tape began. */
  countBefore(minute: number): number {
    const hour = Math.floor(minute / 60);
    return this.#frame(hour).counts[minute - hour * 60] ?? 0;
  }

  /** The price in ticks at the start of an hour. */
  hourPrice(hour: number): number {
    const { seed, priceTicks, volatility } = this.spec;
    return Math.max(1, priceTicks * growthOf(volatility * walkNoise(seed, hour)));
  }

  #fill(out: MinuteTrades, minute: number, total: number, frame: HourFrame, index: number): void {
    const { times, prices, trades, lots, takerLots, count } = out;
    // Never 0, where xorshift would stay.
    let state = mix(this.spec.seed ^ 0x5bd1e995, minute) | 1;
    let price = frame.prices[index] ?? 1;
    const target = frame.prices[index + 1] ?? 1;
    const step = ((price * this.spec.volatility * 0.35) / Math.sqrt(count)) * UNIT_16;
    const stride = MINUTE_MS / count;
    const perEntry = Math.floor(total / count);
    const remainder = total - perEntry * count;
    for (let entry = 0; entry < count; entry++) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      const move = state & 0xffff;
      const jitter = (state >>> 16) * UNIT_16;
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      const heavy = (state & 0xffff) * UNIT_16;
      const taker = (state >>> 16) * UNIT_16;
      const left = count - entry;
      price += (target - price) / left;
      if (left > 1) price += step * (move - 0x8000);
      const tradeCount = entry < remainder ? perEntry + 1 : perEntry;
      const size = frame.lotsPerTrade * (0.1 + 4.5 * heavy * heavy * heavy * heavy);
      const quantity = tradeCount + Math.floor(tradeCount * size);
      times[entry] = (entry + jitter) * stride;
      prices[entry] = price < 1 ? 1 : Math.floor(price + 0.5);
      trades[entry] = tradeCount;
      lots[entry] = quantity;
      takerLots[entry] = Math.floor(quantity * taker);
    }
  }

  #frame(hour: number): HourFrame {
    const known = this.#frames.get(hour);
    if (known !== undefined) return known;
    const frame = this.#makeFrame(hour);
    this.#frames.set(hour, frame);
    return frame;
  }

  #makeFrame(hour: number): HourFrame {
    const { seed, volatility, lotsPerTrade } = this.spec;
    const hourSeed = mix(seed ^ 0x27d4eb2f, hour);
    const prices = new Float64Array(61);
    const counts = new Float64Array(61);
    const end = this.hourPrice(hour + 1);
    let price = this.hourPrice(hour);
    const step = price * volatility * 0.4;
    const before = this.#countAtHour(hour);
    const total = this.#countAtHour(hour + 1) - before;
    prices[0] = price;
    counts[0] = before;
    for (let minute = 1; minute <= 60; minute++) {
      const left = 61 - minute;
      price += (end - price) / left;
      if (left > 1) price += step * (fraction(hourSeed, minute) - 0.5);
      prices[minute] = Math.max(price, 1);
      const jitter = minute < 60 ? 0.9 * fraction(hourSeed, minute + 100) : 0;
      counts[minute] = before + Math.floor((total * (minute + jitter)) / 60);
    }
    const busy = fraction(hourSeed, 200);
    return { prices, counts, lotsPerTrade: lotsPerTrade * (0.5 + busy * busy * 1.5) };
  }

  /** Trades before an hour: monotone, and known without walking through history. */
  #countAtHour(hour: number): number {
    const day = Math.floor(hour / 24);
    const index = hour - day * 24;
    const before = this.#countAtDay(day);
    if (index === 0) return before;
    const total = this.#countAtDay(day + 1) - before;
    const jitter = 0.5 * SMALLEST_HOUR_SHARE * fraction(this.spec.seed ^ 0x165667b1, hour);
    return before + Math.floor(total * ((HOUR_SHARES[index] ?? 1) + jitter));
  }

  #countAtDay(day: number): number {
    const jitter = 0.3 * fraction(this.spec.seed ^ 0x3c6ef372, day);
    return Math.floor(this.spec.tradesPerDay * (day - this.#firstDay + jitter));
  }
}
