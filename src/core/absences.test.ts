import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { openTime, series } from "../../test/support/arbitraries.ts";
import { explainAbsences, gapFindings } from "./absences.ts";
import type { Gap, GapReason } from "./gaps.ts";
import { mergeRanges, subtractRanges, type TimeRange } from "./range.ts";
import type { Series } from "./series.ts";
import { countOpenTimes, shiftOpenTime } from "./timeframe.ts";

const REASONS: readonly GapReason[] = [
  "exchange-had-none",
  "before-listing",
  "shed",
  "not-fetched",
];

interface Scene {
  readonly of: Series;
  readonly missing: readonly TimeRange[];
  readonly gaps: readonly Gap[];
}

/** Each of forty cells is missing or not, and in the ledger for one reason or for none. */
const scene = (): fc.Arbitrary<Scene> =>
  series()
    .chain((of) =>
      fc.record({
        of: fc.constant(of),
        base: openTime(of.timeframe),
        cells: fc.array(
          fc.record({
            isMissing: fc.boolean(),
            reason: fc.option(fc.constantFrom(...REASONS), { nil: undefined }),
            state: fc.constantFrom("open" as const, "confirmed" as const),
          }),
          { maxLength: 40 },
        ),
      }),
    )
    .map(({ of, base, cells }) => {
      const ranges = cells.map((_, index) => ({
        from: shiftOpenTime(of.timeframe, base, index),
        to: shiftOpenTime(of.timeframe, base, index + 1),
      }));
      return {
        of,
        missing: mergeRanges(ranges.filter((_, index) => cells[index]?.isMissing)),
        gaps: cells.flatMap(({ reason, state }, index) => {
          const range = ranges[index];
          if (reason === undefined || range === undefined) return [];
          return [
            { series: of, range, reason, state, foundTime: 0, emptyAnswers: 0, nextTryTime: 0 },
          ];
        }),
      };
    });

test("every missing candle has one reason, and what is not missing has none", () => {
  fc.assert(
    fc.property(scene(), ({ missing, gaps }) => {
      const absences = explainAbsences(missing, gaps);
      for (const [index, { range }] of absences.entries()) {
        const next = absences[index + 1];
        if (next !== undefined) assert.ok(range.to <= next.range.from);
      }
      assert.deepEqual(mergeRanges(absences.map(({ range }) => range)), missing);
      for (const { range, reason, isConfirmed } of absences) {
        const inLedger = gaps.filter(
          (gap) => gap.range.from < range.to && range.from < gap.range.to,
        );
        if (reason === "unexplained") {
          assert.deepEqual([inLedger, isConfirmed], [[], false]);
        } else {
          assert.ok(inLedger.every((gap) => gap.reason === reason));
          assert.ok(inLedger.every((gap) => (gap.state === "confirmed") === isConfirmed));
          assert.deepEqual(
            subtractRanges(
              range,
              inLedger.map((gap) => gap.range),
            ),
            [],
          );
        }
      }
    }),
    { numRuns: 300 },
  );
});

test("a confirmed absence is information, any other is wrong, and the candles are counted", () => {
  fc.assert(
    fc.property(scene(), ({ of, missing, gaps }) => {
      const found = gapFindings(of, explainAbsences(missing, gaps));
      const count = missing.reduce((sum, range) => sum + countOpenTimes(of.timeframe, range), 0);
      assert.equal(
        found.reduce((sum, { missingCount }) => sum + missingCount, 0),
        count,
      );
      for (const { severity, what, openTime: at, range, evidence } of found) {
        const isConfirmed = gaps.some((gap) => gap.range.from === at && gap.state === "confirmed");
        assert.equal(severity, isConfirmed ? "info" : "wrong");
        assert.equal(at, range.from);
        assert.ok(
          evidence.length > 0 &&
            (REASONS as readonly string[]).concat("unexplained").includes(what),
        );
      }
    }),
    { numRuns: 300 },
  );
});
