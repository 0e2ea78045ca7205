import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { candle, openTime, series } from "../../test/support/arbitraries.ts";
import { type Candle, DECIMAL_FIELDS } from "./candle.ts";
import {
  compareFindings,
  type Finding,
  groupFindings,
  rangesToRepair,
  type Severity,
  VALUE_FIELDS,
  valueText,
} from "./findings.ts";
import { seriesKey } from "./series.ts";
import { cellOf } from "./timeframe.ts";

const severity = (): fc.Arbitrary<Severity> => fc.constantFrom("info", "suspect", "wrong");

const finding = (): fc.Arbitrary<Finding> =>
  series({ exchange: "binance" }).chain((of) =>
    fc
      .record({
        at: openTime(of.timeframe, { min: Date.UTC(2024, 0, 1), max: Date.UTC(2024, 0, 20) }),
        severity: severity(),
        kind: fc.constantFrom(
          { check: "frozen", what: "implausible" } as const,
          { check: "frozen", what: "last-of-import" } as const,
          { check: "exchange", what: "differs" } as const,
          { check: "structure", what: "off-grid" } as const,
        ),
      })
      .map(({ at, severity: how, kind }) => ({
        ...kind,
        ...{ series: of, openTime: at, range: cellOf(of.timeframe, at), severity: how },
        ...{ evidence: "because", differences: [] },
      })),
  );

const findings = (): fc.Arbitrary<Finding[]> => fc.array(finding(), { maxLength: 20 });

test("the order is total: what is equal in it is alike", () => {
  fc.assert(
    fc.property(findings(), finding(), finding(), (all, a, b) => {
      assert.equal(Math.sign(compareFindings(a, b)), -Math.sign(compareFindings(b, a)));
      const sorted = all.toSorted(compareFindings);
      for (const [index, each] of sorted.entries()) {
        const next = sorted[index + 1];
        if (next === undefined) continue;
        assert.ok(compareFindings(each, next) <= 0);
        if (compareFindings(each, next) === 0) {
          assert.equal(`${each.openTime} ${each.what}`, `${next.openTime} ${next.what}`);
        }
      }
    }),
  );
});

test("groups count every finding once and span it", () => {
  fc.assert(
    fc.property(findings(), (all) => {
      const groups = groupFindings(all);
      assert.equal(
        groups.reduce((sum, { count }) => sum + count, 0),
        all.length,
      );
      for (const { series: of, check, what, severity: how, range, count } of groups) {
        const own = all.filter(
          (each) =>
            seriesKey(each.series) === seriesKey(of) &&
            `${each.check} ${each.what} ${each.severity}` === `${check} ${what} ${how}`,
        );
        assert.equal(own.length, count);
        assert.equal(Math.min(...own.map((each) => each.range.from)), range.from);
        assert.equal(Math.max(...own.map((each) => each.range.to)), range.to);
      }
    }),
  );
});

test("a repair fetches the cells of all that is suspect or wrong, and nothing else", () => {
  fc.assert(
    fc.property(findings(), (all) => {
      const targets = rangesToRepair(all);
      const isTarget = (each: Finding): boolean =>
        targets.some(
          ({ series: of, ranges }) =>
            seriesKey(of) === seriesKey(each.series) &&
            ranges.some(({ from, to }) => from <= each.openTime && each.openTime < to),
        );
      const open = all.filter((each) => each.severity !== "info");
      for (const each of open) assert.ok(isTarget(each));
      const keys = targets.map(({ series: of }) => seriesKey(of));
      assert.deepEqual(new Set(keys), new Set(open.map((each) => seriesKey(each.series))));
      assert.equal(new Set(keys).size, keys.length);
      for (const { series: of, ranges } of targets) {
        for (const { from, to } of ranges) {
          const edges = open.filter((each) => seriesKey(each.series) === seriesKey(of));
          assert.ok(edges.some(({ range }) => range.from === from));
          assert.ok(edges.some(({ range }) => range.to === to));
        }
      }
    }),
  );
});

test("the fields of value are all fields but the one that identifies", () => {
  fc.assert(
    fc.property(candle("1h"), (each: Candle) => {
      const { openTime: _, ...values } = each;
      assert.deepEqual([...VALUE_FIELDS].sort(), Object.keys(values).sort());
      for (const field of DECIMAL_FIELDS) assert.equal(valueText(each, field), each[field]);
    }),
  );
});
