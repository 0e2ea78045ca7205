import assert from "node:assert/strict";
import { describe, test as nodeTest } from "node:test";
import { aggregate } from "../src/core/aggregate.ts";
import { parseDerived } from "../src/core/derived.ts";
import type { VersionedCandle } from "../src/core/finality.ts";
import { emptyAnswer, notFetchedGap } from "../src/core/gaps.ts";
import type { Series } from "../src/core/series.ts";
import { openTimeAt } from "../src/core/timeframe.ts";
import { detectGaps } from "../src/ingest/detect.ts";
import { verify } from "../src/ingest/verify.ts";
import {
  Compression,
  Database,
  migrate,
  migrateDown,
  migrationStates,
  openStore,
  Retention,
  type Rollup,
  Rollups,
  type Store,
} from "../src/store/index.ts";
import { candleAt } from "./conformance/store-suite.ts";
import {
  createTestDatabase,
  sharedServer,
  type TestServer,
  timescale,
} from "./support/postgres.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
const ALWAYS = { from: 0, to: Number.MAX_SAFE_INTEGER };
const NEVER = new AbortController().signal;
const TODAY = Math.floor(Date.now() / DAY_MS) * DAY_MS;

interface Engine {
  readonly url: string;
  readonly admin: Database;
  readonly store: Store;
  readonly retention: Retention;
  readonly rollups: Rollups;
  readonly compression: Compression;
}

const servers: readonly {
  readonly name: string;
  readonly isTimescale: boolean;
  readonly skip: string | false;
  readonly server: () => Promise<TestServer>;
}[] = [
  { name: "plain PostgreSQL", isTimescale: false, skip: false, server: sharedServer },
  {
    name: "TimescaleDB",
    isTimescale: true,
    skip: timescale.skip,
    server: async () => timescale.server,
  },
];

const seriesOf = (timeframe: Series["timeframe"], symbol = "BTCUSDT"): Series => ({
  exchange: "binance",
  symbol,
  timeframe,
});

/** Candles one after the other, each with values of its own. */
function rows(series: Series, from: number, count: number, stepMs: number): VersionedCandle[] {
  return Array.from({ length: count }, (_, n) =>
    candleAt(series, from + n * stepMs, "rest", {
      ...{ open: `${100 + (n % 7)}.5`, close: `${99 + (n % 5)}.25`, high: "110", low: "90" },
      ...{ volume: `${n % 11}.00000001`, tradeCount: n % 13 },
    }),
  );
}

async function fill(store: Store, candles: readonly VersionedCandle[]): Promise<void> {
  for (let at = 0; at < candles.length; at += 5_000) {
    await store.write(candles.slice(at, at + 5_000), []);
  }
}

