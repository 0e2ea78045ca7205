import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { series } from "../../test/support/arbitraries.ts";
import { type Series, seriesKey, seriesLabel } from "./series.ts";

/** Series whose symbols are built from the very characters that keys are built from. */
const confusable = (): fc.Arbitrary<Series> =>
  fc
    .tuple(
      series(),
      fc.constantFrom("a", "ab"),
      fc.string({ unit: fc.constantFrom(":", "1", "m", "M", "a", "@"), maxLength: 6 }),
    )
    .map(([one, exchange, symbol]) => ({ ...one, exchange, symbol }));

test("equal series have equal keys and different ones different keys", () => {
  fc.assert(
    fc.property(confusable(), confusable(), (a, b) => {
      const isSame =
        a.exchange === b.exchange && a.symbol === b.symbol && a.timeframe === b.timeframe;
      assert.equal(seriesKey(a) === seriesKey(b), isSame);
      assert.equal(seriesKey(a), seriesKey({ ...a }));
    }),
    { numRuns: 2_000 },
  );
});

test("the minute and the month of a symbol have different keys", () => {
  const minute: Series = { exchange: "binance", symbol: "BTCUSDT", timeframe: "1m" };
  assert.equal(seriesKey(minute), "binance:BTCUSDT:1m");
  assert.notEqual(seriesKey(minute), seriesKey({ ...minute, timeframe: "1M" }));
  assert.equal(seriesLabel(minute), "BTCUSDT 1m");
});
