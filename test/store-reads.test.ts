import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { DECIMAL_FIELDS } from "../src/core/candle.ts";
import { DecimalColumn } from "../src/core/decimal-column.ts";
import type { VersionedCandle } from "../src/core/finality.ts";
import { copyRows, type FieldOffsets } from "../src/store/binary-rows.ts";
import { Database, openStore, type Store } from "../src/store/index.ts";
import { numericToDouble, numericToText, putNumeric } from "../src/store/numeric.ts";
import { candleAt, freshSeries } from "./conformance/store-suite.ts";
import { createTestDatabase, sharedServer, type TestDatabase } from "./support/postgres.ts";

const T0 = Date.UTC(2025, 0, 1);
const MINUTE_MS = 60_000;
const EVER = { from: 0, to: Number.MAX_SAFE_INTEGER };

const decimal = fc
  .tuple(
    fc.oneof(fc.bigInt({ min: 1n, max: 10n ** 19n }), fc.bigInt({ min: 1n, max: 100_000n })),
    fc.stringMatching(/^[0-9]{0,18}$/),
  )
  .map(([whole, rest]) => (rest === "" ? `${whole}` : `${whole}.${rest}`));

describe("reads of stored candles", () => {
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

  const rowsOf = (series: ReturnType<typeof freshSeries>, count: number): VersionedCandle[] =>
    Array.from({ length: count }, (_, index) =>
      candleAt(series, T0 + index * MINUTE_MS, "rest", { tradeCount: index }),
    );

  test("the list of series is another one when a series is, and nobody can change it", async () => {
    await store.write(rowsOf(freshSeries(), 1), []);
    const all = await store.series();
    assert.equal(await store.series(), all, "the same list while it is the same");
    assert.throws(() => (all as unknown[]).pop(), TypeError);
    assert.throws(() => Object.assign(all[0] ?? {}, { symbol: "X" }), TypeError);
    const third = freshSeries();
    await store.write(rowsOf(third, 1), []);
    const more = await store.series();
    assert.equal(more.length, all.length + 1);
    // As many as before, with the same numbers, and another name.
    await admin.run({
      text: "update series set symbol = 'OTHER' where symbol = $1",
      values: [third.symbol],
    });
    const names = (await store.series()).map(({ symbol }) => symbol);
    assert.ok(names.includes("OTHER") && !names.includes(third.symbol));
  });

  test("a scan gives every row once, in order, whatever the size of its pages", async () => {
    const series = freshSeries();
    const rows = rowsOf(series, 50);
    await store.write(rows, []);
    for (const pageSize of [1, 7, 49, 50, 51]) {
      const pages: VersionedCandle[][] = [];
      for await (const page of store.scan(series, EVER, { pageSize })) pages.push([...page]);
      assert.deepEqual(pages.flat(), rows);
      assert.ok(pages.every(({ length }) => length <= pageSize));
      const back: VersionedCandle[] = [];
      for await (const page of store.scan(series, EVER, { pageSize, isDescending: true })) {
        back.push(...page);
      }
      assert.deepEqual(back.reverse(), rows);
    }
    const part = { from: T0 + MINUTE_MS, to: T0 + 3 * MINUTE_MS };
    for await (const page of store.scan(series, part)) assert.deepEqual(page, rows.slice(1, 3));
    for await (const page of store.scan(freshSeries())) assert.fail(`${page.length} rows`);
  });

  test("a reader that stops early leaves no connection behind", async () => {
    const series = freshSeries();
    await store.write(rowsOf(series, 30), []);
    for (let round = 0; round < 20; round += 1) {
      for await (const page of store.scan(series, EVER, { pageSize: 5 })) {
        assert.equal(page.length, 5);
        break;
      }
    }
    assert.equal((await store.range(series, EVER, 100)).length, 30);
  });

  test("columns are the nearest doubles of the stored decimals", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(decimal, { minLength: 1, maxLength: 40 }), async (texts) => {
        const series = freshSeries();
        const rows = texts.map((volume, index) =>
          candleAt(series, T0 + index * MINUTE_MS, "rest", { volume, tradeCount: index * 1_000 }),
        );
        await store.write(rows, []);
        const columns = await store.columns(series, EVER, ["volume", "tradeCount", "close"]);
        assert.deepEqual(
          [...columns.openTime],
          rows.map(({ candle }) => candle.openTime),
        );
        assert.deepEqual([...columns.volume], texts.map(Number));
        assert.deepEqual(
          [...columns.tradeCount],
          rows.map(({ candle }) => candle.tradeCount),
        );
        assert.deepEqual(
          [...columns.close],
          rows.map(() => 100),
        );
        assert.equal("open" in columns, false);
        const newest = await store.columns(series, EVER, ["volume"], { newest: 3 });
        assert.deepEqual([...newest.volume], texts.map(Number).slice(-3));
      }),
      { numRuns: 30 },
    );
    const none = await store.columns(freshSeries(), EVER, ["open"]);
    assert.deepEqual([none.openTime.length, none.open.length], [0, 0]);
  });

  test("any numeric is read digit for digit, and as the double that its text stands for", async () => {
    const numeric = fc
      .tuple(
        fc.boolean(),
        fc.oneof(
          fc.bigInt({ min: 0n, max: 10n ** 38n - 1n }),
          fc.bigInt({ min: 0n, max: 100_000n }),
          fc.integer({ min: 0, max: 40 }).map((zeros) => 10n ** BigInt(zeros)),
        ),
        fc.oneof(
          fc.stringMatching(/^[0-9]{0,38}$/),
          fc.stringMatching(/^0{0,20}[0-9]{0,3}0{0,9}$/),
        ),
      )
      .map(([isNegative, whole, rest]) => {
        const text = rest === "" ? `${whole}` : `${whole}.${rest}`;
        return isNegative && /[1-9]/.test(text) ? `-${text}` : text;
      });
    await fc.assert(
      fc.asyncProperty(fc.array(numeric, { minLength: 1, maxLength: 100 }), async (texts) => {
        const values = texts.map((text, row) => `(${row}, ${text}::numeric)`).join(", ");
        const column = new DecimalColumn(texts.length);
        const read: string[] = [];
        const doubles: number[] = [];
        const query = `select value from (values ${values}) as t (row, value) order by row`;
        await copyRows(admin, query, 1, (view, [at = 0]) => {
          putNumeric(column, read.length, view, at);
          read.push(numericToText(view, at));
          doubles.push(numericToDouble(view, at));
        });
        assert.deepEqual(read, texts);
        assert.deepEqual(column.texts(texts.length), texts);
        assert.deepEqual(doubles, texts.map(Number));
        assert.deepEqual(
          texts.map((_, row) => column.double(row)),
          texts.map(Number),
        );
      }),
      { numRuns: 60 },
    );
  });

  test("what is no number, or no row, is refused, and the next read works", async () => {
    const column = new DecimalColumn(1);
    const take = (view: DataView, [at = 0]: FieldOffsets): void => putNumeric(column, 0, view, at);
    for (const value of ["'NaN'::numeric", "'Infinity'::numeric", "'-Infinity'::numeric", "null"]) {
      await assert.rejects(copyRows(admin, `select ${value}`, 1, take), { code: "E_DB_FAILED" });
    }
    const twoFields = "select 1::numeric, 2::numeric";
    await assert.rejects(copyRows(admin, twoFields, 1, take), { code: "E_DB_FAILED" });
    await copyRows(admin, "select 1::numeric where false", 1, () => assert.fail());
    await copyRows(admin, "select 1.50::numeric", 1, take);
    assert.equal(column.text(0), "1.50");
  });

  test("a server that speaks between rows, or gives up among them, costs no connection", async () => {
    await admin.run({
      text: `create function pg_temp.told(step int) returns numeric language plpgsql as $$
        begin raise warning 'step %', step; return 1 / (5000 - step)::numeric; end $$`,
    });
    const pid = async (): Promise<unknown> =>
      (await admin.run({ text: "select pg_backend_pid() as pid" }))[0];
    const before = await pid();
    let rowCount = 0;
    const read = (last: number): Promise<void> =>
      copyRows(admin, `select pg_temp.told(step) from generate_series(1, ${last}) step`, 1, () => {
        rowCount += 1;
      });
    await read(3_000);
    assert.equal(rowCount, 3_000);
    await assert.rejects(read(5_001), { code: "E_DB_FAILED" });
    assert.deepEqual(await pid(), before);
  });

  test("every decimal of the grammar is scanned as the text that was written", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(decimal, { minLength: 1, maxLength: 40 }), async (texts) => {
        const series = freshSeries();
        const rows = texts.map((quoteVolume, index) =>
          candleAt(series, T0 + index * MINUTE_MS, "rest", { quoteVolume }),
        );
        await store.write(rows, []);
        const scanned: VersionedCandle[] = [];
        for await (const page of store.scan(series, EVER, { pageSize: 7 })) scanned.push(...page);
        assert.deepEqual(scanned, rows);
      }),
      { numRuns: 20 },
    );
  });

  test("many rows are read as columns in chunks that are cut anywhere", async () => {
    const series = freshSeries();
    const rows = rowsOf(series, 20_000);
    for (let at = 0; at < rows.length; at += 5_000)
      await store.write(rows.slice(at, at + 5_000), []);
    const columns = await store.columns(series, EVER, ["tradeCount", ...DECIMAL_FIELDS]);
    assert.equal(columns.openTime.length, rows.length);
    for (const [index, { candle }] of rows.entries()) {
      if (columns.openTime[index] !== candle.openTime) assert.fail(`row ${index}`);
      if (columns.tradeCount[index] !== candle.tradeCount) assert.fail(`row ${index}`);
    }
    assert.equal(columns.takerBuyQuoteVolume.length, rows.length);
  });

  test("extent counts the digits that the values need", async () => {
    const series = freshSeries();
    const rows = [
      candleAt(series, T0, "rest", {
        high: "101.2300",
        volume: "0.00000001",
        quoteVolume: "12345",
      }),
      candleAt(series, T0 + MINUTE_MS, "rest", { volume: "98765.5" }),
    ];
    await store.write(rows, []);
    const { count, digits } = await store.extent(series);
    assert.equal(count, 2);
    assert.deepEqual(digits.high, { integer: 3, fraction: 2 });
    assert.deepEqual(digits.volume, { integer: 5, fraction: 8 });
    assert.deepEqual(digits.quoteVolume, { integer: 5, fraction: 0 });
    assert.deepEqual(digits.takerBuyVolume, { integer: 1, fraction: 0 });
    assert.deepEqual((await store.extent(freshSeries())).count, 0);
  });

  test("at a time, candles are what they were then", async () => {
    const series = freshSeries();
    const now = async (): Promise<number> => {
      await sleep(15);
      const [row] = await admin.run<{ ms: number }>({
        text: "select candle_epoch_ms(clock_timestamp()) as ms",
      });
      await sleep(15);
      return row?.ms ?? 0;
    };
    const base = await now();
    const stream = candleAt(series, T0, "stream", { close: "100.1" }, base - 60_000);
    const second = candleAt(series, T0 + MINUTE_MS, "stream", { close: "100.2" }, base - 1_000);
    await store.write([stream, second], []);
    const first = await now();
    const archive = candleAt(series, T0, "archive-daily", { close: "100.3" }, base + 1);
    await store.write([archive], []);
    const later = await now();
    const rest = candleAt(series, T0, "rest", { close: "100.4" }, base + 2);
    await store.write([rest], []);
    const expected: readonly (readonly [at: number, rows: readonly VersionedCandle[]])[] = [
      [base - 70_000, []],
      [base - 30_000, [stream]],
      [first, [stream, second]],
      [later, [archive, second]],
      [await now(), [rest, second]],
    ];
    for (const [at, rows] of expected) {
      assert.deepEqual(await store.range(series, EVER, 10, at), rows);
      assert.deepEqual(await store.latest(series, 1, undefined, at), rows.slice(-1));
      const scanned: VersionedCandle[] = [];
      for await (const page of store.scan(series, EVER, { at, pageSize: 1 })) scanned.push(...page);
      assert.deepEqual(scanned, rows);
      const { close } = await store.columns(series, EVER, ["close"], { at });
      assert.deepEqual(
        [...close],
        rows.map(({ candle }) => Number(candle.close)),
      );
      assert.equal((await store.extent(series, EVER, at)).count, rows.length);
    }
    assert.deepEqual(await store.range(series, EVER, 1, first), [stream]);
  });

  test("a lost connection in mid-read is an error of the database, and the next read works", async () => {
    const series = freshSeries();
    await store.write(rowsOf(series, 5_000), []);
    const pages = store.scan(series, EVER, { pageSize: 500 });
    await pages.next();
    await admin.run({
      text: "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()",
    });
    // The page that is under way, and connections that do not know yet that they are gone.
    await pages.next().catch(() => undefined);
    const read = (): Promise<number> =>
      store.columns(series, EVER, ["close"]).then(({ close }) => close.length);
    let count: number | undefined;
    for (let tries = 0; count === undefined && tries < 10; tries += 1) {
      count = await read().catch((error) => {
        assert.equal(error.code, "E_DB_UNREACHABLE");
        return undefined;
      });
    }
    assert.equal(count, 5_000);
    await assert.rejects(store.columns(series, EVER, ["close"], { newest: 0.5 }), RangeError);
  });
});
