import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { nextOpenTime, openTimeAt, TIMEFRAMES, type Timeframe } from "../core/timeframe.ts";
import type { MarketCandle, MarketSeries } from "./market.ts";
import { SeededMarket, type SeededMarketOptions } from "./seeded-market.ts";
import { seededSymbols } from "./seeded-symbols.ts";

const LISTED = Date.UTC(2025, 0, 29, 4, 0, 7);
const NOW = Date.UTC(2025, 2, 4);
const SYMBOLS = seededSymbols(["BTCUSDT", "NXSBTC", "币安人生USDT", "1000DUSTBTC"]);
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

const make = (options: SeededMarketOptions = {}): SeededMarket =>
  new SeededMarket({ symbols: SYMBOLS, listedAt: LISTED, seed: 7, ...options });

const all = (
  market: SeededMarket,
  series: MarketSeries,
  from: number,
  to: number,
  at = NOW,
): MarketCandle[] => [...market.candles(series, { from, to }, at, "ascending")];

const units = (decimal: string): bigint => BigInt(decimal.replace(".", ""));

/** What the exchange does when it sums: candles without trades add nothing, not even their price. */
function summed(finer: readonly MarketCandle[]): Record<string, unknown> {
  const traded = finer.filter(({ tradeCount }) => tradeCount > 0);
  const sum = (
    field: "volume" | "quoteVolume" | "takerBuyVolume" | "takerBuyQuoteVolume",
  ): bigint => traded.reduce((total, candle) => total + units(candle[field]), 0n);
  const best = (field: "high" | "low"): bigint =>
    traded
      .map((candle) => units(candle[field]))
      .reduce((a, b) => ((field === "high" ? b > a : b < a) ? b : a));
  return {
    open: units(traded[0]?.open ?? ""),
    high: best("high"),
    low: best("low"),
    close: units(traded.at(-1)?.close ?? ""),
    volume: sum("volume"),
    quoteVolume: sum("quoteVolume"),
    takerBuyVolume: sum("takerBuyVolume"),
    takerBuyQuoteVolume: sum("takerBuyQuoteVolume"),
    tradeCount: traded.reduce((total, { tradeCount }) => total + tradeCount, 0),
    firstTradeId: traded[0]?.firstTradeId,
    lastTradeId: traded.at(-1)?.lastTradeId,
  };
}

const asUnits = (candle: MarketCandle): Record<string, unknown> => ({
  open: units(candle.open),
  high: units(candle.high),
  low: units(candle.low),
  close: units(candle.close),
  volume: units(candle.volume),
  quoteVolume: units(candle.quoteVolume),
  takerBuyVolume: units(candle.takerBuyVolume),
  takerBuyQuoteVolume: units(candle.takerBuyQuoteVolume),
  tradeCount: candle.tradeCount,
  firstTradeId: candle.firstTradeId,
  lastTradeId: candle.lastTradeId,
});

/** The next finer timeframe whose candles never straddle this one's boundary. */
const FINER: Readonly<Record<Timeframe, Timeframe | undefined>> = {
  "1s": undefined,
  "1m": "1s",
  "3m": "1m",
  "5m": "1m",
  "15m": "3m",
  "30m": "5m",
  "1h": "15m",
  "2h": "30m",
  "4h": "1h",
  "6h": "2h",
  "8h": "2h",
  "12h": "4h",
  "1d": "6h",
  "3d": "8h",
  "1w": "12h",
  "1M": "1d",
};

const symbolName = fc.constantFrom(...SYMBOLS.map(({ symbol }) => symbol));
const coarse = fc.constantFrom(...TIMEFRAMES.filter((timeframe) => timeframe !== "1s"));
const instant = fc.integer({ min: LISTED, max: NOW - 1 });
/** One outage on a whole minute, one that begins and ends within a second. */
const OUTAGES = [
  { from: Date.UTC(2025, 1, 10, 2), to: Date.UTC(2025, 1, 10, 4, 30) },
  { from: Date.UTC(2025, 1, 20, 12, 39, 41, 647), to: Date.UTC(2025, 1, 20, 14, 0, 0, 500) },
];

