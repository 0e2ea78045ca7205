import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { DECIMAL_FIELDS } from "./candle.ts";
import { blockOf, candlesOf } from "./candle-block.ts";
import { DecimalColumn } from "./decimal-column.ts";

/** Everything of the grammar, and many values at the borders of what a double holds. */
const decimal = fc
  .tuple(
    fc.oneof(
      fc.bigInt({ min: 0n, max: 10n ** 20n - 1n }),
      fc.bigInt({ min: 0n, max: 1_000_000n }),
      fc.constantFrom(0n, 9_999n, 10_000n, 99_999_999n, 10n ** 15n - 1n, 10n ** 15n, 2n ** 53n),
    ),
    fc.oneof(fc.stringMatching(/^[0-9]{0,18}$/), fc.stringMatching(/^[0-9]{0,8}0{0,8}$/)),
  )
  .map(([whole, rest]) => (rest === "" ? `${whole}` : `${whole}.${rest}`));
/** What no candle has, but a table that was filled by hand may. */
const strange = fc.constantFrom(
  "-1.5",
  "-0.00",
  "007",
  `${"9".repeat(60)}.5`,
  `0.${"1".repeat(30)}`,
);
const texts = fc.array(
  fc.oneof({ weight: 20, arbitrary: decimal }, { weight: 1, arbitrary: strange }),
);

function columnOf(values: readonly string[]): DecimalColumn {
  const column = new DecimalColumn(values.length);
  for (const [row, text] of values.entries()) column.putText(row, text);
  return column;
}

describe("a column of decimals", () => {
  test("gives every text back, digit for digit", () => {
    fc.assert(
      fc.property(texts, (values) => {
        const column = columnOf(values);
        assert.deepEqual(column.texts(values.length), values);
        const bytes = new Uint8Array(values.length * column.maxBytes);
        let at = 0;
        for (const [row, text] of values.entries()) {
          assert.equal(column.text(row), text);
          const end = column.write(row, bytes, at);
          assert.ok(end - at <= column.maxBytes);
          at = end;
        }
        assert.equal(Buffer.from(bytes.subarray(0, at)).toString(), values.join(""));
      }),
      { numRuns: 500 },
    );
  });

  test("gives the nearest double", () => {
    fc.assert(
      fc.property(texts, (values) => {
        const column = columnOf(values);
        for (const [row, text] of values.entries()) assert.equal(column.double(row), Number(text));
      }),
      { numRuns: 500 },
    );
  });

  test("gives units of any scale exactly, or says that a digit lies beyond it", () => {
    fc.assert(
      fc.property(decimal, fc.integer({ min: 0, max: 30 }), (text, scale) => {
        const [whole = "", fraction = ""] = text.split(".");
        const isExact = /^0*$/.test(fraction.slice(scale));
        const expected = BigInt(whole + fraction.slice(0, scale).padEnd(scale, "0"));
        const units = columnOf([text]).unscaled(0, scale);
        assert.equal(
          units === undefined ? undefined : BigInt(units),
          isExact ? expected : undefined,
        );
        if (typeof units === "number") assert.ok(Number.isSafeInteger(units));
      }),
      { numRuns: 5_000 },
    );
    assert.equal(columnOf(["-1.5"]).unscaled(0, 2), undefined);
  });

  test("refuses numbers that a double would round, and takes their text", () => {
    const column = new DecimalColumn(2);
    assert.equal(column.put(0, 1e15, 0, 0), false);
    assert.equal(column.put(0, 1, 1, 16), false);
    assert.equal(column.put(0, 1e15 - 1, 1e15 - 1, 15), true);
    assert.equal(column.text(0), "999999999999999.999999999999999");
  });

  test("keeps its values when it grows, and forgets them when it is cleared", () => {
    const column = columnOf(["1.50", "9".repeat(40)]);
    column.grow(4);
    column.putText(2, "0.010");
    assert.deepEqual(column.texts(3), ["1.50", "9".repeat(40), "0.010"]);
    assert.equal(column.maxBytes, 40);
    column.clear();
    column.putText(0, "2");
    assert.deepEqual(column.texts(1), ["2"]);
    assert.ok(column.maxBytes < 40);
  });
});

test("a block gives back the candles that it was made of", () => {
  const row = fc.record({
    openTime: fc.integer({ min: -1e12, max: 4e12 }),
    closeTime: fc.integer({ min: -1e12, max: 4e12 }),
    tradeCount: fc.nat(),
    ...(Object.fromEntries(DECIMAL_FIELDS.map((field) => [field, decimal])) as Record<
      (typeof DECIMAL_FIELDS)[number],
      typeof decimal
    >),
  });
  fc.assert(
    fc.property(fc.array(row, { maxLength: 10 }), (candles) => {
      assert.deepEqual(
        candlesOf(blockOf(candles)),
        candles.map((candle) => ({ ...candle })),
      );
    }),
  );
});
