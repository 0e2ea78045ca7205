import assert from "node:assert/strict";
import { test } from "node:test";
import type { IngestEvent, WrittenCandle } from "../src/core/events.ts";
import type { Source } from "../src/core/finality.ts";
import type { Series } from "../src/core/series.ts";
import { Writer } from "../src/ingest/writer.ts";
import { virtualClock } from "./support/clocks.ts";
import { modelSeries } from "./support/exchange-model.ts";
import { Harness } from "./support/ingest-harness.ts";
import { createMemoryStore } from "./support/memory-store.ts";

const SERIES = modelSeries("BTCUSDT", "1m");
const MINUTE_MS = 60_000;

const NEVER = new AbortController().signal;

/** Writes one candle that was seen 100 ms after its close, 150 ms after its close. */
async function written(source: Source): Promise<WrittenCandle | undefined> {
  const clock = virtualClock();
  const base = clock.now();
  const store = createMemoryStore({ clock });
  await store.begin({ mode: "websocket", host: "test", pid: 1 }, [SERIES]);
  const [watermark] = await store.want([{ series: SERIES, wantedFrom: base }], base);
  const events: IngestEvent[] = [];
  let exchangeNow = base;
  const writer = new Writer({
    store,
    clock,
    random: () => 0.5,
    record: (event) => events.push(event),
    exchangeNow: () => exchangeNow,
  });
  writer.track(watermark ?? assert.fail("no watermark"));
  exchangeNow = base + MINUTE_MS + 150;
  const candle = new Harness({ series: [SERIES] }).model.candle(SERIES, base) ?? assert.fail();
  writer.offer({ series: SERIES, candle, source, observedTime: base + MINUTE_MS + 100 });
  await writer.drain(NEVER);
  const batch = events.find((event) => event.kind === "batchWritten");
  return batch?.candles[0];
}

test("a candle of the stream has both latencies: from its close, and from the exchange's event", async () => {
  const candle = await written("stream");
  assert.equal(candle?.outcome, "stored");
  assert.equal(candle.latencyMs, 150);
  assert.equal(candle.eventLatencyMs, 50);
});

test("one that REST brought at its close has the first, history has none", async () => {
  const young = await written("rest-early");
  assert.equal(young?.latencyMs, 150);
  assert.equal(young.eventLatencyMs, undefined);
  const old = await written("archive-daily");
  assert.equal(old?.outcome, "stored");
  assert.equal(old.latencyMs, undefined);
  assert.equal(old.eventLatencyMs, undefined);
});

test("what has just closed is written before the history that waits, and a flush waits for both", async () => {
  const clock = virtualClock();
  const base = clock.now();
  const series = [modelSeries("BTCUSDT", "1s"), modelSeries("ETHUSDT", "1s")] as const;
  const [old, young] = series;
  const store = createMemoryStore({ clock });
  await store.begin({ mode: "websocket", host: "test", pid: 1 }, series);
  const wanted = series.map((one) => ({ series: one, wantedFrom: base }));
  const batches: (readonly WrittenCandle[])[] = [];
  const exchangeNow = (): number => base + 20_000_000;
  const writer = new Writer({
    ...{ store, clock, exchangeNow, random: () => 0.5 },
    record: (event) => {
      if (event.kind === "batchWritten") batches.push(event.candles);
    },
  });
  for (const watermark of await store.want(wanted, base)) writer.track(watermark);
  const { model } = new Harness({ series: [...series] });
  const offer = (one: Series, index: number, source: Source): void => {
    const candle = model.candle(one, base + index * 1_000) ?? assert.fail("no candle");
    assert.equal(
      writer.offer({ series: one, candle, source, observedTime: exchangeNow() }),
      "taken",
    );
  };
  for (let index = 0; index < 12_000; index += 1) offer(old, index, "rest");
  const hasRoom = writer.room(NEVER).then(() => batches.length);
  for (let index = 0; index < 10; index += 1) offer(young, index, "stream");
  const flushed = writer.flushed(NEVER).then(() => batches.length);
  // Its first version waits among the history; the stream's does not overtake it as another row of the same batch.
  offer(old, 11_999, "stream");
  const stop = new AbortController();
  const running = writer.run(stop.signal);
  assert.equal(await flushed, 3);
  assert.equal(await hasRoom, 1);
  stop.abort();
  await running;
  assert.deepEqual(
    batches[0]?.slice(0, 11).map(({ series: { symbol } }) => symbol),
    [...Array<string>(10).fill("ETHUSDT"), "BTCUSDT"],
  );
  const { series: facts } = await store.facts();
  assert.deepEqual(
    facts.map(({ next }) => ((next ?? base) - base) / 1_000),
    [12_000, 10],
  );
});
