import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import {
  CandleRepository,
  type Connection,
  connect,
  IngestionRepository,
  type NewCandle,
  type StreamedCandle,
} from "../src/index.ts";
import { candleAt, freshSeries } from "./conformance/store-suite.ts";
import { createTestDatabase, sharedServer, type TestDatabase } from "./support/postgres.ts";

const T0 = Date.UTC(2025, 0, 1);
const MINUTE_MS = 60_000;

const gold = (minute: number, values: Partial<NewCandle> = {}): NewCandle => ({
  ...{ exchange: "mine", symbol: "GOLD", timeframe: "1m", openTime: T0 + minute * MINUTE_MS },
  ...{ open: "10", high: "12.50", low: "9", close: "11", volume: "3.000" },
  ...values,
});

describe("the library", () => {
  let database: TestDatabase;
  let db: Connection;
  let reader: Connection;

  before(async () => {
    database = await createTestDatabase(await sharedServer(), "empty");
    // The one that writes also migrates.
    db = await connect({ url: database.url, access: "write" });
    reader = await connect({ url: database.url });
  });
  after(async () => {
    await db?.close();
    await reader?.close();
    await database?.drop();
  });

  test("a saved candle comes back digit for digit; numbers are the nearest doubles", async () => {
    assert.equal(await db.candles.saveCandle(gold(0)), "stored");
    assert.equal(await db.candles.saveCandle(gold(0)), "identical");
    const [candle] = await reader.candles.latest({
      symbol: "GOLD",
      timeframe: "1m",
      exchange: "mine",
    });
    assert.ok(candle);
    const { observedTime, ...rest } = candle;
    assert.ok(Math.abs(observedTime - Date.now()) < 60_000);
    assert.deepEqual(rest, {
      ...{ exchange: "mine", symbol: "GOLD", timeframe: "1m", openTime: T0 },
      ...{ closeTime: T0 + MINUTE_MS - 1, open: "10", high: "12.50", low: "9", close: "11" },
      ...{ volume: "3.000", quoteVolume: "0", tradeCount: 0, takerBuyVolume: "0" },
      ...{ takerBuyQuoteVolume: "0", source: "csv-partial" },
    });
  });

  test("each bad row of a batch has its reason, and costs no good one", async () => {
    const now = Date.now();
    const bad: readonly (readonly [code: string, row: unknown])[] = [
      ["high-below-low", gold(10, { high: "1" })],
      ["not-a-decimal", gold(11, { close: "1e5" })],
      ["not-a-decimal", { ...gold(12), close: 11 }],
      ["not-a-decimal", { ...gold(13), open: undefined, volume: "-1" }],
      ["not-a-time", gold(14, { openTime: new Date(Number.NaN) })],
      ["not-a-time", gold(15, { openTime: 1_735_689_600 })],
      ["not-a-count", gold(16, { tradeCount: 1.5 })],
      ["not-a-series", gold(17, { symbol: "" })],
      ["not-a-series", gold(18, { symbol: "A\0B" })],
      ["not-a-series", { ...gold(19), timeframe: "1D" }],
      // Of a month: a minute might close while the test runs.
      ["not-closed", { ...gold(0, { openTime: now - 1_000 }), timeframe: "1M" }],
      ["from-the-future", gold(0, { openTime: now + MINUTE_MS })],
      ["off-grid", gold(20, { openTime: T0 + 500 })],
      ["off-grid", { ...gold(21), timeframe: "1h" }],
    ];
    const batch = bad.flatMap(([, row], index) => [row as NewCandle, gold(100 + index)]);
    const { outcomes, refusals, counts } = await db.candles.saveBatch(batch);
    assert.deepEqual(
      outcomes,
      bad.flatMap(() => ["refused", "stored"]),
    );
    assert.deepEqual(
      refusals.map(({ index, code }) => [index / 2, code]),
      bad.map(([code], index) => [
        index,
        code === "not-a-decimal" && index === 3 ? "not-a-decimal" : code,
      ]),
    );
    assert.deepEqual(counts, { stored: 14, identical: 0, superseded: 0, refused: 14 });
  });

  test("rows of a program without types cost no good one, either", async () => {
    const bad: readonly (readonly [code: string, row: unknown])[] = [
      ["not-a-series", null],
      ["not-a-series", undefined],
      ["not-a-series", "GOLD"],
      ["not-a-series", { ...gold(0), symbol: 10n }],
      ["not-a-series", gold(0, { symbol: "\ud800" })],
      // Of "a:b" and "c" could not be told what "a" and "b:c" are.
      ["not-a-series", gold(0, { exchange: "mine:GOLD" })],
      ["not-a-time", { ...gold(0), openTime: BigInt(T0) }],
      ["not-a-decimal", { ...gold(0), volume: undefined }],
      ["not-a-decimal", { ...gold(0), volume: null }],
    ];
    const series = { exchange: "mine", symbol: "UNTYPED" };
    const batch = bad.flatMap(([, row], index) => [row as NewCandle, gold(index, series)]);
    const { outcomes, refusals } = await db.candles.saveBatch(batch);
    assert.deepEqual(
      outcomes,
      bad.flatMap(() => ["refused", "stored"]),
    );
    assert.deepEqual(
      refusals.map(({ code }) => code),
      bad.map(([code]) => code),
    );
  });

  test("null is not told, as nothing is", async () => {
    const values = { exchange: "mine", symbol: "NULLS", tradeCount: 1, takerBuyVolume: "1" };
    const told = { ...gold(0, values), takerBuyQuoteVolume: "1", quoteVolume: null };
    await db.candles.saveCandle(told as unknown as NewCandle);
    const [candle] = await db.candles.latest({ ...values, timeframe: "1m" });
    assert.equal(candle?.quoteVolume, "0");
    assert.equal(candle?.source, "csv-partial");
  });

  test("a query that cannot be meant is refused in words", async () => {
    const odd: readonly object[] = [
      ...[{ symbol: undefined }, { symbol: "" }, { symbol: 5 }, { exchange: "" }],
      ...[{ exchange: null }, { exchange: "mine:GOLD" }, { timeframe: "1D" }, { fields: "open" }],
    ];
    for (const part of odd) {
      const query = { symbol: "GOLD", timeframe: "1m" as const, exchange: "mine", ...part };
      await assert.rejects(reader.candles.toColumns(query), { code: "E_USAGE" });
    }
  });

  test("what an exchange served is never replaced; of two saves the later one counts", async () => {
    const series = freshSeries();
    const mine = { ...series, ...gold(0), exchange: series.exchange, symbol: series.symbol };
    assert.equal(await db.candles.saveCandle(mine), "stored");
    await sleep(5);
    assert.equal(await db.candles.saveCandle({ ...mine, close: "11.5" }), "stored");
    await db.store.write([candleAt(series, T0, "stream")], []);
    await sleep(5);
    assert.equal(await db.candles.saveCandle({ ...mine, close: "12" }), "superseded");
    const [stored] = await db.candles.latest(series);
    assert.deepEqual([stored?.source, stored?.close], ["stream", "100"]);
  });

  test("reads agree: latest, range, columns, exact columns, Arrow", async () => {
    const series = freshSeries();
    await db.store.write(
      Array.from({ length: 300 }, (_, index) =>
        candleAt(series, T0 + index * MINUTE_MS, "rest", {
          tradeCount: index,
          volume: `${index}.10`,
        }),
      ),
      [],
    );
    const from = new Date(T0 + 100 * MINUTE_MS);
    const to = T0 + 200 * MINUTE_MS;
    const rows = [];
    for await (const row of reader.candles.range({ ...series, from, to })) rows.push(row);
    assert.equal(rows.length, 100);
    assert.deepEqual(rows.at(-1), (await reader.candles.latest({ ...series, before: to }))[0]);
    const fields = ["volume", "tradeCount"] as const;
    const columns = await reader.candles.toColumns({ ...series, from, to, fields });
    assert.deepEqual(
      [...columns.openTime],
      rows.map(({ openTime }) => openTime),
    );
    assert.deepEqual(
      [...columns.volume],
      rows.map(({ volume }) => Number(volume)),
    );
    const exact = await reader.candles.toColumns({
      ...{ ...series, from, to, fields, exact: true, time: "bigint" },
    } as const);
    assert.deepEqual(
      exact.volume,
      rows.map(({ volume }) => volume),
    );
    assert.deepEqual(exact.tradeCount, columns.tradeCount);
    assert.deepEqual(
      [...exact.openTime],
      rows.map(({ openTime }) => BigInt(openTime)),
    );
    const newest = await reader.candles.toColumns({ ...series, to, limit: 7, exact: true });
    assert.deepEqual(
      newest.volume,
      rows.slice(-7).map(({ volume }) => volume),
    );
    const table = await reader.candles.toArrow({ ...series, to, limit: 100 });
    assert.equal(table.numRows, 100);
    assert.equal(Number(table.getChild("open_time")?.get(0)), from.getTime());
    assert.equal(table.schema.fields[5]?.type.scale, 1);
    const floats = await reader.candles.toArrow({ ...series, from, to, floats: true });
    assert.deepEqual([...(floats.getChild("volume") ?? [])], [...columns.volume]);
    assert.deepEqual(await reader.candles.latest(freshSeries()), []);
    assert.equal((await reader.candles.toArrow({ ...freshSeries(), limit: 5 })).numRows, 0);
  });

  test("wrong use is told in plain words", async () => {
    const series = freshSeries();
    const { candles } = reader;
    const usage = { code: "E_USAGE" };
    await assert.rejects(candles.saveCandle(gold(0)), usage);
    await assert.rejects(candles.latest({ ...series, timeframe: "1D" as "1d" }), usage);
    await assert.rejects(candles.latest({ ...series, limit: 0 }), usage);
    await assert.rejects(candles.toColumns({ ...series, from: new Date("x") }), usage);
    const text = { from: "2024-01-01" as unknown as Date };
    await assert.rejects(candles.toColumns({ ...series, ...text }), usage);
    await assert.rejects(candles.toColumns({ ...series, fields: ["x" as "open"] }), usage);
    await assert.rejects(connect({ url: "mysql://x/y" }), { code: "E_CONFIG" });
    await assert.rejects(connect({ url: database.urlOf("no_such_database") }), {
      code: "E_DB_MISSING",
    });
    const empty = await mkdtemp(join(tmpdir(), "black-trade-library-"));
    await assert.rejects(connect({ dataDir: empty }), { code: "E_DB_MISSING" });
    await rm(empty, { recursive: true });
  });

  test("a stream brings closed candles of any process, chosen ones, and goes on behind the last id", async () => {
    const [series, other] = [freshSeries(), freshSeries()];
    const start = await db.store.lastChangeId();
    const options = { symbols: [series.symbol], exchange: "suite", timeframes: ["1m"] as const };
    const taken: StreamedCandle[] = [];
    const reading = (async () => {
      for await (const candle of reader.candles.stream({ ...options, afterId: start })) {
        taken.push(candle);
        if (taken.length === 2) break;
      }
    })();
    await db.store.write([candleAt(other, T0), candleAt(series, T0)], []);
    await db.store.write([candleAt(series, T0, "rest", { close: "100.2" })], []);
    await reading;
    // The first one may show its newer values already.
    assert.deepEqual(
      taken.map(({ outcome }) => outcome),
      ["stored", "revised"],
    );
    assert.equal(taken[1]?.close, "100.2");
    // A page of history is told candle by candle, unless it is not wanted.
    const history = Array.from({ length: 150 }, (_, index) =>
      candleAt(series, T0 + (index + 1) * MINUTE_MS),
    );
    await db.store.write(history, []);
    await db.store.write([candleAt(series, T0 - MINUTE_MS)], []);
    const afterId = taken[1]?.id ?? 0;
    const all: number[] = [];
    for await (const { openTime } of reader.candles.stream({ ...options, afterId })) {
      all.push((openTime - T0) / MINUTE_MS);
      if (all.length === 151) break;
    }
    assert.deepEqual(all, [...history.map((_, index) => index + 1), -1]);
    // Whoever stops in the middle of history and goes on behind what was dealt with last misses nothing of it.
    const seen = new Set<number>();
    let place = afterId;
    for await (const { openTime, id } of reader.candles.stream({ ...options, afterId })) {
      seen.add((openTime - T0) / MINUTE_MS);
      place = id;
      if (seen.size === 70) break;
    }
    for await (const { openTime } of reader.candles.stream({ ...options, afterId: place })) {
      seen.add((openTime - T0) / MINUTE_MS);
      if (openTime < T0) break;
    }
    assert.deepEqual([...seen], all);
    for await (const { openTime } of reader.candles.stream({
      ...options,
      afterId,
      includesHistory: false,
    })) {
      assert.equal(openTime, T0 - MINUTE_MS);
      break;
    }
  });

  test("signal, close and the end of a block end a stream without an error", async () => {
    const take = async (connection: Connection, signal?: AbortSignal): Promise<number> => {
      let count = 0;
      for await (const _ of connection.candles.stream(signal === undefined ? {} : { signal }))
        count += 1;
      return count;
    };
    const stop = new AbortController();
    const aborted = take(reader, stop.signal);
    await sleep(50);
    stop.abort();
    assert.equal(await aborted, 0);
    let closed: Promise<number>;
    {
      await using short = await connect({ url: database.url });
      closed = take(short);
      await sleep(50);
    }
    assert.equal(await closed, 0);
  });

  test("repositories can be made of a connection; states are those of the status command", async () => {
    const candles = new CandleRepository(reader);
    assert.ok((await candles.series()).some(({ symbol }) => symbol === "GOLD"));
    const ingestion = new IngestionRepository(reader);
    const state = await ingestion.status({ exchange: "mine", symbol: "GOLD", timeframe: "1m" });
    assert.deepEqual([state?.status, state?.facts.openGapCount], ["paused", 0]);
    assert.equal(await ingestion.status({ symbol: "NONE", timeframe: "1m" }), undefined);
    assert.equal(await ingestion.run(), undefined);
  });
});
