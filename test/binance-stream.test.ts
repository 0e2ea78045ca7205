import assert from "node:assert/strict";
import { createServer, type Socket } from "node:net";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { BlackTradeError } from "../src/core/errors.ts";
import { ExchangeTime } from "../src/core/exchange-time.ts";
import type { LiveEvent } from "../src/core/ports.ts";
import { createBinanceStream } from "../src/exchanges/binance/index.ts";
import { candleFrame, coins, follow } from "./support/binance-follower.ts";
import { scaledClock, virtualClock } from "./support/clocks.ts";
import { acknowledge, scriptedWs } from "./support/scripted-ws.ts";

const kinds = (events: readonly LiveEvent[]): string[] => events.map(({ kind }) => kind);

test("subscribes after connecting, in batches of 200, the first at once, the others 300 ms apart", async (t) => {
  const server = await scriptedWs(t);
  const series = coins(450);
  const clock = virtualClock();
  const follower = follow(t, series, { wsUrl: server.url, clock });
  const peer = await server.peer(0);
  const said = async (count: number): Promise<void> => {
    while (peer.controls.length < count) await pause(1);
    await pause(20);
    assert.equal(peer.controls.length, count);
  };
  await said(1);
  await clock.advance(299);
  await said(1);
  await clock.advance(1);
  await said(2);
  await clock.advance(299);
  await said(2);
  assert.deepEqual(follower.events, []);
  await clock.advance(1);
  const connected = await follower.event("connected");

  assert.equal(peer.request.url, "/stream");
  assert.equal(peer.request.headers["sec-websocket-extensions"], undefined, "no compression");
  assert.deepEqual(
    peer.controls.map(({ id, params }) => [id, params.length]),
    [
      [1, 200],
      [2, 200],
      [3, 50],
    ],
  );
  assert.equal(peer.streams.size, 450);
  assert.deepEqual(connected.series, series);
  assert.equal(server.peers.length, 1);
});

test("connected means: every SUBSCRIBE was acknowledged", async (t) => {
  const server = await scriptedWs(t, {
    onControl: (peer, control) => {
      if (control.id === 1) acknowledge(peer, control);
    },
  });
  const follower = follow(t, coins(4), {
    wsUrl: server.url,
    clock: scaledClock(20),
    subscribeBatch: 2,
  });
  await follower.record("connectFailed");
  assert.deepEqual(follower.events, []);
});

test("many series share sockets evenly, and the same ones share the same socket again", async (t) => {
  const server = await scriptedWs(t);
  const follower = follow(t, coins(250), {
    wsUrl: server.url,
    clock: scaledClock(50),
    maxStreamsPerSocket: 100,
  });
  await follower.event("connected", 3);
  const parts = server.peers.map(({ streams }) => [...streams].join());
  assert.deepEqual(server.peers.map(({ streams }) => streams.size).sort(), [82, 84, 84]);
  for (const { socket } of [...server.peers]) socket.terminate();
  await follower.event("connected", 6);
  assert.deepEqual(
    server.peers
      .slice(3)
      .map(({ streams }) => [...streams].join())
      .sort(),
    parts.sort(),
  );
});

test("candles come as they are, raw and combined, forming and closed", async (t) => {
  const [one, other] = coins(2);
  assert.ok(one && other);
  const server = await scriptedWs(t);
  const follower = follow(t, [one, other], { wsUrl: server.url, clock: scaledClock(20) });
  await follower.event("connected");
  const peer = await server.peer(0);
  const frame = candleFrame(one, { isClosed: true });
  peer.send(frame);
  peer.send(candleFrame(other).data);
  const first = await follower.event("candle");
  const second = await follower.event("candle", 2);
  assert.deepEqual(first, {
    kind: "candle",
    series: one,
    isClosed: true,
    eventTime: frame.data.E,
    candle: {
      openTime: frame.data.k.t,
      closeTime: frame.data.k.T,
      open: "1.0",
      high: "1.0",
      low: "1.0",
      close: "1.0",
      volume: "2",
      quoteVolume: "2",
      tradeCount: 2,
      takerBuyVolume: "1",
      takerBuyQuoteVolume: "1",
    },
  });
  assert.equal(second.series, other);
  assert.equal(second.isClosed, false);
  assert.ok(follower.exchangeTime.isKnown, "time stamps of events count");
});

