import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { virtualClock } from "../../../test/support/clocks.ts";
import { DialLimiter } from "./dial-limiter.ts";
import { RateWindow } from "./rate-window.ts";

test("a window never lets more through in any span than it may, and not fewer than it could", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 6 }),
      fc.integer({ min: 1, max: 1_000 }),
      fc.array(fc.nat(400), { maxLength: 60 }),
      (limit, spanMs, gaps) => {
        const window = new RateWindow(limit, spanMs);
        const times: number[] = [];
        let now = 0;
        for (const gap of gaps) {
          now += gap;
          const inSpan = times.filter((time) => time > now - spanMs).length;
          const waitMs = window.waitMs(now);
          assert.equal(waitMs === 0, inSpan < limit);
          now += waitMs;
          window.note(now);
          times.push(now);
        }
        for (const [index, time] of times.entries()) {
          const beyond = times[index + limit] ?? Number.POSITIVE_INFINITY;
          assert.ok(beyond - time >= spanMs);
        }
      },
    ),
  );
});

test("a herd dials 25 in 5 s and 250 in 5 min", async () => {
  const clock = virtualClock();
  const limiter = new DialLimiter(clock, 250);
  const controller = new AbortController();
  const times: number[] = [];
  const herd = Array.from({ length: 600 }, () =>
    limiter.turn(controller.signal).then(() => times.push(clock.monotonic())),
  );
  await clock.advance(4_999);
  assert.equal(times.length, 25);
  await clock.advance(60_000);
  assert.equal(times.length, 250);
  await clock.advance(11 * 60_000);
  await Promise.all(herd);
  for (const [index, time] of times.entries()) {
    assert.ok((times[index + 25] ?? Number.POSITIVE_INFINITY) - time >= 5_000);
    assert.ok((times[index + 250] ?? Number.POSITIVE_INFINITY) - time >= 300_000);
  }
  assert.equal(clock.sleeperCount, 0);
});

test("a hold stops everybody, also those who wait already, and a shorter one changes nothing", async () => {
  const clock = virtualClock();
  const limiter = new DialLimiter(clock, 250);
  const { signal } = new AbortController();
  limiter.hold(60_000);
  limiter.hold(1_000);
  let isFree = false;
  const turn = limiter.turn(signal).then(() => {
    isFree = true;
  });
  await clock.advance(30_000);
  limiter.hold(60_000);
  await clock.advance(59_000);
  assert.equal(isFree, false);
  await clock.advance(1_000);
  await turn;
});

test("a turn that is given up ends at once", async () => {
  const clock = virtualClock();
  const limiter = new DialLimiter(clock, 250);
  limiter.hold(60_000);
  const controller = new AbortController();
  const turn = limiter.turn(controller.signal);
  controller.abort(new Error("no more"));
  await assert.rejects(turn, /no more/);
  assert.equal(clock.sleeperCount, 0);
});