describe("the seeded market", () => {
  for (const [name, market] of [
    ["without outages", make()],
    ["with outages", make({ outages: OUTAGES })],
  ] as const) {
    test(`${name}: finer candles add up to the coarser one, digit for digit`, () => {
      fc.assert(
        fc.property(symbolName, coarse, instant, (symbol, interval, time) => {
          const openTime = openTimeAt(interval, time);
          const endTime = nextOpenTime(interval, openTime);
          const at = Math.max(NOW, endTime);
          const candle = market.candle({ symbol, interval }, openTime, at);
          const finer = all(
            market,
            { symbol, interval: FINER[interval] ?? "1s" },
            openTime,
            endTime,
            at,
          );
          if (candle === undefined) assert.equal(finer.length, 0);
          else if (candle.tradeCount === 0) {
            assert.ok(
              finer.every(({ tradeCount, close }) => tradeCount === 0 && close === candle.close),
            );
          } else assert.deepEqual(asUnits(candle), summed(finer));
        }),
        { numRuns: 150 },
      );
    });
  }

  test("the same seed gives the same candles, another seed others", () => {
    const series: MarketSeries = { symbol: "BTCUSDT", interval: "5m" };
    const from = Date.UTC(2025, 1, 1);
    const first = all(make(), series, from, from + DAY);
    // Asked in another order, from a market that has answered other questions before.
    const other = make();
    all(other, { symbol: "NXSBTC", interval: "1h" }, from, from + DAY);
    const again = [...other.candles(series, { from, to: from + DAY }, NOW, "descending")].reverse();
    assert.equal(first.length, 288);
    assert.deepEqual(again, first);
    assert.notDeepEqual(all(make({ seed: 8 }), series, from, from + DAY), first);
  });

  test("a forming candle only grows, and ends as the closed one", () => {
    const market = make({ outages: OUTAGES });
    const timeframe = fc.constantFrom(...TIMEFRAMES);
    const steps = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 6 });
    fc.assert(
      fc.property(symbolName, timeframe, instant, steps, (symbol, interval, time, parts) => {
        const openTime = openTimeAt(interval, time);
        const endTime = nextOpenTime(interval, openTime);
        const at = parts.map((part) => Math.floor(openTime + part * (endTime - openTime - 1)));
        const last = market.candle({ symbol, interval }, openTime, endTime);
        let before: MarketCandle | undefined;
        for (const moment of [...at.sort((a, b) => a - b), endTime - 1]) {
          const now = market.candle({ symbol, interval }, openTime, moment);
          if (before !== undefined && before.tradeCount > 0) {
            assert.ok(now !== undefined && now.tradeCount >= before.tradeCount);
            assert.ok(units(now.volume) >= units(before.volume));
            assert.ok(units(now.high) >= units(before.high));
            assert.ok(units(now.low) <= units(before.low));
            assert.equal(now.open, before.open);
            assert.equal(now.firstTradeId, before.firstTradeId);
          }
          before = now;
        }
        assert.deepEqual(before && asUnits(before), last && asUnits(last));
        // A question about the past after one about the present has the answer it had then.
        const [early] = at;
        if (early !== undefined) {
          assert.deepEqual(
            market.candle({ symbol, interval }, openTime, early),
            make({ outages: OUTAGES }).candle({ symbol, interval }, openTime, early),
          );
        }
      }),
      { numRuns: 60 },
    );
  });

  test("every candle is plausible, and trade ids leave no hole", () => {
    const market = make({ outages: OUTAGES });
    for (const { symbol } of SYMBOLS) {
      let previous: MarketCandle | undefined;
      let nextId: number | undefined;
      let quiet = 0;
      for (const candle of all(
        market,
        { symbol, interval: "1m" },
        OUTAGES[1]?.from ?? 0,
        NOW - 9 * DAY,
      )) {
        const low = units(candle.low);
        const high = units(candle.high);
        for (const price of [candle.open, candle.close]) {
          assert.ok(units(price) >= low && units(price) <= high);
        }
        assert.match(candle.close, /^\d+\.\d{8}$/);
        if (candle.tradeCount === 0) {
          quiet++;
          assert.equal(candle.volume, "0.00000000");
          assert.equal(candle.firstTradeId, -1);
          if (previous !== undefined) assert.equal(candle.close, previous.close);
        } else {
          const quote = units(candle.quoteVolume) * 100_000_000n;
          assert.ok(quote >= low * units(candle.volume) && quote <= high * units(candle.volume));
          assert.ok(units(candle.takerBuyVolume) <= units(candle.volume));
          if (candle.tradeCount === 1) assert.equal(candle.high, candle.low);
          if (nextId !== undefined) assert.equal(candle.firstTradeId, nextId);
          nextId = candle.lastTradeId + 1;
        }
        previous = candle;
      }
      if (symbol === "NXSBTC") assert.ok(quiet > 1_000, `${quiet} quiet minutes`);
      if (symbol === "BTCUSDT") assert.equal(quiet, 0);
    }
  });

  test("opens stand on the grids of binance.md §3.1", () => {
    const market = make({ listedAt: Date.UTC(2026, 4, 1) });
    const at = Date.UTC(2026, 6, 20);
    for (const [interval, openTime] of [
      ["3d", 1_783_900_800_000],
      ["3d", 1_783_641_600_000],
      ["1w", 1_783_296_000_000],
      ["1w", 1_782_691_200_000],
      ["1M", Date.UTC(2026, 5, 1)],
    ] as const) {
      const series = { symbol: "NXSBTC", interval };
      assert.ok(market.candle(series, openTime, at), `${interval} ${openTime}`);
      assert.equal(market.candle(series, openTime - DAY, at), undefined);
    }
  });

  test("candles in UTC+8 open at 16:00 UTC", () => {
    const market = make();
    const series: MarketSeries = { symbol: "BTCUSDT", interval: "1d", offsetMs: 8 * HOUR };
    const from = Date.UTC(2025, 1, 1, 16);
    const [day] = all(market, series, from, from + DAY);
    assert.ok(day);
    assert.equal(day.openTime, from);
    assert.equal(day.closeTime, from + DAY - 1);
    const hours = all(market, { symbol: "BTCUSDT", interval: "1h" }, from, from + DAY);
    assert.deepEqual(asUnits(day), summed(hours));
  });

  test("the day of listing opens at 00:00 and begins with the first trade; nothing is older", () => {
    const market = make();
    const from = openTimeAt("1d", LISTED);
    const [day] = all(market, { symbol: "BTCUSDT", interval: "1d" }, 0, NOW);
    const [minute] = all(market, { symbol: "BTCUSDT", interval: "1m" }, 0, NOW);
    const [second] = all(market, { symbol: "BTCUSDT", interval: "1s" }, 0, LISTED + MINUTE);
    assert.equal(day?.openTime, from);
    assert.equal(minute?.openTime, openTimeAt("1m", LISTED));
    assert.equal(second?.openTime, Math.ceil(LISTED / 1_000) * 1_000);
    assert.equal(day?.open, minute?.open);
    assert.equal(minute?.firstTradeId, 0);
  });

  test("an outage leaves no candle behind, and cuts short those it reaches over", () => {
    const market = make({ outages: OUTAGES });
    const uncut = make({ outages: OUTAGES, cutShortCloses: false });
    const [, { from, to } = { from: 0, to: 0 }] = OUTAGES;
    const minutes = all(
      market,
      { symbol: "BTCUSDT", interval: "1m" },
      from - 2 * MINUTE,
      to + 59_000,
    );
    assert.deepEqual(
      minutes.map(({ openTime, closeTime }) => [openTime, closeTime]),
      [
        [Date.UTC(2025, 1, 20, 12, 38), Date.UTC(2025, 1, 20, 12, 39) - 1],
        [Date.UTC(2025, 1, 20, 12, 39), from - 1],
        [Date.UTC(2025, 1, 20, 14, 0), Date.UTC(2025, 1, 20, 14, 1) - 1],
      ],
    );
    const hours = all(market, { symbol: "BTCUSDT", interval: "1h" }, from - HOUR, to + 59 * MINUTE);
    assert.deepEqual(
      hours.map(({ openTime, closeTime }) => [openTime, closeTime]),
      [
        [Date.UTC(2025, 1, 20, 12), from - 1],
        [Date.UTC(2025, 1, 20, 14), Date.UTC(2025, 1, 20, 15) - 1],
      ],
    );
    const natural = all(uncut, { symbol: "BTCUSDT", interval: "1h" }, from - HOUR, from);
    assert.equal(natural[0]?.closeTime, Date.UTC(2025, 1, 20, 13) - 1);
    // The candle that spans the outage keeps what was traded around it.
    const day = market.candle({ symbol: "BTCUSDT", interval: "1d" }, Date.UTC(2025, 1, 20), NOW);
    assert.equal(day?.closeTime, Date.UTC(2025, 1, 21) - 1);
  });

  test("an outage of one symbol leaves the others alone", () => {
    const from = Date.UTC(2025, 1, 10, 2);
    const market = make({ outages: [{ from, to: from + HOUR, symbols: ["NXSBTC"] }] });
    const count = (symbol: string): number =>
      all(market, { symbol, interval: "1m" }, from, from + HOUR).length;
    assert.equal(count("NXSBTC"), 0);
    assert.equal(count("BTCUSDT"), 60);
  });

  test("an outage declared while the market runs changes nothing before it, and stays in history", () => {
    const market = make();
    const series: MarketSeries = { symbol: "BTCUSDT", interval: "1h" };
    const start = Date.UTC(2025, 1, 10);
    const now = start + 30 * MINUTE + 250;
    const untouched = all(market, series, start - DAY, start);
    const forming = market.candle(series, start, now - 1);
    market.setOutages([{ from: now, to: Number.POSITIVE_INFINITY }]);
    const frozen = market.candle(series, start, now + 10 * MINUTE);
    assert.deepEqual(frozen && asUnits(frozen), forming && asUnits(forming));
    assert.equal(market.candle(series, start, start + HOUR)?.closeTime, now - 1);
    assert.equal(market.candle(series, start + HOUR, start + 2 * HOUR), undefined);
    const end = start + 3 * HOUR;
    market.setOutages([{ from: now, to: end }]);
    assert.deepEqual(
      all(market, series, start, start + 5 * HOUR).map(({ openTime }) => openTime),
      [start, end, end + HOUR],
    );
    assert.deepEqual(all(market, series, start - DAY, start), untouched);
    const before = market.candle(series, start, NOW);
    const after = market.candle(series, end, NOW);
    assert.equal(after?.firstTradeId, (before?.lastTradeId ?? 0) + 1);
  });

  test("after delisting old candles stay and no new ones come", () => {
    const delistedAt = Date.UTC(2025, 1, 15, 3);
    const [symbol] = seededSymbols(["BTCUSDT"]);
    assert.ok(symbol);
    const market = make({ symbols: [{ ...symbol, delistedAt }] });
    const hours = all(market, { symbol: "BTCUSDT", interval: "1h" }, delistedAt - 2 * HOUR, NOW);
    assert.deepEqual(
      hours.map(({ openTime }) => openTime),
      [delistedAt - 2 * HOUR, delistedAt - HOUR],
    );
    assert.equal(market.symbols(delistedAt - 1)[0]?.status, "TRADING");
    assert.equal(market.symbols(delistedAt)[0]?.status, "BREAK");
    assert.deepEqual(market.symbols(LISTED - 1), []);
  });

  test("a correction changes a closed candle once, and only after its delay", () => {
    const corrections = { share: 0.5, delayMs: 5_000 };
    const market = make({ corrections });
    const plain = make();
    const series: MarketSeries = { symbol: "BTCUSDT", interval: "1m" };
    const from = Date.UTC(2025, 1, 10);
    let corrected = 0;
    for (const first of all(plain, series, from, from + HOUR)) {
      const closedAt = first.closeTime + 1;
      assert.deepEqual(market.candle(series, first.openTime, closedAt + 4_999), first);
      const second = market.candle(series, first.openTime, closedAt + 5_000);
      assert.deepEqual(market.candle(series, first.openTime, NOW), second);
      assert.ok(second);
      if (second.volume === first.volume) continue;
      corrected++;
      assert.ok(units(second.volume) > units(first.volume));
      assert.ok(
        units(second.close) >= units(second.low) && units(second.close) <= units(second.high),
      );
      const quote = units(second.quoteVolume) * 100_000_000n;
      assert.ok(quote >= units(second.low) * units(second.volume));
      assert.ok(quote <= units(second.high) * units(second.volume));
    }
    assert.ok(corrected > 15 && corrected < 45, `${corrected} of 60`);
  });

  test("off the grid 1m candles still hold every trade", () => {
    const from = Date.UTC(2025, 1, 10, 6);
    const to = from + 10 * MINUTE;
    const market = make({ offGrid: [{ from, to, shiftMs: 20_799 }] });
    const series: MarketSeries = { symbol: "BTCUSDT", interval: "1m" };
    const minutes = all(market, series, from, to + MINUTE);
    assert.deepEqual(
      minutes.slice(0, 3).map(({ openTime }) => openTime - from),
      [0, 20_799, 80_799],
    );
    assert.equal(minutes.at(-1)?.openTime, to);
    const hour = market.candle({ symbol: "BTCUSDT", interval: "1h" }, from, NOW);
    assert.ok(hour);
    assert.deepEqual(asUnits(hour), summed(all(market, series, from, from + HOUR)));
    const [, shifted] = minutes;
    assert.deepEqual(market.slotAt(series, from + 30_000), {
      openTime: shifted?.openTime,
      endTime: (shifted?.closeTime ?? 0) + 1,
    });
  });

  test("activity changes exactly when the candles do", () => {
    const market = make();
    const series: MarketSeries = { symbol: "NXSBTC", interval: "1d" };
    const openTime = Date.UTC(2025, 1, 10);
    let activity = market.activity("NXSBTC", openTime);
    let candle = market.candle(series, openTime, openTime);
    for (let at = openTime; at < openTime + 3 * HOUR; at += 7_001) {
      const nextActivity = market.activity("NXSBTC", at);
      const next = market.candle(series, openTime, at);
      assert.equal(next?.tradeCount !== candle?.tradeCount, nextActivity !== activity);
      activity = nextActivity;
      candle = next;
    }
  });

  test("refuses symbols whose sums could not be exact", () => {
    const [symbol] = seededSymbols(["BTCUSDT"]);
    assert.ok(symbol);
    assert.throws(() => make({ symbols: [{ ...symbol, lotDecimals: 7 }] }), RangeError);
    assert.throws(() => make({ symbols: [{ ...symbol, tradesPerDay: 10 }] }), RangeError);
  });
});
