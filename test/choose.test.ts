import assert from "node:assert/strict";
import { test } from "node:test";
import type { Series } from "../src/core/series.ts";
import { enterHoles } from "../src/ingest/audit.ts";
import { type Choice, chooseWanted } from "../src/ingest/choose.ts";
import { openStore } from "../src/store/index.ts";
import { candleAt } from "./support/api-stack.ts";
import { withDatabase } from "./support/postgres.ts";

const HOUR = 3_600_000;
const FIRST = Date.UTC(2025, 0, 6);
const NEWEST = FIRST + 9 * HOUR;
const NOW = FIRST + 20 * HOUR + 60_000;
const DUE = FIRST + 20 * HOUR;

const kept: Series = { exchange: "binance", symbol: "BTCUSDT", timeframe: "1h" };
const left: Series = { exchange: "binance", symbol: "ETHUSDT", timeframe: "1h" };
/** The same symbol and timeframe, of files of another exchange. */
const other: Series = { exchange: "kraken", symbol: "BTCUSDT", timeframe: "1h" };

test("a choice: whose series, from where, up to where", async () => {
  await withDatabase(async ({ url }) => {
    const store = await openStore({ url });
    try {
      await store.begin({ mode: "websocket", host: "h", pid: 1 }, [kept]);
      await store.want([{ series: kept, wantedFrom: FIRST - 2 * HOUR }], NOW);
      for (const series of [kept, left, other]) {
        await store.write(
          [FIRST, NEWEST].map((openTime) => ({
            ...{ series, candle: candleAt(series, openTime), source: "csv" as const },
            observedTime: openTime + HOUR,
          })),
          [],
        );
      }
      const chooser = { store, configured: [kept], exchange: "binance", now: NOW };
      const chosen = async (choice: Partial<Choice>): Promise<object> => {
        const wanted = await chooseWanted(chooser, { kind: "fill", isAsking: true, ...choice });
        return Object.fromEntries(
          wanted.map(({ series: { exchange, symbol }, range }) => [
            `${exchange} ${symbol}`,
            [(range.from - FIRST) / HOUR, (range.to - FIRST) / HOUR],
          ]),
        );
      };
      const due = (DUE - FIRST) / HOUR;
      assert.deepEqual(
        await chosen({}),
        { "binance BTCUSDT": [-2, due], "binance ETHUSDT": [0, due] },
        "another exchange's series is not filled with Binance's candles",
      );
      assert.deepEqual(
        await chosen({ kind: "verify", isAsking: false }),
        {
          "binance BTCUSDT": [0, due],
          "binance ETHUSDT": [0, 9 + 1 / HOUR],
          "kraken BTCUSDT": [0, 9 + 1 / HOUR],
        },
        "what nobody ingests ends where it ends, also beside a series of the same name that is kept",
      );
      assert.deepEqual(await chosen({ kind: "verify", symbols: ["ETHUSDT"] }), {
        "binance ETHUSDT": [0, 9 + 1 / HOUR],
      });
      assert.deepEqual(
        await chosen({ kind: "backfill", startOf: async () => FIRST - 5 * HOUR, to: FIRST + 1 }),
        { "binance BTCUSDT": [-5, 1 / HOUR] },
      );
      assert.deepEqual(await chosen({ from: FIRST + 30 * HOUR }), {}, "nothing of it is there yet");
      assert.deepEqual(await chosen({ timeframes: ["1m"] }), {});
    } finally {
      await store.close();
    }
  });
});

test("holes between candles that others stored enter the ledger once", async () => {
  await withDatabase(async ({ url }) => {
    const store = await openStore({ url });
    try {
      for (const openTime of [FIRST, FIRST + HOUR, FIRST + 4 * HOUR, NEWEST]) {
        await store.write(
          [
            {
              ...{ series: left, candle: candleAt(left, openTime), source: "csv" as const },
              observedTime: openTime + HOUR,
            },
          ],
          [],
        );
      }
      assert.equal(await enterHoles(store, [left, kept], NOW), 6);
      assert.deepEqual(
        (await store.gaps(left)).map(({ range, state }) => [
          (range.from - FIRST) / HOUR,
          (range.to - FIRST) / HOUR,
          state,
        ]),
        [
          [2, 4, "open"],
          [5, 9, "open"],
        ],
      );
      assert.equal(
        await enterHoles(store, [left, kept], NOW),
        0,
        "what the ledger knows is not new",
      );
    } finally {
      await store.close();
    }
  });
});