test("a time stamp far beyond its candle does not move the time", async (t) => {
  const [one] = coins(1);
  assert.ok(one);
  const server = await scriptedWs(t);
  const clock = scaledClock(20);
  const follower = follow(t, [one], { wsUrl: server.url, clock });
  await follower.event("connected");
  const peer = await server.peer(0);
  const sound = candleFrame(one);
  const { data } = candleFrame(one);
  peer.send(sound);
  peer.send({ stream: sound.stream, data: { ...data, E: 4_000_000_000_000 } });
  peer.send(candleFrame(one, { isClosed: true }));
  await follower.event("candle", 2);
  const now = follower.exchangeTime.now(clock.monotonic());
  assert.ok(now >= sound.data.E && now < sound.data.E + 60_000, `${now}`);
});

test("frames that cannot be read, or that nobody asked for, are counted and change nothing", async (t) => {
  const [one, other] = coins(2);
  assert.ok(one && other);
  const server = await scriptedWs(t);
  const follower = follow(t, [one], { wsUrl: server.url, clock: scaledClock(20) });
  await follower.event("connected");
  const peer = await server.peer(0);
  const lying = { ...candleFrame(other), stream: candleFrame(one).stream };
  const utc8 = { ...candleFrame(one), stream: `${candleFrame(one).stream}@+08:00` };
  const refused = [
    "garbage",
    "",
    "[1]",
    { e: "trade", E: 1 },
    candleFrame(other),
    lying,
    utc8,
    { stream: candleFrame(one).stream, data: { e: "kline", E: 1 } },
  ];
  for (const frame of refused) peer.send(frame);
  peer.socket.send(Buffer.from([1, 2, 3]));
  peer.send(candleFrame(one));
  await follower.event("candle");
  const reasons = follower.records.flatMap((event) =>
    event.kind === "frameRefused" ? [event.reason] : [],
  );
  assert.equal(reasons.length, refused.length + 1, reasons.join("\n"));
  assert.equal(reasons.at(-1), "binary frame");
  assert.deepEqual(kinds(follower.events), ["connected", "candle"]);
  assert.equal(server.peers.length, 1);
});

const CLOSES: readonly (readonly [number | undefined, string, string])[] = [
  [1000, "", "socket closed 1000"],
  [1001, "", "socket closed 1001"],
  [1008, "Too many requests", "socket closed 1008 (Too many requests)"],
  [1008, "Pong timeout", "socket closed 1008 (Pong timeout)"],
  [1011, "", "socket closed 1011"],
  [1012, "", "socket closed 1012"],
  [undefined, "", "socket closed 1006 (no close frame)"],
];
test("every kind of close is followed by a new connection", async (t) => {
  const server = await scriptedWs(t);
  const follower = follow(t, coins(3), { wsUrl: server.url, clock: scaledClock(100) });
  for (const [index, [code, said, expected]] of CLOSES.entries()) {
    await follower.event("connected", index + 1);
    const peer = await server.peer(index);
    assert.equal(peer.streams.size, 3);
    if (code === undefined) peer.socket.terminate();
    else peer.socket.close(code, said);
    const { reason, series } = await follower.event("disconnected", index + 1);
    assert.equal(reason, expected);
    assert.equal(series.length, 3);
  }
  await follower.event("connected", CLOSES.length + 1);
});

test("a frame that breaks off is thrown away with its connection", async (t) => {
  const [one] = coins(1);
  assert.ok(one);
  const server = await scriptedWs(t);
  const follower = follow(t, [one], { wsUrl: server.url, clock: scaledClock(100) });
  await follower.event("connected");
  const first = await server.peer(0);
  const half = Buffer.from(JSON.stringify(candleFrame(one))).subarray(0, 100);
  // A header that promises 300 bytes, then 100 of them.
  const raw = (first.socket as unknown as { _socket: Socket })._socket;
  raw.write(Buffer.concat([Buffer.from([0x81, 126, 1, 44]), half]));
  await pause(10);
  raw.destroy();
  await follower.event("connected", 2);
  assert.deepEqual(kinds(follower.events), ["connected", "disconnected", "connected"]);
});

