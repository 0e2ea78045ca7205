import assert from "node:assert/strict";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { systemClock } from "../src/clock.ts";
import type { IngestEvent } from "../src/core/events.ts";
import { ExchangeTime } from "../src/core/exchange-time.ts";
import { countOpenTimes } from "../src/core/timeframe.ts";
import { createBinanceArchive, planArchive } from "../src/exchanges/binance/index.ts";
import type { History } from "../src/ingest/history.ts";
import {
  type Market,
  RecordedMarket,
  readRecordedFiles,
  SeededMarket,
  type Simulator,
  seededSymbols,
  startSimulator,
} from "../src/simulator/index.ts";
import { startEmbedded } from "../src/store/embedded.ts";
import { Database, openStore, type Store } from "../src/store/index.ts";
import { openHistory } from "./support/history.ts";
import { binanceSeries, compareWithMarket } from "./support/live-stack.ts";
import { withDatabase } from "./support/postgres.ts";
import { exchangeSettings, Program, runProgram } from "./support/program.ts";
import { needsSharedData, sharedDataFolder } from "./support/shared-data.ts";

const KILLS = Number(process.env.CRASH_KILLS ?? 4);
const DAY = 86_400_000;
const NONE = new AbortController().signal;

interface Tools {
  readonly simulator: Simulator;
  readonly history: History;
  readonly now: () => number;
  readonly events: readonly IngestEvent[];
}

/** The history use case on real adapters, with the exchange's clock at `startAt`. */
async function withHistoryAt<T>(
  store: Store,
  market: Market,
  startAt: number,
  act: (tools: Tools) => Promise<T>,
): Promise<T> {
  const simulator = await startSimulator({ market, clock: systemClock, startAt });
  try {
    const exchangeTime = new ExchangeTime();
    const events: IngestEvent[] = [];
    const record = (event: IngestEvent): void => void events.push(event);
    const archive = createBinanceArchive({
      ...{ clock: systemClock, exchangeTime, record },
      baseUrl: simulator.url,
      tempFolder: tmpdir(),
    });
    const history = await openHistory({
      ...{ store, url: simulator.url, record, exchangeTime },
      archive: { plan: planArchive, open: archive.open.bind(archive) as never },
    });
    const now = (): number => exchangeTime.now(systemClock.monotonic());
    return await act({ simulator, history, now, events });
  } finally {
    await simulator.close();
  }
}

