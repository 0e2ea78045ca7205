import assert from "node:assert/strict";
import { test } from "node:test";
import type { RunFacts, SeriesStatus } from "../core/status.ts";
import { createMetrics, type Metrics } from "./metrics.ts";
import { renderMetrics } from "./render.ts";
import type { StoredState } from "./state-gauges.ts";

const SERIES = { exchange: "binance", symbol: "BTCUSDT", timeframe: "1m" } as const;
const RUN: RunFacts = {
  host: "h",
  pid: 1,
  mode: "websocket",
  startedTime: 0,
  heartbeatTime: 1_000_000,
  now: 1_004_000,
};

async function page(metrics: Metrics, mode: string, state?: StoredState): Promise<string> {
  let text = "";
  for await (const piece of renderMetrics(metrics, mode, state).pieces) text += piece;
  return text;
}

async function samples(
  metrics: Metrics,
  mode: string,
  state?: StoredState,
): Promise<Map<string, string>> {
  const lines = (await page(metrics, mode, state)).split("\n");
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
  const gap = stored({ word: "gap", reason: "", lagMs: 5_000 });
  const first = await samples(metrics, "websocket", gap);
  assert.equal(first.get(`ingestion_status{${labels},mode="websocket"}`), "0");
  assert.equal(first.get(`ingestion_series_status{${labels},status="gap"}`), "1");
  assert.equal(first.get(`ingestion_lag_seconds{${labels}}`), "5");
  assert.equal(first.get(`ingestion_gaps_open{${labels}}`), "2");
  assert.equal(first.get(`ingestion_gaps_confirmed{${labels}}`), "1");
  assert.equal(first.get("ingestion_heartbeat_age_seconds"), "4");
  assert.equal(first.get("exchange_hold_remaining_seconds"), "0");
  assert.equal(first.get("ingestion_status_known"), "1");

  const second = await samples(metrics, "websocket", stored({ word: "active", reason: "" }));
  assert.equal(second.get(`ingestion_status{${labels},mode="websocket"}`), "1");
  assert.equal(second.has(`ingestion_series_status{${labels},status="gap"}`), false);
  assert.equal(second.has(`ingestion_lag_seconds{${labels}}`), false);
});

test("a stored ban counts down", async () => {
  const metrics = createMetrics("1.2.3", [SERIES]);
  const banned = { ...RUN, bannedUntilTime: RUN.now + 90_000 };
  const state = stored({ word: "banned", reason: "" }, banned);
  const found = await samples(metrics, "polling", state);
  assert.equal(found.get("exchange_hold_remaining_seconds"), "90");
  assert.equal(found.get("exchange_held_until_timestamp_seconds"), "1094");
});

test("a database that does not answer leaves no state behind", async () => {
  const metrics = createMetrics("1.2.3", [SERIES]);
  await page(metrics, "websocket", stored({ word: "active", reason: "", lagMs: 1 }));
  const found = await samples(metrics, "websocket");
  const left = [...found.keys()].filter((name) =>
    /^ingestion_(?:status\{|series|lag|gaps_o)/.test(name),
  );
  assert.deepEqual(left, []);
  assert.equal(found.get("ingestion_status_known"), "0");
  assert.equal(found.get("exchange_hold_remaining_seconds"), "NaN");
});

test("pages that are made at the same time are whole, and a sample a series is not kept", async () => {
  const many = manySeries(1_200);
  const metrics = createMetrics(
    "1.2.3",
    many.map(({ series }) => series),
  );
  const state = { run: RUN, series: many };
  const [first, second] = await Promise.all([
    page(metrics, "websocket", state),
    page(metrics, "websocket", state),
  ]);
  const samplesOf = (text: string): string[] =>
    text.split("\n").filter((line) => /^(?:ingestion|exchange)/.test(line));
  assert.deepEqual(samplesOf(first), samplesOf(second));
  for (const name of ["status", "candles_processed_total", "revisions_total", "gaps_open"]) {
    const lines = first.match(new RegExp(`^ingestion_${name}\\{`, "gm")) ?? [];
    assert.equal(lines.length, 1_200, name);
  }
  assert.doesNotMatch(await metrics.registry.metrics(), /^ingestion_status\{/m);
});

test("a page says of each metric what the library would, in the library's words", async () => {
  const metrics = createMetrics("1.2.3", [SERIES]);
  metrics.candlesProcessed.inc({ symbol: "BTCUSDT", timeframe: "1m", mode: "websocket" }, 3);
  metrics.errors.inc({ symbol: 'A"B\\C\nD', timeframe: "", error_type: "connect" });
  const { isKnown, heartbeatAge } = metrics.state;
  const own = await page(metrics, "websocket", { run: RUN, series: [] });
  // What stands in the database is given to a page and not to the library.
  isKnown.set(1);
  heartbeatAge.set(4);
  const theirs = await metrics.registry.metrics();
  const lines = (text: string): string[] =>
    text.split("\n").filter((line) => line !== "" && !/^(?:# \w+ )?(?:process|nodejs)_/.test(line));
  assert.deepEqual(lines(own), lines(theirs));
});

test("a page of some metrics has those, as the whole page has them, and no other", async () => {
  const metrics = createMetrics("1.2.3", [SERIES]);
  metrics.queueSize.set({ queue_name: "write" }, 7);
  const state = stored({ word: "active", reason: "" });
  const names = new Set(["ingestion_queue_size", "ingestion_status", "no_such_metric"]);
  let some = "";
  for await (const piece of renderMetrics(metrics, "websocket", state, names).pieces) some += piece;
  const whole = await page(metrics, "websocket", state);
  const blocks = whole.split(/\n\n|(?<=\n)(?=# HELP)/).map((block) => block.trim());
  const wanted = blocks.filter((block) => names.has(/^# HELP (\S+)/.exec(block)?.[1] ?? ""));
  assert.equal(wanted.length, 2);
  assert.equal(
    some.replaceAll(/\n+/g, "\n").trim(),
    wanted.join("\n").replaceAll(/\n+/g, "\n").trim(),
  );
});

test("a page under way keeps its own facts while another one is made", async () => {
  const metrics = createMetrics("1.2.3", [SERIES]);
  const unknown = renderMetrics(metrics, "websocket").pieces[Symbol.asyncIterator]();
  let text = (await unknown.next()).value ?? "";
  await page(metrics, "websocket", stored({ word: "active", reason: "" }));
  for (let next = await unknown.next(); next.done !== true; next = await unknown.next()) {
    text += next.value;
  }
  assert.match(text, /^ingestion_status_known 0$/m);
  assert.match(text, /^ingestion_heartbeat_age_seconds NaN$/m);
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
  const body = await page(metrics, "websocket", { run: RUN, series: many });
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
