import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ExchangeTime } from "./exchange-time.ts";

const OFFSET = 1_783_900_800_000.25;

/** An honest message: what the exchange stamps lies between sending and receiving. */
type Message =
  | {
      readonly kind: "round-trip" | "slow";
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
      kind: fc.constant("slow" as const),
      waitMs: delay(60_000),
      thereMs: delay(30_000),
      backMs: delay(30_000),
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
      const stamp = Math.floor(sent + each.thereMs + OFFSET);
      if (each.kind === "slow") estimate.observeSlowRoundTrip(sent, now, stamp);
      else estimate.observeRoundTrip(sent, now, stamp);
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
      assert.equal(estimate.isDoubtful, false);
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

/** An estimate of 1,000,000 + monotonic ms, measured. */
function measured(): ExchangeTime {
  const estimate = new ExchangeTime();
  estimate.observeRoundTrip(0, 100, 1_000_050);
  return estimate;
}

test("an event a little ahead is believed, one far ahead is doubted", () => {
  const estimate = measured();
  estimate.observeEvent(1_005_200, 200);
  assert.equal(estimate.now(200), 1_005_200);
  assert.equal(estimate.isDoubtful, false);
  estimate.observeEvent(1_010_301, 300);
  assert.equal(estimate.now(300), 1_005_300);
  assert.equal(estimate.isDoubtful, true);
});

test("a machine that slept is set right by events that go on claiming it", () => {
  const estimate = measured();
  estimate.observeEvent(4_600_000, 200);
  estimate.observeEvent(4_602_999, 3_199);
  assert.equal(estimate.now(3_199), 1_003_199);
  estimate.observeEvent(4_603_000, 3_200);
  assert.equal(estimate.now(3_200), 4_603_000);
  assert.equal(estimate.isDoubtful, true, "only the exchange's own answer settles it");
  estimate.observeRoundTrip(3_300, 3_400, 4_603_150);
  assert.equal(estimate.isDoubtful, false);
});

test("of claims that differ the smallest is believed", () => {
  const estimate = measured();
  estimate.observeEvent(2_592_000_000, 200);
  estimate.observeEvent(4_602_000, 2_200);
  estimate.observeEvent(2_592_003_000, 3_200);
  assert.equal(estimate.now(3_200), 4_603_000);
});

test("false stamps among sound ones are never believed", () => {
  const estimate = measured();
  for (let now = 200; now < 60_000; now += 400) {
    estimate.observeEvent(2_592_000_000 + now, now);
    estimate.observeEvent(1_000_000 + now + 200 - 50, now + 200);
    assert.equal(estimate.now(now + 200), 1_000_200 + now);
    assert.equal(estimate.isDoubtful, true);
  }
});

test("false stamps that a round trip contradicts are not believed", () => {
  const estimate = measured();
  for (let now = 200; now < 60_000; now += 2_500) {
    estimate.observeEvent(2_592_000_000 + now, now);
    estimate.observeEvent(2_592_002_000 + now, now + 2_000);
    assert.equal(estimate.now(now + 2_000), 1_002_000 + now);
    estimate.observeRoundTrip(now + 2_100, now + 2_200, 1_002_150 + now);
    assert.equal(estimate.isDoubtful, false);
  }
});

test("a slow round trip leaves alone what it does not contradict", () => {
  const estimate = measured();
  estimate.observeSlowRoundTrip(200, 10_200, 1_000_200);
  estimate.observeSlowRoundTrip(20_200, 30_200, 1_030_200);
  assert.equal(estimate.now(40_000), 1_040_000);
  assert.equal(estimate.errorMs, 50);
});

test("a slow round trip puts right what it shows to be wrong, ahead or behind", () => {
  for (const serverTime of [4_600_000, 900_000]) {
    const estimate = measured();
    estimate.observeEvent(9_000_000, 150);
    estimate.observeSlowRoundTrip(200, 10_200, serverTime);
    assert.equal(estimate.now(10_200), serverTime);
    assert.equal(estimate.errorMs, 10_001, "stamped at any instant of its way");
    assert.equal(estimate.isDoubtful, false);
  }
});

test("after a slow round trip a false stamp is not believed either", () => {
  const estimate = new ExchangeTime();
  estimate.observeSlowRoundTrip(200, 10_200, 1_010_000);
  estimate.observeEvent(1_019_000, 11_000);
  assert.equal(estimate.now(11_000), 1_019_000, "as late as the answer allows");
  assert.equal(estimate.isDoubtful, false);
  estimate.observeEvent(1_900_000, 12_000);
  assert.equal(estimate.now(12_000), 1_020_000);
  assert.equal(estimate.isDoubtful, true);
});

test("any real answer replaces a seeded estimate, also one that is behind it", () => {
  const seeded = (): ExchangeTime => {
    const estimate = new ExchangeTime();
    estimate.seed(9_000_000, 100);
    assert.equal(estimate.now(200), 9_000_100);
    return estimate;
  };
  const byEvent = seeded();
  byEvent.observeEvent(1_000_000, 200);
  assert.equal(byEvent.now(200), 1_000_000);
  byEvent.observeEvent(900_000, 300);
  assert.equal(byEvent.now(300), 1_000_100, "only the seed gives way to something older");
  const bySlow = seeded();
  bySlow.observeSlowRoundTrip(200, 10_200, 8_999_000);
  assert.equal(bySlow.now(10_200), 8_999_000);
  const far = seeded();
  far.observeEvent(20_000_000, 200);
  assert.equal(far.now(200), 20_000_000);
  assert.equal(far.isDoubtful, false);
});

test("a seed does not replace what the exchange has said", () => {
  const estimate = measured();
  estimate.seed(9_000_000, 100);
  assert.equal(estimate.now(200), 1_000_200);
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

test("after a sleep of this machine, or a jump of its clock, time is asked for before anything else", () => {
  const time = measured();
  time.compareClocks(5_000_000, 300);
  time.compareClocks(5_001_900, 2_200);
  time.compareClocks(5_004_100, 2_400);
  assert.equal(
    time.hasSlept,
    false,
    "a clock that is slewed, or read a little later, has not jumped",
  );
  time.compareClocks(8_604_200, 2_500);
  assert.deepEqual([time.hasSlept, time.isDoubtful, time.isUnfit], [true, true, true]);
  time.compareClocks(8_604_300, 2_600);
  time.observeStamp(4_600_000, 2_700);
  assert.equal(time.hasSlept, true, "no measurement yet");
  time.observeRoundTrip(2_800, 2_800, 4_600_100);
  assert.deepEqual([time.hasSlept, time.isDoubtful, time.isUnfit], [false, false, false]);
  time.compareClocks(8_600_000, 2_900);
  assert.equal(time.isUnfit, true, "set back");
});

test("the stamp of an answer that forbids questions speaks against an estimate from before a sleep", () => {
  const asleep = measured();
  asleep.observeStamp(1_600_000, 300);
  assert.equal(asleep.now(300), 1_600_000);
  assert.equal(asleep.errorMs, 1_000);
  assert.equal(asleep.isDoubtful, true, "to be measured as soon as the exchange may be asked");
  asleep.observeEvent(1_600_400, 400);
  assert.equal(asleep.now(400), 1_600_400);
  asleep.observeEvent(1_900_000, 500);
  assert.equal(asleep.now(500), 1_600_500, "a false stamp is not believed because of it");
  assert.equal(asleep.isUnfit, true, "events do not prove it");
  asleep.observeRoundTrip(600, 600, 1_600_600);
  assert.equal(asleep.isUnfit, false);
  const awake = measured();
  awake.observeStamp(1_000_000, 300);
  assert.equal(awake.now(300), 1_000_300, "stamps are cut to seconds, and may be old");
  assert.equal(awake.isUnfit, false);
  const unknown = new ExchangeTime();
  unknown.observeStamp(1_000_000, 300);
  assert.equal(unknown.now(400), 1_000_100);
});
