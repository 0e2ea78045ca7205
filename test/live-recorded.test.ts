import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, test } from "node:test";
import type { Series } from "../src/core/series.ts";
import { countOpenTimes, type Timeframe } from "../src/core/timeframe.ts";
import { RecordedMarket, readRecordedFiles, startSimulator } from "../src/simulator/index.ts";
import { openStore, type Store } from "../src/store/index.ts";
import { scaledClock } from "./support/clocks.ts";
import { binanceSeries, compareWithMarket, LiveStack } from "./support/live-stack.ts";
import { withDatabase } from "./support/postgres.ts";
import { needsSharedData, sharedDataFolder } from "./support/shared-data.ts";

const MINUTE = 60_000;
const DAY = 1_440 * MINUTE;

interface Scene {
  readonly name: string;
  readonly files: readonly string[];
  readonly series: readonly (readonly [symbol: string, timeframe: Timeframe])[];
  /** What the exchange's clock says at the start of each visit; the table is kept between them. */
  readonly visits: readonly number[];
  /** How long a visit goes on live, exchange time. */
  readonly liveMs: number;
  readonly historyMs: number;
  /** Missing candles that the ledger must hold in the end, by series. */
  readonly missing: readonly number[];
}

/** Deadlines of 10 s become 170 ms: the fastest at which a busy machine still answers in time. */
const SPEED = 60;

const SCENES: readonly Scene[] = [
  {
    name: "1h, 4h and 1d of 2021–2026, across seven outages",
    files: [
      "archive12/BTCUSDT_1h_2021-2026.csv.gz",
      "archive12/BTCUSDT_4h_2021-2026.csv.gz",
      "archive12/BTCUSDT_1d_2021-2026.csv.gz",
    ],
    series: [
      ["BTCUSDT", "1h"],
      ["BTCUSDT", "4h"],
      ["BTCUSDT", "1d"],
    ],
    visits: [Date.UTC(2026, 5, 29, 23, 53)],
    liveMs: 10 * MINUTE,
    historyMs: 5.45 * 365 * DAY,
    missing: [14, 0, 0],
  },
  {
    name: "1m and 5m of three symbols, live into the outage of 2021-04-25 and out of it",
    files: [
      "gaps/2021-04/BTC_USDT-1m.json.gz",
      "gaps/2021-04/BTC_USDT-5m.json.gz",
      "gaps/2021-04/XRP_USDT-1m.json.gz",
      "gaps/2021-04/NXS_BTC-1m.json.gz",
    ],
    series: [
      ["BTCUSDT", "1m"],
      ["BTCUSDT", "5m"],
      ["XRPUSDT", "1m"],
      ["NXSBTC", "1m"],
    ],
    visits: [Date.UTC(2021, 3, 25, 3, 56), Date.UTC(2021, 3, 25, 8, 42)],
    liveMs: 10 * MINUTE,
    historyMs: 2 * DAY,
    missing: [284, 56, 283, 284],
  },
  {
    name: "1m around the outage of 2023-03-24",
    files: ["gaps/2023-03-24/BTC_USDT-1m.json.gz"],
    series: [["BTCUSDT", "1m"]],
    visits: [Date.UTC(2023, 2, 24, 12, 35), Date.UTC(2023, 2, 24, 13, 57)],
    liveMs: 10 * MINUTE,
    historyMs: 2 * DAY,
    missing: [80],
  },
];

describe("recorded candles through the whole stack", () => {
  for (const scene of SCENES) {
    for (const mode of ["websocket", "polling"] as const) {
      test(`${scene.name}, ${mode}: the table is the exchange's`, needsSharedData(), async (t) => {
        const files = scene.files.map((file) => join(sharedDataFolder() ?? "", file));
        const market = new RecordedMarket({ series: await readRecordedFiles(files) });
        const series: Series[] = scene.series.map(([symbol, timeframe]) =>
          binanceSeries(symbol, timeframe),
        );
        await withDatabase(async ({ url }) => {
          for (const startAt of scene.visits) {
            const candles = await visit({ url, market, series, startAt, mode, scene });
            t.diagnostic(`${candles} candles equal, 0 lost, 0 extra, 0 wrong`);
          }
          const store = await openStore({ url, access: "read" });
          try {
            const missing = await Promise.all(series.map((one) => missingCount(store, one)));
            assert.deepEqual(missing, scene.missing);
          } finally {
            await store.close();
          }
        });
      });
    }
  }
});

interface Visit {
  readonly url: string;
  readonly market: RecordedMarket;
  readonly series: readonly Series[];
  readonly startAt: number;
  readonly mode: "websocket" | "polling";
  readonly scene: Scene;
}

/** Ingests for a while and compares all of the table with the exchange. @returns how many candles are equal */
async function visit({ url, market, series, startAt, mode, scene }: Visit): Promise<number> {
  const clock = scaledClock(SPEED);
  const simulator = await startSimulator({ market, clock, startAt });
  const historyMs = (): number => scene.historyMs;
  const stack = await LiveStack.start({
    simulator,
    clock,
    databaseUrl: url,
    series,
    mode,
    historyMs,
  });
  try {
    await stack.until(startAt + scene.liveMs);
    // A close is asked for by REST after 5 s at the latest, and a lone one is believed after 30 s.
    const until = simulator.now();
    await stack.until(until + MINUTE);
    let candles = 0;
    for (const one of series) {
      const from = (scene.visits[0] ?? 0) - scene.historyMs;
      const result = await compareWithMarket(stack.store, market, one, { from, until });
      assert.deepEqual({ ...result, candles: 0 }, { candles: 0, lost: [], extra: [], wrong: [] });
      assert.ok(result.candles > 20, `only ${result.candles} candles`);
      candles += result.candles;
    }
    return candles;
  } finally {
    await stack.stop();
    await simulator.close();
  }
}

/** Missing candles of a series in the ledger that the exchange had none of. */
async function missingCount(store: Store, series: Series): Promise<number> {
  const gaps = await store.gaps(series);
  return gaps
    .filter(({ reason }) => reason === "exchange-had-none")
    .reduce((sum, { range }) => sum + countOpenTimes(series.timeframe, range), 0);
}
