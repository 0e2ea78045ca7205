import assert from "node:assert/strict";
import { test } from "node:test";
import type { Candle } from "../core/candle.ts";
import { FileFault } from "./bytes.ts";
import { encodeCandles } from "./export/encode.ts";
import { readFeather } from "./feather.ts";

const OPEN = Date.UTC(2025, 0, 1);
/** A number that stands nowhere else in the file. */
const ROWS = 37;

async function feather(): Promise<Buffer> {
  const rows = Array.from({ length: ROWS }, (_, index): Candle => {
    const openTime = OPEN + index * 60_000;
    return {
      ...{ openTime, closeTime: openTime + 59_999, tradeCount: 3, open: "1", high: "2", low: "1" },
      ...{ close: "1.5", volume: "4", quoteVolume: "5", takerBuyVolume: "2" },
      takerBuyQuoteVolume: "2.5",
    };
  });
  const chunks: Uint8Array[] = [];
  for await (const chunk of encodeCandles("arrow", pages(rows))) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function* pages<T>(page: T): AsyncGenerator<T> {
  yield page;
}

/** The file with one number in the place of another, wherever it stands. */
function changed(file: Buffer, from: bigint, to: bigint): Buffer {
  const copy = Buffer.from(file);
  const wanted = Buffer.alloc(8);
  wanted.writeBigInt64LE(from);
  for (let at = copy.indexOf(wanted); at >= 0; at = copy.indexOf(wanted, at + 8)) {
    copy.writeBigInt64LE(to, at);
  }
  assert.notDeepEqual(copy, file);
  return copy;
}

test("a file that claims more rows than it has values is damaged, not read for ever", async () => {
  const file = await feather();
  assert.equal((await readFeather(pages(file), file.length)).rowCount, ROWS);
  for (const claimed of [BigInt(ROWS + 8), 2n ** 31n - 1n, 2n ** 50n]) {
    const lying = changed(file, BigInt(ROWS), claimed);
    await assert.rejects(readFeather(pages(lying), lying.length), FileFault, String(claimed));
  }
});

test("a value that cannot be read costs its cell, not the program", async () => {
  const file = changed(await feather(), BigInt(OPEN), 0x7fff_ffff_ffff_fff0n);
  const table = await readFeather(pages(file), file.length);
  assert.match(table.line(0), /^unreadable,1/);
  assert.match(table.line(1), new RegExp(`^${OPEN + 60_000},1`));
});
