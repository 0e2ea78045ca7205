import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type RequestPriority, retryAfterMs, WeightBudget } from "./budget.ts";

const LIMIT = 100;
const SHARES: Readonly<Record<RequestPriority, number>> = { live: 90, heal: 75, bulk: 60 };
const MINUTE_MS = 60_000;
const START = 29_731_680 * MINUTE_MS;

type Step =
  | { readonly kind: "wait"; readonly ms: number }
  | { readonly kind: "take"; readonly weight: number; readonly priority: RequestPriority }
  /** The exchange takes up a request: only now it counts. */
  | { readonly kind: "process"; readonly which: number }
  /** The answer arrives, or with `isLost` the request ends without one. */
  | { readonly kind: "answer"; readonly which: number; readonly isLost: boolean }
  /** Another program on the same address spends weight. */
  | { readonly kind: "foreign"; readonly weight: number };

const priority = (): fc.Arbitrary<RequestPriority> => fc.constantFrom("live", "heal", "bulk");

const which = (): fc.Arbitrary<number> => fc.nat(7);

const ownStep = (): fc.Arbitrary<Step> =>
  fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({
        kind: fc.constant("take" as const),
        weight: fc.integer({ min: 1, max: 30 }),
        priority: priority(),
      }),
    },
    {
      weight: 3,
      arbitrary: fc.record({ kind: fc.constant("process" as const), which: which() }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constant("answer" as const),
        which: which(),
        isLost: fc.boolean(),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        kind: fc.constant("wait" as const),
        ms: fc.oneof(fc.nat(5_000), fc.nat(70_000)),
      }),
    },
  );

const foreignStep = (): fc.Arbitrary<Step> =>
  fc.record({ kind: fc.constant("foreign" as const), weight: fc.integer({ min: 1, max: 30 }) });

interface Request {
  readonly weight: number;
  /** Minute and count at which the exchange took it up. */
  taken: { readonly minute: number; readonly count: number } | undefined;
}

/** The exchange: counts what it takes up in its own minute, and says the count of that moment in each answer. */
class Exchange {
  now = START;
  requests: Request[] = [];
  /** Highest count of the present minute that reached us. */
  seen = { minute: 0, count: 0 };
  readonly #counts = new Map<number, number>();

  get minute(): number {
    return Math.floor(this.now / MINUTE_MS);
  }

  get count(): number {
    return this.#counts.get(this.minute) ?? 0;
  }

  spend(weight: number): void {
    this.#counts.set(this.minute, this.count + weight);
  }

  process(index: number): void {
    const waiting = this.requests.filter((request) => request.taken === undefined);
    const request = waiting[index % Math.max(1, waiting.length)];
    if (request === undefined) return;
    this.spend(request.weight);
    request.taken = { minute: this.minute, count: this.count };
  }

  answer(index: number, isLost: boolean, budget: WeightBudget): void {
    const request = this.requests[index % Math.max(1, this.requests.length)];
    if (request === undefined) return;
    this.requests = this.requests.filter((other) => other !== request);
    const { weight, taken } = request;
    if (taken === undefined || isLost) {
      budget.settle(weight, this.now);
      return;
    }
    if (
      taken.minute === this.minute &&
      (taken.minute > this.seen.minute || taken.count > this.seen.count)
    ) {
      this.seen = taken;
    }
    budget.settle(weight, this.now, taken.count);
  }
}

/** Plays a scenario. @param allowed is told of each request that the budget lets go */
function play(
  steps: readonly Step[],
  allowed: (exchange: Exchange, request: Request, share: number) => void,
): { readonly exchange: Exchange; readonly budget: WeightBudget } {
  const exchange = new Exchange();
  const budget = new WeightBudget(LIMIT);
  for (const step of steps) {
    if (step.kind === "wait") exchange.now += step.ms;
    else if (step.kind === "foreign") exchange.spend(step.weight);
    else if (step.kind === "process") exchange.process(step.which);
    else if (step.kind === "answer") exchange.answer(step.which, step.isLost, budget);
    else {
      const waitMs = budget.take(step.weight, step.priority, exchange.now);
      assert.ok(Number.isSafeInteger(waitMs) && waitMs >= 0 && waitMs <= MINUTE_MS);
      if (waitMs > 0) continue;
      const request = { weight: step.weight, taken: undefined };
      exchange.requests.push(request);
      allowed(exchange, request, SHARES[step.priority]);
    }
  }
  return { exchange, budget };
}

