import assert from "node:assert/strict";
import { test } from "node:test";
import type { IngestEvent, WrittenCandle } from "../src/core/events.ts";
import type { Source } from "../src/core/finality.ts";
import { Writer } from "../src/ingest/writer.ts";
import { virtualClock } from "./support/clocks.ts";
import { modelSeries } from "./support/exchange-model.ts";
import { Harness } from "./support/ingest-harness.ts";
import { createMemoryStore } from "./support/memory-store.ts";

const SERIES = modelSeries("BTCUSDT", "1m");
const MINUTE_MS = 60_000;

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
  await writer.drain(new AbortController().signal);
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
