import assert from "node:assert/strict";
import { test } from "node:test";
import { describeTarget, maskPasswords, parseDatabaseUrl, withDatabase } from "./connection-url.ts";

test("a URL is read as the driver reads it", () => {
  const cases: readonly [string, string][] = [
    ["postgresql://u:p@db.example:5433/black_trade", "u@db.example:5433/black_trade"],
    ["postgres://u:p%40%23@db.example/d", "u@db.example:5432/d"],
    ["postgresql://u:p@/d?host=%2Fvar%2Frun&port=6000", "u@/var/run:6000/d"],
    ["postgresql://u@[::1]:5432/d", "u@::1:5432/d"],
  ];
  for (const [url, shown] of cases) assert.equal(describeTarget(parseDatabaseUrl(url)), shown);
});

test("another database of the same server keeps everything else", () => {
  const cases: readonly [string, string][] = [
    ["postgresql://u:p@h:1/a?sslmode=verify-full", "postgresql://u:p@h:1/b?sslmode=verify-full"],
    ["postgresql://u:p@h", "postgresql://u:p@h/b"],
    ["postgresql://u:p@/a?host=%2Fx%2Fy&port=1", "postgresql://u:p@/b?host=%2Fx%2Fy&port=1"],
    ["postgresql://h?user=u", "postgresql://h/b?user=u"],
  ];
  for (const [url, other] of cases) assert.equal(withDatabase(url, "b"), other);
});

test("passwords are masked wherever a URL may hold them", () => {
  const cases: readonly [string, string][] = [
    ["at postgresql://u:s3cret@h/d now", "at postgresql://u:***@h/d now"],
    ["postgresql://:s3cret@h/d", "postgresql://:***@h/d"],
    ["postgresql://u:s3@cr/et@h/d", "postgresql://u:***@h/d"],
    ["postgresql://u@h/d?password=s3cret&x=1", "postgresql://u@h/d?password=***&x=1"],
    ["postgresql://u@h/d?x=1&sslpassword=s3cret", "postgresql://u@h/d?x=1&sslpassword=***"],
    ["host=h password=s3cret", "host=h password=***"],
    ["nothing to hide: a@b", "nothing to hide: a@b"],
  ];
  for (const [text, masked] of cases) assert.equal(maskPasswords(text), masked);
});
