import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  candleOfTrades,
  candlesOfTrades,
  openTime,
  type TapeTrade,
  tape,
} from "../../test/support/arbitraries.ts";
import type { Candle } from "./candle.ts";
import { addDecimals } from "./decimal.ts";
import type { Source } from "./finality.ts";
import type { StoredCandle } from "./findings.ts";
import type { TimeRange } from "./range.ts";
import { type Cell, compareCandles, type Reconciliation, reconcileCell } from "./reconcile.ts";
import { cellOf, type Timeframe } from "./timeframe.ts";

const RUNS = { numRuns: 500 };
const HOUR = Date.UTC(2024, 2, 1, 4);
const PAIRS: readonly (readonly [Timeframe, Timeframe])[] = [
  ["4h", "1h"],
  ["1h", "15m"],
  ["1d", "4h"],
  ["1w", "1d"],
  ["5m", "1m"],
];

interface Scene {
  readonly coarser: Timeframe;
  readonly finer: Timeframe;
  readonly range: TimeRange;
  readonly trades: readonly TapeTrade[];
}

const scene = (minLength = 1): fc.Arbitrary<Scene> =>
  fc.constantFrom(...PAIRS).chain(([coarser, finer]) =>
    openTime(coarser).chain((at) =>
      tape(cellOf(coarser, at), { minLength, maxLength: 30 }).map((trades) => ({
        ...{ coarser, finer, trades },
        range: cellOf(coarser, at),
      })),
    ),
  );

const stored = (candle: Candle, source: Source = "csv"): StoredCandle => ({ candle, source });

const whole = ({ coarser, range, trades }: Scene): Candle =>
  candleOfTrades(coarser, range.from, trades, 10_001);

const cellFor = (
  { coarser, finer, range, trades }: Scene,
  row: Candle,
  changes: Partial<Cell> = {},
): Cell => ({
  ...{ coarser, finer, row: stored(row) },
  parts: candlesOfTrades(finer, range, trades).map((candle) => stored(candle)),
  ...changes,
});

const suspectsOf = (result: Reconciliation): string[] =>
  "suspects" in result ? result.suspects.map(({ side, openTime: at }) => `${side} ${at}`) : [];

test("what the same trades made agrees", () => {
  fc.assert(
    fc.property(scene(0), (given) => {
      const result = reconcileCell(cellFor(given, whole(given)));
      assert.equal(result.kind, "same", JSON.stringify(result));
    }),
    RUNS,
  );
});

test("a coarser candle that was saved too early is never taken for whole, and its parts are never blamed", () => {
  fc.assert(
    fc.property(scene(2), fc.nat(), (given, cut) => {
      const seen = given.trades.slice(0, 1 + (cut % (given.trades.length - 1)));
      const result = reconcileCell(cellFor(given, whole({ ...given, trades: seen })));
      assert.equal(result.kind, "different");
      assert.ok(suspectsOf(result).every((each) => each === `coarser ${given.range.from}`));
      // Where it ends elsewhere, there is no doubt.
      const isElsewhere = seen.at(-1)?.price !== given.trades.at(-1)?.price;
      if (isElsewhere) assert.equal(suspectsOf(result).length, 1);
    }),
    RUNS,
  );
});

test("of finer candles only the one that was saved too early is blamed, and the coarser one never", () => {
  fc.assert(
    fc.property(scene(2), fc.nat(), fc.nat(), fc.boolean(), (given, which, cut, isDoubted) => {
      const whole15 = cellFor(given, whole(given));
      const at = given.trades[which % given.trades.length]?.time ?? 0;
      const own = cellOf(given.finer, at);
      const inside = given.trades.filter(({ time }) => time >= own.from && time < own.to);
      const before = given.trades.findLast(({ time }) => time < own.from)?.price ?? 10_001;
      const seen = inside.slice(0, cut % inside.length);
      const frozen = candleOfTrades(given.finer, own.from, seen, before);
      const parts = whole15.parts.map((part) =>
        part.candle.openTime === own.from ? stored(frozen) : part,
      );
      const result = reconcileCell({ ...whole15, parts }, (of, time) => {
        return isDoubted && of === given.finer && time === own.from;
      });
      assert.equal(result.kind, "different");
      assert.ok("suspects" in result);
      for (const { side, range } of result.suspects) {
        // Several are named only where trades are missing from candles that have none.
        assert.ok(side === "finer" && range.from <= own.from && range.to >= own.to);
        if (frozen.tradeCount > 0) assert.deepEqual(range, own);
      }
      if (isDoubted) assert.ok(result.suspects.some(({ openTime: time }) => time === own.from));
    }),
    RUNS,
  );
});

