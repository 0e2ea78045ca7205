import assert from "node:assert/strict";
import { test } from "node:test";
import type { Series } from "../core/series.ts";
import { EVER } from "./candle-pages.ts";
import type { MirrorFile } from "./mirror-file.ts";
import { MirrorPlan } from "./mirror-plan.ts";

const SERIES: Series = { exchange: "binance", symbol: "BTCUSDT", timeframe: "1m" };
const OTHER: Series = { ...SERIES, symbol: "ETHUSDT" };

/** A plan over files whose last row opens at 100. */
function bench(): { plan: MirrorPlan; clock: { now: number } } {
  const clock = { now: 0 };
  const plan = new MirrorPlan(
    () => clock.now,
    () => ({ lastOpenTime: 100 }) as MirrorFile,
  );
  for (const series of [SERIES, OTHER]) {
    const planned = plan.add(series);
    plan.begin(planned);
    plan.done(planned, true, 0);
  }
  return { plan, clock };
}

test("a new file is compared before anything else", () => {
  const plan = new MirrorPlan(
    () => 0,
    () => ({ lastOpenTime: 100 }) as MirrorFile,
  );
  const planned = plan.add(SERIES);
  plan.changed(SERIES, { from: 101, to: 102 });
  assert.equal(plan.nextAppend(), undefined);
  assert.equal(plan.next(), planned);
  assert.deepEqual(plan.begin(planned), { range: EVER });
  plan.done(planned, true, 1);
  assert.equal(plan.pendingCount, 0);
  assert.equal(plan.behindMs, 0);
});

test("what comes after the last row is appended at once, what comes before waits for others", () => {
  const { plan, clock } = bench();
  plan.changed(SERIES, { from: 101, to: 102 });
  assert.deepEqual(plan.nextAppend()?.series, SERIES);
  assert.equal(plan.next(), undefined);
  plan.changed(OTHER, { from: 50, to: 51 });
  clock.now = 1_999;
  plan.changed(OTHER, { from: 7, to: 8 });
  plan.changed(OTHER, { from: 90, to: 95 });
  assert.equal(plan.next(), undefined);
  assert.equal(plan.behindMs, 1_999);
  clock.now = 2_000;
  const planned = plan.next() ?? assert.fail("not due");
  assert.deepEqual(planned.series, OTHER);
  assert.deepEqual(plan.begin(planned), { range: { from: 7, to: 95 } });
});

test("a large file is not rewritten again and again", () => {
  const { plan, clock } = bench();
  const planned = plan.add(SERIES);
  plan.changed(SERIES, { from: 1, to: 2 });
  clock.now = 2_000;
  plan.begin(planned);
  clock.now = 7_000;
  plan.done(planned, true, 5_000);
  plan.changed(SERIES, { from: 1, to: 2 });
  clock.now = 7_000 + 10 * 5_000 - 1;
  assert.equal(plan.next(), undefined);
  clock.now += 1;
  assert.equal(plan.next(), planned);
});

test("what changes while a file is worked on counts for the next time, wherever its last row is then", () => {
  const { plan, clock } = bench();
  const planned = plan.add(SERIES);
  plan.changed(SERIES, { from: 101, to: 102 });
  plan.begin(planned);
  assert.equal(plan.nextAppend(), undefined);
  plan.changed(SERIES, { from: 103, to: 104 });
  plan.done(planned, true, 0);
  assert.equal(plan.nextAppend(), planned);
  clock.now = 2_000;
  assert.equal(plan.next(), planned);
});

test("a file that failed waits, is compared anew, and does not keep others waiting", () => {
  const { plan, clock } = bench();
  const planned = plan.add(SERIES);
  plan.distrust(planned);
  plan.begin(planned);
  plan.failed(planned, 5_000);
  plan.changed(OTHER, { from: 101, to: 102 });
  assert.equal(plan.next(), undefined);
  assert.deepEqual(plan.nextAppend()?.series, OTHER);
  clock.now = 5_000;
  assert.equal(plan.next(), planned);
  assert.equal(plan.begin(planned).range, EVER);
});

test("who waits longest comes first", () => {
  const { plan, clock } = bench();
  plan.changed(OTHER, { from: 101, to: 102 });
  clock.now = 10;
  plan.changed(SERIES, { from: 101, to: 102 });
  assert.deepEqual(plan.nextAppend()?.series, OTHER);
});
