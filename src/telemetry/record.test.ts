import assert from "node:assert/strict";
import { test } from "node:test";
import type { IngestEvent } from "../core/events.ts";
import { openLog, redactor } from "./log.ts";
import { createMetrics, type Metrics } from "./metrics.ts";
import { RecentLines } from "./recent-lines.ts";
import { reconnectReason } from "./reconnect-reason.ts";
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
  const metrics = createMetrics("1.2.3", [SERIES]);
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
      { series: SERIES, openTime: 1, outcome: "stored", latencyMs: 400, eventLatencyMs: 8 },
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
  const fine = async (name: string, le: string): Promise<number> =>
    sampleOf(metrics, `${name}_bucket{le="${le}",timeframe="1m"}`);
  assert.equal(await fine("ingestion_close_to_stored_seconds", "0.25"), 0);
  assert.equal(await fine("ingestion_close_to_stored_seconds", "0.5"), 1);
  assert.equal(await fine("ingestion_event_to_stored_seconds", "0.01"), 1);
  assert.equal(
    await sampleOf(metrics, 'ingestion_revisions_total{symbol="BTCUSDT",timeframe="1m"}'),
    1,
  );
  assert.equal(await sampleOf(metrics, 'ingestion_write_batch_candles_bucket{le="5"}'), 1);
});

test("reconnects are counted by a reason of a closed set, whatever the other side writes", async () => {
  const { metrics, record } = bench();
  const lost = (reason: string): void =>
    record({ kind: "disconnected", connection: "1", seriesCount: 1, reason });
  lost("socket closed 1006 (no close frame)");
  lost("no frame for 60 s");
  lost('socket closed 1008 (a"} 1\nforged 1)');
  record({ kind: "rotated", connection: "1", reason: "it is nearly a day old" });
  const count = (reason: string): Promise<number> =>
    sampleOf(metrics, `ingestion_stream_reconnects_total{reason="${reason}"}`);
  assert.deepEqual(await Promise.all(["broken", "silent", "closed", "rotation"].map(count)), [
    ...[1, 1, 1, 1],
  ]);
  assert.equal(await count("other"), 0);
  assert.ok(!(await metrics.registry.metrics()).includes("forged"));
});

test("every reason that the stream gives has its class", () => {
  const reasons: Readonly<Record<string, string>> = {
    "socket closed 1001": "closed",
    "x closed the connection": "closed",
    "connection to x broke (ECONNRESET)": "broken",
    "no route to x (ENETUNREACH)": "broken",
    "subscribed, but no candle came while the old socket had some": "silent",
    "3 of 4 series are silent": "silent",
    "no connection within 10 s": "timeout",
    "no connection to x in time (ETIMEDOUT)": "timeout",
    "no answer to SUBSCRIBE": "timeout",
    "cannot resolve host x (ENOTFOUND)": "dns",
    "certificate of x is not trusted (CERT_HAS_EXPIRED)": "tls",
    "x refused the WebSocket: closed to this region (451)": "refused",
    "x refused the connection": "refused",
    "frame larger than 1 MiB": "protocol",
    "5 candles dropped: they were not taken fast enough": "overrun",
    "the server is about to shut down": "shutdown",
    "it is nearly a day old": "rotation",
    stopped: "other",
  };
  for (const [words, reason] of Object.entries(reasons)) {
    assert.equal(reconnectReason(words), reason, words);
  }
});

test("ten thousand unknown symbols are one label", async () => {
  const { metrics, record } = bench();
  const lineCount = async (): Promise<number> =>
    (await metrics.registry.metrics()).split("\n").length;
  const fail = (symbol: string): void =>
    record({
      kind: "fetchFailed",
      series: { ...SERIES, symbol },
      code: "E_SOURCE_TIMEOUT",
      reason: "no answer",
    });
  fail('X"}\nforged 1');
  const before = await lineCount();
  for (let index = 0; index < 10_000; index += 1) fail(`SYMBOL${index}`);
  assert.equal(await lineCount(), before);
  const other = 'symbol="other",timeframe="other",error_type="E_SOURCE_TIMEOUT"';
  assert.equal(await sampleOf(metrics, `ingestion_errors_total{${other}}`), 10_001);
});

test("the hostile name of a configured symbol stays one escaped label", async () => {
  const hostile = { ...SERIES, symbol: 'A"} 1\nforged{x="\\' };
  const metrics = createMetrics("1.2.3", [hostile]);
  const text = await metrics.registry.metrics();
  assert.ok(text.includes('symbol="A\\"} 1\\nforged{x=\\"\\\\"'));
  assert.ok(!text.split("\n").some((line) => line.startsWith("forged")));
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

test("a secret that is also a word of the line's frame leaves the frame whole", () => {
  for (const secret of ["level", "time", "msg", "info", "2026", "40", '":"', "\\n"]) {
    for (const isPlain of [true, false]) {
      const recent = new RecentLines();
      const lines: string[] = [];
      const write = (line: string): number => lines.push(line);
      const secrets = [secret];
      const log = openLog({ level: "info", isPlain, hasColors: false, secrets, write, recent });
      log.warn({ reason: `because of ${secret}` }, `it says ${secret} here`);
      const [line = ""] = lines;
      const [kept] = recent.after(0);
      assert.ok(Math.abs(Date.now() - (kept?.time ?? 0)) < 60_000, line);
      assert.equal(kept?.level, "warn");
      if (isPlain) assert.match(line, /^\d\d:\d\d:\d\d warn {2}it says /);
      else assert.equal((JSON.parse(line) as { level: number }).level, 40);
      if (secret.length >= 4) assert.doesNotMatch(line, new RegExp(`(?:says|of) ${secret}`));
    }
  }
});

test("a password of one to three characters is hidden where a password stands, and eats no text", () => {
  const hide = redactor(["a", "1?x"]);
  const text = "a day at 12:1 of a@b, candles 1?x";
  assert.equal(hide(text), text);
  assert.equal(
    hide("postgresql://u:a@h/a and ://u:1%3Fx@h"),
    "postgresql://u:***@h/a and ://u:***@h",
  );
  assert.equal(
    hide(`?password=a&x=a password=1?x "password=a" PASSWORD=a`),
    `?password=***&x=a password=*** "password=***" PASSWORD=***`,
  );
  assert.equal(hide("password=abc"), "password=abc");
  assert.equal(redactor(["abcd"])("xabcdx"), "x***x");
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
