import fc, { type Arbitrary } from "fast-check";
import type { Candle } from "../../src/core/candle.ts";
import { AUTHORITY, type Source, type VersionedCandle } from "../../src/core/finality.ts";
import type { Series } from "../../src/core/series.ts";
import {
  closeTimeOf,
  nextOpenTime,
  openTimeAt,
  TIMEFRAMES,
  type Timeframe,
} from "../../src/core/timeframe.ts";

/** Records with the ordinary prototype: `deepStrictEqual` tells the other kind apart. */
const record = <T>(model: { [K in keyof T]: Arbitrary<T[K]> }): Arbitrary<T> =>
  fc.record(model, { noNullPrototype: true }) as Arbitrary<T>;

/** First and last instant that candles are drawn from: before the first exchange, and far beyond any of us. */
export const FIRST_TIME = Date.UTC(2010, 0, 1);
export const LAST_TIME = Date.UTC(2100, 0, 1);

/** Any timeframe; shrinks towards `1m`. */
export const timeframe = (): Arbitrary<Timeframe> =>
  fc.constantFrom<Timeframe>("1m", ...TIMEFRAMES.filter((each) => each !== "1m"));

/** Any instant (epoch ms, whole), on or beside any grid. */
export const instant = (
  range: { readonly min?: number; readonly max?: number } = {},
): Arbitrary<number> => fc.integer({ min: FIRST_TIME, max: LAST_TIME, ...range });

/** An open time of the timeframe's grid. */
export const openTime = (
  of: Timeframe,
  range: { readonly min?: number; readonly max?: number } = {},
): Arbitrary<number> => instant(range).map((time) => openTimeAt(of, time));

/** Symbols as exchanges have them: usual ones, digits first, punctuation, other scripts. */
export const symbol = (): Arbitrary<string> =>
  fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom("BTCUSDT", "ETHUSDT", "1INCHUSDT", "1000SATSUSDT") },
    { weight: 1, arbitrary: fc.constantFrom("币安人生USDT", "１２３４５６", "A-B_C.D", "1M", "M") },
    {
      weight: 1,
      arbitrary: fc.stringMatching(/^[A-Z0-9._-]{1,20}$/),
    },
  );

/** Any series; fix parts of it by `given`. */
export const series = (given: Partial<Series> = {}): Arbitrary<Series> =>
  record({
    exchange: fc.constant(given.exchange ?? "binance"),
    symbol: given.symbol === undefined ? symbol() : fc.constant(given.symbol),
    timeframe: given.timeframe === undefined ? timeframe() : fc.constant(given.timeframe),
  });

/** Digits after a point: exactly `max` of them, or any number from none to `max`. */
const fractionDigits = (max: number, isExact: boolean): Arbitrary<string> =>
  fc
    .tuple(fc.bigInt({ min: 0n, max: 10n ** BigInt(max) - 1n }), fc.nat(max))
    .map(([value, length]) =>
      value
        .toString()
        .padStart(max, "0")
        .slice(0, isExact ? max : length),
    );

/**
 * Text of the decimal grammar (R2): up to 20 integer digits, up to 18 decimals, trailing zeros and bare integers
 * included. Mostly as Binance writes it, with eight decimals.
 */
export const decimal = (): Arbitrary<string> =>
  fc.oneof(
    {
      weight: 3,
      arbitrary: fc
        .tuple(fc.nat(120_000), fractionDigits(8, true))
        .map(([whole, fraction]) => `${whole}.${fraction}`),
    },
    {
      weight: 3,
      arbitrary: fc
        .tuple(fc.bigInt({ min: 0n, max: 10n ** 20n - 1n }), fractionDigits(18, false))
        .map(([whole, fraction]) => (fraction === "" ? `${whole}` : `${whole}.${fraction}`)),
    },
    { weight: 1, arbitrary: fc.constantFrom("0", "0.0", "0.00000000", "1", "1.0", "0.1", "10") },
    {
      weight: 1,
      arbitrary: fc.constantFrom(
        "99999999999999999999.999999999999999999",
        "0.000000000000000001",
        "9007199254740993",
        "0.30000000000000004",
      ),
    },
  );