/** Starts a command again and again and kills it. @returns how often it was still at work */
async function killAtRandom(
  args: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<number> {
  let killed = 0;
  for (let kill = 0; kill < KILLS; kill += 1) {
    const program = new Program(args, env);
    await wait(1_000 + Math.random() * 2_500);
    if (program.child.exitCode === null) killed += 1;
    program.kill("SIGKILL");
    await program.ended();
  }
  return killed;
}

/** Deletes every third day, and a few minutes of every hour of the others. */
async function punchHoles(dataDir: string): Promise<void> {
  const embedded = await startEmbedded({ dataDir });
  const database = new Database({ url: embedded.urlOf("black_trade") });
  try {
    await database.run({
      text: `
        delete from candles
        where extract(doy from open_time)::int % 3 = 0 or extract(minute from open_time) in (7, 8, 31)`,
      deadlineMs: 60_000,
    });
  } finally {
    await database.close();
    await embedded.release();
  }
}

describe("history from archives and REST", () => {
  test("a backfill over dirty archives ends equal to the exchange, and a second one asks for nothing", async (t) => {
    await withDatabase(async ({ url }) => {
      const store = await openStore({ url });
      const listedAt = Date.UTC(2025, 8, 20, 3);
      const market = new SeededMarket({
        symbols: seededSymbols(["BTCUSDT", "NXSBTC"]),
        listedAt,
        outages: [{ from: Date.UTC(2025, 9, 12, 3, 7), to: Date.UTC(2025, 9, 12, 5, 31) }],
      });
      const startAt = Date.UTC(2025, 10, 20, 12, 30);
      try {
        await withHistoryAt(store, market, startAt, async ({ simulator, history, now, events }) => {
          const day = Date.UTC(2025, 9, 17);
          simulator.faults.set({ kind: "archiveMismatch", count: 3 });
          simulator.faults.set({
            kind: "archiveDirt",
            dirt: "missingDay",
            day: new Date(day).toISOString().slice(0, 10),
          } as never);
          const wanted = ["BTCUSDT", "NXSBTC"].flatMap((symbol) =>
            (["1m", "1h"] as const).map((timeframe) => ({
              series: binanceSeries(symbol, timeframe),
              range: { from: Date.UTC(2025, 8, 15), to: now() },
            })),
          );
          const gaps = await history.findGaps(wanted, true);
          const summary = await history.fill(gaps, NONE);
          let candles = 0;
          for (const { series, range } of wanted) {
            const until = Date.UTC(2025, 10, 20, 12, 29);
            const { candles: count, ...differences } = await compareWithMarket(
              store,
              market,
              series,
              {
                from: range.from,
                until,
              },
            );
            assert.deepEqual(differences, { lost: [], extra: [], wrong: [] });
            candles += count;
            const ledger = await store.gaps(series);
            const before = ledger.find(({ reason }) => reason === "before-listing");
            assert.equal(before?.state, "confirmed");
            const none = ledger.filter(({ reason }) => reason === "exchange-had-none");
            const missing = none.reduce(
              (sum, gap) => sum + countOpenTimes(series.timeframe, gap.range),
              0,
            );
            assert.equal(
              missing,
              series.timeframe === "1m" ? 144 : 1,
              `${series.symbol} ${series.timeframe}`,
            );
          }
          assert.ok(summary.files.ok + summary.files.mismatch > 20);
          assert.ok(summary.files.mismatch > 0, "the wrong checksum was not noticed");
          const flagged = await Promise.all(
            wanted.map(async ({ series, range }) => {
              const rows = await store.range(series, range, 200_000);
              return rows.filter(({ source }) => source === "archive-unproven").length;
            }),
          );
          const doubted = events.filter(({ kind }) => kind === "fileDoubted").length;
          assert.equal(doubted, summary.files.mismatch, "each doubted file is reported");
          assert.ok(
            flagged.reduce((sum, count) => sum + count, 0) > 1_000,
            "candles of a file that no checksum vouches for are not told from others",
          );
          t.diagnostic(`${candles} candles equal; files ${JSON.stringify(summary.files)}`);

          const { requests } = simulator.journal.counts();
          const again = await history.findGaps(wanted, true);
          assert.deepEqual(again, []);
          assert.deepEqual(simulator.journal.counts().requests, requests);
          assert.deepEqual(simulator.journal.counts().violations, {});
        });
      } finally {
        await store.close();
      }
    });
  });

  test(
    "real outages end as confirmed, with the right edges, and are not asked for for ever",
    needsSharedData(),
    async (t) => {
      await withDatabase(async ({ url }) => {
        const store = await openStore({ url });
        const files = [
          "gaps/2021-04/BTC_USDT-1m.json.gz",
          "gaps/2021-04/XRP_USDT-1m.json.gz",
          "gaps/2021-04/NXS_BTC-1m.json.gz",
          "archive12/BTCUSDT_1h_2021-2026.csv.gz",
          "archive12/BTCUSDT_4h_2021-2026.csv.gz",
          "archive12/BTCUSDT_1d_2021-2026.csv.gz",
        ].map((file) => join(sharedDataFolder() ?? "", file));
        const market = new RecordedMarket({ series: await readRecordedFiles(files) });
        const wanted = (
          [
            ["BTCUSDT", "1m", Date.UTC(2021, 3, 21), Date.UTC(2021, 4, 20), 284],
            ["XRPUSDT", "1m", Date.UTC(2021, 3, 21), Date.UTC(2021, 4, 20), 283],
            ["NXSBTC", "1m", Date.UTC(2021, 3, 11), Date.UTC(2021, 4, 20), 434],
            ["BTCUSDT", "1h", Date.UTC(2021, 0, 1), Date.UTC(2026, 5, 30), 14],
            ["BTCUSDT", "4h", Date.UTC(2021, 0, 1), Date.UTC(2026, 5, 30), 0],
            ["BTCUSDT", "1d", Date.UTC(2021, 0, 1), Date.UTC(2026, 5, 30), 0],
          ] as const
        ).map(([symbol, timeframe, from, to, missing]) => ({
          series: binanceSeries(symbol, timeframe),
          range: { from, to },
          missing,
        }));
        const startAt = Date.UTC(2026, 5, 30, 2);
        try {
          const asked: number[] = [];
          // The first pass asks, the second one comes too early, the third an hour later, the fourth has nothing to do.
          for (const hours of [0, 0.5, 1.1, 30]) {
            await withHistoryAt(
              store,
              market,
              startAt + hours * 3_600_000,
              async ({ simulator, history }) => {
                const gaps = await history.findGaps(wanted, true);
                await history.fill(gaps, NONE);
                asked.push(simulator.journal.counts().requests["/api/v3/klines 200"] ?? 0);
              },
            );
          }
          for (const { series, range, missing } of wanted) {
            const ledger = await store.gaps(series);
            const none = ledger.filter(({ reason }) => reason === "exchange-had-none");
            assert.ok(none.every(({ state }) => state === "confirmed"));
            assert.equal(
              none.reduce((sum, gap) => sum + countOpenTimes(series.timeframe, gap.range), 0),
              missing,
            );
            const { candles, ...differences } = await compareWithMarket(store, market, series, {
              from: range.from,
              until: range.to,
            });
            assert.deepEqual(differences, { lost: [], extra: [], wrong: [] });
            t.diagnostic(
              `${series.symbol} ${series.timeframe}: ${candles} equal, ${missing} confirmed missing in ${none.length} gaps`,
            );
          }
          assert.equal(asked[1], 0, "asked again before the hour was over");
          assert.equal(asked[3], 0, "a confirmed gap was asked for again");
          t.diagnostic(`klines requests of the four passes: ${asked.join(", ")}`);
        } finally {
          await store.close();
        }
      });
    },
  );

  test("open gaps that wait for their next try are listed, and end fill-gaps with 3", async () => {
    const now = Math.floor(Date.now() / 60_000) * 60_000;
    const outage = { from: now - 5 * 3_600_000, to: now - 5 * 3_600_000 + 7 * 60_000 };
    const market = new SeededMarket({ symbols: seededSymbols(["BTCUSDT"]), outages: [outage] });
    const simulator = await startSimulator({ market, clock: systemClock });
    const dataDir = await mkdtemp(join(tmpdir(), "bt-waiting-"));
    await chmod(dataDir, 0o755);
    const env = {
      DATA_DIR: dataDir,
      ...exchangeSettings(simulator),
    };
    try {
      const series = ["--symbols", "BTCUSDT", "--timeframes", "1m"];
      const first = await runProgram(["backfill", ...series, "--days", "1"], env);
      assert.equal(first.status, 3, first.stderr);
      assert.match(first.stdout, /7 exchange-had-none \(asked 1×\)/);
      assert.match(first.stdout, /1 open gaps are left/);
      for (const args of [["fill-gaps"], ["fill-gaps", "--dry-run"]]) {
        const again = await runProgram([...args, "--json"], env);
        assert.equal(again.status, 3, again.stderr);
        const { open, plan } = JSON.parse(again.stdout);
        assert.equal(plan.candleCount <= 1, true, "nothing is asked before its time");
        assert.deepEqual(
          open.map((gap: Record<string, unknown>) => [gap.from, gap.to, gap.reason, gap.candles]),
          [[outage.from, outage.to, "exchange-had-none", 7]],
        );
      }
    } finally {
      await simulator.close();
      await rm(dataDir, { recursive: true, force: true });
    }
  });

  test(`backfill and fill-gaps, each killed ${KILLS} times at random moments ends with the same table`, {
    timeout: 240_000,
  }, async (t) => {
    const market = new SeededMarket({
      symbols: seededSymbols(["BTCUSDT", "ETHUSDT"]),
      listedAt: Date.now() - 100 * DAY,
    });
    const simulator = await startSimulator({ market, clock: systemClock });
    const dataDir = await mkdtemp(join(tmpdir(), "bt-history-"));
    await chmod(dataDir, 0o755);
    const env = {
      DATA_DIR: dataDir,
      ...exchangeSettings(simulator),
    };
    const args = [
      "backfill",
      "--symbols",
      "BTCUSDT,ETHUSDT",
      "--timeframes",
      "1m",
      "--days",
      "60",
      "--json",
    ];
    try {
      const killed = await killAtRandom(args, env);
      const last = await runProgram(args, env);
      assert.equal(last.status, 0, last.stderr);
      const archives = (): number =>
        Object.entries(simulator.journal.counts().requests)
          .filter(([path]) => path.includes("/data/"))
          .reduce((sum, [, count]) => sum + count, 0);
      const before = archives();
      const again = await runProgram(args, env);
      assert.equal(again.status, 0, again.stderr);
      assert.equal(archives(), before, "a whole table was fetched again");

      await punchHoles(dataDir);
      const fill = ["fill-gaps", "--json"];
      const killedFills = await killAtRandom(fill, env);
      const filled = await runProgram(fill, env);
      assert.equal(filled.status, 0, filled.stderr);

      const embedded = await startEmbedded({ dataDir });
      const store = await openStore({ url: embedded.urlOf("black_trade"), access: "read" });
      try {
        let candles = 0;
        for (const symbol of ["BTCUSDT", "ETHUSDT"]) {
          const until = simulator.now() - 5 * 60_000;
          const from = until - 59 * DAY;
          const result = await compareWithMarket(store, market, binanceSeries(symbol, "1m"), {
            from,
            until,
          });
          assert.deepEqual(
            { ...result, candles: 0 },
            { candles: 0, lost: [], extra: [], wrong: [] },
          );
          candles += result.candles;
        }
        t.diagnostic(
          `${killed} kills of backfill, ${killedFills} of fill-gaps, ${candles} candles equal, 0 lost, 0 extra, 0 wrong`,
        );
      } finally {
        await store.close();
        await embedded.release();
      }
    } finally {
      await simulator.close();
      await rm(dataDir, { recursive: true, force: true });
    }
  });
});
