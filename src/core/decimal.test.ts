import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { decimal, notDecimal, unitsOf } from "../../test/support/arbitraries.ts";
import {
  addDecimals,
  compareDecimals,
  isDecimal,
  isZeroDecimal,
  scaleOf,
  shortestDecimal,
  sumDecimals,
} from "./decimal.ts";

const RUNS = { numRuns: 1_000 };

/** The grammar of R2, read letter by letter instead of by an expression. */
function isPlainDecimal(text: string): boolean {
  const [whole = "", fraction, ...more] = text.split(".");
  const isDigits = (part: string): boolean =>
    [...part].every((letter) => "0123456789".includes(letter));
  if (more.length > 0 || !isDigits(whole) || whole.length < 1 || whole.length > 20) return false;
  if (whole.length > 1 && whole.startsWith("0")) return false;
  return (
    fraction === undefined || (isDigits(fraction) && fraction.length >= 1 && fraction.length <= 18)
  );
}

test("the grammar takes every plain decimal and nothing else", () => {
  const nearby = fc.string({ unit: fc.constantFrom(..."00123456789..-+eE \n"), maxLength: 45 });
  fc.assert(
    fc.property(fc.oneof(nearby, fc.string(), decimal(), notDecimal()), (text) => {
      assert.equal(isDecimal(text), isPlainDecimal(text));
    }),
    { numRuns: 3_000 },
  );
});

test("what only looks like a decimal is refused", () => {
  fc.assert(
    fc.property(notDecimal(), (text) => {
      assert.ok(!isDecimal(text));
    }),
    RUNS,
  );
});

test("the grammar ends at 20 integer digits and 18 decimals", () => {
  assert.ok(isDecimal(`${"9".repeat(20)}.${"9".repeat(18)}`));
  assert.ok(!isDecimal("9".repeat(21)));
  assert.ok(!isDecimal(`0.${"9".repeat(19)}`));
  assert.ok(isDecimal("0.00000000"));
});

test("decimals compare by value, not by text and not as floats", () => {
  fc.assert(
    fc.property(decimal(), decimal(), (a, b) => {
      const difference = unitsOf(a) - unitsOf(b);
      assert.equal(
        Math.sign(compareDecimals(a, b)),
        Number(difference > 0n) - Number(difference < 0n),
      );
    }),
    RUNS,
  );
});

test("trailing zeros change nothing in a comparison", () => {
  fc.assert(
    fc.property(decimal(), fc.nat(5), (text, count) => {
      const padded = `${text.includes(".") ? text : `${text}.0`}${"0".repeat(count)}`;
      assert.equal(compareDecimals(text, padded), 0);
      assert.equal(compareDecimals(padded, text), 0);
    }),
    RUNS,
  );
});

test("neighbours that a float cannot tell apart differ", () => {
  assert.ok(compareDecimals("9007199254740993", "9007199254740992") > 0);
  assert.ok(compareDecimals("0.100000000000000001", "0.1") > 0);
  assert.ok(compareDecimals("9", "10") < 0);
  assert.ok(compareDecimals("0.9", "0.10") > 0);
});

test("a sum is exact and as fine as its finer term", () => {
  fc.assert(
    fc.property(decimal(), decimal(), (a, b) => {
      const sum = addDecimals(a, b);
      assert.match(sum, /^(?:0|[1-9]\d*)(?:\.\d+)?$/);
      assert.equal(unitsOf(sum), unitsOf(a) + unitsOf(b));
      assert.equal(scaleOf(sum), Math.max(scaleOf(a), scaleOf(b)));
    }),
    RUNS,
  );
});

test("0.1 and 0.2 are 0.3", () => {
  assert.equal(addDecimals("0.1", "0.2"), "0.3");
  assert.equal(addDecimals("0.00", "0"), "0.00");
  assert.equal(addDecimals("0.05", "0.95"), "1.00");
  assert.equal(addDecimals("99999999999999999999", "1"), "100000000000000000000");
});

test("a sum of many is the sum one by one", () => {
  fc.assert(
    fc.property(fc.array(decimal(), { maxLength: 12 }), (texts) => {
      assert.equal(sumDecimals(texts), texts.reduce(addDecimals, "0"));
    }),
    RUNS,
  );
});

test("equal values have one shortest text, different ones have different ones", () => {
  fc.assert(
    fc.property(decimal(), decimal(), fc.nat(5), (a, b, count) => {
      const short = shortestDecimal(a);
      assert.ok(isDecimal(short));
      assert.equal(compareDecimals(short, a), 0);
      assert.ok(short.length <= a.length);
      const padded = `${a.includes(".") ? a : `${a}.0`}${"0".repeat(count)}`;
      assert.equal(shortestDecimal(padded), short);
      assert.equal(shortestDecimal(b) === short, compareDecimals(a, b) === 0);
    }),
    RUNS,
  );
  assert.equal(shortestDecimal("100"), "100");
  assert.equal(shortestDecimal("0.00"), "0");
});

test("zero is zero however it is written", () => {
  fc.assert(
    fc.property(decimal(), (text) => {
      assert.equal(isZeroDecimal(text), unitsOf(text) === 0n);
    }),
    RUNS,
  );
});

test("the scale is the number of digits after the point", () => {
  fc.assert(
    fc.property(decimal(), (text) => {
      assert.equal(scaleOf(text), text.split(".")[1]?.length ?? 0);
    }),
    RUNS,
  );
});
