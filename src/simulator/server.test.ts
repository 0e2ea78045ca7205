import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after, before, beforeEach, describe, test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { WebSocket } from "ws";
import type { Clock } from "../core/ports.ts";
import type { MarketCandle } from "./market.ts";
import type { SimulatorOptions } from "./options.ts";
import { SeededMarket } from "./seeded-market.ts";
import { seededSymbols } from "./seeded-symbols.ts";
import { type Simulator, startSimulator } from "./server.ts";

const START = Date.UTC(2025, 5, 2, 10, 0, 30);
const MINUTE = 60_000;
const NAMES = ["BTCUSDT", "ETHUSDT", "NXSBTC", "币安人生USDT"];

/** Stands still until told; only I/O passes by itself. */
class HandClock implements Clock {
  /** How often somebody began to wait: after each round of the exchange's loop. */
  rounds = 0;
  #now = START;
  now(): number {
    return this.#now;
  }
  monotonic(): number {
    return this.#now;
  }
  async sleep(_ms: number, signal: AbortSignal): Promise<void> {
    this.rounds++;
    await wait(1, undefined, { signal });
  }
  pass(ms: number): void {
    this.#now += ms;
  }
}

interface KlineText {
  readonly e: string;
  readonly E: number;
  readonly k: Readonly<Record<string, string | number | boolean>>;
}

/** A client that remembers what came. */
class Client {
  readonly ws: WebSocket;
  readonly texts: string[] = [];
  readonly pings: string[] = [];
  closed: { code: number; reason: string } | undefined;

  constructor(url: string, options: { autoPong?: boolean } = {}) {
    this.ws = new WebSocket(url, options);
    this.ws.on("message", (data) => this.texts.push(String(data)));
    this.ws.on("ping", (data) => this.pings.push(String(data)));
    this.ws.on("error", () => this.ws.terminate());
    this.ws.on("close", (code, reason) => {
      this.closed = { code, reason: String(reason) };
    });
  }

  get frames(): KlineText[] {
    return this.texts
      .map((text) => JSON.parse(text))
      .map((message) => message.data ?? message)
      .filter((message) => message.e === "kline");
  }

  get finals(): KlineText[] {
    return this.frames.filter(({ k }) => k.x === true);
  }

  async say(message: unknown): Promise<string> {
    const count = this.texts.length;
    this.ws.send(typeof message === "string" ? message : JSON.stringify(message));
    await until(() => this.texts.length > count);
    return this.texts.at(-1) ?? "";
  }
}

async function until(condition: () => boolean, what = String(condition)): Promise<void> {
  const end = performance.now() + 5_000;
  while (performance.now() < end) {
    if (condition()) return;
    await wait(1);
  }
  throw new assert.AssertionError({ message: `never: ${what}` });
}

const codeOf = (client: Client): number | undefined => client.closed?.code;

/** Time for everything that is on its way to arrive. */
const settle = (): Promise<void> => wait(25);

let clock: HandClock;
let sim: Simulator;

const restart = async (options: Partial<SimulatorOptions> = {}): Promise<void> => {
  await sim?.close();
  clock = new HandClock();
  sim = await startSimulator({
    market: new SeededMarket({ symbols: seededSymbols(NAMES), listedAt: Date.UTC(2025, 4, 31) }),
    clock,
    ...options,
  });
};

const open = async (path: string, options: { autoPong?: boolean } = {}): Promise<Client> => {
  const client = new Client(sim.wsUrl + path, options);
  await until(() => client.ws.readyState === WebSocket.OPEN || client.closed !== undefined, path);
  return client;
};

const get = (path: string, init: RequestInit = {}): Promise<Response> =>
  fetch(sim.url + path, init);
const rows = async (query: string): Promise<(string | number)[][]> =>
  JSON.parse(await (await get(`/api/v3/klines?${query}`)).text());

