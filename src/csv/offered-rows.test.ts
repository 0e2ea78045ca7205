import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { compareVersions, sameValues, type VersionedCandle } from "../core/finality.ts";
import { PackedCandles } from "../core/packed-candles.ts";
import type { Series } from "../core/series.ts";
import { type Duplicate, type Offered, OfferedRows } from "./offered-rows.ts";

const series: Series = { exchange: "binance", symbol: "BTCUSDT", timeframe: "1m" };
const T0 = Date.UTC(2024, 0, 1);

function row(minute: number, volume: string): VersionedCandle {
  const openTime = T0 + minute * 60_000;
  return {
    ...{ series, source: "csv", observedTime: T0 + 1e9 },
    candle: {
      ...{ openTime, closeTime: openTime + 59_999, tradeCount: 1 },
      ...{ open: "2", high: "3", low: "1", close: "2", volume, quoteVolume: "4" },
      ...{ takerBuyVolume: "1", takerBuyQuoteVolume: "2" },
    },
  };
}

test("in any order, each candle is offered once, ascending, and the newest is held back", () => {
  const arrival = fc.record({
    minute: fc.integer({ min: 0, max: 12 }),
    volume: fc.constantFrom("1", "1.0", "2", "3"),
  });
  fc.assert(
    fc.property(
      fc.array(arrival, { maxLength: 30 }),
      fc.boolean(),
      fc.option(arrival),
      (arrivals, hasNewest, before) => {
        const kept: Offered | undefined =
          before === null ? undefined : { ...row(before.minute, before.volume), line: 1 };
        const rows = new OfferedRows(PackedCandles.of(series, [row(0, "9")]), kept);
        const left: Duplicate[] = [];
        const all = kept === undefined ? [] : [kept];
        arrivals.forEach(({ minute, volume }, index) => {
          const offered = { ...row(minute, volume), line: index + 2 };
          all.push(offered);
          rows.packed.push(offered);
          const duplicate = rows.place(offered.line);
          if (duplicate !== undefined) left.push(duplicate);
        });
        const best = new Map<number, VersionedCandle>();
        for (const one of all) {
          const other = best.get(one.candle.openTime);
          if (other === undefined || compareVersions(one, other) > 0) {
            best.set(one.candle.openTime, one);
          }
        }
        const expected = [...best.values()].sort((a, b) => a.candle.openTime - b.candle.openTime);
        const newest = expected.at(-1);
        const found = rows.newest;
        assert.equal(found?.candle.openTime, newest?.candle.openTime);
        assert.equal(rows.newestTime, newest?.candle.openTime ?? Number.NEGATIVE_INFINITY);
        const offered = rows.offered(hasNewest, (duplicate) => left.push(duplicate));
        const taken = offered.slice(0, 99);
        const wanted = hasNewest ? expected : expected.slice(0, -1);
        assert.deepEqual(
          taken.map(({ candle }) => candle.openTime),
          wanted.map(({ candle }) => candle.openTime),
        );
        taken.forEach(({ candle }, index) => {
          assert.ok(sameValues(candle, wanted[index]?.candle ?? candle));
        });
        assert.ok(
          newest === undefined || sameValues(found?.candle ?? newest.candle, newest.candle),
        );
        // Every row is offered, held back, or left out and told.
        assert.equal(left.length, all.length - best.size);
        assert.equal(new Set(left.map(({ loser }) => loser.line)).size, left.length);
        for (const { winner, loser, isSame } of left) {
          assert.equal(winner.candle.openTime, loser.candle.openTime);
          assert.equal(isSame, sameValues(winner.candle, loser.candle));
        }
      },
    ),
    { numRuns: 1_000 },
  );
});
