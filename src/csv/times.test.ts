import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { parseZone, readTime } from "./times.ts";

const HOUR = 3_600_000;
const NOON = Date.UTC(2021, 3, 18, 12);

test("times of every unit name the same instant", () => {
  const cells: readonly (readonly [string, string])[] = [
    [String(NOON), "ms"],
    [`${NOON}.0`, "ms"],
    [String(NOON / 1_000), "s"],
    [`${NOON / 1_000}.0`, "s"],
    [`${NOON}000`, "us"],
    [`${NOON}000000`, "ns"],
    ["1.618747200e9", "s"],
    ["2021-04-18T12:00:00Z", "text"],
    ["2021-04-18 12:00:00 UTC", "text"],
    ["2021-04-18T21:00:00+09:00", "text"],
    ["2021-04-18T09:00:00.000-0300", "text"],
    ["2021-04-18 12:00", "text"],
    ["2021-04-18 12-PM", "text"],
    [String(44_304.5), "excel"],
  ];
  for (const [cell, unit] of cells) {
    const read = readTime(cell);
    assert.deepEqual([read?.time, read?.unit], [NOON, unit], cell);
  }
});

test("text without a zone is told, and moved by the zone that is given", () => {
  assert.equal(readTime("2021-04-18")?.isZoneless, true);
  assert.equal(readTime("2021-04-18T00:00Z")?.isZoneless, false);
  assert.equal(readTime("2021-04-18 12:00", 9 * HOUR)?.time, NOON - 9 * HOUR);
  assert.equal(readTime("2021-04-18T12:00Z", 9 * HOUR)?.time, NOON);
  assert.equal(parseZone("+09:00"), 9 * HOUR);
  assert.equal(parseZone("-0330"), -3.5 * HOUR);
  assert.equal(parseZone("UTC"), 0);
  assert.equal(parseZone("Europe/Berlin"), undefined);
});

test("what is no time is none", () => {
  const cells = [
    ...["", "abc", "2021-02-30", "2021-13-01", "2021-04-18 25:00", "18/04/2021", "04-18-2021"],
    ...["-1618747200000", "12345", "NaN", "1e300", "2021-04-18T12:00:00+9"],
  ];
  for (const cell of cells) assert.equal(readTime(cell), undefined, cell);
});

test("any text is read or refused, quickly and without an exception", () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.stringMatching(/^[\d:TZ. +-]{0,30}$/)), (cell) => {
      const read = readTime(cell);
      assert.ok(read === undefined || Number.isFinite(read.time));
    }),
  );
});
