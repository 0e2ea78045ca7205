import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { describe, test } from "node:test";
import { BENCHES } from "../bench/catalog.ts";
import { medianOf } from "../bench/support/median.ts";
import {
  atLeast,
  atMost,
  type Measured,
  markdownOf,
  merged,
  textOf,
  withFigures,
} from "../bench/support/report.ts";
import { aboutMs, atMostMs, slopePerMinute } from "./load/metrics.ts";

const ROOT = new URL("../", import.meta.url);

function measured(name: string, over: Partial<Measured> = {}): Measured {
  const lines = [
    { what: "ms", ours: "30", beside: "10", ratio: 3, target: atMost(3, 2) },
    { what: "a | b", ours: "1" },
  ];
  const load = [0.5, 1, 2];
  return {
    ...{ name, title: `Title of ${name}`, date: "2026-11-22T10:00Z", load, tookS: 7 },
    ...{ lines, report: {} },
    ...over,
  };
}

describe("the table of figures", () => {
  test("says of a target whether it was met, at its edge too", () => {
    assert.deepEqual([atMost(2, 2).isMet, atMost(2.01, 2).isMet], [true, false]);
    assert.deepEqual([atLeast(0.5, 0.5).isMet, atLeast(0.49, 0.5).isMet], [true, false]);
    assert.equal(atMost(Number.NaN, 2).isMet, false);
    assert.match(textOf(measured("burst")), /30 {2}beside 10, ratio 3\.00 {2}≤ 2 NOT MET/);
    assert.match(
      markdownOf([measured("burst")]),
      /\| ms \| 30 \| 10 \| 3\.00 \| ≤ 2: \*\*not met\*\* \|/,
    );
  });

  test("keeps its columns whatever stands in a cell, and names what was not measured", () => {
    assert.match(markdownOf([measured("x")]), /\| a \\\| b \| 1 \| {2}\| {2}\| {2}\|/);
    const failed = measured("x", { failed: "ended with 1: no psql", lines: [] });
    assert.match(markdownOf([failed]), /Not measured: ended with 1: no psql/);
    assert.match(textOf(failed), /not measured: ended with 1/);
  });

  test("keeps figures that were not measured anew, in the order of the benchmarks", () => {
    const before = [measured("a"), measured("b", { tookS: 1 }), measured("gone")];
    const runs = merged(before, [measured("b", { tookS: 2 }), measured("c")], ["c", "b", "a"]);
    assert.deepEqual(
      runs.map(({ name, tookS }) => [name, tookS]),
      [
        ["c", 7],
        ["b", 2],
        ["a", 7],
      ],
    );
  });

  test("changes only what stands between the marks of the page", async () => {
    const page = await readFile(new URL("docs/PERFORMANCE.md", ROOT), "utf8");
    const once = withFigures(page, "FIGURES $& $1");
    assert.equal(withFigures(once, "FIGURES $& $1"), once);
    const [head = "", tail = ""] = once.split("FIGURES $& $1");
    assert.ok(page.startsWith(head.trimEnd()) && page.endsWith(tail.trimStart()));
    assert.throws(() => withFigures("a page", "x"), /has no/);
  });
});

describe("the benchmarks", () => {
  test("each has its script, and lines even for an empty report", () => {
    assert.equal(new Set(BENCHES.map(({ name }) => name)).size, BENCHES.length);
    for (const { script, linesOf } of BENCHES) {
      assert.ok(existsSync(new URL(script, ROOT)), script);
      for (const { target } of linesOf({})) assert.notEqual(target?.isMet, true);
    }
  });

  test("each is explained on the page", async () => {
    const page = await readFile(new URL("docs/PERFORMANCE.md", ROOT), "utf8");
    for (const { name } of BENCHES) assert.match(page, new RegExp(`^\\| ${name} \\|`, "m"));
  });
});

describe("figures of samples", () => {
  test("the median is a value of the sample", () => {
    assert.deepEqual([medianOf([3, 1, 2]), medianOf([4, 1, 3, 2]), medianOf([5])], [2, 2, 5]);
  });

  test("a quantile between two readings of a histogram is the edge of its bucket", () => {
    const before = new Map([
      [0.1, 5],
      [0.5, 5],
      [Number.POSITIVE_INFINITY, 5],
    ]);
    const after = new Map([
      [0.1, 14],
      [0.5, 15],
      [Number.POSITIVE_INFINITY, 15],
    ]);
    assert.deepEqual([atMostMs(before, after, 0.5), atMostMs(before, after, 0.99)], [100, 500]);
    assert.equal(atMostMs(after, after, 0.5), Number.NaN);
    assert.equal(aboutMs(after, after, 0.5), Number.NaN);
    const even = new Map([
      [0.125, 4],
      [0.625, 8],
      [Number.POSITIVE_INFINITY, 8],
    ]);
    assert.equal(aboutMs(new Map(), even, 0.25), 62.5);
    assert.equal(aboutMs(new Map(), even, 0.75), 375);
  });

  test("a slope is told per minute", () => {
    const points = [0, 60_000, 120_000].map((at) => ({ at, value: 10 + at / 30_000 }));
    assert.equal(slopePerMinute(points), 2);
    assert.equal(slopePerMinute(points.slice(1, 2)), Number.NaN);
  });
});
