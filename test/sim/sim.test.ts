import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { naiveLosses } from "./anchor.ts";
import { runAll, Worker } from "./pool.ts";
import { provoke } from "./provoke.ts";
import { Tally } from "./report.ts";
import type { Setting } from "./setting.ts";
import type { Done } from "./worker.ts";

/** Seeds of the part that runs with every test; `SIM_SEEDS=2000` makes a long night of it. */
const SEED_COUNT = Number(process.env.SIM_SEEDS ?? 30);
const FIRST_SEED = 1;
const JOBS = 2;

const REGRESSIONS = globSync(fileURLToPath(new URL("./regressions/*.json", import.meta.url)));

describe("the simulation", () => {
  test("the same seed does the same things at the same instants, in any process", async () => {
    const digests: string[] = [];
    for (const seed of [3, 7]) {
      const first = new Worker();
      const second = new Worker();
      try {
        // In the second process another world was there before.
        await second.run({ seed: 5 });
        const runs = [
          await first.run({ seed }),
          await second.run({ seed }),
          await first.run({ seed }),
        ];
        const [digest, ...others] = runs.map(({ outcome }) => outcome.digest);
        assert.deepEqual(others, [digest, digest]);
        digests.push(digest ?? "");
      } finally {
        first.stop();
        second.stop();
      }
    }
    assert.equal(new Set(digests).size, digests.length, "different seeds do different things");
  });

  for (const file of REGRESSIONS) {
    test(`what was found once does not come back: ${basename(file, ".json")}`, async () => {
      const { setting } = JSON.parse(readFileSync(file, "utf8")) as { setting: Setting };
      const worker = new Worker();
      try {
        const { outcome } = await worker.run({ setting });
        assert.equal(outcome.violation, undefined);
      } finally {
        worker.stop();
      }
    });
  }

  test(`${SEED_COUNT} seeds keep every promise`, async (t) => {
    const tally = new Tally();
    let seed = FIRST_SEED;
    await runAll(
      JOBS,
      () => (seed < FIRST_SEED + SEED_COUNT ? { seed: seed++ } : undefined),
      (done: Done) => tally.add(done),
    );
    await provoke(tally, FIRST_SEED);
    for (const line of tally.lines(FIRST_SEED)) t.diagnostic(line);
    const shown = tally.failures.map(
      ({ done, violation }) =>
        `${violation.oracle}: ${violation.detail}; npm run sim -- --seed ${done.setting.seed}`,
    );
    assert.deepEqual(shown, []);
    // A run that nothing happened in would keep every promise, too.
    assert.ok(tally.count("rows stored") > 50 * SEED_COUNT, "hardly any candle was stored");
    assert.ok(tally.count("kills") > SEED_COUNT / 10, "hardly any process was killed");
    assert.ok(tally.count("holds told") > 0, "no ban was told of");
    const missing = [...tally.missingMarks(), ...tally.missingKinds()];
    assert.deepEqual(missing, [], "never seen");
  });

  test("the same faults cost a plain collector candles", async (t) => {
    const { plainCount, ourCount, existingCount, line } = await naiveLosses(FIRST_SEED, 6);
    t.diagnostic(line);
    assert.ok(existingCount > 200);
    assert.ok(plainCount > existingCount / 50, `it lost only ${plainCount} of ${existingCount}`);
    assert.equal(ourCount, 0);
  });
});
