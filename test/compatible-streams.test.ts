/** The streams of the server for other bots over real sockets: handshakes, subscriptions, limits, pings. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { request as httpRequest } from "node:http";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { WebSocket } from "ws";
import type { Candle } from "../src/core/candle.ts";
import type { Series } from "../src/core/series.ts";
import { openStore, type Store } from "../src/store/index.ts";
import { type CompatibleServer, serveCompatible } from "./support/compatible-server.ts";
import { createTestDatabase, sharedServer, type TestDatabase } from "./support/postgres.ts";

const MINUTE = 60_000;
const START = Date.UTC(2026, 0, 1, 10, 0, 30);
const SYMBOLS = ["BTCUSDT", "ETHUSDT", "币安人生USDT"];
const COLLECTED: readonly Series[] = SYMBOLS.flatMap((symbol) =>
  (["1m", "1h", "1d"] as const).map((timeframe) => ({ exchange: "binance", symbol, timeframe })),
);
const BTC: Series = { exchange: "binance", symbol: "BTCUSDT", timeframe: "1m" };

let now = START;
let database: TestDatabase;
let store: Store;
let server: CompatibleServer;
let clients: Client[] = [];

const candleAt = (minute: number, close = "1.50"): Candle => ({
  openTime: START - 30_000 + minute * MINUTE,
  closeTime: START - 30_001 + (minute + 1) * MINUTE,
  ...{ open: "1.00", high: "2.00", low: "0.50", close },
  ...{ volume: "3.00", quoteVolume: "4.00", tradeCount: 5 },
  ...{ takerBuyVolume: "1.00", takerBuyQuoteVolume: "2.00" },
});

const grow = (series: Series, candle: Candle): void =>
  server.feed.takeLive({ kind: "candle", series, candle, isClosed: false, eventTime: now });

async function until(condition: () => boolean, what = String(condition)): Promise<void> {
  const end = performance.now() + 8_000;
  while (!condition()) {
    if (performance.now() > end) throw new assert.AssertionError({ message: `never: ${what}` });
    await wait(2);
  }
}

/** A client that remembers what came. */
class Client {
  readonly ws: WebSocket;
  readonly texts: string[] = [];
  readonly pings: string[] = [];
  closed: { code: number; reason: string } | undefined;
  refusal: { status: number; body: string; retryAfter: string | undefined } | undefined;

  constructor(path: string, options: { autoPong?: boolean } = {}) {
    this.ws = new WebSocket(server.wsUrl + path, options);
    clients.push(this);
    this.ws.on("message", (data) => this.texts.push(String(data)));
    this.ws.on("ping", (data) => this.pings.push(String(data)));
    this.ws.on("error", () => undefined);
    this.ws.on("close", (code, reason) => {
      this.closed = { code, reason: String(reason) };
    });
    this.ws.on("unexpected-response", (_request, response) => {
      let body = "";
      response.on("data", (part) => {
        body += part;
      });
      response.on("end", () => {
        const retryAfter = response.headers["retry-after"];
        this.refusal = { status: response.statusCode ?? 0, body, retryAfter };
      });
    });
  }

  async say(message: unknown): Promise<string> {
    const count = this.texts.length;
    this.ws.send(typeof message === "string" ? message : JSON.stringify(message));
    await until(() => this.texts.length > count, `an answer to ${JSON.stringify(message)}`);
    return this.texts.at(-1) ?? "";
  }
}

const open = async (path: string, options: { autoPong?: boolean } = {}): Promise<Client> => {
  const client = new Client(path, options);
  await once(client.ws, "open");
  return client;
};

const refused = async (path: string): Promise<NonNullable<Client["refusal"]>> => {
  const client = new Client(path);
  await until(() => client.refusal !== undefined, `${path} is refused`);
  assert.ok(client.refusal);
  return client.refusal;
};

