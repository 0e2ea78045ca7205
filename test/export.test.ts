import assert from "node:assert/strict";
import { globSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { zstdDecompressSync } from "node:zlib";
import { tableFromIPC } from "apache-arrow";
import { parquetMetadata, parquetReadObjects } from "hyparquet";
import type { VersionedCandle } from "../src/core/finality.ts";
import type { Series } from "../src/core/series.ts";
import { openStore, type Store } from "../src/store/index.ts";
import { candleAt } from "./conformance/store-suite.ts";
import { createTestDatabase, sharedServer, type TestDatabase } from "./support/postgres.ts";
import { type Finished, Program, runProgram } from "./support/program.ts";

const T0 = Date.UTC(2025, 0, 1);
const COUNT = 500;
const EVER = { from: 0, to: Number.MAX_SAFE_INTEGER };
const ALL: readonly Series[] = [
  { exchange: "binance", symbol: "BTCUSDT", timeframe: "1m" },
  { exchange: "binance", symbol: "BTCUSDT", timeframe: "1M" },
  { exchange: "binance", symbol: "币安人生USDT", timeframe: "1h" },
];
const STEP: Readonly<Record<string, number>> = { "1m": 60_000, "1h": 3_600_000 };

const openTimeOf = ({ timeframe }: Series, index: number): number =>
  timeframe === "1M" ? Date.UTC(2020, index, 1) : T0 + index * (STEP[timeframe] ?? 0);

const rowsOf = (series: Series): VersionedCandle[] =>
  Array.from({ length: series.timeframe === "1M" ? 24 : COUNT }, (_, index) =>
    candleAt(series, openTimeOf(series, index), "rest", {
      ...{ volume: `${index}.10000000`, tradeCount: index, quoteVolume: "1234.00" },
      ...(index === 7 ? { closeTime: openTimeOf(series, index) + 12_345 } : {}),
    }),
  );

describe("export", () => {
  let database: TestDatabase;
  let store: Store;
  let folder: string;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "black-trade-export-"));
    database = await createTestDatabase(await sharedServer(), "migrated");
    store = await openStore({ url: database.url });
    for (const series of ALL) await store.write(rowsOf(series), []);
  });
  after(async () => {
    await store?.close();
    await database?.drop();
    await rm(folder, { recursive: true, force: true });
  });

  const run = (args: readonly string[], url = database.url): Promise<Finished> =>
    runProgram(args, { DATABASE_URL: url }, folder);
  const BTC = ["--symbols", "BTCUSDT", "--timeframes", "1m"];

  test("CSV out and in again is the same table", async () => {
    const out = await run(["export", "--out", "csv", "--json"]);
    assert.equal(out.status, 0, out.stderr);
    const { files, candleCount } = JSON.parse(out.stdout);
    assert.equal(candleCount, 2 * COUNT + 24);
    assert.equal(files.length, 3);
    assert.deepEqual((await readdir(join(folder, "csv"))).sort(), [
      ...["BTCUSDT_1m.csv", "BTCUSDT_1mo.csv", "币安人生USDT_1h.csv"],
    ]);
    const copy = await createTestDatabase(await sharedServer(), "migrated");
    try {
      const back = await run(["import-csv", "csv", "--closed", "--json"], copy.url);
      assert.ok([0, 3].includes(back.status ?? -1), back.stderr);
      const imported = await openStore({ url: copy.url });
      for (const series of ALL) {
        const expected = await store.range(series, EVER, 1_000);
        const actual = await imported.range(series, EVER, 1_000);
        assert.deepEqual(
          actual.map(({ candle }) => candle),
          expected.map(({ candle }) => candle),
        );
      }
      await imported.close();
    } finally {
      await copy.drop();
    }
  });

  test("Parquet: partitions, the smallest lossless scale, and values", async () => {
    const out = await run(["export", "--format", "parquet", "--out", "lake"]);
    assert.equal(out.status, 0, out.stderr);
    const paths = globSync("lake/**/*.parquet", { cwd: folder }).sort();
    assert.deepEqual(paths, [
      "lake/exchange=binance/symbol=%E5%B8%81%E5%AE%89%E4%BA%BA%E7%94%9FUSDT/timeframe=1h/币安人生USDT_1h.parquet",
      "lake/exchange=binance/symbol=BTCUSDT/timeframe=1m/BTCUSDT_1m.parquet",
      "lake/exchange=binance/symbol=BTCUSDT/timeframe=1mo/BTCUSDT_1mo.parquet",
    ]);
    const { buffer } = Uint8Array.from(await readFile(join(folder, paths[1] ?? "")));
    const scales = parquetMetadata(buffer).schema.flatMap(({ name, scale, type }) =>
      scale === undefined ? [] : [[name, scale, type]],
    );
    assert.deepEqual(scales.slice(0, 6), [
      ["open", 1, "INT64"],
      ["high", 0, "INT64"],
      ["low", 1, "INT64"],
      ["close", 0, "INT64"],
      ["volume", 1, "INT64"],
      ["quote_volume", 0, "INT64"],
    ]);
    const rows = await parquetReadObjects({
      file: buffer,
      compressors: { ZSTD: (input) => new Uint8Array(zstdDecompressSync(input)) },
    });
    assert.equal(rows.length, COUNT);
    for (const [index, row] of rows.entries()) {
      assert.equal(row.open_time.getTime(), T0 + index * 60_000);
      // This reader multiplies by a rounded 0.1; that the digits are exact is tested beside the encoder.
      assert.ok(Math.abs(row.volume - index - 0.1) < 1e-9);
    }
    assert.equal(rows[7]?.close_time.getTime(), T0 + 7 * 60_000 + 12_345);
  });

  test("to stdout: nothing but the data; the summary is on stderr", async () => {
    const args = ["export", ...BTC, "--from", "2025-01-01T00:10Z", "--to", "2025-01-01T00:13Z"];
    const csv = await run([...args, "--json"]);
    assert.equal(csv.status, 0, csv.stderr);
    assert.deepEqual(
      csv.stdout.split("\n").map((line) => line.split(",")[6]),
      [...["volume", "10.10000000", "11.10000000", "12.10000000", undefined]],
    );
    assert.equal(JSON.parse(csv.stderr).candleCount, 3);
    const ndjson = await run([...args, "--format", "ndjson"]);
    assert.deepEqual(
      ndjson.stdout
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line).volume),
      ["10.10000000", "11.10000000", "12.10000000"],
    );
    const json = await run([...args, "--format", "json", "--floats"]);
    assert.deepEqual(
      JSON.parse(json.stdout).map(({ volume }: { volume: number }) => volume),
      [10.1, 11.1, 12.1],
    );
  });

  test("Arrow, as a file and as floats", async () => {
    const out = await run([
      "export",
      ...BTC,
      "--format",
      "arrow",
      "--floats",
      "--out",
      "btc.arrow",
    ]);
    assert.equal(out.status, 0, out.stderr);
    const table = tableFromIPC(await readFile(join(folder, "btc.arrow")));
    assert.deepEqual([...(table.getChild("trade_count") ?? [])].length, COUNT);
    assert.equal(table.getChild("volume")?.get(9), 9.1);
  });

  test("candles as they were known before a correction", async () => {
    const [series] = ALL;
    assert.ok(series);
    const before = new Date();
    const better = candleAt(series, T0, "rest", { close: "100.9" }, T0 + 200 * 86_400_000);
    await store.write([better], []);
    const args = ["export", ...BTC, "--to", "2025-01-01T00:01Z", "--format", "ndjson"];
    const closeOf = ({ stdout }: Finished): string => JSON.parse(stdout).close;
    assert.equal(closeOf(await run(args)), "100.9");
    assert.equal(closeOf(await run([...args, "--at", before.toISOString()])), "100");
    await store.write([candleAt(series, T0, "rest", {}, T0 + 201 * 86_400_000)], []);
  });

  test("wrong use is one line with a remedy, and writes nothing", async () => {
    const wrong: readonly (readonly [says: RegExp, args: readonly string[]])[] = [
      [/3 series do not go into stdout/, []],
      [/3 series do not go into one file/, ["--out", "x.csv"]],
      [/no stored series is meant/, ["--symbols", "NOSUCH"]],
      [/--format: "xlsx" is not known/, ["--format", "xlsx"]],
      [/--floats does not go with CSV/, [...BTC, "--floats"]],
      [/--from is not before --to/, [...BTC, "--from", "2025-01-02", "--to", "2025-01-01"]],
      [/--at: "soon" is not a time/, [...BTC, "--at", "soon"]],
    ];
    const ended = await Promise.all(wrong.map(([, args]) => run(["export", ...args])));
    for (const [index, { status, stderr, stdout }] of ended.entries()) {
      const [says] = wrong[index] ?? [/never/];
      assert.match(stderr, says);
      assert.match(stderr, /→ /);
      assert.deepEqual([status, stdout], [2, ""]);
    }
  });

  test("a reader that goes away ends it without a word", async () => {
    const program = new Program(["export", ...BTC], { DATABASE_URL: database.url }, "/", [
      ...["/bin/sh", "-c", '"$@" | head -n 1', "sh"],
    ]);
    const { status, stdout, stderr } = await program.ended();
    assert.deepEqual([status, stdout.split("\n").length], [0, 2]);
    assert.doesNotMatch(stderr, /error/i);
  });

  test("a place that cannot be written is one line with a remedy, and no half of a file", async () => {
    await writeFile(join(folder, "taken"), "mine");
    await mkdir(join(folder, "whole.csv"));
    const small = ["/bin/sh", "-c", 'ulimit -f 1; exec "$@"', "sh"];
    const full = ["/bin/sh", "-c", '"$@" > /dev/full', "sh"];
    const wrong: (readonly [RegExp, readonly string[], (readonly string[])?])[] = [
      [/^error E_FILE: taken is not a folder\n {2}→ name another one\n$/, ["--out", "taken/x.csv"]],
      [/^error E_FILE: whole.csv is a folder\n {2}→ name a file\n$/, ["--out", "whole.csv"]],
      [
        /^error E_FILE: big.csv: the file cannot be larger .*\n {2}→ .*\n$/,
        ["--out", "big.csv"],
        small,
      ],
      [/^error E_FILE: stdout: the disk is full\n {2}→ make room\n$/, [], full],
    ];
    if (process.platform === "linux") {
      // Node.js tries for ever to make a folder where there can be none.
      const says = /^error E_FILE: \/proc\/none: there is no such .*, and it cannot be made\n/;
      wrong.push([says, ["--out", "/proc/none/x.csv"]]);
    }
    const before = (await readdir(folder)).sort();
    for (const [says, args, launcher = []] of wrong) {
      const env = { DATABASE_URL: database.url, NODE_DISABLE_COMPILE_CACHE: "1" };
      const program = new Program(["export", ...BTC, ...args], env, folder, launcher);
      const { status, stdout, stderr } = await program.ended();
      assert.match(stderr, says);
      assert.deepEqual([status, stdout], [1, ""]);
    }
    assert.deepEqual((await readdir(folder)).sort(), before);
    assert.equal(await readFile(join(folder, "taken"), "utf8"), "mine");
  });
});
