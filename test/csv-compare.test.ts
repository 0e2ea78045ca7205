import assert from "node:assert/strict";
import { mkdtemp, readdir, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { Candle } from "../src/core/candle.ts";
import type { Series } from "../src/core/series.ts";
import {
  formatOwnRow,
  OWN_LAYOUT_HEADER,
  ownFileName,
  parseOwnRow,
} from "../src/csv/own-layout.ts";
import { openStore } from "../src/store/index.ts";
import { withDatabase } from "./support/postgres.ts";
import { type Finished, runProgram } from "./support/program.ts";
import { needsSharedData, readSharedData } from "./support/shared-data.ts";

const START = Date.UTC(2025, 0, 6);
const HOUR_MS = 3_600_000;
const BTC: Series = { exchange: "binance", symbol: "BTCUSDT", timeframe: "1h" };
const ETH: Series = { ...BTC, symbol: "ETHUSDT" };

function candleAt(index: number): Candle {
  const openTime = START + index * HOUR_MS;
  return {
    openTime,
    closeTime: openTime + HOUR_MS - 1,
    ...{ open: "1.50", high: "4", low: "0.5", close: "2.25", volume: "10", quoteVolume: "20.5" },
    tradeCount: index,
    ...{ takerBuyVolume: "5", takerBuyQuoteVolume: "10.5" },
  };
}

const rowsOf = (indexes: readonly number[]): string[] =>
  indexes.map((index) => formatOwnRow(candleAt(index)));

const fileOf = (rows: readonly string[], end = "\n"): string =>
  [OWN_LAYOUT_HEADER, ...rows, ""].join(end);

type Verify = (...flags: string[]) => Promise<Finished>;

/** A database with ten hours of two symbols, a folder, and the program that compares them. */
async function withScene(run: (folder: string, verify: Verify) => Promise<void>): Promise<void> {
  await withDatabase(async ({ url }) => {
    const folder = await mkdtemp(join(tmpdir(), "bt-compare-"));
    const store = await openStore({ url });
    const indexes = Array.from({ length: 10 }, (_, index) => index);
    const batch = [BTC, ETH].flatMap((series) =>
      indexes.map((index) => ({
        series,
        candle: candleAt(index),
        source: "rest" as const,
        observedTime: START + 86_400_000,
      })),
    );
    await store.write(batch, []);
    await store.close();
    for (const series of [BTC, ETH])
      await writeFile(join(folder, ownFileName(series)), fileOf(rowsOf(indexes)));
    try {
      await run(folder, async (...flags) => {
        // Files that were written just now are given time: a mirror may be at work.
        for (const name of await readdir(folder).catch(() => []))
          await utimes(join(folder, name), 1_700_000_000, 1_700_000_000);
        return runProgram(["verify", "--csv", folder, "--database-url", url, ...flags]);
      });
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
}

test("a folder that is the table: no difference, whatever datetime says and whatever ends its lines", async () => {
  await withScene(async (folder, verify) => {
    const local = rowsOf([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]).map((row) =>
      row.replace(/,[^,]*T[^,]*,/, ",2020-01-01T21:00:00,"),
    );
    await writeFile(join(folder, "ETHUSDT_1h.csv"), fileOf(local, "\r\n"));
    const { status, stdout, stderr } = await verify();
    assert.equal(status, 0, stderr);
    assert.match(stdout, /BTCUSDT_1h\.csv +10 +10 +10 .* same/);
    assert.match(stdout, /20 rows of 2 files: no difference/);
  });
});

test("every kind of difference is counted on its side, and named row by row", async () => {
  await withScene(async (folder, verify) => {
    const rows = rowsOf([0, 2, 3, 4, 5, 6, 7, 8, 9, 12]);
    rows[1] = (rows[1] ?? "").replace("2.25", "2.26");
    rows[2] = (rows[2] ?? "").replace("1.50", "1.5");
    rows[3] = (rows[3] ?? "").replace("4,0.5", "4,1e-1");
    rows.splice(5, 0, "a note", rows[0] ?? "");
    await writeFile(join(folder, "BTCUSDT_1h.csv"), `${fileOf(rows)}17361`);
    await rm(join(folder, "ETHUSDT_1h.csv"));
    await writeFile(join(folder, "SOLUSDT_1h.csv"), "date,close\n1,2\n");
    const { status, stdout } = await verify("--json");
    assert.equal(status, 3);
    const { isSame, files } = JSON.parse(stdout) as {
      isSame: boolean;
      files: {
        file: string;
        state: string;
        counts: object;
        differences: { kind: string; openTime?: number; detail: string }[];
      }[];
    };
    assert.equal(isSame, false);
    const [btc, eth, sol] = files;
    assert.deepEqual(btc?.counts, {
      unequal: 2,
      respelt: 1,
      "only-database": 1,
      "only-file": 0,
      "only-file-last": 1,
      "bad-line": 3,
    });
    const details = btc?.differences.map(({ kind, detail }) => `${kind}: ${detail}`);
    assert.ok(details?.includes("unequal: close 2.26 ≠ 2.25"), details?.join("\n"));
    assert.ok(details?.includes("respelt: open 1.5 ≠ 1.50"));
    assert.ok(details?.includes('unequal: row low is "1e-1"'));
    assert.ok(details?.some((text) => /^only-file-last: last row of the file/.test(text)));
    assert.equal(eth?.state, "no-file");
    assert.equal(sol?.state, "other-layout");

    const shown = await verify();
    assert.equal(shown.status, 3);
    assert.match(shown.stdout, /ETHUSDT 1h: ETHUSDT_1h\.csv is not there/);
    assert.match(shown.stdout, /more differences; more of them: --list/);
    assert.match(shown.stdout, /3 of 3 files differ/);
  });
});

test("what is compared can be chosen by symbol and by time", async () => {
  await withScene(async (folder, verify) => {
    await writeFile(join(folder, "BTCUSDT_1h.csv"), fileOf(rowsOf([0, 1, 2])));
    assert.equal((await verify("--symbols", "ETHUSDT")).status, 0);
    assert.equal((await verify()).status, 3);
    const end = new Date(START + 3 * HOUR_MS).toISOString();
    const { status, stdout } = await verify("--to", end, "--symbols", "BTCUSDT");
    assert.equal(status, 0, stdout);
    assert.match(stdout, /3 rows of 1 files/);
  });
});

test("a folder that is not there, and flags that do not go together, are wrong use", async () => {
  await withScene(async (folder, verify) => {
    const both = await verify("--repair");
    assert.equal(both.status, 2);
    assert.match(both.stderr, /--csv only compares/);
    await rm(folder, { recursive: true });
    const missing = await verify();
    assert.equal(missing.status, 2);
    assert.match(missing.stderr, /cannot be read \(ENOENT\)/);
  });
});

test(
  "the rows of the replaced system read and write back, but for their local datetime",
  needsSharedData(),
  () => {
    let rowCount = 0;
    for (const timeframe of ["15m", "1h", "2h", "4h", "12h", "1d", "1w"]) {
      const [header, ...lines] = readSharedData(`seed/BTCUSDT_${timeframe}.csv.gz`)
        .trim()
        .split("\n");
      assert.equal(header, OWN_LAYOUT_HEADER);
      for (const line of lines) {
        const row = parseOwnRow(line);
        assert.ok(row.isRow, line);
        const withoutDatetime = (text: string): string => text.replace(/^(\d+),[^,]*/, "$1");
        assert.equal(withoutDatetime(formatOwnRow(row.candle)), withoutDatetime(line));
        rowCount += 1;
      }
    }
    assert.equal(rowCount, 14_984);
  },
);