describe("the streams for other bots", () => {
  before(async () => {
    database = await createTestDatabase(await sharedServer(), "migrated");
    store = await openStore({ url: database.url });
    await store.begin({ mode: "websocket", host: "test", pid: process.pid }, COLLECTED);
  });
  after(async () => {
    await store?.close();
    await database?.drop();
  });
  beforeEach(async () => {
    now = START;
    server = await serveCompatible({ databaseUrl: database.url, now: () => now });
  });
  afterEach(async () => {
    for (const { ws } of clients) ws.terminate();
    clients = [];
    assert.deepEqual(server.faults, []);
    await server.close();
  });

  test("frames, raw and combined, in milliseconds and microseconds", async () => {
    const raw = await open("/ws/btcusdt@kline_1m");
    const combined = await open("/stream?streams=btcusdt%40kline_1m/ethusdt@kline_1m");
    const micro = await open("/stream/ws/btcusdt@kline_1m?timeUnit=MICROSECOND");
    grow(BTC, candleAt(0));
    await until(() => [raw, combined, micro].every(({ texts }) => texts.length === 1));
    const open_ = START - 30_000;
    const payload = (unit: 1 | 1_000): string =>
      `{"e":"kline","E":${START * unit},"s":"BTCUSDT","k":{"t":${open_ * unit},"T":${(open_ + MINUTE) * unit - 1},"s":"BTCUSDT","i":"1m","f":-1,"L":-1,` +
      `"o":"1.00","c":"1.50","h":"2.00","l":"0.50","v":"3.00","n":5,"x":false,"q":"4.00","V":"1.00","Q":"2.00","B":"0"}}`;
    assert.deepEqual(raw.texts, [payload(1)]);
    assert.deepEqual(combined.texts, [`{"stream":"btcusdt@kline_1m","data":${payload(1)}}`]);
    assert.deepEqual(micro.texts, [payload(1_000)]);
  });

  test("a closing frame follows the commit, whichever process writes", async () => {
    const client = await open("/ws/btcusdt@kline_1m");
    grow(BTC, candleAt(0));
    await until(() => client.texts.length === 1);
    now = START + 30_100;
    const candle = candleAt(0, "1.60");
    await store.write([{ series: BTC, candle, source: "stream", observedTime: now }], []);
    await until(() => client.texts.length === 2);
    assert.match(client.texts[1] ?? "", /"c":"1\.60".*"x":true/);
    assert.match(client.texts[1] ?? "", new RegExp(`"E":${now},`));
  });

  test("subscriptions come and go, with the exchange's answers", async () => {
    const client = await open("/ws");
    const names = ["btcusdt@kline_1m", "币安人生usdt@kline_1h"];
    assert.equal(
      await client.say({ method: "SUBSCRIBE", params: names, id: 1 }),
      '{"result":null,"id":1}',
    );
    assert.equal(
      await client.say({ method: "LIST_SUBSCRIPTIONS", id: "a1" }),
      `{"result":${JSON.stringify(names)},"id":"a1"}`,
    );
    assert.equal(
      await client.say({ method: "UNSUBSCRIBE", params: [names[1]], id: 2 }),
      '{"result":null,"id":2}',
    );
    assert.equal(
      await client.say({ method: "SET_PROPERTY", params: ["combined", true], id: 3 }),
      '{"result":null,"id":3}',
    );
    await wait(0);
    now += 1_000;
    assert.equal(
      await client.say({ method: "GET_PROPERTY", params: ["combined"], id: 4 }),
      '{"result":true,"id":4}',
    );
    assert.match(await client.say("nonsense"), /"code":3,"msg":"Invalid JSON/);
    grow(BTC, candleAt(0));
    await until(() => (client.texts.at(-1) ?? "").startsWith('{"stream":"btcusdt@kline_1m"'));
  });

  test("streams that would be silent for ever are refused, and none of their message taken", async () => {
    const client = await open("/stream");
    for (const [name, code, words] of [
      ["ethbtc@kline_1m", -1121, "ethbtc is not collected by this server"],
      ["btcusdt@kline_5m", -1121, "BTCUSDT is collected here at 1m, 1h, 1d, not at 5m"],
      ["BTCUSDT@kline_1m", -1121, "in lower case"],
      ["btcusdt@kline_7m", -1120, "There is no stream btcusdt@kline_7m"],
      ["btcusdt@kline_1d@+08:00", -1130, "Only candles of UTC"],
      ["btcusdt@trade", 2, "only kline streams"],
      ["!ticker@arr", 2, "only kline streams"],
    ] as const) {
      now += 1_000;
      const message = { method: "SUBSCRIBE", params: ["btcusdt@kline_1m", name], id: 7 };
      const { error, id } = JSON.parse(await client.say(message));
      assert.equal(id, 7);
      assert.equal(error.code, code);
      assert.ok(error.msg.includes(words), error.msg);
    }
    now += 1_000;
    assert.equal(await client.say({ method: "LIST_SUBSCRIPTIONS", id: 8 }), '{"result":[],"id":8}');
    // Hours are the same in every zone of whole hours.
    const shifted = { method: "SUBSCRIBE", params: ["btcusdt@kline_1h@+08:00", "0"], id: 9 };
    assert.equal(await client.say(shifted), '{"result":null,"id":9}');
    assert.match(
      await client.say({ method: "SUBSCRIBE", params: ["@@x#"], id: 10 }),
      /invalid stream/,
    );
    await until(() => client.closed?.code === 1008);
  });

  test("a handshake for such a stream is refused in words", async () => {
    const unknown = await refused("/ws/ethbtc@kline_1m");
    assert.equal(unknown.status, 400);
    assert.equal(JSON.parse(unknown.body).code, -1121);
    assert.equal((await refused("/stream?streams=btcusdt@kline_1m/btcusdt@depth")).status, 400);
    assert.equal((await refused("/stream/elsewhere")).status, 404);
    const many = Array.from({ length: 1_025 }, (_, index) => index).join("/");
    assert.equal((await refused(`/stream?streams=${many}`)).status, 400);
    // As ccxt numbers its connections.
    await open("/stream/ws/0");
  });

  test("1024 streams a connection, 5 messages a second", async () => {
    const client = await open("/ws");
    const numbers = (count: number): string[] => Array.from({ length: count }, (_, i) => String(i));
    const full = await client.say({ method: "SUBSCRIBE", params: numbers(1_024), id: 1 });
    assert.equal(full, '{"result":null,"id":1}');
    assert.match(
      await client.say({ method: "SUBSCRIBE", params: ["1024"], id: 2 }),
      /"code":4,"msg":"Too many subscriptions"/,
    );
    for (let sent = 0; sent < 4; sent += 1) client.ws.ping();
    await until(() => client.closed !== undefined);
    assert.deepEqual(client.closed, { code: 1008, reason: "Too many requests" });
  });

  test("a ping every 20 s; without a pong for a minute, and after 24 h, it ends", async () => {
    const [live, dumb] = await Promise.all([open("/ws"), open("/ws", { autoPong: false })]);
    for (const seconds of [20, 40, 60]) {
      now = START + seconds * 1_000;
      await until(() => live.pings.length === seconds / 20, `a ping at ${seconds} s`);
      assert.equal(live.pings.at(-1), String(now));
    }
    now = START + 80_001;
    await until(() => dumb.closed !== undefined, "the one that is silent is closed");
    assert.deepEqual(dumb.closed, { code: 1008, reason: "Pong timeout" });
    assert.equal(live.closed, undefined);
    now = START + 86_400_000;
    await until(() => live.closed !== undefined, "a day's life");
    assert.deepEqual(live.closed, { code: 1001, reason: "" });
  });

  test("300 handshakes in five minutes from one address", async () => {
    const knock = (): Promise<number> =>
      new Promise((resolve, reject) => {
        const request = httpRequest(`${server.url}/ws/nope@kline_1m`, {
          headers: {
            ...{ connection: "upgrade", upgrade: "websocket" },
            ...{ "sec-websocket-version": "13", "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==" },
          },
        });
        request.on("response", (response) => {
          response.resume();
          resolve(response.statusCode ?? 0);
        });
        request.on("error", reject);
        request.end();
      });
    for (let tries = 0; tries < 300; tries += 1) assert.equal(await knock(), 400);
    assert.equal(await knock(), 429);
    now += 5 * MINUTE + 1;
    await open("/ws/btcusdt@kline_1m");
  });

  test("a client that does not read gets no forming candles while it is behind, and others do", async () => {
    const [deaf, live] = await Promise.all([
      open("/ws/btcusdt@kline_1m"),
      open("/ws/btcusdt@kline_1m"),
    ]);
    deaf.ws.pause();
    const before = process.memoryUsage().arrayBuffers + process.memoryUsage().external;
    for (let burst = 0; burst < 60; burst += 1) {
      for (let frame = 0; frame < 1_000; frame += 1) grow(BTC, candleAt(0, `1.${frame}`));
      await wait(1);
    }
    await until(() => live.texts.length === 60_000, "all frames at the one that reads");
    const grown = process.memoryUsage().arrayBuffers + process.memoryUsage().external - before;
    assert.ok(grown < 40e6, `${grown} bytes`);
    deaf.ws.resume();
    await until(() => deaf.texts.length > 0);
    await wait(100);
    assert.ok(deaf.texts.length < 60_000, `${deaf.texts.length} frames`);
    assert.equal(deaf.closed, undefined);
  });

  test("a server that ends says so, and does not wait for who does not answer", async () => {
    const client = await open("/ws/btcusdt@kline_1m");
    const deaf = await open("/ws/btcusdt@kline_1m");
    deaf.ws.pause();
    const started = performance.now();
    await server.close();
    assert.ok(performance.now() - started < 5_000);
    await until(() => client.closed !== undefined);
    assert.deepEqual(client.closed, { code: 1001, reason: "" });
    server = await serveCompatible({ databaseUrl: database.url, now: () => now });
  });
});
