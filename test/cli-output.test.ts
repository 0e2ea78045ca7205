import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { stripVTControlCharacters } from "node:util";
import fc from "fast-check";
import {
  type Cell,
  displayWidth,
  duration,
  latency,
  moment,
  type Output,
  Screen,
  tableLines,
  wrapped,
} from "../src/cli/output.ts";

/** A terminal of some size that keeps what is written to it. */
function terminal(columns: number, rows: number, hasColors = true): Output & { written: string } {
  return {
    isTerminal: true,
    hasColors,
    columns,
    rows,
    written: "",
    result(text) {
      this.written += `${text}\n`;
    },
    note: () => undefined,
  };
}

/** The lines of the last drawing. */
function drawn({ written }: { readonly written: string }): string[] {
  const last = written.split("\u001b[H").at(-1) ?? "";
  return stripVTControlCharacters(last).trimEnd().split("\n");
}

const HEADINGS = ["SERIES", "STATUS", "CLOSE", "WHY"];
const row = (symbol: string, close: string, why = ""): Cell[] => [
  { text: symbol },
  { text: "active", tone: "good" },
  { text: close, isRight: true },
  { text: why },
];

describe("tables", () => {
  test("columns are aligned, whatever the symbols are written in", () => {
    const symbols = ["BTCUSDT", "币安人生USDT", "ｆｕｌｌ", "e\u0301a", "🚀USDT", "한국"];
    const lines = tableLines(
      terminal(120, 40, false),
      HEADINGS,
      symbols.map((symbol) => row(symbol, "1.5", "x")),
    );
    const places = lines.slice(1).map((line) => {
      const before = line.slice(0, line.indexOf("active"));
      return displayWidth(before);
    });
    assert.deepEqual(
      places,
      symbols.map(() => 14),
    );
    const [head = "", ...rest] = lines;
    // A heading stands over the end of its numbers.
    assert.equal(head.indexOf("CLOSE") + 5, 14 + "active  ".length + 5);
    for (const line of rest) assert.match(line, /active {4}1\.5 {2}x$/);
  });

  test("a column of numbers at the end is aligned, too", () => {
    const lines = tableLines(
      terminal(120, 40, false),
      ["A", "COUNT"],
      ["1", "12345678"].map((text) => [{ text: "x" }, { text, isRight: true }]),
    );
    assert.deepEqual(lines, ["A     COUNT", "x         1", "x  12345678"]);
  });

  test("a hostile name moves no cursor and turns no line round", () => {
    const [, line = ""] = tableLines(terminal(80, 24), HEADINGS, [
      row("A\u001b[2J\n\u0007\u202eB\u009b1mC", "1"),
    ]);
    assert.ok(line.startsWith("A?[2J???B?1mC"), JSON.stringify(line));
  });

  test("without colours nothing but text is written", () => {
    const lines = tableLines(terminal(80, 24, false), HEADINGS, [row("X", "1", "because")]);
    assert.ok(!lines.join("").includes("\u001b"));
    assert.ok(
      tableLines(terminal(80, 24), HEADINGS, [row("X", "1")])
        .join("")
        .includes("\u001b[32m"),
    );
  });
});

describe("the screen", () => {
  test("no line is as wide as the terminal, no drawing as high, and the foot is always there", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 5, max: 150 }),
        fc.integer({ min: 2, max: 50 }),
        fc.array(
          fc.string({ unit: fc.constantFrom("a", " ", "币", "🚀", "é", "…"), maxLength: 200 }),
          {
            maxLength: 60,
          },
        ),
        (columns, rows, texts) => {
          const output = terminal(columns, rows);
          const table = tableLines(
            output,
            HEADINGS,
            texts.map((text) => row(text.slice(0, 20), "1.25", text)),
          );
          const screen = new Screen(output);
          screen.draw(table, ["", "Ctrl-C ends it"]);
          const lines = drawn(output);
          screen.close();
          assert.ok(lines.length < rows || lines.length === 1, `${lines.length} of ${rows}`);
          for (const line of lines) assert.ok(displayWidth(line) < columns, line);
          if (columns > 15) assert.equal(lines.at(-1), "Ctrl-C ends it");
        },
      ),
    );
  });

  test("what does not fit is counted", () => {
    const output = terminal(80, 10);
    const screen = new Screen(output);
    screen.draw(
      Array.from({ length: 20 }, (_, index) => `line ${index}`),
      ["foot"],
    );
    screen.close();
    assert.deepEqual(drawn(output).slice(-3), [
      "line 6",
      "… 13 more lines: make the terminal higher",
      "foot",
    ]);
  });

  test("the terminal is given back once", () => {
    const output = terminal(80, 10);
    const before = process.listenerCount("exit");
    const screen = new Screen(output);
    screen.draw(["one"]);
    screen.draw(["two"]);
    screen.close();
    screen.close();
    assert.equal(output.written.split("\u001b[?1049h").length, 2);
    assert.equal(output.written.split("\u001b[?25h\u001b[?1049l").length, 2);
    assert.equal(process.listenerCount("exit"), before);
  });
});

test("long text is broken between words", () => {
  assert.deepEqual(wrapped("the 币安 gap is asked for again", 12, "  "), [
    "the 币安 gap",
    "  is asked",
    "  for again",
  ]);
  assert.deepEqual(wrapped("", 10, "  "), [""]);
  assert.deepEqual(wrapped("unbreakable", 4, ""), ["unbreakable"]);
});

test("times and durations are short and plain", () => {
  assert.deepEqual([84, 999, 1_200, 29_400, 30_733].map(latency), [
    ...["84 ms", "999 ms", "1.2 s", "29 s", "31 s"],
  ]);
  assert.deepEqual([0, 9_960, 61_000, 3_600_000, 86_400_000 * 5].map(duration), [
    ...["0.0 s", "10.0 s", "61 s", "60 min", "5 d"],
  ]);
  const now = Date.UTC(2026, 0, 2, 12);
  assert.equal(moment(now - 3_600_000, now), "11:00:00");
  assert.equal(moment(now - 86_400_000, now), "2026-01-01 12:00");
});
