import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { jsonBlocks } from "./json-blocks.ts";
import { type LineBlock, lineBlocks, MAX_LINE_BYTES } from "./line-blocks.ts";

const START = { offset: 0, line: 1 };

/** A chunk is valid until the next one, as of a file. */
async function* cut(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  const buffer = Buffer.alloc(size);
  for (let at = 0; at < bytes.length; at += size) {
    const length = bytes.copy(buffer, 0, at, at + size);
    yield buffer.subarray(0, length);
    buffer.fill(0x78);
  }
}

async function all(blocks: AsyncIterable<LineBlock>): Promise<[number, string | undefined][]> {
  const lines: [number, string | undefined][] = [];
  for await (const block of blocks) {
    block.lines.forEach((line, index) => {
      lines.push([block.firstLine + index, line ?? block.faults.get(index)]);
    });
  }
  return lines;
}

const numbered = (lines: readonly (string | undefined)[]): [number, string | undefined][] =>
  lines.map((line, index) => [index + 1, line]);

test("lines come out the same however the bytes are cut, with LF and with CR LF", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.stringMatching(/^[a-z,é"]{1,12}$/), { minLength: 1, maxLength: 30 }),
      fc.constantFrom("\n", "\r\n"),
      fc.boolean(),
      fc.boolean(),
      fc.integer({ min: 1, max: 40 }),
      async (lines, lineEnd, hasMark, isEnded, size) => {
        const text = `${hasMark ? "\ufeff" : ""}${lines.join(lineEnd)}${isEnded ? lineEnd : ""}`;
        const found = await all(lineBlocks(cut(Buffer.from(text), size), START));
        assert.deepEqual(found, numbered(lines));
      },
    ),
  );
});

test("files of a few bytes are read", async () => {
  const read = (text: string): Promise<[number, string | undefined][]> =>
    all(lineBlocks(cut(Buffer.from(text), 9), START));
  assert.deepEqual(await read("a\n"), numbered(["a"]));
  assert.deepEqual(await read("a"), numbered(["a"]));
  assert.deepEqual(await read("\n\n"), numbered(["", ""]));
});

test("a file whose lines end with CR alone is read", async () => {
  const found = await all(lineBlocks(cut(Buffer.from("a,b\r1,2\r3,4\r"), 100), START));
  assert.deepEqual(found, numbered(["a,b", "1,2", "3,4"]));
});

test("lines that are no text cost only themselves", async () => {
  const bytes = Buffer.concat([
    Buffer.from("good\n"),
    Buffer.from([0xff, 0xfe, 0x0a]),
    Buffer.from("nul\0\nlast"),
  ]);
  assert.deepEqual(
    await all(lineBlocks(cut(bytes, 7), START)),
    numbered(["good", "it is not UTF-8", "it holds a NUL byte", "last"]),
  );
});

test("a line without end is dropped in bounded memory, and the next one is read", async () => {
  const piece = Buffer.alloc(2 ** 20, "x");
  async function* huge(): AsyncGenerator<Buffer> {
    yield Buffer.from("first\n");
    for (let index = 0; index < 256; index += 1) yield piece;
    yield Buffer.from("\nlast\n");
  }
  const before = process.memoryUsage().rss;
  const found = await all(lineBlocks(huge(), START));
  assert.deepEqual(found.map(([, line]) => line).at(0), "first");
  assert.deepEqual(found.at(-1)?.[1], "last");
  assert.match(found[1]?.[1] ?? "", /longer than 65536 bytes/);
  assert.equal(found.length, 3);
  assert.ok(process.memoryUsage().rss - before < 100 * 2 ** 20);
});

test("a line of the greatest length is read, one byte more is not", async () => {
  const text = `${"a".repeat(MAX_LINE_BYTES)}\n${"b".repeat(MAX_LINE_BYTES + 1)}\n`;
  const found = await all(lineBlocks(cut(Buffer.from(text), 2 ** 18), START));
  assert.equal(found[0]?.[1]?.length, MAX_LINE_BYTES);
  assert.match(found[1]?.[1] ?? "", /longer/);
});

test("reading goes on at the end of any block", async () => {
  const lines = Array.from({ length: 200 }, (_, index) => `${index},${"x".repeat(index % 17)}`);
  const bytes = Buffer.from(`${lines.join("\n")}\n`);
  for await (const block of lineBlocks(cut(bytes, 256), START)) {
    const start = { offset: block.endOffset, line: block.firstLine + block.lines.length };
    const rest = await all(lineBlocks(cut(bytes.subarray(start.offset), 99), start));
    assert.deepEqual(rest, numbered(lines).slice(start.line - 1));
  }
});

test("rows of JSON come out the same however the bytes are cut", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(fc.integer({ min: 0, max: 1e6 }), { minLength: 1, maxLength: 6 }), {
        minLength: 1,
        maxLength: 20,
      }),
      fc.constantFrom(undefined, 2),
      fc.integer({ min: 1, max: 50 }),
      async (rows, indent, size) => {
        const bytes = Buffer.from(JSON.stringify(rows, null, indent));
        const found = await all(jsonBlocks(cut(bytes, size), START));
        assert.deepEqual(found, numbered(rows.map((row) => row.join(","))));
      },
    ),
  );
});

test("JSON that ends in the middle, or holds something else, says so", async () => {
  const read = (text: string): Promise<[number, string | undefined][]> =>
    all(jsonBlocks(cut(Buffer.from(text), 5), START));
  assert.deepEqual(await read('[["1","2"],[3,'), [
    [1, "1,2"],
    [2, "the file ends in the middle of a row"],
  ]);
  assert.deepEqual(await read('[[1,2],{"a":1},[3,4]]'), [
    [1, "1,2"],
    [2, "between two rows stands something else"],
    [3, "3,4"],
  ]);
});
