import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { systemClock } from "../src/clock.ts";
import { parseDerived } from "../src/core/derived.ts";
import type { VersionedCandle } from "../src/core/finality.ts";
import type { CandleChange } from "../src/core/ports.ts";
import type { Series } from "../src/core/series.ts";
import { formatOwnRow, OWN_LAYOUT_HEADER } from "../src/csv/own-layout.ts";
import { SeededMarket, type Simulator, startSimulator } from "../src/simulator/index.ts";
import {
  Compression,
  Database,
  openStore,
  Retention,
  Rollups,
  type Store,
} from "../src/store/index.ts";
import { candleAt } from "./conformance/store-suite.ts";
import { importInto, tableText } from "./support/csv-import.ts";
import { openHistory } from "./support/history.ts";
import {
  createTestDatabase,
  sharedServer,
  type TestServer,
  timescale,
} from "./support/postgres.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const T0 = Date.UTC(2024, 0, 1);
const ALWAYS = { from: 0, to: Number.MAX_SAFE_INTEGER };
const NEVER = new AbortController().signal;
const A: Series = { exchange: "binance", symbol: "BTCUSDT", timeframe: "1h" };
const B: Series = { exchange: "binance", symbol: "ETHUSDT", timeframe: "1h" };

const { skip } = timescale;

/** A server under the script, and how its table is compressed between two steps. */
interface Subject {
  readonly url: string;
  readonly store: Store;
  readonly compress: () => Promise<void>;
}

const at = (n: number): number => T0 + n * HOUR_MS;

function rows(
  series: Series,
  from: number,
  to: number,
  source: "stream" | "csv" | "archive-daily" | "rest",
  shift = 0,
): VersionedCandle[] {
  return Array.from({ length: to - from }, (_, index) => {
    const n = from + index + shift;
    const values = {
      ...{ open: `${100 + (n % 7)}.50`, close: `${99 + (n % 5)}.25`, high: "110.1", low: "90" },
      ...{ volume: `${n % 11}.00000001`, quoteVolume: `${n % 17}0.5`, tradeCount: n % 13 },
    };
    return candleAt(series, at(from + index), source, values, at(from + index) + 400 * DAY_MS);
  });
}

/** Everything that the store does to candles and says of them, on a table that is compressed between the steps. */
async function script({ store, compress }: Subject, folder: string): Promise<object> {
  const start = await store.lastChangeId();
  const said: Record<string, unknown> = {};
  const base = rows(A, 0, 6_000, "stream");
  await store.write(base.slice(0, 3_000), []);
  await store.write(base.slice(3_100), []);
  await store.write(rows(B, 0, 2_500, "archive-daily"), []);
  await compress();

  // One of each kind, in and beside what is compressed.
  const offGrid = candleAt(A, at(7) + 1_000, "rest", {}, at(900));
  const { outcomes } = await store.write(
    [
      candleAt(A, at(5), "rest", { volume: "99.000" }),
      candleAt(A, at(6), "csv", { volume: "1" }),
      candleAt(A, at(8), "rest", base[8]?.candle, at(8) + 500 * DAY_MS),
      ...base.slice(2_990, 3_000),
      ...rows(A, 3_000, 3_040, "stream"),
      offGrid,
    ],
    [{ series: A, next: at(3_040) }],
  );
  said.outcomes = outcomes;
  await compress();
  // More rows than one decompression takes by itself.
  const all = await store.write(rows(B, 0, 2_500, "rest", 1), []);
  said.allRevised = all.outcomes.every((outcome) => outcome === "revised");
  await compress();

  // A file: over, beside and between what is compressed.
  const file = join(folder, "BTCUSDT_1h.csv");
  const inFile = rows(A, 2_950, 6_200, "csv", 2).map(({ candle }) => formatOwnRow(candle));
  await writeFile(file, `${[OWN_LAYOUT_HEADER, ...inFile].join("\n")}\n`);
  const report = await importInto(store, [file]);
  said.import = report.files.map(({ counts }) => counts);
  said.importedAgain = (await importInto(store, [file], { isAgain: true })).files.map(
    ({ counts }) => counts,
  );
  await compress();

  said.table = await tableText(store);
  said.revisions = await Promise.all(
    [A, B].map(async (one) =>
      (await store.revisions(one, ALWAYS, 100_000)).map(({ replaced, replacedBy }) => [
        replaced,
        replacedBy,
      ]),
    ),
  );
  said.reads = await reads(store);
  said.changes = await changesSince(store, start);
  return said;
}

