import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { Series } from "../src/core/series.ts";
import { type ApiStack, startApi, versionOf } from "./support/api-stack.ts";
import { createTestDatabase, sharedServer, type TestDatabase } from "./support/postgres.ts";

const MINUTE = 60_000;
const FIRST = Date.UTC(2026, 0, 1);
const DUE = FIRST + 10 * MINUTE;
const SERIES_COUNT = 80;
const ALL: readonly Series[] = Array.from({ length: SERIES_COUNT }, (_, index) => ({
  exchange: "binance",
  symbol: `S${String(index).padStart(2, "0")}USDT`,
  timeframe: "1m",
}));
const [STORED, EMPTY] = ALL as [Series, Series];

describe("what is not known is not shown as known", () => {
  let database: TestDatabase;
  let api: ApiStack;
  let now = DUE;

  before(async () => {
    database = await createTestDatabase(await sharedServer(), "migrated");
    api = await startApi(database.url, { now: () => now });
    await api.store.begin({ mode: "websocket", host: "h", pid: 1 }, ALL);
    await api.store.want(
      ALL.map((series) => ({ series, wantedFrom: FIRST })),
      DUE,
    );
    const minutes = Array.from({ length: 9 }, (_, index) => FIRST + index * MINUTE);
    await api.store.write(
      minutes.map((time) => versionOf(STORED, time)),
      [{ series: STORED, next: FIRST + 9 * MINUTE }],
    );
    const elsewhere = { ...ALL[5], exchange: "kraken" } as Series;
    await api.store.write([versionOf(elsewhere, FIRST)], []);
    await api.store.open(
      ALL.map((series) => ({
        series,
        range: { from: FIRST - 86_400_000, to: FIRST - 86_340_000 },
        reason: "not-fetched",
        state: "open",
        foundTime: DUE,
        emptyAnswers: 0,
        nextTryTime: DUE,
      })),
    );
  });

  after(async () => {
    await api.close();
    await database.drop();
  });

  const json = async (path: string, status = 200): Promise<Record<string, unknown>> => {
    const response = await api.get(path);
    assert.equal(response.status, status, await response.clone().text());
    return (await response.json()) as Record<string, unknown>;
  };
  const dayOf = async (): Promise<{ state: string; expectedCount: number }> => {
    const { series } = (await json(
      `/api/v1/coverage?symbols=${STORED.symbol}&from=2026-01-01&to=2026-01-01T00:01Z`,
    )) as { series: { days: { state: string; expectedCount: number }[] }[] };
    const [day] = series[0]?.days ?? [];
    assert.ok(day);
    return day;
  };

  test("the gaps of more series than queries may wait are told at once", async () => {
    const { gaps } = await json("/api/v1/gaps");
    assert.equal((gaps as unknown[]).length, SERIES_COUNT);
  });

  test("a symbol or timeframe that there is not is no empty answer", async () => {
    for (const path of ["gaps", "coverage", "verification"]) {
      const unknown = await json(`/api/v1/${path}?symbols=S00USDT,S01USD`, 404);
      assert.match(String(unknown.detail), /"S01USD" is not collected/);
      assert.match(String(unknown.remedy), /S01USDT/);
      const wrong = await json(`/api/v1/${path}?timeframes=1m,4x`, 400);
      assert.match(String(wrong.detail), /timeframes.*is not a timeframe/);
      const absent = await json(`/api/v1/${path}?timeframes=1M`, 404);
      assert.match(String(absent.detail), /1M is not collected/);
    }
  });

  test("series are picked one by one, and one that there is not is no empty answer", async () => {
    for (const path of ["gaps", "coverage", "verification"]) {
      const range = path === "gaps" ? "" : "&from=2026-01-01&to=2026-01-02";
      const picked = await json(`/api/v1/${path}?series=S03USDT:1m,binance:s01usdt:1m${range}`);
      const symbols = ((picked.series ?? picked.gaps) as { series: Series }[]).map(
        ({ series }) => series.symbol,
      );
      assert.deepEqual(symbols, ["S01USDT", "S03USDT"], path);
      const unknown = await json(`/api/v1/${path}?series=S01USDT:1m,S01USD:1m`, 404);
      assert.match(String(unknown.detail), /"S01USD" 1m is not collected/);
      assert.match(String(unknown.remedy), /S01USDT/);
      await json(`/api/v1/${path}?series=kraken:S01USDT:1m`, 404);
      const wrong = await json(`/api/v1/${path}?series=S01USDT`, 400);
      assert.match(String(wrong.detail), /series.*"S01USDT" is not SYMBOL:TIMEFRAME/);
    }
  });

  test("of one exchange, what another one has is not collected", async () => {
    for (const query of ["symbols=S05USDT,S06USDT", "series=S05USDT:1m,S06USDT:1m"]) {
      const unknown = await json(`/api/v1/gaps?exchange=kraken&${query}`, 404);
      assert.match(String(unknown.detail), /"S06USDT".* is not collected/, query);
    }
    const alone = await json("/api/v1/gaps?exchange=kraken&symbols=S06USDT", 404);
    assert.match(String(alone.detail), /"S06USDT" is not collected/);
    await json("/api/v1/gaps?exchange=kraken&symbols=S05USDT");
    await json("/api/v1/gaps?series=,", 400);
  });

  test("a part of the states says of how many it is one, what needs a look first", async () => {
    now = DUE + 30_000;
    const of = async (query: string) =>
      (await json(`/api/v1/status?${query}`)) as {
        foundCount: number;
        series: { series: Series; status: string }[];
      };
    const all = await of("");
    assert.equal(all.foundCount, SERIES_COUNT);
    assert.deepEqual(
      all.series.map(({ series }) => series.symbol),
      ALL.map(({ symbol }) => symbol),
    );
    const part = await of("order=urgency&limit=3");
    assert.equal(part.foundCount, SERIES_COUNT);
    assert.equal(part.series.length, 3);
    const found = await of("find=s0%201M&limit=4");
    assert.equal(found.foundCount, 10);
    assert.deepEqual(
      found.series.map(({ series }) => series.symbol),
      ["S00USDT", "S01USDT", "S02USDT", "S03USDT"],
    );
    const [{ status = "" } = {}] = all.series;
    const sameCount = all.series.filter((one) => one.status === status).length;
    assert.equal((await of(`find=${status}%20rest`)).foundCount, sameCount);
    assert.deepEqual(await of("find=nothing").then(({ series }) => series), []);
    await json("/api/v1/status?limit=0", 400);
    await json("/api/v1/status?order=age", 400);
  });

  test("a candle on its way is no gap; one that does not come is", async () => {
    now = DUE + 100;
    assert.deepEqual(pick(await dayOf()), { state: "complete", expectedCount: 9 });
    now = DUE + 30_000;
    assert.deepEqual(pick(await dayOf()), { state: "gap", expectedCount: 10 });
  });

  test("of nothing no share is confirmed", async () => {
    const { series } = (await json(
      `/api/v1/verification?symbols=${EMPTY.symbol}&from=2026-01-01&to=2026-01-02`,
    )) as { series: { storedCount: number; confirmedShare: number | null }[] };
    assert.equal(series[0]?.storedCount, 0);
    assert.equal(series[0]?.confirmedShare, null);
  });

  test("a day that the calendar has not is not taken for another", async () => {
    for (const day of ["2026-02-30", "2026-02-29T12:00Z", "2026-04-31"]) {
      await json(`/api/v1/candles?symbol=${STORED.symbol}&timeframe=1m&from=${day}`, 400);
    }
    await json(`/api/v1/candles?symbol=${STORED.symbol}&timeframe=1m&from=2024-02-29`);
  });
});

function pick({ state, expectedCount }: { state: string; expectedCount: number }): object {
  return { state, expectedCount };
}