test("with a part missing there is nothing to compare, unless the exchange has none", () => {
  fc.assert(
    fc.property(scene(1), fc.nat(), (given, which) => {
      const cell = cellFor(given, whole(given));
      const lost = cell.parts[which % cell.parts.length]?.candle;
      assert.ok(lost);
      const parts = cell.parts.filter(({ candle }) => candle !== lost);
      const hole = cellOf(given.finer, lost.openTime);
      assert.deepEqual(reconcileCell({ ...cell, parts }), {
        ...{ kind: "not-comparable", reason: "incomplete" },
      });
      const halted = given.trades.filter(({ time }) => time < hole.from || time >= hole.to);
      if (halted.length === 0) return;
      const row = stored(whole({ ...given, trades: halted }));
      const result = reconcileCell({ ...cell, row, parts, confirmedGaps: [hole] });
      assert.equal(result.kind, "same");
      assert.ok("absentCount" in result && result.absentCount === 1);
    }),
    RUNS,
  );
});

const hours = (changes: readonly Partial<Candle>[]): Candle[] =>
  changes.map((each, index) => ({
    openTime: HOUR + index * 3_600_000,
    closeTime: HOUR + (index + 1) * 3_600_000 - 1,
    ...{ open: "10", high: "12", low: "9", close: "11", tradeCount: 5 },
    ...{ volume: "100", quoteVolume: "1050", takerBuyVolume: "40", takerBuyQuoteVolume: "420" },
    ...each,
  }));

const FOUR = hours([{}, {}, {}, {}]);
const SUM: Candle = {
  ...{ openTime: HOUR, closeTime: HOUR + 4 * 3_600_000 - 1, tradeCount: 20 },
  ...{ open: "10", high: "12", low: "9", close: "11" },
  ...{ volume: "400", quoteVolume: "4200", takerBuyVolume: "160", takerBuyQuoteVolume: "1680" },
};

const compare = (
  row: Candle,
  changes: Partial<Cell> & { readonly candles?: readonly Candle[] } = {},
): Reconciliation =>
  reconcileCell({
    ...{ coarser: "4h", finer: "1h", row: stored(row) },
    parts: (changes.candles ?? FOUR).map((candle) => stored(candle)),
    ...changes,
  });

test("what floats lose is rounding in a sum, but not in a price, and not with other trades", () => {
  const off = { ...SUM, quoteVolume: "4200.0000041" };
  assert.equal(compare(off).kind, "rounding");
  assert.deepEqual(suspectsOf(compare(off)), []);
  assert.equal(compare({ ...SUM, quoteVolume: "4200.00001" }).kind, "different");
  assert.equal(compare({ ...SUM, close: "11.0000000001" }).kind, "different");
  assert.equal(compare({ ...off, tradeCount: 19 }).kind, "different");
});

test("fields that one side was never told are not compared", () => {
  const untold = { tradeCount: 0, takerBuyVolume: "0", takerBuyQuoteVolume: "0.00" };
  assert.equal(compare(SUM, { candles: hours([{}, untold, {}, {}]) }).kind, "same");
  assert.equal(compare({ ...SUM, ...untold }).kind, "same");
  assert.equal(compare({ ...SUM, quoteVolume: "0" }).kind, "same", "a file without quote volume");
  assert.equal(compare({ ...SUM, takerBuyVolume: "0" }).kind, "different", "all sold is a value");
});

test("Binance's own contradictions end alike, and blame nobody", () => {
  // As 2021-04-23: trades are missing from the middle of the one account or of the other.
  const inFiner = hours([{}, { volume: "11", tradeCount: 2, high: "11.5" }, {}, {}]);
  const inCoarser = { ...SUM, volume: "360", tradeCount: 17 };
  for (const result of [compare(SUM, { candles: inFiner }), compare(inCoarser)]) {
    assert.equal(result.kind, "different");
    assert.deepEqual(suspectsOf(result), []);
  }
  const justOpen = { ...SUM, open: "9.99" };
  assert.deepEqual(suspectsOf(compare(justOpen)), []);
});

