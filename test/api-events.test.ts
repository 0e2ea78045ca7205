import assert from "node:assert/strict";
import { once } from "node:events";
import {
  type ClientRequest,
  createServer,
  type IncomingMessage,
  request,
  type ServerResponse,
} from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { VersionedCandle } from "../src/core/finality.ts";
import type { CandleWritten } from "../src/core/ports.ts";
import type { Series } from "../src/core/series.ts";
import { eventText, Watcher } from "../src/serve/api/watcher.ts";
import { LiveFeed } from "../src/serve/feed.ts";
import type { SeriesView } from "../src/serve/status-reader.ts";
import { type ApiOptions, type ApiStack, startApi, versionOf } from "./support/api-stack.ts";
import { virtualClock } from "./support/clocks.ts";
import { withDatabase } from "./support/postgres.ts";

const FIRST = Date.UTC(2026, 0, 1);
const BTC: Series = { exchange: "binance", symbol: "BTCUSDT", timeframe: "1s" };
const ETH: Series = { exchange: "binance", symbol: "ETHUSDT", timeframe: "1s" };

interface Told {
  readonly kind: string;
  readonly id: number | undefined;
  readonly data: Record<string, unknown>;
}

/** A client of the event stream, which can stop reading. */
class Client {
  readonly told: Told[] = [];
  readonly #request: ClientRequest;
  readonly response: Promise<IncomingMessage>;
  #text = "";