test("a link that acknowledges and then never says a word again is dead after 60 s", async (t) => {
  const server = await scriptedWs(t);
  const follower = follow(t, coins(1), { wsUrl: server.url, clock: scaledClock(300) });
  const { reason } = await follower.event("disconnected");
  assert.equal(reason, "no frame for 60 s");
  await follower.event("connected", 2);
  const code = await server.peers[0]?.closed;
  assert.equal(code, 1006, "a dead peer is not waited for");
});

test("a server that only pings is alive", async (t) => {
  const server = await scriptedWs(t, {
    onOpen: ({ socket }) => {
      const pings = setInterval(() => socket.ping("1770123456789"), 20);
      socket.on("close", () => clearInterval(pings));
    },
  });
  const follower = follow(t, coins(1), { wsUrl: server.url, clock: scaledClock(200) });
  await follower.event("connected");
  await pause(900);
  assert.deepEqual(kinds(follower.events), ["connected"]);
  assert.ok((server.peers[0]?.pongsMs.length ?? 0) > 10);
});

test("a server that never says a word after the handshake is left", async (t) => {
  const server = await scriptedWs(t, { onControl: () => undefined });
  const follower = follow(t, coins(1), { wsUrl: server.url, clock: scaledClock(100) });
  const failed = await follower.record("connectFailed");
  assert.equal(failed.reason, "no answer to SUBSCRIBE");
  await server.peer(1);
});

test("a server that brings candles and no acknowledgement is believed", async (t) => {
  const [one] = coins(1);
  assert.ok(one);
  const server = await scriptedWs(t, { onControl: (peer) => peer.send(candleFrame(one)) });
  const follower = follow(t, [one], { wsUrl: server.url, clock: scaledClock(100) });
  await follower.event("connected");
  assert.equal(server.peers.length, 1);
});

test("a host that takes the connection and does not shake hands is left after 10 s", async (t) => {
  const sockets: Socket[] = [];
  const server = createServer((socket) => sockets.push(socket));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const address = server.address();
  assert.ok(address !== null && typeof address === "object");
  const wsUrl = `ws://127.0.0.1:${address.port}`;
  const follower = follow(t, coins(1), { wsUrl, clock: scaledClock(100) });
  const failed = await follower.record("connectFailed");
  assert.equal(failed.reason, "no connection within 10 s");
});

test("a refused connection is told by name, and tried again", async (t) => {
  const follower = follow(t, coins(1), { wsUrl: "ws://127.0.0.1:9", clock: scaledClock(100) });
  const failed = await follower.record("connectFailed", 2);
  assert.equal(failed.reason, "127.0.0.1:9 refused the connection");
  assert.equal(failed.connection, "socket 1");
});

test("failures in a row are spaced out: 1, 2, 4 … up to 60 s", async (t) => {
  const follower = follow(t, coins(1), {
    wsUrl: "ws://127.0.0.1:9",
    clock: scaledClock(2_000),
    connectTimeoutMs: 1e6,
  });
  await follower.record("connectFailed", 9);
  const pauses = follower.records.flatMap((event) =>
    event.kind === "connectFailed" ? [event.retryMs] : [],
  );
  assert.deepEqual(
    pauses.slice(0, 9),
    [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000],
  );
});