/** Value of a decimal in units of 10^-18: the model by which tests compare and add. */
export function unitsOf(text: string): bigint {
  const [whole = "", fraction = ""] = text.split(".");
  return BigInt(whole) * 10n ** 18n + BigInt(fraction.padEnd(18, "0"));
}

/** A decimal above zero. */
export const positiveDecimal = (): Arbitrary<string> =>
  decimal().filter((text) => unitsOf(text) > 0n);

/** Text that looks like a number to somebody, and is not of the grammar. */
export const notDecimal = (): Arbitrary<string> =>
  fc.oneof(
    fc.constantFrom(
      ...["", " ", ".", "1.", ".5", "-1", "+1", "-0", "00", "00.1", "01", "1e5", "1E5", "1e-7"],
      ...["NaN", "nan", "Infinity", "-Infinity", "0x10", "1_000", "1,5", "1,000.00", "1 ", " 1"],
      ...["1\n", "\n1", "1.5\n", "1\u00a0", "１", "٣", "1..2", "1.2.3", "null", "undefined"],
      ...["100000000000000000000", "0.0000000000000000001", "1".repeat(40), `0.${"1".repeat(40)}`],
    ),
    decimal().map((text) => `-${text}`),
    decimal().map((text) => `0${text}`),
    decimal().map((text) => `${text}e1`),
    decimal().map((text) => `${text}.`),
    decimal().map((text) => `${text}\n`),
  );

/** Prices that fit together: `low ≤ open, close ≤ high`, all above zero. */
const prices = (): Arbitrary<Pick<Candle, "open" | "high" | "low" | "close">> =>
  fc
    .tuple(positiveDecimal(), positiveDecimal(), positiveDecimal(), positiveDecimal(), fc.boolean())
    .map(([a, b, c, d, isRising]) => {
      const sorted = [a, b, c, d].sort((one, other) => {
        const difference = unitsOf(one) - unitsOf(other);
        return difference < 0n ? -1 : Number(difference > 0n);
      });
      const [low = a, inner = a, outer = a, high = a] = sorted;
      return isRising
        ? { open: inner, high, low, close: outer }
        : { open: outer, high, low, close: inner };
    });

/** A sound candle of the timeframe: on the grid unless `at` is not, with any volumes and counts. */
export const candle = (of: Timeframe, at?: number): Arbitrary<Candle> =>
  record({
    openTime: at === undefined ? openTime(of) : fc.constant(at),
    prices: prices(),
    volume: decimal(),
    quoteVolume: decimal(),
    tradeCount: fc.oneof(fc.nat(5_000), fc.constantFrom(0, 2_147_483_647)),
    takerBuyVolume: decimal(),
    takerBuyQuoteVolume: decimal(),
  }).map(({ prices: four, ...rest }) => ({
    ...rest,
    ...four,
    closeTime: closeTimeOf(of, rest.openTime),
  }));

/** Any road on which a closed candle comes. */
export const source = (): Arbitrary<Source> =>
  fc.constantFrom<Source>(...(Object.keys(AUTHORITY) as Source[]));

/** A sound closed candle with its road and a time of sight after its close; fix parts of its series by `given`. */
export const versionedCandle = (given: Partial<Series> = {}): Arbitrary<VersionedCandle> =>
  series(given).chain((of) =>
    candle(of.timeframe).chain((each) =>
      record({
        series: fc.constant(of),
        candle: fc.constant(each),
        source: source(),
        observedTime: fc
          .oneof(fc.nat(120_000), fc.nat(400 * 86_400_000))
          .map((later) => each.closeTime + 1 + later),
      }),
    ),
  );

/**
 * Versions of one and the same candle, made to collide: few roads, few times of sight, few values, and some that differ
 * only in how a number is written (`1.0`, `1.00`).
 */
