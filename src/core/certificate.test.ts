import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { candle, openTime, series, source } from "../../test/support/arbitraries.ts";
import type { Candle } from "./candle.ts";
import { CertificateTally, certificateLine } from "./certificate.ts";
import { sameValues } from "./finality.ts";
import { type Finding, isAttested, type StoredCandle } from "./findings.ts";
import { emptyAnswer, type Gap, missingRanges } from "./gaps.ts";
import type { Series } from "./series.ts";
import { cellOf, countOpenTimes, shiftOpenTime } from "./timeframe.ts";

/** The same candle as another road wrote it: trailing zeros more or fewer. */
const rewritten = (text: string, zeros: number): string =>
  text.includes(".") ? `${text}${"0".repeat(zeros)}` : `${text}.${"0".repeat(zeros + 1)}`;

const otherText = (given: Candle, zeros: number): Candle => ({
  ...given,
  open: rewritten(given.open, zeros),
  volume: rewritten(given.volume, zeros),
  takerBuyQuoteVolume: rewritten(given.takerBuyQuoteVolume, zeros),
});

interface Scene {
  readonly of: Series;
  readonly base: number;
  readonly count: number;
  readonly rows: readonly StoredCandle[];
}

/** Some of up to thirty cells, each with its candle. */
const scene = (): fc.Arbitrary<Scene> =>
  series().chain((of) =>
    fc.tuple(openTime(of.timeframe), fc.integer({ min: 1, max: 30 })).chain(([base, count]) =>
      fc
        .subarray(Array.from({ length: count }, (_, index) => index))
        .chain((cells) =>
          fc.tuple(
            ...cells.map((index) =>
              fc.record({
                candle: candle(of.timeframe, shiftOpenTime(of.timeframe, base, index)),
                source: source(),
              }),
            ),
          ),
        )
        .map((rows) => ({ of, base, count, rows })),
    ),
  );

const rangeOf = ({ of, base, count }: Scene) => ({
  from: base,
  to: shiftOpenTime(of.timeframe, base, count),
});

const textOf = (given: Scene, rows = given.rows): string => {
  const tally = new CertificateTally(given.of, rangeOf(given));
  return tally.head() + tally.add(rows);
};

test("two candles have one line exactly when they say the same", () => {
  fc.assert(
    fc.property(candle("1h", 3_600_000), candle("1h", 3_600_000), fc.nat(4), (a, b, zeros) => {
      assert.equal(certificateLine(otherText(a, zeros)), certificateLine(a));
      assert.equal(certificateLine(a) === certificateLine(b), sameValues(a, b));
      for (const field of ["openTime", "closeTime", "tradeCount"] as const) {
        assert.notEqual(certificateLine({ ...a, [field]: a[field] + 1 }), certificateLine(a));
      }
    }),
  );
});

test("the form of the text is fixed: other installations depend on it", () => {
  const row: Candle = {
    ...{ openTime: 1_700_000_000_000, closeTime: 1_700_003_599_999, tradeCount: 12 },
    ...{ open: "1.50", high: "2.00", low: "0.10", close: "1" },
    ...{ volume: "10.0", quoteVolume: "0.00", takerBuyVolume: "0", takerBuyQuoteVolume: "3.30" },
  };
  assert.equal(certificateLine(row), "1700000000000 1700003599999 12 1.5 2 0.1 1 10 0 0 3.3\n");
  const of = { exchange: "binance", symbol: "BTCUSDT", timeframe: "1h" } as const;
  const tally = new CertificateTally(of, { from: 1, to: 7_200_001 });
  assert.equal(tally.head(), "black-trade candles 1 binance:BTCUSDT:1h 3600000 10800000\n");
});

