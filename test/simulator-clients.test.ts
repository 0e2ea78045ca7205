/**
 * The simulator is believed when clients that were made for Binance take it for Binance, unmodified.
 * How each is pointed at another host, and its traps: src/simulator/README.md.
 */

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { SpotRestAPI, SpotWebsocketStreams } from "@binance/spot";
import ccxt from "ccxt";
import { systemClock } from "../src/clock.ts";
import {
  SeededMarket,
  type Simulator,
  seededSymbols,
  startSimulator,
} from "../src/simulator/index.ts";
import { binanceFor, ccxtFor, spotFor } from "./support/market-clients.ts";

const START = Date.UTC(2025, 5, 2, 10, 0, 58);
const SERIES = { symbol: "BTCUSDT", interval: "1m" } as const;
const MINUTE = 60_000;

let sim: Simulator;

const startFresh = async (): Promise<void> => {
  sim = await startSimulator({
    clock: systemClock,
    market: new SeededMarket({
      symbols: seededSymbols(["BTCUSDT", "ETHUSDT", "ETHBTC"]),
      listedAt: Date.UTC(2025, 5, 1),
    }),
    startAt: START,
    pace: { secondPushMs: 100, pushMs: 200 },
  });
};

const truth = (openTime: number): Record<string, unknown> => {
  const candle = sim.market.candle(SERIES, openTime, START);
  assert.ok(candle);
  return { ...candle };
};

/** The first value for which a condition holds; gives up after some seconds. */
async function eventually<Value>(ask: () => Value | undefined, what: string): Promise<Value> {
  const end = performance.now() + 8_000;
  while (performance.now() < end) {
    const value = ask();
    if (value !== undefined) return value;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new assert.AssertionError({ message: `never: ${what}` });
}

before(startFresh);
after(async () => {
  await sim.close();
});

describe("ccxt", () => {
  test("fetches candles and watches them grow", async () => {
    const exchange = await ccxtFor(sim);
    try {
      const rows = await exchange.fetchOHLCV("BTC/USDT", "1m", START - 10 * MINUTE, 5);
      assert.equal(rows.length, 5);
      const [openTime = 0, open, , , close, volume] = rows[0] ?? [];
      const expected = truth(openTime);
      assert.equal(open, Number(expected.open));
      assert.equal(close, Number(expected.close));
      assert.equal(volume, Number(expected.volume));
      const watched = await exchange.watchOHLCV("BTC/USDT", "1m");
      assert.equal((watched.at(-1)?.[0] ?? 1) % MINUTE, 0);
      await assert.rejects(exchange.fetchOHLCV("NOPE/USDT", "1m"), ccxt.BadSymbol);
    } finally {
      await exchange.close();
    }
  });
});

describe("binance (tiagosiebler)", () => {
  test("gets klines", async () => {
    const { rest: client } = binanceFor(sim);
    const rows = await client.getKlines({ symbol: "BTCUSDT", interval: "1m", limit: 3 });
    assert.equal(rows.length, 3);
    const [openTime, open, high, low, close] = rows[0] ?? [];
    const expected = truth(openTime ?? 0);
    assert.deepEqual(
      [open, high, low, close],
      [expected.open, expected.high, expected.low, expected.close],
    );
    await assert.rejects(client.getKlines({ symbol: "NOPE", interval: "1m" }), {
      code: -1121,
      message: "Invalid symbol.",
    });
  });

  test("subscribes, gets the closing frame, and is back 0.5 s after a cut connection", async () => {
    const { streams: client } = binanceFor(sim);
    const frames: { t: number; x: boolean; at: number }[] = [];
    client.on("message", (message: unknown) => {
      // It takes the payload out of the combined frame.
      const { e, k } = message as { e?: string; k?: { t: number; x: boolean } };
      if (e === "kline" && k !== undefined) frames.push({ ...k, at: performance.now() });
    });
    try {
      void client.subscribeSpotKline("BTCUSDT", "1s");
      await eventually(() => frames.find(({ x }) => x), "a closing frame");
      const before = sim.journal.counts().upgradeCount;
      const cutAt = performance.now();
      sim.faults.set({ kind: "drop", code: 1006 });
      const back = await eventually(
        () => frames.find(({ at }) => at > cutAt + 100),
        "a frame after the cut",
      );
      assert.equal(sim.journal.counts().upgradeCount, before + 1);
      assert.ok(back.at - cutAt > 400 && back.at - cutAt < 4_000, `${back.at - cutAt} ms`);
    } finally {
      client.closeAll(true);
    }
  });
});

describe("@binance/spot", () => {
  test("gets klines", async () => {
    const response = await spotFor(sim).restAPI.klines({
      symbol: "BTCUSDT",
      interval: SpotRestAPI.KlinesIntervalEnum.INTERVAL_1m,
      limit: 3,
    });
    const rows = await response.data();
    assert.equal(rows.length, 3);
    const expected = truth(Number(rows[0]?.[0]));
    assert.equal(rows[0]?.[5], expected.volume);
    assert.equal(rows[0]?.[7], expected.quoteVolume);
  });

  test("subscribes and gets frames", async () => {
    const connection = await spotFor(sim).websocketStreams.connect();
    try {
      const frames: { k?: { s?: string; x?: boolean } }[] = [];
      const stream = connection.kline({
        symbol: "btcusdt",
        interval: SpotWebsocketStreams.KlineIntervalEnum.INTERVAL_1s,
      });
      stream.on("message", (frame) => {
        frames.push(frame as (typeof frames)[number]);
      });
      const closing = await eventually(
        () => frames.find(({ k }) => k?.x === true),
        "a closing frame",
      );
      assert.equal(closing.k?.s, "BTCUSDT");
    } finally {
      await connection.disconnect();
    }
  });
});
