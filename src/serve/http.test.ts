import assert from "node:assert/strict";
import { request } from "node:http";
import { test } from "node:test";
import { setImmediate as nextTurn } from "node:timers/promises";
import { BlackTradeError } from "../core/errors.ts";
import type { SeriesFacts } from "../core/status.ts";
import { type HttpOptions, startHttp } from "./http.ts";
import { createStatusReader, type StatusView } from "./status-reader.ts";

const NOW = Date.UTC(2026, 0, 1, 12);
const RUN = {
  host: "h",
  pid: 1,
  mode: "websocket",
  startedTime: NOW - 3_600_000,
  heartbeatTime: NOW,
  now: NOW,
} as const;

function facts(symbol: string, next: number): SeriesFacts {
  return {
    series: { exchange: "binance", symbol, timeframe: "1m" },
    isConfigured: true,
    wantedFrom: NOW - 3_600_000,
    next,
    newestOpenTime: next - 60_000,
    isStreamed: true,
    isCatchingUp: false,
    openGapCount: 0,
    confirmedGapCount: 0,
  };
}

function options(view: () => Promise<StatusView>, more: Partial<HttpOptions> = {}): HttpOptions {
  return {
    host: "127.0.0.1",
    port: 0,
    token: undefined,
    allowedHosts: [],
    allowedOrigins: [],
    monotonicMs: () => performance.now(),
    faces: [],
    version: "0.0.0",
    parts: () => undefined,
    readStatus: view,
    renderMetrics: () => ({ contentType: "text/plain", pieces: ["up 1\n"] }),
    ...more,
  };
}

function readerOf(...series: SeriesFacts[]): () => Promise<StatusView> {
  const store = { report: async () => undefined, facts: async () => ({ run: RUN, series }) };
  return createStatusReader(store, () => performance.now());
}

test("readyz is 200 only while every series is active, and says what is not", async (t) => {
  const good = await startHttp(options(readerOf(facts("A", NOW))));
  t.after(() => good.close());
  const ready = await fetch(`${good.url}/readyz`);
  assert.equal(ready.status, 200);
  assert.deepEqual(await ready.json(), {
    status: "ready",
    seriesCount: 1,
    notActiveCount: 0,
    notActive: [],
  });

  const bad = await startHttp(options(readerOf(facts("A", NOW), facts("B", NOW - 600_000))));
  t.after(() => bad.close());
  const late = await fetch(`${bad.url}/readyz`);
  assert.equal(late.status, 503);
  const body = (await late.json()) as {
    notActive: { series: string; status: string; reason: string }[];
  };
  assert.equal(body.notActive[0]?.series, "B 1m");
  assert.equal(body.notActive[0]?.status, "stale");
  assert.notEqual(body.notActive[0]?.reason, "");
});

test("of thousands that are not ready it names a hundred, and says how many they are", async (t) => {
  const lagging = Array.from({ length: 300 }, (_, index) => facts(`L${index}`, NOW - 180_000));
  const server = await startHttp(options(readerOf(...lagging, facts("B", NOW - 600_000))));
  t.after(() => server.close());
  const body = (await (await fetch(`${server.url}/readyz`)).json()) as {
    notActiveCount: number;
    notActive: { status: string }[];
  };
  assert.equal(body.notActiveCount, 301);
  assert.equal(body.notActive.length, 100);
  assert.equal(body.notActive[0]?.status, "stale");
});

test("a database that does not answer makes nothing ready", async (t) => {
  const store = {
    report: async () => undefined,
    facts: async () => {
      throw new BlackTradeError("E_DB_UNREACHABLE", "database does not answer", {
        remedy: "start it",
      });
    },
  };
  const server = await startHttp(options(createStatusReader(store, () => performance.now())));
  t.after(() => server.close());
  const response = await fetch(`${server.url}/readyz`);
  assert.equal(response.status, 503);
  assert.deepEqual(await response.json(), {
    status: "not ready",
    reason: "database does not answer",
  });
  assert.equal((await fetch(`${server.url}/livez`)).status, 200);
});

