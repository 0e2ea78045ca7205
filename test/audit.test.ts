import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { notFetchedGap } from "../src/core/gaps.ts";
import type { CoverageStore, HistorySource } from "../src/core/ports.ts";
import type { TimeRange } from "../src/core/range.ts";
import type { Series } from "../src/core/series.ts";
import { openTimeAt } from "../src/core/timeframe.ts";
import { confirmPage } from "../src/ingest/confirm.ts";
import { detectGaps } from "../src/ingest/detect.ts";
import { Intake } from "../src/ingest/intake.ts";
import { Writer } from "../src/ingest/writer.ts";
import { virtualClock } from "./support/clocks.ts";
import { modelSeries } from "./support/exchange-model.ts";
import { Harness } from "./support/ingest-harness.ts";
import { createMemoryStore } from "./support/memory-store.ts";

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;
const BTC = modelSeries("BTCUSDT", "1m");
const ETH = modelSeries("ETHUSDT", "1m");

test("old candles of a file are read again by the running ingest, though newer ones were confirmed before", async () => {
  const harness = new Harness({ series: [BTC] });
  harness.start();
  await harness.minutes(3);
  const confirmedTo = async () => (await harness.store.facts()).series[0]?.confirmedTo ?? 0;
  const newest = await confirmedTo();
  const from = openTimeAt("1m", harness.clock.now() - 4 * DAY_MS);
  assert.ok(newest > from);
  const rows = Array.from({ length: 2_500 }, (_, minute) => {
    const candle = harness.model.candle(BTC, from + minute * MINUTE_MS) ?? assert.fail();
    const observedTime = harness.clock.now();
    return { series: BTC, source: "csv" as const, observedTime, candle };
  });
  const [wrong = assert.fail(), ...others] = rows;
  const spoilt = { ...wrong, candle: { ...wrong.candle, volume: "1234567" } };
  await harness.store.write([spoilt, ...others], []);
  assert.equal(await confirmedTo(), from);
  await harness.clock.advance(90_000);
  assert.ok((await confirmedTo()) >= newest);
  const old = harness.store
    .rows(BTC)
    .filter(({ candle }) => candle.openTime < from + 2_500 * MINUTE_MS);
  assert.equal(old.length, 2_500);
  assert.deepEqual([...new Set(old.map(({ source }) => source))], ["rest"]);
  assert.deepEqual(
    harness.store.revisions(BTC).map(({ candle, source }) => [candle.volume, source]),
    [["1234567", "csv"]],
  );
  harness.assertTable();
  await harness.stop();
});

test("a candle that the exchange cannot vouch for yet is not passed by when confirming", async () => {
  const series = modelSeries("BTCUSDT", "1h");
  const HOUR_MS = 60 * MINUTE_MS;
  for (const hasRow of [true, false]) {
    const clock = virtualClock();
    const openTime = openTimeAt("1h", clock.now()) - HOUR_MS;
    const store = createMemoryStore({ clock });
    const exchangeNow = () => clock.now();
    const stop = new AbortController();
    const record = () => undefined;
    const writer = new Writer({ store, clock, random: () => 0.5, record, exchangeNow });
    const writing = writer.run(stop.signal);
    await clock.advance(openTime + HOUR_MS + 61_000 - clock.now());
    const candle = new Harness({ series: [series], clock }).model.candle(series, openTime);
    assert.ok(candle !== undefined);
    const observedTime = openTime + HOUR_MS;
    await store.write([{ series, source: "stream", observedTime, candle }], []);
    let askedCount = 0;
    // Nothing is traded in the next hour: no row follows; or a replica lags.
    const history: HistorySource = {
      firstOpenTime: () => assert.fail(),
      async *candles(_series, range) {
        askedCount += 1;
        const rows = hasRow ? [candle] : [];
        yield { range, rows, source: "rest", askedTime: exchangeNow() };
      },
    };
    const intake = new Intake(writer);
    const options = { history, store, intake, writer, record, exchangeNow };
    const confirmed = async () => {
      const done = confirmPage(options, series, openTime, stop.signal);
      await clock.advance(1_000);
      return done;
    };
    assert.equal(await confirmed(), openTime);
    assert.equal(store.rows(series)[0]?.source, "stream");
    await clock.advance(10 * MINUTE_MS);
    assert.equal(await confirmed(), openTime + HOUR_MS);
    assert.equal(store.rows(series)[0]?.source, hasRow ? "rest" : "stream");
    assert.equal(askedCount, 2);
    stop.abort();
    await writing;
  }
});

test("the last row of a short page is not passed by when confirming", async () => {
  const series = modelSeries("BTCUSDT", "1m");
  const clock = virtualClock();
  const start = openTimeAt("1m", clock.now());
  const store = createMemoryStore({ clock });
  const exchangeNow = () => clock.now();
  const stop = new AbortController();
  const record = () => undefined;
  const writer = new Writer({ store, clock, random: () => 0.5, record, exchangeNow });
  const writing = writer.run(stop.signal);
  await clock.advance(start + 7 * MINUTE_MS - clock.now());
  const { model } = new Harness({ series: [series], clock });
  const all = [0, 1, 2, 3].map(
    (index) => model.candle(series, start + index * MINUTE_MS) ?? assert.fail(),
  );
  await store.write(
    all.map((candle) => ({
      ...{ series, source: "stream", candle },
      observedTime: candle.closeTime + 1,
    })),
    [],
  );
  // Two rows, then the rest: within a page nothing follows the second, and it is young.
  const history: HistorySource = {
    firstOpenTime: () => assert.fail(),
    async *candles() {
      const askedTime = exchangeNow();
      for (const [from, to] of [
        [0, 2],
        [2, 4],
      ] as const) {
        const range = { from: start + from * MINUTE_MS, to: start + to * MINUTE_MS };
        yield { range, rows: all.slice(from, to), source: "rest", askedTime };
      }
    },
  };
  const intake = new Intake(writer);
  const options = { history, store, intake, writer, record, exchangeNow };
  const confirming = confirmPage(options, series, start, stop.signal);
  await clock.advance(1_000);
  assert.equal(await confirming, start + MINUTE_MS);
  assert.deepEqual(
    store.rows(series).map(({ source }) => source),
    ["rest", "stream", "rest", "stream"],
  );
  stop.abort();
  await writing;
});

