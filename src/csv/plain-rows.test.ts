import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ROW_PLAN } from "../../test/support/row-plan.ts";
import { PackedCandles } from "../core/packed-candles.ts";
import { cellsOf } from "./cells.ts";
import { columnsOf } from "./layout.ts";
import { PlainRows } from "./plain-rows.ts";
import { RowReader } from "./row-reader.ts";

const T0 = Date.UTC(2024, 0, 1);
const HOUR = 3_600_000;
const NOW = Date.UTC(2026, 0, 1);
const SEEN = Date.UTC(2025, 0, 1);

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

/** Usual prices, and such as a double does not tell apart. */
const wide = (): fc.Arbitrary<string> =>
  fc
    .tuple(line(), fc.constantFrom("", "00000", "000000000001", "00000000000000000001"))
    .map(([text, zeros]) => text.replace(/(\.\d)(?=,)/g, `$1${zeros}`));

/** One character of a line is another one. */
const spoilt = (): fc.Arbitrary<string> =>
  fc
    .tuple(
      line(),
      fc.nat(),
      fc.constantFrom(",", ".", "0", "9", '"', " ", "\r", "e", "-", "\u0131", ""),
    )
    .map(([text, place, character]) => {
      const at = place % text.length;
      return text.slice(0, at) + character + text.slice(at + 1);
    });

const six = {
  ...ROW_PLAN,
  columns: columnsOf(["openTime", "open", "high", "low", "close", "volume"]),
};

const ragged = { ...ROW_PLAN, hasOddWidths: true };

test("a plain line is read from its bytes as from its cells", () => {
  let plainCount = 0;
  const lines = fc.array(fc.oneof(line(), wide(), spoilt()), { minLength: 1, maxLength: 20 });
  fc.assert(
    fc.property(lines, fc.constantFrom(ROW_PLAN, ragged, six), (texts, plan) => {
      const plain = PlainRows.of(plan, NOW);
      const packed = new PackedCandles(plan.series);
      const reader = new RowReader(plan, NOW);
      for (const text of texts) {
        const { length } = packed;
        if (plain?.readText(text, packed, SEEN) !== true) {
          assert.equal(packed.length, length);
          continue;
        }
        plainCount += 1;
        const read = reader.read(cellsOf(text, ",") ?? []);
        assert.ok("candle" in read, text);
        const observedTime = Math.max(SEEN, read.candle.openTime);
        assert.deepEqual(packed.at(length), { series: plan.series, ...read, observedTime });
      }
    }),
    { numRuns: 600 },
  );
  assert.ok(plainCount > 100, `only ${plainCount} lines were plain`);
});

test("usual lines are read from their bytes", () => {
  const text = `${T0},2024-01-01T00:00:00,42283.58,42554.57,42261.02,42475.23,1271.68108,${T0 + HOUR - 1},53957248.973,47134,682.57581,28957416.819`;
  const packed = new PackedCandles(ROW_PLAN.series);
  const bytes = Buffer.from(`x${text}\r\n`);
  assert.equal(PlainRows.of(ROW_PLAN, NOW)?.read(bytes, 1, bytes.length - 2, packed, SEEN), true);
  const { candle, source } = packed.at(0);
  assert.equal(source, "csv");
  assert.equal(candle.takerBuyQuoteVolume, "28957416.819");
  const partial = PlainRows.of(six, NOW);
  assert.equal(partial?.readText(`${T0 + HOUR},1.5,2,1,1.75,3,more,"`, packed, SEEN), false);
  assert.equal(partial?.readText(`${T0 + HOUR},1.5,2,1,1.75,3,more,`, packed, SEEN), true);
  // Two rows in one line.
  const short = PlainRows.of({ ...six, usualWidth: 6 }, NOW);
  assert.equal(short?.readText(`${T0 + HOUR},1,2,1,1,3${T0},1,2,1,1,3`, packed, SEEN), false);
  const [, last] = [packed.at(0), packed.at(1)];
  assert.deepEqual(
    [last.source, last.candle.quoteVolume, last.candle.tradeCount, last.candle.closeTime],
    ["csv-partial", "0", 0, T0 + 2 * HOUR - 1],
  );
});

test("files whose times are text, or whose rows name their series, have no plain rows", () => {
  assert.equal(PlainRows.of({ ...ROW_PLAN, units: ["text"] }, NOW), undefined);
  assert.equal(PlainRows.of({ ...ROW_PLAN, symbolColumn: 1 }, NOW), undefined);
  assert.equal(PlainRows.of({ ...ROW_PLAN, hasDecimalComma: true }, NOW), undefined);
});
