/**
 * The server for other bots answers as the exchange does: the same requests, right and wrong, go to the simulator and to
 * a server over a table that holds what the simulator has, while time stands still.
 */

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import fc from "fast-check";
import type { Series } from "../src/core/series.ts";
import {
  SeededMarket,
  type Simulator,
  seededSymbols,
  startSimulator,
} from "../src/simulator/index.ts";
import { openStore } from "../src/store/index.ts";
import { frozenClock } from "./support/clocks.ts";
import { type CompatibleServer, collectAll, serveCompatible } from "./support/compatible-server.ts";
import { createTestDatabase, sharedServer, type TestDatabase } from "./support/postgres.ts";

const MINUTE = 60_000;
const LISTED = Date.UTC(2025, 5, 1, 1);
const NOW = Date.UTC(2025, 5, 3, 10, 0, 30, 250);
const COLLECTED: readonly Series[] = ["BTCUSDT", "币安人生USDT"].flatMap((symbol) =>
  (["1m", "1h", "1d", "1M"] as const).map((timeframe) => ({
    exchange: "binance",
    symbol,
    timeframe,
  })),
);

const frozen = frozenClock(NOW);

let simulator: Simulator;
let database: TestDatabase;
let server: CompatibleServer;

interface Told {
  readonly status: number;
  readonly text: string;
  readonly headers: Headers;
}

const ask = async (base: string, path: string, init: RequestInit = {}): Promise<Told> => {
  const response = await fetch(base + path, init);
  return { status: response.status, text: await response.text(), headers: response.headers };
};

/** What both say, the words that tell why a symbol is unknown left out. */
const same = async (path: string, init: RequestInit = {}): Promise<string> => {
  const [theirs, ours] = await Promise.all([
    ask(simulator.url, path, init),
    ask(server.url, path, init),
  ]);
  const shown = ({ status, text }: Told): object => ({
    status,
    text: text.replace(/("msg":"Invalid symbol\.)[^"]*/, "$1"),
  });
  assert.deepEqual(shown(ours), shown(theirs), path);
  return ours.text;
};

