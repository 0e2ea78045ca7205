import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { type ZippedFile, zipWith } from "../../../test/support/zip.ts";
import { readZipEntry, unzip, ZipFault } from "./zip.ts";

const MAX = 2 ** 24;
const TEXT = "1,2,3\n".repeat(1_000);

const readerOf = (zip: Buffer) => async (offset: number, length: number) =>
  zip.subarray(Math.max(0, offset), Math.max(0, offset + length));

async function read(zip: Buffer, maxSize = MAX) {
  const readAt = readerOf(zip);
  const found = await readZipEntry(readAt, zip.length, maxSize);
  if (!found.isOk) return found.reason;
  const pieces: Buffer[] = [];
  for await (const piece of unzip(readAt, found.value, new AbortController().signal)) {
    pieces.push(piece);
  }
  return { name: found.value.name, text: Buffer.concat(pieces).toString() };
}

const one = (file: Partial<ZippedFile> = {}): ZippedFile => ({
  name: "a.csv",
  content: TEXT,
  ...file,
});

describe("ZIP", () => {
  test("one file, deflated or stored, with sizes before or behind it, extra fields, a comment", async () => {
    for (const file of [
      one(),
      one({ isStored: true }),
      one({ hasDescriptor: true }),
      one({ extra: Buffer.alloc(40, 7) }),
    ]) {
      for (const comment of ["", "PK\x05\x06 is how the end begins", "x".repeat(60_000)]) {
        assert.deepEqual(await read(zipWith([file], comment)), { name: "a.csv", text: TEXT });
      }
    }
    assert.deepEqual(await read(zipWith([one({ content: "" })])), { name: "a.csv", text: "" });
    const path = { name: "../../etc/passwd", content: "x" };
    assert.deepEqual(await read(zipWith([path])), { name: "../../etc/passwd", text: "x" });
  });

  test("what is refused before a byte is unpacked", async () => {
    const refused: readonly (readonly [Buffer, RegExp])[] = [
      [Buffer.from("<html>"), /no ZIP/],
      [Buffer.alloc(0), /no ZIP/],
      [zipWith([one()]).subarray(0, 40), /no ZIP/],
      [zipWith([]), /0 files/],
      [zipWith([one(), one({ name: "b.csv" })]), /2 files/],
      [zipWith([one({ told: { flags: 1 } })]), /encrypted/],
      [zipWith([one({ told: { method: 12 } })]), /unknown method/],
      [zipWith([one({ told: { size: MAX + 1 } })]), /more than/],
      [zipWith([one({ content: Buffer.alloc(2 ** 22) })]), /times its size/],
      [zipWith([one({ isStored: true, told: { size: 1 } })]), /two sizes/],
    ];
    for (const [zip, reason] of refused) assert.match(String(await read(zip)), reason);
    const lying = zipWith([one(), one({ name: "b.csv" })]);
    lying.writeUInt16LE(1, lying.length - 12);
    assert.match(String(await read(lying)), /another size/);
  });

  test("what turns out while it is unpacked", async () => {
    const broken: readonly (readonly [Buffer, RegExp])[] = [
      [zipWith([one({ told: { crc: 1 } })]), /CRC-32/],
      [zipWith([one({ told: { size: 5_999 } })]), /more than 5999/],
      [zipWith([one({ told: { size: 6_001 } })]), /6000 bytes, not 6001/],
      [zipWith([one({ isStored: true, told: { method: 8 } })]), /cannot be unpacked/],
    ];
    for (const [zip, reason] of broken) {
      await assert.rejects(read(zip), (error) => {
        assert.ok(error instanceof ZipFault);
        assert.match(error.message, reason);
        return true;
      });
    }
  });

  test("a bomb is stopped by what it says, or by what it does", async () => {
    const content = Buffer.alloc(2 ** 23);
    assert.match(String(await read(zipWith([one({ content })]))), /8388608 bytes|times its size/);
    const lying = zipWith([one({ content, told: { size: 100_000 } })]);
    await assert.rejects(read(lying), /more than 100000 bytes/);
  });

  test("any change of a byte gives the same text, a reason or a fault, and nothing else", async () => {
    const zip = zipWith([one({ content: "123456,7\n" })]);
    await fc.assert(
      fc.asyncProperty(fc.nat(zip.length - 1), fc.nat(255), async (at, byte) => {
        const changed = Buffer.from(zip);
        changed[at] = byte;
        try {
          const result = await read(changed);
          if (typeof result !== "string") assert.equal(result.text, "123456,7\n");
        } catch (error) {
          assert.ok(error instanceof ZipFault, String(error));
        }
      }),
      { numRuns: 500 },
    );
  });

  test("any bytes at all are a reason", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), async (bytes) => {
        const tail = zipWith([one({ content: "1" })]).subarray(-60);
        assert.equal(typeof (await read(Buffer.from(bytes))), "string");
        assert.equal(typeof (await read(Buffer.concat([bytes, tail]))), "string");
      }),
    );
  });
});
