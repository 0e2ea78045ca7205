import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { DEFAULT_LIMITS } from "./limits.ts";
import { RequestBudget } from "./request-budget.ts";
import { RollingWindow } from "./rolling-window.ts";

const MINUTE = 60_000;

describe("the request budget", () => {
  const limits = { ...DEFAULT_LIMITS, weightPerMinute: 10, requestsAfter429: 2 };

  test("counts by wall-clock minute and address", () => {
    const budget = new RequestBudget(limits);
    const at = 5 * MINUTE + 59_000;
    for (let sent = 0; sent < 5; sent++) {
      assert.equal(budget.admit("a", 2, at).kind, "admitted");
    }
    assert.deepEqual(budget.admit("a", 2, at), { kind: "limited", weight: 12, until: 6 * MINUTE });
    assert.deepEqual(budget.admit("b", 2, at), { kind: "admitted", weight: 2 });
    assert.deepEqual(budget.admit("a", 2, 6 * MINUTE), { kind: "admitted", weight: 2 });
  });

  test("bans who goes on after 429, longer each time", () => {
    const budget = new RequestBudget(limits);
    const provoke = (at: number): number => {
      for (;;) {
        const verdict = budget.admit("a", 10, at);
        if (verdict.kind === "banned") return verdict.until - at;
      }
    };
    assert.equal(provoke(0), limits.firstBanMs);
    const inside = budget.admit("a", 1, limits.firstBanMs - 1);
    assert.equal(inside.kind === "banned" && inside.wasTold, true);
    assert.equal(budget.admit("a", 1, limits.firstBanMs).kind, "admitted");
    assert.equal(provoke(limits.firstBanMs), 2 * limits.firstBanMs);
    const short = new RequestBudget({ ...limits, maxBanMs: 1_000, requestsAfter429: 0 });
    const verdict = short.admit("a", 11, 0);
    assert.equal(verdict.kind === "banned" && verdict.until, 1_000);
  });

  test("remembers a bounded number of addresses, the busy ones first", () => {
    const budget = new RequestBudget(limits);
    for (let address = 0; address < 20_000; address++) budget.admit(`${address}`, 2, 1);
    assert.equal(budget.admit("19999", 2, 2).weight, 4);
    assert.equal(budget.admit("0", 2, 2).weight, 2);
    const later = 5 * MINUTE;
    budget.admit("busy", 2, later);
    for (let address = 0; address < 9_999; address++) budget.admit(`new ${address}`, 2, later);
    assert.equal(budget.admit("busy", 2, later).weight, 4);
  });

  test("raw requests have a limit of their own", () => {
    const budget = new RequestBudget({ ...limits, requestsPer5Minutes: 1 });
    assert.equal(budget.admit("a", 1, 1).kind, "admitted");
    assert.deepEqual(budget.admit("a", 1, 1), { kind: "limited", weight: 2, until: 5 * MINUTE });
  });
});

test("a rolling window has no burst at its edge", () => {
  const window = new RollingWindow(1_000);
  assert.deepEqual(
    [0, 900, 999, 1_000, 1_899, 1_900, 5_000].map((time) => window.add(time)),
    [1, 2, 3, 3, 4, 4, 1],
  );
});
