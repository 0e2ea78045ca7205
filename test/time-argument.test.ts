import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { parseTime } from "../src/cli/time-argument.ts";

const NOW = Date.UTC(2026, 1, 1);
const isUsage = { code: "E_USAGE" };

test("a day that the calendar has not is no other day", () => {
  for (const text of [
    ...["2026-02-29", "2026-02-30", "2026-02-31T12:00Z", "2026-04-31", "2025-11-31 00:00"],
    ...[
      "1900-02-29",
      "2100-02-29",
      "2026-02-30T12:00+02:00",
      "2026-13-01",
      "2026-00-10",
      "2026-01-00",
    ],
  ]) {
    assert.throws(() => parseTime("--from", text, NOW), isUsage, text);
  }
  assert.throws(
    () => parseTime("--from", "2026-02-30", NOW),
    /--from: "2026-02-30": there is no such day in the calendar/,
  );
  for (const text of ["2024-02-29", "2000-02-29", "2026-01-31", "2026-12-31"]) {
    assert.equal(parseTime("--from", text, NOW), Date.parse(text), text);
  }
});

test("every day of the calendar is itself, in whatever way it is written", () => {
  fc.assert(
    fc.property(
      fc.date({ min: new Date(0), max: new Date("9999-12-31"), noInvalidDate: true }),
      (date) => {
        const text = date.toISOString();
        assert.equal(parseTime("--to", text, NOW), date.getTime());
        assert.equal(parseTime("--to", text.slice(0, 10), NOW), Date.parse(text.slice(0, 10)));
      },
    ),
  );
});

test("a zone moves the instant, not the day that is written", () => {
  assert.equal(parseTime("--from", "2026-03-01T00:30+02:00", NOW), Date.UTC(2026, 1, 28, 22, 30));
  assert.equal(parseTime("--from", "2026-02-28 23:30-02:00", NOW), Date.UTC(2026, 2, 1, 1, 30));
});

test("relative times, now and epoch ms", () => {
  assert.equal(parseTime("--from", "-7d", NOW), NOW - 7 * 86_400_000);
  assert.equal(parseTime("--from", "now", NOW), NOW);
  assert.equal(parseTime("--from", "1769904000000", NOW), 1_769_904_000_000);
  for (const text of ["", "soon", "7d", "-7y", "2026", "2026-1-1", "12:30", "2026-01-01T25:00Z"]) {
    assert.throws(() => parseTime("--from", text, NOW), isUsage, text);
  }
});