for (const { name, isTimescale, skip, server } of servers) {
  describe(name, { concurrency: 2 }, () => {
    const test = (title: string, run: (engine: Engine) => Promise<void>): void => {
      nodeTest(title, { skip }, async () => {
        const database = await createTestDatabase(await server(), "migrated");
        const admin = new Database({ url: database.url, poolSize: 2 });
        const store = await openStore({ url: database.url });
        try {
          await run({
            ...{ url: database.url, admin, store },
            retention: new Retention(admin),
            rollups: new Rollups(admin),
            compression: new Compression(admin),
          });
        } finally {
          await store.close();
          await admin.close();
          await database.drop();
        }
      });
    };

    const remove = async ({ retention }: Engine, days: number, timeframe: Series["timeframe"]) =>
      retention.remove(await retention.excess([{ timeframe, ageMs: days * DAY_MS }]), NEVER);

    test("retain: older candles and their revisions go, the ledger says so, nothing is fetched again", async (engine) => {
      const { store, retention } = engine;
      const minutes = seriesOf("1m");
      const start = TODAY - 40 * DAY_MS;
      const cut = TODAY - 30 * DAY_MS;
      const kept = rows(minutes, cut, 500, MINUTE_MS);
      await fill(store, [...rows(minutes, start, 14_400, MINUTE_MS), ...kept]);
      await fill(store, [candleAt(minutes, start, "rest", { volume: "5" }, TODAY + 400 * DAY_MS)]);
      assert.equal((await store.revisions(minutes, ALWAYS, 10)).length, 1);
      const hours = rows(seriesOf("1h"), start, 240, HOUR_MS);
      await fill(store, hours);
      // What the ledger knew before: an outage, a stretch still to be fetched, one across the edge.
      const outage = emptyAnswer(minutes, { from: start - DAY_MS, to: start - HOUR_MS }, start);
      await store.open([
        { ...outage, state: "confirmed" },
        notFetchedGap(minutes, { from: start - HOUR_MS, to: start }, TODAY),
        notFetchedGap(minutes, { from: cut + 600 * MINUTE_MS, to: TODAY }, TODAY),
      ]);

      const [planned] = await retention.excess([{ timeframe: "1m", ageMs: 30 * DAY_MS }]);
      assert.deepEqual(
        [planned?.before, planned?.candleCount, planned?.revisionCount],
        [cut, 14_400, 1],
      );
      assert.equal(await store.count(minutes), 14_900, "planning removes nothing");
      const removed = await remove(engine, 30, "1m");
      assert.equal(removed.candleCount, 14_400);
      assert.equal(removed.revisionCount, 1);

      assert.deepEqual(await store.range(minutes, ALWAYS, 20_000), kept);
      assert.deepEqual(await store.range(seriesOf("1h"), ALWAYS, 1_000), hours);
      assert.deepEqual(await store.revisions(minutes, ALWAYS, 10), []);
      const ledger = await store.gaps(minutes);
      assert.deepEqual(
        ledger.map(({ range, reason, state }) => [range.from, range.to, reason, state]),
        [
          [start - DAY_MS, start - HOUR_MS, "exchange-had-none", "confirmed"],
          [start - HOUR_MS, cut, "not-kept", "confirmed"],
          [cut + 600 * MINUTE_MS, TODAY, "not-fetched", "open"],
        ],
      );
      const detected = await detectGaps(store, minutes, { from: start - DAY_MS, to: cut }, TODAY);
      assert.deepEqual(detected.unknown, [], "taken for missing");
      const due = await store.due([minutes], TODAY + 3_650 * DAY_MS, 10);
      assert.ok(!due.some(({ reason }) => reason === "not-kept"), "asked for again");

      // The ingester with a longer history than what is kept.
      await store.begin({ mode: "polling", host: "here", pid: 1 }, [minutes]);
      await store.want([{ series: minutes, wantedFrom: cut }], TODAY);
      await store.want([{ series: minutes, wantedFrom: start }], TODAY);
      assert.deepEqual(await store.gaps(minutes), ledger);
      const { series: facts } = await store.facts();
      const fact = facts.find(({ series }) => series.timeframe === "1m");
      assert.deepEqual([fact?.keptFrom, fact?.confirmedGapCount], [cut, 1]);
      await store.end();

      assert.equal((await remove(engine, 30, "1m")).candleCount, 0, "a repeat removes more");
      assert.deepEqual(await store.gaps(minutes), ledger);
      const [last] = await retention.excess([{ timeframe: "1m", ageMs: 29 * DAY_MS }]);
      assert.equal(last?.candleCount, 500);
      await remove(engine, 29, "1m");
      assert.deepEqual(
        (await retention.list()).map(({ range }) => range),
        // Up to the newest candle: what is to come behind it is not spoken of.
        [{ from: start - HOUR_MS, to: cut + 500 * MINUTE_MS }],
      );
    });

    test("retain: the calendar and verify say what is not kept, and what a file brings again", async ({
      store,
      retention,
    }) => {
      const [days, weeks] = [seriesOf("1d"), seriesOf("1w")];
      const first = openTimeAt("1w", TODAY - 70 * DAY_MS);
      const dayRows = rows(days, first, 63, DAY_MS);
      const weekRows = Array.from({ length: 9 }, (_, n) => {
        const week = first + n * 7 * DAY_MS;
        const parts = dayRows.slice(n * 7, n * 7 + 7).map(({ candle }) => candle);
        const candle = aggregate("1w", week, parts);
        assert.ok(candle !== undefined);
        return candleAt(weeks, week, "rest", candle);
      });
      await fill(store, [...dayRows, ...weekRows]);
      // So that the edge lies within a week.
      const inWeek =
        [24, 25].find((age) => openTimeAt("1w", TODAY - age * DAY_MS) < TODAY - age * DAY_MS) ?? 24;
      const cut = TODAY - inWeek * DAY_MS;
      await store.begin({ mode: "polling", host: "here", pid: 1 }, [days, weeks]);
      await store.want([{ series: days, wantedFrom: first }], TODAY);
      await store.write([], [{ series: days, next: first + 63 * DAY_MS }]);
      await retention.remove(
        await retention.excess([{ timeframe: "1d", ageMs: inWeek * DAY_MS }]),
        NEVER,
      );
      const range = { from: first, to: first + 63 * DAY_MS };
      const states = async () =>
        (await store.coverageDays([days], range)).map(({ storedCount, absent }) => [
          storedCount,
          ...absent.map(({ reason, count }) => `${count} ${reason}`),
        ]);
      const goneCount = (cut - first) / DAY_MS;
      const expected = Array.from({ length: 63 }, (_, n) =>
        n < goneCount ? [0, "1 not-kept"] : [1],
      );
      assert.deepEqual(await states(), expected);

      const { findings, certificates } = await verify(
        { store, createHash: () => ({ update: () => undefined, digest: () => "" }) },
        [days, weeks].map((series) => ({ series, range })),
        NEVER,
      );
      assert.deepEqual(
        // A week that lacks some of its days is not compared with the others.
        findings.filter(({ severity, check }) => severity !== "info" || check === "timeframes"),
        [],
      );
      const daily = certificates.find(({ series }) => series.timeframe === "1d");
      assert.deepEqual([daily?.isClean, daily?.absentCounts], [true, { "not-kept": goneCount }]);

      // Somebody's file brings two of them again.
      await store.write(dayRows.slice(3, 5), []);
      expected[3] = expected[4] = [1, "0 not-kept"];
      assert.deepEqual(await states(), expected);
    });

    test("retain: stopped, it goes on; beside a writer nothing is lost; wanted again, all is due", async (engine) => {
      const { store, retention } = engine;
      const series = seriesOf("1m", "ETHUSDT");
      const start = TODAY - 60 * DAY_MS;
      await fill(store, rows(series, start, 25_000, MINUTE_MS));
      // One that stays, so that no chunk goes whole.
      await fill(store, rows(seriesOf("1h"), start, 2, HOUR_MS));
      const cut = TODAY - 30 * DAY_MS;
      const excess = await retention.excess([{ timeframe: "1m", ageMs: 30 * DAY_MS }]);
      const stop = new AbortController();
      await assert.rejects(
        retention.remove(excess, stop.signal, () => stop.abort(new Error("stopped"))),
        /stopped/,
      );
      const left = await store.count(series);
      assert.equal(left, 15_000);
      const [first] = await store.range(series, ALWAYS, 1);
      const [entry] = await store.gaps(series);
      assert.deepEqual(entry?.range, { from: start, to: first?.candle.openTime });

      const live = rows(series, TODAY - DAY_MS, 400, MINUTE_MS);
      await store.write(live.slice(0, 1), []);
      const writing = (async () => {
        for (let at = 0; at < live.length; at += 20) await store.write(live.slice(at, at + 20), []);
      })();
      await Promise.all([retention.remove(excess, NEVER), writing]);
      assert.deepEqual(await store.range(series, ALWAYS, 1_000), live);
      assert.deepEqual(
        (await retention.list()).map(({ range }) => range),
        // What was never stored before the edge is not kept either.
        [{ from: start, to: cut }],
      );
      await retention.wantAgain(["1h"]);
      assert.equal((await retention.list()).length, 1);
      await retention.wantAgain(["1m"]);
      const due = await store.due([series], Date.now() + DAY_MS, 10);
      assert.deepEqual(
        due.map(({ range, reason, state }) => [range, reason, state]),
        [[{ from: start, to: cut }, "not-fetched", "open"]],
      );
    });

    test("retain: what answers a gap that is not kept any more does not take that out of the ledger", async (engine) => {
      const { store, retention } = engine;
      const hours = seriesOf("1h");
      const range = { from: TODAY - 40 * DAY_MS, to: TODAY - 30 * DAY_MS };
      const gap = notFetchedGap(hours, range, TODAY);
      await fill(store, rows(hours, range.to, 10, HOUR_MS));
      await store.open([gap]);
      // Filled, and before the ledger is told so the candles go.
      await fill(store, rows(hours, range.from, 240, HOUR_MS));
      assert.equal((await remove(engine, 30, "1h")).candleCount, 240);
      await store.replace(gap, []);
      assert.deepEqual(
        (await retention.list()).map((one) => one.range),
        [range],
      );
      const { unknown } = await detectGaps(store, hours, range, TODAY);
      assert.deepEqual(unknown, []);
    });

    test("retain: whoever may not delete is told so, and what to do", async ({
      admin,
      store,
      url: its,
    }) => {
      await fill(store, rows(seriesOf("1d"), TODAY - 90 * DAY_MS, 30, DAY_MS));
      const role = `bt_engine_${process.pid}_${isTimescale ? "t" : "p"}`;
      await admin.run({ text: `create role ${role} login password 'pw'` });
      try {
        await admin.run({
          text: `grant select, insert, update on all tables in schema public to ${role}`,
        });
        await admin.run({ text: `grant usage on schema public to ${role}` });
        const own = new URL(its.replace("@/", "@localhost/"));
        own.username = role;
        own.password = "pw";
        const database = new Database({ url: own.href, poolSize: 1 });
        const limited = new Retention(database);
        const excess = await limited.excess([{ timeframe: "1d", ageMs: 30 * DAY_MS }]);
        await assert.rejects(limited.remove(excess, NEVER), {
          code: "E_DB_RIGHT",
          message: `user "${role}" may not delete: it has no DELETE on candles`,
        });
        await database.close();
        assert.equal(await store.count(seriesOf("1d")), 30);
      } finally {
        await admin.run({ text: `drop owned by ${role}` });
        await admin.run({ text: `drop role ${role}` });
      }
    });

    test("rollup: made, and dropped, by several at once", async ({ admin, store, rollups }) => {
      const derived = parseDerived("45m");
      assert.ok(typeof derived !== "string");
      await fill(store, rows(seriesOf("1m"), TODAY - DAY_MS, 90, MINUTE_MS));
      const others = [rollups, new Rollups(admin)];
      for (let round = 0; round < 5; round += 1) {
        const made: readonly Rollup[] = await Promise.all(
          others.map((one) => one.make(derived, "1m")),
        );
        assert.deepEqual(
          made.map(({ timeframe }) => timeframe),
          ["45m", "45m"],
        );
        const dropped = await Promise.all(others.map((one) => one.drop("45m")));
        assert.deepEqual(dropped.toSorted(), [false, true]);
      }
    });

    test("rollup: exact, aligned, marked; corrections reach it; the exchange's timeframes stay apart", async (engine) => {
      const { admin, store, rollups } = engine;
      const derived = parseDerived("45m");
      assert.ok(typeof derived !== "string");
      const series = seriesOf("1m");
      const start = Date.UTC(2024, 0, 1, 0, 45);
      const all = rows(series, start, 300, MINUTE_MS);
      const candles = all.filter((_, n) => n !== 100 && n < 290);
      const off = candleAt(series, start + 100 * MINUTE_MS + 7_000, "rest", { high: "111" });
      await fill(store, [
        ...candles,
        off,
        ...rows(seriesOf("1h"), start - 45 * MINUTE_MS, 9, HOUR_MS),
      ]);
      const made = await rollups.make(derived, "1m");
      assert.equal(made.kind, isTimescale ? "stored" : "read");
      interface Row {
        readonly [column: string]: unknown;
        readonly timestamp: number;
        readonly volume: string;
      }
      const read = () =>
        admin.run<Row>({ text: "select * from derived_candles_45m order by timestamp" });
      const found = await read();
      const cells = Map.groupBy(
        [...candles, off],
        ({ candle }) => Math.floor(candle.openTime / derived.stepMs) * derived.stepMs,
      );
      assert.equal(found.length, 7);
      for (const row of found) {
        const parts = (cells.get(row.timestamp) ?? [])
          .map(({ candle }) => candle)
          .sort((a, b) => a.openTime - b.openTime);
        const expected = aggregate("1h", row.timestamp, parts);
        assert.deepEqual(
          [row.open, row.high, row.low, row.close, row.trades],
          [expected?.open, expected?.high, expected?.low, expected?.close, expected?.tradeCount],
        );
        // Exact: as many hundred-millionths as there were.
        const sum = parts.reduce((total, { volume }) => total + toUnits(volume), 0n);
        assert.equal(toUnits(row.volume), sum);
        const isWhole =
          row.timestamp !== start + 90 * MINUTE_MS && row.timestamp !== start + 270 * MINUTE_MS;
        const { exchange, symbol, timeframe, source_timeframe, expected_count } = row;
        assert.deepEqual(
          { exchange, symbol, timeframe, source_timeframe, expected_count },
          {
            exchange: "binance",
            symbol: "BTCUSDT",
            timeframe: "45m",
            source_timeframe: "1m",
            expected_count: 45,
          },
        );
        assert.equal(row.source_count, parts.length);
        assert.equal(row.is_whole, isWhole, String(row.timestamp));
        assert.equal(row.close_time, row.timestamp + 45 * MINUTE_MS - 1);
      }
      // The one with an off-grid row in the place of a missing one has 45 rows, and is not whole.
      assert.equal(found.find((row) => row.timestamp === start + 90 * MINUTE_MS)?.source_count, 45);
      const names = await admin.run<{ timeframe: string }>({
        text: "select distinct timeframe from ohlcv_candles order by 1",
      });
      assert.deepEqual(names, [{ timeframe: "1h" }, { timeframe: "1m" }]);

      await store.write(
        [candleAt(series, start, "rest", { high: "150", volume: "7" }, TODAY + 400 * DAY_MS)],
        [],
      );
      await rollups.make(derived, "1m");
      const [corrected] = await read();
      assert.equal(corrected?.high, "150");

      // Those of the cell that forms show at once.
      const twoDays = parsed("2d");
      const cell = Math.floor(Date.now() / twoDays.stepMs) * twoDays.stepMs;
      await fill(store, rows(series, cell, 5, MINUTE_MS));
      await rollups.make(twoDays, "1m");
      await fill(store, rows(series, cell + 5 * MINUTE_MS, 3, MINUTE_MS));
      const [forming] = await admin.run<Row>({
        text: "select * from derived_candles_2d order by timestamp desc limit 1",
      });
      assert.deepEqual(
        [forming?.timestamp, forming?.source_count, forming?.is_whole],
        [cell, 8, false],
      );
      await rollups.drop("2d");

      const fromHours = await rollups.make(parsed("2w"), "1h");
      assert.equal(fromHours.source, "1h");
      const [week] = await admin.run<Row>({ text: "select * from derived_candles_2w" });
      assert.equal(new Date(week?.timestamp ?? 0).getUTCDay(), 1);
      assert.deepEqual(
        (await rollups.list()).map(({ timeframe, source }) => [timeframe, source]),
        [
          ["2w", "1h"],
          ["45m", "1m"],
        ],
      );
      assert.equal((await rollups.make(derived, "5m")).source, "5m");
      assert.deepEqual(await read(), []);
      assert.equal(await rollups.drop("45m"), true);
      assert.equal(await rollups.drop("45m"), false);
      assert.deepEqual(
        (await rollups.list()).map(({ timeframe }) => timeframe),
        ["2w"],
      );
      assert.equal(await store.count(series), 298);
    });

    test("migrations go down under derived timeframes and compression, and up again with every candle", async ({
      admin,
      store,
      rollups,
      compression,
      url: its,
    }) => {
      const series = seriesOf("1d");
      await fill(store, rows(series, TODAY - 700 * DAY_MS, 600, DAY_MS));
      const before = await store.range(series, ALWAYS, 1_000);
      await rollups.make(parsed("2d"), "1d");
      await rollups.make(parsed("5d"), "1d");
      if (isTimescale) {
        const { chunks } = await compression.compress(30 * DAY_MS, NEVER);
        assert.ok(chunks.length > 2);
      }
      const names = (await migrationStates(admin))
        .filter(({ state }) => state === "applied")
        .map((one) => one.name);
      const count = names.length - 3;
      assert.equal((await migrateDown(admin, count)).length, count);
      assert.equal(
        (await admin.run<{ count: number }>({ text: "select count(*) from candles" }))[0]?.count,
        600,
      );
      await migrate(admin);
      const again = await openStore({ url: its });
      assert.deepEqual(await again.range(series, ALWAYS, 1_000), before);
      await again.close();
      assert.deepEqual(await rollups.list(), []);
    });

    if (isTimescale) {
      test("retain: a chunk that holds nothing else is dropped whole, compressed or not", async ({
        store,
        retention,
        compression,
      }) => {
        const [minutes, hours] = [seriesOf("1h"), seriesOf("1d")];
        const start = TODAY - 400 * DAY_MS;
        await fill(store, rows(minutes, start, 300 * 24, HOUR_MS));
        await compression.compress(200 * DAY_MS, NEVER);
        const keeps = [{ timeframe: "1h", ageMs: 120 * DAY_MS }] as const;
        const excess = await retention.excess(keeps);
        const removed = await retention.remove(excess, NEVER);
        assert.ok(removed.chunkCount >= 2, `${removed.chunkCount} chunks`);
        assert.equal(removed.candleCount, excess[0]?.candleCount);
        const [first] = await store.range(minutes, ALWAYS, 1);
        assert.equal(first?.candle.openTime, excess[0]?.before);
        assert.deepEqual(
          (await retention.list()).map(({ range }) => range),
          [{ from: start, to: excess[0]?.before }],
        );
        // Another timeframe in the chunk keeps it.
        await fill(store, [
          ...rows(minutes, start, 100, HOUR_MS),
          ...rows(hours, start, 4, DAY_MS),
        ]);
        const again = await retention.remove(await retention.excess(keeps), NEVER);
        assert.deepEqual([again.candleCount, again.chunkCount], [100, 0]);
        assert.equal(await store.count(hours), 4);
      });

      test("compress: the policy, what is due at once, what it takes; a repeat changes nothing", async ({
        store,
        compression,
      }) => {
        const none = await compression.facts();
        assert.deepEqual(
          [none.obstacle, none.afterMs, none.compressedCount],
          [undefined, undefined, 0],
        );
        await fill(store, rows(seriesOf("1h"), TODAY - 300 * DAY_MS, 300 * 24 - 5, HOUR_MS));
        const seen: number[] = [];
        const { chunks, busyCount } = await compression.compress(
          30 * DAY_MS,
          NEVER,
          (done, total) => seen.push(done, total),
        );
        assert.equal(busyCount, 0);
        assert.deepEqual(
          seen,
          chunks.flatMap((_, at) => [at, chunks.length]),
        );
        assert.ok(chunks.every(({ range }) => range.to <= Date.now() - 30 * DAY_MS));
        const facts = await compression.facts();
        assert.equal(facts.afterMs, 30 * DAY_MS);
        assert.equal(facts.compressedCount, chunks.length);
        assert.ok(facts.chunkCount > chunks.length, "the newest chunk is left alone");
        assert.ok(facts.compressedBytes * 2 < facts.uncompressedBytes);
        const again = await compression.compress(60 * DAY_MS, NEVER);
        assert.deepEqual(again.chunks, []);
        assert.equal((await compression.facts()).afterMs, 60 * DAY_MS);
        assert.equal(await compression.stop(), true);
        assert.equal(await compression.stop(), false);
        const stopped = await compression.facts();
        assert.deepEqual([stopped.afterMs, stopped.compressedCount], [undefined, chunks.length]);
      });

      test("compress and retain: what another one did meanwhile is done", async (engine) => {
        const { admin, store, compression, retention } = engine;
        await fill(store, rows(seriesOf("1h"), TODAY - 400 * DAY_MS, 400 * 24 - 5, HOUR_MS));
        await compression.compress(30 * DAY_MS, NEVER);
        await admin.run({ text: "select decompress_chunk(c, true) from show_chunks('candles') c" });
        const first = "select c::text as name from show_chunks('candles') c order by 1 limit 1";
        const [{ name } = { name: "" }] = await admin.run<{ name: string }>({ text: first });
        /** Does `text` in a transaction that ends only when `other` waits for it. */
        const during = async <T>(text: string, other: () => Promise<T>): Promise<T> => {
          let result: Promise<T> | undefined;
          await admin.transaction(async (tx) => {
            await tx.run({ text });
            result = other();
            result.catch(() => undefined);
            const isWaitedFor = async (): Promise<boolean> => {
              // What is known of other sessions stands still in a transaction.
              await tx.run({ text: "select pg_stat_clear_snapshot()" });
              const waiting = await tx.run({
                text: "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
              });
              return waiting.length > 0;
            };
            for (let n = 0; n < 500 && !(await isWaitedFor()); n += 1)
              await new Promise((resolve) => setTimeout(resolve, 5));
          });
          return result ?? assert.fail("not begun");
        };
        const { chunkCount } = await compression.facts();
        const { chunks, busyCount } = await during(`select compress_chunk('${name}')`, () =>
          compression.compress(30 * DAY_MS, NEVER),
        );
        assert.equal(busyCount, 0);
        const { compressedCount } = await compression.facts();
        assert.deepEqual(
          [chunks.length, compressedCount > chunks.length],
          [compressedCount - 1, true],
        );
        const [one] = await Promise.all(
          [compression, new Compression(admin)].map((each) => each.compress(30 * DAY_MS, NEVER)),
        );
        assert.deepEqual(one?.chunks, []);
        assert.equal(await store.count(seriesOf("1h")), 400 * 24 - 5);

        const excess = await retention.excess([{ timeframe: "1h", ageMs: 200 * DAY_MS }]);
        await during(`drop table ${name}`, () => retention.remove(excess, NEVER));
        assert.equal(await store.count(seriesOf("1h")), 200 * 24 - 5);
        assert.ok((await compression.facts()).chunkCount < chunkCount);
      });
    } else {
      test("compress: says in one line that plain PostgreSQL has nothing like it", async ({
        compression,
      }) => {
        const facts = await compression.facts();
        assert.match(
          facts.obstacle ?? "",
          /^the server does not have TimescaleDB, and plain PostgreSQL/,
        );
        assert.ok(facts.totalBytes > 0);
        await assert.rejects(compression.compress(30 * DAY_MS, NEVER), {
          code: "E_DB_FEATURE",
          exit: 1,
        });
        assert.equal(await compression.stop(), false);
      });
    }
  });
}

function parsed(name: string) {
  const derived = parseDerived(name);
  assert.ok(typeof derived !== "string");
  return derived;
}

/** Hundred-millionths. */
function toUnits(text: string): bigint {
  const [whole = "", fraction = ""] = text.split(".");
  return BigInt(whole + fraction.padEnd(8, "0").slice(0, 8));
}
