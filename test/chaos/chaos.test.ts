import assert from "node:assert/strict";
import { test } from "node:test";
import { chaos } from "./chaos.ts";
import { CRASH_POINTS, crashes } from "./crash-points.ts";
import { CHAOS_FAULTS } from "./faults.ts";

/** A part of `npm run chaos`: one fault of each road, and the crash points around a commit. */
const FAULTS = [
  "stream: cut in the middle of a frame",
  "REST: 503",
  "database: answers to COMMIT lost",
  "database: immediate stop",
  "program: kill -9",
];
const POINTS = ["before sql commit", "after sql commit", "after write"];

test("real processes behind faulty roads: every candle once, as it closed", async (t) => {
  const faults = CHAOS_FAULTS.filter(({ name }) => FAULTS.includes(name));
  assert.equal(faults.length, FAULTS.length);
  const report = await chaos(faults, () => undefined);
  t.diagnostic(report.line);
  assert.deepEqual(report.findings, []);
  assert.ok(report.isGood, report.line);
});

test("kill -9 around a commit: the next process goes on without a loss", async (t) => {
  const points = CRASH_POINTS.filter(({ name }) => POINTS.includes(name));
  assert.equal(points.length, POINTS.length);
  const report = await crashes(points, [3], () => undefined);
  t.diagnostic(report.line);
  assert.ok(report.isGood, report.line);
});
