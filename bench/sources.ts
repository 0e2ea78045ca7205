import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { systemClock } from "../src/clock.ts";
import { WeightBudget } from "../src/core/budget.ts";
import { ExchangeTime } from "../src/core/exchange-time.ts";
import type { Series } from "../src/core/series.ts";
import { createBinanceRest } from "../src/exchanges/binance/rest.ts";
import { Program } from "../test/support/program.ts";
import { chosen, scriptOptions, TEXT } from "../test/support/script-options.ts";
import { runCommand } from "./support/command.ts";
import { type Exchange, startExchange } from "./support/exchange.ts";
import { medianOf } from "./support/median.ts";
import { type BenchServer, timed, withDatabaseAt, withServer } from "./support/server.ts";

/**
 * History beside the bare way, on one simulator whose candles are in memory. Archive: `backfill` of whole months of 1m into
 * an empty database, beside download, `unzip -p`, psql's COPY and INSERT … ON CONFLICT into the same table. REST: pages of
 * 1,000 candles as the program reads them (budget, checks, what is closed), beside fetch and JSON of the same pages.
 * Alternating, medians. Needs psql and unzip.
 * Run: `node bench/sources.ts [--only archive|rest] [--rounds 5] [--months 6] [--pages 60] [--json]`.
 */
const options = scriptOptions({
  only: TEXT,
  rounds: 5,
  months: 6,
  pages: 60,
  json: false,
});
const parts = chosen(options.only, ["rest", "archive"]);
const rounds = options.rounds;
const SERIES: Series = { exchange: "binance", symbol: "BTCUSDT", timeframe: "1m" };
const MINUTE_MS = 60_000;
const PAGE_ROWS = 1_000;
/** The exchange's clock: monthly files up to September are there. */
const START = Date.UTC(2025, 10, 2, 12);
const LAST_MONTH = 8;
const WEIGHT_LIMIT = 6_000;

interface Comparison {
  readonly rounds: number;
  readonly ownPerSecond: number;
  readonly barePerSecond: number;
  /** Own rate by the bare one. */
  readonly ratio: number;
}

function comparisonOf(units: number, ownMs: readonly number[], bareMs: readonly number[]) {
  const [own, bare] = [medianOf(ownMs), medianOf(bareMs)];
  return {
    rounds: ownMs.length,
    ownPerSecond: (units / own) * 1_000,
    barePerSecond: (units / bare) * 1_000,
    ratio: bare / own,
  };
}

const months = Array.from({ length: options.months }, (_, index) =>
  Date.UTC(2025, LAST_MONTH - index, 1),
).toReversed();
const from = months[0] ?? START;
const to = Date.UTC(2025, LAST_MONTH + 1, 1);

async function own(url: string, exchange: Exchange): Promise<number> {
  const program = new Program(
    [
      ...["backfill", "--symbols", SERIES.symbol, "--timeframes", SERIES.timeframe],
      ...["--from", new Date(from).toISOString(), "--to", new Date(to).toISOString(), "--json"],
    ],
    {
      DATABASE_URL: url,
      BINANCE_REST_URL: exchange.url,
      BINANCE_ARCHIVE_URL: exchange.archiveUrl,
      LOG_LEVEL: "warn",
    },
  );
  const { status, stderr } = await program.ended();
  if (status !== 0) throw new Error(`backfill ended with ${status}:\n${stderr}`);
  return countOf(url);
}

/** As one would by hand. The archive's times are in µs. */
async function bare(url: string, exchange: Exchange, folder: string): Promise<number> {
  const parts = months.map(async (month) => {
    const name = `BTCUSDT-1m-${new Date(month).toISOString().slice(0, 7)}.zip`;
    const path = `/data/spot/monthly/klines/BTCUSDT/1m/${name}`;
    const answer = await fetch(`${exchange.archiveUrl}${path}`);
    if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
    await writeFile(join(folder, name), Buffer.from(await answer.arrayBuffer()));
    return `\\copy t from program 'unzip -p ${join(folder, name)}' with (format csv)`;
  });
  const script = `
create temp table t (ts bigint, o numeric, h numeric, l numeric, c numeric, v numeric, ct bigint, q numeric, n int, tb numeric, tq numeric, i text);
${(await Promise.all(parts)).join("\n")}
insert into series (exchange, symbol, timeframe) values ('binance', 'BTCUSDT', '1m') on conflict do nothing;
insert into candles (series_id, trade_count, open_time, version, open, high, low, close, volume,
  quote_volume, taker_buy_volume, taker_buy_quote_volume)
select s.id, n, candle_time(ts / 1000), 1, o, h, l, c, v, q, tb, tq
from t, series s where s.symbol = 'BTCUSDT'
on conflict do nothing;`;
  await runCommand("psql", ["-q", "-v", "ON_ERROR_STOP=1", "-d", url], script);
  return countOf(url);
}

