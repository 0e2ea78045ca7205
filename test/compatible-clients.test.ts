/**
 * Clients that were made for Binance, unmodified, take a running `ingest` for Binance: they are given another address and
 * nothing else, and say the same of it as of the exchange behind it.
 */

import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import ccxt from "ccxt";
import fc from "fast-check";
import { systemClock } from "../src/clock.ts";
import { nominalMs, openTimeAt } from "../src/core/timeframe.ts";
import {
  SeededMarket,
  type Simulator,
  seededSymbols,
  startSimulator,
} from "../src/simulator/index.ts";
import { openStore, type Store } from "../src/store/index.ts";
import { type CompatibleServer, serveCompatible } from "./support/compatible-server.ts";
import {
  binanceFor,
  ccxtFor,
  spotFor,
  spotInterval,
  type Target,
} from "./support/market-clients.ts";
import { createTestDatabase, sharedServer, type TestDatabase } from "./support/postgres.ts";
import { exchangeSettings, Program } from "./support/program.ts";

const MINUTE = 60_000;
const COLLECTED = ["BTCUSDT", "ETHUSDT"];
const NOT_COLLECTED = "ETHBTC";

let simulator: Simulator;
let database: TestDatabase;
let folder: string;
let program: Program;
/** `ingest`, and a server that only reads the same database. */
let ingest: Target;
let reader: CompatibleServer;

/** The first value for which a condition holds. */
async function eventually<Value>(
  ask: () => Value | undefined | Promise<Value | undefined>,
  what: string,
  ms = 15_000,
): Promise<Value> {
  const end = performance.now() + ms;
  while (performance.now() < end) {
    const value = await ask();
    if (value !== undefined) return value;
    await wait(20);
  }
  throw new assert.AssertionError({ message: `never: ${what}` });
}

/** Everything is stored but for the hole, which is believed an hour later. */
async function isLoaded(url: string): Promise<true | undefined> {
  const { notActive = [{}] } = (await (await fetch(`${url}/readyz`)).json()) as {
    notActive?: readonly { readonly status?: string }[];
  };
  return notActive.every(({ status }) => status === "gap") ? true : undefined;
}

interface Kline {
  readonly t: number;
  readonly T: number;
  readonly x: boolean;
  readonly [field: string]: unknown;
}

/** A closed candle as the exchange has it, by the fields of a frame. */
function truth(symbol: string, interval: "1s" | "1m", openTime: number): Record<string, unknown> {
  const candle = simulator.market.candle({ symbol, interval }, openTime, simulator.now());
  assert.ok(candle, `${symbol} ${interval} ${openTime} exists`);
  const { open, high, low, close, volume, quoteVolume, closeTime, tradeCount } = candle;
  const { takerBuyVolume, takerBuyQuoteVolume } = candle;
  return {
    ...{ t: openTime, T: closeTime, s: symbol, i: interval, f: -1, L: -1 },
    ...{ o: open, c: close, h: high, l: low, v: volume, n: tradeCount, x: true },
    ...{ q: quoteVolume, V: takerBuyVolume, Q: takerBuyQuoteVolume, B: "0" },
  };
}

/** Frames of one stream are in order, each candle closes once, and as the exchange says. */
function assertFrames(symbol: string, interval: "1s" | "1m", frames: readonly Kline[]): void {
  let closedTo = Number.NEGATIVE_INFINITY;
  for (const frame of frames) {
    assert.ok(frame.t > closedTo, "nothing of a candle comes after its close");
    if (!frame.x) continue;
    if (closedTo > 0) assert.equal(frame.t, closedTo + nominalMs(interval), "none is left out");
    closedTo = frame.t;
    assert.deepEqual(frame, truth(symbol, interval, frame.t));
  }
}