/** Passes time in steps of a tick, so that everything due in between is sent in order. */
const play = async (ms: number, stepMs = 500): Promise<void> => {
  for (let passed = 0; passed < ms; passed += stepMs) {
    const { rounds } = clock;
    clock.pass(Math.min(stepMs, ms - passed));
    await until(() => clock.rounds > rounds);
  }
  await settle();
};

after(async () => {
  await sim.close();
});

describe("REST", () => {
  before(() => restart());
  beforeEach(() => sim.faults.clear());

  test("ping, time and the headers of every answer", async () => {
    const ping = await get("/api/v3/ping");
    assert.equal(await ping.text(), "{}");
    assert.equal(ping.headers.get("content-type"), "application/json;charset=UTF-8");
    assert.equal(ping.headers.get("date"), new Date(START).toUTCString());
    assert.ok(ping.headers.get("x-mbx-uuid"));
    assert.equal(ping.headers.get("x-mbx-used-weight-1m"), "1");
    const time = await get("/api/v3/time", { headers: { "X-MBX-TIME-UNIT": "MICROSECOND" } });
    assert.deepEqual(await time.json(), { serverTime: START * 1_000 });
    assert.equal(time.headers.get("x-mbx-used-weight"), "2");
    const bad = await get("/api/v3/time", { headers: { "X-MBX-TIME-UNIT": "NANOSECOND" } });
    assert.equal(bad.status, 400);
    assert.match(await bad.text(), /-1194/);
    assert.equal((await get("/api/v1/klines")).status, 404);
  });

  test("exchangeInfo, whole or in part, gzipped", async () => {
    const whole = await get("/api/v3/exchangeInfo");
    assert.equal(whole.headers.get("content-encoding"), "gzip");
    const info = JSON.parse(await whole.text());
    assert.deepEqual(
      info.symbols.map(({ symbol }: { symbol: string }) => symbol),
      NAMES,
    );
    assert.equal(info.symbols[0].status, "TRADING");
    assert.equal(info.rateLimits[0].limit, 6_000);
    const some = await get(
      `/api/v3/exchangeInfo?symbols=${encodeURIComponent('["ETHUSDT","币安人生USDT"]')}`,
    );
    assert.equal(JSON.parse(await some.text()).symbols.length, 2);
    const none = await get("/api/v3/exchangeInfo?symbol=NOPE");
    assert.deepEqual(await none.json(), { code: -1121, msg: "Invalid symbol." });
    const halted = await get("/api/v3/exchangeInfo?symbolStatus=HALT");
    assert.deepEqual(JSON.parse(await halted.text()).symbols, []);
  });

  test("klines are what the market says", async () => {
    const [first, open] = await rows("symbol=BTCUSDT&interval=1m&limit=2");
    const minute = Math.floor(START / MINUTE) * MINUTE;
    assert.equal(first?.[0], minute - MINUTE);
    assert.equal(open?.[6], minute + MINUTE - 1);
    const candle = sim.market.candle({ symbol: "BTCUSDT", interval: "1m" }, minute - MINUTE, START);
    assert.equal(first?.[4], candle?.close);
    assert.equal((await rows("symbol=BTCUSDT&interval=1s&limit=5000")).length, 1_000);
  });

  test("wrong answers", async () => {
    const path = "/api/v3/klines?symbol=BTCUSDT&interval=1m&limit=3";
    const answer = async (): Promise<[number, string, string | null]> => {
      const response = await get(path);
      return [response.status, await response.text(), response.headers.get("retry-after")];
    };
    const [, whole] = await answer();
    const rest = { kind: "rest", count: 1, path: "klines" } as const;
    sim.faults.set({ ...rest, answer: "429", retryAfter: 7 });
    const limited = await answer();
    assert.equal(limited[0], 429);
    assert.equal(limited[2], "7");
    assert.match(
      limited[1],
      /^\{"code":-1003,"msg":"Too much request weight used; current limit is 6000 /,
    );
    sim.faults.set({ ...rest, answer: "429", retryAfter: null });
    assert.equal((await answer())[2], null);
    sim.faults.set({ ...rest, answer: "429", retryAfter: "soon" });
    assert.equal((await answer())[2], "soon");
    for (const [fault, status, body] of [
      ["403", 403, /^<!DOCTYPE html>/],
      ["451", 451, /^\{"code":0,"msg":"Service unavailable from a restricted location/],
      ["500", 500, /-1000/],
      ["503", 503, /-1008/],
      ["html", 200, /^<!DOCTYPE html>/],
      ["empty", 200, /^$/],
      ["object", 200, /^\{\}$/],
    ] as const) {
      sim.faults.set({ ...rest, answer: fault });
      const [gotStatus, gotBody] = await answer();
      assert.equal(gotStatus, status, fault);
      assert.match(gotBody, body);
    }
    sim.faults.set({ ...rest, answer: "truncated" });
    assert.equal((await answer())[1], whole.slice(0, whole.length / 2));
    sim.faults.set({ ...rest, answer: "timeout" });
    await assert.rejects(get(path, { signal: AbortSignal.timeout(50) }), { name: "TimeoutError" });
    assert.equal((await answer())[1], whole);
  });

  test("a lagging replica shows the market of then", async () => {
    const minute = Math.floor(START / MINUTE) * MINUTE;
    const query = `symbol=BTCUSDT&interval=1m&startTime=${minute - MINUTE}`;
    sim.faults.set({ kind: "restLag", ms: 45_000 });
    const series = { symbol: "BTCUSDT", interval: "1m" } as const;
    const then = sim.market.candle(series, minute - MINUTE, START - 45_000);
    const lagging = await rows(query);
    assert.equal(lagging.length, 1);
    assert.equal(lagging[0]?.[5], then?.volume);
    sim.faults.clear();
    assert.equal((await rows(query)).length, 2);
  });

  test("a skewed clock shows in /time and Date, not in the market", async () => {
    sim.faults.set({ kind: "clockSkew", ms: -600_000 });
    const response = await get("/api/v3/time");
    assert.deepEqual(await response.json(), { serverTime: START - 600_000 });
    assert.equal(response.headers.get("date"), new Date(START - 600_000).toUTCString());
    const [last] = await rows("symbol=BTCUSDT&interval=1m&limit=1");
    assert.ok(Number(last?.[6]) > START);
  });

  test("a symbol that is halted or delisted says so and is traded no more", async () => {
    const status = async (): Promise<string | undefined> =>
      JSON.parse(await (await get("/api/v3/exchangeInfo")).text()).symbols.find(
        ({ symbol }: { symbol: string }) => symbol === "NXSBTC",
      )?.status;
    const halt = sim.faults.set({ kind: "symbolStatus", symbol: "NXSBTC", status: "CANCEL_ONLY" });
    assert.equal(await status(), "CANCEL_ONLY");
    clock.pass(5 * MINUTE);
    sim.faults.clear(halt);
    clock.pass(2 * MINUTE);
    sim.faults.set({ kind: "delist", symbol: "NXSBTC" });
    clock.pass(5 * MINUTE);
    const from = Math.floor(START / MINUTE) * MINUTE;
    const offsets = (await rows(`symbol=NXSBTC&interval=1m&startTime=${from}`)).map(
      ([openTime]) => (Number(openTime) - from) / MINUTE,
    );
    assert.deepEqual(offsets, [0, 5, 6, 7]);
    assert.equal(await status(), "BREAK");
  });
});

describe("limits of REST", () => {
  test("429, then 418 with growing bans, all in the journal", async () => {
    await restart({ limits: { weightPerMinute: 4, requestsAfter429: 2 } });
    const statuses: number[] = [];
    let last = await get("/api/v3/ping");
    for (let sent = 0; sent < 7; sent++) {
      last = await get("/api/v3/ping");
      statuses.push(last.status);
    }
    assert.deepEqual(statuses, [200, 200, 200, 429, 429, 418, 418]);
    assert.equal(last.headers.get("retry-after"), "120");
    assert.match(await last.text(), new RegExp(`IP banned until ${START + 120_000}\\.`));
    clock.pass(119_000);
    assert.equal((await get("/api/v3/ping")).status, 418);
    const { violations, requests, maxWeightPerMinute } = sim.journal.counts();
    assert.deepEqual(violations, { weight: 2, requestDuringBan: 1 });
    assert.equal(requests["/api/v3/ping 418"], 3);
    assert.equal(maxWeightPerMinute, 7);
    clock.pass(1_000);
    assert.equal((await get("/api/v3/ping")).status, 200);
  });

  test("a declared ban answers 418 to everything until it ends", async () => {
    await restart();
    sim.faults.set({ kind: "ban", ms: 30_000 });
    const first = await get("/api/v3/time");
    assert.equal(first.status, 418);
    assert.equal(first.headers.get("retry-after"), "30");
    assert.equal(sim.journal.counts().violations.requestDuringBan, undefined);
    clock.pass(10_000);
    await get("/api/v3/klines?symbol=BTCUSDT&interval=1m");
    assert.equal(sim.journal.counts().violations.requestDuringBan, 1);
    clock.pass(20_000);
    assert.equal((await get("/api/v3/time")).status, 200);
  });

  test("a request before the end of Retry-After is noted", async () => {
    await restart();
    sim.faults.set({ kind: "rest", answer: "429", retryAfter: 10, count: 1 });
    await get("/api/v3/time");
    clock.pass(9_999);
    await get("/api/v3/time");
    clock.pass(1);
    await get("/api/v3/time");
    assert.deepEqual(sim.journal.counts().violations, { requestDuringHold: 1 });
  });
});

describe("streams", () => {
  before(() => restart());
  beforeEach(() => sim.faults.clear());

  test("bring each candle's growth and its end, as REST has it", async () => {
    const names = ["btcusdt@kline_1s", "btcusdt@kline_1m", "nxsbtc@kline_1m", "btcusdt@kline_3m"];
    const client = await open(`/ws/${names.join("/")}`);
    await play(4 * MINUTE);
    client.ws.close();
    const minutes = client.finals.filter(({ k }) => k.i === "1m" && k.s === "BTCUSDT");
    assert.ok(minutes.length >= 3, String(minutes.length));
    for (const { E, k } of client.finals) {
      assert.ok(E > Number(k.T) && E <= Number(k.T) + 1_301);
      const row = await rows(`symbol=${k.s}&interval=${k.i}&startTime=${k.t}&limit=1`);
      const shown = [k.t, k.o, k.h, k.l, k.c, k.v, k.T, k.q, k.n, k.V, k.Q, k.B];
      assert.deepEqual(row[0], shown);
      if (k.n === 0) assert.equal(k.f, -1);
    }
    for (const name of ["1s", "1m"]) {
      const frames = client.frames.filter(({ k }) => k.i === name && k.s === "BTCUSDT");
      const order = frames.map(({ k }) => Number(k.t) * 2 + (k.x === true ? 1 : 0));
      assert.deepEqual(
        order,
        [...order].sort((a, b) => a - b),
      );
    }
    const seconds = client.finals.filter(({ k }) => k.i === "1s");
    const opens = seconds.map(({ k }) => Number(k.t));
    assert.ok(opens.length >= 238, String(opens.length));
    assert.ok(
      opens.every((open, index) => index === 0 || open === (opens[index - 1] ?? 0) + 1_000),
    );
  });

  test("push at most every two seconds, and only what changed", async () => {
    const client = await open("/ws/btcusdt@kline_1h/nxsbtc@kline_1h");
    await play(20_000);
    const busy = client.frames.filter(({ k }) => k.s === "BTCUSDT");
    assert.ok(busy.length >= 9 && busy.length <= 11, String(busy.length));
    const counts = client.frames.filter(({ k }) => k.s === "NXSBTC").map(({ k }) => k.n);
    assert.equal(new Set(counts).size, counts.length);
    client.ws.close();
  });

  test("combined, microseconds, UTC+8 and symbols of any script", async () => {
    const path = `/stream?streams=${encodeURIComponent("币安人生usdt@kline_1s")}/btcusdt@kline_1d@+08:00&timeUnit=MICROSECOND`;
    const client = await open(path);
    await play(5_000);
    const streams = client.texts.map((text) => JSON.parse(text).stream);
    assert.ok(
      streams.includes("币安人生usdt@kline_1s") && streams.includes("btcusdt@kline_1d@+08:00"),
    );
    const day = client.frames.find(({ k }) => k.i === "1d");
    assert.equal((Number(day?.k.t) / 1_000) % (24 * 60 * MINUTE), 16 * 60 * MINUTE);
    assert.equal(Number(day?.k.T) - Number(day?.k.t), 24 * 60 * MINUTE * 1_000 - 1);
    assert.equal(String(day?.E).length, 16);
    client.ws.close();
  });

  test("SUBSCRIBE, UNSUBSCRIBE, LIST_SUBSCRIPTIONS and the combined property", async () => {
    const client = await open("/ws");
    const id = "6a1b0c2d3e4f5061728394a5b6c7d8e9";
    assert.equal(
      await client.say({
        method: "SUBSCRIBE",
        params: ["btcusdt@kline_1s", "BTCUSDT@kline_1m"],
        id,
      }),
      `{"result":null,"id":"${id}"}`,
    );
    assert.equal(
      await client.say({ method: "LIST_SUBSCRIPTIONS", id: 3 }),
      '{"result":["btcusdt@kline_1s","BTCUSDT@kline_1m"],"id":3}',
    );
    await client.say({ method: "SET_PROPERTY", params: ["combined", true], id: 4 });
    assert.equal(
      await client.say({ method: "GET_PROPERTY", params: ["combined"], id: 5 }),
      '{"result":true,"id":5}',
    );
    await play(3_000);
    assert.equal(JSON.parse(client.texts.at(-1) ?? "").stream, "btcusdt@kline_1s");
    await client.say({ method: "UNSUBSCRIBE", params: ["btcusdt@kline_1s"], id: 6 });
    const count = client.texts.length;
    await play(3_000);
    assert.equal(client.texts.length, count);
    clock.pass(1_000);
    await client.say({ method: "SUBSCRIBE", params: ["@@@x###"], id: 7 });
    await until(() => client.closed !== undefined);
    assert.match(client.texts.at(-1) ?? "", /Invalid request: invalid stream/);
  });

  test("missing, doubled, late, stale and reordered frames", async () => {
    const client = await open("/ws/btcusdt@kline_1s");
    const finalsOf = async (ms: number): Promise<KlineText[]> => {
      client.texts.length = 0;
      await play(ms);
      return client.finals;
    };
    sim.faults.set({ kind: "missingFinal" });
    assert.equal((await finalsOf(5_000)).length, 0);
    assert.ok(client.frames.length > 0);
    sim.faults.clear();
    sim.faults.set({ kind: "duplicateFinal" });
    const doubled = (await finalsOf(5_000)).map(({ k }) => k.t);
    assert.equal(doubled.length, 2 * new Set(doubled).size);
    sim.faults.clear();
    sim.faults.set({ kind: "staleForming" });
    await finalsOf(5_000);
    const closedFirst = client.frames.some(
      ({ k }, index) => k.x === true && client.frames[index + 1]?.k.t === k.t,
    );
    assert.ok(closedFirst);
    sim.faults.clear();
    sim.faults.set({ kind: "lateFinal", ms: 3_000 });
    const late = await finalsOf(8_000);
    assert.ok(late.slice(1).every(({ E, k }) => E - Number(k.T) > 3_000));
    assert.ok(late.length >= 4);
    sim.faults.clear();
    await play(4_000);
    sim.faults.set({ kind: "reorder", count: 1 });
    await finalsOf(4_000);
    const times = client.frames.map(({ E }) => E);
    assert.notDeepEqual(
      times,
      [...times].sort((a, b) => a - b),
    );
    client.ws.close();
  });

  test("silence of one stream leaves the others and the pings", async () => {
    const client = await open("/ws/btcusdt@kline_1s/ethusdt@kline_1s");
    sim.faults.set({ kind: "silence", streams: ["btcusdt@kline_1s"] });
    await play(25_000);
    assert.ok(client.pings.length === 1 && /^\d{13}$/.test(client.pings[0] ?? ""));
    assert.deepEqual([...new Set(client.frames.map(({ k }) => k.s))], ["ETHUSDT"]);
    client.ws.close();
  });

  test("a subscription that is acknowledged and stays silent", async () => {
    sim.faults.set({ kind: "silentSubscribe" });
    const client = await open("/stream");
    assert.equal(
      await client.say({ method: "SUBSCRIBE", params: ["btcusdt@kline_1s"], id: 1 }),
      '{"result":null,"id":1}',
    );
    sim.faults.clear();
    await play(3_000);
    assert.equal(client.frames.length, 0);
    client.ws.close();
  });

  test("an outage leaves a hole in stream and REST alike", async () => {
    const client = await open("/ws/btcusdt@kline_1m");
    const from = Math.ceil(clock.now() / MINUTE) * MINUTE;
    await play(from - clock.now());
    sim.faults.set({ kind: "outage", forMs: 3 * MINUTE });
    await play(6 * MINUTE, 1_000);
    const opens = client.finals.map(({ k }) => (Number(k.t) - from) / MINUTE);
    assert.deepEqual(opens, [-1, 3, 4]);
    const stored = await rows(`symbol=BTCUSDT&interval=1m&startTime=${from - MINUTE}`);
    assert.deepEqual(
      stored.map(([openTime]) => (Number(openTime) - from) / MINUTE),
      [-1, 3, 4, 5, 6].slice(0, stored.length),
    );
    client.ws.close();
  });

  test("a correction comes after the stream's final frame", async () => {
    sim.faults.set({ kind: "corrections", share: 1, delayMs: 1_000 });
    const client = await open("/ws/btcusdt@kline_1m");
    await play(2 * MINUTE);
    const [final] = client.finals;
    const [row] = await rows(`symbol=BTCUSDT&interval=1m&startTime=${final?.k.t}&limit=1`);
    assert.notEqual(row?.[5], final?.k.v);
    client.ws.close();
  });
});

describe("sockets", () => {
  test("no pong for a minute: 1008 Pong timeout", async () => {
    await restart();
    const mute = await open("/ws/btcusdt@kline_1m", { autoPong: false });
    const polite = await open("/ws/btcusdt@kline_1m");
    await play(85_000, 5_000);
    assert.deepEqual(mute.closed, { code: 1008, reason: "Pong timeout" });
    assert.equal(polite.closed, undefined);
    assert.equal(sim.journal.counts().violations.pong, 1);
    polite.ws.close();
  });

  test("empty pongs keep nothing alive; wrong ones are only refused in strict mode", async () => {
    await restart({ switches: { strictPongs: true } });
    const empty = await open("/ws", { autoPong: false });
    const wrong = await open("/ws", { autoPong: false });
    await play(20_000, 5_000);
    wrong.ws.pong("undefined");
    for (let minute = 0; minute < 7; minute++) {
      empty.ws.pong();
      await play(10_000, 5_000);
    }
    assert.equal(wrong.closed?.reason, "Invalid pong payload");
    assert.equal(empty.closed?.reason, "Pong timeout");
  });

  test("six client frames in a second are one too many, pings and pongs counted", async () => {
    await restart();
    const calm = await open("/ws");
    const hasty = await open("/ws");
    for (let sent = 0; sent < 5; sent++) {
      calm.ws.ping();
      hasty.ws.ping();
    }
    hasty.ws.pong();
    await until(() => hasty.closed !== undefined);
    clock.pass(1_000);
    calm.ws.pong();
    await settle();
    assert.deepEqual(hasty.closed, { code: 1008, reason: "Too many requests" });
    assert.equal(calm.closed, undefined);
    const counts = sim.journal.counts();
    assert.equal(counts.maxMessagesPerSecond, 6);
    assert.equal(counts.violations.messages, 1);
    calm.ws.close();
  });

  test("1024 streams a socket, whether they exist or not", async () => {
    await restart();
    const client = await open("/stream");
    const names = Array.from({ length: 1_025 }, (_, index) => `s${index}@kline_1m`);
    assert.equal(
      await client.say({ method: "SUBSCRIBE", params: names, id: 19 }),
      '{"error":{"code":4,"msg":"Too many subscriptions"},"id":19}',
    );
    assert.equal(
      await client.say({ method: "SUBSCRIBE", params: names.slice(1), id: 20 }),
      '{"result":null,"id":20}',
    );
    assert.equal(sim.journal.counts().maxStreamsPerSocket, 1_024);
    client.ws.close();
  });

  test("a day's life, with a notice where it is switched on", async () => {
    await restart({ limits: { socketLifetimeMs: 30_000 }, switches: { shutdownNoticeMs: 10_000 } });
    const raw = await open("/ws");
    const combined = await open("/stream");
    await play(21_000, 1_000);
    assert.match(raw.texts[0] ?? "", /^\{"e":"serverShutdown","E":\d{13}\}$/);
    assert.match(
      combined.texts[0] ?? "",
      /^\{"stream":"!serverShutdown","data":\{"e":"serverShutdown","E":\d{13}\}\}$/,
    );
    assert.equal(raw.closed, undefined);
    await play(10_000, 1_000);
    assert.equal(codeOf(raw), 1001);
  });

  test("every way to lose a connection", async () => {
    await restart();
    for (const code of [1000, 1001, 1006, 1008]) {
      const client = await open("/ws/btcusdt@kline_1m");
      sim.faults.set({ kind: "drop", code });
      await until(() => client.closed !== undefined);
      assert.equal(client.closed?.code, code);
    }
    const older = await open("/ws");
    const newer = await open("/ws");
    sim.faults.set({ kind: "drop", code: 1001, sockets: 1 });
    await until(() => newer.closed !== undefined);
    assert.equal(older.closed, undefined);
    sim.faults.set({ kind: "cutMidFrame" });
    await until(() => older.closed !== undefined);
    assert.equal(codeOf(older), 1006);
    assert.equal(older.texts.length, 0);
    const told = await open("/ws");
    sim.faults.set({ kind: "serverShutdown", closeAfterMs: 1_000, code: 1000 });
    await until(() => told.texts.length === 1);
    await play(1_500);
    assert.equal(told.closed?.code, 1000);
    const counts = sim.journal.counts();
    assert.deepEqual(counts.closesSent, { 1000: 2, 1001: 2, 1006: 2, 1008: 1 });
    assert.equal(counts.openSockets, 0);
  });

  test("half-open: the socket stays, nothing else does", async () => {
    await restart();
    const client = await open("/ws/btcusdt@kline_1s");
    await play(3_000);
    sim.faults.set({ kind: "halfOpen" });
    await settle();
    const count = client.texts.length;
    client.ws.send('{"method":"LIST_SUBSCRIPTIONS","id":1}');
    await play(65_000, 5_000);
    assert.equal(client.texts.length, count);
    assert.equal(client.pings.length, 0);
    assert.equal(client.ws.readyState, WebSocket.OPEN);
    sim.faults.clear();
    const fresh = await open("/ws/btcusdt@kline_1s");
    await play(3_000);
    assert.ok(fresh.texts.length > 0);
    assert.equal(client.texts.length, count);
    client.ws.terminate();
    fresh.ws.close();
  });

  test("upgrades refused: by a fault, over 300 in five minutes, on unknown paths", async () => {
    await restart({ limits: { connectsPer5Minutes: 2 } });
    const statusOf = async (path: string): Promise<number | undefined> => {
      const ws = new WebSocket(sim.wsUrl + path);
      ws.on("error", () => ws.terminate());
      return await new Promise((resolve) => {
        ws.on("unexpected-response", (_request, response) => {
          resolve(response.statusCode);
          ws.terminate();
        });
        ws.on("open", () => {
          resolve(101);
          ws.terminate();
        });
      });
    };
    sim.faults.set({ kind: "refuseUpgrades", status: 503, count: 1 });
    assert.equal(await statusOf("/ws"), 503);
    assert.equal(await statusOf("/nowhere"), 404);
    assert.equal(await statusOf("/ws"), 101);
    assert.equal(await statusOf("/ws"), 429);
    clock.pass(5 * MINUTE);
    assert.equal(await statusOf("/ws"), 101);
    assert.equal(sim.journal.counts().refusedUpgradeCount, 3);
  });
});

describe("control and archive", () => {
  before(() => restart());

  test("faults are set and cleared over HTTP", async () => {
    const body = JSON.stringify({ kind: "restLag", ms: 1_000 });
    const set = await (await get("/sim/faults", { method: "POST", body })).json();
    assert.ok(typeof set === "object" && set !== null && "id" in set);
    const state = JSON.parse(await (await get("/sim/state")).text());
    assert.equal(state.faults[0].fault.kind, "restLag");
    assert.equal(state.now, START);
    assert.equal(state.symbols.length, NAMES.length);
    await get(`/sim/faults?id=${set.id}`, { method: "DELETE" });
    assert.deepEqual(sim.faults.active(), []);
    const bad = await get("/sim/faults", { method: "POST", body: '{"kind":"x"}' });
    assert.equal(bad.status, 400);
    const fromPage = await get("/sim/state", { headers: { Origin: "http://evil.example" } });
    assert.equal(fromPage.status, 403);
    const journal = JSON.parse(await (await get("/sim/journal")).text());
    assert.equal(journal.recent.at(-1).kind, "fault");
  });

  test("truth is every closed candle, and the archive says the same", async () => {
    const from = Date.UTC(2025, 5, 1);
    const query = `symbol=NXSBTC&interval=1m&from=${from}&to=${from + 24 * 60 * MINUTE}`;
    const truth: MarketCandle[] = (await (await get(`/sim/truth?${query}`)).text())
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    assert.equal(truth.length, 1_440);
    const path = "/data/spot/daily/klines/NXSBTC/1m/NXSBTC-1m-2025-06-01.zip";
    const zip = Buffer.from(await (await get(path)).arrayBuffer());
    const checksum = await (await get(`${path}.CHECKSUM`)).text();
    const hash = createHash("sha256").update(zip).digest("hex");
    assert.equal(checksum, `${hash}  NXSBTC-1m-2025-06-01.zip\n`);
    const { inflateRawSync } = await import("node:zlib");
    const start = 30 + zip.readUInt16LE(26);
    const csv = inflateRawSync(zip.subarray(start, start + zip.readUInt32LE(18))).toString();
    const [line] = csv.split("\n");
    const [first] = truth;
    assert.equal(line?.split(",")[0], `${first?.openTime}000`);
    assert.equal(csv.trimEnd().split("\n").length, 1_440);
    assert.ok(line?.includes(`,${first?.volume},${first?.closeTime}999,`));
    assert.equal((await get(path.replaceAll("06-01", "06-02"))).status, 404);
    const open = (await (await get("/sim/truth?symbol=BTCUSDT&interval=1d")).text())
      .trimEnd()
      .split("\n");
    assert.equal(open.length, 2);
  });
});
