import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { compareDecimals, isDecimal } from "../core/decimal.ts";
import { expandedDecimal, isAbsent, plainCount, plainDecimal } from "./numbers.ts";

test("cells become plain decimals, digit for digit, or nothing", () => {
  const cases: readonly (readonly [string, string | undefined])[] = [
    ["1.50", "1.50"],
    [" 1.50 ", "1.50"],
    ["\u00a01.5", "1.5"],
    ["+1.5", "1.5"],
    ["2.85e-05", "0.0000285"],
    ["5e-7", "0.0000005"],
    ["1.25E-1", "0.125"],
    ["0E-8", "0.00000000"],
    ["1e5", "100000"],
    ["1.02e2", "102"],
    ["1.025E+02", "102.5"],
    ["12.5e-1", "1.25"],
    ["0.5e1", "5"],
    ["+1.2345678901234568e+16", "12345678901234568"],
    ["104.", "104"],
    [".5", "0.5"],
    [".", undefined],
    ["e5", undefined],
    ["1e", undefined],
    ["1e20", undefined],
    ["1e999999999", undefined],
    ["-1e5", undefined],
    ["-1", undefined],
    ["NaN", undefined],
    ["Infinity", undefined],
    ["00.1", undefined],
    ["00.1e1", undefined],
    ["1,5", undefined],
    ["1,234.5", undefined],
    ["", undefined],
    ["9".repeat(40), undefined],
    ["1e-30", undefined],
  ];
  for (const [cell, expected] of cases) assert.equal(plainDecimal(cell, false), expected, cell);
  assert.equal(plainDecimal("1,5", true), "1.5");
  assert.equal(plainDecimal(",5", true), "0.5");
  assert.equal(plainDecimal("1,02E+06", true), "1020000");
  assert.equal(plainDecimal(",", true), undefined);
  assert.equal(plainDecimal("1.234,5", true), undefined);
});

test("an exponent is expanded without changing the value", () => {
  fc.assert(
    fc.property(fc.double({ min: 1e-12, max: 1e24, noNaN: true }), (value) => {
      const text = expandedDecimal(String(value)) ?? "";
      assert.equal(Number(text), value);
      if (isDecimal(text))
        assert.equal(compareDecimals(text, plainDecimal(String(value), false) ?? ""), 0);
    }),
  );
});

test("what is a decimal stays the same text", () => {
  fc.assert(
    fc.property(
      fc.stringMatching(/^(?:0|[1-9]\d{0,9})(?:\.\d{1,8})?$/),
      fc.boolean(),
      (text, comma) => {
        assert.equal(plainDecimal(text, comma), text);
      },
    ),
  );
});

test("counts and what is absent", () => {
  assert.equal(plainCount("105595"), 105_595);
  assert.equal(plainCount("105595.0"), 105_595);
  assert.equal(plainCount("105595.5"), undefined);
  assert.equal(plainCount("-1"), undefined);
  for (const cell of [undefined, "", " ", "NULL", "NaN", "None", "\\N", "-"])
    assert.ok(isAbsent(cell));
  for (const cell of ["0", "0.0", "x"]) assert.ok(!isAbsent(cell));
});