test("neither the road, nor the digits, nor the size of the pages are in the hash", () => {
  fc.assert(
    fc.property(scene(), source(), fc.nat(3), fc.nat(30), (given, road, zeros, cut) => {
      const other = given.rows.map((row) => ({
        candle: otherText(row.candle, zeros),
        source: road,
      }));
      assert.equal(textOf(given, other), textOf(given));
      const tally = new CertificateTally(given.of, rangeOf(given));
      const pages = tally.head() + tally.add(other.slice(0, cut)) + tally.add(other.slice(cut));
      assert.equal(pages, textOf(given));
    }),
  );
});

test("one candle more, less or otherwise is another text", () => {
  fc.assert(
    fc.property(scene(), fc.nat(), (given, which) => {
      if (given.rows.length === 0) return;
      const index = which % given.rows.length;
      const without = given.rows.filter((_, place) => place !== index);
      assert.notEqual(textOf(given, without), textOf(given));
      const altered = given.rows.map((row, place) =>
        place === index
          ? { ...row, candle: { ...row.candle, tradeCount: row.candle.tradeCount + 1 } }
          : row,
      );
      assert.notEqual(textOf(given, altered), textOf(given));
    }),
  );
});

test("the counts add up, and every absence has its reason", () => {
  fc.assert(
    fc.property(scene(), fc.boolean(), (given, isConfirmed) => {
      const tally = new CertificateTally(given.of, rangeOf(given));
      tally.add(given.rows);
      const openTimes = given.rows.map((row) => row.candle.openTime);
      const missing = missingRanges(given.of.timeframe, openTimes, rangeOf(given));
      assert.deepEqual(tally.missing(), missing);
      const [first] = missing;
      const known: Gap[] = (first === undefined ? [] : [first]).map((range) => ({
        ...emptyAnswer(given.of, range, 0),
        state: isConfirmed ? "confirmed" : "open",
      }));
      const { timeframe } = given.of;
      const certificate = tally.finish(known, [], "00");
      const firstCount = first === undefined ? 0 : countOpenTimes(timeframe, first);
      const absentCount = given.count - given.rows.length;
      assert.equal(certificate.expectedCount, given.count);
      assert.equal(certificate.presentCount, given.rows.length);
      assert.equal(certificate.rowCount, given.rows.length);
      assert.equal(certificate.absentCounts["exchange-had-none"] ?? 0, firstCount);
      assert.equal(certificate.absentCounts.unexplained ?? 0, absentCount - firstCount);
      assert.equal(
        certificate.confirmedCount,
        given.rows.filter((row) => isAttested(row.source)).length,
      );
      assert.equal(certificate.isClean, absentCount === (isConfirmed ? firstCount : 0));
    }),
  );
});

test("off the grid a cell holds two rows and counts once; a row outside the range not at all", () => {
  const of = { exchange: "binance", symbol: "BTCUSDT", timeframe: "1m" } as const;
  const base = 1_512_367_200_000;
  const row = (at: number): StoredCandle => ({
    source: "rest",
    candle: {
      ...{ openTime: at, closeTime: at + 59_999, tradeCount: 1 },
      ...{ open: "1", high: "1", low: "1", close: "1" },
      ...{ volume: "1", quoteVolume: "1", takerBuyVolume: "0", takerBuyQuoteVolume: "0" },
    },
  });
  const tally = new CertificateTally(of, { from: base, to: base + 3 * 60_000 });
  const text = tally.add(
    [base - 60_000, base, base + 20_799, base + 80_799, base + 180_000].map(row),
  );
  assert.equal(text.split("\n").length - 1, 3);
  const suspect: Finding = {
    check: "structure",
    what: "off-grid",
    ...{ series: of, openTime: base, range: cellOf("1m", base), evidence: "" },
    severity: "suspect",
    differences: [],
  };
  const certificate = tally.finish([], [suspect], "ff");
  assert.equal(certificate.rowCount, 3);
  assert.equal(certificate.presentCount, 2);
  assert.deepEqual(certificate.absentCounts, { unexplained: 1 });
  assert.deepEqual(certificate.findingCounts, { info: 0, suspect: 1, wrong: 0 });
  assert.equal(certificate.confirmedShare, 1);
  assert.equal(certificate.isClean, false);
});
