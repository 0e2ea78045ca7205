import assert from "node:assert/strict";
import { once } from "node:events";
import { createWriteStream, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { PackedCandles } from "../src/core/packed-candles.ts";
import { formatOwnRow, OWN_LAYOUT_HEADER } from "../src/csv/own-layout.ts";
import { openStore } from "../src/store/index.ts";
import { importInto, tableText } from "./support/csv-import.ts";
import { withDatabase } from "./support/postgres.ts";
import { Program } from "./support/program.ts";

/** `IMPORT_KILLS=20` for the long form. */
const KILLS = Number(process.env.IMPORT_KILLS ?? 3);
const ROWS = 150_000;
const MINUTE = 60_000;
const T0 = Date.UTC(2024, 0, 1);

const folder = mkdtempSync(join(tmpdir(), "black-trade-csv-crash-"));
after(() => rmSync(folder, { recursive: true, force: true }));

/** Minutes with a double now and then and a bad row now and then. */
async function writeFile(path: string): Promise<void> {
  const stream = createWriteStream(path);
  stream.write(`${OWN_LAYOUT_HEADER}\n`);
  for (let index = 0; index < ROWS; index += 1) {
    const openTime = T0 + index * MINUTE;
    const row = formatOwnRow({
      ...{ openTime, closeTime: openTime + MINUTE - 1 },
      ...{ open: "100.10", high: "101.5", low: "99.25", close: `100.${10 + (index % 80)}` },
      ...{ volume: `${index}.5`, quoteVolume: `${index + 1}00.5`, tradeCount: 10 + index },
      ...{ takerBuyVolume: "0.1", takerBuyQuoteVolume: "10" },
    });
    const isBad = index % 9_973 === 5;
    stream.write(
      `${isBad ? row.replace("99.25", "x") : row}\n${index % 7_919 === 3 ? `${row}\n` : ""}`,
    );
  }
  stream.end();
  await once(stream, "finish");
}

test(`an import that is killed ${KILLS} times ends at the same table and the same counts`, async (t) => {
  const path = join(folder, "BTCUSDT_1m.csv");
  await writeFile(path);
  await withDatabase(async ({ url }) => {
    const reference = await withDatabase(async (other) => {
      const store = await openStore({ url: other.url });
      const { counts } = await importInto(store, [path]);
      const text = await tableText(store);
      await store.close();
      return { counts, text };
    });
    const store = await openStore({ url });
    let halfWay = 0;
    for (let kill = 0; kill < KILLS; kill += 1) {
      const before = await store.imported(path);
      const reached = before?.isFinished === false ? before.counts.row : 0;
      // What was read to its end is read again from its beginning.
      if (before?.isFinished) {
        const file = { ...before, fingerprint: "", counts: { ...before.counts, row: 0 } };
        await store.loadPart({ candles: new PackedCandles(file.series), gaps: [], file });
      }
      const program = new Program(["import-csv", path], { DATABASE_URL: url });
      const hasStored = async (): Promise<boolean> =>
        ((await store.imported(path))?.counts.row ?? 0) > reached;
      while (program.child.exitCode === null && !(await hasStored())) await sleep(5);
      await sleep((kill * 7) % 40);
      program.kill("SIGKILL");
      await program.ended();
      if ((await store.imported(path))?.isFinished === false) halfWay += 1;
    }
    await importInto(store, [path]);
    assert.equal(await tableText(store), reference.text);
    const again = await importInto(store, [path]);
    assert.equal(again.files[0]?.state, "unchanged");
    const { row, stored, revised, identical, superseded, refused, heldBack } =
      again.files[0].counts;
    assert.equal(row, stored + revised + identical + superseded + refused + heldBack);
    assert.equal(row, reference.counts.row);
    assert.deepEqual([refused, heldBack], [reference.counts.refused, reference.counts.heldBack]);
    t.diagnostic(`${KILLS} kills, ${halfWay} of them in the middle of the file`);
    assert.ok(halfWay >= KILLS / 2, "no kill hit the middle of an import");
    await store.close();
  });
});