function countOf(url: string): Promise<number> {
  return withDatabaseAt(url, async (database) => {
    const [row] = await database.run<{ count: number }>({ text: "select count(*) from candles" });
    return row?.count ?? 0;
  });
}

async function compareArchive(exchange: Exchange, server: BenchServer) {
  const times = { own: [] as number[], bare: [] as number[] };
  const folder = join(server.folder, "zip");
  await mkdir(folder);
  let candles = 0;
  // The first round makes the exchange's files, and both ways warm.
  for (let round = 0; round <= rounds; round += 1) {
    const [ownUrl, bareUrl] = [await server.freshDatabase(), await server.freshDatabase()];
    let bareCandles = 0;
    const ownMs = await timed(async () => {
      candles = await own(ownUrl, exchange);
    });
    const bareMs = await timed(async () => {
      bareCandles = await bare(bareUrl, exchange, folder);
    });
    if (candles !== bareCandles) throw new Error(`${candles} candles, by hand ${bareCandles}`);
    if (round === 0) continue;
    times.own.push(ownMs);
    times.bare.push(bareMs);
  }
  await rm(folder, { recursive: true });
  return { candles, ...comparisonOf(candles, times.own, times.bare) };
}

async function compareRest(exchange: Exchange): Promise<Comparison> {
  const pages = options.pages;
  const end = START - 86_400_000;
  const range = { from: end - pages * PAGE_ROWS * MINUTE_MS, to: end };
  const rest = createBinanceRest({
    baseUrl: exchange.url,
    clock: systemClock,
    exchangeTime: new ExchangeTime(),
    budget: new WeightBudget(WEIGHT_LIMIT),
    random: Math.random,
    record: () => undefined,
    onHold: async () => undefined,
  });
  const { signal } = new AbortController();
  const expected = pages * PAGE_ROWS;
  const ours = async (): Promise<void> => {
    let count = 0;
    for await (const page of rest.candles(SERIES, range, signal, "live")) {
      count += page.rows.length;
    }
    if (count !== expected) throw new Error(`${count} candles of ${expected}`);
  };
  const theirs = async (): Promise<void> => {
    let count = 0;
    for (let page = 0; page < pages; page += 1) {
      const startTime = range.from + page * PAGE_ROWS * MINUTE_MS;
      const query = `symbol=BTCUSDT&interval=1m&startTime=${startTime}&endTime=${range.to - 1}&limit=${PAGE_ROWS}`;
      const answer = await fetch(`${exchange.url}/api/v3/klines?${query}`);
      count += ((await answer.json()) as unknown[]).length;
    }
    if (count !== expected) throw new Error(`${count} rows of ${expected}`);
  };
  await theirs();
  await ours();
  const times = { own: [] as number[], bare: [] as number[] };
  for (let round = 0; round < rounds; round += 1) {
    times.own.push(await timed(ours));
    times.bare.push(await timed(theirs));
  }
  return comparisonOf(pages, times.own, times.bare);
}

const exchange = await startExchange({ symbols: [SERIES.symbol], startAt: START, days: 400 });
try {
  const report: Record<string, Comparison> = {};
  if (parts.includes("rest")) report.rest = await compareRest(exchange);
  if (parts.includes("archive")) {
    report.archive = await withServer((server) => compareArchive(exchange, server));
  }
  const lines = Object.entries(report).map(
    ([name, { ownPerSecond, barePerSecond, ratio }]) =>
      `${name.padEnd(8)} ${ownPerSecond.toFixed(1)} a second, the bare way ${barePerSecond.toFixed(1)}: ratio ${ratio.toFixed(2)} (median of ${rounds}, alternating)\n`,
  );
  process.stdout.write(options.json ? `${JSON.stringify(report)}\n` : lines.join(""));
} finally {
  await exchange.stop();
}
