import { chmod, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { Candle } from "../src/core/candle.ts";
import { createDatabase, startEmbedded } from "../src/store/index.ts";
import { Program } from "../test/support/program.ts";
import { scriptOptions } from "../test/support/script-options.ts";
import { Ingester, rounded, startMarket, stop, stopAll } from "./support/live-program.ts";
import { withDatabaseAt } from "./support/server.ts";

/**
 * Live ingestion of many 1s series by the program, and by what a user would write: a client library of npm and an upsert of
 * each row. One after the other on the same simulator, each with a database of its own; half of the time the network is
 * quiet, then every socket is cut once. What stands in the table in the end is compared with the exchange.
 * Run: `npm run bench -- --only compositions`, or `node bench/compositions.ts [--seconds 40] [--symbols 200] [--json]`.
 */
const options = scriptOptions({
  seconds: 40,
  symbols: 200,
  json: false,
});
const SECOND_MS = 1_000;
/** After the last close; the slowest healing of ours is a REST question 5 s after a close. */
const SETTLE_MS = 12_000;
const READY_MS = 120_000;
const TICKS_PER_SECOND = 100;
const COLLECTOR = fileURLToPath(new URL("support/user-collector.ts", import.meta.url));
const FIELDS = ["open", "high", "low", "close", "volume"] as const;

/** What stands in a table beside what the exchange closed. */
interface Tally {
  readonly candles: number;
  /** Every digit as the exchange sent it. */
  readonly exact: number;
  /** Equal as numbers only. */
  readonly sameValue: number;
  readonly lost: number;
  /** Other values than those of the closed candle: what was stored while it was forming stayed. */
  readonly forming: number;
}

interface Contender extends Tally {
  readonly name: string;
  /** Of candles that closed from the moment on at which the sockets were cut; the others are counted above. */
  readonly dropped: Tally;
  readonly cpuPercent: number;
  readonly maxRssMb: number;
}

interface Collector {
  readonly name: string;
  readonly select: string;
  start(databaseUrl: string): Promise<{ readonly pid: number; stop(): Promise<unknown> }>;
}

const OWN_ROWS = `
  select symbol, "timestamp" as "openTime", open, high, low, close, volume from ohlcv_candles
  where "timestamp" >= $1 and "timestamp" < $2`;
const USER_ROWS = `
  select symbol, timestamp as "openTime", open, high, low, close, volume from ohlcv
  where timestamp >= $1 and timestamp < $2`;
const USER_TABLE = `
  create table ohlcv (
    symbol text, timestamp bigint, open numeric, high numeric, low numeric, close numeric, volume numeric,
    primary key (symbol, timestamp)
  )`;

type Row = Candle & { readonly symbol: string };

async function usageOf(pid: number): Promise<{ cpuSeconds: number; maxRssMb: number }> {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  const stat = await readFile(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return {
    cpuSeconds: (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND,
    maxRssMb: Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) / 1_024,
  };
}

/** Closed candles of the exchange. */
async function truthOf(url: string, symbols: readonly string[], from: number, to: number) {
  const truth = new Map<string, Candle>();
  for (const symbol of symbols) {
    const query = `symbol=${symbol}&interval=1s&from=${from}&to=${to}`;
    const text = await (await fetch(`${url}/sim/truth?${query}`)).text();
    for (const line of text.split("\n").filter((one) => one !== "")) {
      const candle = JSON.parse(line) as Candle;
      truth.set(`${symbol} ${candle.openTime}`, candle);
    }
  }
  return truth;
}

function tallyOf(truth: ReadonlyMap<string, Candle>, rows: ReadonlyMap<string, Row>): Tally {
  const tally = { candles: truth.size, exact: 0, sameValue: 0, lost: 0, forming: 0 };
  for (const [key, candle] of truth) {
    const row = rows.get(key);
    if (row === undefined) tally.lost += 1;
    else if (FIELDS.every((field) => row[field] === candle[field])) tally.exact += 1;
    else if (FIELDS.every((field) => Number(row[field]) === Number(candle[field]))) {
      tally.sameValue += 1;
    } else tally.forming += 1;
  }
  return tally;
}

async function measure(
  collector: Collector,
  exchange: { readonly url: string; readonly symbols: readonly string[] },
  databaseUrl: string,
): Promise<Contender> {
  const { url, symbols } = exchange;
  const running = await collector.start(databaseUrl);
  const before = await usageOf(running.pid);
  const began = Date.now();
  const from = Math.ceil(began / SECOND_MS) * SECOND_MS + SECOND_MS;
  const to = from + options.seconds * SECOND_MS;
  const cut = from + (to - from) / 2;
  await sleep(cut + SECOND_MS / 2 - Date.now());
  const body = JSON.stringify({ kind: "drop", code: 1006 });
  const headers = { "content-type": "application/json" };
  await fetch(`${url}/sim/faults`, { method: "POST", headers, body });
  await sleep(to - Date.now());
  const after = await usageOf(running.pid);
  const elapsedS = (Date.now() - began) / SECOND_MS;
  await sleep(SETTLE_MS);
  const rows = await withDatabaseAt(databaseUrl, (database) =>
    database.run<Row>({ text: collector.select, values: [from, to] }),
  );
  const truth = await truthOf(url, symbols, from, to);
  await running.stop();
  const byKey = new Map(rows.map((row) => [`${row.symbol} ${row.openTime}`, row]));
  const part = (isQuiet: boolean): Tally =>
    tallyOf(new Map([...truth].filter(([, { openTime }]) => openTime < cut === isQuiet)), byKey);
  return {
    name: collector.name,
    ...part(true),
    dropped: part(false),
    cpuPercent: rounded(((after.cpuSeconds - before.cpuSeconds) / elapsedS) * 100, 1),
    maxRssMb: rounded(after.maxRssMb, 0),
  };
}

function userCollector(
  library: "ccxt" | "binance",
  name: string,
  exchange: { readonly url: string; readonly wsUrl: string; readonly symbols: readonly string[] },
): Collector {
  return {
    name,
    select: USER_ROWS,
    start: async (databaseUrl) => {
      await withDatabaseAt(databaseUrl, (database) => database.run({ text: USER_TABLE }));
      const setting = JSON.stringify({ ...exchange, databaseUrl });
      const program = new Program([], {}, "/", [process.execPath, COLLECTOR, library, setting]);
      await program.says(/^ready$/m, READY_MS);
      return {
        pid: program.child.pid ?? 0,
        stop: () => {
          program.kill("SIGKILL");
          return program.ended();
        },
      };
    },
  };
}

async function run(folder: string): Promise<{ symbols: number; contenders: Contender[] }> {
  const { simulator, url, wsUrl, symbols, env } = await startMarket(options.symbols, folder);
  const embedded = await startEmbedded({ dataDir: folder });
  const own: Collector = {
    name: "black-trade ingest",
    select: OWN_ROWS,
    start: async (databaseUrl) => {
      const ingester = new Ingester({ ...env, DATABASE_URL: databaseUrl });
      await ingester.ready();
      return { pid: ingester.pid, stop: () => ingester.stop() };
    },
  };
  const exchange = { url, wsUrl, symbols };
  const collectors = [
    own,
    userCollector("ccxt", "ccxt watchOHLCV + upsert of each update", exchange),
    userCollector("binance", "binance SDK kline stream + upsert of closed candles", exchange),
  ];
  try {
    const contenders: Contender[] = [];
    for (const [index, collector] of collectors.entries()) {
      const databaseUrl = embedded.urlOf(`contender_${index}`);
      await createDatabase({ url: databaseUrl });
      contenders.push(await measure(collector, exchange, databaseUrl));
    }
    await stop(simulator);
    return { symbols: symbols.length, contenders };
  } finally {
    await stopAll();
    await embedded.release();
  }
}

function textOf({ candles, exact, sameValue, lost, forming }: Tally): string {
  return `of ${candles} candles ${exact} exact, ${sameValue} with other digits, ${lost} lost, ${forming} with values from before the close`;
}

const folder = await mkdtemp(join(tmpdir(), "black-trade-bench-"));
try {
  // The server's own user has to reach it when this runs as root.
  await chmod(folder, 0o755);
  const report = await run(folder);
  process.stdout.write(
    options.json
      ? `${JSON.stringify(report)}\n`
      : report.contenders
          .map(
            (one) =>
              `${one.name}\n  quiet network    ${textOf(one)}\n  sockets cut      ${textOf(one.dropped)}\n  ${one.cpuPercent} % of a core, at most ${one.maxRssMb} MB\n`,
          )
          .join(""),
  );
} finally {
  await stopAll();
  await rm(folder, { recursive: true, force: true });
}