const REFUSALS: readonly (readonly [
  { status: number; headers?: Record<string, string>; body?: string },
  RegExp,
  number,
])[] = [
  [
    { status: 451, headers: { "content-type": "text/html" }, body: "<html>" },
    /closed to this region \(451, a web page\)/,
    60_000,
  ],
  [{ status: 403 }, /blocked by the firewall \(403\)/, 600_000],
  [{ status: 429, headers: { "retry-after": "90" } }, /too many connects \(429\)/, 90_000],
  [{ status: 418, headers: { "retry-after": "soon" } }, /this address is banned \(418\)/, 120_000],
  [{ status: 503 }, /internal error \(503\)/, 5_000],
  [
    { status: 302, headers: { location: "http://127.0.0.1:9/" } },
    /unexpected answer \(302\)/,
    60_000,
  ],
  [
    { status: 200, headers: { "content-type": "text/html" }, body: "<html>" },
    /unexpected answer \(200, a web page\)/,
    60_000,
  ],
];
for (const [refusal, reason, leastMs] of REFUSALS) {
  test(`an upgrade refused with ${refusal.status} is told by name and not tried soon`, async (t) => {
    const factor = 2_000;
    const server = await scriptedWs(t, { refuse: (index) => (index === 0 ? refusal : undefined) });
    const follower = follow(t, coins(1), {
      wsUrl: server.url,
      clock: scaledClock(factor),
      connectTimeoutMs: 1e6,
    });
    const failed = await follower.record("connectFailed");
    assert.match(failed.reason, reason);
    assert.ok(failed.retryMs >= leastMs && failed.retryMs < leastMs * 1.2, `${failed.retryMs}`);
    await follower.event("connected");
    const [first = 0, second = 0] = server.upgradesMs;
    assert.ok((second - first) * factor >= leastMs);
  });
}

test("a refusal for the address's sake holds every socket", async (t) => {
  const factor = 1_000;
  const server = await scriptedWs(t, {
    refuse: () => ({ status: 429, headers: { "retry-after": "300" } }),
  });
  follow(t, coins(5), {
    wsUrl: server.url,
    clock: scaledClock(factor),
    connectTimeoutMs: 1e6,
    maxStreamsPerSocket: 1,
  });
  await pause(250);
  assert.equal(server.upgradesMs.length, 5, "those under way, and no more for 300 s");
});

test("a frame of more than 1 MiB ends its connection, not the program", async (t) => {
  const server = await scriptedWs(t);
  const follower = follow(t, coins(1), { wsUrl: server.url, clock: scaledClock(100) });
  await follower.event("connected");
  (await server.peer(0)).send(" ".repeat(2 ** 20 + 1));
  const { reason } = await follower.event("disconnected");
  assert.equal(reason, "frame larger than 1 MiB");
  await follower.event("connected", 2);
});

test("a message in fragments without end ends its connection", async (t) => {
  const server = await scriptedWs(t);
  const follower = follow(t, coins(1), { wsUrl: server.url, clock: scaledClock(100) });
  await follower.event("connected");
  const peer = await server.peer(0);
  const raw = (peer.socket as unknown as { _socket: Socket })._socket;
  const fragments = Buffer.alloc(2 * 100_000);
  fragments[0] = 0x01;
  raw.write(fragments);
  const { reason } = await follower.event("disconnected");
  assert.match(reason, /^broken frame: Too many message fragments/);
});

test("pongs count in the pace: three frames in a second and no more", async (t) => {
  const server = await scriptedWs(t, {
    onOpen: ({ socket }) => {
      for (let count = 0; count < 2; count += 1) socket.ping();
    },
  });
  const clock = virtualClock();
  follow(t, coins(3), { wsUrl: server.url, clock, subscribeBatch: 1 });
  const peer = await server.peer(0);
  const said = async (count: number): Promise<void> => {
    while (peer.controls.length < count || peer.pongsMs.length < 2) await pause(1);
    await pause(20);
    assert.equal(peer.controls.length, count);
  };
  await said(1);
  await clock.advance(999);
  await said(1);
  await clock.advance(1);
  await said(2);
  await clock.advance(299);
  await said(2);
  await clock.advance(1);
  await said(3);
});

test("a stream that is aborted closes its sockets and leaves nothing behind", async (t) => {
  const server = await scriptedWs(t);
  const follower = follow(t, coins(30), {
    wsUrl: server.url,
    clock: scaledClock(20),
    maxStreamsPerSocket: 10,
  });
  await follower.event("connected", 3);
  assert.ok(follower.sleeperCount() > 0);
  await follower.stop();
  assert.equal(follower.sleeperCount(), 0);
  assert.deepEqual(await Promise.all(server.peers.map(({ closed }) => closed)), [1000, 1000, 1000]);
  assert.deepEqual(kinds(follower.events), ["connected", "connected", "connected"]);
});

