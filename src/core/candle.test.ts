import assert from "node:assert/strict";
import { test } from "node:test";
import { type Candle, DECIMAL_FIELDS } from "./candle.ts";

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
