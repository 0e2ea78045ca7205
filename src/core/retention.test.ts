import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { emptyAnswer, type Gap, notFetchedGap, notKeptGap } from "./gaps.ts";
import { intersectRanges, mergeRanges, type TimeRange } from "./range.ts";
import { keptFrom, withoutKept } from "./retention.ts";
import type { Series } from "./series.ts";
import { isAligned, TIMEFRAMES } from "./timeframe.ts";

const SERIES: Series = { exchange: "binance", symbol: "BTCUSDT", timeframe: "1h" };
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const NOW = 1_000 * HOUR_MS;

const hours = (from: number, to: number): TimeRange => ({
  from: from * HOUR_MS,
  to: to * HOUR_MS,
});
const believed = (range: TimeRange): Gap => ({
  ...emptyAnswer(SERIES, range, 5),
  state: "confirmed",
});
const KINDS = {
  open: (range: TimeRange) => notFetchedGap(SERIES, range, 5),
  believed,
  notKept: (range: TimeRange) => notKeptGap(SERIES, range, 5),
} as const;

/** A ledger as it may be: disjoint entries of every kind. */
const ledgers = fc
  .array(
    fc.record({
      pause: fc.nat(3),
      length: fc.integer({ min: 1, max: 6 }),
      kind: fc.constantFrom<keyof typeof KINDS>("open", "believed", "notKept"),
    }),
    { maxLength: 12 },
  )
  .map((parts) => {
    let at = 0;
    return parts.map(({ pause, length, kind }) => {
      const from = at + pause;
      at = from + length;
      return KINDS[kind](hours(from, at));
    });
  });

describe("what is kept begins", () => {
  test("on the grid, at or before the age, and at the same place all day", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...TIMEFRAMES),
        fc.integer({ min: 1_500_000_000_000, max: 1_900_000_000_000 }),
        fc.integer({ min: 1, max: 3_000 }),
        (timeframe, now, days) => {
          const from = keptFrom(timeframe, now, days * DAY_MS);
          assert.ok(isAligned(timeframe, from));
          assert.ok(from <= now - days * DAY_MS);
          assert.ok(from > now - days * DAY_MS - DAY_MS - 31 * DAY_MS);
          const sameDay = Math.floor(now / DAY_MS) * DAY_MS;
          assert.equal(keptFrom(timeframe, sameDay, days * DAY_MS), from);
        },
      ),
    );
  });
});

describe("the ledger after a stretch is not kept any more", () => {
  test("has no overlaps, explains all of the stretch, and asks for none of it", () => {
    fc.assert(
      fc.property(ledgers, fc.nat(30), fc.integer({ min: 1, max: 30 }), (entries, from, length) => {
        const range = hours(from, from + length);
        const { gone, come } = withoutKept(SERIES, entries, range, NOW);
        const after = [...entries.filter((entry) => !gone.includes(entry)), ...come];
        const sum = (ranges: readonly TimeRange[]): number =>
          ranges.reduce((total, one) => total + one.to - one.from, 0);
        const ranges = after.map((entry) => entry.range);
        assert.equal(sum(mergeRanges(ranges)), sum(ranges), "overlaps");
        // Nothing is forgotten, and nothing but the stretch is added.
        assert.deepEqual(
          mergeRanges(ranges),
          mergeRanges([...entries.map((entry) => entry.range), range]),
        );
        for (const entry of after) {
          const isInside = intersectRanges(entry.range, range) !== undefined;
          assert.ok(!isInside || entry.state === "confirmed", "is asked for still");
        }
        for (const entry of entries.filter(
          ({ state, reason }) => state === "confirmed" && reason !== "not-kept",
        )) {
          assert.ok(after.includes(entry), "what is known of the exchange is lost");
        }
        // The same again changes nothing.
        const again = withoutKept(SERIES, after, range, NOW);
        assert.deepEqual(
          again.come.map((entry) => [entry.range.from, entry.range.to]).sort(),
          again.gone.map((entry) => [entry.range.from, entry.range.to]).sort(),
        );
      }),
    );
  });

  test("is one entry however many days it grew by", () => {
    let entries: readonly Gap[] = [];
    for (let day = 0; day < 30; day += 1) {
      const { gone, come } = withoutKept(
        SERIES,
        entries,
        hours(day * 24, day * 24 + 24),
        NOW + day,
      );
      entries = [...entries.filter((entry) => !gone.includes(entry)), ...come];
    }
    assert.deepEqual(entries, [notKeptGap(SERIES, hours(0, 720), NOW + 29)]);
  });

  test("keeps what is to be fetched behind the stretch", () => {
    const open = notFetchedGap(SERIES, hours(5, 15), 3);
    const { gone, come } = withoutKept(SERIES, [open], hours(0, 10), NOW);
    assert.deepEqual(gone, [open]);
    assert.deepEqual(come, [
      notKeptGap(SERIES, hours(0, 10), NOW),
      { ...open, range: hours(10, 15) },
    ]);
  });
});
