import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { nearest } from "./nearest.ts";

const NAMES = ["DATABASE_URL", "INGESTION_MODE", "TRADING_PAIRS", "TIMEFRAMES", "HTTP_PORT"];

test("nearest finds what a slip of the hand meant", () => {
  const cases = [
    ["TRADING_PAIR", "TRADING_PAIRS"],
    ["TRADNIG_PAIRS", "TRADING_PAIRS"],
    ["database_url", "DATABASE_URL"],
    ["TIMEFRAME", "TIMEFRAMES"],
    ["HTTPPORT", "HTTP_PORT"],
  ] as const;
  for (const [word, expected] of cases) assert.equal(nearest(word, NAMES), expected);
});

test("nearest has no hint for a word that resembles nothing", () => {
  assert.equal(nearest("LOG_FORMAT", NAMES), undefined);
  assert.equal(nearest("", NAMES), undefined);
  assert.equal(nearest("3d", ["1m"]), undefined);
  assert.equal(nearest("x", []), undefined);
});

test("nearest takes the first of equally near candidates, and a nearer one over both", () => {
  assert.equal(nearest("BTCUSD", ["BTCUSDC", "BTCUSDT"]), "BTCUSDC");
  assert.equal(nearest("DODGEUSDT", ["DOTUSDT", "DOGEUSDT"]), "DOGEUSDT");
});

test("nearest of a candidate is that candidate, however long the list", () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.stringMatching(/^[a-z]{1,12}$/), { minLength: 1 }), (names) => {
      for (const name of names) assert.equal(nearest(name, names), name);
    }),
  );
});

test("nearest stays quick for a hostile word", () => {
  const began = performance.now();
  assert.equal(nearest("A".repeat(1_000_000), NAMES), undefined);
  assert.ok(performance.now() - began < 200);
});
