import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  candle,
  decimal,
  notDecimal,
  timeframe,
  versionedCandle,
} from "../../test/support/arbitraries.ts";
import { type Candle, DECIMAL_FIELDS } from "./candle.ts";
import { type RejectionCode, validateCandle } from "./validate.ts";

const SEEN = 1_783_900_900_000;

const sound = (changes: Partial<Candle> = {}): Candle => ({
  ...{ openTime: 1_783_900_800_000, closeTime: 1_783_900_859_999, tradeCount: 3 },
  ...{ open: "2", high: "4", low: "1", close: "3" },
  ...{ volume: "10", quoteVolume: "25", takerBuyVolume: "5", takerBuyQuoteVolume: "12" },
  ...changes,
});

/** Values that a decoder may let through where the types say otherwise. */
const garbage = (): fc.Arbitrary<unknown> =>
  fc.oneof(
    fc.anything({ withNullPrototype: true }),
    fc.constantFrom<unknown>(
      ...[Number.NaN, Number.POSITIVE_INFINITY, -1, 0.5, 2 ** 53, "", null, undefined, [], {}],
      ...[{ toString: 1, valueOf: 1 }, Object.create(null), "9".repeat(100_000)],
    ),
  );

/** `fc.anything` builds values that JSON cannot hold; what comes from the wire is always JSON. */
const fromJson = (value: unknown): unknown =>
  value === undefined || typeof value === "number"
    ? value
    : JSON.parse(JSON.stringify(value) ?? "null");

test("every candle that fits together passes", () => {
  fc.assert(
    fc.property(versionedCandle(), ({ candle: each, observedTime }) => {
      assert.equal(validateCandle(each, observedTime), undefined);
    }),
    { numRuns: 500 },
  );
});

test("recorded oddities pass: they are real data", () => {
  const oddities: Readonly<Record<string, Partial<Candle>>> = {
    "off the grid, 2017-12-04 06:00:20.799": {
      openTime: 1_512_367_220_799,
      closeTime: 1_512_367_280_798,
    },
    "cut short by a halt": { openTime: 1_515_034_800_000, closeTime: 1_515_034_814_838 },
    "closes before it opens, 2020-12-21 14:00": {
      openTime: 1_608_559_200_000,
      closeTime: 1_608_559_199_999,
    },
    "no trades, flat": {
      ...{ open: "4", high: "4", low: "4", close: "4", tradeCount: 0 },
      ...{ volume: "0.00000000", quoteVolume: "0.00000000" },
      ...{ takerBuyVolume: "0.00000000", takerBuyQuoteVolume: "0.00000000" },
    },
    "volume without trades, 2017 … 2019": { tradeCount: 0, takerBuyVolume: "0" },
    "taker volume above the volume": { takerBuyVolume: "11" },
    "cheapest price": {
      open: "0.00000001",
      high: "0.00000001",
      low: "0.00000001",
      close: "0.00000001",
    },
    "another venue's extremes": { low: "0.000000000000000001", volume: "99999999999999999999" },
    "the first and the last time that are taken": {
      openTime: Date.UTC(2008, 0, 1),
      closeTime: 2 ** 44 - 1,
    },
    "seen in the millisecond it opened": { openTime: SEEN, closeTime: SEEN + 59_999 },
  };
  for (const [name, changes] of Object.entries(oddities)) {
    assert.equal(validateCandle(sound(changes), SEEN), undefined, name);
  }
});

