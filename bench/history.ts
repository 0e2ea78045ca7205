import { chmod, mkdtemp, readFile, rm } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type Candle, DECIMAL_FIELDS } from "../src/core/candle.ts";
import { SETTLE_MS } from "../src/core/finality.ts";
import { openTimeAt } from "../src/core/timeframe.ts";
import { manySymbols } from "../src/simulator/index.ts";
import { Database, startEmbedded } from "../src/store/index.ts";
import { Program } from "../test/support/program.ts";
import { scriptOptions } from "../test/support/script-options.ts";
import { type Counts, countsOf, type Exchange, startExchange } from "./support/exchange.ts";

/**
 * Backfill from an empty folder: `--days` of 1m for one symbol, then `--many-days` of 1m for `--many` symbols, by the real
 * program into the embedded PostgreSQL, then every candle compared with the exchange's. It is done twice: the first time
 * the simulator makes its candles while it is asked (`cold`); the second time it has them and the archive's files in memory
 * (`warm`), so that what is timed is the program. Simulator, program and PostgreSQL share the cores of this machine.
 * Run: `npm run bench:history -- [--days 60] [--many 10] [--many-days 10] [--full] [--json]`; `--full` = 365, 50, 30.
 */
const options = scriptOptions({
  days: 60,
  many: 10,
  "many-days": 10,
  full: false,
  json: false,
});
const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
const BUSY = "BTCUSDT";
/** What the exchange's clock says at first: monthly files to October, daily ones after. */
const START = Date.UTC(2025, 10, 26, 12, 30);
const DAYS = options.full ? 365 : options.days;
const MANY = options.full ? 50 : options.many;
const MANY_DAYS = options.full ? 30 : options["many-days"];
const MANY_NAMES = manySymbols(MANY).map(({ symbol }) => symbol);
/** Pieces in which the table is compared with the exchange. */
const COMPARED_MS = 30 * DAY_MS;
/** Of Linux, by getconf CLK_TCK. */
const TICKS_PER_SECOND = 100;
const RSS_POLL_MS = 50;

/** How one `backfill` went. */
interface Run {
  readonly name: string;
  readonly simulator: "cold" | "warm";
  readonly exitStatus: number | null;
  readonly candles: number;
  readonly seconds: number;
  readonly candlesPerSecond: number;
  /** Of the time of filling, the part in which a transaction was under way. */
  readonly writingShare: number;
  /** What the lanes of filling were at or waited for, as shares of their time: add up to 1. */
  readonly shares: {
    readonly database: number;
    readonly network: number;
    readonly parsing: number;
  };
  readonly maxRssMb: number;
  /** CPU time as a share of the elapsed time of the process: parsing, checking, sending; and of the simulator. */
  readonly cpu: { readonly program: number; readonly exchange: number };
  readonly files: Readonly<Record<string, number>>;
  /** Of REST; archive files have no weight. */
  readonly requests: number;
}

interface Report {
  readonly runs: readonly Run[];
  readonly maxWeightPerMinute: number;
  readonly violations: Readonly<Record<string, number>>;
  readonly compared: {
    readonly exchange: number;
    readonly lost: number;
    readonly extra: number;
    readonly wrong: number;
  };
}

function restRequests({ requests }: Counts): number {
  return Object.entries(requests)
    .filter(([path]) => path.startsWith("/api"))
    .reduce((sum, [, count]) => sum + count, 0);
}

interface Usage {
  readonly cpuSeconds: number;
  readonly maxRssMb: number;
}

/** What the kernel knows of a process. @returns undefined when it has ended */
async function usageOf(pid = 0): Promise<Usage | undefined> {
  try {
    const status = await readFile(`/proc/${pid}/status`, "utf8");
    const stat = await readFile(`/proc/${pid}/stat`, "utf8");
    const peak = /^VmHWM:\s+(\d+) kB$/m.exec(status);
    if (peak === null) return undefined;
    // After the name, which may hold anything: state is field 3, user and system time are 14 and 15.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const ticks = Number(fields[11]) + Number(fields[12]);
    return { cpuSeconds: ticks / TICKS_PER_SECOND, maxRssMb: Number(peak[1]) / 1_024 };
  } catch {
    return undefined;
  }
}

interface Backfilled {
  readonly summary: {
    readonly storedCount: number;
    readonly elapsedMs: number;
    readonly writingMs: number;
    readonly phases: {
      readonly databaseMs: number;
      readonly networkMs: number;
      readonly parsingMs: number;
    };
    readonly files: Readonly<Record<string, number>>;
  };
}

