import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import type { LiveEvent } from "../src/core/ports.ts";
import { candleFrame, coins, follow } from "./support/binance-follower.ts";
import { scaledClock } from "./support/clocks.ts";
import { acknowledge, type Peer, type SeenControl, scriptedWs } from "./support/scripted-ws.ts";

const kinds = (events: readonly LiveEvent[]): string[] => events.map(({ kind }) => kind);
const linkKinds = (events: readonly LiveEvent[]): string[] =>
  kinds(events).filter((kind) => kind !== "candle");

/** Sends a candle of every subscribed stream, as long as the connection is open. */
function keepSending(peer: Peer, everyMs: number): void {
  const timer = setInterval(() => {
    for (const stream of peer.streams) {
      const symbol = stream.slice(0, stream.indexOf("@")).toUpperCase();
      peer.send(candleFrame({ exchange: "binance", symbol, timeframe: "1m" }));
    }
  }, everyMs);
  peer.socket.on("close", () => clearInterval(timer));
}

const everyDay = { rotateAfterMs: 40_000, rotateJitterMs: 10_000 };

test("before its time is over a socket is replaced, and nobody notices", async (t) => {
  const factor = 100;
  const server = await scriptedWs(t, { onOpen: (peer) => keepSending(peer, 5) });
  const clock = scaledClock(factor);
  const follower = follow(t, coins(5), { wsUrl: server.url, clock, ...everyDay });
  const opened = performance.now();
  const rotated = await follower.record("rotated");
  const ageMs = (performance.now() - opened) * factor;
  assert.ok(ageMs >= 35_000 + 5_000, `35 s of its own and 5 s side by side, not ${ageMs}`);
  assert.equal(rotated.reason, "it is nearly a day old");
  assert.equal(rotated.connection, "socket 1");

  await (await server.peer(0)).closed;
  assert.equal((await server.peer(1)).streams.size, 5);
  await follower.record("rotated", 2);
  assert.deepEqual(linkKinds(follower.events), ["connected"]);
});

test("sockets of one program are not replaced at the same time", async (t) => {
  const values = [0.1, 0.9];
  let calls = 0;
  const factor = 100;
  const server = await scriptedWs(t, { onOpen: (peer) => keepSending(peer, 5) });
  const follower = follow(t, coins(2), {
    wsUrl: server.url,
    clock: scaledClock(factor),
    maxStreamsPerSocket: 1,
    rotateAfterMs: 40_000,
    rotateJitterMs: 20_000,
    random: () => values[calls++ % 2] ?? 0,
  });
  await follower.record("rotated", 2);
  const [, , third = 0, fourth = 0] = server.upgradesMs;
  assert.ok((fourth - third) * factor > 8_000, "ages 22 s and 38 s");
});

test("the old socket is told that it is no longer needed", async (t) => {
  const server = await scriptedWs(t);
  const clock = scaledClock(20);
  follow(t, coins(1), { wsUrl: server.url, clock, rotateAfterMs: 5_000, rotateJitterMs: 0 });
  assert.equal(await (await server.peer(0)).closed, 1000);
});

test("old and new socket run side by side, and both bring candles", async (t) => {
  const [one] = coins(1);
  assert.ok(one);
  const server = await scriptedWs(t);
  const follower = follow(t, [one], { wsUrl: server.url, clock: scaledClock(100), ...everyDay });
  await follower.event("connected");
  const next = await server.peer(1);
  while (next.controls.length === 0) await pause(1);
  await pause(5);
  const old = await server.peer(0);
  next.send(candleFrame(one, { isClosed: true }));
  old.send(candleFrame(one, { isClosed: true }));
  await follower.event("candle", 2);
  await follower.record("rotated");
  assert.deepEqual(linkKinds(follower.events), ["connected"]);
});

test("a successor that is acknowledged and silent does not replace a socket that works", async (t) => {
  const server = await scriptedWs(t, {
    onOpen: (peer) => {
      if (peer.index !== 1) keepSending(peer, 5);
    },
  });
  const follower = follow(t, coins(3), { wsUrl: server.url, clock: scaledClock(100), ...everyDay });
  const failed = await follower.record("connectFailed");
  assert.match(failed.reason, /subscribed, but no candle came while the old socket had some/);
  await (await server.peer(1)).closed;
  await follower.record("rotated");
  assert.equal(server.peers.length, 3);
  assert.deepEqual(linkKinds(follower.events), ["connected"]);
});

