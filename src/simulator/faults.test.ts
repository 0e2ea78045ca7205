import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { FAULT_KINDS, parseFault } from "./fault-json.ts";
import { concerns, type Fault, type FaultChange, Faults } from "./faults.ts";

function board(): { faults: Faults; pass: (ms: number) => void; changes: FaultChange[] } {
  let now = 1_000;
  const faults = new Faults(() => now);
  const changes: FaultChange[] = [];
  faults.onChange((change) => changes.push(change));
  return {
    faults,
    pass: (ms) => {
      now += ms;
    },
    changes,
  };
}

describe("the switchboard", () => {
  test("a fault lasts until it is cleared, by id, by kind or with all others", () => {
    const { faults } = board();
    const id = faults.set({ kind: "restLag", ms: 500 });
    faults.set({ kind: "noPings" });
    faults.set({ kind: "halfOpen" });
    assert.equal(faults.find("restLag")?.ms, 500);
    faults.clear(id);
    assert.equal(faults.find("restLag"), undefined);
    faults.clear("noPings");
    assert.deepEqual(
      faults.active().map(({ fault }) => fault.kind),
      ["halfOpen"],
    );
    faults.clear();
    assert.deepEqual(faults.active(), []);
  });

  test("ends after its time, at its time", () => {
    const { faults, pass, changes } = board();
    faults.set({ kind: "outage", forMs: 100 });
    pass(99);
    assert.ok(faults.find("outage"));
    pass(50);
    assert.equal(faults.find("outage"), undefined);
    const end = changes.at(-1);
    assert.equal(end?.kind === "ended" && end.at, 1_100);
  });

  test("ends after its count, and strikes with its chance", () => {
    const { faults } = board();
    faults.set({ kind: "rest", answer: "503", count: 2 });
    const hits = [1, 2, 3].map(() => faults.strike("rest") !== undefined);
    assert.deepEqual(hits, [true, true, false]);
    faults.set({ kind: "missingFinal", probability: 0.3 });
    let struck = 0;
    for (let roll = 0; roll < 1_000; roll++) {
      if (faults.strike("missingFinal") !== undefined) struck++;
    }
    assert.ok(struck > 230 && struck < 370, String(struck));
  });

  test("concerns the streams it names, or all", () => {
    const { faults } = board();
    faults.set({ kind: "silence", streams: ["a@kline_1m"] });
    assert.ok(faults.find("silence", concerns("a@kline_1m")));
    assert.equal(faults.find("silence", concerns("b@kline_1m")), undefined);
  });

  test("an action happens at once and is not kept", () => {
    const { faults, changes } = board();
    faults.set({ kind: "drop", code: 1006 });
    assert.equal(changes[0]?.kind, "action");
    assert.deepEqual(faults.active(), []);
  });
});

describe("faults as JSON", () => {
  test("every kind can be set", () => {
    const examples: Fault[] = [
      { kind: "drop", code: 1001, reason: "bye", sockets: 1 },
      { kind: "cutMidFrame" },
      { kind: "serverShutdown", closeAfterMs: 100, code: 1000 },
      { kind: "refuseUpgrades", status: 503, count: 3 },
      { kind: "halfOpen", forMs: 1_000 },
      { kind: "noPings" },
      { kind: "silentSubscribe" },
      { kind: "silence", streams: ["btcusdt@kline_1m"] },
      { kind: "missingFinal", probability: 0.5 },
      { kind: "lateFinal", ms: 5_000 },
      { kind: "duplicateFinal" },
      { kind: "staleForming" },
      { kind: "reorder" },
      { kind: "rest", answer: "429", path: "klines", retryAfter: null },
      { kind: "restDelay", ms: 10 },
      { kind: "restLag", ms: 10 },
      { kind: "ban", ms: 10 },
      { kind: "archive", answer: "503", path: ".CHECKSUM", retryAfter: 1 },
      { kind: "archiveMismatch", path: "/daily/", count: 1 },
      { kind: "archiveDirt", dirt: "missingDay", day: "2025-01-31" },
      { kind: "clockSkew", ms: -10 },
      { kind: "symbolStatus", symbol: "BTCUSDT", status: "CANCEL_ONLY" },
      { kind: "delist", symbol: "BTCUSDT" },
      { kind: "outage", symbols: ["BTCUSDT"] },
      { kind: "corrections", share: 0.1, delayMs: 1_000 },
    ];
    assert.deepEqual(examples.map(({ kind }) => kind).sort(), [...FAULT_KINDS].sort());
    for (const fault of examples) assert.deepEqual(parseFault(JSON.stringify(fault)), fault);
  });

  test("what is wrong is said", () => {
    assert.equal(parseFault("{"), "the body is not JSON");
    assert.match(String(parseFault('{"kind":"nope"}')), /^kind must be one of drop, /);
    assert.equal(parseFault('{"kind":"drop"}'), "drop: bad code");
    assert.equal(parseFault('{"kind":"halfOpen","forMs":"1"}'), "halfOpen: bad forMs");
    assert.equal(parseFault('{"kind":"archiveDirt","dirt":"mud"}'), "archiveDirt: bad dirt");
    assert.equal(parseFault('{"kind":"halfOpen","ms":1}'), "halfOpen: unknown field ms");
  });
});
