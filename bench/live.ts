import { chmod, mkdtemp, rm } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type Candle, DECIMAL_FIELDS } from "../src/core/candle.ts";
import { readVersionNumber } from "../src/core/finality.ts";
import { scriptOptions } from "../test/support/script-options.ts";
import {
  Ingester,
  noteCommitTimes,
  type Percentiles,
  percentilesOf,
  rounded,
  STORED,
  type StoredRow,
  startMarket,
  stop,
  stopAll,
  withDatabase,
} from "./support/live-program.ts";

/**
 * Live ingestion of many 1s series, looked at from outside: the simulator and the program are processes of their own, and
 * the embedded PostgreSQL notes when each transaction was committed (`track_commit_timestamp`). All clocks are this
 * machine's. Run: `npm run bench:live -- [--seconds 60] [--symbols 200] [--json]`.
 */
const options = scriptOptions({
  // Not more than 500: from then on candles are read again, and a newer commit takes the place of the first.
  seconds: 60,
  symbols: 200,
  json: false,
});
const SECOND_MS = 1_000;
/** From the last close to the last commit; REST fetches after 5 s what the stream did not bring. */
const SETTLE_MS = 10_000;

interface Report {
  readonly symbols: number;
  readonly seconds: number;
  /** Process started → first candle of the stream stored. With an empty folder the server's data are made first. */
  readonly startMs: { readonly emptyFolder: number; readonly existingData: number };
  /** Of the window that is measured, compared with the exchange. */
  readonly candles: {
    readonly exchange: number;
    readonly lost: number;
    readonly extra: number;
    readonly wrong: number;
    readonly byStream: number;
    readonly byRest: number;
    readonly perSecond: number;
  };
  /** What the stream brought: close of the candle → commit. */
  readonly closeToStoredMs: Percentiles;
  /** The exchange's time stamp of the closing frame → commit: the share of the program and PostgreSQL. */
  readonly sentToStoredMs: Percentiles;
  /** Shares of candles that were stored so soon after their close; `own` = by the program's metric. */
  readonly within: {
    readonly ms100: number;
    readonly ms500: number;
    readonly ownMs100: number;
    readonly ownMs500: number;
  };
  readonly ingester: { readonly cpuPercent: number; readonly maxRssMb: number };
}

/** Closed candles of the exchange in a window of open times, by symbol and open time. */
async function truthOf(
  url: string,
  symbols: readonly string[],
  from: number,
  to: number,
): Promise<Map<string, string>> {
  const truth = new Map<string, string>();
  for (const symbol of symbols) {
    const query = new URLSearchParams({
      symbol,
      interval: "1s",
      from: String(from),
      to: String(to),
    });
    const text = await (await fetch(`${url}/sim/truth?${query}`)).text();
    for (const line of text.split("\n").filter((one) => one !== "")) {
      const candle = JSON.parse(line) as Candle;
      truth.set(`${symbol} ${candle.openTime}`, valuesOf(candle));
    }
  }
  return truth;
}

function valuesOf(candle: Candle): string {
  return [candle.tradeCount, ...DECIMAL_FIELDS.map((field) => candle[field])].join(" ");
}

