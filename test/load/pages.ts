import { Agent, get, type IncomingMessage } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

/**
 * Dashboards that are left open, in a process of their own: `node test/load/pages.ts URL COUNT`. Each asks for what the page
 * asks for (`src/serve/dashboard/page/main.js`), as often as it does, and follows the events of one series. Tells on SIGTERM,
 * as one JSON document, how that went.
 */
const [, , url = "", count = "1"] = process.argv;
const agent = new Agent({ keepAlive: true });
// The page is typed by itself.
const { TILE_METRICS } = (await import(
  new URL("../../src/serve/dashboard/page/metrics.js", import.meta.url).href
)) as { TILE_METRICS: readonly string[] };
const DAY_MS = 86_400_000;
const COVERED_DAYS = 90;
const times: number[] = [];
const delays: number[] = [];
let failed = 0;
let bytes = 0;
let closedCount = 0;

function open(path: string): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    get(`${url}${path}`, { agent }, resolve).on("error", reject);
  });
}

/** @returns the answer's text; empty when there was none */
async function ask(path: string): Promise<string> {
  const began = performance.now();
  try {
    const response = await open(path);
    let text = "";
    for await (const part of response.setEncoding("utf8")) text += part;
    bytes += text.length;
    if (response.statusCode !== 200) failed += 1;
    return response.statusCode === 200 ? text : "";
  } catch {
    failed += 1;
    return "";
  } finally {
    times.push(performance.now() - began);
  }
}

async function every(ms: number, work: () => Promise<unknown>): Promise<never> {
  // Pages are opened at any time.
  await sleep(Math.random() * ms);
  for (;;) {
    await work();
    await sleep(ms);
  }
}

async function follow(series: string): Promise<void> {
  const response = await open(`/api/v1/events?series=${series}&kinds=closed,forming`);
  if (response.statusCode !== 200) failed += 1;
  for await (const part of response.setEncoding("utf8")) {
    const now = Date.now();
    bytes += part.length;
    for (const [, closeTime] of part.matchAll(/^event: closed\n.*?"closeTime":(\d+)/gm)) {
      closedCount += 1;
      delays.push(now - Number(closeTime) - 1);
    }
  }
  // It has no end.
  failed += 1;
}

const { series } = JSON.parse(await ask("/api/v1/series")) as {
  series: { symbol: string; timeframe: string }[];
};
const names = series.map(({ symbol, timeframe }) => `${symbol}:${timeframe}`);
const seconds = names.filter((name) => name.endsWith(":1s"));
if (seconds.length === 0) throw new Error("no series of seconds to follow");
for (let index = 0; index < Number(count); index += 1) {
  const shown = seconds[index % seconds.length] ?? "";
  void follow(shown);
  void every(2_000, () => ask("/api/v1/status/summary"));
  void every(2_000, () => ask("/api/v1/status?find=&order=urgency&limit=100"));
  void every(2_000, () => ask("/api/v1/log?after=0"));
  void every(5_000, () =>
    ask(`/metrics?${TILE_METRICS.map((name) => `name[]=${name}`).join("&")}`),
  );
  void every(5_000, () =>
    ask(`/api/v1/gaps?exchange=binance&symbols=${shown.split(":")[0]}&timeframes=1s`),
  );
  void every(60_000, () => {
    const to = Math.ceil(Date.now() / DAY_MS) * DAY_MS;
    const from = to - COVERED_DAYS * DAY_MS;
    const its = names.slice(index, index + 100).join(",");
    return ask(`/api/v1/coverage?from=${from}&to=${to - 1}&series=${its}`);
  });
}
process.stdout.write("watching\n");

process.on("SIGTERM", () => {
  const p99 = (all: number[]): number =>
    Math.round(all.sort((a, b) => a - b)[Math.floor(all.length * 0.99)] ?? Number.NaN);
  const report = {
    ...{ requestCount: times.length, failedCount: failed, p99Ms: p99(times) },
    ...{ megabytes: Math.round(bytes / 1e6), closedCount, toldP99Ms: p99(delays) },
  };
  process.stdout.write(`${JSON.stringify(report)}\n`, () => process.exit(0));
});
