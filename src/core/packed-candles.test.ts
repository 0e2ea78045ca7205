import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Candle } from "./candle.ts";
import { AUTHORITY, type Source, type VersionedCandle } from "./finality.ts";
import { PackedCandles } from "./packed-candles.ts";
import type { Series } from "./series.ts";

const series: Series = { exchange: "binance", symbol: "BTCUSDT", timeframe: "1m" };
const decimal = fc.stringMatching(/^(?:0|[1-9]\d{0,19})(?:\.\d{1,18})?$/);
const time = fc.integer({ min: 1_199_145_600_000, max: 2 ** 44 - 1 });

const candle: fc.Arbitrary<Candle> = fc.record(
  {
    ...{ openTime: time, closeTime: time, tradeCount: fc.nat() },
    ...{ open: decimal, high: decimal, low: decimal, close: decimal },
    ...{ volume: decimal, quoteVolume: decimal },
    ...{ takerBuyVolume: decimal, takerBuyQuoteVolume: decimal },
  },
  { noNullPrototype: true },
);
const versioned: fc.Arbitrary<VersionedCandle> = fc.record(
  {
    series: fc.constant(series),
    source: fc.constantFrom(...(Object.keys(AUTHORITY) as Source[])),
    observedTime: time,
    candle,
  },
  { noNullPrototype: true },
);

test("rows come out as they went in, however many there are", () => {
  fc.assert(
    fc.property(fc.array(versioned, { minLength: 1, maxLength: 40 }), (rows) => {
      const many = Array.from({ length: 30 }, () => rows).flat();
      const packed = PackedCandles.of(series, many);
      assert.equal(packed.length, many.length);
      assert.deepEqual(packed.slice(0, many.length + 1), many);
      const copied = new PackedCandles(series);
      for (let index = many.length - 1; index >= 0; index -= 1) copied.pushFrom(packed, index);
      assert.deepEqual(copied.slice(0, many.length), many.toReversed());
    }),
    { numRuns: 60 },
  );
});

test("the row that was added last can be taken away", () => {
  fc.assert(
    fc.property(fc.tuple(versioned, versioned, versioned), ([a, b, c]) => {
      const packed = PackedCandles.of(series, [a, b]);
      packed.pop();
      packed.push(c);
      assert.deepEqual(packed.slice(0, 9), [a, c]);
    }),
  );
});

test("what could be taken for anything but a number is not packed", () => {
  const [row] = fc.sample(versioned, 1);
  assert.ok(row !== undefined);
  for (const text of ["1\t2", "1\n", "\\N", "NaN", "1,5", "1/2", "\u0131"]) {
    const odd = { ...row, candle: { ...row.candle, volume: text } };
    assert.throws(() => PackedCandles.of(series, [odd]), RangeError);
  }
});
