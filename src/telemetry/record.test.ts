import assert from "node:assert/strict";
import { test } from "node:test";
import type { IngestEvent } from "../core/events.ts";
import { openLog, redactor } from "./log.ts";
import { createMetrics, type Metrics } from "./metrics.ts";
import { createRecorder } from "./record.ts";

const SERIES = { exchange: "binance", symbol: "BTCUSDT", timeframe: "1m" } as const;
const SECRET = "S3CR3T!/pass";

interface Bench {
  readonly metrics: Metrics;
  readonly lines: string[];
  readonly record: (event: IngestEvent) => void;
  now: number;
}

function bench(isPlain = false): Bench {
  const metrics = createMetrics("1.2.3");
  const lines: string[] = [];
  const log = openLog({
    level: "debug",
    isPlain,
    hasColors: false,
    secrets: [SECRET],
    write: (line) => lines.push(line),
  });
  const state = { metrics, lines, now: 0 };
  return Object.assign(state, {
    record: createRecorder(metrics, log, "websocket", () => state.now),
  });
}

async function sampleOf(metrics: Metrics, line: string): Promise<number> {
  const text = await metrics.registry.metrics();
  const found = text.split("\n").find((one) => one.startsWith(`${line} `));
  return found === undefined ? Number.NaN : Number(found.slice(line.length + 1));
}

test("a batch is counted under the names of the replaced system", async () => {
  const { metrics, record } = bench();
  record({
    kind: "batchWritten",
    tookMs: 12,
    candles: [
      { series: SERIES, openTime: 1, outcome: "stored", latencyMs: 400 },
      { series: SERIES, openTime: 2, outcome: "revised" },
      { series: SERIES, openTime: 3, outcome: "identical" },
      { series: SERIES, openTime: 4, outcome: "superseded" },
    ],
  });
  const labels = '{symbol="BTCUSDT",timeframe="1m",mode="websocket"}';
  assert.equal(await sampleOf(metrics, `ingestion_candles_processed_total${labels}`), 2);
  for (const outcome of ["stored", "revised", "identical", "superseded"]) {
    assert.equal(
      await sampleOf(metrics, `ingestion_candle_outcomes_total{outcome="${outcome}"}`),
      1,
    );
  }
  const latency = 'symbol="BTCUSDT",timeframe="1m"';
  assert.equal(await sampleOf(metrics, `ingestion_latency_seconds_count{${latency}}`), 1);
  assert.equal(await sampleOf(metrics, `ingestion_latency_seconds_bucket{le="0.5",${latency}}`), 1);
});

test("a fault that lasts writes few lines, and none of its kind is forgotten", () => {
  const state = bench(true);
  for (let second = 0; second < 60; second += 1) {
    state.now = second * 1_000;
    state.record({
      kind: "fetchFailed",
      series: SERIES,
      code: "E_SOURCE_TIMEOUT",
      reason: "no answer",
    });
  }
  assert.equal(state.lines.length, 6);
  assert.match(state.lines[1] ?? "", /9 more of this kind since/);
});

test("one hostile name is one line", () => {
  const state = bench(true);
  state.record({
    kind: "fetchFailed",
    series: { ...SERIES, symbol: "A\n12:00:00 ERROR forged\u001b[2J" },
    code: "E_SOURCE_TIMEOUT",
    reason: "no answer",
  });
  assert.equal(state.lines.length, 1);
  assert.equal(state.lines[0]?.split("\n").length, 2);
  assert.ok(!state.lines[0]?.includes("\u001b"));
});

test("a secret never reaches the log, in whatever form it is written", () => {
  for (const isPlain of [true, false]) {
    const state = bench(isPlain);
    for (const reason of [SECRET, encodeURIComponent(SECRET), JSON.stringify(SECRET)]) {
      state.now += 60_000;
      state.record({ kind: "troubled", what: "start", code: "E_DB_AUTH", reason });
    }
    assert.equal(state.lines.length, 3);
    assert.doesNotMatch(state.lines.join(""), /S3CR3T/);
  }
  assert.equal(redactor([])("text"), "text");
});

test("connections are counted up and down", async () => {
  const { metrics, record } = bench();
  record({ kind: "connected", connection: "1", seriesCount: 2 });
  record({ kind: "connected", connection: "2", seriesCount: 2 });
  record({ kind: "disconnected", connection: "1", seriesCount: 2, reason: "1006" });
  assert.equal(await sampleOf(metrics, "ingestion_stream_connections"), 1);
  assert.equal(await sampleOf(metrics, "ingestion_stream_disconnects_total"), 1);
});

test("a refused candle is counted once, an error with its reason", async () => {
  const { metrics, record, lines } = bench();
  record({
    kind: "quarantined",
    series: SERIES,
    openTime: 1_700_000_000_000,
    rejection: { code: "not-a-decimal", detail: 'close is "1e5"' },
  });
  record({
    kind: "batchWritten",
    tookMs: 1,
    candles: [{ series: SERIES, openTime: 1_700_000_000_000, outcome: "quarantined" }],
  });
  assert.equal(
    await sampleOf(metrics, 'ingestion_candle_outcomes_total{outcome="quarantined"}'),
    1,
  );
  assert.match(lines[0] ?? "", /2023-11-14T22:13:20.*1e5/);
});