test("a stream can be aborted while it dials, subscribes or pauses", async (t) => {
  const silent = await scriptedWs(t, { onControl: () => undefined });
  const subscribing = follow(t, coins(1), { wsUrl: silent.url, clock: scaledClock(1) });
  await silent.peer(0);
  const pausing = follow(t, coins(1), { wsUrl: "ws://127.0.0.1:9", clock: scaledClock(1) });
  await pausing.record("connectFailed");
  const dialling = follow(t, coins(1), { wsUrl: silent.url, clock: scaledClock(1) });
  for (const follower of [subscribing, pausing, dialling]) {
    await follower.stop();
    assert.equal(follower.sleeperCount(), 0);
    assert.deepEqual(follower.events, []);
  }
});

test("a consumer that leaves its loop closes the sockets", async (t) => {
  const server = await scriptedWs(t);
  const follower = follow(t, [], { wsUrl: server.url, clock: scaledClock(20) });
  for await (const events of follower.stream.stream(coins(2), new AbortController().signal)) {
    assert.deepEqual(kinds(events), ["connected"]);
    break;
  }
  assert.equal(await (await server.peer(0)).closed, 1000);
});

test("a slow consumer finds forming candles reduced to the newest, closed ones all there", async (t) => {
  const [one, other] = coins(2);
  assert.ok(one && other);
  const server = await scriptedWs(t);
  const follower = follow(t, [], { wsUrl: server.url, clock: scaledClock(20) });
  const controller = new AbortController();
  const pulls = follower.stream.stream([one, other], controller.signal)[Symbol.asyncIterator]();
  await pulls.next();
  const peer = await server.peer(0);
  const openTime = 1_790_000_040_000;
  for (let count = 1; count <= 50; count += 1) {
    peer.send(candleFrame(one, { tradeCount: count }));
    peer.send(candleFrame(other, { tradeCount: count }));
  }
  peer.send(candleFrame(one, { tradeCount: 51, isClosed: true }));
  for (let count = 1; count <= 50; count += 1) {
    peer.send(candleFrame(one, { openTime: openTime + 60_000, tradeCount: count }));
  }
  await pause(100);
  const { value } = await pulls.next();
  const seen = (value as readonly LiveEvent[]).flatMap((event) =>
    event.kind === "candle"
      ? [[event.series.symbol, event.candle.tradeCount, event.isClosed] as const]
      : [],
  );
  assert.deepEqual(seen, [
    [one.symbol, 50, false],
    [other.symbol, 50, false],
    [one.symbol, 51, true],
    [one.symbol, 50, false],
  ]);
  controller.abort();
  assert.equal((await pulls.next()).done, true);
});

test("a consumer that takes nothing at all is told what it lost, and memory stays bounded", async (t) => {
  const [one] = coins(1);
  assert.ok(one);
  const server = await scriptedWs(t);
  const follower = follow(t, [], {
    wsUrl: server.url,
    clock: scaledClock(20),
    maxBufferedEvents: 100,
  });
  const controller = new AbortController();
  const pulls = follower.stream.stream([one], controller.signal)[Symbol.asyncIterator]();
  await pulls.next();
  const peer = await server.peer(0);
  for (let index = 0; index < 150; index += 1) {
    peer.send(candleFrame(one, { openTime: 1_790_000_040_000 + index * 60_000, isClosed: true }));
  }
  await pause(100);
  const { value } = await pulls.next();
  const events = value as readonly LiveEvent[];
  assert.deepEqual(kinds(events).slice(0, 2), ["disconnected", "connected"]);
  assert.equal(events.length, 52);
  assert.deepEqual(
    follower.records.filter(({ kind }) => kind === "shed" || kind === "received"),
    [
      { kind: "shed", series: one, count: 100 },
      { kind: "received", closedCount: 100, formingCount: 0 },
    ],
  );
  controller.abort();
  await pulls.return?.();
});

test("plain ws is for this machine only", () => {
  for (const wsUrl of ["ws://stream.binance.com:9443", "http://127.0.0.1", "stream.binance.com"]) {
    assert.throws(
      () =>
        createBinanceStream({
          wsUrl,
          clock: scaledClock(1),
          exchangeTime: new ExchangeTime(),
          random: () => 0,
          record: () => undefined,
          firstDelayMs: 1_000,
        }),
      (error) => error instanceof BlackTradeError && error.code === "E_CONFIG",
    );
  }
});
