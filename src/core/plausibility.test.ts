import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { source } from "../../test/support/arbitraries.ts";
import type { Candle } from "./candle.ts";
import { isAttested } from "./findings.ts";
import { doubts, implausibleFindings, lastOfImportFindings, PLAUSIBILITY } from "./plausibility.ts";
import { closeTimeOf } from "./timeframe.ts";

const HOUR_MS = 3_600_000;
const START = Date.UTC(2024, 0, 1);
const SERIES = { exchange: "binance", symbol: "BTCUSDT", timeframe: "1h" } as const;

/** Even numbers in `[0, 1)` that a seed fixes. */
function randomness(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

interface Market {
  readonly seed: number;
  readonly count: number;
  /** Index of a candle that is saved after this share of its time. */
  readonly frozen?: { readonly index: number; readonly share: number };
  /** Powers of ten by which prices and volumes are greater. */
  readonly priceScale?: number;
  readonly volumeScale?: number;
}

const STEPS = 40;

/** Hours of a price that strays by the dollar; volume swings by half a day and by chance. */
function market({ seed, count, frozen, priceScale = 0, volumeScale = 0 }: Market): Candle[] {
  const random = randomness(seed);
  let price = 50_000;
  return Array.from({ length: count }, (_, index) => {
    const swing = Math.exp(Math.sin(index / 4) / 2 + (random() + random() + random() - 1.5) * 0.8);
    // It opens where the last one ended, or a tick beside.
    price += random() < 0.3 ? 1 : 0;
    const path = Array.from({ length: STEPS }, (_, step) => {
      price += step === 0 ? 0 : Math.round((random() + random() - 1) * 60);
      return price;
    });
    const saved = frozen?.index === index ? Math.max(1, Math.floor(frozen.share * STEPS)) : STEPS;
    const seen = path.slice(0, saved);
    const volume = (1_000 * swing * saved) / STEPS;
    const openTime = START + index * HOUR_MS;
    const text = (value: number): string => (value * 10 ** priceScale).toFixed(8);
    const amount = (volume * 10 ** volumeScale).toFixed(8);
    return {
      openTime,
      closeTime: closeTimeOf("1h", openTime),
      open: text(path[0] ?? price),
      high: text(Math.max(...seen)),
      low: text(Math.min(...seen)),
      close: text(seen.at(-1) ?? price),
      volume: amount,
      quoteVolume: amount,
      tradeCount: Math.round(volume * 20),
      takerBuyVolume: "0",
      takerBuyQuoteVolume: "0",
    };
  });
}

const stored = (candles: readonly Candle[]) =>
  candles.map((candle) => ({ candle, source: "csv" as const }));

const findingsOf = (candles: readonly Candle[]) => implausibleFindings(SERIES, stored(candles));

test("a market that nobody froze gives no alarm", () => {
  fc.assert(
    fc.property(fc.nat(), (seed) => {
      assert.deepEqual(findingsOf(market({ seed, count: 400 })), []);
    }),
    { numRuns: 60, seed: 1 },
  );
});

test("a candle that was saved early is found, and no other, unless its price stood still", () => {
  const share = fc.double({ min: 0.01, max: 0.5, noNaN: true });
  let foundCount = 0;
  fc.assert(
    fc.property(fc.nat(), fc.integer({ min: 20, max: 370 }), share, (seed, index, part) => {
      const frozen = market({ seed, count: 400, frozen: { index, share: part } });
      const found = findingsOf(frozen);
      assert.ok(found.every(({ openTime }) => openTime === frozen[index]?.openTime));
      foundCount += found.length;
      for (const { evidence, points, range, severity } of found) {
        assert.match(evidence, /the next candle opens .+ away from its close|its volume is/);
        assert.ok((points ?? 0) >= PLAUSIBILITY.suspectPoints && severity === "suspect");
        assert.deepEqual(range.to - range.from, HOUR_MS);
      }
    }),
    { numRuns: 100, seed: 1 },
  );
  assert.ok(foundCount >= 90, `${foundCount} of 100`);
});

test("units do not matter: neither of the price nor of the volume", () => {
  const scale = fc.integer({ min: -3, max: 4 });
  fc.assert(
    fc.property(fc.nat(), scale, scale, (seed, priceScale, volumeScale) => {
      const given = { seed, count: 300, frozen: { index: 150, share: 0.2 } };
      const plain = doubts("1h", market(given));
      const scaled = doubts("1h", market({ ...given, priceScale, volumeScale }));
      assert.deepEqual(
        scaled.map(({ openTime }) => openTime),
        plain.map(({ openTime }) => openTime),
      );
      for (const [index, { points }] of scaled.entries()) {
        assert.ok(Math.abs(points - (plain[index]?.points ?? 0)) < 0.3);
      }
    }),
    { numRuns: 50, seed: 1 },
  );
});

test("what a gap, a halt or the end of the data explains is not doubted", () => {
  const index = 200;
  const whole = market({ seed: 7, count: 400, frozen: { index, share: 0.05 } });
  assert.equal(findingsOf(whole).length, 1);
  assert.deepEqual(findingsOf(whole.toSpliced(index + 1, 1)), [], "the next candle is missing");
  const cut = whole.map((each, at) =>
    at === index ? { ...each, closeTime: each.openTime } : each,
  );
  assert.deepEqual(findingsOf(cut), [], "a halt cut it short");
  assert.deepEqual(findingsOf(whole.slice(0, index + 1)), [], "nothing follows");
});

test("rows that the exchange attested are never doubted", () => {
  fc.assert(
    fc.property(fc.nat(), source(), source(), (seed, road, own) => {
      const frozen = { index: 100, share: 0.05 };
      const rows = market({ seed, count: 200, frozen }).map((candle, index) => ({
        candle,
        source: index === frozen.index ? own : road,
      }));
      const found = implausibleFindings(SERIES, rows);
      if (isAttested(own)) assert.deepEqual(found, []);
    }),
    { numRuns: 50 },
  );
});

test("the doubtful are suspect near a cluster, and only there", () => {
  fc.assert(
    fc.property(fc.nat(), fc.double({ min: 0.3, max: 0.98, noNaN: true }), (seed, share) => {
      const candles = market({ seed, count: 300, frozen: { index: 150, share } });
      const all = doubts("1h", candles);
      const times = (clusterCount: number): number[] =>
        implausibleFindings(SERIES, stored(candles), { ...PLAUSIBILITY, clusterCount }).map(
          ({ openTime }) => openTime,
        );
      assert.deepEqual(
        times(0),
        all.map(({ openTime }) => openTime),
      );
      assert.deepEqual(
        times(Number.POSITIVE_INFINITY),
        all
          .filter(({ points }) => points >= PLAUSIBILITY.suspectPoints)
          .map((each) => each.openTime),
      );
    }),
    { numRuns: 100 },
  );
});

test("where nothing is usual nothing is unusual", () => {
  assert.deepEqual(doubts("1h", []), []);
  assert.deepEqual(
    doubts("1h", market({ seed: 1, count: 19, frozen: { index: 9, share: 0.01 } })),
    [],
  );
  const still = market({ seed: 1, count: 100 }).map((each) => ({
    ...each,
    ...{ open: "1", high: "1", low: "1", close: "1", volume: "0", tradeCount: 0 },
  }));
  assert.deepEqual(doubts("1h", still), []);
});

test("the newest candle of each stretch that files brought is suspect, wherever it ends", () => {
  fc.assert(
    fc.property(fc.array(source(), { maxLength: 12 }), (roads) => {
      const candles = market({ seed: 3, count: roads.length });
      const rows = candles.map((candle, index) => ({ candle, source: roads[index] ?? "rest" }));
      const isFile = (index: number): boolean => roads[index]?.startsWith("csv") === true;
      const expected = candles.filter((_, index) => isFile(index) && !isFile(index + 1));
      assert.deepEqual(
        lastOfImportFindings(SERIES, rows).map(({ openTime }) => openTime),
        expected.map(({ openTime }) => openTime),
      );
    }),
  );
});
