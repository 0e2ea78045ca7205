import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  candlesOfTrades,
  openTime,
  source,
  tape,
  timeframe,
} from "../../test/support/arbitraries.ts";
import type { Candle } from "./candle.ts";
import type { Source } from "./finality.ts";
import { isAttested, type StoredCandle, type StructureDefect } from "./findings.ts";
import { structureFindings } from "./structure.ts";
import { cellOf, shiftOpenTime, type Timeframe } from "./timeframe.ts";

const HOUR = Date.UTC(2024, 2, 1, 5);
const series = (timeframe: Timeframe) => ({ exchange: "binance", symbol: "BTCUSDT", timeframe });

const sound = (changes: Partial<Candle> = {}): Candle => ({
  ...{ openTime: HOUR, closeTime: HOUR + 3_599_999, tradeCount: 3 },
  ...{ open: "2", high: "4", low: "1", close: "3" },
  ...{ volume: "10", quoteVolume: "25", takerBuyVolume: "5", takerBuyQuoteVolume: "12" },
  ...changes,
});

const defects = (candles: readonly Candle[], from: Source = "csv"): string[] =>
  structureFindings(
    series("1h"),
    candles.map((candle) => ({ candle, source: from })),
  ).map(({ what, severity }) => `${what} ${severity}`);

test("candles that are made of trades have no defect", () => {
  const scene = timeframe().chain((of) =>
    openTime(of).chain((at) => {
      const range = { from: at, to: shiftOpenTime(of, at, 3) };
      return fc.tuple(fc.constant(of), fc.constant(range), tape(range, { maxLength: 20 }));
    }),
  );
  fc.assert(
    fc.property(scene, source(), ([of, range, trades], from) => {
      const rows = candlesOfTrades(of, range, trades).map((candle) => ({ candle, source: from }));
      const found = structureFindings(series(of), rows).filter(({ what }) => what !== "untold");
      assert.deepEqual(found, []);
    }),
  );
});

test("each defect is found, alone", () => {
  const odd: readonly (readonly [StructureDefect, Partial<Candle>])[] = [
    ["cut-short", { closeTime: HOUR + 1_000 }],
    ["closes-late", { closeTime: HOUR + 3_600_000 }],
    ["closes-before-it-opens", { closeTime: HOUR - 1 }],
    ["off-grid", { openTime: HOUR + 14_789, closeTime: HOUR + 3_600_000 + 14_788 }],
    ["mean-price-outside-range", { quoteVolume: "40.1" }],
    ["mean-price-outside-range", { quoteVolume: "9.9", takerBuyQuoteVolume: "1" }],
    ["takers-exceed-volume", { takerBuyVolume: "10.01" }],
    ["takers-exceed-volume", { takerBuyQuoteVolume: "25.01" }],
  ];
  for (const [what, changes] of odd) {
    assert.deepEqual(defects([sound(changes)]), [`${what} suspect`]);
    assert.deepEqual(defects([sound(changes)], "rest"), [`${what} info`], "the exchange's own");
  }
  for (const changes of [{ high: "0.5" }, { low: "0" }, { volume: "-1" }, { close: "5" }]) {
    assert.deepEqual(defects([sound(changes)], "rest"), ["malformed wrong"]);
  }
});

test("recorded oddities of the exchange are information where it attested them", () => {
  const minute = (at: number): Candle => sound({ openTime: at, closeTime: at + 59_999 });
  const found = structureFindings(
    series("1m"),
    // 2017-12-04 06:00 has two real candles, and the second goes on over the edge of its minute.
    [1_512_367_200_000, 1_512_367_220_799].map((at) => ({ candle: minute(at), source: "rest" })),
  );
  assert.deepEqual(
    found.map(({ what, severity }) => `${what} ${severity}`),
    ["off-grid info", "shares-cell info"],
  );
  assert.match(found[0]?.evidence ?? "", /20799 ms/);
  assert.deepEqual(found[0]?.range, cellOf("1m", 1_512_367_220_799));
});

test("what files of other systems do not have is no defect", () => {
  const bare = { quoteVolume: "0", takerBuyVolume: "0", takerBuyQuoteVolume: "0", tradeCount: 0 };
  assert.deepEqual(defects([sound(bare)]), []);
});

test("values that went through floats, and dust, are within the range of prices", () => {
  const oneTrade = { open: "3", high: "3", low: "3", close: "3", takerBuyQuoteVolume: "0" };
  assert.deepEqual(defects([sound({ ...oneTrade, quoteVolume: "30.00000000001" })]), []);
  const dust = { volume: "0.00000001", quoteVolume: "0.00000004", takerBuyVolume: "0" };
  assert.deepEqual(defects([sound({ ...oneTrade, ...dust, tradeCount: 1 })]), []);
});

test("a candle twice is wrong, a cell twice is odd", () => {
  assert.deepEqual(defects([sound(), sound()], "rest"), ["repeated wrong"]);
  const later = sound({ openTime: HOUR + 1, closeTime: HOUR + 3_599_999 });
  assert.deepEqual(defects([sound(), later]), ["off-grid suspect", "shares-cell suspect"]);
});

test("attested roads are archives and REST, not the stream, files, or REST's first look", () => {
  const attested = (
    ["csv", "rest-early", "stream", "archive-monthly", "archive-daily", "rest"] as const
  ).filter(isAttested);
  assert.deepEqual(attested, ["archive-monthly", "archive-daily", "rest"]);
});

test("rows of a file without all columns are one finding a stretch, and what they lack is no defect", () => {
  const at = (hour: number, source: Source): StoredCandle => {
    const openTime = Date.UTC(2024, 0, 1, hour);
    const untold = {
      quoteVolume: "9",
      tradeCount: 0,
      takerBuyVolume: "0",
      takerBuyQuoteVolume: "0",
    };
    const prices = { open: "2", high: "3", low: "1", close: "2", volume: "0" };
    return { source, candle: { openTime, closeTime: openTime + 3_599_999, ...prices, ...untold } };
  };
  const roads = ["csv-partial", "csv-partial", "rest-early", "csv-partial"] as const;
  const found = structureFindings(
    series("1h"),
    roads.map((source, hour) => at(hour, source)),
  );
  assert.deepEqual(
    found.map(({ what, severity, range }) => [what, severity, (range.to - range.from) / 3_600_000]),
    [
      ["mean-price-outside-range", "suspect", 1],
      ["untold", "info", 2],
      ["untold", "info", 1],
    ],
  );
});