  constructor(api: Pick<ApiStack, "url">, query = "", headers: Record<string, string> = {}) {
    this.#request = request(`${api.url}/api/v1/events${query}`, { headers }).end();
    this.response = once(this.#request, "response").then(([response]) => response);
    this.#request.on("error", () => undefined);
    this.response.then(
      (response) => response.setEncoding("utf8").on("data", (part: string) => this.#take(part)),
      () => undefined,
    );
  }

  get closed(): readonly Told[] {
    return this.told.filter(({ kind }) => kind === "closed");
  }

  /** Waits for something that was told. */
  async tells(isIt: (told: Told) => boolean, ms = 10_000): Promise<Told> {
    const deadline = Date.now() + ms;
    for (;;) {
      const found = this.told.find(isIt);
      if (found !== undefined) return found;
      assert.ok(Date.now() < deadline, `not told; ${this.told.length} others were`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  close(): void {
    this.#request.destroy();
  }

  #take(part: string): void {
    const blocks = (this.#text + part).split("\n\n");
    this.#text = blocks.pop() ?? "";
    for (const block of blocks) {
      const field = (name: string) => new RegExp(`^${name}: (.*)$`, "m").exec(block)?.[1];
      const kind = field("event");
      if (kind === undefined) continue;
      const id = field("id");
      const data = JSON.parse(field("data") ?? "null");
      this.told.push({ kind, id: id === undefined ? undefined : Number(id), data });
    }
  }
}

async function withApi(
  run: (api: ApiStack) => Promise<void>,
  options: ApiOptions = {},
): Promise<void> {
  await withDatabase(async ({ url }) => {
    const api = await startApi(url, options);
    try {
      await run(api);
    } finally {
      await api.close();
    }
  });
}

const second = (index: number, series = BTC, close?: string): VersionedCandle =>
  versionOf(series, FIRST + index * 1_000, "stream", close);
const openTimeOf = ({ data }: Told): number => (data.candle as { openTime: number }).openTime;
const secondsOf = (told: readonly Told[]): number[] =>
  told.map((one) => (openTimeOf(one) - FIRST) / 1_000);
const isSecond = (index: number) => (told: Told) =>
  told.kind === "closed" && openTimeOf(told) === FIRST + index * 1_000;

test("a closed candle is told as it is committed, digit for digit, to those who want it", () =>
  withApi(async (api) => {
    const all = new Client(api);
    const btc = new Client(api, "?series=btcusdt:1s&kinds=closed");
    const { data } = await all.tells(({ kind }) => kind === "ready");
    assert.deepEqual(data, { isIngesting: true });
    await btc.tells(({ kind }) => kind === "ready");
    const [one, two] = [second(0), second(0, ETH)];
    await api.store.write([one, two], []);
    await all.tells((told) => isSecond(0)(told) && told.data.outcome === "stored");
    await btc.tells(isSecond(0));
    await api.store.write([second(1)], []);
    await btc.tells(isSecond(1));
    await all.tells(isSecond(1));
    assert.equal(all.closed.length, 3);
    assert.deepEqual(secondsOf(btc.closed), [0, 1]);
    assert.deepEqual(btc.closed[0]?.data, {
      series: BTC,
      candle: { ...one.candle, source: "stream", observedTime: one.observedTime },
      outcome: "stored",
    });
    assert.ok(btc.told.every(({ kind }) => kind === "ready" || kind === "closed"));
    const ids = all.closed.map(({ id }) => id ?? 0);
    assert.deepEqual(
      ids,
      [...new Set(ids)].sort((a, b) => a - b),
    );
    await api.store.write([versionOf(BTC, FIRST, "rest", "1.75")], []);
    await btc.tells(({ data: told }) => told.outcome === "revised");
    all.close();
    btc.close();
  }));

test("forming candles are reduced to the newest, and never outlive their close", () =>
  withApi(async (api) => {
    const client = new Client(api, "?kinds=forming");
    await client.tells(({ kind }) => kind === "ready");
    const tell = (index: number, close: string, isClosed = false): void => {
      const { candle } = second(index, BTC, close);
      const eventTime = FIRST + index * 1_000 + 500;
      api.feed.takeLive({ kind: "candle", series: BTC, candle, isClosed, eventTime });
    };
    for (let turn = 0; turn < 1_000; turn += 1) tell(0, `1.${String(turn).padStart(3, "0")}`);
    const newest = await client.tells(({ kind }) => kind === "forming");
    assert.equal((newest.data.candle as { close: string }).close, "1.999");
    assert.equal(newest.id, undefined);
    tell(0, "1.5", true);
    tell(1, "1.2");
    await client.tells((told) => told.kind === "forming" && openTimeOf(told) === FIRST + 1_000);
    assert.equal(client.told.filter(({ kind }) => kind === "forming").length, 2);
    client.close();
  }));

test("Last-Event-ID: everything that was committed meanwhile, in order, once, and then what comes", () =>
  withApi(async (api) => {
    const first = new Client(api, "?kinds=closed");
    await first.tells(({ kind }) => kind === "ready");
    await api.store.write([second(0)], []);
    const { id } = await first.tells(isSecond(0));
    first.close();
    for (let index = 1; index <= 60; index += 1) await api.store.write([second(index)], []);
    // Goes on being written to while the client catches up.
    const again = new Client(api, "?kinds=closed", { "last-event-id": String(id) });
    for (let index = 61; index <= 120; index += 1) await api.store.write([second(index)], []);
    await again.tells(isSecond(120));
    assert.deepEqual(
      secondsOf(again.closed),
      Array.from({ length: 120 }, (_, index) => index + 1),
    );
    const after = new Client(api, `?kinds=closed&after=${again.closed.at(-2)?.id}`);
    await after.tells(isSecond(120));
    assert.deepEqual(secondsOf(after.closed), [120]);
    again.close();
    after.close();
  }));

test("an id that the database does not know: told to read again, and goes on from now", () =>
  withApi(async (api) => {
    const client = new Client(api, "?kinds=closed", { "last-event-id": "9007199254740000" });
    await client.tells(({ kind }) => kind === "dropped");
    await api.store.write([second(0)], []);
    await client.tells(isSecond(0));
    client.close();
  }));

test("many candles of one transaction are a stretch", () =>
  withApi(async (api) => {
    const client = new Client(api, "?kinds=closed");
    await client.tells(({ kind }) => kind === "ready");
    await api.store.write(
      Array.from({ length: 300 }, (_, index) => second(index)),
      [],
    );
    const { data, id } = await client.tells(({ kind }) => kind === "stretch");
    assert.deepEqual(data, { series: BTC, range: { from: FIRST, to: FIRST + 299_001 } });
    assert.ok(id !== undefined);
    client.close();
  }));

test("a client that does not read: what waits for it has a bound, and it is told where to go on", async (t) => {
  const watchers: Watcher[] = [];
  const responses: ServerResponse[] = [];
  const server = createServer((_request, response) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    const choice = { isWanted: undefined, kinds: new Set(["closed", "status"] as const) };
    watchers.push(new Watcher(response, choice, () => performance.now()));
    responses.push(response);
    response.write(eventText("ready", {}));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  const client = new Client({ url: `http://127.0.0.1:${port}` });
  const stream = await client.response;
  await client.tells(({ kind }) => kind === "ready");
  const [watcher] = watchers;
  const [response] = responses;
  assert.ok(watcher && response);
  stream.pause();
  const change = (id: number): CandleWritten => ({
    kind: "candle",
    id,
    candle: second(id),
    outcome: "stored",
  });
  const count = 60_000;
  let greatest = 0;
  for (let id = 1; id <= count; id += 1) {
    watcher.take({ kind: "closed", change: change(id) });
    if (id % 500 !== 0) continue;
    await nextTurn();
    greatest = Math.max(greatest, response.writableLength);
  }
  assert.ok(greatest > 1e6 && greatest < 3e6, String(greatest));
  assert.equal(watcher.heartbeat(), true);
  stream.resume();
  const dropped = await client.tells(({ kind }) => kind === "dropped");
  const told = client.closed.map(({ id }) => id);
  assert.ok(told.length < count);
  // Its word holds: everything up to the id that it names was told, and nothing after it.
  assert.deepEqual(
    told,
    Array.from({ length: told.length }, (_, index) => index + 1),
  );
  assert.equal(dropped.data.afterId, told.length);
  assert.equal(dropped.id, count);
  watcher.take({ kind: "closed", change: change(count + 1) });
  await client.tells(({ id }) => id === count + 1);
  client.close();
});

test("the states of thousands of series are told a part at a time, each as it is then", async (t) => {
  const watchers: Watcher[] = [];
  const server = createServer((_request, response) => {
    const choice = { isWanted: undefined, kinds: new Set(["status", "forming"] as const) };
    watchers.push(new Watcher(response, choice, () => performance.now()));
    response.write(eventText("ready", {}));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const client = new Client({
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
  });
  t.after(() => {
    client.close();
    server.close();
  });
  await client.tells(({ kind }) => kind === "ready");
  const [watcher] = watchers;
  assert.ok(watcher);
  const viewOf = (index: number, word: "active" | "stale"): SeriesView => ({
    series: { ...BTC, symbol: `S${index}` },
    facts: {
      series: { ...BTC, symbol: `S${index}` },
      ...{ isConfigured: true, isStreamed: true, isCatchingUp: false },
      ...{ openGapCount: 0, confirmedGapCount: 0 },
    },
    status: { word, reason: "" },
  });
  const count = 2_500;
  const view = { isKnown: true, run: undefined, series: [] } as const;
  const stale = Array.from({ length: count }, (_, index) => viewOf(index, "stale"));
  watcher.take({ kind: "status", view, changed: stale });
  for (let index = 0; index < 10_000; index += 1) {
    const series = { ...BTC, symbol: `S${index}` };
    watcher.take({
      kind: "forming",
      forming: { series, candle: second(1).candle, eventTime: FIRST },
    });
  }
  watcher.flushNewest();
  const parts = (from = 0) => client.told.slice(from).filter(({ kind }) => kind === "status");
  const forming = () => client.told.filter(({ kind }) => kind === "forming").length;
  const first = await client.tells(({ kind }) => kind === "status");
  assert.equal((first.data.series as unknown[]).length, 1_000);
  const formingCount = forming();
  assert.ok(formingCount > 100 && formingCount < 5_000, String(formingCount));
  const away = { isKnown: false, reason: "away" } as const;
  watcher.take({ kind: "status", view: away, changed: [] });
  watcher.flushNewest();
  const unknown = await client.tells(({ data }) => data.problem === "away");
  assert.deepEqual(unknown.data.series, [], "what waited was true before");
  const seenCount = client.told.length;
  watcher.take({ kind: "status", view, changed: stale });
  watcher.take({ kind: "status", view, changed: [viewOf(count - 1, "active")] });
  const deadline = Date.now() + 10_000;
  while (parts(seenCount).length < 3 || forming() < 10_000) {
    assert.ok(Date.now() < deadline);
    watcher.flushNewest();
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  const told = parts(seenCount).flatMap(
    ({ data }) => data.series as { series: Series; status: string }[],
  );
  assert.equal(new Set(told.map(({ series }) => series.symbol)).size, count);
  assert.equal(told.length, count);
  assert.equal(told.find(({ series }) => series.symbol === `S${count - 1}`)?.status, "active");
  client.close();
});

test("the state is told at first, and when it changes; while nobody watches the database is not asked", () =>
  withApi(async (api) => {
    await api.store.begin({ mode: "websocket", host: "h", pid: 1 }, [BTC]);
    const client = new Client(api, "?kinds=status");
    const first = await client.tells(({ kind }) => kind === "status");
    assert.equal((first.data.series as { status: string }[])[0]?.status, "starting");
    await api.store.end();
    await client.tells(
      ({ kind, data }) =>
        kind === "status" && (data.series as { status: string }[])[0]?.status === "paused",
    );
    assert.equal(api.feed.watcherCount, 1);
    client.close();
    const deadline = Date.now() + 5_000;
    while (api.feed.watcherCount > 0) {
      assert.ok(Date.now() < deadline);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    assert.equal(api.feed.lastId, undefined);
  }));

test("states are read while somebody wants them, and not for those who want candles", async () => {
  const clock = virtualClock();
  let readCount = 0;
  const feed = new LiveFeed({
    changes: {
      lastChangeId: async () => 0,
      async *follow(signal: AbortSignal) {
        await once(signal, "abort");
        yield [];
      },
    },
    readStatus: async () => {
      readCount += 1;
      return { isKnown: true, run: undefined, series: [] };
    },
    ...{ clock, now: () => clock.now(), onFault: (error) => assert.fail(String(error)) },
  });
  const states: string[] = [];
  const forCandles = feed.subscribe(() => undefined, false);
  await clock.advance(5_000);
  assert.equal(readCount, 0);
  const forStates = feed.subscribe(({ kind }) => states.push(kind), true);
  await clock.advance(2_500);
  assert.equal(readCount, 3);
  assert.deepEqual(states, ["status"]);
  forStates();
  await clock.advance(5_000);
  assert.equal(readCount, 3);
  const again = feed.subscribe(({ kind }) => states.push(kind), true);
  await clock.advance(500);
  assert.equal(readCount, 4);
  assert.deepEqual(states, ["status", "status"]);
  again();
  forCandles();
  await clock.advance(5_000);
  assert.equal(readCount, 4);
});

test("who only asks for the headers is answered at once, and does not watch", () =>
  withApi(async (api) => {
    const response = await fetch(`${api.url}/api/v1/events`, { method: "HEAD" });
    assert.equal(response.status, 200);
    assert.match(response.headers.get("content-type") ?? "", /^text\/event-stream/);
    assert.equal(api.feed.watcherCount, 0);
  }));

test("no more than a hundred clients", () =>
  withApi(async (api) => {
    const clients = Array.from({ length: 100 }, () => new Client(api, "?kinds=forming"));
    await Promise.all(clients.map((one) => one.tells(({ kind }) => kind === "ready", 30_000)));
    const response = await api.get("/api/v1/events");
    assert.equal(response.status, 503);
    assert.equal(response.headers.get("retry-after"), "5");
    await response.text();
    for (const one of clients) one.close();
  }));
