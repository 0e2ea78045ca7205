import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import fc from "fast-check";
import { closeTimeOf, nextOpenTime, TIMEFRAMES } from "../src/core/timeframe.ts";
import { Database, openStore, type Store } from "../src/store/index.ts";
import { EXPECTED_TABLES } from "../src/store/schema.ts";
import { candleAt, freshSeries } from "./conformance/store-suite.ts";
import * as arbitrary from "./support/arbitraries.ts";
import { createTestDatabase, sharedServer, type TestDatabase } from "./support/postgres.ts";

const T0 = Date.UTC(2025, 0, 1);
const MINUTE_MS = 60_000;
const ALWAYS = { from: 0, to: Number.MAX_SAFE_INTEGER };

describe("the schema", () => {
  let database: TestDatabase;
  let admin: Database;
  let store: Store;

  before(async () => {
    database = await createTestDatabase(await sharedServer(), "migrated");
    admin = new Database({ url: database.url });
    store = await openStore({ url: database.url });
  });
  after(async () => {
    await store?.close();
    await admin?.close();
    await database?.drop();
  });

  test("the start-up check expects just the tables and columns that the migrations make", async () => {
    const columns = await admin.run<{ table: string; column: string }>({
      text: `
        select c.relname::text as table, a.attname::text as column
        from pg_class c join pg_attribute a on a.attrelid = c.oid
        where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' and a.attnum > 0 and not a.attisdropped
          and c.relname <> 'schema_migrations'`,
    });
    const expected = Object.entries(EXPECTED_TABLES).flatMap(([table, { columns: of }]) =>
      Object.keys(of).map((column) => `${table}.${column}`),
    );
    assert.deepEqual(
      columns.map(({ table, column }) => `${table}.${column}`).sort(),
      expected.sort(),
    );
  });

  test("the calendar of SQL is the calendar of core, for every timeframe and instant", async () => {
    const instants = fc.array(fc.tuple(arbitrary.timeframe(), arbitrary.instant()), {
      minLength: 200,
      maxLength: 200,
    });
    await fc.assert(
      fc.asyncProperty(instants, async (pairs) => {
        const rows = await admin.run<{ next: number; back: number }>({
          text: `
            select
              candle_next_open_ms(timeframe, ms) as next,
              candle_epoch_ms(candle_time(ms)) as back
            from unnest($1::text[], $2::bigint[]) with ordinality as asked (timeframe, ms, n)
            order by n`,
          values: [pairs.map(([timeframe]) => timeframe), pairs.map(([, ms]) => ms)],
        });
        for (const [index, [timeframe, ms]] of pairs.entries()) {
          assert.equal(rows[index]?.next, nextOpenTime(timeframe, ms), `${timeframe} at ${ms}`);
          assert.equal(rows[index]?.back, ms);
        }
      }),
      { numRuns: 30 },
    );
  });

  test("instants survive at both ends of what is accepted, and before 1970", async () => {
    for (const ms of [2 ** 44 - 1, 1_199_145_600_000, 0, -1, -86_400_001, -2_208_988_800_001]) {
      const [row] = await admin.run<{ back: number; next: number; month: number }>({
        text: `
          select candle_epoch_ms(candle_time($1)) as back, candle_next_open_ms('3d', $1) as next,
            candle_next_open_ms('1M', $1) as month`,
        values: [ms],
      });
      assert.equal(row?.back, ms);
      assert.equal(row?.next, nextOpenTime("3d", ms));
      assert.equal(row?.month, nextOpenTime("1M", ms));
    }
  });

  test("the view has the columns of the old system, in its order and units", async () => {
    const columns = await admin.run<{ name: string; type: string }>({
      text: `
        select attname::text as name, format_type(atttypid, atttypmod) as type from pg_attribute
        where attrelid = 'ohlcv_candles'::regclass and attnum > 0 order by attnum`,
    });
    assert.deepEqual(
      columns.map(({ name, type }) => `${name} ${type}`),
      [
        ...["symbol text", "timeframe text", "timestamp bigint"],
        ...["open numeric", "high numeric", "low numeric", "close numeric", "volume numeric"],
        ...[
          "quote_volume numeric",
          "trades integer",
          "taker_buy_base numeric",
          "taker_buy_quote numeric",
        ],
        ...["close_time bigint", "exchange text"],
      ],
    );
    for (const timeframe of TIMEFRAMES) {
      const series = freshSeries(timeframe);
      const rows = [
        candleAt(series, Date.UTC(2024, 1, 1)),
        candleAt(series, Date.UTC(2024, 2, 1), "rest", { closeTime: Date.UTC(2024, 2, 1) + 777 }),
      ];
      await store.write(rows, []);
      const shown = await admin.run<Record<string, unknown>>({
        text: 'select * from ohlcv_candles where symbol = $1 order by "timestamp"',
        values: [series.symbol],
      });
      assert.deepEqual(
        shown,
        rows.map(({ candle }) => ({
          symbol: series.symbol,
          timeframe,
          timestamp: candle.openTime,
          open: candle.open,
          high: candle.high,
          low: candle.low,
          close: candle.close,
          volume: candle.volume,
          quote_volume: candle.quoteVolume,
          trades: candle.tradeCount,
          taker_buy_base: candle.takerBuyVolume,
          taker_buy_quote: candle.takerBuyQuoteVolume,
          close_time: candle.closeTime,
          exchange: series.exchange,
        })),
      );
    }
  });

  test("no update loses a version, not even one by hand; one that changes no value keeps none", async () => {
    const series = freshSeries();
    const row = candleAt(series, T0);
    await store.write([row], []);
    const update = (what: string): Promise<unknown> =>
      admin.run({
        text: `update candles set ${what} where series_id = (select id from series where symbol = $1)`,
        values: [series.symbol],
      });
    const count = async (): Promise<number> => (await store.revisions(series, ALWAYS, 10)).length;
    await update("version = version + 1");
    await update("volume = volume * 1.000");
    assert.equal(await count(), 0);
    for (const [index, change] of [
      "volume = 1",
      "cut_ms = 5",
      "trade_count = 0",
      "open = low",
      "open_time = open_time + interval '1 second'",
    ].entries()) {
      await update(change);
      assert.equal(await count(), index + 1, change);
    }
    const [first] = await store.revisions(series, ALWAYS, 10);
    assert.deepEqual(first?.replaced.candle, { ...row.candle, volume: "12.34000000000" });
  });

  test("values that are no prices are refused by the table itself", async () => {
    const [{ id } = { id: 0 }] = await admin.run<{ id: number }>({
      text: "select id from series limit 1",
    });
    for (const [column, value] of [
      ["open", "'NaN'"],
      ["high", "'NaN'"],
      ["low", "'NaN'"],
      ["close", "'NaN'"],
      ["volume", "'NaN'"],
      ["taker_buy_quote_volume", "1e20"],
      ["low", "0"],
      ["high", "1e20"],
      ["open", "200"],
      ["cut_ms", "'NaN'"],
      ["trade_count", "-1"],
      ["open_time", "'infinity'"],
      ["version", "0"],
    ]) {
      const insert = `
        insert into candles select (jsonb_populate_record(null::candles, jsonb_build_object(
          'series_id', ${id}, 'trade_count', 1, 'open_time', '1999-01-01T00:00:00Z', 'version', 1, 'cut_ms', 0,
          'open', 100, 'high', 101, 'low', 99, 'close', 100, 'volume', 1, 'quote_volume', 1,
          'taker_buy_volume', 1, 'taker_buy_quote_volume', 1
        ) || jsonb_build_object('${column}', ${value}))).*`;
      await assert.rejects(admin.run({ text: insert }), /candles_/, `${column} = ${value}`);
    }
  });

  test("a candle takes at most 160 bytes with its index", async (t) => {
    // Digits as five symbols of the exchange have them: a price of 5 to 7 digits, amounts down to 10^-8.
    const symbols = [
      { price: 65_008.61, digits: 2, volume: 300 },
      { price: 3_402.12, digits: 2, volume: 4_000 },
      { price: 0.00002853, digits: 8, volume: 40_000 },
      { price: 2.327, digits: 3, volume: 90_000 },
      { price: 152.34, digits: 2, volume: 9_000 },
    ];
    const random = seeded(42);
    const amount = (most: number): string => `${(random() * most).toFixed(5)}000`;
    const all = symbols.map((symbol) => ({ ...symbol, series: freshSeries() }));
    const perSeries = 8_000;
    for (let at = 0; at < perSeries; at += 1_000) {
      for (const { series, price, digits, volume } of all) {
        const shown = (value: number): string => value.toFixed(digits).padEnd(10, "0");
        const batch = Array.from({ length: 1_000 }, (_, n) => {
          const [low, open, close, high] = [0, 1, 2, 3].map((step) =>
            shown(price * (1 + random() / 1e4 + step / 1e3)),
          );
          return candleAt(series, T0 + (at + n) * MINUTE_MS, "rest", {
            ...{ open: open ?? "", high: high ?? "", low: low ?? "", close: close ?? "" },
            volume: amount(volume),
            quoteVolume: (random() * volume * price).toFixed(8),
            takerBuyVolume: amount(volume / 2),
            takerBuyQuoteVolume: ((random() * volume * price) / 2).toFixed(8),
          });
        });
        await store.write(batch, []);
      }
    }
    await admin.run({ text: "vacuum candles", deadlineMs: 60_000 });
    const [{ bytes } = { bytes: "" }] = await admin.run<{ bytes: string }>({
      text: "select pg_total_relation_size('candles')::numeric / count(*) as bytes from candles",
    });
    t.diagnostic(`${Number(bytes).toFixed(1)} bytes a candle, index included`);
    assert.ok(Number(bytes) <= 160, `${bytes} bytes`);
  });

  test("off-grid and cut candles keep their times", async () => {
    const series = freshSeries("1h");
    const rows = [
      candleAt(series, T0 + 123_000, "rest", { closeTime: closeTimeOf("1h", T0) }),
      candleAt(series, T0 + 3_600_000, "rest", { closeTime: T0 + 3_700_000 }),
      candleAt(series, T0 + 7_200_000),
    ];
    await store.write(rows, []);
    assert.deepEqual(await store.latest(series, 3), rows);
  });

  test("ranges are half-open and bounded, and the newest come ascending", async () => {
    const series = freshSeries();
    const rows = Array.from({ length: 10 }, (_, n) => candleAt(series, T0 + n * MINUTE_MS));
    await store.write(rows, []);
    const range = { from: T0 + MINUTE_MS, to: T0 + 4 * MINUTE_MS };
    assert.deepEqual(await store.range(series, range, 10), rows.slice(1, 4));
    assert.deepEqual(await store.range(series, range, 2), rows.slice(1, 3));
    assert.deepEqual(await store.range(series, { from: range.to, to: range.from }, 10), []);
    const forEver = { from: Number.NEGATIVE_INFINITY, to: Number.POSITIVE_INFINITY };
    assert.deepEqual(await store.range(series, forEver, 100), rows);
    assert.deepEqual(await store.latest(series, 3), rows.slice(7));
    assert.equal(await store.count(series), 10);
    assert.equal(await store.count(series, range), 3);
    const unknown = { ...series, symbol: "NEVER" };
    assert.deepEqual(await store.latest(unknown, 3), []);
    assert.equal(await store.count(unknown), 0);
    assert.deepEqual(await store.gaps(unknown), []);
    const listed = await store.series();
    assert.ok(listed.some(({ symbol }) => symbol === series.symbol));
    assert.ok(!listed.some(({ symbol }) => symbol === "NEVER"), "reading registers nothing");
  });
});

/** A small generator, the same numbers at every run. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1_664_525 + 1_013_904_223) % 2 ** 32;
    return state / 2 ** 32;
  };
}
