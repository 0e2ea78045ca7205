import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  intersectRanges,
  isEmptyRange,
  mergeRanges,
  subtractRanges,
  type TimeRange,
} from "./range.ts";

/** Small ranges on a small line, so that they meet, touch, hold one another and turn out empty or backwards. */
const range = (): fc.Arbitrary<TimeRange> =>
  fc
    .tuple(fc.integer({ min: -15, max: 15 }), fc.integer({ min: -2, max: 9 }))
    .map(([from, length]) => ({ from, to: from + length }));

const ranges = (): fc.Arbitrary<TimeRange[]> => fc.array(range(), { maxLength: 8 });

/** The model: a range is the set of its instants. */
function instants(...given: readonly TimeRange[]): Set<number> {
  const set = new Set<number>();
  for (const { from, to } of given) for (let time = from; time < to; time++) set.add(time);
  return set;
}

/** The fewest ranges that hold a set, ascending. */
function rangesOf(set: ReadonlySet<number>): TimeRange[] {
  const found: TimeRange[] = [];
  for (const time of [...set].sort((a, b) => a - b)) {
    const last = found.at(-1);
    if (last?.to === time) found[found.length - 1] = { from: last.from, to: time + 1 };
    else found.push({ from: time, to: time + 1 });
  }
  return found;
}

const RUNS = { numRuns: 2_000 };

test("a range is empty when no instant lies in it", () => {
  fc.assert(
    fc.property(range(), (one) => {
      assert.equal(isEmptyRange(one), instants(one).size === 0);
    }),
    RUNS,
  );
});

test("what two ranges share is what both hold", () => {
  fc.assert(
    fc.property(range(), range(), (a, b) => {
      const shared = rangesOf(new Set([...instants(a)].filter((time) => instants(b).has(time))));
      assert.deepEqual(intersectRanges(a, b), shared[0]);
    }),
    RUNS,
  );
});

test("a union is the fewest ranges that hold the same instants, in any order given", () => {
  fc.assert(
    fc.property(ranges(), (given) => {
      const before = structuredClone(given);
      assert.deepEqual(mergeRanges(given), rangesOf(instants(...given)));
      assert.deepEqual(given, before, "the argument is left alone");
    }),
    RUNS,
  );
});

test("a difference is what the range holds and no hole does", () => {
  fc.assert(
    fc.property(range(), ranges(), (whole, holes) => {
      const before = structuredClone(holes);
      const gone = instants(...holes);
      const left = rangesOf(new Set([...instants(whole)].filter((time) => !gone.has(time))));
      assert.deepEqual(subtractRanges(whole, holes), left);
      assert.deepEqual(holes, before, "the argument is left alone");
    }),
    RUNS,
  );
});

test("ranges that touch become one; a hole in the middle leaves both sides", () => {
  assert.deepEqual(
    mergeRanges([
      { from: 5, to: 9 },
      { from: 1, to: 5 },
    ]),
    [{ from: 1, to: 9 }],
  );
  assert.deepEqual(subtractRanges({ from: 0, to: 10 }, [{ from: 3, to: 4 }]), [
    { from: 0, to: 3 },
    { from: 4, to: 10 },
  ]);
});