test("when the old socket is lost before its successor is there, that is told", async (t) => {
  const server = await scriptedWs(t, {
    onControl: (peer, control) => {
      if (peer.index !== 1) acknowledge(peer, control);
      else setTimeout(() => acknowledge(peer, control), 50);
    },
  });
  const follower = follow(t, coins(1), { wsUrl: server.url, clock: scaledClock(50), ...everyDay });
  await server.peer(1);
  (await server.peer(0)).socket.terminate();
  const { reason } = await follower.event("disconnected");
  assert.equal(reason, "socket closed 1006 (no close frame)");
  await follower.event("connected", 2);
  assert.deepEqual(linkKinds(follower.events), ["connected", "disconnected", "connected"]);
  assert.equal(server.peers.length, 2);
});

test("when the old socket is lost after its successor is there, nobody notices", async (t) => {
  const server = await scriptedWs(t);
  const follower = follow(t, coins(1), { wsUrl: server.url, clock: scaledClock(50), ...everyDay });
  const next = await server.peer(1);
  while (next.controls.length === 0) await pause(1);
  await pause(10);
  (await server.peer(0)).socket.terminate();
  await follower.record("rotated");
  assert.deepEqual(linkKinds(follower.events), ["connected"]);
});

for (const isCombined of [false, true]) {
  test(`a shutdown announced ${isCombined ? "combined" : "raw"} replaces the socket at once`, async (t) => {
    const factor = 100;
    const server = await scriptedWs(t, { onOpen: (peer) => keepSending(peer, 5) });
    const follower = follow(t, coins(2), { wsUrl: server.url, clock: scaledClock(factor) });
    await follower.event("connected");
    await pause(120);
    const event = { e: "serverShutdown", E: 1770123456789 };
    const toldMs = performance.now();
    (await server.peer(0)).send(isCombined ? { stream: "!serverShutdown", data: event } : event);
    await server.peer(1);
    assert.ok(((server.upgradesMs[1] ?? 0) - toldMs) * factor < 5_000);
    const { reason } = await follower.record("rotated");
    assert.equal(reason, "the server is about to shut down");
    assert.deepEqual(linkKinds(follower.events), ["connected"]);
  });
}

test("servers that all announce their shutdown at once do not make it dial in a loop", async (t) => {
  const server = await scriptedWs(t, {
    onControl: (peer, control) => {
      acknowledge(peer, control);
      peer.send({ e: "serverShutdown", E: 1770123456789 });
    },
  });
  const follower = follow(t, coins(1), { wsUrl: server.url, clock: scaledClock(500) });
  await pause(700);
  const seconds = 350;
  assert.ok(server.upgradesMs.length < 20, `${server.upgradesMs.length} dials in ${seconds} s`);
  assert.deepEqual(linkKinds(follower.events), ["connected"]);
});

/** Answers as production does: a malformed name costs the message and then the connection (binance.md §1.4). */
function strict(peer: Peer, control: SeenControl): void {
  if (!control.params.some((stream) => stream.startsWith("coin7usdt"))) {
    acknowledge(peer, control);
    return;
  }
  peer.send({ error: { code: 2, msg: "Invalid request: invalid stream" } });
  peer.socket.close(1000);
}

test("a name that the exchange refuses is found by halves and left to REST; the others are carried", async (t) => {
  const server = await scriptedWs(t, { onControl: strict });
  const series = coins(16);
  const follower = follow(t, series, { wsUrl: server.url, clock: scaledClock(50) });
  const connected = await follower.event("connected");
  const left = await follower.event("disconnected");
  assert.deepEqual(left.series, [series[7]]);
  assert.match(left.reason, /SUBSCRIBE refused: Invalid request: invalid stream \(code 2\)/);
  assert.equal(connected.series.length, 15);
  assert.ok(connected.series.every(({ symbol }) => symbol !== "COIN7USDT"));
  assert.equal(server.peers.length, 6, "5 halvings and the one that works");
  const failures = follower.records.filter(({ kind }) => kind === "connectFailed");
  assert.equal(failures.length, 5);
});

test("too many streams on a socket: the rest go to another one", async (t) => {
  const server = await scriptedWs(t, {
    onControl: (peer, control) => {
      if (peer.streams.size <= 4) acknowledge(peer, control);
      else peer.send({ error: { code: 4, msg: "Too many subscriptions" }, id: control.id });
    },
  });
  const follower = follow(t, coins(10), {
    wsUrl: server.url,
    clock: scaledClock(100),
    subscribeBatch: 2,
  });
  await follower.event("connected", 3);
  assert.equal(server.peers.length, 3);
  const carried = follower.events.flatMap((event) =>
    event.kind === "connected" ? event.series.map(({ symbol }) => symbol) : [],
  );
  assert.equal(new Set(carried).size, 10);
  assert.deepEqual(linkKinds(follower.events), ["connected", "connected", "connected"]);
});