async function reads(store: Store): Promise<object> {
  const { columns } = await store
    .columns(A, ALWAYS, ["open", "close", "volume"])
    .then((read) => ({ columns: read }));
  const { series: facts } = await store.facts();
  return {
    latest: await store.latest(A, 20),
    latestBefore: await store.latest(A, 20, at(3_050)),
    range: await store.range(A, { from: at(2_980), to: at(3_120) }, 1_000),
    asKnownThen: await store.range(A, { from: at(0), to: at(10) }, 100, at(0) + 450 * DAY_MS),
    columns,
    extent: await store.extent(A, ALWAYS),
    count: await store.count(A),
    share: await store.share(A, ALWAYS),
    holes: await store.holes(A, { from: T0, to: at(6_300) }),
    first: await store.firstStored(A),
    unconfirmed: await store.unconfirmed(A, ALWAYS, 50),
    confirmed: await store.saveConfirmed(B, T0, at(2_000), []),
    overview: await store.overview(),
    days: await store.coverageDays([A, B], { from: T0, to: at(6_300) }),
    facts: facts.map(({ latencyMs: _, ...fact }) => fact),
  };
}

async function changesSince(store: Store, start: number): Promise<object[]> {
  // A last one, by which the end is known.
  const end = candleAt(B, at(8_000), "rest");
  await store.write([end], []);
  const stop = new AbortController();
  const changes: CandleChange[] = [];
  for await (const page of store.follow(stop.signal, start)) {
    changes.push(...page);
    const last = changes.at(-1);
    const isEnd = last?.kind === "candle" && last.candle.candle.openTime === at(8_000);
    if (isEnd) stop.abort();
  }
  return changes.map(({ id: _, ...change }) => change);
}

/** What `verify --repair` does: candles that are wrong are read again, and those that are missing fetched. */
async function repair({ store, compress }: Subject, simulator: Simulator): Promise<object> {
  const series: Series = { exchange: "binance", symbol: "BTCUSDT", timeframe: "15m" };
  const from = Date.UTC(2024, 3, 1);
  const step = 900_000;
  const wrong = Array.from({ length: 1_200 }, (_, n) =>
    candleAt(series, from + n * step, "csv", {}, from),
  ).filter((_, n) => n < 500 || n >= 520);
  await store.write(wrong, []);
  await compress();
  const history = await openHistory({ store, url: simulator.url });
  const range = { from, to: from + 1_200 * step };
  const done = await history.repair([{ series, range }], [], [{ series, ranges: [range] }], NEVER);
  await compress();
  return {
    done,
    // The time at which they were seen is the clock's.
    candles: (await store.range(series, ALWAYS, 5_000)).map(({ candle, source }) => [
      source,
      candle,
    ]),
    replaced: (await store.revisions(series, ALWAYS, 5_000)).map(({ replaced }) => replaced),
    differing: await history.compare(series, [range], NEVER),
  };
}

async function withSubject<T>(
  server: TestServer,
  isCompressed: boolean,
  work: (subject: Subject) => Promise<T>,
): Promise<T> {
  const database = await createTestDatabase(server, "migrated");
  const admin = new Database({ url: database.url, poolSize: 1 });
  const store = await openStore({ url: database.url });
  const compression = new Compression(admin);
  const compress = async (): Promise<void> => {
    if (!isCompressed) return;
    const { busyCount } = await compression.compress(DAY_MS, NEVER);
    const { compressedCount, chunkCount } = await compression.facts();
    assert.deepEqual([busyCount, compressedCount], [0, chunkCount], "everything is compressed");
    assert.ok(chunkCount > 0);
  };
  try {
    return await work({ url: database.url, store, compress });
  } finally {
    await store.close();
    await admin.close();
    await database.drop();
  }
}

