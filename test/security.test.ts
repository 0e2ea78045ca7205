import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { globSync, readFileSync } from "node:fs";
import { mkdtemp, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { promisify } from "node:util";
import { openZip } from "../src/cli/import-csv.ts";
import { printable } from "../src/cli/output.ts";
import { parseTime } from "../src/cli/time-argument.ts";
import { loadConfig } from "../src/config.ts";
import { isDecimal } from "../src/core/decimal.ts";
import { openBytes } from "../src/csv/bytes.ts";
import { cellsOf } from "../src/csv/cells.ts";
import { readTime } from "../src/csv/times.ts";
import {
  decodeCandleRows,
  decodeExchangeInfo,
  decodeFrame,
} from "../src/exchanges/binance/codec.ts";
import { maskPasswords, startEmbedded } from "../src/store/index.ts";
import { parseControl } from "../src/wire/stream-control.ts";
import { isBelow, shippedBelow } from "./security/floors.ts";
import { runProgram } from "./support/program.ts";

const ROOT = join(import.meta.dirname, "..");

describe("docs/SECURITY.md", () => {
  const rows = readFileSync(join(ROOT, "docs/SECURITY.md"), "utf8")
    .split("\n")
    .filter((line) => /^\| S\d+ \|/.test(line))
    .map((line) => line.split("|").map((cell) => cell.trim()));

  test("has every row, with a control and a test, or why it does not apply", () => {
    const numbers = rows.map(([, number]) => number);
    assert.deepEqual(
      numbers,
      Array.from({ length: 28 }, (_, index) => `S${index + 1}`),
    );
    for (const [, number, , control, tests] of rows) {
      assert.ok(tests !== "" || /^does not apply: \S/.test(control ?? ""), number);
    }
  });

  test("names tests that exist", () => {
    let count = 0;
    for (const [, number, , , tests = ""] of rows) {
      for (const one of tests.split(/; (?=`)/).filter((part) => part !== "")) {
        const [, file = "", name = ""] = /^`([^`]+)`: (.+)$/.exec(one) ?? [];
        const text = readFileSync(join(ROOT, file), "utf8");
        // A name may hold a value in its place, and stand on a line of its own.
        const pattern = name.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
        const isThere = new RegExp(`["\`](?:\\$\\{\\w+\\}: |[A-Z]\\d+ )?${pattern}["\`]`).test(
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
    assert.deepEqual(shippedBelow(ROOT, { ws: { floor: "99.0.0", why: "a test" } }).length, 1);
    assert.deepEqual(shippedBelow(ROOT, { ws: { floor: null, why: "a test" } }).length, 1);
    for (const [version, floor] of [
      ["8.21.0", "8.21.1"],
      ["8.9.9", "8.21.1"],
      ["7.99.99", "8.0.0"],
      ["9.0.0-beta.1", "9.0.0"],
    ] as const) {
      assert.ok(isBelow(version, floor), version);
    }
    assert.ok(!isBelow("8.21.1", "8.21.1") && !isBelow("10.0.0", "9.9.9"));
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
    for (const piece of pieces) {
      const text = `${piece.repeat(2 ** 20 / piece.length)}!`;
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
      assert.ok(took < 250, `${name} of ${JSON.stringify(piece)}: ${took.toFixed(0)} ms`);
    }
  }
});

describe("files", { skip: process.platform === "win32" ? "no POSIX modes" : false }, () => {
  test("what the program writes under DATA_DIR is for its user only", async () => {
    const parent = await mkdtemp(join(tmpdir(), "bt-modes-"));
    const { chmod } = await import("node:fs/promises");
    await chmod(parent, 0o755);
    const dataDir = join(parent, "data");
    const server = await startEmbedded({ dataDir });
    try {
      const modeOf = async (path: string): Promise<number> => (await stat(path)).mode & 0o777;
      const open: string[] = [];
      for (const path of globSync("**/*", { cwd: dataDir })) {
        const full = join(dataDir, path);
        const inPrivate = path.split("/").length > 1;
        if (!inPrivate && ((await modeOf(full)) & 0o077) !== 0) open.push(path);
      }
      const secrets = globSync("**/*password*", { cwd: dataDir });
      for (const path of secrets)
        assert.equal((await modeOf(join(dataDir, path))) & 0o077, 0, path);
      assert.deepEqual(
        open.filter((path) => /^pg\d+$|password|lock/.test(path)),
        [],
      );
    } finally {
      await server.release();
      await rm(parent, { recursive: true, force: true });
    }
  });

  test("a link or a FIFO that takes a file's place is not read", async () => {
    const folder = await mkdtemp(join(tmpdir(), "bt-link-"));
    const { signal } = new AbortController();
    try {
      const path = join(folder, "BTCUSDT_1m.csv");
      await writeFile(join(folder, "target"), "secret");
      await symlink(join(folder, "target"), path);
      await assert.rejects(openBytes(path, openZip, signal), /cannot be opened .*ELOOP/);
      await rm(path);
      await promisify(execFile)("mkfifo", [path]);
      await assert.rejects(openBytes(path, openZip, signal), /not a regular file/);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});

test("packed twice it is the same, byte for byte", { timeout: 180_000 }, async () => {
  const folder = await mkdtemp(join(tmpdir(), "bt-pack-"));
  try {
    const hashes: string[] = [];
    for (const name of ["a", "b"]) {
      const target = join(folder, name);
      await promisify(execFile)("mkdir", [target]);
      const { stdout } = await promisify(execFile)(
        "npm",
        ["pack", "--json", "--ignore-scripts", "--pack-destination", target],
        { cwd: ROOT },
      );
      const [packed] = JSON.parse(stdout) as [{ filename: string; integrity: string }];
      const bytes = await readFile(join(target, packed.filename));
      hashes.push(`${packed.integrity} ${bytes.length}`);
    }
    assert.equal(hashes[0], hashes[1]);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
