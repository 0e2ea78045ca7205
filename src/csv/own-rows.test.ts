import assert from "node:assert/strict";
import { type FileHandle, mkdtemp, open, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import type { Candle } from "../core/candle.ts";
import { formatOwnRow, OWN_LAYOUT_HEADER, ownRowOpenTime } from "./own-layout.ts";
import {
  MAX_LINE,
  type MergedRow,
  mergeRows,
  offsetOf,
  readHeading,
  readLines,
} from "./own-rows.ts";

const HEADER_END = OWN_LAYOUT_HEADER.length + 1;

async function withFile<T>(text: string, run: (handle: FileHandle) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), "bt-rows-"));
  const path = join(folder, "rows.csv");
  await writeFile(path, text, "latin1");
  const handle = await open(path);
  try {
    return await run(handle);
  } finally {
    await handle.close();
    await rm(folder, { recursive: true });
  }
}

async function all<T>(batches: AsyncIterable<readonly T[]>): Promise<T[]> {
  const items: T[] = [];
  for await (const batch of batches) items.push(...batch);
  return items;
}

async function* pagesOf<T>(items: readonly T[], size: number): AsyncGenerator<readonly T[]> {
  for (let at = 0; at < items.length; at += size) yield items.slice(at, at + size);
}

const candleAt = (openTime: number, close = "2.0"): Candle => ({
  openTime,
  closeTime: openTime + 59_999,
  ...{ open: "1", high: "4", low: "0.5", close, volume: "10", quoteVolume: "20" },
  tradeCount: 3,
  ...{ takerBuyVolume: "5", takerBuyQuoteVolume: "10.25" },
});

const bytes = (): fc.Arbitrary<string> =>
  fc
    .array(fc.oneof(fc.constantFrom("\n", "\n", "\r", ",", "1", "\0", "\u00ff"), fc.string()), {
      maxLength: 60,
    })
    .map((parts) => Buffer.from(parts.join(""), "utf8").toString("latin1"));

test("lines are the bytes of the file, whole and in order, from any byte to any byte", async () => {
  await fc.assert(
    fc.asyncProperty(bytes(), fc.nat(80), fc.nat(80), async (text, a, b) => {
      const [from, to] = [Math.min(a, b), Math.max(a, b)];
      const lines = await withFile(text, (handle) => all(readLines(handle, from, to)));
      const part = text.slice(from, to);
      assert.equal(lines.map((line) => line.text + (line.isEnded ? "\n" : "")).join(""), part);
      for (const { offset, end, text: line, isEnded } of lines) {
        assert.equal(text.slice(offset, end), isEnded ? `${line}\n` : line);
        assert.ok(!line.includes("\n"));
      }
    }),
    { numRuns: 60 },
  );
});

test("a line of many megabytes takes no memory, and what follows it is found", async () => {
  const long = "9".repeat(3_000_000);
  const lines = await withFile(`a\n${long}\nb\n`, (handle) => all(readLines(handle)));
  assert.deepEqual(
    lines.map(({ text }) => text.length),
    [1, MAX_LINE, 1],
  );
  assert.equal(lines[2]?.offset, 2 + long.length + 1);
});

test("halving finds the same row as reading from the first one", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(fc.integer({ min: 1, max: 3_000 }), { maxLength: 400 }),
      fc.nat(3_001),
      async (minutes, wanted) => {
        const rows = minutes.sort((x, y) => x - y).map((minute) => candleAt(minute * 60_000));
        const text = `${[OWN_LAYOUT_HEADER, ...rows.map(formatOwnRow)].join("\n")}\n`;
        const openTime = wanted * 60_000;
        await withFile(text, async (handle) => {
          const lines = (await all(readLines(handle))).slice(1);
          const expected = lines.find((line) => (ownRowOpenTime(line.text) ?? 0) >= openTime);
          assert.equal(
            await offsetOf(handle, HEADER_END, text.length, openTime),
            expected?.offset ?? text.length,
          );
        });
      },
    ),
    { numRuns: 60 },
  );
});

test("a heading is told from its beginning, its respelling, and any other", async () => {
  const kinds: [string, string][] = [
    [`${OWN_LAYOUT_HEADER}\n1,2\n`, "own"],
    ["", "torn"],
    [OWN_LAYOUT_HEADER.slice(0, 20), "torn"],
    [OWN_LAYOUT_HEADER, "torn"],
    [`${OWN_LAYOUT_HEADER}\r\n`, "respelt"],
    [`\u00ef\u00bb\u00bf${OWN_LAYOUT_HEADER}\n`, "respelt"],
    ["timestamp,open\n", "foreign"],
    ["\n", "foreign"],
    ["1760868000000,1,2,3\n", "foreign"],
  ];
  for (const [text, kind] of kinds)
    assert.equal((await withFile(text, readHeading)).kind, kind, JSON.stringify(text));
});

/** What a merged row says, in short. */
const short = (row: MergedRow): string =>
  `${row.kind}${"candle" in row ? ` ${row.candle.openTime}` : ""}`;

test("every candle of the database and every line of the file comes once, in order, for any pages", async () => {
  const times = fc.uniqueArray(fc.integer({ min: 1, max: 30 }), { maxLength: 15 });
  await fc.assert(
    fc.asyncProperty(times, times, fc.integer({ min: 1, max: 5 }), async (a, b, size) => {
      const stored = a.sort((x, y) => x - y).map((time) => candleAt(time));
      const filed = b.sort((x, y) => x - y).map((time) => candleAt(time));
      const text = filed.map((one) => `${formatOwnRow(one)}\n`).join("");
      const merged = await withFile(text, (handle) =>
        all(mergeRows(readLines(handle), pagesOf(stored, size))),
      );
      const expected = [...new Set([...a, ...b])]
        .sort((x, y) => x - y)
        .map((time) => {
          if (!b.includes(time)) return `onlyDatabase ${time}`;
          return a.includes(time) ? `equal ${time}` : "onlyFile";
        });
      assert.deepEqual(merged.map(short), expected);
    }),
    { numRuns: 60 },
  );
});

test("what is in a line is told apart: equal, other digits, other values, no row, out of order, cut off", async () => {
  const rows = [1, 2, 3, 4].map((time) => candleAt(time));
  const [one = "", two = "", three = "", four = ""] = rows.map(formatOwnRow);
  const text = [
    one,
    two.replace("2.0,", "2.00,"),
    one,
    "no row",
    "",
    three.replace("2.0,", "2.1,"),
    four.slice(0, 30),
  ].join("\n");
  const merged = await withFile(text, (handle) =>
    all(mergeRows(readLines(handle), pagesOf(rows, 9))),
  );
  assert.deepEqual(merged.map(short), [
    "equal 1",
    "respelt 2",
    "bad",
    "bad",
    "bad",
    "unequal 3",
    "torn",
    "onlyDatabase 4",
  ]);
});