async function backfill(
  exchange: Exchange,
  dataDir: string,
  part: { readonly name: string; readonly symbols: readonly string[]; readonly days: number },
  simulator: Run["simulator"],
): Promise<Run> {
  const before = await countsOf(exchange);
  const exchangeBefore = await usageOf(exchange.pid);
  const began = performance.now();
  const program = new Program(
    [
      "backfill",
      ...["--symbols", part.symbols.join(","), "--timeframes", "1m"],
      ...["--days", String(part.days), "--json"],
    ],
    {
      DATA_DIR: dataDir,
      BINANCE_REST_URL: exchange.url,
      BINANCE_ARCHIVE_URL: exchange.archiveUrl,
      LOG_LEVEL: "warn",
    },
  );
  let usage: Usage = { cpuSeconds: 0, maxRssMb: 0 };
  let isRunning = true;
  const polling = (async () => {
    while (isRunning) {
      usage = (await usageOf(program.child.pid)) ?? usage;
      await sleep(RSS_POLL_MS);
    }
  })();
  const { status, stdout, stderr } = await program.ended();
  const wholeSeconds = (performance.now() - began) / 1_000;
  isRunning = false;
  await polling;
  if (stdout === "") throw new Error(`backfill ended with ${status}:\n${stderr}`);
  const { summary } = JSON.parse(stdout) as Backfilled;
  const { databaseMs, networkMs, parsingMs } = summary.phases;
  const lanesMs = databaseMs + networkMs + parsingMs;
  const exchangeAfter = await usageOf(exchange.pid);
  const exchangeCpu = (exchangeAfter?.cpuSeconds ?? 0) - (exchangeBefore?.cpuSeconds ?? 0);
  return {
    name: part.name,
    simulator,
    exitStatus: status,
    candles: summary.storedCount,
    seconds: summary.elapsedMs / 1_000,
    candlesPerSecond: summary.storedCount / (summary.elapsedMs / 1_000),
    writingShare: summary.writingMs / summary.elapsedMs,
    shares: {
      database: databaseMs / lanesMs,
      network: networkMs / lanesMs,
      parsing: parsingMs / lanesMs,
    },
    maxRssMb: usage.maxRssMb,
    cpu: { program: usage.cpuSeconds / wholeSeconds, exchange: exchangeCpu / wholeSeconds },
    files: summary.files,
    requests: restRequests(await countsOf(exchange)) - restRequests(before),
  };
}

const STORED = `
  select
    candle_epoch_ms(c.open_time) as "openTime", c.trade_count as "tradeCount", c.open, c.high, c.low, c.close, c.volume,
    c.quote_volume as "quoteVolume", c.taker_buy_volume as "takerBuyVolume",
    c.taker_buy_quote_volume as "takerBuyQuoteVolume"
  from candles c join series s on s.id = c.series_id
  where s.symbol = $1 and s.timeframe = '1m' and c.open_time >= candle_time($2) and c.open_time < candle_time($3)`;

const ENDS = `
  select candle_epoch_ms(min(c.open_time)) as first, candle_epoch_ms(max(c.open_time)) as last
  from candles c join series s on s.id = c.series_id where s.symbol = $1`;

function textOfCandle(candle: Candle): string {
  return [candle.tradeCount, ...DECIMAL_FIELDS.map((field) => candle[field])].join(" ");
}

/** Every candle of the exchange in a range, and every row of the table. */
async function compare(
  exchange: Exchange,
  database: Database,
  symbol: string,
  range: { readonly from: number; readonly to: number },
): Promise<Report["compared"]> {
  const query = new URLSearchParams({
    symbol,
    interval: "1m",
    from: String(range.from),
    to: String(range.to),
  });
  const answer = await (await fetch(`${exchange.url}/sim/truth?${query}`)).text();
  const truth = new Map<number, string>();
  for (const line of answer.split("\n")) {
    if (line === "") continue;
    const candle = JSON.parse(line) as Candle;
    truth.set(candle.openTime, textOfCandle(candle));
  }
  const rows = await database.run<Candle>({
    text: STORED,
    values: [symbol, range.from, range.to],
  });
  const known = rows.filter(({ openTime }) => truth.has(openTime));
  return {
    exchange: truth.size,
    lost: truth.size - known.length,
    extra: rows.length - known.length,
    wrong: known.filter((row) => truth.get(row.openTime) !== textOfCandle(row)).length,
  };
}

