import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  candle,
  candlesOfTrades,
  openTime,
  tape,
  timeframe,
  unitsOf,
} from "../../test/support/arbitraries.ts";
import { aggregate, divides, finerTimeframes, hasTrades } from "./aggregate.ts";
import type { Candle } from "./candle.ts";
import { sameValues } from "./finality.ts";
import {
  cellOf,
  countOpenTimes,
  isAligned,
  nextOpenTime,
  openTimeAt,
  TIMEFRAMES,
  type Timeframe,
} from "./timeframe.ts";

const RUNS = { numRuns: 300 };

/** Pairs of which a cell is cheap to fill: at most 120 finer candles. */
const PAIRS = TIMEFRAMES.flatMap((coarser) =>
  finerTimeframes(coarser)
    .filter((finer) => countOpenTimes(finer, cellOf(coarser, 0)) <= 120)
    .map((finer) => ({ coarser, finer })),
);

const scene = () =>
  fc.constantFrom(...PAIRS).chain(({ coarser, finer }) =>
    openTime(coarser).chain((at) =>
      tape(cellOf(coarser, at), { maxLength: 12 }).map((trades) => ({
        ...{ coarser, finer, trades },
        range: cellOf(coarser, at),
      })),
    ),
  );

test("a timeframe divides another exactly when no candle of it lies across an edge of the other", () => {
  for (const coarser of TIMEFRAMES) {
    for (const finer of TIMEFRAMES) {
      // Months, weeks and leap days of seven years: every way in which edges can fall.
      let isDivided = finer !== coarser;
      const end = Date.UTC(2027, 0, 1);
      let at = openTimeAt(coarser, Date.UTC(2020, 0, 1));
      for (let step = 0; isDivided && step < 400 && at < end; step++) {
        isDivided = isAligned(finer, at) && nextOpenTime(finer, at) < nextOpenTime(coarser, at);
        at = nextOpenTime(coarser, at);
      }
      assert.equal(divides(finer, coarser), isDivided, `${finer} into ${coarser}`);
    }
  }
});

test("days make up 3d, 1w and 1M; what is longer than a day makes up nothing", () => {
  for (const coarser of ["3d", "1w", "1M"] as const) {
    assert.deepEqual(finerTimeframes(coarser).slice(0, 3), ["1d", "12h", "8h"]);
  }
  assert.deepEqual(finerTimeframes("12h"), [
    ...["6h", "4h", "2h", "1h", "30m", "15m", "5m", "3m", "1m", "1s"],
  ]);
  assert.deepEqual(finerTimeframes("8h").slice(0, 2), ["4h", "2h"]);
  assert.deepEqual(finerTimeframes("5m"), ["1m", "1s"]);
  assert.deepEqual(finerTimeframes("1s"), []);
});

test("finer candles make up exactly the candle that the trades themselves make", () => {
  fc.assert(
    fc.property(scene(), ({ coarser, finer, range, trades }) => {
      const made = aggregate(coarser, range.from, candlesOfTrades(finer, range, trades));
      const [expected] = candlesOfTrades(coarser, range, trades);
      assert.ok(made !== undefined && expected !== undefined);
      assert.ok(sameValues(made, expected), JSON.stringify({ made, expected }));
    }),
    RUNS,
  );
});

test("it makes no difference whether a candle is made in one step or in two", () => {
  const chains = PAIRS.flatMap(({ coarser, finer: middle }) =>
    PAIRS.filter((pair) => pair.coarser === middle && divides(pair.finer, coarser)).map(
      ({ finer }) => ({ coarser, middle, finer }),
    ),
  );
  fc.assert(
    fc.property(
      fc
        .constantFrom(...chains)
        .chain((chain) =>
          openTime(chain.coarser).chain((at) =>
            fc.tuple(
              fc.constant(chain),
              tape(cellOf(chain.coarser, at), { maxLength: 12 }),
              fc.constant(at),
            ),
          ),
        ),
      ([{ coarser, middle, finer }, trades, at]) => {
        const range = cellOf(coarser, at);
        const finest = candlesOfTrades(finer, range, trades);
        const halfway = candlesOfTrades(middle, range, []).flatMap(({ openTime: from }) => {
          const cell = cellOf(middle, from);
          const parts = finest.filter((each) => each.openTime >= from && each.openTime < cell.to);
          return aggregate(middle, from, parts) ?? [];
        });
        assert.deepEqual(aggregate(coarser, at, halfway), aggregate(coarser, at, finest));
      },
    ),
    RUNS,
  );
});

test("sums are exact and extremes are by value, whatever the digits", () => {
  const some = (of: Timeframe) => fc.array(candle(of), { minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(timeframe().chain(some), (given) => {
      const parts = given.filter(hasTrades);
      const made = aggregate("1M", 0, parts);
      if (made === undefined) return assert.equal(parts.length, 0);
      const units = (field: "volume" | "quoteVolume" | "takerBuyVolume" | "takerBuyQuoteVolume") =>
        parts.reduce((sum, part) => sum + unitsOf(part[field]), 0n);
      for (const field of [
        ...(["volume", "quoteVolume", "takerBuyVolume", "takerBuyQuoteVolume"] as const),
      ]) {
        assert.equal(unitsOf(made[field]), units(field));
      }
      for (const part of parts) {
        assert.ok(unitsOf(made.high) >= unitsOf(part.high));
        assert.ok(unitsOf(made.low) <= unitsOf(part.low));
      }
      assert.ok(parts.some(({ high }) => high === made.high));
      assert.ok(parts.some(({ low }) => low === made.low));
      assert.equal(made.open, parts[0]?.open);
      assert.equal(made.close, parts.at(-1)?.close);
    }),
    RUNS,
  );
});

const minute = (index: number, changes: Partial<Candle>): Candle => ({
  ...{ openTime: index * 60_000, closeTime: index * 60_000 + 59_999 },
  ...{ open: "2", high: "2", low: "2", close: "2", tradeCount: 0 },
  ...{ volume: "0.00", quoteVolume: "0", takerBuyVolume: "0", takerBuyQuoteVolume: "0" },
  ...changes,
});

test("a candle opens with its first trade: flat ones before it do not count", () => {
  const parts = [
    minute(0, {}),
    minute(1, { open: "2.2", high: "2.3", low: "2.1", close: "2.1", volume: "1", tradeCount: 4 }),
    minute(2, { open: "2.1", high: "2.1", low: "2.1", close: "2.1" }),
  ];
  const made = aggregate("3m", 0, parts);
  assert.deepEqual([made?.open, made?.high, made?.low, made?.close], ["2.2", "2.3", "2.1", "2.1"]);
  assert.equal(made?.closeTime, 179_999);
});

test("volume without a count of trades is trading: rows of 2017 … 2019", () => {
  const parts = [minute(0, { open: "1", high: "3", low: "1", volume: "5" }), minute(1, {})];
  assert.deepEqual(aggregate("3m", 0, parts)?.high, "3");
  assert.ok(hasTrades(minute(0, { volume: "0.00000001" })));
  assert.ok(hasTrades(minute(0, { tradeCount: 1 })));
  assert.ok(!hasTrades(minute(0, {})));
});

test("nothing makes nothing", () => {
  assert.equal(aggregate("1h", 0, []), undefined);
});