test("a database that hangs is told, and asked no second time beside it", async (t) => {
  let askedCount = 0;
  const { promise: hung, resolve: wake } = Promise.withResolvers<void>();
  const store = {
    report: async () => undefined,
    facts: async () => {
      askedCount += 1;
      await hung;
      return { run: RUN, series: [facts("A", NOW)] };
    },
  };
  let now = 0;
  const server = await startHttp(options(createStatusReader(store, () => now, 20)));
  t.after(() => server.close());
  for (now = 0; now < 10_000; now += 5_000) {
    const response = await fetch(`${server.url}/readyz`);
    assert.equal(response.status, 503);
    const { reason } = (await response.json()) as { reason: string };
    assert.equal(reason, "the database has not answered for 0.02 s");
  }
  assert.equal((await fetch(`${server.url}/metrics`)).status, 200);
  assert.equal(askedCount, 1);
  wake();
  await nextTurn();
  now += 5_000;
  assert.equal((await fetch(`${server.url}/readyz`)).status, 200);
  assert.equal(askedCount, 2);
});

test("nothing configured is not ready", async (t) => {
  const server = await startHttp(options(readerOf()));
  t.after(() => server.close());
  assert.equal((await fetch(`${server.url}/readyz`)).status, 503);
});

test("metrics are chosen by name, as Prometheus' clients choose them", async (t) => {
  const asked: (readonly string[] | undefined)[] = [];
  const server = await startHttp({
    ...options(readerOf(facts("A", NOW))),
    renderMetrics: (_view, names) => {
      asked.push(names === undefined ? undefined : [...names]);
      return { contentType: "text/plain", pieces: [] };
    },
  });
  t.after(() => server.close());
  for (const query of ["", "?name[]=up", "?name%5B%5D=up&name[]=down", "?name[]=", "?name=up"]) {
    assert.equal((await fetch(`${server.url}/metrics${query}`)).status, 200, query);
  }
  assert.deepEqual(asked, [undefined, ["up"], ["up", "down"], [""], undefined]);
});

test("a foreign host name is turned away on every path (DNS rebinding)", async (t) => {
  const server = await startHttp(options(readerOf(facts("A", NOW))));
  t.after(() => server.close());
  const { port } = new URL(server.url);
  for (const path of ["/metrics", "/readyz", "/livez", "/x/../metrics", "/nothing"]) {
    assert.equal(await statusWith({ port, path, host: "evil.example" }), 421, path);
  }
  for (const host of ["localhost", "127.0.0.1:9090", "[::1]:9090"]) {
    assert.equal(await statusWith({ port, path: "/livez", host }), 200, host);
  }
});

test("with a token everything but livez demands it", async (t) => {
  const token = "t0k3n-t0k3n-t0k3n-t0k3n";
  const server = await startHttp(options(readerOf(facts("A", NOW)), { token }));
  t.after(() => server.close());
  for (const authorization of [
    undefined,
    "Bearer wrong",
    `Basic ${token}`,
    "Bearer ",
    `Bearer ${token}x`,
  ]) {
    const headers = authorization === undefined ? {} : { authorization };
    assert.equal((await fetch(`${server.url}/metrics`, { headers })).status, 401, authorization);
  }
  const response = await fetch(`${server.url}/metrics`, {
    headers: { authorization: `Bearer ${token}` },
  });
  assert.equal(response.status, 200);
  assert.equal((await fetch(`${server.url}/livez`)).status, 200);
});

test("a port in use is named, with the ways out of it", async (t) => {
  const first = await startHttp(options(readerOf()));
  t.after(() => first.close());
  const port = Number(new URL(first.url).port);
  await assert.rejects(startHttp(options(readerOf(), { port })), (error: unknown) => {
    assert.ok(error instanceof BlackTradeError);
    assert.equal(error.code, "E_PORT_IN_USE");
    assert.equal(error.exit, 2);
    assert.match(error.message, new RegExp(String(port)));
    return true;
  });
  await assert.rejects(startHttp(options(readerOf(), { host: "203.0.113.1" })), {
    code: "E_HTTP_BIND",
  });
});

function statusWith(to: { port: string; path: string; host: string }): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    request(
      { host: "127.0.0.1", port: to.port, path: to.path, headers: { host: to.host } },
      (response) => {
        response.resume();
        resolve(response.statusCode);
      },
    )
      .on("error", reject)
      .end();
  });
}