describe("the server for other bots", () => {
  before(async () => {
    simulator = await startSimulator({
      clock: frozen,
      market: new SeededMarket({
        symbols: seededSymbols(["BTCUSDT", "ETHUSDT", "币安人生USDT"]),
        listedAt: LISTED,
        outages: [{ from: LISTED + 600 * MINUTE, to: LISTED + 701 * MINUTE }],
      }),
      limits: { weightPerMinute: 1e9, requestsPer5Minutes: 1e9 },
    });
    database = await createTestDatabase(await sharedServer(), "migrated");
    const store = await openStore({ url: database.url });
    await collectAll(store, simulator, COLLECTED);
    await store.close();
    server = await serveCompatible({
      databaseUrl: database.url,
      now: () => NOW,
      isIngesting: true,
    });
    for (const series of COLLECTED) {
      const [candle] = simulator.market.candles(
        { symbol: series.symbol, interval: series.timeframe },
        { from: 0, to: Number.POSITIVE_INFINITY },
        NOW,
        "descending",
      );
      assert.ok(candle !== undefined && candle.closeTime >= NOW);
      server.feed.takeLive({ kind: "candle", series, candle, isClosed: false, eventTime: NOW });
    }
  });

  after(async () => {
    await server?.close();
    await simulator?.close();
    await database?.drop();
  });

  describe("klines", () => {
    const time = fc.oneof(
      fc.integer({ min: LISTED - 90 * MINUTE, max: NOW + 90 * MINUTE }),
      fc.integer({ min: LISTED, max: NOW }).map((ms) => Math.floor(ms / MINUTE) * MINUTE),
      fc.integer({ min: LISTED, max: NOW }).map((ms) => ms * 1_000 + 7),
      fc.constant(0),
    );
    const right = fc.record(
      {
        symbol: fc.constantFrom("BTCUSDT", "币安人生USDT"),
        interval: fc.constantFrom("1m", "1h", "1d", "1M"),
        startTime: time,
        endTime: time,
        limit: fc.integer({ min: 0, max: 1_100 }),
        timeZone: fc.constantFrom("0", "00:00", "-0"),
      },
      { requiredKeys: ["symbol", "interval"] },
    );
    const wrong = fc.record(
      {
        symbol: fc.constantFrom("NOPE", "btcusdt", "", "A".repeat(51), "BTC/USDT"),
        interval: fc.constantFrom("1D", "60", "", "2m"),
        startTime: fc.constantFrom("", "x", "-1", "99999999999999999999", "999999999999999999999"),
        endTime: fc.constantFrom("", "x", "1e3", "99999999999999999999"),
        limit: fc.constantFrom("", "x", "-5", "1.5"),
        timeZone: fc.constantFrom("", "x", "15", "-12:01", "8:61", "+8:00:00"),
        foo: fc.constant("1"),
        absent: fc.constantFrom("symbol", "interval"),
        repeated: fc.constantFrom("symbol", "limit"),
      },
      { requiredKeys: [] },
    );
    const query = fc
      .tuple(
        right,
        fc.oneof(
          { arbitrary: fc.constant<Partial<Record<string, string>>>({}), weight: 3 },
          { arbitrary: wrong, weight: 1 },
        ),
      )
      .map(([asked, { absent, repeated, ...mistakes }]) => {
        const values = new URLSearchParams();
        for (const [name, value] of Object.entries({ ...asked, ...mistakes })) {
          values.set(name, String(value));
        }
        if (absent !== undefined) values.delete(absent);
        if (repeated !== undefined) values.append(repeated, "1");
        return values.toString();
      });

    test("the same answer to every request, right or wrong", async () => {
      // A day in which the symbol was listed opens before that.
      await same(
        "/api/v3/klines?symbol=BTCUSDT&interval=1d&startTime=1748734200000&endTime=1748736000000",
      );
      let rowCount = 0;
      let refusalCount = 0;
      await fc.assert(
        fc.asyncProperty(query, fc.constantFrom("klines", "uiKlines"), async (asked, path) => {
          const text = await same(`/api/v3/${path}?${asked}`);
          if (text.startsWith("[")) rowCount += JSON.parse(text).length;
          else refusalCount += 1;
        }),
        { numRuns: 300 },
      );
      assert.ok(rowCount > 5_000, `${rowCount} rows were compared`);
      assert.ok(refusalCount > 20, `${refusalCount} refusals were compared`);
    });

    test("the candle that is forming is the last row, and no other way than at the exchange", async () => {
      const rows = JSON.parse(await same("/api/v3/klines?symbol=BTCUSDT&interval=1m&limit=3"));
      assert.equal(rows.length, 3);
      assert.ok(rows[2][6] >= NOW && rows[1][6] < NOW);
      await same(`/api/v3/klines?symbol=BTCUSDT&interval=1m&startTime=${NOW - 5 * MINUTE}`);
      await same(`/api/v3/klines?symbol=BTCUSDT&interval=1m&endTime=${rows[2][0] - 1}&limit=2`);
      await same(`/api/v3/klines?symbol=BTCUSDT&interval=1M`);
    });

    test("walking by last open time + 1 visits every candle once, over the hole", async () => {
      const walk = async (base: string): Promise<number[]> => {
        const seen: number[] = [];
        for (let next = 0; ; ) {
          const path = `/api/v3/klines?symbol=BTCUSDT&interval=1m&startTime=${next}&limit=1000`;
          const page = JSON.parse((await ask(base, path)).text);
          if (page.length === 0) return seen;
          for (const [openTime] of page) seen.push(openTime);
          next = page.at(-1)[0] + 1;
        }
      };
      const ours = await walk(server.url);
      assert.deepEqual(ours, await walk(simulator.url));
      assert.ok(ours.length > 3_000);
    });

    test("microseconds, by header", async () => {
      for (const unit of ["MICROSECOND", "MILLISECOND", "microsecond", "x"]) {
        const init = { headers: { "X-MBX-TIME-UNIT": unit } };
        await same("/api/v3/klines?symbol=BTCUSDT&interval=1m&limit=2", init);
        await same("/api/v3/time", init);
      }
    });

    test("a time zone whose candles are those of UTC is served, another one refused", async () => {
      for (const zone of ["8", "-1:00", "05:00", "14"]) {
        await same(`/api/v3/klines?symbol=BTCUSDT&interval=1h&limit=3&timeZone=${zone}`);
        const day = `/api/v3/klines?symbol=BTCUSDT&interval=1d&timeZone=${zone}`;
        const refused = await ask(server.url, day);
        assert.equal(refused.status, 400);
        assert.equal(JSON.parse(refused.text).code, -1130);
      }
      const half = await ask(
        server.url,
        "/api/v3/klines?symbol=BTCUSDT&interval=1h&timeZone=05:45",
      );
      assert.equal(JSON.parse(half.text).code, -1130);
      await same("/api/v3/klines?symbol=BTCUSDT&interval=1m&limit=3&timeZone=05:45");
    });

    test("what is not collected is unknown, and the message says which", async () => {
      for (const [query, msg] of [
        ["symbol=ETHUSDT&interval=1m", "Invalid symbol. ETHUSDT is not collected by this server."],
        [
          "symbol=BTCUSDT&interval=5m",
          "Invalid symbol. BTCUSDT is collected here at 1m, 1h, 1d, 1M, not at 5m.",
        ],
      ] as const) {
        const { status, text } = await ask(server.url, `/api/v3/klines?${query}`);
        assert.deepEqual([status, JSON.parse(text)], [400, { code: -1121, msg }]);
      }
    });
  });

  describe("the other paths", () => {
    test("ping, time and their parameters", async () => {
      for (const path of ["ping", "time"]) {
        await same(`/api/v3/${path}`);
        await same(`/api/v3/${path}?x=1`);
      }
    });

    test("exchangeInfo says of each collected symbol what the exchange says", async () => {
      const theirs = JSON.parse((await ask(simulator.url, "/api/v3/exchangeInfo")).text);
      const ours = JSON.parse((await ask(server.url, "/api/v3/exchangeInfo")).text);
      const collected = new Set(COLLECTED.map(({ symbol }) => symbol));
      assert.deepEqual(
        ours.symbols,
        theirs.symbols.filter(({ symbol }: { symbol: string }) => collected.has(symbol)),
      );
      assert.equal(ours.serverTime, NOW);
      assert.deepEqual(
        ours.rateLimits.map(({ limit }: { limit: number }) => limit),
        [6_000, 100, 61_000],
      );
      const limits = /"rateLimits":\[.*?\],/;
      for (const query of [
        "symbol=BTCUSDT",
        'symbols=["币安人生USDT","BTCUSDT"]',
        "symbol=BTCUSDT&showPermissionSets=false",
        "symbol=BTCUSDT&symbols=[]",
        "symbols=x",
        "symbols={}",
        'symbols=["btcusdt"]',
        "symbol=NOPE",
        "symbol=",
        "symbolStatus=TRADING&symbol=BTCUSDT",
        "symbolStatus=GONE",
        "symbolStatus=HALT",
        "permissions=TRD_GRP_9",
        "x=1",
      ]) {
        const path = `/api/v3/exchangeInfo?${new URLSearchParams(query)}`;
        const [a, b] = await Promise.all([ask(simulator.url, path), ask(server.url, path)]);
        const shown = ({ text }: Told): string =>
          text.replace(limits, "").replace(/(Invalid symbol\.)[^"]*/, "$1");
        assert.deepEqual([b.status, shown(b)], [a.status, shown(a)], query);
      }
    });

    test("a symbol that was never listed is derived from its name", async () => {
      const store = await openStore({ url: database.url });
      const series = { exchange: "binance", symbol: "OLDFDUSD", timeframe: "1h" } as const;
      const [candle] = (await store.latest({ ...series, symbol: "BTCUSDT" }, 1)).map(
        (one) => one.candle,
      );
      assert.ok(candle !== undefined);
      await store.write([{ series, candle, source: "csv", observedTime: NOW }], []);
      await store.close();
      const other = await serveCompatible({ databaseUrl: database.url, now: () => NOW });
      try {
        const { text } = await ask(other.url, "/api/v3/exchangeInfo?symbol=OLDFDUSD");
        const [info] = JSON.parse(text).symbols;
        assert.deepEqual(
          [info.baseAsset, info.quoteAsset, info.status, info.filters[0].tickSize],
          ["OLD", "FDUSD", "TRADING", "0.00000001"],
        );
      } finally {
        await other.close();
      }
    });

    test("whatever else a bot asks for is refused in one way", async () => {
      for (const [method, path] of [
        ["GET", "/api/v3/ticker/24hr"],
        ["POST", "/api/v3/order"],
        ["DELETE", "/api/v3/openOrders"],
        ["POST", "/api/v3/klines"],
      ] as const) {
        const body = method === "POST" ? { body: new URLSearchParams({ a: "1" }) } : {};
        const { status, text } = await ask(server.url, path, { method, ...body });
        assert.equal(status, 404);
        const { code, msg } = JSON.parse(text);
        assert.equal(code, -5000);
        assert.match(msg, new RegExp(`^Path ${path}, Method ${method} is invalid\\. `));
      }
      const head = await fetch(`${server.url}/api/v3/klines?symbol=BTCUSDT&interval=1m`, {
        method: "HEAD",
      });
      assert.equal(head.status, 200);
      assert.equal(await head.text(), "");
    });
  });

  describe("limits", () => {
    test("weight is counted in the headers, and over the limit there is 429 until the minute ends", async () => {
      const other = await serveCompatible({ databaseUrl: database.url, now: () => NOW });
      try {
        const first = await ask(other.url, "/api/v3/klines?symbol=BTCUSDT&interval=1m&limit=1");
        assert.equal(first.headers.get("x-mbx-used-weight-1m"), "2");
        assert.equal(first.headers.get("date"), new Date(NOW).toUTCString());
        assert.equal(first.headers.get("content-type"), "application/json;charset=UTF-8");
        const second = await ask(other.url, "/api/v3/exchangeInfo");
        assert.equal(second.headers.get("x-mbx-used-weight"), "22");
        for (let used = 22; used + 20 <= 6_000; used += 20) {
          assert.equal((await ask(other.url, "/api/v3/exchangeInfo?symbol=BTCUSDT")).status, 200);
        }
        const over = await ask(other.url, "/api/v3/exchangeInfo");
        assert.equal(over.status, 429);
        assert.equal(over.headers.get("retry-after"), "30");
        assert.deepEqual(JSON.parse(over.text), {
          code: -1003,
          msg: "Too much request weight used; current limit is 6000 request weight per 1 MINUTE. Please use WebSocket Streams for live updates to avoid polling the API.",
        });
        // No ban: whoever else is on this machine has the same address.
        for (let more = 0; more < 30; more += 1) {
          assert.equal((await ask(other.url, "/api/v3/ping")).status, 429);
        }
      } finally {
        await other.close();
      }
    });

    test("the token is taken as the API key, and its lack told as the exchange would", async () => {
      const token = "0123456789abcdefghijklmn";
      const other = await serveCompatible({ databaseUrl: database.url, now: () => NOW, token });
      try {
        const refused = await ask(other.url, "/api/v3/ping");
        assert.equal(refused.status, 401);
        assert.equal(JSON.parse(refused.text).code, -2015);
        const taken = await ask(other.url, "/api/v3/ping", { headers: { "X-MBX-APIKEY": token } });
        assert.deepEqual([taken.status, taken.text], [200, "{}"]);
      } finally {
        await other.close();
      }
    });

    test("nothing was answered with an error of the program", () => {
      assert.deepEqual(server.faults, []);
    });
  });
});
