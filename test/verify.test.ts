import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { systemClock } from "../src/clock.ts";
import type { VersionedCandle } from "../src/core/finality.ts";
import type { Series } from "../src/core/series.ts";
import { verify } from "../src/ingest/verify.ts";
import { createSha256 } from "../src/sha256.ts";
import { RecordedMarket, readRecordedFiles, startSimulator } from "../src/simulator/index.ts";
import { openStore, type Store } from "../src/store/index.ts";
import { openHistory } from "./support/history.ts";
import { binanceSeries, compareWithMarket } from "./support/live-stack.ts";
import { withDatabase } from "./support/postgres.ts";
import { needsSharedData, readSharedData, sharedDataFolder } from "./support/shared-data.ts";

const FRAMES = ["15m", "1h", "2h", "4h", "12h", "1d", "1w"] as const;
/** Those that the recorded exchange has. */
const SERVED = ["1h", "4h", "1d"] as const;

const NONE = new AbortController().signal;

/** Loads a CSV file of the replaced system as it is, by the store's own function. */
async function loadSeed(store: Store, timeframe: (typeof FRAMES)[number]): Promise<Series> {
  const series = binanceSeries("BTCUSDT", timeframe);
  const [, ...lines] = readSharedData(`seed/BTCUSDT_${timeframe}.csv.gz`).trim().split("\n");
  const rows = lines.map((line): VersionedCandle => {
    const cells = line.trim().split(",");
    const [openTime = "", , open = "", high = "", low = "", close = "", volume = ""] = cells;
    const [
      ,
      ,
      ,
      ,
      ,
      ,
      ,
      closeTime = "",
      quoteVolume = "",
      tradeCount = "",
      buy = "",
      buyQuote = "",
    ] = cells;
    return {
      series,
      source: "csv",
      observedTime: Number(closeTime),
      candle: {
        openTime: Number(openTime),
        closeTime: Number(closeTime),
        ...{ open, high, low, close, volume, quoteVolume },
        tradeCount: Number(tradeCount),
        takerBuyVolume: buy,
        takerBuyQuoteVolume: buyQuote,
      },
    };
  });
  for (let at = 0; at < rows.length; at += 5_000) await store.write(rows.slice(at, at + 5_000), []);
  return series;
}

test(
  "the seed files: frozen candles are named without asking, and repaired from the exchange",
  needsSharedData(),
  async (t) => {
    await withDatabase(async ({ url }) => {
      const store = await openStore({ url });
      const files = SERVED.map((frame) =>
        join(sharedDataFolder() ?? "", `archive12/BTCUSDT_${frame}_2021-2026.csv.gz`),
      );
      const market = new RecordedMarket({ series: await readRecordedFiles(files) });
      const simulator = await startSimulator({
        market,
        clock: systemClock,
        startAt: Date.UTC(2026, 5, 30, 12),
      });
      try {
        const all = [];
        for (const timeframe of FRAMES) {
          const series = await loadSeed(store, timeframe);
          const [first] = await store.range(series, { from: 0, to: Number.MAX_SAFE_INTEGER }, 1);
          const [last] = await store.latest(series, 1);
          const range = { from: first?.candle.openTime ?? 0, to: (last?.candle.openTime ?? 0) + 1 };
          all.push({ series, range });
        }
        const result = await verify({ store, createHash: createSha256 }, all, NONE);
        const named = (check: string, timeframe: string): Set<number> =>
          new Set(
            result.findings
              .filter(
                (one) =>
                  one.severity !== "info" &&
                  one.check === check &&
                  one.series.timeframe === timeframe,
              )
              .map(({ openTime }) => openTime),
          );

        // The truth, within what the exchange has: rows that differ from it are frozen.
        let frozenCount = 0;
        let foundCount = 0;
        for (const timeframe of SERVED) {
          const series = binanceSeries("BTCUSDT", timeframe);
          const range = all.find((one) => one.series.timeframe === timeframe)?.range ?? {
            from: 0,
            to: 0,
          };
          const rows = await store.range(series, range, 1_000_000);
          const truth = new Map(
            [
              ...market.candles(
                { symbol: "BTCUSDT", interval: timeframe },
                range,
                simulator.now(),
                "ascending",
              ),
            ].map((row) => [row.openTime, row]),
          );
          const frozen = rows
            .filter(({ candle }) => {
              const real = truth.get(candle.openTime);
              return real !== undefined && real.tradeCount !== candle.tradeCount;
            })
            .map(({ candle }) => candle.openTime);
          const byFrames = named("timeframes", timeframe);
          const byLooks = named("frozen", timeframe);
          const found = frozen.filter((time) => byFrames.has(time) || byLooks.has(time));
          const alarms = new Set(
            [...byFrames, ...byLooks].filter((time) => !frozen.includes(time) && truth.has(time)),
          );
          frozenCount += frozen.length;
          foundCount += found.length;
          t.diagnostic(
            `${timeframe}: ${frozen.length} frozen of ${rows.length}; found ${found.length} before asking ` +
              `(timeframes ${frozen.filter((time) => byFrames.has(time)).length}, looks ${frozen.filter((time) => byLooks.has(time)).length}); false alarms ${alarms.size}`,
          );
        }
        assert.ok(foundCount >= frozenCount * 0.9, `${foundCount} of ${frozenCount}`);
        const [, ...known] = readSharedData("truth/seed_frozen_candles_4h_1d.csv")
          .trim()
          .split("\n");
        for (const line of known) {
          const [frame = "", openTime = ""] = line.split(",");
          const isNamed =
            named("timeframes", frame).has(Number(openTime)) ||
            named("frozen", frame).has(Number(openTime));
          assert.ok(isNamed, `${frame} ${openTime} was not named`);
        }

        const history = await openHistory({ store, url: simulator.url });
        const served = all.filter(({ series }) =>
          SERVED.some((frame) => frame === series.timeframe),
        );
        const reread = served.map(({ series, range }) => ({ series, ranges: [range] }));
        const differing = (
          await Promise.all(
            served.map(({ series, range }) => history.compare(series, [range], NONE)),
          )
        ).flat();
        t.diagnostic(`against the exchange: ${differing.length} rows differ in value`);
        const repaired = await history.repair(served, result.findings, reread, NONE);
        t.diagnostic(
          `repair: ${repaired.askedCount} read again, ${repaired.revisedCount} corrected, ${repaired.storedCount} new`,
        );
        for (const { series, range } of served) {
          const comparison = await compareWithMarket(store, market, series, {
            from: range.from,
            until: range.to,
          });
          assert.deepEqual(
            { lost: comparison.lost, wrong: comparison.wrong },
            { lost: [], wrong: [] },
          );
          t.diagnostic(`${series.timeframe}: ${comparison.candles} rows equal to the exchange`);
          const revisions = await store.revisions(series, range, 1_000_000);
          assert.ok(
            revisions.length > 0 && revisions.every(({ replaced }) => replaced.source === "csv"),
          );
        }
      } finally {
        await store.close();
        await simulator.close();
      }
    });
  },
);