async function measure(dataDir: string): Promise<Report> {
  const seconds = options.seconds;
  const { simulator, url, symbols, env } = await startMarket(options.symbols, dataDir);

  const first = new Ingester(env);
  const emptyFolderMs = await first.firstCandle();
  await first.stop();
  await noteCommitTimes(dataDir);

  const ingester = new Ingester(env);
  await ingester.ready();
  const before = await ingester.metrics();
  const began = Date.now();
  const from = Math.ceil(began / SECOND_MS) * SECOND_MS;
  const to = from + seconds * SECOND_MS;
  let maxRssMb = before.rssMb;
  let after = before;
  while (Date.now() < to + SECOND_MS) {
    await sleep(Math.min(10_000, to + SECOND_MS - Date.now()));
    after = await ingester.metrics();
    maxRssMb = Math.max(maxRssMb, after.rssMb);
  }
  const cpuPercent =
    ((after.cpuSeconds - before.cpuSeconds) / ((Date.now() - began) / SECOND_MS)) * 100;
  await sleep(SETTLE_MS);
  const truth = await truthOf(url, symbols, from, to);
  await ingester.stop();
  await stop(simulator);

  const rows = await withDatabase(dataDir, "black_trade", (database) =>
    database.run<StoredRow>({ text: STORED, values: [ingester.startedTime] }),
  );
  const streamed = rows.filter(({ version }) => readVersionNumber(version)?.source === "stream");
  const isInWindow = ({ openTime }: StoredRow): boolean => openTime >= from && openTime < to;
  const live = streamed.filter(isInWindow);
  const stored = rows.filter(isInWindow);
  const known = stored.filter((row) => truth.has(keyOf(row)));
  const closeToStored = live.map(({ storedTime, openTime }) => storedTime - openTime - SECOND_MS);
  const counted = after.candleCount - before.candleCount;
  return {
    symbols: symbols.length,
    seconds,
    startMs: {
      emptyFolder: emptyFolderMs,
      existingData: rounded(
        Math.min(...streamed.map((row) => row.storedTime)) - ingester.startedTime,
        1,
      ),
    },
    candles: {
      exchange: truth.size,
      lost: truth.size - known.length,
      extra: stored.length - known.length,
      wrong: known.filter((row) => truth.get(keyOf(row)) !== valuesOf(row)).length,
      byStream: live.length,
      byRest: stored.length - live.length,
      perSecond: rounded(stored.length / seconds, 1),
    },
    closeToStoredMs: percentilesOf(closeToStored),
    sentToStoredMs: percentilesOf(
      live.map(({ storedTime, version }) => {
        return storedTime - (readVersionNumber(version)?.observedTime ?? Number.NaN);
      }),
    ),
    within: {
      ms100: rounded(closeToStored.filter((ms) => ms <= 100).length / live.length, 4),
      ms500: rounded(closeToStored.filter((ms) => ms <= 500).length / live.length, 4),
      ownMs100: rounded((after.within100Ms - before.within100Ms) / counted, 4),
      ownMs500: rounded((after.within500Ms - before.within500Ms) / counted, 4),
    },
    ingester: { cpuPercent: rounded(cpuPercent, 1), maxRssMb: rounded(maxRssMb, 0) },
  };
}

function keyOf({ symbol, openTime }: StoredRow): string {
  return `${symbol} ${openTime}`;
}

function textOf(report: Report): string {
  const { candles, startMs, closeToStoredMs, sentToStoredMs, within, ingester } = report;
  const ms = (value: number): string => `${value.toFixed(1)} ms`;
  const percent = (value: number): string => `${(value * 100).toFixed(1)} %`;
  const spread = ({ p50, p99, max }: Percentiles): string =>
    `p50 ${ms(p50)}, p99 ${ms(p99)}, max ${ms(max)}`;
  return `${[
    `${report.symbols} symbols × 1s for ${report.seconds} s (${availableParallelism()} cores, Node.js ${process.version})`,
    `start → first live candle stored   empty folder ${ms(startMs.emptyFolder)}, existing data ${ms(startMs.existingData)}`,
    `candles                            ${candles.exchange} of the exchange: ${candles.lost} lost, ${candles.extra} extra, ${candles.wrong} wrong; ${candles.byStream} by stream, ${candles.byRest} by REST; ${candles.perSecond.toFixed(1)} a second`,
    `close → stored                     ${spread(closeToStoredMs)}`,
    `closing frame sent → stored        ${spread(sentToStoredMs)} (the simulator sends it 2 to 300 ms after the close)`,
    `close → stored within 100 ms       ${percent(within.ms100)}; by the program's own metric ${percent(within.ownMs100)}`,
    `close → stored within 500 ms       ${percent(within.ms500)}; by the program's own metric ${percent(within.ownMs500)}`,
    `ingester                           ${ingester.cpuPercent.toFixed(1)} % of a core, at most ${ingester.maxRssMb.toFixed(0)} MB`,
  ].join("\n")}\n`;
}

const dataDir = await mkdtemp(join(tmpdir(), "black-trade-bench-"));
try {
  // The server's own user has to reach it when this runs as root.
  await chmod(dataDir, 0o755);
  const report = await measure(dataDir);
  process.stdout.write(options.json ? `${JSON.stringify(report)}\n` : textOf(report));
} finally {
  await stopAll();
  await rm(dataDir, { recursive: true, force: true });
}