describe("clients made for Binance", () => {
  before(async () => {
    const listedAt = openTimeAt("1m", Date.now()) - 20 * MINUTE;
    simulator = await startSimulator({
      clock: systemClock,
      market: new SeededMarket({
        symbols: seededSymbols([...COLLECTED, NOT_COLLECTED]),
        listedAt,
        outages: [{ from: listedAt + 5 * MINUTE, to: listedAt + 8 * MINUTE }],
      }),
      pace: { secondPushMs: 100, pushMs: 200 },
    });
    database = await createTestDatabase(await sharedServer(), "migrated");
    folder = await mkdtemp(join(tmpdir(), "bt-clients-"));
    program = new Program(["ingest"], {
      DATABASE_URL: database.url,
      DATA_DIR: folder,
      TRADING_PAIRS: COLLECTED.join(","),
      TIMEFRAMES: "1s,1m",
      BACKFILL_DAYS: "0.02",
      ...exchangeSettings(simulator),
      HTTP_PORT: "0",
    });
    const [, url = ""] = await program.says(/HTTP on (http:\/\/[\d.]+:\d+)/);
    ingest = { url, wsUrl: url.replace("http:", "ws:") };
    await eventually(() => isLoaded(url), "all candles", 60_000);
    reader = await serveCompatible({ databaseUrl: database.url, now: () => simulator.now() });
  });

  after(async () => {
    await reader?.close();
    program?.kill("SIGTERM");
    await program?.ended();
    await simulator?.close();
    await database?.drop();
    if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  });

  describe("say the same of it as of the exchange", () => {
    const asked = fc.record({
      symbol: fc.oneof(
        { arbitrary: fc.constantFrom("BTCUSDT", "ETHUSDT"), weight: 4 },
        { arbitrary: fc.constantFrom("NOPE", NOT_COLLECTED, "btcusdt"), weight: 1 },
      ),
      interval: fc.oneof(
        { arbitrary: fc.constantFrom("1s", "1m"), weight: 6 },
        { arbitrary: fc.constant("7m"), weight: 1 },
      ),
      from: fc.option(fc.integer({ min: -25 * MINUTE, max: 0 }), { nil: undefined }),
      to: fc.integer({ min: -25 * MINUTE, max: -2_000 }),
      limit: fc.option(fc.constantFrom(0, 1, 7, 500, 1_000, 5_000), { nil: undefined }),
    });
    type Asked = ReturnType<typeof normalise>;
    let base = 0;

    before(() => {
      // What has just closed may still be on its way into the table.
      base = openTimeAt("1m", simulator.now() - MINUTE);
    });

    const normalise = (one: {
      symbol: string;
      interval: string;
      from: number | undefined;
      to: number;
      limit: number | undefined;
    }) => ({
      ...one,
      from: one.from === undefined ? undefined : base + one.from,
      to: base + one.to,
    });

    /** What a client made of an answer: the value, or the kind of error. */
    const outcomeOf = async (call: () => Promise<unknown>): Promise<unknown> => {
      try {
        return await call();
      } catch (error) {
        const { name, code } = error as { name?: string; code?: unknown };
        return { refused: name, code };
      }
    };

    const clients: Record<string, (target: Target) => Promise<(one: Asked) => Promise<unknown>>> = {
      ccxt: async (target) => {
        const exchange = await ccxtFor(target);
        await exchange.loadMarkets();
        // Of a symbol that it does not list it never asks.
        const name = (symbol: string): string =>
          ({ BTCUSDT: "BTC/USDT", ETHUSDT: "ETH/USDT", NOPE: "NOPE/USDT" })[symbol] ?? "NO/NO";
        return ({ symbol, interval, from, to, limit }) =>
          exchange.fetchOHLCV(name(symbol), interval, from, limit, { until: to });
      },
      binance: async (target) => {
        const { rest } = binanceFor(target);
        return ({ symbol, interval, from, to, limit }) =>
          rest.getKlines({
            symbol,
            interval: interval as "1m",
            endTime: to,
            ...(from === undefined ? {} : { startTime: from }),
            ...(limit === undefined ? {} : { limit }),
          });
      },
      "@binance/spot": async (target) => {
        const { restAPI } = spotFor(target);
        return async ({ symbol, interval, from, to, limit }) => {
          const answer = await restAPI.klines({
            symbol,
            interval: spotInterval(interval),
            endTime: to,
            ...(from === undefined ? {} : { startTime: from }),
            ...(limit === undefined ? {} : { limit }),
          });
          return answer.data();
        };
      },
    };

    for (const [name, connect] of Object.entries(clients)) {
      test(name, async () => {
        const askExchange = await connect({ url: simulator.url, wsUrl: simulator.wsUrl });
        const askIngest = await connect(ingest);
        const askReader = await connect(reader);
        let rowCount = 0;
        let refusalCount = 0;
        await fc.assert(
          fc.asyncProperty(asked, async (given) => {
            const one = normalise(given);
            const expected = await outcomeOf(() =>
              // The exchange knows it, the collector does not: to a client it is unknown.
              askExchange(one.symbol === NOT_COLLECTED ? { ...one, symbol: "NOPE" } : one),
            );
            assert.deepEqual(await outcomeOf(() => askIngest(one)), expected);
            assert.deepEqual(await outcomeOf(() => askReader(one)), expected);
            if (Array.isArray(expected)) rowCount += expected.length;
            else refusalCount += 1;
          }),
          { numRuns: name === "ccxt" ? 25 : 60 },
        );
        assert.ok(rowCount > 0 && refusalCount > 0, `${rowCount} rows, ${refusalCount} refusals`);
      });
    }
  });

  describe("ccxt", () => {
    test("loads what is collected, with the exchange's own precision", async () => {
      const [theirs, ours] = await Promise.all([
        ccxtFor({ url: simulator.url, wsUrl: simulator.wsUrl }),
        ccxtFor(ingest),
      ]);
      const [all, collected] = await Promise.all([theirs.loadMarkets(), ours.loadMarkets()]);
      assert.deepEqual(Object.keys(collected).sort(), ["BTC/USDT", "ETH/USDT"]);
      const facts = (market: unknown): object => {
        const { precision, limits, active, base, quote, spot } = market as Record<string, unknown>;
        return { precision, limits, active, base, quote, spot };
      };
      for (const [symbol, market] of Object.entries(collected)) {
        assert.deepEqual(facts(market), facts(all[symbol]));
      }
    });

    test("watches candles form and close", async () => {
      const exchange = await ccxtFor(ingest);
      try {
        const seen = new Map<number, readonly unknown[]>();
        const until = simulator.now() + 4_500;
        while (simulator.now() < until) {
          const rows = await exchange.watchOHLCV("BTC/USDT", "1s");
          for (const row of rows) seen.set(Number(row[0]), [...row]);
        }
        const openTimes = [...seen.keys()];
        assert.deepEqual(openTimes, [...openTimes].sort());
        const closed = openTimes.slice(0, -1);
        assert.ok(closed.length >= 3, `${closed.length} closed candles`);
        for (const openTime of closed) {
          const { o, h, l, c, v } = truth("BTCUSDT", "1s", openTime);
          assert.deepEqual(seen.get(openTime)?.slice(1), [o, h, l, c, v].map(Number));
        }
        await assert.rejects(exchange.watchOHLCV("BTC/USDT", "5m"), ccxt.ExchangeError);
      } finally {
        await exchange.close();
      }
    });
  });

  describe("binance", () => {
    test("gets every frame, the closing one once the table has the candle", async () => {
      const { rest, streams } = binanceFor(ingest);
      const frames: Kline[] = [];
      const early: Promise<unknown>[] = [];
      streams.on("message", (message: unknown) => {
        const { e, k } = message as { e?: string; k?: Kline };
        if (e !== "kline" || k === undefined) return;
        frames.push(k);
        if (!k.x) return;
        const ask = { symbol: "ETHUSDT", interval: "1s", startTime: k.t, endTime: k.t } as const;
        early.push(
          rest.getKlines(ask).then(([row]) => {
            assert.deepEqual([row?.[0], row?.[4], row?.[5]], [k.t, k.c, k.v]);
          }),
        );
      });
      try {
        await streams.subscribeSpotKline("ETHUSDT", "1s");
        await eventually(
          () => (frames.filter(({ x }) => x).length >= 4 ? true : undefined),
          "four closing frames",
        );
        await Promise.all(early);
        assert.ok(
          frames.some(({ x }) => !x),
          "candles were seen to form",
        );
        assertFrames("ETHUSDT", "1s", frames);
      } finally {
        streams.closeAll(true);
      }
    });

    test("is refused in words, not met with silence", async () => {
      const { streams } = binanceFor(ingest);
      const told: unknown[] = [];
      streams.on("exception", (error) => told.push(error));
      streams.on("response", (response) => told.push(response));
      try {
        void Promise.resolve(streams.subscribeSpotKline(NOT_COLLECTED, "1m")).catch((error) =>
          told.push(error),
        );
        const text = await eventually(() => {
          const all = JSON.stringify(told);
          return all.includes("-1121") ? all : undefined;
        }, "a refusal");
        assert.match(text, /ethbtc is not collected by this server/);
      } finally {
        streams.closeAll(true);
      }
    });
  });

  describe("@binance/spot", () => {
    test("gets every frame of several streams", async () => {
      const connection = await spotFor(ingest).websocketStreams.connect();
      const frames = { BTCUSDT: [] as Kline[], ETHUSDT: [] as Kline[] };
      try {
        for (const symbol of ["BTCUSDT", "ETHUSDT"] as const) {
          connection
            .kline({ symbol: symbol.toLowerCase(), interval: spotInterval("1s") })
            .on("message", (message) => {
              frames[symbol].push((message as unknown as { k: Kline }).k);
            });
        }
        const closedCount = (all: readonly Kline[]): number => all.filter(({ x }) => x).length;
        await eventually(
          () => (Object.values(frames).every((all) => closedCount(all) >= 3) ? true : undefined),
          "three closing frames of each",
        );
        assertFrames("BTCUSDT", "1s", frames.BTCUSDT);
        assertFrames("ETHUSDT", "1s", frames.ETHUSDT);
      } finally {
        await connection.disconnect();
      }
    });
  });

  test("a server that only reads the database tells what closes, and of nothing that forms", async () => {
    const { streams } = binanceFor(reader);
    const frames: Kline[] = [];
    streams.on("message", (message: unknown) => {
      const { e, k } = message as { e?: string; k?: Kline };
      if (e === "kline" && k !== undefined) frames.push(k);
    });
    try {
      await streams.subscribeSpotKline("BTCUSDT", "1s");
      await eventually(() => (frames.length >= 3 ? true : undefined), "three frames");
      assert.ok(frames.every(({ x }) => x));
      assertFrames("BTCUSDT", "1s", frames);
    } finally {
      streams.closeAll(true);
    }
  });

  test("a second collector collects from the first, and has the same table", async () => {
    const second = await createTestDatabase(await sharedServer(), "migrated");
    const dataDir = await mkdtemp(join(tmpdir(), "bt-second-"));
    const other = new Program(["ingest"], {
      DATABASE_URL: second.url,
      DATA_DIR: dataDir,
      TRADING_PAIRS: COLLECTED.join(","),
      TIMEFRAMES: "1s,1m",
      BACKFILL_DAYS: "0.01",
      ...exchangeSettings(ingest),
      HTTP_PORT: "0",
    });
    const [theirs, ours] = await Promise.all(
      [database.url, second.url].map((url) => openStore({ url, access: "read" })),
    );
    assert.ok(theirs && ours);
    try {
      const [, url = ""] = await other.says(/HTTP on (http:\/\/[\d.]+:\d+)/);
      await eventually(() => isLoaded(url), "all candles in the second", 60_000);
      const to = openTimeAt("1s", simulator.now()) + 3_000;
      await eventually(() => (simulator.now() > to + 2_000 ? true : undefined), "some more");
      for (const timeframe of ["1s", "1m"] as const) {
        const series = { exchange: "binance", symbol: "BTCUSDT", timeframe };
        const range = { from: to - 8 * MINUTE, to: openTimeAt(timeframe, to) };
        const rows = async (store: Store): Promise<string[]> =>
          (await store.range(series, range, 10_000)).map(({ candle }) => JSON.stringify(candle));
        // What a stream missed is healed within some seconds.
        const missing = async (): Promise<string[]> => {
          const have = new Set(await rows(ours));
          const expected = await rows(theirs);
          assert.ok(expected.length >= 7);
          return expected.filter((row) => !have.has(row));
        };
        await eventually(
          async () => ((await missing()).length === 0 ? true : undefined),
          `the same ${timeframe} candles`,
        );
        assert.equal((await rows(ours)).length, (await rows(theirs)).length);
      }
    } finally {
      other.kill("SIGTERM");
      await other.ended();
      await Promise.all([theirs.close(), ours.close()]);
      await second.drop();
      await rm(dataDir, { recursive: true, force: true });
    }
  });

  test("nothing was answered with an error of the program", () => {
    assert.deepEqual(reader.faults, []);
    assert.doesNotMatch(program.stderr, /HTTP: /);
  });
});
