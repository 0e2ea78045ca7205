import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ExchangeTime } from "./exchange-time.ts";

const OFFSET = 1_783_900_800_000.25;

/** An honest message: what the exchange stamps lies between sending and receiving. */
type Message =
  | {
      readonly kind: "round-trip";
      readonly waitMs: number;
      readonly thereMs: number;
      readonly backMs: number;
    }
  | { readonly kind: "event"; readonly waitMs: number; readonly backMs: number };

const delay = (max: number): fc.Arbitrary<number> => fc.integer({ min: 0, max });

const message = (): fc.Arbitrary<Message> =>
  fc.oneof(
    fc.record({
      kind: fc.constant("round-trip" as const),
      waitMs: delay(60_000),
      thereMs: delay(3_000),
      backMs: delay(3_000),
    }),
    fc.record({
      kind: fc.constant("event" as const),
      waitMs: delay(60_000),
      backMs: delay(30_000),
    }),
  );

/** Lets messages arrive one after another. @returns the monotonic instant of the last arrival */
function arrive(estimate: ExchangeTime, messages: readonly Message[]): number {
  let now = 5_000.5;
  for (const each of messages) {
    now += each.waitMs;
    if (each.kind === "event") {
      now += each.backMs;
      estimate.observeEvent(Math.floor(now - each.backMs + OFFSET), now);
    } else {
      const sent = now;
      now += each.thereMs + each.backMs;
      estimate.observeRoundTrip(sent, now, Math.floor(sent + each.thereMs + OFFSET));
    }
  }
  return now;
}

test("after any honest messages the estimate is off by no more than it says", () => {
  fc.assert(
    fc.property(fc.array(message(), { maxLength: 10 }), (messages) => {
      const estimate = new ExchangeTime();
      const now = arrive(estimate, messages);
      assert.equal(estimate.isKnown, messages.length > 0);
      if (messages.length === 0) return;
      // Stamps are whole milliseconds, and so is the answer: one more of each.
      assert.ok(Math.abs(estimate.now(now) - (now + OFFSET)) <= estimate.errorMs + 2);
      assert.ok(Number.isSafeInteger(estimate.now(now)));
    }),
    { numRuns: 1_000 },
  );
});

test("events alone never put the estimate ahead of the exchange, and it is no older than the best of them", () => {
  const events = fc.array(message(), { minLength: 1, maxLength: 10 });
  fc.assert(
    fc.property(events, (messages) => {
      const only = messages.filter((each) => each.kind === "event");
      fc.pre(only.length > 0);
      const estimate = new ExchangeTime();
      const now = arrive(estimate, only);
      const best = Math.min(...only.map((each) => each.backMs));
      for (const later of [0, 0.1, 0.3, 0.6, 0.9]) {
        assert.ok(estimate.now(now + later) <= now + later + OFFSET);
      }
      assert.ok(estimate.now(now) >= now + OFFSET - best - 2);
      assert.equal(estimate.errorMs, Number.POSITIVE_INFINITY);
    }),
  );
});

test("between messages the estimate goes exactly as fast as the monotonic clock", () => {
  fc.assert(
    fc.property(
      fc.array(message(), { minLength: 1, maxLength: 5 }),
      delay(1e9),
      (messages, later) => {
        const estimate = new ExchangeTime();
        const now = arrive(estimate, messages);
        assert.equal(estimate.now(now + later) - estimate.now(now), later);
      },
    ),
  );
});

test("a machine that slept is set right by the first event", () => {
  const estimate = new ExchangeTime();
  estimate.observeRoundTrip(0, 100, 1_000_050);
  estimate.observeEvent(4_600_000, 200);
  assert.equal(estimate.now(200), 4_600_000);
});

test("an event that was long under way changes nothing", () => {
  const estimate = new ExchangeTime();
  estimate.observeRoundTrip(0, 100, 1_000_050);
  estimate.observeEvent(900_000, 200);
  assert.equal(estimate.now(200), 1_000_200);
});

test("a new round trip replaces an estimate that a false event spoilt", () => {
  const estimate = new ExchangeTime();
  estimate.observeEvent(9_000_000_000, 100);
  estimate.observeRoundTrip(200, 300, 1_000_250);
  assert.equal(estimate.now(300), 1_000_300);
  assert.equal(estimate.errorMs, 50);
});

test("asking before the exchange has said anything is an error, not a guess", () => {
  assert.throws(() => new ExchangeTime().now(1), RangeError);
});
