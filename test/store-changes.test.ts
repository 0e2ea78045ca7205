import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { VersionedCandle } from "../src/core/finality.ts";
import type { CandleChange, CandleChanges } from "../src/core/ports.ts";
import type { Series } from "../src/core/series.ts";
import { ChangeFeed } from "../src/store/changes.ts";
import { REAL_PACING } from "../src/store/contention.ts";
import type { Statement } from "../src/store/database.ts";
import { Database, openStore, type Store } from "../src/store/index.ts";
import { candleAt, freshSeries } from "./conformance/store-suite.ts";
import { createTestDatabase, sharedServer, type TestDatabase } from "./support/postgres.ts";
import { startPostgresProxy } from "./support/postgres-proxy.ts";

const T0 = Date.UTC(2025, 0, 1);
const MINUTE_MS = 60_000;
/** A place in the log is row · 2^16 + entry. */
const ROW = 2 ** 16;

/** Follows until it has seen `count` changes. */
async function take(
  store: CandleChanges,
  count: number,
  afterId?: number,
): Promise<CandleChange[]> {
  const changes: CandleChange[] = [];
  const stop = new AbortController();
  for await (const page of store.follow(stop.signal, afterId)) {
    changes.push(...page);
    if (changes.length >= count) stop.abort();
  }
  return changes;
}

const keyOf = (change: CandleChange): string =>
  change.kind === "candle"
    ? `${change.candle.series.symbol}@${(change.candle.candle.openTime - T0) / MINUTE_MS} ${change.outcome}`
    : `${change.series.symbol}[${(change.range.from - T0) / MINUTE_MS},${(change.range.to - 1 - T0) / MINUTE_MS}]`;

const rows = (series: Series, from: number, count: number): VersionedCandle[] =>
  Array.from({ length: count }, (_, index) => candleAt(series, T0 + (from + index) * MINUTE_MS));

