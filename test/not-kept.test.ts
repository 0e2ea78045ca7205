import assert from "node:assert/strict";
import { test } from "node:test";
import { WeightBudget } from "../src/core/budget.ts";
import { ExchangeTime } from "../src/core/exchange-time.ts";
import type { Source } from "../src/core/finality.ts";
import { notKeptGap } from "../src/core/gaps.ts";
import type { TimeRange } from "../src/core/range.ts";
import type { Series } from "../src/core/series.ts";
import { openTimeAt } from "../src/core/timeframe.ts";
import { confirmPage } from "../src/ingest/confirm.ts";
import { History } from "../src/ingest/history.ts";
import { Intake } from "../src/ingest/intake.ts";
import { Writer } from "../src/ingest/writer.ts";
import { virtualClock } from "./support/clocks.ts";
import { modelSeries } from "./support/exchange-model.ts";
import { Harness } from "./support/ingest-harness.ts";

const HOUR_MS = 60 * 60_000;
const NEVER = new AbortController().signal;
const HOURLY = modelSeries("BTCUSDT", "1h");

/**
 * A day of a series of which the first hours were removed on purpose, all but those of `again`, which a file brought
 * back; the others are stored.
 */
async function removedDay(goneCount: number, again: readonly number[], source: Source = "rest") {
  const clock = virtualClock();
  const harness = new Harness({ series: [HOURLY], clock, historyMs: 72 * HOUR_MS });
  const { model, store } = harness;
  const start = openTimeAt("1h", clock.now()) - 48 * HOUR_MS;
  const at = (hour: number): number => start + hour * HOUR_MS;
  const hours = Array.from({ length: 24 }, (_, hour) => hour);
  const kept = hours.filter((hour) => hour >= goneCount || again.includes(hour));
  const rows = kept.map((hour) => {
    const candle = model.candle(HOURLY, at(hour)) ?? assert.fail();
    return { series: HOURLY, source, observedTime: at(hour + 1), candle };
  });
  await store.write(rows, []);
  await store.open([notKeptGap(HOURLY, { from: at(0), to: at(goneCount) }, clock.now())]);
  const stored = () => store.rows(HOURLY).map(({ candle }) => (candle.openTime - start) / HOUR_MS);
  return { harness, clock, model, store, at, kept, stored, range: { from: at(0), to: at(24) } };
}

test("verify --against-exchange --repair leaves alone what was removed, and mends what is there", async () => {
  const { clock, model, store, at, kept, stored, range } = await removedDay(12, [3], "csv");
  const asked: TimeRange[] = [];
  const exchangeTime = new ExchangeTime();
  exchangeTime.seed(clock.now(), clock.monotonic());
  const history = new History({
    history: {
      firstOpenTime: (series, signal) => model.firstOpenTime(series, signal),
      candles: (series, wanted, signal) => {
        asked.push(wanted);
        return model.candles(series, wanted, signal);
      },
    },
    archive: {
      plan: (_series, whole) => ({ files: [], rest: [whole] }),
      open: async () => ({ kind: "not-published" }),
    },
    store: Object.assign(store, {
      range: async (_series: Series, { from, to }: TimeRange) =>
        store.rows(HOURLY).filter(({ candle }) => candle.openTime >= from && candle.openTime < to),
    }),
    clock,
    exchangeTime,
    budget: new WeightBudget(6_000),
    random: () => 0.5,
    record: () => undefined,
    isTrading: () => true,
  });
  const spoilt = model.candle(HOURLY, at(3)) ?? assert.fail();
  await store.write(
    [
      {
        series: HOURLY,
        source: "csv",
        observedTime: at(5),
        candle: { ...spoilt, volume: "1234567" },
      },
    ],
    [],
  );
  const compared = [{ series: HOURLY, ranges: [range] }];
  const repairing = history.repair([{ series: HOURLY, range }], [], compared, NEVER);
  await clock.advance(5_000);
  await repairing;
  assert.deepEqual(stored(), kept);
  assert.equal(store.row(HOURLY, at(3))?.candle.volume, spoilt.volume);
  // Nobody is asked for what nobody wants.
  assert.deepEqual(asked, [
    { from: at(3), to: at(4) },
    { from: at(12), to: at(24) },
  ]);
  const before = asked.length;
  const comparing = history.compare(HOURLY, [range], NEVER);
  await clock.advance(5_000);
  assert.deepEqual(await comparing, []);
  assert.deepEqual(asked.slice(before), asked.slice(0, before));
});

test("confirming leaves alone what was removed between two candles that are there", async () => {
  const { clock, model, store, kept, stored, range } = await removedDay(12, [1, 9], "stream");
  const stop = new AbortController();
  const record = () => undefined;
  const exchangeNow = () => clock.now();
  const writer = new Writer({ store, clock, random: () => 0.5, record, exchangeNow });
  const writing = writer.run(stop.signal);
  const intake = new Intake(writer);
  const confirming = confirmPage(
    { history: model, store, intake, writer, record, exchangeNow },
    HOURLY,
    range.from,
    stop.signal,
  );
  await clock.advance(5_000);
  await confirming;
  assert.deepEqual(stored(), kept);
  assert.deepEqual([...new Set(store.rows(HOURLY).map(({ source }) => source))], ["rest"]);
  stop.abort();
  await writing;
});

test("an ingester that begins, or comes back, before the edge of what is not kept fetches nothing of it", async () => {
  const { harness, clock, store, at, kept, stored } = await removedDay(12, []);
  harness.start();
  await clock.advance(10 * 60_000);
  // All before and behind it, and none of it.
  const hours = Array.from({ length: 72 }, (_, index) => index - 24);
  assert.deepEqual(
    stored(),
    hours.filter((hour) => hour < 0 || hour >= 12),
  );
  assert.ok(stored().length > kept.length);
  await harness.stop();
  assert.deepEqual(
    (await store.gaps(HOURLY)).map(({ range, reason }) => [range, reason]),
    [[{ from: at(0), to: at(12) }, "not-kept"]],
  );
});
