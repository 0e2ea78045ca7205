import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { endHunts, hunt, mutantLine } from "./hunt.ts";
import { MUTANTS, mutate } from "./mutants.ts";
import { Worker } from "./pool.ts";
import { shrink } from "./shrink.ts";

/** Seeds that each planted defect may take. */
const BUDGET = 40;
const FIRST_SEED = 1;

/** The others take a test with a real server each: `npm run mutants` has them, too. */
const SIMULATED = MUTANTS.filter(({ test: seenBy }) => seenBy === undefined);

describe("planted defects are seen", { concurrency: 2 }, () => {
  after(endHunts);
  const catches: Awaited<ReturnType<typeof hunt>>[] = [];
  for (const mutant of SIMULATED) {
    test(mutant.name, async (t) => {
      const found = await hunt(mutant, { from: FIRST_SEED, budget: BUDGET, isHinted: true });
      catches.push(found);
      assert.ok(found.violation, `not seen in ${BUDGET} seeds`);
      t.diagnostic(`${found.violation.oracle} in ${found.seedCount} seeds`);
      if (catches.length === SIMULATED.length) t.diagnostic(mutantLine(catches));
    });
  }
});

test("a mutant whose text has gone from the program is reported, not passed over", () => {
  const stale = { name: "stale", file: "core/gaps.ts", find: "no such text", replace: "" };
  assert.throws(() => mutate(stale, "const a = 1;"), /stale/);
  assert.throws(() => mutate({ ...stale, find: "a" }, "a a"), /stale/);
});

test("a failure shrinks to the faults that it needs", async () => {
  const [seed, kinds] = [2, ["kill"] as const];
  const worker = new Worker("heartbeat-after-death");
  try {
    let failing = await worker.run({ seed, kinds });
    for (let next = seed + 1; failing.outcome.violation === undefined && next < 30; next += 1) {
      failing = await worker.run({ seed: next, kinds });
    }
    const { outcome, setting } = failing;
    assert.equal(outcome.violation?.oracle, "R4 dead active");
    const small = await shrink(
      setting,
      "R4 dead active",
      async (one) => (await worker.run({ setting: one })).outcome,
    );
    assert.ok(small.faults.length < setting.faults.length);
    assert.ok(small.faults.length <= 2, JSON.stringify(small.faults));
    assert.ok(
      small.faults.some(({ kind }) => kind === "kill" || kind === "stop" || kind === "pause"),
    );
  } finally {
    worker.stop();
  }
});