describe("changes of candles", () => {
  let database: TestDatabase;
  let admin: Database;
  let store: Store;
  let reader: Store;

  before(async () => {
    database = await createTestDatabase(await sharedServer(), "migrated");
    admin = new Database({ url: database.url, poolSize: 20 });
    store = await openStore({ url: database.url });
    reader = await openStore({ url: database.url, access: "read" });
  });
  after(async () => {
    await store?.close();
    await reader?.close();
    await admin?.close();
    await database?.drop();
  });

  test("another process hears of what is stored and of what is replaced, and of nothing else", async () => {
    const series = freshSeries();
    const start = await reader.lastChangeId();
    const heard = take(reader, 3);
    await sleep(100);
    const [first, second] = [candleAt(series, T0), candleAt(series, T0 + MINUTE_MS)];
    const better = candleAt(series, T0, "rest", { close: "100.5" });
    await store.write([first], []);
    await store.write([first, second], []);
    await store.write([first, better], []);
    await store.write([better], []);
    const changes = await heard;
    assert.deepEqual(changes.map(keyOf), [
      `${series.symbol}@0 stored`,
      `${series.symbol}@1 stored`,
      `${series.symbol}@0 revised`,
    ]);
    assert.deepEqual(changes[2]?.kind === "candle" && changes[2].candle, better);
    for (const [at, { id }] of changes.entries()) assert.ok(id > (changes[at - 1]?.id ?? start));
    assert.deepEqual((await take(reader, 3, start)).map(keyOf), changes.map(keyOf));
  });

  test("going on after any change gives just the ones behind it", async () => {
    const series = freshSeries();
    const start = await reader.lastChangeId();
    await store.write(rows(series, 0, 3), []);
    await store.write(rows(series, 3, 2), []);
    const all = await take(reader, 5, start);
    for (const [at, { id }] of all.entries()) {
      if (at === all.length - 1) continue;
      assert.deepEqual(await take(reader, all.length - at - 1, id), all.slice(at + 1));
    }
  });

  test("a page of history is one stretch; single candles beside it stay single", async () => {
    const [history, live] = [freshSeries(), freshSeries()];
    const start = await reader.lastChangeId();
    await store.write([...rows(history, 5, 150), ...rows(live, 0, 100)], []);
    const changes = await take(reader, 101, start);
    assert.equal(changes.length, 101);
    assert.deepEqual(
      changes.map(keyOf).filter((key) => key.includes("[")),
      [`${history.symbol}[5,154]`],
    );
    assert.equal((await reader.range(history, { from: T0, to: T0 + 1e9 }, 1_000)).length, 150);
    const [size] = await admin.run<{ bytes: number }>({
      text: "select pg_column_size(c.*) as bytes from candle_changes c order by id desc limit 1",
    });
    assert.ok((size?.bytes ?? 0) < 2_000, `${size?.bytes} bytes`);
  });

  test("a burst of closes comes in bounded pages, each candle once", async () => {
    const burst = Array.from({ length: 12_000 }, () => candleAt(freshSeries(), T0));
    const start = await reader.lastChangeId();
    await store.write(burst, []);
    const seen = new Set<string>();
    const stop = new AbortController();
    for await (const page of reader.follow(stop.signal, start)) {
      assert.ok(page.length <= 5_000);
      for (const change of page) seen.add(keyOf(change));
      if (seen.size === burst.length) stop.abort();
    }
    assert.equal(seen.size, burst.length);
  });

  test("a transaction that commits late is not passed by, and one that is rolled back does not stop anything", async () => {
    const [slow, fast] = [freshSeries(), freshSeries()];
    await store.write([candleAt(slow, T0 - MINUTE_MS), candleAt(fast, T0 - MINUTE_MS)], []);
    const [slowId] = await admin.run<{ id: number }>({
      text: "select id from series where symbol = $1",
      values: [slow.symbol],
    });
    const start = await reader.lastChangeId();
    for (const end of ["commit", "rollback"]) {
      const open = await admin.openSession();
      await open.run({ text: "begin" });
      const place = T0 + (end === "commit" ? 0 : MINUTE_MS);
      await open.run({
        text: `insert into candles select series_id, trade_count, candle_time($2), version, cut_ms, open, high, low, close,
            volume, quote_volume, taker_buy_volume, taker_buy_quote_volume from candles where series_id = $1 limit 1`,
        values: [slowId?.id, place],
      });
      await open.run({
        text: "select log_candle_changes(array[$1::int], array[$2::bigint], null, null)",
        values: [slowId?.id, place],
      });
      const before = await reader.lastChangeId();
      await store.write([candleAt(fast, place)], []);
      const heard = take(reader, end === "commit" ? 2 : 1, before);
      const isEarly = await Promise.race([heard.then(() => true), sleep(300, false)]);
      assert.equal(isEarly, false, "what is committed later would be lost");
      assert.equal(await reader.lastChangeId(), before);
      await open.run({ text: end });
      await open.close();
      const minute = (place - T0) / MINUTE_MS;
      assert.deepEqual((await heard).map(keyOf), [
        ...(end === "commit" ? [`${slow.symbol}@${minute} stored`] : []),
        `${fast.symbol}@${minute} stored`,
      ]);
    }
    assert.equal((await take(reader, 3, start)).length, 3);
  });

  test("many writers at once: every follower sees every change, in one order", async () => {
    const writers = await Promise.all(
      Array.from({ length: 4 }, () => openStore({ url: database.url })),
    );
    const all = writers.map(() => freshSeries());
    const contended = freshSeries();
    const start = await reader.lastChangeId();
    const total = writers.length * 40;
    const isOwn = (change: CandleChange): boolean =>
      change.kind === "candle" && all.some(({ symbol }) => symbol === change.candle.series.symbol);
    const follow = async (): Promise<CandleChange[]> => {
      const seen: CandleChange[] = [];
      const stop = new AbortController();
      for await (const page of reader.follow(stop.signal, start)) {
        seen.push(...page);
        if (seen.filter(isOwn).length >= total) stop.abort();
      }
      return seen;
    };
    const followers = [follow(), follow(), follow()];
    await Promise.all(
      writers.map(async (writer, index) => {
        for (let at = 0; at < 40; at += 1) {
          const own = candleAt(all[index] ?? contended, T0 + at * MINUTE_MS);
          const shared = candleAt(contended, T0, "rest", { tradeCount: at }, T0 + at * 10 + index);
          await writer.write([own, shared], []);
        }
      }),
    );
    const [first, ...others] = await Promise.all(followers);
    const own = first?.filter(isOwn) ?? [];
    assert.equal(new Set(own.map(keyOf)).size, total);
    assert.equal(own.length, total);
    for (const other of others) {
      assert.deepEqual(
        other.filter(isOwn).map(({ id }) => id),
        own.map(({ id }) => id),
      );
    }
    await Promise.all(writers.map((writer) => writer.close()));
  });

  test("killed connections and a cut network cost no change", async () => {
    const proxy = await startPostgresProxy(database.url);
    const far = await openStore({ url: proxy.url, access: "read", deadlineMs: 2_000 });
    const series = freshSeries();
    const start = await reader.lastChangeId();
    const heard = take(far, 60, start);
    for (let at = 0; at < 60; at += 1) {
      await store.write([candleAt(series, T0 + at * MINUTE_MS)], []);
      if (at % 10 === 3) {
        await admin.run({
          text: `select pg_terminate_backend(pid) from pg_stat_activity
            where datname = current_database() and application_name = 'black-trade follow'`,
        });
      }
      if (at % 10 === 7) proxy.cut();
      await sleep(10);
    }
    const changes = await heard;
    assert.deepEqual(
      changes.map(keyOf),
      rows(series, 0, 60).map((_, at) => `${series.symbol}@${at} stored`),
    );
    await far.close();
    await proxy.close();
  });

  test("a follower that takes its time holds one page, and its connections stay few", async () => {
    const series = freshSeries();
    const start = await reader.lastChangeId();
    const stop = new AbortController();
    const pages = [1, 2, 3, 4, 5].map(() =>
      reader.follow(stop.signal, start)[Symbol.asyncIterator](),
    );
    await store.write([candleAt(series, T0)], []);
    for (const one of pages) assert.equal((await one.next()).value.length, 1);
    for (let at = 1; at <= 50; at += 1)
      await store.write([candleAt(series, T0 + at * MINUTE_MS)], []);
    const [listening] = await admin.run<{ count: number }>({
      text: `select count(*) as count from pg_stat_activity
        where datname = current_database() and application_name = 'black-trade follow'`,
    });
    assert.equal(listening?.count, 1);
    for (const one of pages) assert.equal((await one.next()).value.length, 50);
    stop.abort();
    for (const one of pages) assert.equal((await one.next()).done, true);
  });

  test("the connection that listens goes with the last follower; closing the store ends the others", async () => {
    const far = await openStore({ url: database.url, access: "read" });
    const ended = take(far, Number.POSITIVE_INFINITY);
    await sleep(100);
    await far.close();
    assert.deepEqual(await ended, []);
    for (let tries = 0; ; tries += 1) {
      const left = await admin.run({
        text: `select from pg_stat_activity
          where datname = current_database() and application_name = 'black-trade follow'`,
      });
      if (left.length === 0) break;
      assert.ok(tries < 100, "it is still there");
      await sleep(20);
    }
  });

  test("behind a pooler, which passes no notifications on, changes are looked for", async () => {
    const feed = new ChangeFeed(admin, REAL_PACING, true);
    const series = freshSeries();
    const start = await feed.lastChangeId();
    const heard = take(feed, 2, start);
    await store.write(rows(series, 0, 1), []);
    await sleep(50);
    await store.write(rows(series, 1, 1), []);
    assert.deepEqual((await heard).map(keyOf), [
      `${series.symbol}@0 stored`,
      `${series.symbol}@1 stored`,
    ]);
    const listening = await admin.run({
      text: `select from pg_stat_activity
        where datname = current_database() and application_name = 'black-trade follow'`,
    });
    assert.equal(listening.length, 0);
  });

  test("what is older than a week is forgotten, and who wants to go on there is told so", async () => {
    const series = freshSeries();
    await store.write(rows(series, 0, 1), []);
    const [old] = await take(reader, 1, 0);
    await store.write(rows(series, 1, 1), []);
    const start = await reader.lastChangeId();
    await admin.run({
      text: "update candle_changes set logged_at = logged_at - interval '8 days'",
    });
    await store.write(rows(series, 2, 1), []);
    await admin.run({ text: "select prune_candle_changes()" });
    const left = await admin.run<{ id: number }>({
      text: "select id from candle_changes order by id",
    });
    assert.equal(left.length, 2, "the newest of the old ones says what is kept");
    assert.deepEqual((await take(reader, 1, start)).map(keyOf), [`${series.symbol}@2 stored`]);
    await assert.rejects(take(reader, 1, old?.id), { code: "E_DB_CHANGES_GONE" });
    await assert.rejects(take(reader, 1, start + 9 * ROW), { code: "E_DB_CHANGES_GONE" });
    await assert.rejects(take(reader, 1, -1), { code: "E_USAGE" });
    // Everything is old: the last row stays, so that places go on.
    await admin.run({
      text: "update candle_changes set logged_at = logged_at - interval '8 days'",
    });
    await admin.run({ text: "select prune_candle_changes()" });
    const end = await reader.lastChangeId();
    await store.write(rows(series, 3, 1), []);
    assert.deepEqual((await take(reader, 1, end)).map(keyOf), [`${series.symbol}@3 stored`]);
  });

  test("what is forgotten while a page is read is not passed over in silence", async () => {
    const series = freshSeries();
    const start = await reader.lastChangeId();
    await store.write(rows(series, 0, 1), []);
    await store.write(rows(series, 1, 1), []);
    await admin.run({
      text: "update candle_changes set logged_at = logged_at - interval '8 days'",
    });
    await store.write(rows(series, 2, 1), []);
    // Between finding out how far the log reaches and reading it.
    const pruning = new Proxy(admin, {
      get: (target, key) =>
        key === "run"
          ? async (statement: Statement) => {
              if (statement.name === "changes-entries") {
                await admin.run({ text: "select prune_candle_changes()" });
              }
              return target.run(statement);
            }
          : Reflect.get(target, key, target),
    });
    const feed = new ChangeFeed(pruning, REAL_PACING, true);
    await assert.rejects(take(feed, 1, start), { code: "E_DB_CHANGES_GONE" });
  });

  test("a log that grew for long is forgotten to its end, however many rows that are", async () => {
    await admin.run({
      text: "update candle_changes set logged_at = logged_at - interval '8 days'",
    });
    await admin.run({
      text: `
        insert into candle_changes (logged_at, entry_count, series_ids, open_ms)
        select clock_timestamp() - interval '8 days', 0, '{}', '{}' from generate_series(1, 110000)`,
    });
    const fresh = await openStore({ url: database.url });
    await fresh.write(rows(freshSeries(), 0, 1), []);
    for (let tries = 0; ; tries += 1) {
      const [left] = await admin.run<{ count: number }>({
        text: "select count(*) as count from candle_changes where logged_at < clock_timestamp() - interval '7 days'",
      });
      if (left?.count === 1) break;
      assert.ok(tries < 100, `${left?.count} are left`);
      await sleep(50);
    }
    await fresh.close();
  });

  test("a caller's temporary table does not stand in for the log when it is pruned", async () => {
    const database = await createTestDatabase(await sharedServer(), "migrated");
    const admin = new Database({ url: database.url, poolSize: 1 });
    try {
      await admin.run({
        text: "create temp table candle_changes as select id::bigint, now() + (id - 4) * interval '30 days' as logged_at from generate_series(1, 7) id",
      });
      await admin.run({ text: "select prune_candle_changes()" });
      const [left] = await admin.run<{ count: number }>({
        text: "select count(*)::int as count from pg_temp.candle_changes",
      });
      assert.equal(left?.count, 7);
    } finally {
      await admin.close();
      await database.drop();
    }
  });

  test("a writer without the right to delete prunes all the same", async () => {
    const role = `follower_${process.pid}`;
    await admin.run({ text: `create role ${role} login password 'secret'` });
    try {
      await admin.run({
        text: `grant select, insert, update on all tables in schema public to ${role}`,
      });
      await admin.run({
        text: "update candle_changes set logged_at = logged_at - interval '8 days'",
      });
      const session = await admin.openSession();
      await session.run({ text: `set role ${role}` });
      await session.run({ text: "select log_candle_changes('{}', '{}', null, null)" });
      await session.run({ text: "select prune_candle_changes()" });
      await session.close();
      const left = await admin.run({ text: "select from candle_changes" });
      assert.equal(left.length, 2);
    } finally {
      await admin.run({ text: `drop owned by ${role}` });
      await admin.run({ text: `drop role ${role}` });
    }
  });
});
