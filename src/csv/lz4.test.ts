import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { decodeLz4Frame } from "./lz4.ts";

const HEAD = [0x04, 0x22, 0x4d, 0x18, 0x60, 0x70, 0x73];

/** A frame of blocks as they are given, each with its size. */
function frame(...blocks: readonly (readonly number[])[]): Uint8Array {
  const body = blocks.flatMap((block) => [block.length & 255, block.length >> 8, 0, 0, ...block]);
  return Uint8Array.from([...HEAD, ...body, 0, 0, 0, 0]);
}

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");
const codes = (word: string): number[] => [...Buffer.from(word, "latin1")];

test("literals, matches, and matches that reach into themselves", () => {
  assert.equal(text(decodeLz4Frame(frame([0x50, ...codes("hello")]), 100)), "hello");
  // 4 literals, then 8 bytes from 4 back, then the literals that end a block.
  const match = [0x44, ...codes("abcd"), 4, 0, 0x10, ...codes("!")];
  assert.equal(text(decodeLz4Frame(frame(match), 100)), "abcdabcdabcd!");
  // A run: 1 literal, then 19 times the byte before.
  const run = [0x1f, ...codes("x"), 1, 0, 0, 0x10, ...codes(".")];
  assert.equal(text(decodeLz4Frame(frame(run), 100)), `${"x".repeat(20)}.`);
});

test("a block may point into the block before it, or be stored as it is", () => {
  const second = [0x04, 5, 0, 0x10, ...codes("!")];
  assert.equal(
    text(decodeLz4Frame(frame([0x50, ...codes("hello")], second), 100)),
    "hellohellohel!",
  );
  const stored = Uint8Array.from([...HEAD, 2, 0, 0, 0x80, ...codes("ok"), 0, 0, 0, 0]);
  assert.equal(text(decodeLz4Frame(stored, 100)), "ok");
});

test("what is damaged or too large is an error, never more memory than allowed", () => {
  const bad: readonly (readonly [Uint8Array, RegExp])[] = [
    [Uint8Array.from([1, 2, 3]), /no LZ4/],
    [frame([0x50, ...codes("he")]), /cut off/],
    [frame([0x10, 65, 9, 0, 0x10, 66]), /points nowhere/],
    [frame([0x10, 65, 0, 0, 0x10, 66]), /points nowhere/],
    [frame([0x1f, 65, 1, 0, 255, 255, 255, 0, 0x10, 66]), /more than 100/],
    [Uint8Array.from([...HEAD, 9, 0, 0, 0, 1]), /cut off/],
    [Uint8Array.from(HEAD), /cut off/],
  ];
  for (const [bytes, reason] of bad) assert.throws(() => decodeLz4Frame(bytes, 100), reason);
});

test("any bytes end in data or in an error", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
      try {
        assert.ok(decodeLz4Frame(Uint8Array.from([...HEAD, ...bytes]), 10_000).length <= 10_000);
      } catch (error) {
        assert.match(String(error), /LZ4/);
      }
    }),
    { numRuns: 500 },
  );
});