describe("compressed chunks", () => {
  test("every way of writing and reading ends as on plain PostgreSQL, digit for digit", {
    skip,
  }, async () => {
    const folder = await mkdtemp(join(tmpdir(), "bt-engine-"));
    try {
      const plain = await withSubject(await sharedServer(), false, (one) => script(one, folder));
      const compressed = await withSubject(timescale.server, true, (one) => script(one, folder));
      assert.deepEqual(compressed, plain);
      assert.deepEqual((plain as { outcomes: string[] }).outcomes.slice(0, 4), [
        ...["revised", "superseded", "identical", "identical"],
      ]);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  test("what is wrong or missing is repaired from the exchange", { skip }, async () => {
    const market = new SeededMarket({ listedAt: Date.UTC(2023, 0, 1) });
    const simulator = await startSimulator({
      market,
      clock: systemClock,
      startAt: Date.UTC(2024, 5, 1),
    });
    try {
      const plain = await withSubject(await sharedServer(), false, (one) => repair(one, simulator));
      const compressed = await withSubject(timescale.server, true, (one) => repair(one, simulator));
      assert.deepEqual(compressed, plain);
      const { candles, replaced, differing } = plain as {
        [name: string]: readonly unknown[];
      };
      assert.deepEqual([candles?.length, replaced?.length, differing], [1_200, 1_180, []]);
    } finally {
      await simulator.close();
    }
  });

  test("with the three roles: the ingester corrects what is compressed, and only the owner changes it", {
    skip,
  }, async () => {
    await withSubject(timescale.server, true, async ({ url: its, store, compress }) => {
      const prefix = `bt_engine_${process.pid}_`;
      const admin = new Database({ url: its, poolSize: 1 });
      const as = (role: string): string => {
        const own = new URL(its);
        own.username = `${prefix}${role}`;
        own.password = "pw";
        return own.href;
      };
      const text = await readFile(join(import.meta.dirname, "../ops/postgres/roles.sql"), "utf8");
      const script = text.replaceAll("black_trade_", prefix);
      await store.write(rows(A, 0, 3_000, "stream"), []);
      await compress();
      await new Rollups(admin).make(twoDays(), "1h");
      await admin.run({ text: script });
      await admin.run({ text: script });
      for (const role of ["migrator", "ingest", "reader"]) {
        await admin.run({ text: `alter role ${prefix}${role} password 'pw'` });
      }
      const ingest = new Database({ url: as("ingest"), poolSize: 1 });
      const migrator = new Database({ url: as("migrator"), poolSize: 1 });
      try {
        const limited = await openStore({ url: as("ingest") });
        const { outcomes } = await limited.write(
          [candleAt(A, at(5), "rest", { volume: "99.000" }), ...rows(A, 2_999, 3_002, "stream")],
          [],
        );
        assert.deepEqual(outcomes, ["revised", "identical", "stored", "stored"]);
        await limited.close();
        const refused = { code: "E_DB_RIGHT", message: /does not own the tables/ };
        await assert.rejects(new Compression(ingest).compress(DAY_MS, NEVER), refused);
        await assert.rejects(new Compression(ingest).stop(), refused);
        await assert.rejects(new Rollups(ingest).make(twoDays(), "1h"), refused);
        await assert.rejects(new Rollups(ingest).drop("2d"), refused);
        await new Compression(migrator).compress(DAY_MS, NEVER);
        await new Rollups(migrator).make(twoDays(), "1h");
        const reader = new Database({ url: as("reader"), poolSize: 1 });
        const [row] = await reader.run<{ volume: string }>({
          text: "select volume from derived_candles_2d order by timestamp limit 1",
        });
        assert.ok(Number(row?.volume) > 99, "the correction is in the derived candle");
        await reader.close();
        const retention = new Retention(migrator);
        const excess = await retention.excess([{ timeframe: "1h", ageMs: 2 * DAY_MS }]);
        assert.equal((await retention.remove(excess, NEVER)).candleCount, 3_002);
      } finally {
        await ingest.close();
        await migrator.close();
        for (const role of ["ingest", "reader", "migrator"]) {
          await admin.run({ text: `drop owned by ${prefix}${role} cascade` });
          await admin.run({ text: `drop role ${prefix}${role}` });
        }
        await admin.close();
      }
    });
  });
});

function twoDays() {
  const derived = parseDerived("2d");
  assert.ok(typeof derived !== "string");
  return derived;
}