const RUNS = { numRuns: 2_000 };

test("in no minute of the exchange is more spent than the share, whatever overtakes or is lost", () => {
  fc.assert(
    fc.property(fc.array(ownStep(), { maxLength: 60, size: "max" }), (steps) => {
      play(steps, (exchange, _request, share) => {
        // The worst that can still happen in this minute: all that is under way is counted in it.
        const underWay = exchange.requests.filter((each) => each.taken === undefined);
        const worst = underWay.reduce((sum, { weight }) => sum + weight, exchange.count);
        assert.ok(worst <= share, `${worst} of ${share}`);
      });
    }),
    RUNS,
  );
});

test("what other programs spend counts as soon as a header has told it", () => {
  const step = fc.oneof(
    { weight: 5, arbitrary: ownStep() },
    { weight: 1, arbitrary: foreignStep() },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60, size: "max" }), (steps) => {
      play(steps, (exchange, { weight }, share) => {
        const known = exchange.seen.minute === exchange.minute ? exchange.seen.count : 0;
        assert.ok(known + weight <= share);
      });
    }),
    RUNS,
  );
});

test("once everything is answered, the next minute is free again", () => {
  fc.assert(
    fc.property(fc.array(ownStep(), { maxLength: 60, size: "max" }), (steps) => {
      const { exchange, budget } = play(steps, () => {});
      while (exchange.requests.length > 0) exchange.answer(0, true, budget);
      exchange.now += MINUTE_MS;
      assert.equal(budget.usedAt(exchange.now), 0);
      assert.equal(budget.take(60, "bulk", exchange.now), 0);
    }),
    RUNS,
  );
});

test("a refusal says when the exchange's minute turns, and then there is leave", () => {
  const budget = new WeightBudget(LIMIT);
  const now = START + 12_345;
  assert.equal(budget.take(60, "bulk", now), 0);
  budget.settle(60, now, 60);
  const waitMs = budget.take(1, "bulk", now);
  assert.equal(now + waitMs, START + MINUTE_MS);
  assert.equal(budget.take(1, "bulk", now + waitMs - 1), 1);
  assert.equal(budget.take(1, "bulk", now + waitMs), 0);
});

test("bulk leaves room for healing, and healing for live candles", () => {
  const budget = new WeightBudget(6_000);
  assert.equal(budget.take(3_600, "bulk", START), 0);
  assert.ok(budget.take(1, "bulk", START) > 0);
  assert.equal(budget.take(900, "heal", START), 0);
  assert.ok(budget.take(1, "heal", START) > 0);
  assert.equal(budget.take(900, "live", START), 0);
  assert.ok(budget.take(1, "live", START) > 0);
  assert.equal(budget.usedAt(START), 5_400);
});

test("a request that ended without a header is not forgotten when an older header comes in", () => {
  const budget = new WeightBudget(LIMIT);
  for (let sent = 0; sent < 6; sent++) assert.equal(budget.take(10, "bulk", START), 0);
  // The exchange took up the first one first; the others timed out on our side, then its answer came.
  for (let lost = 0; lost < 5; lost++) budget.settle(10, START + 1_000);
  budget.settle(10, START + 1_001, 10);
  assert.equal(budget.usedAt(START + 1_001), 60);
  assert.ok(budget.take(1, "bulk", START + 1_001) > 0);
});

test("an estimate of the exchange's time that steps back over the minute's edge forgets nothing", () => {
  const budget = new WeightBudget(LIMIT);
  const edge = START + MINUTE_MS;
  assert.equal(budget.take(60, "bulk", edge + 10), 0);
  budget.settle(60, edge + 10, 60);
  assert.equal(budget.usedAt(edge - 5), 60);
  assert.ok(budget.take(1, "bulk", edge - 5) > 0);
  assert.ok(budget.take(1, "bulk", edge + 20) > 0, "still the minute in which it was spent");
  assert.equal(budget.take(1, "bulk", edge + MINUTE_MS), 0);
});

test("a clock that was set far back does not stop the budget for as long", () => {
  const budget = new WeightBudget(LIMIT);
  const wrong = START + 24 * 60 * MINUTE_MS;
  assert.equal(budget.take(60, "bulk", wrong), 0);
  budget.settle(60, wrong, 60);
  assert.ok(budget.take(60, "bulk", START) > 0);
  assert.equal(budget.take(60, "bulk", START + MINUTE_MS), 0);
});

