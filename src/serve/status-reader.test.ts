import assert from "node:assert/strict";
import { test } from "node:test";
import type { StatusStore } from "../core/ports.ts";
import { createStatusReader } from "./status-reader.ts";

type Facts = Awaited<ReturnType<StatusStore["facts"]>>;
const FACTS: Facts = { run: undefined, series: [] };

/** A database whose answers are ended by hand, and a clock. */
function scene(patienceMs?: number) {
  const asked: PromiseWithResolvers<Facts>[] = [];
  const clock = { now: 0 };
  const facts = (): Promise<Facts> => {
    const one = Promise.withResolvers<Facts>();
    asked.push(one);
    return one.promise;
  };
  const store = { report: async () => undefined, facts };
  return { asked, clock, read: createStatusReader(store, () => clock.now, patienceMs) };
}

test("all who wait for a database that hangs are told the same, and it is asked once", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { asked, clock, read } = scene(20);
  const first = read();
  t.mock.timers.tick(10);
  const second = read();
  t.mock.timers.tick(10);
  asked[0]?.promise.catch(() => undefined);
  const views = await Promise.all([first, second]);
  assert.deepEqual(
    views.map(({ isKnown }) => isKnown),
    [false, false],
    "the one that came later has no patience of its own",
  );
  clock.now = 2_000;
  const third = read();
  assert.equal(asked.length, 1);
  asked[0]?.resolve(FACTS);
  assert.equal((await third).isKnown, true);
});

test("that the status is not known is not believed for longer than a second", async () => {
  const { asked, clock, read } = scene();
  const first = read();
  clock.now = 600;
  asked[0]?.reject(new Error("refused"));
  assert.deepEqual(await first, { isKnown: false, reason: "refused" });
  clock.now = 1_100;
  const second = read();
  asked[1]?.resolve(FACTS);
  assert.equal((await second).isKnown, true);
});
