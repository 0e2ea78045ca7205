import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { appendFileSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { compareDecimals } from "../src/core/decimal.ts";
import { countOpenTimes, openTimeAt } from "../src/core/timeframe.ts";
import { formatOwnRow, OWN_LAYOUT_HEADER, parseOwnRow } from "../src/csv/own-layout.ts";
import { openStore, type Store } from "../src/store/index.ts";
import { importInto, tableText } from "./support/csv-import.ts";
import { binanceSeries } from "./support/live-stack.ts";
import { withDatabase } from "./support/postgres.ts";
import { needsSharedData, readSharedData, sharedDataFolder } from "./support/shared-data.ts";

const FRAMES = ["15m", "1h", "2h", "4h", "12h", "1d", "1w"] as const;
const EVER = { from: 0, to: Number.MAX_SAFE_INTEGER };
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const T0 = Date.UTC(2024, 0, 1);

const folder = mkdtempSync(join(tmpdir(), "black-trade-csv-import-"));
after(() => rmSync(folder, { recursive: true, force: true }));

async function withStore(act: (store: Store, url: string) => Promise<void>): Promise<void> {
  await withDatabase(async ({ url }) => {
    const store = await openStore({ url });
    await act(store, url).finally(() => store.close());
  });
}

/** An hourly candle of its own, `index` hours after the first; or one of another length. */
function rowAt(index: number, change = "0", lengthMs = HOUR): string {
  const openTime = T0 + index * lengthMs;
  return formatOwnRow({
    ...{ openTime, closeTime: openTime + lengthMs - 1 },
    ...{ open: "100.10", high: "101.5", low: "99.25", close: `100.${10 + (index % 80)}` },
    ...{ volume: `${index}.${change}5`, quoteVolume: `${index + 1}00.5`, tradeCount: 10 + index },
    ...{ takerBuyVolume: "0.1", takerBuyQuoteVolume: "10" },
  });
}

function writeRows(name: string, rows: readonly string[]): string {
  const path = join(folder, name);
  writeFileSync(path, `${[OWN_LAYOUT_HEADER, ...rows].join("\n")}\n`);
  return path;
}

const rowsOf = (count: number, change?: string): string[] =>
  Array.from({ length: count }, (_, index) => rowAt(index, change));

describe("the seven seed files", needsSharedData(), () => {
  test("every row is equal to the file, unfinished ones are held back, twice brings nothing new", async (t) => {
    await withStore(async (store) => {
      const paths = [join(sharedDataFolder() ?? "", "seed", "*.csv.gz")];
      const report = await importInto(store, paths);
      assert.equal(report.isWhole, true);
      assert.equal(report.files.length, FRAMES.length);
      for (const timeframe of FRAMES) {
        const series = binanceSeries("BTCUSDT", timeframe);
        const file = report.files.find((one) => one.series?.timeframe === timeframe);
        const lines = readSharedData(`seed/BTCUSDT_${timeframe}.csv.gz`)
          .trim()
          .split("\n")
          .slice(1);
        const stored = new Map(
          (await store.range(series, EVER, 1_000_000)).map(({ candle }) => [
            candle.openTime,
            candle,
          ]),
        );
        const held = new Set<number>();
        for (const line of lines) {
          const row = parseOwnRow(line.trim());
          assert.ok(row.isRow);
          const found = stored.get(row.candle.openTime);
          if (found === undefined) held.add(row.candle.openTime);
          else {
            for (const [field, value] of Object.entries(row.candle)) {
              const other: string | number = found[field as keyof typeof row.candle];
              if (typeof value === "number") assert.equal(other, value);
              else assert.equal(compareDecimals(String(other), String(value)), 0);
            }
          }
        }
        const last = parseOwnRow((lines.at(-1) ?? "").trim());
        assert.ok(
          last.isRow && held.has(last.candle.openTime),
          `${timeframe}: the last row is stored`,
        );
        const { counts } = file ?? assert.fail();
        const { row, stored: storedCount, heldBack } = counts;
        assert.deepEqual(
          [row, storedCount, heldBack, counts.refused, counts.identical, counts.superseded],
          [lines.length, stored.size, held.size, 0, 0, 0],
        );
        const gaps = await store.gaps(series);
        assert.ok(
          gaps.every(({ reason, state }) => reason === "unfinished-in-source" && state === "open"),
        );
        const listed = gaps.reduce((sum, { range }) => sum + countOpenTimes(timeframe, range), 0);
        assert.equal(listed, held.size, `${timeframe}: ${listed} in the ledger`);
        for (const time of held) {
          const cell = openTimeAt(timeframe, time);
          assert.ok(gaps.some(({ range }) => cell >= range.from && cell < range.to));
        }
        t.diagnostic(`${timeframe}: ${row} rows, ${storedCount} stored, ${heldBack} held back`);
      }
      const before = await tableText(store);
      const again = await importInto(store, paths);
      assert.ok(again.files.every(({ state }) => state === "unchanged"));
      assert.equal(again.counts.row, 0);
      const forced = await importInto(store, paths, { isAgain: true });
      const { row, identical, heldBack, stored, revised } = forced.counts;
      assert.deepEqual([stored, revised, identical + heldBack], [0, 0, row]);
      assert.equal(await tableText(store), before);
      assert.ok(again.elapsedMs < 1_000, `a rerun took ${again.elapsedMs} ms`);
    });
  });

  test("all of the frozen 4h and 1d candles are held back", async () => {
    const report = await importInto(undefined, [join(sharedDataFolder() ?? "", "seed")]);
    const known = readSharedData("truth/seed_frozen_candles_4h_1d.csv").trim().split("\n").slice(1);
    for (const timeframe of ["4h", "1d"]) {
      const file = report.files.find((one) => one.series?.timeframe === timeframe);
      const frozen = known.filter((line) => line.startsWith(`${timeframe},`)).length;
      assert.equal(file?.counts.heldBack, frozen, timeframe);
    }
  });

  test("the versions of its history end at one table in any order", async (t) => {
    const unpacked = join(folder, "history");
    execFileSync("mkdir", ["-p", unpacked]);
    const archive = join(sharedDataFolder() ?? "", "seed/seed_history_15m_4h_1d.tar.xz");
    execFileSync("tar", ["xJf", archive, "-C", unpacked]);
    const versions = readdirSync(unpacked)
      .sort()
      .map((name) => join(unpacked, name));
    const shuffled = versions.toSorted((a, b) => (a.slice(-4) < b.slice(-4) ? -1 : 1));
    const tables: string[] = [];
    for (const order of [versions, versions.toReversed(), shuffled]) {
      await withStore(async (store) => {
        for (const version of order) await importInto(store, [version]);
        tables.push(await tableText(store));
      });
    }
    assert.ok((tables[0]?.length ?? 0) > 100_000);
    assert.equal(tables[1], tables[0]);
    assert.equal(tables[2], tables[0]);
    t.diagnostic(`${versions.length} versions, ${tables[0]?.split("\n").length} candles`);
  });
});

describe("what is in the database already", () => {
  test("an exchange's candle is never replaced, an older file's is, and each is counted", async () => {
    await withStore(async (store) => {
      const series = binanceSeries("BTCUSDT", "1h");
      await importInto(store, [writeRows("BTCUSDT_1h.csv", rowsOf(6))]);
      const rows = await store.range(series, EVER, 10);
      assert.equal(rows.length, 5);
      const rest = rows.slice(0, 2).map((row) => ({
        ...{ ...row, source: "rest" as const, observedTime: T0 + 100 * HOUR },
        candle: { ...row.candle, volume: "7" },
      }));
      await store.write(rest, []);
      const path = writeRows("BTCUSDT_1h.csv", [...rowsOf(4, "7"), ...rowsOf(9).slice(4)]);
      const { counts } = await importInto(store, [path]);
      assert.deepEqual(counts, {
        ...{ row: 9, stored: 3, revised: 2, identical: 1, superseded: 2, refused: 0, heldBack: 1 },
      });
      const now = await store.range(series, EVER, 10);
      assert.deepEqual(
        now.map(({ candle }) => candle.volume),
        ["7", "7", "2.75", "3.75", "4.05", "5.05", "6.05", "7.05"],
      );
      assert.equal((await store.revisions(series, EVER, 10)).length, 4);
    });
  });

  test("a file with all columns replaces one with some, not the other way round", async () => {
    await withStore(async (store) => {
      const few = join(folder, "ETHUSDT_1h.csv");
      const lines = rowsOf(5).map((row) => {
        const [time, , open, high, low, close, volume] = row.split(",");
        return [time, open, high, low, close, volume].join(",");
      });
      writeFileSync(few, `timestamp,open,high,low,close,volume\n${lines.join("\n")}\n`);
      const series = binanceSeries("ETHUSDT", "1h");
      await importInto(store, [few]);
      const [partial] = await store.range(series, EVER, 1);
      assert.deepEqual([partial?.source, partial?.candle.quoteVolume], ["csv-partial", "0"]);
      const nested = join(folder, "whole");
      execFileSync("mkdir", ["-p", nested]);
      const whole = join(nested, "ETHUSDT_1h.csv");
      writeFileSync(whole, `${[OWN_LAYOUT_HEADER, ...rowsOf(5)].join("\n")}\n`);
      assert.equal((await importInto(store, [whole])).counts.revised, 4);
      const { counts } = await importInto(store, [few], { isAgain: true });
      assert.deepEqual([counts.superseded, counts.stored, counts.revised], [4, 0, 0]);
      const [full] = await store.range(series, EVER, 1);
      assert.equal(full?.source, "csv");
    });
  });

  test("confirmation goes back to the oldest candle that was imported", async () => {
    await withStore(async (store) => {
      const series = binanceSeries("BTCUSDT", "1h");
      await store.saveConfirmed(series, T0, T0 + 1_000 * HOUR, []);
      await importInto(store, [writeRows("BTCUSDT_1h.csv", rowsOf(6))]);
      const { series: facts } = await store.facts();
      assert.equal(facts.find((one) => one.series.symbol === "BTCUSDT")?.confirmedTo, T0);
      assert.equal((await store.unconfirmed(series, EVER, 100)).length, 5);
    });
  });

  test("beside a writer of the same candles the end is the same", async () => {
    await withStore(async (store) => {
      const series = binanceSeries("BTCUSDT", "1h");
      const path = writeRows("BTCUSDT_1h.csv", rowsOf(25_000));
      const importing = importInto(store, [path]);
      const rows = rowsOf(25_000);
      for (let at = 0; at < 25_000; at += 500) {
        const batch = rows.slice(at, at + 500).map((line) => {
          const row = parseOwnRow(line);
          assert.ok(row.isRow);
          const candle = { ...row.candle, volume: "42" };
          return { series, candle, source: "rest" as const, observedTime: T0 + 1e12 };
        });
        await store.write(
          batch.filter((_, index) => index % 2 === 0),
          [],
        );
      }
      const { counts } = await importing;
      const { row, stored, revised, identical, superseded, heldBack } = counts;
      assert.equal(row, stored + revised + identical + superseded + heldBack);
      const all = await store.range(series, EVER, 30_000);
      assert.equal(all.length, 24_999);
      assert.ok(
        all.every(({ source, candle }) => (source === "rest") === (candle.volume === "42")),
      );
      assert.equal(all.filter(({ source }) => source === "rest").length, 12_500);
    });
  });
});

describe("reading a file again", () => {
  test("a last row that may be cut off is never stored, whatever says that the file is whole", async () => {
    const whole = rowsOf(3).map((row) => `${row}.25`);
    const cut = (rows: readonly string[]): string => [OWN_LAYOUT_HEADER, ...rows].join("\n");
    const files: Readonly<Record<string, string>> = {
      // "10.25" has become "10.2": a sound decimal.
      ADAUSDT: cut(whole).slice(0, -1),
      // The same once more, after the whole row.
      BNBUSDT: cut([...whole, whole[2] ?? ""]).slice(0, -1),
    };
    await withStore(async (store) => {
      for (const [symbol, text] of Object.entries(files)) {
        const path = join(folder, `${symbol}_1h.csv`);
        writeFileSync(path, text);
        const report = await importInto(store, [path], { hints: { isClosed: true } });
        assert.equal(report.counts.heldBack, 1);
        assert.match(report.files[0]?.notes[0]?.detail ?? "", /may be cut off/);
        const rows = await store.range(binanceSeries(symbol, "1h"), EVER, 10);
        assert.deepEqual(
          rows.map(({ candle }) => candle.takerBuyQuoteVolume),
          Array.from({ length: symbol === "ADAUSDT" ? 2 : 3 }, () => "10.25"),
        );
      }
    });
  });

  test("a changed file is read again, and only what is new is stored", async () => {
    await withStore(async (store) => {
      const path = writeRows("BTCUSDT_1h.csv", rowsOf(6));
      await importInto(store, [path]);
      appendFileSync(path, `${[6, 7, 8].map((index) => rowAt(index)).join("\n")}\n`);
      const { counts } = await importInto(store, [path]);
      assert.deepEqual(
        [counts.row, counts.stored, counts.identical, counts.heldBack],
        [9, 3, 5, 1],
      );
    });
  });

  test("other hints make it another import", async () => {
    await withStore(async (store) => {
      const path = writeRows("BTCUSDT_1h.csv", rowsOf(6));
      await importInto(store, [path]);
      const { files } = await importInto(store, [path], { hints: { exchange: "mine" } });
      assert.equal(files[0]?.state, "imported");
      assert.equal((await store.series()).length, 2);
    });
  });

  test("a file that was stopped half way is gone on with, and counts all of its rows", async () => {
    await withStore(async (store) => {
      const minutes = Array.from({ length: 80_000 }, (_, index) => rowAt(index, "0", MINUTE));
      const path = writeRows("BTCUSDT_1m.csv", minutes);
      const stop = new AbortController();
      let loads = 0;
      const stopping: Store = {
        ...store,
        loadPart: async (part) => {
          loads += 1;
          const done = await store.loadPart(part);
          if (loads === 1) stop.abort();
          return done;
        },
      };
      await assert.rejects(importInto(stopping, [path], { signal: stop.signal }));
      const stored = await store.count(binanceSeries("BTCUSDT", "1m"));
      assert.ok(stored > 0 && stored < 79_999, `${stored} stored`);
      const { counts } = await importInto(store, [path]);
      assert.deepEqual([counts.row, counts.stored, counts.heldBack], [80_000, 79_999, 1]);
      assert.equal(await store.count(binanceSeries("BTCUSDT", "1m")), 79_999);
    });
  });

  test("nothing is stored in a dry run, and it needs no database", async () => {
    const report = await importInto(undefined, [writeRows("BTCUSDT_1h.csv", rowsOf(6))]);
    assert.deepEqual([report.counts.row, report.counts.heldBack], [6, 1]);
  });
});
