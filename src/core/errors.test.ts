import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import fc from "fast-check";
import { BlackTradeError, ERRORS, type ErrorCode, messageOf, SourceHoldError } from "./errors.ts";

const CODES = Object.keys(ERRORS) as ErrorCode[];

const page = readFileSync(new URL("../../docs/reference/errors.md", import.meta.url), "utf8");

/** The table of the page, one line a code. */
const lines = page
  .split("\n")
  .filter((line) => line.startsWith("| `"))
  .map((line) =>
    line
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );

test("the reference page lists exactly the codes of the program, each once, in its order", () => {
  assert.deepEqual(
    lines.map(([code]) => code),
    CODES.map((code) => `\`${code}\``),
  );
});

for (const code of CODES) {
  test(`${code} is explained as the program has it`, () => {
    const line = lines.find(([first]) => first === `\`${code}\``);
    assert.ok(line, "not on docs/reference/errors.md");
    const [, title, meaning = "", remedy = "", exit, ...more] = line;
    assert.deepEqual(more, []);
    assert.equal(title, ERRORS[code].title);
    assert.equal(exit, String(ERRORS[code].exit));
    assert.match(meaning, /\.$/);
    assert.match(remedy, /\.$/);
  });
}

test("codes and titles tell every error apart, and exits are those of the commands", () => {
  const titles = CODES.map((code) => ERRORS[code].title);
  assert.equal(new Set(titles).size, CODES.length);
  for (const code of CODES) {
    assert.match(code, /^E_[A-Z]+(?:_[A-Z]+)*$/);
    assert.ok([1, 2, 3, 4].includes(ERRORS[code].exit), code);
    assert.doesNotMatch(ERRORS[code].title, /\.$|\n/);
  }
});

test("what can pass by itself is never a fault of use or configuration", () => {
  for (const code of CODES) {
    if (ERRORS[code].retryable) assert.equal(ERRORS[code].exit, 4, code);
  }
});

test("what goes away by itself: a busy server, a database that is down or busy, and an exchange, but for wrong requests", () => {
  const retryable = CODES.filter((code) => ERRORS[code].retryable);
  const expected = CODES.filter(
    (code) =>
      ["E_HTTP_BUSY", "E_HTTP_NOT_READY", "E_DB_UNREACHABLE", "E_DB_FAILED"].includes(code) ||
      (code.startsWith("E_SOURCE_") && !["E_SOURCE_REFUSED", "E_SOURCE_SYMBOL"].includes(code)),
  );
  assert.deepEqual(retryable, expected);
});

test("an error carries its code, exit, remedy, cause and facts", () => {
  fc.assert(
    fc.property(fc.constantFrom(...CODES), fc.string(), fc.string(), (code, message, remedy) => {
      const cause = new Error("below");
      const error = new BlackTradeError(code, message, { remedy, cause, details: { port: 1 } });
      assert.ok(error instanceof Error);
      assert.equal(error.code, code);
      assert.equal(error.message, message);
      assert.equal(error.remedy, remedy);
      assert.equal(error.cause, cause);
      assert.deepEqual(error.details, { port: 1 });
      assert.equal(error.exit, ERRORS[code].exit);
      assert.equal(error.retryable, ERRORS[code].retryable);
    }),
  );
});

test("an error without a cause has none, and one without facts has no facts", () => {
  const error = new BlackTradeError("E_USAGE", "no such option", { remedy: "see --help" });
  assert.ok(!("cause" in error));
  assert.deepEqual(error.details, {});
  assert.equal(error.name, "BlackTradeError");
});

test("a hold says until when", () => {
  const error = new SourceHoldError("E_SOURCE_BANNED", "banned", 1_783_900_800_000, {
    remedy: "wait",
  });
  assert.ok(error instanceof BlackTradeError);
  assert.equal(error.untilTime, 1_783_900_800_000);
  assert.equal(error.name, "SourceHoldError");
  assert.ok(error.retryable);
});

test("anything that was thrown has a message", () => {
  assert.equal(messageOf(new Error("what")), "what");
  assert.equal(messageOf("text"), "text");
  assert.equal(messageOf(undefined), "undefined");
  assert.equal(messageOf({ toString: () => "shown" }), "shown");
});

test("an error without a message of its own is told by its parts, or by its name", () => {
  const refused = ["connect ECONNREFUSED ::1:5432", "connect ECONNREFUSED 127.0.0.1:5432"];
  const aggregate = new AggregateError(refused.map((message) => new Error(message)));
  assert.equal(messageOf(aggregate), refused.join("; "));
  assert.equal(messageOf(new AggregateError([])), "AggregateError");
  assert.equal(messageOf(new TypeError()), "TypeError");
});

test("asking for the message of a thrown value never throws itself", () => {
  fc.assert(
    fc.property(fc.anything({ withNullPrototype: true }), (thrown) => {
      assert.equal(typeof messageOf(thrown), "string");
    }),
    { numRuns: 500 },
  );
  assert.equal(typeof messageOf(Object.create(null)), "string");
});
