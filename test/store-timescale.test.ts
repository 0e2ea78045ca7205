import assert from "node:assert/strict";
import { after, before, describe, test as nodeTest } from "node:test";
import type { VersionedCandle } from "../src/core/finality.ts";
import { PackedCandles } from "../src/core/packed-candles.ts";
import type { CandleChange, ImportedFile } from "../src/core/ports.ts";
import { Database } from "../src/store/database.ts";
import {
  migrate,
  migrateDown,
  migrationStates,
  openStore,
  type Store,
} from "../src/store/index.ts";
import { candleAt, describeStore, freshSeries } from "./conformance/store-suite.ts";
import { createTestDatabase, type TestDatabase, timescale } from "./support/postgres.ts";
import { postgresHarness } from "./support/store-harness.ts";

const { server, skip } = timescale;

const T0 = Date.UTC(2024, 0, 1);
const HOUR_MS = 3_600_000;
const ALWAYS = { from: 0, to: Number.MAX_SAFE_INTEGER };

describeStore("store in TimescaleDB", () => postgresHarness(Promise.resolve(server)), { skip });

const test = (title: string, run: () => Promise<void>): void => {
  nodeTest(title, { skip }, run);
};

describe("TimescaleDB", () => {
  let database: TestDatabase;
  let admin: Database;
  let store: Store;

  before(async () => {
    if (skip !== false) return;
    database = await createTestDatabase(server, "migrated");
    admin = new Database({ url: database.url, poolSize: 1 });
    store = await openStore({ url: database.url });
  });
  after(async () => {
    await store?.close();
    await admin?.close();
    await database?.drop();
  });

  const compress = async (): Promise<number> => {
    await admin.run({
      text: "alter table candles set (timescaledb.compress, timescaledb.compress_segmentby = 'series_id', timescaledb.compress_orderby = 'open_time')",
    });
    const rows = await admin.run({
      text: "select compress_chunk(chunk, true) from show_chunks('candles') as chunk",
    });
    return rows.length;
  };

  test("candles are a hypertable with chunks of 90 days and no index but the key", async () => {
    assert.equal(store.server.hasTimescale, true);
    const [dimension] = await admin.run<{ days: number }>({
      text: `
        select (extract(epoch from time_interval) / 86400)::int as days
        from timescaledb_information.dimensions where hypertable_name = 'candles'`,
    });
    assert.equal(dimension?.days, 90);
    const indexes = await admin.run<{ name: string }>({
      text: "select indexname::text as name from pg_indexes where tablename = 'candles'",
    });
    assert.deepEqual(
      indexes.map(({ name }) => name),
      ["candles_pkey"],
    );
  });

  test("D15: rows of compressed chunks are corrected, kept, and added to like any others", async () => {
    const series = freshSeries("1h");
    const at = (n: number): number => T0 + n * HOUR_MS;
    const old = Array.from({ length: 3_000 }, (_, n) => candleAt(series, at(n), "archive-daily"));
    await store.write(old, []);
    assert.ok((await compress()) >= 2);
    const corrected = candleAt(series, at(5), "rest", { volume: "99.000" });
    const same = candleAt(series, at(6), "rest");
    const added = candleAt(series, at(7) + 1_000, "rest");
    const { outcomes } = await store.write(
      [
        corrected,
        same,
        candleAt(series, at(8), "stream", { volume: "1" }),
        added,
        ...old.slice(100, 200),
      ],
      [],
    );
    assert.deepEqual(outcomes.slice(0, 5), [
      ...["revised", "identical", "superseded", "stored", "identical"],
    ]);
    const rows = await store.range(series, { from: at(5), to: at(8) }, 10);
    assert.deepEqual(rows, [corrected, same, old[7], added]);
    assert.equal(await store.count(series), 3_001);
    const [revision] = await store.revisions(series, ALWAYS, 10);
    assert.deepEqual(revision?.replaced, old[5]);
    await compress();
    assert.equal(await store.count(series), 3_001);
  });

  test("files are loaded in bulk into chunks that are compressed: where nothing is, beside and over what is", async () => {
    const series = freshSeries("1h");
    const at = (n: number): number => T0 + n * HOUR_MS;
    const rows = (from: number, to: number, source: "csv" | "archive-daily", volume: string) =>
      Array.from({ length: to - from }, (_, n) =>
        candleAt(series, at(from + n), source, { volume }),
      );
    await store.write(rows(0, 2_000, "archive-daily", "1"), []);
    assert.ok((await compress()) >= 1);
    const file: ImportedFile = {
      ...{ file: `/${series.symbol}.csv`, fingerprint: "1", settings: "{}", layout: "test" },
      ...{ series, isFinished: false, progress: "{}" },
      counts: {
        ...{ row: 0, stored: 0, revised: 0, identical: 0 },
        ...{ superseded: 0, refused: 0, heldBack: 0 },
      },
    };
    const load = async (candles: VersionedCandle[]) => {
      const { counts } = await store.loadPart({
        candles: PackedCandles.of(series, candles),
        ...{ gaps: [], file },
      });
      return [counts.stored, counts.revised, counts.identical, counts.superseded];
    };
    const start = await store.lastChangeId();
    // Straight into the table, the chunks of which are compressed; then by way of the staging table.
    assert.deepEqual(await load(rows(2_000, 2_100, "csv", "3")), [100, 0, 0, 0]);
    assert.deepEqual(await load(rows(2_000, 2_100, "csv", "3")), [0, 0, 100, 0]);
    await compress();
    assert.deepEqual(await load(rows(1_990, 2_110, "csv", "4")), [10, 100, 0, 10]);
    assert.deepEqual(await load(rows(1_995, 2_000, "archive-daily", "1")), [0, 0, 5, 0]);
    assert.equal(await store.count(series), 2_110);
    assert.equal((await store.revisions(series, ALWAYS, 1_000)).length, 100);
    const changes: CandleChange[] = [];
    const stop = new AbortController();
    for await (const page of store.follow(stop.signal, start)) {
      changes.push(...page);
      if (changes.length >= 2) stop.abort();
    }
    assert.deepEqual(
      changes.map((change) => change.kind === "stretch" && change.range),
      [
        { from: at(2_000), to: at(2_099) + 1 },
        { from: at(1_990), to: at(2_109) + 1 },
      ],
    );
    const { series: facts } = await store.facts();
    const fact = facts.find((one) => one.series.symbol === series.symbol);
    assert.deepEqual([fact?.confirmedTo, fact?.newestOpenTime], [at(2_000), at(2_109)]);
  });

  test("two loaders of the same candles in a compressed chunk at once store each once", async () => {
    const series = freshSeries("1h");
    await store.write([candleAt(series, T0)], []);
    await compress();
    const others = await Promise.all([1, 2, 3].map(() => openStore({ url: database.url })));
    const done = await Promise.all(
      others.map((one, index) =>
        one.loadPart({
          candles: PackedCandles.of(
            series,
            Array.from({ length: 800 }, (_, n) =>
              candleAt(series, T0 + (n + 1) * HOUR_MS, "csv", { volume: `${index + 1}` }),
            ),
          ),
          gaps: [],
          file: {
            ...{ file: `/${series.symbol}-${index}.csv`, fingerprint: "1", settings: "{}" },
            ...{ layout: "test", series, isFinished: true, progress: "{}" },
            counts: {
              ...{ row: 0, stored: 0, revised: 0, identical: 0 },
              ...{ superseded: 0, refused: 0, heldBack: 0 },
            },
          },
        }),
      ),
    );
    assert.equal(
      done.reduce((sum, { counts }) => sum + counts.stored, 0),
      800,
    );
    assert.equal(await store.count(series), 801);
    await Promise.all(others.map((one) => one.close()));
  });

  test("more rows than the extension would decompress by itself are corrected in one write", async () => {
    await admin.run({
      text: `alter database ${database.url.split("/").at(-1)} set timescaledb.max_tuples_decompressed_per_dml_transaction = 1000`,
    });
    const limited = await openStore({ url: database.url });
    const series = freshSeries("1h");
    const rows = (source: "archive-daily" | "rest", volume: string) =>
      Array.from({ length: 2_000 }, (_, n) =>
        candleAt(series, T0 + n * HOUR_MS, source, { volume }),
      );
    await limited.write(rows("archive-daily", "1"), []);
    await compress();
    const { outcomes } = await limited.write(rows("rest", "2"), []);
    assert.ok(outcomes.every((outcome) => outcome === "revised"));
    await limited.close();
  });

  test("an update by hand keeps the old version, in a compressed chunk, too", async () => {
    const series = freshSeries("1h");
    await store.write([candleAt(series, T0)], []);
    await compress();
    await admin.run({
      text: "update candles set volume = 7 where series_id = (select id from series where symbol = $1)",
      values: [series.symbol],
    });
    assert.equal((await store.revisions(series, ALWAYS, 10)).length, 1);
  });

  test("the migration goes down to a plain table and up again with every row", async () => {
    const series = freshSeries("1h");
    const rows = Array.from({ length: 100 }, (_, n) =>
      candleAt(series, T0 + n * 30 * 24 * HOUR_MS),
    );
    await store.write(rows, []);
    const before = await store.range(series, ALWAYS, 1_000);
    const total = async (): Promise<unknown> =>
      (await admin.run({ text: "select count(*), sum(volume) from candles" }))[0];
    const sums = await total();
    const names = (await migrationStates(admin)).map(({ name }) => name);
    const later = names.slice(names.indexOf("timescaledb"));
    const undone = await migrateDown(admin, later.length);
    assert.deepEqual(undone.map(({ name }) => name).reverse(), later);
    assert.deepEqual(await total(), sums);
    const applied = await migrate(admin);
    assert.deepEqual(
      applied.map(({ name }) => name),
      later,
    );
    assert.deepEqual(await total(), sums);
    const again = await openStore({ url: database.url });
    assert.deepEqual(await again.range(series, ALWAYS, 1_000), before);
    const { outcomes } = await again.write([candleAt(series, T0, "rest", { volume: "5" })], []);
    assert.deepEqual(outcomes, ["revised"]);
    await again.close();
  });
});