/** Both ends of every series, and every candle between them. @throws {Error} when an end is not where it ought to be */
async function compareAll(exchange: Exchange, dataDir: string): Promise<Report["compared"]> {
  const embedded = await startEmbedded({ dataDir });
  const database = new Database({ url: embedded.urlOf("black_trade"), deadlineMs: 300_000 });
  const sum = { exchange: 0, lost: 0, extra: 0, wrong: 0 };
  const parts = [
    { symbol: BUSY, days: DAYS },
    ...MANY_NAMES.map((symbol) => ({ symbol, days: MANY_DAYS })),
  ];
  try {
    for (const { symbol, days } of parts) {
      const [ends] = await database.run<{ first: number; last: number }>({
        text: ENDS,
        values: [symbol],
      });
      const { first = 0, last = 0 } = ends ?? {};
      // `--days` counts from the moment of the command, some time after the exchange's clock began.
      const earliest = START - days * DAY_MS - MINUTE_MS;
      const isWhole =
        first > earliest &&
        first <= earliest + MINUTE_MS + (Date.now() - began) &&
        last >= openTimeAt("1m", START - SETTLE_MS) - MINUTE_MS;
      if (!isWhole) throw new Error(`${symbol}: stored from ${first} to ${last}`);
      const end = last + MINUTE_MS;
      for (let at = first; at < end; at += COMPARED_MS) {
        const part = await compare(exchange, database, symbol, {
          from: at,
          to: Math.min(end, at + COMPARED_MS),
        });
        for (const key of ["exchange", "lost", "extra", "wrong"] as const) sum[key] += part[key];
      }
    }
    return sum;
  } finally {
    await database.close();
    await embedded.release();
  }
}

async function inFolder<T>(act: (dataDir: string) => Promise<T>): Promise<T> {
  const dataDir = await mkdtemp(join(tmpdir(), "black-trade-bench-"));
  try {
    // The server's own user has to reach it when this runs as root.
    await chmod(dataDir, 0o755);
    return await act(dataDir);
  } finally {
    await rm(dataDir, { recursive: true, force: true });
  }
}

const began = Date.now();

async function measure(): Promise<Report> {
  const exchange = await startExchange({
    symbols: [BUSY, ...MANY_NAMES],
    startAt: START,
    days: Math.max(DAYS, MANY_DAYS),
  });
  const parts = [
    { name: `${DAYS} days of 1m, 1 symbol`, symbols: [BUSY], days: DAYS },
    { name: `${MANY_DAYS} days of 1m, ${MANY} symbols`, symbols: MANY_NAMES, days: MANY_DAYS },
  ];
  const runs: Run[] = [];
  try {
    for (const state of ["cold", "warm"] as const) {
      const compared = await inFolder(async (dataDir) => {
        for (const part of parts) runs.push(await backfill(exchange, dataDir, part, state));
        return state === "warm" ? compareAll(exchange, dataDir) : undefined;
      });
      if (compared === undefined) continue;
      const { maxWeightPerMinute, violations } = await countsOf(exchange);
      return { runs, maxWeightPerMinute, violations, compared };
    }
    throw new Error("nothing was measured");
  } finally {
    await exchange.stop();
  }
}

function textOf({ runs, maxWeightPerMinute, violations, compared }: Report): string {
  const percent = (value: number): string => `${(value * 100).toFixed(0)} %`;
  return `${[
    `backfill (${availableParallelism()} cores for simulator, program and PostgreSQL together; Node.js ${process.version})`,
    ...runs.flatMap((run) => [
      `${run.name}, simulator ${run.simulator}: ${run.candles} candles in ${run.seconds.toFixed(1)} s = ${run.candlesPerSecond.toFixed(0)}/s, exit ${run.exitStatus}`,
      `  time of the lanes: database ${percent(run.shares.database)}, network ${percent(run.shares.network)}, parsing and the rest ${percent(run.shares.parsing)}`,
      `  a batch was being written ${percent(run.writingShare)} of the time; CPU of a core: program ${percent(run.cpu.program)}, simulator ${percent(run.cpu.exchange)}`,
      `  peak RSS ${run.maxRssMb.toFixed(0)} MB; files ${JSON.stringify(run.files)}; ${run.requests} requests of REST`,
    ]),
    `most weight in a minute ${maxWeightPerMinute} of 6000, violations ${JSON.stringify(violations)}`,
    `table against exchange: ${compared.exchange} candles, ${compared.lost} lost, ${compared.extra} extra, ${compared.wrong} wrong`,
  ].join("\n")}\n`;
}

const report = await measure();
process.stdout.write(options.json ? `${JSON.stringify(report)}\n` : textOf(report));