test("a message with more streams than a socket may carry is halved", async (t) => {
  const server = await scriptedWs(t, {
    onControl: (peer, control) => {
      const count = control.params?.length ?? 0;
      if (count <= 4 && peer.streams.size <= 4) acknowledge(peer, control);
      else peer.send({ code: 4, msg: "Too many subscriptions", id: control.id });
    },
  });
  const follower = follow(t, coins(10), { wsUrl: server.url, clock: scaledClock(100) });
  await follower.event("connected", 3);
  const carried = follower.events.flatMap((event) =>
    event.kind === "connected" ? event.series.map(({ symbol }) => symbol) : [],
  );
  assert.deepEqual(
    carried.sort(),
    coins(10)
      .map(({ symbol }) => symbol)
      .sort(),
  );
});

test("too many streams on an empty socket is a failure like others, not a loop", async (t) => {
  const server = await scriptedWs(t, {
    onControl: (peer, { id }) => peer.send({ code: 4, msg: "Too many subscriptions", id }),
  });
  const follower = follow(t, coins(4), { wsUrl: server.url, clock: scaledClock(500) });
  const failed = await follower.record("connectFailed", 3);
  assert.equal(failed.reason, "SUBSCRIBE refused: Too many subscriptions (code 4)");
  assert.equal(server.peers.length, 3);
});

test("acknowledged and silent: asked to resubscribe, the socket is replaced without a break", async (t) => {
  const series = coins(2);
  const server = await scriptedWs(t, {
    onOpen: (peer) => {
      if (peer.index > 0) keepSending(peer, 5);
    },
  });
  const follower = follow(t, series, { wsUrl: server.url, clock: scaledClock(100) });
  await follower.event("connected");
  follower.stream.resubscribe(series.slice(0, 1));
  follower.stream.resubscribe(series.slice(1));
  const { reason } = await follower.record("rotated");
  assert.equal(reason, "2 of 2 series are silent");
  await follower.event("candle");
  assert.deepEqual(linkKinds(follower.events), ["connected"]);
  assert.equal(server.peers.length, 2);
});

test("one silent series of many is subscribed anew, at most once in a minute", async (t) => {
  const factor = 100;
  const series = coins(10);
  const [one] = series;
  assert.ok(one);
  const server = await scriptedWs(t, { onOpen: (peer) => keepSending(peer, 5) });
  const follower = follow(t, series, { wsUrl: server.url, clock: scaledClock(factor) });
  await follower.event("connected");
  const peer = await server.peer(0);
  for (let count = 0; count < 20; count += 1) {
    follower.stream.resubscribe([one]);
    await pause(10);
  }
  const stream = `${one.symbol.toLowerCase()}@kline_1m`;
  assert.deepEqual(
    peer.controls.slice(1).map(({ method, params }) => [method, ...params]),
    [
      ["UNSUBSCRIBE", stream],
      ["SUBSCRIBE", stream],
    ],
  );
  await pause(450);
  follower.stream.resubscribe([one]);
  await follower.record("resubscribed", 2);
  assert.equal(server.peers.length, 1);
});

test("one silent series on a socket that brings nothing at all: the socket is replaced", async (t) => {
  const series = coins(10);
  const server = await scriptedWs(t, {
    onOpen: ({ socket }) => {
      const pings = setInterval(() => socket.ping(), 20);
      socket.on("close", () => clearInterval(pings));
    },
  });
  const follower = follow(t, series, { wsUrl: server.url, clock: scaledClock(200) });
  await follower.event("connected");
  await pause(350);
  follower.stream.resubscribe(series.slice(0, 1));
  const { reason } = await follower.record("rotated");
  assert.equal(reason, "no candle at all for a long time");
});

test("to resubscribe what nobody follows, or while there is no connection, does nothing", async (t) => {
  const server = await scriptedWs(t, { onControl: () => undefined });
  const follower = follow(t, coins(1), { wsUrl: server.url, clock: scaledClock(100) });
  follower.stream.resubscribe(coins(3));
  await follower.record("connectFailed");
  assert.deepEqual(follower.events, []);
});

test("a day passes in a moment: nothing is left behind by replacement after replacement", async (t) => {
  const server = await scriptedWs(t, { onOpen: (peer) => keepSending(peer, 2) });
  const follower = follow(t, coins(2), {
    wsUrl: server.url,
    clock: scaledClock(500),
    connectTimeoutMs: 1e6,
    deadLinkMs: 1e6,
    rotateAfterMs: 10_000,
    rotateJitterMs: 0,
  });
  await follower.record("rotated", 30);
  const openCount = server.peers.filter(({ socket }) => socket.readyState === 1).length;
  assert.ok(openCount <= 2, `${openCount} open`);
  assert.ok(follower.sleeperCount() <= 4, `${follower.sleeperCount()} timers`);
  assert.deepEqual(linkKinds(follower.events), ["connected"]);
  await follower.stop();
  assert.equal(follower.sleeperCount(), 0);
});
