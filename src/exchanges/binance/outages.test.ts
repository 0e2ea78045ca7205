import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { describe, test } from "node:test";
import fc from "fast-check";
import { knownOutage, OUTAGES } from "./outages.ts";

const MINUTE = 60_000;
const DAY = 86_400_000;
const at = (text: string): number => Date.parse(`${text}Z`);
const FIRST = at("2017-07-14T00:00");
const LAST = at("2023-04-01T00:00");

describe("the list", () => {
  test("is ascending and disjoint, and does not even touch", () => {
    for (const [index, { range }] of OUTAGES.entries()) {
      const next = OUTAGES[index + 1];
      if (next !== undefined) assert.ok(range.to < next.range.from, next.range.from.toString());
    }
  });

  for (const { range, source } of OUTAGES) {
    test(`${new Date(range.from).toISOString()} is whole minutes of a spot market, with a public source`, () => {
      assert.ok(range.from >= FIRST && range.to <= LAST);
      assert.equal(range.from % MINUTE, 0);
      assert.equal(range.to % MINUTE, 0);
      assert.ok(range.to > range.from && range.to - range.from < 2 * DAY);
      assert.match(source, /^[\w-]+\/[\w-]+#\d+$/);
    });
  }

  test("has the minutes of a whole scan of REST from 2019 on: 22 gaps, 4,111 minutes", () => {
    const since2019 = OUTAGES.filter(({ range }) => range.from >= at("2019-01-01T00:00"));
    const minutes = since2019.map(({ range }) => (range.to - range.from) / MINUTE);
    assert.equal(since2019.length, 22);
    assert.equal(
      minutes.reduce((sum, one) => sum + one, 0),
      4_111,
    );
  });
});

describe("what is said of a stretch", () => {
  const CASES: readonly (readonly [from: string, to: string, text: string | undefined])[] = [
    [
      "2021-04-25T04:01",
      "2021-04-25T08:45",
      "known Binance outage 2021-04-25 04:01–08:45 (binance/binance-public-data#368)",
    ],
    [
      "2021-04-25T05:00",
      "2021-04-25T08:00",
      "known Binance outage 2021-04-25 04:01–08:45 (binance/binance-public-data#368)",
    ],
    [
      "2021-04-25T04:00",
      "2021-04-25T08:45",
      "in part known Binance outage 2021-04-25 04:01–08:45 (binance/binance-public-data#368)",
    ],
    [
      "2018-02-09T00:00",
      "2018-02-09T01:00",
      "known Binance outage 2018-02-08 00:29 – 2018-02-09 09:59 (binance/binance-public-data#365; the rows after it are off the grid)",
    ],
    [
      "2023-01-01T00:00",
      "2026-01-01T00:00",
      "in part known Binance outage 2023-03-24 12:40–14:00 (binance/binance-public-data#368)",
    ],
    [
      "2020-01-01T00:00",
      "2021-01-01T00:00",
      "in part known Binance outages 2020-02-09 02:00–03:00 (binance/binance-public-data#114), 2020-02-19 11:36–17:30 (binance/binance-public-data#114) and 6 more",
    ],
    ["2021-04-25T04:00", "2021-04-25T04:01", undefined],
    ["2021-04-25T08:45", "2021-04-25T09:00", undefined],
    ["2021-04-25T05:00", "2021-04-25T05:00", undefined],
    ["2024-01-01T00:00", "2026-01-01T00:00", undefined],
  ];
  for (const [from, to, text] of CASES) {
    test(`${from} … ${to}: ${text ?? "nothing"}`, () =>
      assert.equal(knownOutage({ from: at(from), to: at(to) }), text));
  }

  test("agrees with a count minute by minute", () => {
    const off = new Set<number>();
    for (const { range } of OUTAGES) {
      for (let time = range.from; time < range.to; time += MINUTE) off.add(time);
    }
    const near = fc
      .record({
        edge: fc.constantFrom(...OUTAGES.flatMap(({ range }) => [range.from, range.to])),
        shift: fc.integer({ min: -200, max: 200 }),
        minutes: fc.integer({ min: 0, max: 400 }),
      })
      .map(({ edge, shift, minutes }) => {
        const from = edge + shift * MINUTE;
        return { from, to: from + minutes * MINUTE };
      });
    fc.assert(
      fc.property(near, (range) => {
        let offCount = 0;
        for (let time = range.from; time < range.to; time += MINUTE) {
          if (off.has(time)) offCount += 1;
        }
        const text = knownOutage(range);
        assert.equal(text !== undefined, offCount > 0);
        if (text === undefined) return;
        assert.equal(text.startsWith("in part "), offCount < (range.to - range.from) / MINUTE);
      }),
    );
  });
});

test("only what shows gaps knows of the list: it decides nothing", () => {
  const files = globSync("src/**/*.ts").filter((path) => !path.endsWith(".test.ts"));
  const knowing = files.filter((path) =>
    /\bknownOutage|outages\.ts|known-outage/.test(readFileSync(path, "utf8")),
  );
  assert.deepEqual(knowing.sort(), [
    "src/app.ts",
    "src/cli/history-lines.ts",
    "src/cli/known-outage.ts",
    "src/cli/verify-lines.ts",
    "src/exchanges/binance/index.ts",
    "src/exchanges/binance/outages.ts",
    "src/serve/api/stored.ts",
    "src/serve/parts.ts",
    "src/serve/serving.ts",
  ]);
});
