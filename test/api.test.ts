import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { fastify } from "fastify";
import { notFetchedGap } from "../src/core/gaps.ts";
import type { Series } from "../src/core/series.ts";
import { apiFace, apiRoutes } from "../src/serve/api/index.ts";
import { problemSchema } from "../src/serve/api/schemas.ts";
import type { FaceContext } from "../src/serve/parts.ts";
import { type ApiStack, startApi, TOKEN, versionOf } from "./support/api-stack.ts";
import { createTestDatabase, sharedServer, type TestDatabase } from "./support/postgres.ts";

const MINUTE = 60_000;
const FIRST = Date.UTC(2026, 0, 1);
const NOW = FIRST + 10 * MINUTE + 30_000;
const BTC: Series = { exchange: "binance", symbol: "BTCUSDT", timeframe: "1m" };
const ETH: Series = { exchange: "binance", symbol: "ETHUSDT", timeframe: "1m" };
const CYRILLIC: Series = { exchange: "binance", symbol: "БИТ币USDT", timeframe: "1h" };

describe("API v1", () => {
  let database: TestDatabase;
  let api: ApiStack;

  before(async () => {
    database = await createTestDatabase(await sharedServer(), "migrated");
    api = await startApi(database.url, {
      token: TOKEN,
      now: () => NOW,
      encode: async (format, series, candles) =>
        Buffer.from(`${format} ${series.symbol} ${candles.length}`),
    });
    const minutes = [0, 1, 2, 3, 4, 6, 7, 8, 9];
    await api.store.begin({ mode: "websocket", host: "h", pid: 1 }, [BTC]);
    await api.store.want([{ series: BTC, wantedFrom: FIRST }], NOW);
    await api.store.write(
      minutes.map((minute) => versionOf(BTC, FIRST + minute * MINUTE)),
      [{ series: BTC, next: FIRST + 10 * MINUTE }],
    );
    const missing = { from: FIRST + 5 * MINUTE, to: FIRST + 6 * MINUTE };
    await api.store.open([notFetchedGap(BTC, missing, NOW)]);
    await api.store.write([versionOf(BTC, FIRST, "rest", "1.75")], []);
    await api.store.write([versionOf(ETH, FIRST), versionOf(CYRILLIC, FIRST)], []);
    await api.store.report(
      [{ series: BTC, mode: "websocket", isStreamed: true, isCatchingUp: false }],
      NOW,
    );
  });

  after(async () => {
    await api.close();
    await database.drop();
  });

  const json = async (path: string): Promise<Record<string, unknown>> => {
    const response = await api.get(path);
    assert.equal(response.status, 200, await response.clone().text());
    return (await response.json()) as Record<string, unknown>;
  };
  const candlesOf = async (query: string) =>
    (await json(`/api/v1/candles?symbol=BTCUSDT&timeframe=1m&${query}`)) as {
      candles: { openTime: number; close: string; high: string; source: string }[];
      nextCursor: string | null;
    };
  const minutesOf = (candles: readonly { openTime: number }[]) =>
    candles.map(({ openTime }) => (openTime - FIRST) / MINUTE);

  describe("candles", () => {
    test("digits are those that were written", async () => {
      const { candles } = await candlesOf("limit=1");
      assert.equal(candles[0]?.high, "99999999999.123456789012345678");
      assert.equal(candles[0]?.close, "1.50");
      assert.equal(candles[0]?.source, "stream");
    });

    test("without from: the newest, ascending; the cursor goes back", async () => {
      const first = await candlesOf("limit=4");
      assert.deepEqual(minutesOf(first.candles), [6, 7, 8, 9]);
      const second = await candlesOf(`limit=4&cursor=${first.nextCursor}`);
      assert.deepEqual(minutesOf(second.candles), [1, 2, 3, 4]);
      const third = await candlesOf(`limit=4&cursor=${second.nextCursor}`);
      assert.deepEqual(minutesOf(third.candles), [0]);
      assert.equal(third.nextCursor, null);
    });

    test("with from: half-open, the first; the cursor goes on", async () => {
      const range = `from=${FIRST + MINUTE}&to=${FIRST + 8 * MINUTE}`;
      const first = await candlesOf(`${range}&limit=3`);
      assert.deepEqual(minutesOf(first.candles), [1, 2, 3]);
      const second = await candlesOf(`${range}&limit=3&cursor=${first.nextCursor}`);
      assert.deepEqual(minutesOf(second.candles), [4, 6, 7]);
      assert.equal(second.nextCursor, null);
      const iso = await candlesOf("from=2026-01-01T00:08:00Z&to=2026-01-02");
      assert.deepEqual(minutesOf(iso.candles), [8, 9]);
    });

    test("the newest before an instant", async () => {
      const { candles } = await candlesOf(`to=${FIRST + 3 * MINUTE}&limit=2`);
      assert.deepEqual(minutesOf(candles), [1, 2]);
    });

    test("a symbol of any script, in either case", async () => {
      const path = `/api/v1/candles?symbol=${encodeURIComponent("бит币usdt")}&timeframe=1h`;
      const { series } = await json(path);
      assert.deepEqual(series, CYRILLIC);
    });

    test("every format, by parameter or by Accept", async () => {
      const path = "/api/v1/candles?symbol=BTCUSDT&timeframe=1m&limit=2";
      const lines = await (await api.get(`${path}&format=ndjson`)).text();
      assert.equal(lines.trim().split("\n").length, 2);
      assert.equal(JSON.parse(lines.split("\n")[0] ?? "").openTime, FIRST + 8 * MINUTE);
      for (const [format, type] of [
        ["csv", "text/csv"],
        ["arrow", "application/vnd.apache.arrow.file"],
        ["parquet", "application/vnd.apache.parquet"],
      ] as const) {
        const named = await api.get(`${path}&format=${format}`);
        assert.ok(named.headers.get("content-type")?.startsWith(type), format);
        assert.equal(await named.text(), `${format} BTCUSDT 2`);
        const accepted = await api.get(path, { accept: `text/nothing, ${type};q=0.9, */*;q=0.1` });
        assert.equal(await accepted.text(), `${format} BTCUSDT 2`);
        assert.match(
          accepted.headers.get("link") ?? "",
          /^<\/api\/v1\/candles\?.*cursor=.*>; rel="next"$/,
        );
      }
      assert.equal((await api.get(path, { accept: "image/png" })).status, 406);
    });

    test("an answer that has not changed is not sent again", async () => {
      const path = "/api/v1/candles?symbol=BTCUSDT&timeframe=1m&limit=2";
      const etag = (await api.get(path)).headers.get("etag") ?? "";
      const again = await api.get(path, { "if-none-match": etag });
      assert.equal(again.status, 304);
      assert.equal(await again.text(), "");
      const other = await api.get(`${path}0`, { "if-none-match": etag });
      assert.equal(other.status, 200);
    });

    test("the forming candle comes when it is asked for, and only inside the range", async () => {
      const { candle } = versionOf(BTC, FIRST + 10 * MINUTE);
      api.feed.takeLive({ kind: "candle", series: BTC, candle, isClosed: false, eventTime: NOW });
      const path = "/api/v1/candles?symbol=BTCUSDT&timeframe=1m&limit=1";
      assert.equal((await json(path)).forming, undefined);
      assert.deepEqual((await json(`${path}&forming=true`)).forming, candle);
      assert.equal((await json(`${path}&forming=true&to=${candle.openTime}`)).forming, null);
      // Stored meanwhile, and the stream has not told of its end yet.
      const stored = versionOf(BTC, FIRST + 9 * MINUTE).candle;
      api.feed.takeLive({
        kind: "candle",
        series: BTC,
        candle: stored,
        isClosed: false,
        eventTime: NOW,
      });
      assert.equal((await json(`${path}&forming=true`)).forming, null);
      api.feed.takeLive({ kind: "disconnected", connection: "1", series: [BTC], reason: "x" });
      assert.equal((await json(`${path}&forming=true`)).forming, null);
    });

    test("what is wrong is said, with what to do", async () => {
      for (const [query, status, pattern] of [
        ["symbol=BTCUSDT", 400, /timeframe: /],
        ["symbol=BTCUSDT&timeframe=7m", 400, /timeframe: is not a timeframe; one of 1s/],
        ["symbol=BTCUSDT&timeframe=1m&limit=0", 400, /limit: must be at least 1/],
        ["symbol=BTCUSDT&timeframe=1m&limit=10001", 400, /limit: must be at most 10000/],
        ["symbol=BTCUSDT&timeframe=1m&limit=1e3", 400, /limit: is not a whole number/],
        ["symbol=BTCUSDT&timeframe=1m&from=yesterday", 400, /from: is not a time/],
        ["symbol=BTCUSDT&timeframe=1m&from=2&to=1", 400, /from must lie before to/],
        ["symbol=BTCUSDT&timeframe=1m&cursor=AAAA", 400, /cursor: was not given by this server/],
        [
          "symbol=BTCUSDT&timeframe=1m&limt=5",
          400,
          /"limt" is not a parameter; did you mean limit\?/,
        ],
        ["symbol=BTCUSDT&symbol=ETHUSDT&timeframe=1m", 400, /symbol: /],
        ["symbol=BTCUSDTT&timeframe=1m", 404, /is not collected/],
        ["symbol=a%00b&timeframe=1m", 404, /is not collected/],
        ["symbol=';drop table candles--&timeframe=1m", 404, /is not collected/],
      ] as const) {
        const response = await api.get(`/api/v1/candles?${query}`);
        assert.equal(response.status, status, query);
        assert.match(response.headers.get("content-type") ?? "", /^application\/problem\+json/);
        const problem = problemSchema.strict().parse(await response.json());
        assert.match(problem.detail, pattern);
        assert.notEqual(problem.remedy, "");
      }
      const meant = await (await api.get("/api/v1/candles?symbol=BTCUSD&timeframe=1m")).json();
      assert.match((meant as { remedy: string }).remedy, /Did you mean BTCUSDT\?/);
    });
  });

  describe("what is stored and what is not", () => {
    test("gaps with reasons", async () => {
      const { gaps } = (await json("/api/v1/gaps")) as { gaps: Record<string, unknown>[] };
      assert.equal(gaps.length, 1);
      assert.equal(gaps[0]?.reason, "not-fetched");
      assert.equal(gaps[0]?.candleCount, 1);
      assert.deepEqual((await json("/api/v1/gaps?state=confirmed")).gaps, []);
      assert.deepEqual((await json(`/api/v1/gaps?from=${FIRST + 6 * MINUTE}`)).gaps, []);
    });

    test("coverage of a day with an open gap, and of one that nobody ingests", async () => {
      const { series } = (await json("/api/v1/coverage?from=2025-12-30&to=2026-01-02")) as {
        series: { series: Series; days: Record<string, unknown>[] }[];
      };
      assert.deepEqual(series[0]?.days, [
        {
          day: "2026-01-01",
          state: "gap",
          expectedCount: 10,
          storedCount: 9,
          confirmedCount: 1,
          absent: [{ reason: "not-fetched", state: "open", count: 1 }],
        },
      ]);
      const eth = series.find((one) => one.series.symbol === "ETHUSDT");
      assert.equal(eth?.days[0]?.state, "complete");
      assert.equal(eth?.days[0]?.expectedCount, 1);
    });

    test("verification sums it up", async () => {
      const { series } = (await json("/api/v1/verification?symbols=BTCUSDT")) as {
        series: Record<string, unknown>[];
      };
      assert.equal(series[0]?.storedCount, 9);
      assert.equal(series[0]?.confirmedCount, 1);
      assert.equal(series[0]?.openGapCandles, 1);
    });

    test("revisions show both versions", async () => {
      const { revisions } = (await json("/api/v1/revisions?symbol=BTCUSDT&timeframe=1m")) as {
        revisions: { replaced: { close: string }; replacedBy: { source: string } }[];
      };
      assert.equal(revisions.length, 1);
      assert.equal(revisions[0]?.replaced.close, "1.50");
      assert.equal(revisions[0]?.replacedBy.source, "rest");
    });

    test("status and its summary are those of the one function", async () => {
      const { series } = (await json("/api/v1/status")) as { series: Record<string, unknown>[] };
      assert.equal(series.length, 1);
      const { counts, openGapCount } = await json("/api/v1/status/summary");
      assert.deepEqual(counts, { [String(series[0]?.status)]: 1 });
      assert.equal(openGapCount, 1);
    });

    test("too many days at once are refused before anything is counted", async () => {
      const response = await api.get("/api/v1/coverage?from=0");
      assert.equal(response.status, 400);
      assert.match(
        ((await response.json()) as { detail: string }).detail,
        /more than 50000 at once/,
      );
    });
  });

  describe("the description", () => {
    const PATHS: Readonly<Record<string, string>> = {
      getCandles: "/api/v1/candles?symbol=BTCUSDT&timeframe=1m&forming=true",
      listRevisions: "/api/v1/revisions?symbol=BTCUSDT&timeframe=1m",
      getJob: "/api/v1/jobs/1",
    };

    test("has every route that is served, and no other", async () => {
      const server = fastify();
      const served: string[] = [];
      server.addHook("onRoute", ({ method, url }) => {
        for (const one of [method].flat()) {
          if (one !== "HEAD" && url !== "/openapi.json") served.push(`${one} ${url}`);
        }
      });
      apiFace(server, { version: "1" } as FaceContext);
      const document = (await json("/openapi.json")) as {
        paths: Record<string, Record<string, unknown>>;
      };
      const described = Object.entries(document.paths).flatMap(([path, operations]) =>
        Object.keys(operations).map(
          (method) => `${method.toUpperCase()} ${path.replace(/\{(\w+)\}/g, ":$1")}`,
        ),
      );
      assert.deepEqual(described.sort(), served.sort());
    });

    test("every reference leads somewhere, every operation has an id of its own", async () => {
      const document = await json("/openapi.json");
      const text = JSON.stringify(document);
      const { schemas } = document.components as { schemas: object };
      for (const [, name = ""] of text.matchAll(/"#\/components\/schemas\/(\w+)"/g)) {
        assert.ok(name in schemas, name);
      }
      assert.doesNotMatch(text, /\$defs/);
      const ids = [...text.matchAll(/"operationId":"(\w+)"/g)].map(([, id]) => id);
      assert.equal(new Set(ids).size, apiRoutes().length);
    });

    for (const one of apiRoutes()) {
      if (one.method !== "GET" || one.id === "watch") continue;
      test(`${one.path} answers as described`, async () => {
        if (one.id === "getJob") {
          const response = await fetch(`${api.url}/api/v1/jobs`, {
            method: "POST",
            headers: { authorization: `Bearer ${TOKEN}`, "content-type": "application/json" },
            body: JSON.stringify({ kind: "verify" }),
          });
          assert.equal(response.status, 202);
        }
        const answer = await json(PATHS[one.id] ?? one.path);
        const schema = one.answers[200]?.schema;
        assert.ok(schema);
        // Nothing is in an answer that is not described.
        assert.deepEqual(schema.parse(answer), answer);
      });
    }
  });

  test("the query connections cannot write, and a slow query is ended by the server", async () => {
    await assert.rejects(api.queries.saveConfirmed(BTC, 0, 1, []), /read-only/);
  });
});