export const rivalVersions = (
  given: Partial<Series> = {},
  size: { readonly minLength?: number; readonly maxLength?: number } = {
    minLength: 2,
    maxLength: 8,
  },
): Arbitrary<VersionedCandle[]> =>
  versionedCandle(given).chain((first) =>
    fc
      .array(
        record({
          source: fc.constantFrom<Source>(first.source, "stream", "rest", "rest-early"),
          delayMs: fc.constantFrom(0, 1, 60_000),
          tradeCount: fc.constantFrom(first.candle.tradeCount, 7, 8),
          volume: fc.constantFrom(first.candle.volume, "1.0", "1.00", "2"),
          quoteVolume: fc.constantFrom(first.candle.quoteVolume, "3.5", "3.50"),
        }),
        size,
      )
      .map((changes) =>
        changes.map(({ source: road, delayMs, ...values }) => ({
          series: first.series,
          candle: { ...first.candle, ...values },
          source: road,
          observedTime: first.observedTime + delayMs,
        })),
      ),
  );

/** One trade, in whole units: price in cents, volume in thousandths. */
export interface TapeTrade {
  readonly time: number;
  readonly price: number;
  readonly volume: number;
  readonly isTakerBuy: boolean;
}

/** Some trades within a range, ascending by time; of a coin that moves by the cent, or hardly at all. */
export const tape = (
  range: { readonly from: number; readonly to: number },
  size: { readonly minLength?: number; readonly maxLength?: number } = {},
): Arbitrary<TapeTrade[]> =>
  fc.constantFrom(3, 5_000).chain((spread) =>
    fc
      .array(
        record({
          time: fc.integer({ min: range.from, max: range.to - 1 }),
          price: fc.integer({ min: 10_000, max: 10_000 + spread }),
          volume: fc.integer({ min: 1, max: 99_999 }),
          isTakerBuy: fc.boolean(),
        }),
        { size: "max", ...size },
      )
      .map((trades) => trades.sort((a, b) => a.time - b.time)),
  );

/** Text of a whole number of units of 10^-scale. */
const fixed = (units: number, scale: number): string => {
  const digits = String(units).padStart(scale + 1, "0");
  return `${digits.slice(0, -scale)}.${digits.slice(-scale)}`;
};

/**
 * The candle of a cell as an exchange makes it from trades; flat at the close before it where there are none.
 * @param before price of the last trade before the cell
 */
export function candleOfTrades(
  of: Timeframe,
  at: number,
  trades: readonly TapeTrade[],
  before: number,
): Candle {
  const prices = trades.length === 0 ? [before] : trades.map(({ price }) => price);
  const sum = (given: readonly TapeTrade[], value: (trade: TapeTrade) => number): number =>
    given.reduce((total, trade) => total + value(trade), 0);
  const bought = trades.filter(({ isTakerBuy }) => isTakerBuy);
  const quote = ({ price, volume }: TapeTrade): number => price * volume;
  return {
    openTime: at,
    closeTime: closeTimeOf(of, at),
    open: fixed(prices[0] ?? before, 2),
    high: fixed(Math.max(...prices), 2),
    low: fixed(Math.min(...prices), 2),
    close: fixed(prices.at(-1) ?? before, 2),
    volume: fixed(
      sum(trades, ({ volume }) => volume),
      3,
    ),
    quoteVolume: fixed(sum(trades, quote), 5),
    tradeCount: trades.length,
    takerBuyVolume: fixed(
      sum(bought, ({ volume }) => volume),
      3,
    ),
    takerBuyQuoteVolume: fixed(sum(bought, quote), 5),
  };
}

/** All candles of a range, made of trades. @param before price of the last trade before the range */
export function candlesOfTrades(
  of: Timeframe,
  range: { readonly from: number; readonly to: number },
  trades: readonly TapeTrade[],
  before = 10_001,
): Candle[] {
  const candles: Candle[] = [];
  let price = before;
  for (let at = openTimeAt(of, range.from); at < range.to; at = nextOpenTime(of, at)) {
    const end = nextOpenTime(of, at);
    const within = trades.filter(({ time }) => time >= at && time < end);
    candles.push(candleOfTrades(of, at, within, price));
    price = within.at(-1)?.price ?? price;
  }
  return candles;
}
