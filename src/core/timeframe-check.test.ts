import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  candleOfTrades,
  candlesOfTrades,
  openTime,
  type TapeTrade,
  tape,
} from "../../test/support/arbitraries.ts";
import type { Candle } from "./candle.ts";
import type { Source } from "./finality.ts";
import type { TimeRange } from "./range.ts";
import { shiftOpenTime, type Timeframe } from "./timeframe.ts";
import { type TimeframeRows, timeframeFindings } from "./timeframe-check.ts";

const INSTRUMENT = { exchange: "binance", symbol: "BTCUSDT" };
const LEVELS: readonly Timeframe[] = ["1h", "2h", "4h", "12h", "1d"];

interface Scene {
  readonly range: TimeRange;
  readonly trades: readonly TapeTrade[];
}

/** Two days of few trades: many candles have none. */
const scene = (): fc.Arbitrary<Scene> =>
  openTime("1d").chain((from) => {
    const range = { from, to: shiftOpenTime("1d", from, 2) };
    return tape(range, { minLength: 2, maxLength: 80 }).map((trades) => ({ range, trades }));
  });

const rowsOf = (
  timeframe: Timeframe,
  candles: readonly Candle[],
  source: Source = "csv",
): TimeframeRows => ({ timeframe, rows: candles.map((candle) => ({ candle, source })) });

const wholeOf = ({ range, trades }: Scene, timeframe: Timeframe): Candle[] =>
  candlesOfTrades(timeframe, range, trades);

test("timeframes that the same trades made agree, whichever are stored, in whichever order", () => {
  fc.assert(
    fc.property(scene(), fc.shuffledSubarray([...LEVELS]), (given, levels) => {
      const all = levels.map((timeframe) => rowsOf(timeframe, wholeOf(given, timeframe)));
      assert.deepEqual(timeframeFindings(INSTRUMENT, all), []);
    }),
    { numRuns: 100 },
  );
});

test("with candles missing anywhere there is still no false alarm", () => {
  fc.assert(
    fc.property(scene(), fc.array(fc.nat(), { minLength: 1, maxLength: 5 }), (given, lost) => {
      const all = LEVELS.map((timeframe) => {
        const candles = wholeOf(given, timeframe);
        const gone = new Set(lost.map((each) => each % candles.length));
        return rowsOf(
          timeframe,
          candles.filter((_, index) => !gone.has(index)),
        );
      });
      assert.deepEqual(timeframeFindings(INSTRUMENT, all), []);
    }),
    { numRuns: 100 },
  );
});

test("one candle that was saved early is found, and named once", () => {
  let namedCount = 0;
  fc.assert(
    fc.property(
      scene(),
      fc.constantFrom("4h", "12h", "1d"),
      fc.nat(),
      fc.nat(),
      (given, at, which, cut) => {
        const trade = given.trades[which % given.trades.length];
        const candles = wholeOf(given, at);
        const index = candles.findLastIndex((each) => each.openTime <= (trade?.time ?? 0));
        const [own, next] = [candles[index], candles[index + 1]];
        assert.ok(own);
        const inside = given.trades.filter(
          ({ time }) => time >= own.openTime && time < (next?.openTime ?? given.range.to),
        );
        if (inside.length < 2) return;
        const seen = inside.slice(0, 1 + (cut % (inside.length - 1)));
        const frozen = candleOfTrades(at, own.openTime, seen, 0);
        const all = LEVELS.map((timeframe) =>
          rowsOf(
            timeframe,
            timeframe === at ? candles.with(index, frozen) : wholeOf(given, timeframe),
          ),
        );
        const found = timeframeFindings(INSTRUMENT, all);
        const named = found.filter(({ what }) => what === "contradiction");
        // Two finer timeframes agree with each other against it, so it is always named.
        assert.deepEqual(
          named.filter(({ series }) => series.timeframe === at).map((each) => each.openTime),
          [own.openTime],
        );
        namedCount += named.length;
      },
    ),
    { numRuns: 200 },
  );
  assert.ok(namedCount > 20, `${namedCount} of 200`);
});

const DAY = Date.UTC(2024, 2, 1);

