import assert from "node:assert/strict";
import { test } from "node:test";
import { fuzz } from "./fuzz.ts";
import { TARGETS } from "./targets.ts";

/** A part of `npm run fuzz`, the same at each run. */
const INPUTS = 1_500;

for (const make of TARGETS) {
  test(`${make.name}: a typed refusal or a sound value, never a throw from the inside, never over 50 ms`, async () => {
    const target = await make.open();
    try {
      const report = await fuzz(target, 1, (count) => count >= (make.testInputs ?? INPUTS));
      assert.deepEqual(report.findings, []);
      assert.ok(Object.keys(report.words).length > 1, "some inputs pass and some are refused");
    } finally {
      await target.close?.();
    }
  });
}
