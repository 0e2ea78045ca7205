import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { Agent, get } from "node:http";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import pg from "pg";
import { readVersionNumber } from "../src/core/finality.ts";
import type { Series } from "../src/core/series.ts";
import { createDatabase } from "../src/store/create-database.ts";
import { Database } from "../src/store/database.ts";
import { migrate, openStore, startEmbedded } from "../src/store/index.ts";
import { versionOf } from "../test/support/api-stack.ts";
import { chosen, scriptOptions, TEXT } from "../test/support/script-options.ts";
import {
  Ingester,
  noteCommitTimes,
  type Percentiles,
  percentilesOf,
  rounded,
  STORED,
  type StoredRow,
  start,
  startMarket,
  stop,
  stopAll,
  withDatabase,
} from "./support/live-program.ts";

/**
 * Two looks at the HTTP face, both in one alternating run. First 1,000 candles by API v1, by the Binance-compatible
 * server and by the bare query through `pg`; then the latency of live ingestion of many 1s series with and without
 * viewers of the event stream. Run: `npm run bench:api -- [--rounds 5] [--seconds 15] [--symbols 200] [--viewers 50]`.
 */
const options = scriptOptions({
  rounds: 5,
  seconds: 15,
  symbols: 200,
  viewers: 50,
  only: TEXT,
  json: false,
});
const ROUND_MS = 2_000;
const CONCURRENCY = 4;
const CANDLES = 50_000;
const LIMIT = 1_000;
const DATABASE = "black_trade";
const SERIES: Series = { exchange: "binance", symbol: "BTCUSDT", timeframe: "1m" };
const SETTLE_MS = 3_000;

/** The query that the API runs, with nothing around it. */
const BARE = `
  select
    candle_epoch_ms(open_time) as "openTime", version, cut_ms as "cutMs", trade_count as "tradeCount",
    open, high, low, close, volume, quote_volume as "quoteVolume",
    taker_buy_volume as "takerBuyVolume", taker_buy_quote_volume as "takerBuyQuoteVolume"
  from candles
  where series_id = $1 and open_time < candle_time($2)
  order by open_time desc
  limit $3`;

/** One way to 1,000 candles, and how long each took. */
interface Contender {
  readonly name: string;
  readonly ask: () => Promise<void>;
  readonly tookMs: number[];
  roundMs: number;
}

async function measureRequests(dataDir: string): Promise<string[]> {
  const embedded = await startEmbedded({ dataDir });
  const url = embedded.urlOf(DATABASE);
  const agent = new Agent({ keepAlive: true, maxSockets: CONCURRENCY });
  const pool = new pg.Pool({ connectionString: url, max: CONCURRENCY });
  try {
    await fillDatabase(url);
    await pool.query("analyze candles");
    const { rows } = await pool.query<{ id: number }>("select id from series");
    const seriesId = rows[0]?.id;
    const server = start(["serve", "--http-port", "0", "--json"], { DATA_DIR: dataDir });
    const [, base = ""] = await server.says(/^\{"url":"([^"]+)"\}$/m);
    const byHttp = (path: string) => (): Promise<void> => ask(agent, `${base}${path}`);
    const contender = (name: string, one: () => Promise<void>): Contender => ({
      name,
      ask: one,
      tookMs: [],
      roundMs: 0,
    });
    const contenders = [
      contender("bare query through pg", async () => {
        await pool.query({
          name: "bare",
          text: BARE,
          values: [seriesId, Date.UTC(2100, 0), LIMIT],
        });
      }),
      contender(
        "/api/v1/candles",
        byHttp(`/api/v1/candles?symbol=BTCUSDT&timeframe=1m&limit=${LIMIT}`),
      ),
      contender(
        "/api/v3/klines",
        byHttp(`/api/v3/klines?symbol=BTCUSDT&interval=1m&limit=${LIMIT}`),
      ),
      contender("/livez", byHttp("/livez")),
    ];
    for (const one of contenders) await run(one, ROUND_MS / 2);
    for (const one of contenders) {
      one.tookMs.length = 0;
      one.roundMs = 0;
    }
    for (let round = 0; round < options.rounds; round += 1) {
      for (const one of contenders) await run(one, ROUND_MS);
    }
    await stop(server);
    const results = contenders.map(({ name, tookMs, roundMs }) => {
      const { p50, p99 } = percentilesOf(tookMs);
      return { name, perSecond: (tookMs.length / roundMs) * 1_000, p50, p99 };
    });
    if (options.json) return [JSON.stringify(results)];
    return results.map(
      ({ name, perSecond, p50, p99 }) =>
        `${name.padEnd(24)} ${perSecond.toFixed(0).padStart(6)} a second, p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms`,
    );
  } finally {
    agent.destroy();
    await pool.end();
    await embedded.release();
  }
}

async function fillDatabase(url: string): Promise<void> {
  await createDatabase({ url });
  const database = new Database({ url });
  await migrate(database).finally(() => database.close());
  const store = await openStore({ url });
  const first = Date.UTC(2026, 0, 1);
  for (let index = 0; index < CANDLES; index += 5_000) {
    const batch = Array.from({ length: 5_000 }, (_, offset) =>
      versionOf(SERIES, first + (index + offset) * 60_000),
    );
    await store.write(batch, []);
  }
  await store.close();
}

async function run(one: Contender, ms: number): Promise<void> {
  const began = performance.now();
  const lane = async (): Promise<void> => {
    while (performance.now() - began < ms) {
      const asked = performance.now();
      await one.ask();
      one.tookMs.push(performance.now() - asked);
    }
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, lane));
  one.roundMs += performance.now() - began;
}

