import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { parseDerived, sourcesOf } from "./derived.ts";
import { cellOf, isTimeframe, nominalMs, openTimeAt, TIMEFRAMES } from "./timeframe.ts";

const MONDAY = Date.UTC(1970, 0, 5);

describe("a derived timeframe", () => {
  const names: readonly (readonly [string, number, number])[] = [
    ["45m", 2_700_000, 0],
    ["10s", 10_000, 0],
    ["90s", 90_000, 0],
    ["3h", 10_800_000, 0],
    ["36h", 129_600_000, 0],
    ["2d", 172_800_000, 0],
    ["2w", 1_209_600_000, MONDAY],
  ];
  for (const [name, stepMs, originMs] of names) {
    test(name, () => assert.deepEqual(parseDerived(name), { name, stepMs, originMs }));
  }

  const refused: readonly (readonly [string, RegExp])[] = [
    ["5m", /^is a timeframe of the exchange/],
    ["1w", /^is a timeframe of the exchange/],
    ["3d", /^is a timeframe of the exchange/],
    ["60m", /^is 1h, a timeframe of the exchange/],
    ["7d", /^is 1w, a timeframe of the exchange/],
    ["72h", /^is 3d, a timeframe of the exchange/],
    ["120s", /^is written 2m/],
    ["14d", /^is written 2w/],
    ["60w", /^is longer than a year/],
    ["2M", /^is not a length/],
    ["0m", /^is not a length/],
    ["045m", /^is not a length/],
    ["45 m", /^is not a length/],
    ["45m; drop table candles", /^is not a length/],
    ["", /^is not a length/],
  ];
  for (const [name, why] of refused) {
    test(`not ${JSON.stringify(name)}`, () => assert.match(String(parseDerived(name)), why));
  }

  test("is filled exactly by the cells of each source, wherever it opens", () => {
    const lengths = fc
      .tuple(fc.integer({ min: 1, max: 400 }), fc.constantFrom("s", "m", "h", "d", "w"))
      .map(([count, unit]) => parseDerived(`${count}${unit}`))
      .filter((derived) => typeof derived !== "string");
    fc.assert(
      fc.property(lengths, fc.integer({ min: 0, max: 100_000 }), (derived, count) => {
        assert.ok(!isTimeframe(derived.name));
        const from = derived.originMs + count * derived.stepMs;
        const sources = sourcesOf(derived);
        assert.ok(derived.stepMs === 1_000 || sources.includes("1s"));
        for (const timeframe of TIMEFRAMES.filter((one) => nominalMs(one) <= 86_400_000)) {
          const fits =
            nominalMs(timeframe) < derived.stepMs &&
            cellOf(timeframe, from).from === from &&
            openTimeAt(timeframe, from + derived.stepMs) === from + derived.stepMs;
          if (sources.includes(timeframe)) assert.ok(fits, `${derived.name} of ${timeframe}`);
        }
      }),
    );
  });
});