test("doubt within its own series makes the short side suspect", () => {
  const isDoubtful = (of: Timeframe): boolean => of === "4h";
  const cell: Cell = {
    ...{ coarser: "4h", finer: "1h", row: stored({ ...SUM, volume: "360", tradeCount: 17 }) },
    parts: FOUR.map((candle) => stored(candle)),
  };
  assert.deepEqual(suspectsOf(reconcileCell(cell, isDoubtful)), [`coarser ${HOUR}`]);
});

test("of two closes the one that the next open is far from is suspect", () => {
  const lastFrozen = hours([{}, {}, {}, { close: "10.5", volume: "60", tradeCount: 3 }]);
  const last = HOUR + 3 * 3_600_000;
  for (const nextOpen of ["11", "11.01"]) {
    const result = compare(SUM, { candles: lastFrozen, nextOpen });
    assert.deepEqual(suspectsOf(result), [`finer ${last}`]);
  }
  assert.deepEqual(suspectsOf(compare(SUM, { candles: lastFrozen })), [`finer ${last}`]);
  // Some other part is short, and the coarser candle is frozen, only later.
  const early = compare(SUM, { candles: lastFrozen, nextOpen: "10.49" });
  assert.deepEqual(suspectsOf(early), [`coarser ${HOUR}`]);
  const both = compare(SUM, { candles: lastFrozen, nextOpen: "14" });
  assert.deepEqual(suspectsOf(both), [`coarser ${HOUR}`, `finer ${last}`]);
});

test("the evidence says how early the candle was saved", () => {
  const early = { ...SUM, volume: "230", tradeCount: 12, close: "10.2", quoteVolume: "2400" };
  const result = compare(early);
  assert.ok("suspects" in result);
  assert.equal(
    result.suspects[0]?.evidence,
    "has 57.5 % of the volume of its 4 candles of 1h, closes at 10.2 where they close at 11, " +
      "looks as it did when 2 of them had ended",
  );
  assert.deepEqual(result.differences.slice(0, 2), [
    { field: "close", actual: "10.2", expected: "11" },
    { field: "volume", actual: "230", expected: "400" },
  ]);
});

test("saved at a mid-cell close with the final close by chance: found by what is missing", () => {
  const twoHours = { ...SUM, volume: "200", tradeCount: 10, quoteVolume: "2100" };
  assert.deepEqual(suspectsOf(compare(twoHours)), [`coarser ${HOUR}`]);
  const unlike = { ...twoHours, high: "11.9" };
  assert.deepEqual(suspectsOf(compare(unlike)), [], "it never looked so");
});

test("what the exchange attested is never suspect; what contradicts it is", () => {
  const short = { ...SUM, volume: "360", tradeCount: 17, close: "10.5" };
  const attested = FOUR.map((candle) => stored(candle, "rest"));
  const mixed = FOUR.map((candle, index) => stored(candle, index === 2 ? "stream" : "rest"));
  const row = stored(short, "rest");
  assert.deepEqual(suspectsOf(compare(short, { row, parts: attested })), []);
  assert.deepEqual(suspectsOf(compare(short, { row, parts: mixed })), [
    `finer ${HOUR + 2 * 3_600_000}`,
  ]);
  // Without evidence of its own, authority decides.
  const alike = stored({ ...SUM, volume: "360", tradeCount: 17 });
  assert.deepEqual(suspectsOf(compare(alike.candle, { row: alike, parts: attested })), [
    `coarser ${HOUR}`,
  ]);
});

test("off the grid nothing can be compared", () => {
  const beside = hours([{}, {}, {}, { openTime: HOUR + 3 * 3_600_000 + 14_789 }]);
  const off = { kind: "not-comparable", reason: "off-grid" };
  assert.deepEqual(compare(SUM, { candles: beside }), off);
  assert.deepEqual(compare({ ...SUM, openTime: HOUR + 1 }), off);
});

test("two candles compare by value, field by field", () => {
  assert.equal(compareCandles(SUM, { ...SUM, open: "10.0", closeTime: 0 }).kind, "same");
  const { real, differences } = compareCandles(SUM, {
    ...SUM,
    quoteVolume: addDecimals(SUM.quoteVolume, "0.0000001"),
    low: "8",
  });
  assert.deepEqual(real, ["low"]);
  assert.deepEqual(
    differences.map(({ field }) => field),
    ["low", "quoteVolume"],
  );
});
