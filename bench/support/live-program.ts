import { setTimeout as sleep } from "node:timers/promises";
import type { Candle } from "../../src/core/candle.ts";
import { Database, startEmbedded } from "../../src/store/index.ts";
import { Program } from "../../test/support/program.ts";

/** Longest wait for the program to be up to date with everything. */
const READY_DEADLINE_MS = 120_000;
/** Of a sample, in its own unit. */
export interface Percentiles {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

/** Running programs, to be ended whatever happens. */
const programs: Program[] = [];

/** Starts the program. */
export function start(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Program {
  const program = new Program(args, env);
  programs.push(program);
  return program;
}

/** Stops it, and waits for its end. */
export async function stop(program: Program): Promise<void> {
  program.kill("SIGTERM");
  await program.ended();
}

/** The program, ingesting. */
export class Ingester {
  readonly startedTime = Date.now();
  readonly #program: Program;
  readonly #httpUrl: Promise<string>;

  constructor(env: Readonly<Record<string, string>>) {
    this.#program = start(["ingest"], env);
    this.#httpUrl = this.#program.says(/HTTP on (http:[^ ]+): /).then(([, url = ""]) => url);
    this.#httpUrl.catch(() => undefined);
  }

  /** Number of its process. */
  get pid(): number {
    return this.#program.child.pid ?? 0;
  }

  /** Base of its HTTP face. */
  url(): Promise<string> {
    return this.#httpUrl;
  }

  /** Waits until the program has counted a candle that came at its close. @returns ms since the start */
  async firstCandle(): Promise<number> {
    await this.#until(async () => (await this.metrics()).candleCount > 0, 100);
    return Date.now() - this.startedTime;
  }

  /** Waits until every series is active. */
  async ready(): Promise<void> {
    await this.#until(async () => (await this.#get("/readyz")).ok, 250);
  }

  async metrics(): Promise<Metrics> {
    return metricsOf(await (await this.#get("/metrics")).text());
  }

  stop(): Promise<void> {
    return stop(this.#program);
  }

  async #get(path: string): Promise<Response> {
    return fetch(`${await this.#httpUrl}${path}`);
  }

  async #until(isDone: () => Promise<boolean>, pauseMs: number): Promise<void> {
    while (!(await isDone())) {
      const isLate = Date.now() - this.startedTime > READY_DEADLINE_MS;
      if (isLate) throw new Error(`the program does not get going:\n${this.#program.stderr}`);
      await sleep(pauseMs);
    }
  }
}

interface Metrics {
  readonly cpuSeconds: number;
  readonly rssMb: number;
  /** Candles in the program's own histogram of close → stored. */
  readonly candleCount: number;
  readonly within100Ms: number;
  readonly within500Ms: number;
}

function metricsOf(text: string): Metrics {
  const sum = (sample: RegExp): number =>
    [...text.matchAll(sample)].reduce((total, [, value]) => total + Number(value), 0);
  return {
    cpuSeconds: sum(/^process_cpu_seconds_total (\S+)$/gm),
    rssMb: sum(/^process_resident_memory_bytes (\S+)$/gm) / 2 ** 20,
    candleCount: sum(/^ingestion_latency_seconds_count\S* (\S+)$/gm),
    within100Ms: sum(/^ingestion_latency_seconds_bucket\{le="0.1"\S* (\S+)$/gm),
    within500Ms: sum(/^ingestion_latency_seconds_bucket\{le="0.5"\S* (\S+)$/gm),
  };
}

/** A stored candle and when it was committed. */
export type StoredRow = Candle & {
  readonly symbol: string;
  readonly version: number;
  /** Commit of the transaction that wrote the row, epoch ms with fractions. */
  readonly storedTime: number;
};

/** Candles from an instant on, as {@link StoredRow}; needs {@link noteCommitTimes}. */
export const STORED = `
  select
    s.symbol, c.version, c.trade_count as "tradeCount", candle_epoch_ms(c.open_time) as "openTime",
    c.open, c.high, c.low, c.close, c.volume, c.quote_volume as "quoteVolume",
    c.taker_buy_volume as "takerBuyVolume", c.taker_buy_quote_volume as "takerBuyQuoteVolume",
    extract(epoch from pg_xact_commit_timestamp(c.xmin))::float8 * 1000 as "storedTime"
  from candles c join series s on s.id = c.series_id
  where c.open_time >= candle_time($1)`;

/** A look into a database of the embedded server of a folder. */
export async function withDatabase<T>(
  dataDir: string,
  name: string,
  look: (database: Database) => Promise<T>,
): Promise<T> {
  const embedded = await startEmbedded({ dataDir });
  const database = new Database({ url: embedded.urlOf(name), deadlineMs: 60_000 });
  try {
    return await look(database);
  } finally {
    await database.close();
    await embedded.release();
  }
}

/** Makes the server of a folder note when each transaction was committed, from its next start on. */
export async function noteCommitTimes(dataDir: string): Promise<void> {
  await withDatabase(dataDir, "postgres", (database) =>
    database.run({ text: "alter system set track_commit_timestamp = on" }),
  );
}

/** Starts an exchange with so many symbols. @returns also the settings of a program that ingests all of them at 1s */
export async function startMarket(
  symbolCount: number,
  dataDir: string,
): Promise<{
  simulator: Program;
  url: string;
  wsUrl: string;
  symbols: string[];
  env: Record<string, string>;
}> {
  const simulator = start(["simulate", "--port", "0", "--symbols", String(symbolCount), "--json"]);
  const [document] = await simulator.says(/^\{.*\}$/m);
  const { url, wsUrl, symbols } = JSON.parse(document) as {
    url: string;
    wsUrl: string;
    symbols: string[];
  };
  const env = {
    DATA_DIR: dataDir,
    TRADING_PAIRS: symbols.join(","),
    TIMEFRAMES: "1s",
    BACKFILL_DAYS: "0.01",
    BINANCE_REST_URL: url,
    BINANCE_WS_URL: wsUrl,
    HTTP_PORT: "0",
  };
  return { simulator, url, wsUrl, symbols, env };
}

/** Ends every program that was started. */
export async function stopAll(): Promise<void> {
  await Promise.all(programs.map(stop));
}

/** @param values at least one */
export function percentilesOf(values: readonly number[]): Percentiles {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number): number =>
    rounded(sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN, 1);
  return { p50: at(0.5), p99: at(0.99), max: at(1) };
}

/** Rounded to so many decimals. */
export function rounded(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}
