import assert from "node:assert/strict";
import { test } from "node:test";
import { onceOf, sharedAnswer } from "./shared-answer.ts";

/** A database whose answers are ended by hand, and a clock. */
function scene() {
  const asked: PromiseWithResolvers<number>[] = [];
  const clock = { now: 0 };
  const ask = sharedAnswer(
    () => {
      const one = Promise.withResolvers<number>();
      asked.push(one);
      return one.promise;
    },
    () => clock.now,
  );
  return { asked, clock, ask };
}

test("whoever asks while an answer is under way shares it, however long it takes", async () => {
  const { asked, clock, ask } = scene();
  const first = ask();
  clock.now = 60_000;
  const second = ask();
  asked[0]?.resolve(1);
  assert.deepEqual(await Promise.all([first, second]), [1, 1]);
  assert.equal(asked.length, 1);
});

for (const [tookMs, sharedMs] of [
  [0, 1_000],
  [300, 3_000],
  [1_500, 5_000],
] as const) {
  test(`an answer that took ${tookMs} ms is shared for ${sharedMs} ms from when it was asked for`, async () => {
    const { asked, clock, ask } = scene();
    const first = ask();
    clock.now = tookMs;
    asked[0]?.resolve(1);
    await first;
    clock.now = sharedMs - 1;
    assert.equal(await ask(), 1);
    clock.now = sharedMs;
    void ask();
    assert.equal(asked.length, 2);
  });
}

test("an answer that was long under way is old, and asked for anew", async () => {
  const { asked, clock, ask } = scene();
  const first = ask();
  clock.now = 15_000;
  asked[0]?.resolve(1);
  await first;
  void ask();
  assert.equal(asked.length, 2);
});

test("a failure is shared for a second, however long it took", async () => {
  const { asked, clock, ask } = scene();
  const first = ask();
  clock.now = 600;
  asked[0]?.reject(new Error("away"));
  await assert.rejects(first, /away/);
  clock.now = 999;
  await assert.rejects(ask(), /away/);
  clock.now = 1_000;
  const second = ask();
  asked[1]?.resolve(2);
  assert.equal(await second, 2);
});

test("what is made of a list is made once for that list", () => {
  let madeCount = 0;
  const sum = onceOf((all: readonly number[]) => {
    madeCount += 1;
    return all.length === 0 ? undefined : all.reduce((one, other) => one + other, 0);
  });
  const list = [1, 2];
  const empty: number[] = [];
  assert.deepEqual(
    [sum(list), sum(list), sum([1, 2]), sum(empty), sum(empty)],
    [3, 3, 3, undefined, undefined],
  );
  assert.equal(madeCount, 3);
});