/** A day of equal hours, so that any account of it is easily made false. */
const day = (timeframe: Timeframe): Candle[] => {
  const hourly = Array.from({ length: 24 }, (_, hour) => [
    { time: DAY + hour * 3_600_000, price: 10_000, volume: 1_000, isTakerBuy: true },
    { time: DAY + hour * 3_600_000 + 1, price: 10_100, volume: 1_000, isTakerBuy: false },
  ]).flat();
  return candlesOfTrades(timeframe, { from: DAY, to: DAY + 86_400_000 }, hourly);
};

/** Trades missing from the middle of one hour: opens and closes alike. */
const thinned = (candles: readonly Candle[], index: number): Candle[] => {
  const each = candles[index];
  assert.ok(each);
  const volume = `${Number(each.volume) - 1}.500`;
  return candles.with(index, { ...each, volume, tradeCount: each.tradeCount - 1 });
};

const said = (all: readonly TimeframeRows[]): string[] =>
  timeframeFindings(INSTRUMENT, all).map(
    ({ what, severity, series, suspectSide, against }) =>
      `${series.timeframe} ${what} ${severity} ${suspectSide ?? "nobody"} against ${against}`,
  );

test("two that agree against one name it", () => {
  const [hours, fours, days] = [day("1h"), day("4h"), day("1d")];
  assert.deepEqual(
    said([rowsOf("1h", hours), rowsOf("4h", fours), rowsOf("1d", thinned(days, 0))]),
    ["1d contradiction suspect coarser against 4h"],
  );
  assert.deepEqual(
    said([rowsOf("1h", thinned(hours, 5)), rowsOf("4h", fours), rowsOf("1d", days)]),
    ["4h disagreement suspect nobody against 1h", "1h contradiction suspect finer against 1d"],
  );
});

test("one against one names nobody, unless the exchange attested one of them", () => {
  const [hours, fours] = [day("1h"), day("4h")];
  const short = thinned(fours, 2);
  assert.deepEqual(said([rowsOf("1h", hours), rowsOf("4h", short)]), [
    "4h disagreement suspect nobody against 1h",
  ]);
  assert.deepEqual(said([rowsOf("1h", hours, "rest"), rowsOf("4h", short)]), [
    "4h contradiction suspect coarser against 1h",
  ]);
  assert.deepEqual(said([rowsOf("1h", hours), rowsOf("4h", short, "archive-daily")]), [
    "1h contradiction suspect finer against 4h",
  ]);
});

test("where the exchange contradicts itself it is reported and nobody is suspect", () => {
  const all = (["1h", "4h", "1d"] as const).map((timeframe) =>
    rowsOf(timeframe, timeframe === "1h" ? thinned(day("1h"), 5) : day(timeframe), "rest"),
  );
  assert.deepEqual(said(all), [
    "4h disagreement info nobody against 1h",
    "1d disagreement info nobody against 1h",
  ]);
  assert.match(timeframeFindings(INSTRUMENT, all)[0]?.evidence ?? "", /^the exchange contradicts/);
});

test("what floats lost is information, with the values", () => {
  const fours = day("4h").map((each) => ({ ...each, quoteVolume: `${each.quoteVolume}00001` }));
  const found = timeframeFindings(INSTRUMENT, [rowsOf("1h", day("1h")), rowsOf("4h", fours)]);
  assert.equal(found.length, 6);
  for (const { what, severity, differences } of found) {
    assert.deepEqual([what, severity, differences.length], ["rounding", "info", 1]);
    assert.equal(differences[0]?.field, "quoteVolume");
  }
});

test("a confirmed gap of the finer timeframe does not stop the comparison", () => {
  const hours = day("1h");
  const [first, second] = [hours[0], hours[1]];
  assert.ok(first && second);
  const hole = { from: second.openTime, to: second.openTime + 3_600_000 };
  const finer = rowsOf("1h", hours.toSpliced(1, 1));
  const fours = thinned(day("4h"), 0);
  assert.deepEqual(said([finer, rowsOf("4h", fours)]), []);
  assert.deepEqual(said([{ ...finer, confirmedGaps: [hole] }, rowsOf("4h", fours)]), [
    "4h disagreement suspect nobody against 1h",
  ]);
});