function ask(agent: Agent, url: string): Promise<void> {
  return new Promise((resolve, reject) => {
    get(url, { agent }, (response) => {
      if (response.statusCode !== 200) reject(new Error(`${url}: ${response.statusCode}`));
      response.on("end", resolve).resume();
    }).on("error", reject);
  });
}

/** What the viewers' process tells at its end. */
interface ViewerReport {
  readonly closedCount: number;
  readonly formingCount: number;
  readonly droppedCount: number;
  readonly closeToTold: Percentiles;
}

class Viewers {
  readonly #child: ChildProcess;
  #output = "";

  private constructor(child: ChildProcess) {
    this.#child = child;
    child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      this.#output += text;
    });
  }

  static async start(url: string, count: number): Promise<Viewers> {
    const script = fileURLToPath(new URL("./support/viewers.ts", import.meta.url));
    const child = spawn(process.execPath, [script, url, String(count)], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const viewers = new Viewers(child);
    while (!viewers.#output.includes("watching")) await sleep(50);
    return viewers;
  }

  async stop(): Promise<ViewerReport> {
    this.#child.kill("SIGTERM");
    await once(this.#child, "close");
    return JSON.parse(this.#output.replace("watching\n", "")) as ViewerReport;
  }
}

/** A stretch of time with or without viewers. */
interface Window {
  readonly from: number;
  readonly to: number;
  readonly cpuPercent: number;
  readonly report: ViewerReport | undefined;
}

async function measureViewers(dataDir: string): Promise<string[]> {
  const { env, simulator } = await startMarket(options.symbols, dataDir);
  const first = new Ingester(env);
  await first.firstCandle();
  await first.stop();
  await noteCommitTimes(dataDir);
  const ingester = new Ingester(env);
  await ingester.ready();
  const windows: Window[] = [];
  for (let round = 0; round < options.rounds; round += 1) {
    for (const isWatched of round % 2 === 0 ? [false, true] : [true, false]) {
      const viewers = isWatched
        ? await Viewers.start(await ingester.url(), options.viewers)
        : undefined;
      await sleep(1_000);
      const from = Date.now();
      const before = await ingester.metrics();
      await sleep(options.seconds * 1_000);
      const to = Date.now();
      const after = await ingester.metrics();
      const cpuPercent = ((after.cpuSeconds - before.cpuSeconds) / ((to - from) / 1_000)) * 100;
      await sleep(SETTLE_MS / 3);
      windows.push({ from, to, cpuPercent, report: await viewers?.stop() });
    }
  }
  await sleep(SETTLE_MS);
  await ingester.stop();
  await stop(simulator);
  const rows = await withDatabase(dataDir, DATABASE, (database) =>
    database.run<StoredRow>({ text: STORED, values: [ingester.startedTime] }),
  );
  const streamed = rows.filter(({ version }) => readVersionNumber(version)?.source === "stream");
  return [false, true].map((isWatched) => {
    const its = windows.filter(({ report }) => (report !== undefined) === isWatched);
    const inside = streamed.filter(({ openTime }) =>
      its.some(({ from, to }) => openTime + 1_000 >= from && openTime + 1_000 < to),
    );
    const { p50, p99, max } = percentilesOf(
      inside.map(({ storedTime, version }) => {
        return storedTime - (readVersionNumber(version)?.observedTime ?? Number.NaN);
      }),
    );
    const cpu = its.reduce((sum, { cpuPercent }) => sum + cpuPercent, 0) / its.length;
    const told = its.flatMap(({ report }) => report ?? []);
    const sum = (pick: (report: ViewerReport) => number): number =>
      told.reduce((total, one) => total + pick(one), 0);
    const name = isWatched ? `${options.viewers} viewers` : "no viewer";
    const seen = isWatched
      ? `; ${sum((one) => one.closedCount)} closed and ${sum((one) => one.formingCount)} forming candles told, ${sum((one) => one.droppedCount)} times dropped, close → told p50 ${Math.max(...told.map(({ closeToTold }) => closeToTold.p50))} ms, p99 ${Math.max(...told.map(({ closeToTold }) => closeToTold.p99))} ms`
      : "";
    return `${name.padEnd(12)} closing frame sent → stored p50 ${p50} ms, p99 ${p99} ms, max ${max} ms (${inside.length} candles); ingester ${rounded(cpu, 0)} % of a core${seen}`;
  });
}

/** Runs with a folder of its own. */
async function withFolder(measure: (dataDir: string) => Promise<string[]>): Promise<string> {
  const dataDir = await mkdtemp(join(tmpdir(), "black-trade-bench-"));
  try {
    // The server's own user has to reach it when this runs as root.
    await chmod(dataDir, 0o755);
    return (await measure(dataDir)).map((line) => `${line}\n`).join("");
  } finally {
    await stopAll();
    await rm(dataDir, { recursive: true, force: true });
  }
}

process.stdout.write(`${availableParallelism()} cores, Node.js ${process.version}\n`);
const parts = chosen(options.only, ["requests", "viewers"]);
if (parts.includes("requests")) {
  process.stdout.write(
    `${LIMIT} candles an answer, ${CONCURRENCY} at a time, alternating\n${await withFolder(measureRequests)}`,
  );
}
if (parts.includes("viewers")) {
  process.stdout.write(
    `${options.symbols} symbols × 1s, with and without viewers, alternating\n${await withFolder(measureViewers)}`,
  );
}
