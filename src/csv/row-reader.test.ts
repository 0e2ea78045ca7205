import assert from "node:assert/strict";
import { test } from "node:test";
import { parse } from "csv-parse/sync";
import fc from "fast-check";
import { cellsOf } from "./cells.ts";
import { columnsOf } from "./layout.ts";
import type { RowPlan } from "./plan.ts";
import { RowReader } from "./row-reader.ts";

const T0 = Date.UTC(2024, 0, 1);
const HOUR = 3_600_000;
const NOW = Date.UTC(2026, 0, 1);

const PLAN: RowPlan = {
  layout: "test",
  series: { exchange: "binance", symbol: "BTCUSDT", timeframe: "1h" },
  columns: columnsOf([
    ...(["openTime", undefined, "open", "high", "low", "close", "volume"] as const),
    ...([
      "closeTime",
      "quoteVolume",
      "tradeCount",
      "takerBuyVolume",
      "takerBuyQuoteVolume",
    ] as const),
  ]),
  delimiter: ",",
  units: ["ms"],
  zoneMs: 0,
  hasOddCandles: false,
  hasDecimalComma: false,
  notes: [],
};

test("cells without quotes are what a CSV parser makes of them, and with quotes too", () => {
  fc.assert(
    fc.property(
      fc.array(fc.stringMatching(/^[a-z0-9. é;]{0,8}$/), { minLength: 2, maxLength: 8 }),
      fc.array(fc.boolean(), { minLength: 8, maxLength: 8 }),
      (cells, quoted) => {
        const text = cells.map((one, index) => (quoted[index] ? `"${one}"` : one)).join(",");
        fc.pre(text.trim() !== "");
        const [expected] = parse(text, { relax_column_count: true }) as string[][];
        assert.deepEqual(cellsOf(text, ","), expected);
        assert.deepEqual(cellsOf(cells.join(","), ","), cells);
      },
    ),
  );
  assert.equal(cellsOf('1,"2', ","), undefined);
});

test("refusals name what is wrong", () => {
  const refusalOf = (text: string): string => {
    const read = new RowReader(PLAN, NOW).read(text.split(","));
    return "code" in read ? `${read.code}: ${read.detail}` : "taken";
  };
  const good = `${T0},x,2,3,1,2,9,${T0 + HOUR - 1},18,5,4,8`;
  assert.equal(refusalOf(good), "taken");
  assert.match(refusalOf(good.replace(String(T0), "abc")), /^time: its time is "abc"/);
  assert.match(refusalOf(good.replace(String(T0), String(T0 + 60_000))), /^off-grid/);
  assert.match(refusalOf(good.replace(String(T0), String(NOW + HOUR))), /^from-the-future/);
  assert.match(refusalOf(good.replace(String(T0), String(T0 / 1_000))), /^mixed-units/);
  assert.match(refusalOf(good.replace(",2,3,1,2,", ",2,1,3,2,")), /^high-below-low/);
  assert.match(
    refusalOf(good.replace(",2,3,1,2,", ",NaN,3,1,2,")),
    /^not-a-decimal: its open is "NaN"/,
  );
  assert.match(refusalOf(good.replace(",2,3,1,2,", ",0,3,0,2,")), /^price-not-positive/);
  assert.match(refusalOf(good.slice(0, 40)), /^columns: it has \d+ columns, not 12/);
  assert.match(refusalOf(good.replace(",5,4", ",5.5,4")), /^not-a-count/);
});