test("during a hold nothing goes, whatever the priority; the longest hold counts", () => {
  const hold = fc.tuple(fc.nat(10_000), fc.nat(100_000));
  fc.assert(
    fc.property(fc.array(hold, { maxLength: 6 }), fc.nat(120_000), priority(), (holds, at, who) => {
      const budget = new WeightBudget(LIMIT);
      for (const [, until] of holds) budget.hold(START + until);
      const end = Math.max(0, ...holds.map(([, until]) => START + until));
      assert.equal(budget.heldUntil, end);
      assert.equal(budget.take(1, who, START + at), Math.max(0, end - (START + at)));
      assert.equal(budget.usedAt(START + at), START + at < end ? 0 : 1);
    }),
  );
});

test("a hold until no instant at all is none, and leaves the one in force alone", () => {
  for (const nonsense of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
    const budget = new WeightBudget(LIMIT);
    budget.hold(nonsense);
    assert.equal(budget.heldUntil, 0);
    assert.equal(budget.take(1, "live", START), 0);
    budget.hold(START + 5_000);
    budget.hold(nonsense);
    assert.equal(budget.heldUntil, START + 5_000);
    assert.equal(budget.take(1, "live", START + 4_999), 1);
    assert.equal(budget.take(1, "live", START + 5_000), 0);
  }
});

test("a limit that the exchange says replaces the first one, what is spent stays spent", () => {
  const budget = new WeightBudget(LIMIT);
  assert.equal(budget.take(60, "bulk", START), 0);
  budget.setLimit(200);
  assert.equal(budget.take(60, "bulk", START), 0);
  assert.ok(budget.take(1, "bulk", START) > 0);
  budget.setLimit(50);
  assert.ok(budget.take(1, "live", START) > 0);
});

test("the first request after a hold counts like any other", () => {
  const budget = new WeightBudget(LIMIT);
  budget.hold(START + 5_000);
  assert.equal(budget.take(7, "live", START + 4_999), 1);
  assert.equal(budget.take(7, "live", START + 5_000), 0);
  assert.equal(budget.usedAt(START + 5_000), 7);
});

test("Retry-After is obeyed within 1 s … 3 days, and what says nothing usable means a minute", () => {
  const threeDays = 3 * 24 * 3_600_000;
  const expected: readonly (readonly [string | null, number])[] = [
    [null, 60_000],
    ["", 60_000],
    ["   ", 60_000],
    ["0", 1_000],
    ["1", 1_000],
    ["7", 7_000],
    [" 7 ", 7_000],
    ["0120", 120_000],
    ["259200", threeDays],
    ["259201", threeDays],
    ["999999999", threeDays],
    ["1795366119820", threeDays],
    ["9".repeat(400), threeDays],
    ["-1", 60_000],
    ["-5", 60_000],
    ["1.5", 60_000],
    ["1e3", 60_000],
    ["0x10", 60_000],
    ["Infinity", 60_000],
    ["NaN", 60_000],
    ["seven", 60_000],
    ["Wed, 21 Oct 2026 07:28:00 GMT", 60_000],
  ];
  for (const [header, ms] of expected) assert.equal(retryAfterMs(header), ms, String(header));
  assert.equal(retryAfterMs(null, 600_000), 600_000, "the wait of a firewall's 403");
  assert.equal(retryAfterMs(null, 5), 1_000);
});

test("no header makes the wait shorter than 1 s or longer than 3 days", () => {
  fc.assert(
    fc.property(
      fc.option(fc.oneof(fc.string(), fc.integer().map(String), fc.bigInt().map(String))),
      (header) => {
        const ms = retryAfterMs(header);
        assert.ok(Number.isSafeInteger(ms) && ms >= 1_000 && ms <= 3 * 24 * 3_600_000);
      },
    ),
    { numRuns: 1_000 },
  );
});

test("a hold that was sat out is over, whatever a better clock says of its end; a new one holds", () => {
  const budget = new WeightBudget(6_000);
  budget.hold(5_000_000);
  budget.endHold(4_999_999);
  assert.equal(budget.take(1, "live", 1_000_000), 4_000_000, "another one was sat out");
  budget.endHold(5_000_000);
  budget.hold(5_000_000);
  assert.equal(budget.take(1, "live", 1_000_000), 0, "told once more by the ledger of holds");
  budget.hold(1_060_000);
  assert.equal(budget.take(1, "live", 1_000_000), 60_000);
});
