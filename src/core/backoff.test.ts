import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type BackoffPolicy, backoffDelay, MIN_CEILING_MS } from "./backoff.ts";

/** The greatest `random` there is: the delay is then one below the ceiling, or on it where a float cannot tell. */
const LARGEST = 1 - Number.EPSILON / 2;

const policy = (): fc.Arbitrary<BackoffPolicy> =>
  fc
    .tuple(fc.integer({ min: MIN_CEILING_MS, max: 60_000 }), fc.integer({ min: 0, max: 3_600_000 }))
    .map(([baseMs, more]) => ({ baseMs, capMs: baseMs + more }));

const random = (): fc.Arbitrary<number> =>
  fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

test("a delay is a whole number below the ceiling, after any number of attempts", () => {
  fc.assert(
    fc.property(policy(), fc.nat(), random(), (given, attempt, chance) => {
      const delay = backoffDelay(given, attempt, chance);
      assert.ok(Number.isSafeInteger(delay));
      assert.ok(delay >= 0 && delay < given.capMs);
      if (attempt === 0) assert.ok(delay < given.baseMs);
    }),
    { numRuns: 1_000 },
  );
});

test("the ceiling doubles until the cap, and never falls", () => {
  fc.assert(
    fc.property(policy(), (given) => {
      let expected = given.baseMs;
      for (let attempt = 0; attempt < 40; attempt++) {
        const reached = backoffDelay(given, attempt, LARGEST);
        assert.ok(Math.abs(reached - Math.min(given.capMs, expected)) <= 1, `attempt ${attempt}`);
        expected *= 2;
      }
    }),
  );
});

test("a policy that would not wait backs off like one of 100 ms", () => {
  assert.equal(MIN_CEILING_MS, 100);
  const nothing = { baseMs: 0, capMs: 60_000 };
  assert.deepEqual(
    [0, 1, 2, 3, 9, 10, 1e9].map((attempt) => backoffDelay(nothing, attempt, 0.5)),
    [50, 100, 200, 400, 25_600, 30_000, 30_000],
  );
  const small = fc.record({
    baseMs: fc.integer({ min: -5, max: MIN_CEILING_MS }),
    capMs: fc.integer({ min: -5, max: 3_600_000 }),
  });
  fc.assert(
    fc.property(small, fc.nat(40), random(), ({ baseMs, capMs }, attempt, chance) => {
      const least = { baseMs: MIN_CEILING_MS, capMs: Math.max(MIN_CEILING_MS, capMs) };
      assert.equal(
        backoffDelay({ baseMs, capMs }, attempt, chance),
        backoffDelay(least, attempt, chance),
      );
    }),
  );
});

test("the jitter is full: half the chance is half the ceiling", () => {
  const given = { baseMs: 1_000, capMs: 60_000 };
  assert.equal(backoffDelay(given, 0, 0), 0);
  assert.equal(backoffDelay(given, 0, 0.5), 500);
  assert.equal(backoffDelay(given, 3, 0.5), 4_000);
  assert.equal(backoffDelay(given, 6, 0.5), 30_000);
  assert.equal(backoffDelay(given, 1e9, 0.5), 30_000);
});