test("what cannot be confirmed yet is not asked for again and again", async () => {
  const series = modelSeries("BTCUSDT", "1h");
  const harness = new Harness({ series: [series], historyMs: 3 * 60 * MINUTE_MS });
  const close = openTimeAt("1h", harness.clock.now()) + 60 * MINUTE_MS;
  let askedCount = 0;
  const model: HistorySource = harness.model;
  const candles = model.candles.bind(model);
  model.candles = async function* (one, range, signal, priority) {
    for await (const page of candles(one, range, signal, priority)) {
      if (priority === "bulk") askedCount += 1;
      yield priority === "bulk" ? { ...page, rows: [] } : page;
    }
  };
  harness.start();
  await harness.clock.advance(close - harness.clock.now() + 90_000);
  askedCount = 0;
  await harness.clock.advance(9 * MINUTE_MS);
  assert.ok(askedCount <= 2, `asked ${askedCount} times`);
  await harness.stop();
});

describe("holes that nobody noticed, under virtual time", () => {
  test("a row deleted by hand deep in history is found by the running ingest, entered with a reason, and filled", async () => {
    const harness = new Harness({ series: [BTC, ETH], historyMs: 4 * DAY_MS });
    const deleted = openTimeAt("1m", harness.clock.now() - 3.5 * DAY_MS);
    harness.start();
    await harness.clock.advance(45_000);
    const has = (openTime: number): boolean =>
      harness.store.rows(ETH).some(({ candle }) => candle.openTime === openTime);
    assert.ok(has(deleted));
    // Far behind the newest 2,000 candles.
    harness.store.forget(ETH, deleted);
    await harness.clock.advance(45_000);
    const found = harness.events.filter((event) => event.kind === "gapFound");
    assert.deepEqual(
      found.map(({ series, range, reason }) => [series, range, reason]),
      [[ETH, { from: deleted, to: deleted + MINUTE_MS }, "not-fetched"]],
    );
    assert.ok(has(deleted), "it was not filled");
    assert.deepEqual(harness.store.ledger(ETH), []);
    assert.equal(await harness.wordOf(ETH), "active");
    harness.assertTable();

    // The whole is compared once a day, not all the time.
    harness.store.forget(ETH, deleted);
    await harness.clock.advance(30 * MINUTE_MS);
    assert.equal(has(deleted), false);
    await harness.stop();
  });

  test("the start looks at the whole, and what is stored before the wanted begins belongs to it", async () => {
    const first = new Harness({ series: [BTC], historyMs: 3 * DAY_MS });
    const { clock, store } = first;
    const from = openTimeAt("1m", clock.now() - 3 * DAY_MS);
    first.start();
    await first.minutes(4);
    await first.stop();
    for (const minute of [100, 101, 2_000]) store.forget(BTC, from + minute * MINUTE_MS);

    const second = new Harness({ series: [BTC], historyMs: 60 * MINUTE_MS, clock, store });
    second.start();
    await second.clock.advance(3 * MINUTE_MS);
    const found = second.events.filter((event) => event.kind === "gapFound");
    assert.deepEqual(
      found.map(({ range, missing }) => [(range.from - from) / MINUTE_MS, missing]),
      [
        [100, 2],
        [2_000, 1],
      ],
    );
    second.assertTable();
    await second.stop();
  });

  test("a gap that is filled while the calendar is compared is not found again", async () => {
    const harness = new Harness({ series: [BTC] });
    const { store, clock } = harness;
    const from = openTimeAt("1m", clock.now() - 60 * MINUTE_MS);
    const range = { from, to: from + 2 * MINUTE_MS };
    const gap = notFetchedGap(BTC, range, clock.now());
    await store.open([gap]);
    const fill = async (): Promise<void> => {
      const rows = [from, from + MINUTE_MS].map((openTime) => ({
        ...{ series: BTC, source: "rest" as const, observedTime: clock.now() },
        candle: harness.model.candle(BTC, openTime) ?? assert.fail(),
      }));
      await store.write(rows, []);
      await store.replace(gap, []);
    };
    for (const slow of ["holes", "gaps"] as const) {
      let hasRun = false;
      const beside: CoverageStore = {
        ...{ firstStored: () => assert.fail(), holes: store.holes.bind(store) },
        gaps: store.gaps.bind(store),
        [slow]: async (series: Series, asked: TimeRange) => {
          const answer = await store[slow](series, asked);
          if (!hasRun) await fill();
          hasRun = true;
          return answer;
        },
      };
      const { unknown } = await detectGaps(beside, BTC, range, clock.now());
      assert.deepEqual(unknown, [], slow);
      for (const openTime of [from, from + MINUTE_MS]) store.forget(BTC, openTime);
      await store.open([gap]);
    }
  });

  test("a look at the whole that failed goes on with the series that it had not reached", async () => {
    const harness = new Harness({ series: [BTC, ETH], historyMs: 2 * DAY_MS });
    let looks = 0;
    harness.store.setFaults((operation) => {
      if (operation !== "firstStored") return undefined;
      looks += 1;
      return looks === 2 ? { when: "before" } : undefined;
    });
    harness.start();
    await harness.minutes(6);
    assert.equal(looks, 3);
    await harness.stop();
  });
});
