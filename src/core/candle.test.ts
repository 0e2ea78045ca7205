import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { candle, timeframe } from "../../test/support/arbitraries.ts";
import { type Candle, candleFlags, DECIMAL_FIELDS } from "./candle.ts";

const model = (): Candle => ({
  openTime: Date.UTC(2024, 0, 1),
  closeTime: Date.UTC(2024, 0, 1, 0, 0, 59, 999),
  open: "1",
  high: "4",
  low: "0.5",
  close: "2",
  volume: "10",
  quoteVolume: "20",
  tradeCount: 3,
  takerBuyVolume: "5",
  takerBuyQuoteVolume: "10",
});

test("the decimal fields are exactly the text fields of a candle", () => {
  const texts = Object.entries(model()).filter(([, value]) => typeof value === "string");
  assert.deepEqual([...DECIMAL_FIELDS].sort(), texts.map(([field]) => field).sort());
});

test("an ordinary candle has no flag; a time moved by a millisecond gives it one", () => {
  fc.assert(
    fc.property(
      timeframe().chain((of) => fc.tuple(fc.constant(of), candle(of))),
      fc.constantFrom(-1, 1),
      ([of, each], beside) => {
        assert.deepEqual(candleFlags(of, each), []);
        const short = { ...each, closeTime: each.closeTime + beside };
        assert.deepEqual(candleFlags(of, short), ["cut-short"]);
        assert.deepEqual(candleFlags(of, { ...short, openTime: each.openTime + beside }), [
          "off-grid",
        ]);
      },
    ),
  );
});

test("recorded oddities are told apart", () => {
  const offGrid = { ...model(), openTime: 1_512_367_220_799, closeTime: 1_512_367_280_798 };
  assert.deepEqual(candleFlags("1m", offGrid), ["off-grid"], "2017-12-04 06:00:20.799");
  const cutShort = { ...model(), openTime: 1_515_034_800_000, closeTime: 1_515_034_814_838 };
  assert.deepEqual(candleFlags("1h", cutShort), ["cut-short"]);
});
