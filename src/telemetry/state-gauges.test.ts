import assert from "node:assert/strict";
import { test } from "node:test";
import type { RunFacts, SeriesStatus } from "../core/status.ts";
import { createMetrics, type Metrics } from "./metrics.ts";
import { createRenderer } from "./render.ts";
import { setStateGauges } from "./state-gauges.ts";

const SERIES = { exchange: "binance", symbol: "BTCUSDT", timeframe: "1m" } as const;
const RUN: RunFacts = {
  host: "h",
  pid: 1,
  mode: "websocket",
  startedTime: 0,
  heartbeatTime: 1_000_000,
  now: 1_004_000,
};

async function samples(metrics: Metrics): Promise<Map<string, string>> {
  const lines = (await metrics.registry.metrics()).split("\n");
  return new Map(
    lines
      .filter((line) => /^(?:ingestion|exchange)/.test(line))
      .map((line) => {
        const at = line.lastIndexOf(" ");
        return [line.slice(0, at), line.slice(at + 1)];
      }),
  );
}

function stored(status: SeriesStatus, run: RunFacts = RUN) {
  const facts = { openGapCount: 2, confirmedGapCount: 1 };
  return { run, series: [{ series: SERIES, facts, status }] };
}

test("status, lag and gaps are what the status function says, and nothing of the last scrape stays", async () => {
  const metrics = createMetrics("1.2.3", [SERIES]);
  const labels = 'symbol="BTCUSDT",timeframe="1m"';
  await setStateGauges(metrics, "websocket", stored({ word: "gap", reason: "", lagMs: 5_000 }));
  const first = await samples(metrics);
  assert.equal(first.get(`ingestion_status{${labels},mode="websocket"}`), "0");
  assert.equal(first.get(`ingestion_series_status{${labels},status="gap"}`), "1");
  assert.equal(first.get(`ingestion_lag_seconds{${labels}}`), "5");
  assert.equal(first.get(`ingestion_gaps_open{${labels}}`), "2");
  assert.equal(first.get(`ingestion_gaps_confirmed{${labels}}`), "1");
  assert.equal(first.get("ingestion_heartbeat_age_seconds"), "4");
  assert.equal(first.get("exchange_hold_remaining_seconds"), "0");
  assert.equal(first.get("ingestion_status_known"), "1");

  await setStateGauges(metrics, "websocket", stored({ word: "active", reason: "" }));
  const second = await samples(metrics);
  assert.equal(second.get(`ingestion_status{${labels},mode="websocket"}`), "1");
  assert.equal(second.has(`ingestion_series_status{${labels},status="gap"}`), false);
  assert.equal(second.has(`ingestion_lag_seconds{${labels}}`), false);
});

test("a stored ban counts down", async () => {
  const metrics = createMetrics("1.2.3", [SERIES]);
  const banned = { ...RUN, bannedUntilTime: RUN.now + 90_000 };
  await setStateGauges(metrics, "polling", stored({ word: "banned", reason: "" }, banned));
  const found = await samples(metrics);
  assert.equal(found.get("exchange_hold_remaining_seconds"), "90");
  assert.equal(found.get("exchange_held_until_timestamp_seconds"), "1094");
});

test("a database that does not answer leaves no state behind", async () => {
  const metrics = createMetrics("1.2.3", [SERIES]);
  await setStateGauges(metrics, "websocket", stored({ word: "active", reason: "", lagMs: 1 }));
  await setStateGauges(metrics, "websocket");
  const found = await samples(metrics);
  const left = [...found.keys()].filter((name) =>
    /^ingestion_(?:status\{|series|lag|gaps_o)/.test(name),
  );
  assert.deepEqual(left, []);
  assert.equal(found.get("ingestion_status_known"), "0");
  assert.match(found.get("exchange_hold_remaining_seconds") ?? "", /^nan$/i);
});

test("whoever asks while a page is made gets the same one, whole", async () => {
  const many = manySeries(1_200);
  const metrics = createMetrics(
    "1.2.3",
    many.map(({ series }) => series),
  );
  const render = createRenderer(metrics, "websocket");
  const state = { run: RUN, series: many };
  const [first, second] = await Promise.all([render(state), render(state)]);
  assert.equal(first, second);
  const active = first.body.match(/^ingestion_status\{.*\} 1$/gm) ?? [];
  assert.equal(active.length, 1_200);
  // What belongs to a page goes with it.
  assert.doesNotMatch(await metrics.registry.metrics(), /^ingestion_status\{/m);
  await setStateGauges(metrics, "websocket", state);
  const whole = await metrics.registry.metrics();
  const samples = (text: string): string[] =>
    text.split("\n").filter((line) => /^(?:ingestion|exchange)/.test(line));
  assert.deepEqual(samples(first.body), samples(whole));
  assert.notEqual(await render(state), first);
});

test("candles go on while the page of thousands of series is made", async () => {
  const many = manySeries(6_000);
  const all = many.map(({ series }) => series);
  const metrics = createMetrics("1.2.3", all);
  for (const series of all) metrics.latency.observe(metrics.latencyLabelsOf(series), 0.3);
  let turns = 0;
  const turning = setInterval(() => {
    turns += 1;
  });
  const { body } = await createRenderer(metrics, "websocket")({ run: RUN, series: many });
  clearInterval(turning);
  assert.ok(turns >= 10, `${turns} turns`);
  const latency = body.match(/^ingestion_latency_seconds_count.*$/gm);
  assert.deepEqual(latency, ['ingestion_latency_seconds_count{symbol="all",timeframe="1m"} 6000']);
});

function manySeries(count: number) {
  return Array.from({ length: count }, (_, index) => ({
    series: { ...SERIES, symbol: `S${index}` },
    facts: { openGapCount: 0, confirmedGapCount: 0 },
    status: { word: "active", reason: "", lagMs: 1 } as const,
  }));
}