test("every reason for a refusal is given, with the text that caused it", () => {
  const refused: readonly (readonly [RejectionCode, Partial<Candle>, RegExp])[] = [
    ["not-a-time", { openTime: Number.NaN }, /openTime is NaN/],
    ["not-a-time", { openTime: 1_783_900_800 }, /1783900800$/],
    ["not-a-time", { closeTime: 1_783_900_859_999_999 }, /closeTime/],
    ["not-a-time", { openTime: 1_783_900_800_000.5 }, /openTime/],
    ["not-a-time", { openTime: Date.UTC(2008, 0, 1) - 1 }, /openTime/],
    ["not-a-time", { closeTime: 2 ** 44 }, /closeTime is 17592186044416$/],
    ["not-a-count", { tradeCount: -1 }, /tradeCount is -1/],
    ["not-a-count", { tradeCount: 2_147_483_648 }, /tradeCount/],
    ["not-a-decimal", { volume: "1e5" }, /volume is "1e5"/],
    ["not-a-decimal", { volume: "9".repeat(99) }, /volume is "9{59}…$/],
    ["not-a-decimal", { volume: "x".repeat(58) }, /volume is "x{58}"$/],
    ["price-not-positive", { low: "0.000" }, /low is 0\.000/],
    ["high-below-low", { high: "0.5" }, /high 0\.5 is below low 1/],
    ["open-outside-range", { open: "4.00000001" }, /open 4\.00000001/],
    ["open-outside-range", { open: "0.9" }, /open 0\.9/],
    ["close-outside-range", { close: "10" }, /close 10/],
    ["close-outside-range", { close: "0.10" }, /close 0\.10/],
    ["from-the-future", { openTime: SEEN + 1, closeTime: SEEN + 60_000 }, /opens at/],
  ];
  for (const [code, changes, detail] of refused) {
    const rejection = validateCandle(sound(changes), SEEN);
    assert.equal(rejection?.code, code, JSON.stringify(changes));
    assert.match(rejection.detail, detail);
  }
});

test("text that is no plain decimal is refused in every field, and never altered", () => {
  const each = timeframe().chain((of) => candle(of));
  fc.assert(
    fc.property(each, fc.constantFrom(...DECIMAL_FIELDS), notDecimal(), (whole, field, text) => {
      const broken = { ...whole, [field]: text };
      assert.equal(validateCandle(broken, Number.MAX_SAFE_INTEGER)?.code, "not-a-decimal");
      assert.equal(broken[field], text);
    }),
    { numRuns: 500 },
  );
});

test("prices pass exactly when low ≤ open, close ≤ high and all are above zero", () => {
  const small = (): fc.Arbitrary<string> =>
    fc.constantFrom("0", "0.0", "1", "1.0", "2", "10", "9.5");
  fc.assert(
    fc.property(small(), small(), small(), small(), (open, high, low, close) => {
      const [o, h, l, c] = [Number(open), Number(high), Number(low), Number(close)];
      const fits = l > 0 && o > 0 && h > 0 && c > 0 && l <= o && o <= h && l <= c && c <= h;
      const rejection = validateCandle(sound({ open, high, low, close }), SEEN);
      assert.equal(rejection === undefined, fits);
    }),
    { numRuns: 2_000 },
  );
});

test("volumes may be anything that is a decimal", () => {
  fc.assert(
    fc.property(decimal(), decimal(), (volume, takerBuyVolume) => {
      assert.equal(validateCandle(sound({ volume, takerBuyVolume }), SEEN), undefined);
    }),
  );
});

test("garbage in any field is a short refusal, never an exception", () => {
  const fields = Object.keys(sound()) as (keyof Candle)[];
  fc.assert(
    fc.property(fc.constantFrom(...fields), garbage(), (field, value) => {
      const broken = { ...sound(), [field]: fromJson(value) } as Candle;
      const rejection = validateCandle(broken, SEEN);
      if (rejection !== undefined) assert.ok(rejection.detail.length < 200);
    }),
    { numRuns: 2_000 },
  );
});

test("whatever a caller of the library gives for a value is a refusal, never an exception", () => {
  const circle: Record<string, unknown> = {};
  circle.self = circle;
  const thrower = (): never => {
    throw new Error("no text");
  };
  const odd: readonly unknown[] = [
    circle,
    { toJSON: thrower },
    { toJSON: () => undefined },
    { big: 1n },
    Object.assign(() => 1, { toString: thrower }),
    Symbol("x"),
    1n,
    undefined,
  ];
  for (const field of Object.keys(sound()) as (keyof Candle)[]) {
    for (const value of odd) {
      const rejection = validateCandle({ ...sound(), [field]: value } as Candle, SEEN);
      assert.match(rejection?.code ?? "", /^not-a-/);
      assert.ok((rejection?.detail.length ?? 0) > field.length + 4);
    }
  }
});

test("a time in seconds or in microseconds is refused, whatever the time", () => {
  fc.assert(
    fc.property(
      fc.constantFrom("openTime" as const, "closeTime" as const),
      fc.integer({ min: Date.UTC(2010, 0), max: Date.UTC(2100, 0) }),
      (field, time) => {
        const seconds = sound({ [field]: Math.floor(time / 1_000) });
        assert.equal(validateCandle(seconds, SEEN)?.code, "not-a-time");
        assert.equal(validateCandle(sound({ [field]: time * 1_000 }), SEEN)?.code, "not-a-time");
      },
    ),
  );
});
