/** TradingView's data feed over what the exchange has, while time stands still. */

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
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
const LISTED = Date.UTC(2025, 5, 1);
const NOW = Date.UTC(2025, 5, 3, 10, 0, 30, 250);
const HOLE = { from: LISTED + 600 * MINUTE, to: LISTED + 700 * MINUTE };
const SERIES: readonly Series[] = (["1m", "1h", "1d"] as const).map((timeframe) => ({
  exchange: "binance",
  symbol: "BTCUSDT",
  timeframe,
}));
const frozen = frozenClock(NOW);

let simulator: Simulator;
let database: TestDatabase;
let server: CompatibleServer;

const get = async (path: string): Promise<{ status: number; text: string }> => {
  const response = await fetch(`${server.url}/udf${path}`);
  return { status: response.status, text: await response.text() };
};
const json = async (path: string) => JSON.parse((await get(path)).text);
const seconds = (ms: number): number => ms / 1_000;

describe("the universal data feed", () => {
  before(async () => {
    simulator = await startSimulator({
      clock: frozen,
      market: new SeededMarket({
        symbols: seededSymbols(["BTCUSDT"]),
        listedAt: LISTED,
        outages: [HOLE],
      }),
    });
    database = await createTestDatabase(await sharedServer(), "migrated");
    const store = await openStore({ url: database.url });
    await collectAll(store, simulator, SERIES);
    const [series] = SERIES;
    assert.ok(series);
    await store.open([
      {
        ...{ series, range: HOLE, reason: "not-fetched", state: "open" },
        ...{ foundTime: NOW, emptyAnswers: 0, nextTryTime: NOW },
      },
    ]);
    await store.close();
    server = await serveCompatible({ databaseUrl: database.url, now: () => NOW });
  });
  after(async () => {
    await server?.close();
    await simulator?.close();
    await database?.drop();
  });

  test("says what it has", async () => {
    const config = await json("/config");
    assert.deepEqual(config.supported_resolutions, ["1", "60", "1D"]);
    assert.deepEqual(
      [config.supports_search, config.supports_group_request, config.supports_marks],
      [true, false, true],
    );
    assert.equal((await get("/time")).text, String(Math.floor(NOW / 1_000)));
    for (const name of ["BTCUSDT", "BINANCE:BTCUSDT", "binance:BTCUSDT"]) {
      const symbol = await json(`/symbols?symbol=${name}`);
      assert.deepEqual(
        [symbol.name, symbol.ticker, symbol.session, symbol.timezone, symbol.pricescale],
        ["BTCUSDT", "BINANCE:BTCUSDT", "24x7", "Etc/UTC", 100],
      );
      assert.deepEqual(symbol.intraday_multipliers, ["1", "60"]);
      assert.deepEqual([symbol.has_daily, symbol.has_seconds], [true, false]);
    }
    const found = await json("/search?query=btc&type=crypto&exchange=BINANCE&limit=10");
    assert.deepEqual([found.length, found[0].description], [1, "BTC / USDT"]);
    assert.deepEqual(await json("/search?query=btc&type=stock&exchange=&limit=10"), []);
    assert.deepEqual(await json("/search?query=xyz"), []);
  });

  test("history: from inclusive, to exclusive, digits as stored, the hole left out", async () => {
    const from = HOLE.from - 3 * MINUTE;
    const to = HOLE.to + 2 * MINUTE;
    const path = `/history?symbol=BTCUSDT&resolution=1&from=${seconds(from)}&to=${seconds(to)}`;
    const { text } = await get(path);
    const expected = [
      ...simulator.market.candles(
        { symbol: "BTCUSDT", interval: "1m" },
        { from, to },
        NOW,
        "ascending",
      ),
    ];
    assert.equal(expected.length, 5);
    const list = (of: (row: (typeof expected)[number]) => unknown): string =>
      expected.map(of).join(",");
    assert.equal(
      text,
      `{"s":"ok","t":[${list((row) => seconds(row.openTime))}],"o":[${list((row) => row.open)}],` +
        `"h":[${list((row) => row.high)}],"l":[${list((row) => row.low)}],"c":[${list((row) => row.close)}],` +
        `"v":[${list((row) => row.volume)}]}`,
    );
    assert.equal(JSON.parse(text).t[0], seconds(from));
  });

  test("counting back wins over from, and goes over a hole", async () => {
    const to = seconds(HOLE.to + MINUTE);
    const { t } = await json(
      `/history?symbol=BTCUSDT&resolution=1&from=${to - 60}&to=${to}&countback=4`,
    );
    assert.deepEqual(t, [
      seconds(HOLE.from - 3 * MINUTE),
      seconds(HOLE.from - 2 * MINUTE),
      seconds(HOLE.from - MINUTE),
      seconds(HOLE.to),
    ]);
    const days = await json(`/history?symbol=BTCUSDT&resolution=D&to=${seconds(NOW)}&countback=9`);
    assert.deepEqual(days.t, [seconds(LISTED), seconds(LISTED) + 86_400]);
  });

  test("no data says where the newest bar before is", async () => {
    const from = seconds(HOLE.from + 10 * MINUTE);
    assert.deepEqual(
      await json(`/history?symbol=BTCUSDT&resolution=1&from=${from}&to=${from + 600}`),
      { s: "no_data", nextTime: seconds(HOLE.from - MINUTE) },
    );
    const early = `/history?symbol=BTCUSDT&resolution=1&from=-100&to=${seconds(LISTED)}`;
    assert.deepEqual(await json(early), { s: "no_data" });
    assert.deepEqual(await json(`${early}&countback=10`), { s: "no_data" });
  });

  test("gaps are marks at the bar after them", async () => {
    const range = `from=${seconds(LISTED)}&to=${seconds(NOW)}`;
    const marks = await json(`/marks?symbol=BTCUSDT&resolution=1&${range}`);
    assert.deepEqual(marks.time, [seconds(HOLE.to)]);
    assert.match(
      marks.text[0],
      /^No candles from 2025-06-01 10:00 to 2025-06-01 11:40 UTC: not-fetched/,
    );
    assert.deepEqual((await json(`/marks?symbol=BTCUSDT&resolution=60&${range}`)).time, []);
  });

  test("mistakes are told as charts read them", async () => {
    for (const [path, errmsg] of [
      ["/symbols?symbol=NOPE", "unknown_symbol"],
      ["/symbols", "parameter symbol is missing"],
      ["/history?symbol=NOPE&resolution=1&from=1&to=2", "unknown_symbol"],
      [
        "/history?symbol=BTCUSDT&resolution=5&from=1&to=2",
        "resolution 5 is not collected; there is 1, 60, 1D",
      ],
      [
        "/history?symbol=BTCUSDT&resolution=1&from=x&to=2",
        "parameter from is not a time in seconds",
      ],
      ["/history?symbol=BTCUSDT&resolution=1&from=1", "parameter to is missing"],
      [
        "/history?symbol=BTCUSDT&resolution=1&from=1&to=2&countback=-1",
        "parameter countback is not a number of bars",
      ],
    ] as const) {
      const { status, text } = await get(path);
      assert.deepEqual([status, JSON.parse(text)], [200, { s: "error", errmsg }], path);
    }
    assert.deepEqual(server.faults, []);
  });
});
