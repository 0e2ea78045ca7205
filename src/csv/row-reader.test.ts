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

const cell = (): fc.Arbitrary<string> =>
  fc.oneof(
    { weight: 6, arbitrary: fc.stringMatching(/^(?:0|[1-9]\d{0,4})(?:\.\d{1,8})?$/) },
    fc.constantFrom("", "0", "1e-7", "-1", "NaN", "1e5", "+2.5", " 3 ", "x", "1,5", '"4"', "00.1"),
  );

/** Four prices that fit together, or four of anything. */
const prices = (): fc.Arbitrary<string[]> =>
  fc.oneof(
    fc.array(cell(), { minLength: 4, maxLength: 4 }),
    fc.array(fc.integer({ min: 1, max: 99_999 }), { minLength: 4, maxLength: 4 }).map((values) => {
      const [low = 1, open = 1, close = 1, high = 1] = values.sort((a, b) => a - b);
      return [open, high, low, close].map((value) => `${value / 100}`);
    }),
  );

const line = (): fc.Arbitrary<string> =>
  fc
    .tuple(
      fc.oneof(
        {
          weight: 5,
          arbitrary: fc.integer({ min: 0, max: 30_000 }).map((hour) => T0 + hour * HOUR),
        },
        fc.constantFrom(T0 + 1, T0 / 1_000, Number.NaN),
      ),
      prices(),
      fc.array(cell(), { minLength: 4, maxLength: 5 }),
      fc.integer({ min: 0, max: 500 }),
    )
    .map(([time, four, [volume, quote, ...more], count]) =>
      [time, "2024-01-01", ...four, volume, time + HOUR - 1, quote, count, ...more].join(","),
    );

test("a line that is read by its pattern says what its cells say", () => {
  let plainCount = 0;
  fc.assert(
    fc.property(fc.array(line(), { minLength: 1, maxLength: 20 }), (lines) => {
      const [byPattern, byCells] = [new RowReader(PLAN, NOW), new RowReader(PLAN, NOW)];
      for (const text of lines) {
        const plain = byPattern.readPlain(text);
        const read = byCells.read(cellsOf(text, ",") ?? []);
        if (plain !== undefined) plainCount += 1;
        assert.deepEqual(plain ?? byPattern.read(cellsOf(text, ",") ?? []), read);
      }
    }),
    { numRuns: 400 },
  );
  assert.ok(plainCount > 10, `only ${plainCount} lines were plain`);
});

test("usual lines are read by the pattern", () => {
  const text = `${T0},2024-01-01T00:00:00,42283.58,42554.57,42261.02,42475.23,1271.68108,${T0 + HOUR - 1},53957248.973,47134,682.57581,28957416.819`;
  const read = new RowReader(PLAN, NOW).readPlain(text);
  assert.equal(read?.source, "csv");
  assert.equal(read?.candle.takerBuyQuoteVolume, "28957416.819");
  const six = {
    ...PLAN,
    columns: columnsOf(["openTime", "open", "high", "low", "close", "volume"]),
  };
  const partial = new RowReader(six, NOW).readPlain(`${T0},1.5,2,1,1.75,3`);
  assert.deepEqual(
    [
      partial?.source,
      partial?.candle.quoteVolume,
      partial?.candle.tradeCount,
      partial?.candle.closeTime,
    ],
    ["csv-partial", "0", 0, T0 + HOUR - 1],
  );
});

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
