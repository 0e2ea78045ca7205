import assert from "node:assert/strict";
import { type AddressInfo, createServer as createTcpServer, type Socket } from "node:net";
import { type TestContext, test } from "node:test";
import { gzipSync } from "node:zlib";
import { WeightBudget } from "../src/core/budget.ts";
import { BlackTradeError, SourceHoldError } from "../src/core/errors.ts";
import type { IngestEvent } from "../src/core/events.ts";
import { ExchangeTime } from "../src/core/exchange-time.ts";
import { judgeRows } from "../src/core/finality.ts";
import type { Ban, Clock, HistoryPage } from "../src/core/ports.ts";
import type { TimeRange } from "../src/core/range.ts";
import type { Series } from "../src/core/series.ts";
import { type BinanceRest, createBinanceRest } from "../src/exchanges/binance/index.ts";
import { scaledClock, virtualClock } from "./support/clocks.ts";
import { freePort } from "./support/free-port.ts";
import {
  type Answer,
  type ScriptedHttp,
  type SeenRequest,
  scriptedHttp,
} from "./support/scripted-http.ts";

const MINUTE = 60_000;
const NOW = Date.UTC(2026, 5, 1, 12, 0, 30);
const T0 = Date.UTC(2026, 5, 1, 0, 0, 0);
const SERIES: Series = { exchange: "binance", symbol: "BTCUSDT", timeframe: "1m" };
const at = (minute: number): number => T0 + minute * MINUTE;

interface Bench {
  readonly rest: BinanceRest;
  readonly server: ScriptedHttp;
  readonly budget: WeightBudget;
  readonly exchangeTime: ExchangeTime;
  readonly events: IngestEvent[];
  readonly bans: Ban[];
  readonly signal: AbortSignal;
}

interface Given {
  readonly clock?: Clock;
  readonly baseUrl?: string;
  readonly deadlineMs?: number;
  readonly isTimeUnknown?: boolean;
  readonly onHold?: (ban: Ban) => Promise<void>;
}

/** The adapter against a scripted server; exchange time stands at `NOW` unless a clock is given. */
async function bench(
  t: TestContext,
  script: (request: SeenRequest, index: number) => Answer | Promise<Answer>,
  given: Given = {},
): Promise<Bench> {
  const server = await scriptedHttp(t, script);
  const clock = given.clock ?? virtualClock(NOW);
  const exchangeTime = new ExchangeTime();
  if (given.isTimeUnknown !== true) {
    exchangeTime.observeRoundTrip(clock.monotonic(), clock.monotonic(), NOW);
  }
  const budget = new WeightBudget(6_000);
  const events: IngestEvent[] = [];
  const bans: Ban[] = [];
  const controller = new AbortController();
  t.after(() => controller.abort());
  const rest = createBinanceRest({
    baseUrl: given.baseUrl ?? server.url,
    clock,
    exchangeTime,
    budget,
    random: () => 0,
    record: (event) => events.push(event),
    onHold: given.onHold ?? (async (ban) => void bans.push(ban)),
    ...(given.deadlineMs === undefined ? {} : { deadlineMs: given.deadlineMs }),
  });
  return { rest, server, budget, exchangeTime, events, bans, signal: controller.signal };
}

function wireRow(openTime: number, tradeCount = 3): unknown[] {
  const closeTime = openTime + MINUTE - 1;
  return [openTime, "1.10", "1.30", "1.00", "1.20", "5", closeTime, "6", tradeCount, "2", "3", "0"];
}

/** A history of one-minute candles served as the exchange serves it. */
function served(history: readonly number[], mostRows = 1_000): (request: SeenRequest) => Answer {
  return ({ query }) => {
    const start = Number(query.get("startTime"));
    const end = Number(query.get("endTime") ?? Number.MAX_SAFE_INTEGER);
    const limit = Math.min(mostRows, Number(query.get("limit") ?? 500));
    const rows = history.filter((time) => time >= start && time <= end).slice(0, limit);
    return { body: rows.map((time) => wireRow(time)) };
  };
}

async function pagesOf(
  { rest, signal }: Bench,
  range: TimeRange,
  most = 20,
): Promise<HistoryPage[]> {
  const pages: HistoryPage[] = [];
  for await (const page of rest.candles(SERIES, range, signal, "heal")) {
    pages.push(page);
    assert.ok(pages.length <= most, "endless pages");
  }
  return pages;
}

const minutes = (from: number, to: number): number[] =>
  Array.from({ length: to - from }, (_, index) => at(from + index));

async function errorOf(promise: Promise<unknown>): Promise<BlackTradeError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof BlackTradeError, `expected a BlackTradeError, got ${error}`);
  assert.doesNotMatch(error.message, /\n/);
  assert.match(error.remedy, /\S/);
  return error;
}

/** The error that a request for candles ends with. */
async function failure(t: TestContext, answer: Answer, given?: Given): Promise<BlackTradeError> {
  const b = await bench(t, () => answer, given);
  const error = await errorOf(pagesOf(b, { from: at(0), to: at(5) }));
  assert.equal(b.server.seen.length, 1, "nothing is tried twice");
  return error;
}

test("candles come in pages of 1000 that tile the range, holes included", async (t) => {
  const history = [...minutes(0, 400), ...minutes(500, 700), ...minutes(705, 2_400)];
  const b = await bench(t, served(history), { clock: virtualClock(NOW + 4 * 86_400_000) });
  b.exchangeTime.observeRoundTrip(0, 0, NOW + 4 * 86_400_000);
  const range = { from: at(0), to: at(2_500) };
  const pages = await pagesOf(b, range);
  assert.deepEqual(
    pages.flatMap(({ rows }) => rows.map(({ openTime }) => openTime)),
    history,
  );
  let from = range.from;
  for (const page of pages) {
    assert.equal(page.range.from, from);
    assert.equal(page.source, "rest");
    from = page.range.to;
  }
  assert.equal(from, range.to);
  const [first] = b.server.seen;
  assert.deepEqual(Object.fromEntries(first?.query ?? []), {
    symbol: "BTCUSDT",
    interval: "1m",
    startTime: String(at(0)),
    endTime: String(at(2_500) - 1),
    limit: "1000",
  });
});

test("an exchange that gives fewer rows than asked for loses none", async (t) => {
  const history = minutes(0, 23);
  const b = await bench(t, served(history, 5));
  const pages = await pagesOf(b, { from: at(0), to: at(40) });
  assert.equal(pages.flatMap(({ rows }) => rows).length, 23);
  assert.equal(pages.at(-1)?.range.to, at(40));
});

test("up to now no end is sent, and the forming successor proves the last close", async (t) => {
  const b = await bench(t, served(minutes(715, 721)));
  const pages = await pagesOf(b, { from: at(715), to: Number.MAX_SAFE_INTEGER });
  assert.equal(pages.length, 1);
  assert.equal(b.server.seen.length, 1);
  assert.equal(b.server.seen[0]?.query.has("endTime"), false);
  const [page] = pages;
  assert.ok(page);
  assert.equal(page.askedTime, NOW);
  const judged = judgeRows("1m", page.rows, page.askedTime);
  assert.deepEqual(
    judged.forming.map(({ openTime }) => openTime),
    [at(720)],
  );
  assert.equal(judged.early.length + judged.settled.length, 5);
});

test("a range that begins in the future is not asked for", async (t) => {
  const b = await bench(t, served([]));
  assert.deepEqual(await pagesOf(b, { from: NOW + MINUTE, to: NOW + 9 * MINUTE }), []);
  assert.deepEqual(await pagesOf(b, { from: at(9), to: at(9) }), []);
  assert.equal(b.server.seen.length, 0);
});

test("a server that repeats itself for ever is found out", async (t) => {
  const page = minutes(0, 1_000).map((time) => wireRow(time));
  const b = await bench(t, () => ({ body: page }), { clock: virtualClock(NOW + 4 * 86_400_000) });
  b.exchangeTime.observeRoundTrip(0, 0, NOW + 4 * 86_400_000);
  const error = await errorOf(pagesOf(b, { from: at(0), to: at(5_000) }));
  assert.equal(error.code, "E_SOURCE_BAD_ANSWER");
  assert.match(error.message, /asked for BTCUSDT 1m from .* and sent other candles/);
  assert.equal(b.server.seen.length, 2);
});

test("rows out of order and repeated are put right", async (t) => {
  const rows = [2, 0, 1, 2, 0].map((minute) => wireRow(at(minute)));
  const b = await bench(t, () => ({ body: rows }));
  const pages = await pagesOf(b, { from: at(0), to: at(3) });
  assert.deepEqual(
    pages.flatMap((page) => page.rows.map(({ openTime }) => openTime)),
    [at(0), at(1), at(2)],
  );
});

test("the first candle is asked for by a start of 0", async (t) => {
  const b = await bench(t, served([at(7), at(8)]));
  assert.equal(await b.rest.firstOpenTime(SERIES, b.signal), at(7));
  const empty = await bench(t, served([]));
  assert.equal(await empty.rest.firstOpenTime(SERIES, empty.signal), undefined);
  assert.equal(b.server.seen[0]?.query.get("startTime"), "0");
  assert.equal(b.server.seen[0]?.query.get("limit"), "1");
});

test("symbols of other scripts go percent-encoded", async (t) => {
  const b = await bench(t, served([]));
  await b.rest.firstOpenTime({ ...SERIES, symbol: "币安人生USDT" }, b.signal);
  assert.equal(b.server.seen[0]?.query.get("symbol"), "币安人生USDT");
});

test("the list of symbols sets the request limit", async (t) => {
  const b = await bench(t, () => ({
    body: {
      rateLimits: [
        { rateLimitType: "REQUEST_WEIGHT", interval: "MINUTE", intervalNum: 1, limit: 100 },
      ],
      symbols: [{ symbol: "ETHBTC", status: "TRADING", baseAsset: "ETH", quoteAsset: "BTC" }],
    },
  }));
  const [market] = await b.rest.markets(b.signal);
  assert.equal(market?.symbol, "ETHBTC");
  assert.ok(b.budget.take(80, "live", NOW + MINUTE) === 0);
  assert.ok(b.budget.take(20, "live", NOW + MINUTE) > 0, "90 % of 100 is the most");
});

test("time is taken from the middle of the round trip", async (t) => {
  const clock = virtualClock(NOW - 7_000);
  const b = await bench(
    t,
    async () => {
      await clock.advance(400);
      return { body: { serverTime: NOW } };
    },
    { clock, isTimeUnknown: true },
  );
  await b.rest.syncTime(b.signal);
  assert.equal(b.exchangeTime.now(clock.monotonic()), NOW + 200);
  assert.equal(b.exchangeTime.errorMs, 200);
});

test("a time answer that took too long only says how late it is at least", async (t) => {
  const clock = virtualClock(NOW);
  const b = await bench(
    t,
    async () => {
      await clock.advance(6_000);
      return { body: { serverTime: NOW + 1_000 } };
    },
    { clock, isTimeUnknown: true },
  );
  await b.rest.syncTime(b.signal);
  assert.equal(b.exchangeTime.now(clock.monotonic()), NOW + 1_000);
});

test("a time that was only assumed gives way to an answer that took too long", async (t) => {
  const clock = virtualClock(NOW);
  const b = await bench(
    t,
    async () => {
      await clock.advance(6_000);
      return { body: { serverTime: NOW + 1_000 } };
    },
    { clock, isTimeUnknown: true },
  );
  b.exchangeTime.seed(NOW + 3_600_000, clock.monotonic());
  await b.rest.syncTime(b.signal);
  assert.equal(b.exchangeTime.now(clock.monotonic()), NOW + 1_000);
});

test("history asks for the time first when nobody knows it", async (t) => {
  const b = await bench(
    t,
    (request) => (request.path === "/api/v3/time" ? { body: { serverTime: NOW } } : { body: [] }),
    { isTimeUnknown: true },
  );
  await pagesOf(b, { from: at(0), to: at(3) });
  assert.deepEqual(
    b.server.seen.map(({ path }) => path),
    ["/api/v3/time", "/api/v3/klines"],
  );
});

test("a base address may have a path of its own", async (t) => {
  const server = await scriptedHttp(t, () => ({ body: [] }));
  const b = await bench(t, () => ({ body: [] }), { baseUrl: `${server.url}/proxy/` });
  await b.rest.firstOpenTime(SERIES, b.signal);
  assert.equal(server.seen[0]?.path, "/proxy/api/v3/klines");
});

test("plain http is for this machine only", () => {
  const options = {
    clock: virtualClock(),
    exchangeTime: new ExchangeTime(),
    budget: new WeightBudget(6_000),
    random: () => 0,
    record: () => undefined,
    onHold: async () => undefined,
  };
  for (const baseUrl of [
    "http://api.binance.com",
    "http://127.0.0.1.evil.com",
    "ftp://x",
    "nonsense",
  ]) {
    assert.throws(
      () => createBinanceRest({ ...options, baseUrl }),
      (error) => error instanceof BlackTradeError && error.code === "E_CONFIG",
    );
  }
  for (const baseUrl of [
    "https://api.binance.com",
    "http://127.0.0.1:9",
    "http://localhost:9",
    "http://[::1]:9",
  ]) {
    createBinanceRest({ ...options, baseUrl });
  }
});

test("the exchange's own count drives the budget", async (t) => {
  const b = await bench(t, () => ({ headers: { "x-mbx-used-weight-1m": "5399" }, body: [] }));
  await b.rest.firstOpenTime(SERIES, b.signal);
  assert.equal(b.budget.usedAt(NOW), 5_399);
  assert.ok(b.budget.take(2, "live", NOW) > 0);
  const done = b.events.find((event) => event.kind === "requestDone");
  assert.ok(done?.kind === "requestDone");
  assert.deepEqual([done.path, done.httpStatus, done.usedWeight], ["/api/v3/klines", 200, 5_399]);
});

test("without the header the own sum counts; garbage in it counts as none", async (t) => {
  const b = await bench(t, () => ({ headers: { "x-mbx-used-weight-1m": "lots" }, body: [] }));
  await b.rest.firstOpenTime(SERIES, b.signal);
  assert.equal(b.budget.usedAt(NOW), 2);
});

test("when the budget is used up a request waits for the next minute, and can be given up", async (t) => {
  const clock = virtualClock(NOW);
  const b = await bench(t, () => ({ body: [] }), { clock });
  b.budget.settle(0, NOW, 6_000);
  const asked = b.rest.firstOpenTime(SERIES, b.signal);
  await clock.advance(29_000);
  assert.equal(b.server.seen.length, 0);
  await clock.advance(1_001);
  await asked;
  assert.equal(b.server.seen.length, 1);

  b.budget.settle(0, NOW + 31_000, 6_000);
  const controller = new AbortController();
  const given = b.rest.firstOpenTime(SERIES, controller.signal);
  controller.abort(new Error("no more"));
  await assert.rejects(given, /no more/);
  assert.equal(clock.sleeperCount, 0);
});

const TOO_MANY = { code: -1003, msg: "Too much request weight used; current limit is 6000." };

test("429: everybody waits until Retry-After", async (t) => {
  const clock = virtualClock(NOW);
  const b = await bench(
    t,
    (_request, index) =>
      index === 0
        ? { status: 429, headers: { "retry-after": "35" }, body: TOO_MANY }
        : { body: [] },
    { clock },
  );
  const error = await errorOf(b.rest.firstOpenTime(SERIES, b.signal));
  assert.ok(error instanceof SourceHoldError);
  assert.equal(error.code, "E_SOURCE_RATE_LIMIT");
  assert.equal(error.untilTime, NOW + 35_000);
  assert.match(error.message, /asks for no request until 2026-06-01T12:01:05.000Z \(429\)/);
  assert.deepEqual(b.bans, [{ exchange: "binance", untilTime: NOW + 35_000, httpStatus: 429 }]);
  assert.equal(b.events.filter(({ kind }) => kind === "held").length, 1);
  assert.equal(b.budget.heldUntil, NOW + 35_000);

  const next = b.rest.firstOpenTime(SERIES, b.signal);
  await clock.advance(34_999);
  assert.equal(b.server.seen.length, 1, "no request during the hold");
  await clock.advance(1);
  await next;
  assert.equal(b.server.seen.length, 2);
});

test("a hold that several requests under way meet is told once, a longer one again", async (t) => {
  const clock = virtualClock(NOW);
  const answers = [10, 10, 10, 90].map((seconds) => ({
    status: 429,
    headers: { "retry-after": String(seconds) },
    body: TOO_MANY,
  }));
  const arrived = Promise.withResolvers<void>();
  const b = await bench(
    t,
    async (_request, index) => {
      if (index === 2) arrived.resolve();
      if (index < 3) await arrived.promise;
      return answers[index] ?? { body: [] };
    },
    { clock },
  );
  const held = (): number => b.events.filter(({ kind }) => kind === "held").length;
  await Promise.all(
    ["1m", "5m", "1h"].map((timeframe) => {
      const series = { ...SERIES, timeframe } as typeof SERIES;
      return errorOf(b.rest.firstOpenTime(series, b.signal));
    }),
  );
  assert.equal(held(), 1);
  const later = errorOf(b.rest.firstOpenTime(SERIES, b.signal));
  await clock.advance(10_000);
  await later;
  assert.equal(held(), 2);
});

test("418: the later of Retry-After and of the instant that the body names", async (t) => {
  const end = NOW + 600_000;
  const body = {
    code: -1003,
    msg: `Way too much request weight used; IP banned until ${end}. Please`,
  };
  const cases: readonly (readonly [string | undefined, unknown, number])[] = [
    ["60", body, end],
    ["1200", body, NOW + 1_200_000],
    [undefined, body, end],
    ["soon", body, end],
    ["300", "", NOW + 300_000],
    [undefined, "<html>", NOW + 120_000],
    ["60", { code: -1003, msg: `IP banned until ${NOW + 9e9}.` }, NOW + 3 * 86_400_000],
    ["99999999", "", NOW + 3 * 86_400_000],
    ["-5", "", NOW + 120_000],
  ];
  for (const [retryAfter, said, until] of cases) {
    const headers: Record<string, string> =
      retryAfter === undefined ? {} : { "retry-after": retryAfter };
    const b = await bench(t, () => ({ status: 418, headers, body: said }));
    const error = await errorOf(b.rest.firstOpenTime(SERIES, b.signal));
    assert.ok(error instanceof SourceHoldError);
    assert.equal(error.code, "E_SOURCE_BANNED");
    assert.equal(error.untilTime, until, `${retryAfter} ${JSON.stringify(said)}`);
    assert.equal(b.budget.heldUntil, until);
    assert.equal(b.bans[0]?.untilTime, until);
  }
});

test("403 from the firewall holds for ten minutes", async (t) => {
  const body = "<!DOCTYPE HTML><TITLE>ERROR: The request could not be satisfied</TITLE>";
  const b = await bench(t, () => ({ status: 403, headers: { "content-type": "text/html" }, body }));
  const error = await errorOf(b.rest.firstOpenTime(SERIES, b.signal));
  assert.equal(error.code, "E_SOURCE_BLOCKED");
  assert.equal(b.budget.heldUntil, NOW + 600_000);
  assert.equal(b.bans[0]?.httpStatus, 403);
});

test("the false clock of whoever forbids decides neither what is closed nor how long it holds", async (t) => {
  const clock = virtualClock(NOW);
  const realTime = (): number => NOW + clock.monotonic();
  const headers = { "content-type": "text/html", date: new Date(NOW + 3_600_000).toUTCString() };
  const b = await bench(
    t,
    (request, index) => {
      if (index === 0) return { status: 403, headers, body: "<html>blocked</html>" };
      if (request.path === "/api/v3/time") return { body: { serverTime: realTime() } };
      const forming = Math.floor(realTime() / MINUTE) * MINUTE;
      return served([forming - MINUTE, forming])(request);
    },
    { clock },
  );
  await errorOf(b.rest.firstOpenTime(SERIES, b.signal));
  assert.ok(b.budget.heldUntil >= NOW + 600_000);
  await clock.advance(600_000);
  const forming = Math.floor(realTime() / MINUTE) * MINUTE;
  const range = { from: forming - MINUTE, to: Number.MAX_SAFE_INTEGER };
  const [page] = await pagesOf(b, range);
  assert.ok(page !== undefined && page.askedTime <= realTime(), "asked in the future");
  const { settled, early, forming: open } = judgeRows("1m", page.rows, page.askedTime);
  assert.deepEqual(
    [settled, early, open].map((rows) => rows.map(({ openTime }) => openTime)),
    [[], [forming - MINUTE], [forming]],
  );
  assert.ok(b.budget.heldUntil <= b.exchangeTime.now(clock.monotonic()), "the hold begins anew");
  // The ledger of holds may tell it once more.
  const [ban] = b.bans;
  b.budget.hold(ban?.untilTime ?? assert.fail());
  assert.equal(b.budget.take(2, "live", b.exchangeTime.now(clock.monotonic())), 0);
});

test("a ban counts although its body never comes", async (t) => {
  const b = await bench(t, () => (response) => {
    response.writeHead(418, { "retry-after": "240", "content-length": "500" });
    response.write("{");
    setTimeout(() => response.destroy(), 20);
  });
  const error = await errorOf(b.rest.firstOpenTime(SERIES, b.signal));
  assert.equal(error.code, "E_SOURCE_BANNED");
  assert.equal(b.budget.heldUntil, NOW + 240_000);
});

test("a -1003 holds whatever status it comes with", async (t) => {
  for (const status of [200, 400, 503]) {
    const b = await bench(t, () => ({ status, body: TOO_MANY }));
    const error = await errorOf(b.rest.firstOpenTime(SERIES, b.signal));
    assert.equal(error.code, "E_SOURCE_RATE_LIMIT");
    assert.equal(b.budget.heldUntil, NOW + 60_000);
  }
});

test("a hold that cannot be kept in the database still stands", async (t) => {
  const b = await bench(t, () => ({ status: 429, body: TOO_MANY }), {
    onHold: async () => {
      throw new Error("database is away");
    },
  });
  const error = await errorOf(b.rest.firstOpenTime(SERIES, b.signal));
  assert.equal(error.code, "E_SOURCE_RATE_LIMIT");
  assert.match(String(error.cause), /database is away/);
  assert.equal(b.budget.heldUntil, NOW + 60_000);
});

const HTML = { "content-type": "text/html; charset=UTF-8" };
const ROWS = JSON.stringify(minutes(0, 5).map((time) => wireRow(time)));
const FAILURES: readonly (readonly [string, Answer, BlackTradeError["code"], RegExp])[] = [
  [
    "451",
    { status: 451, body: { code: 0, msg: "Service unavailable from a restricted location" } },
    "E_SOURCE_REGION",
    /is closed to this region \(451\)$/,
  ],
  [
    "400 -1121",
    { status: 400, body: { code: -1121, msg: "Invalid symbol." } },
    "E_SOURCE_SYMBOL",
    /has no symbol BTCUSDT$/,
  ],
  [
    "400 -1120",
    { status: 400, body: { code: -1120, msg: "Invalid interval." } },
    "E_SOURCE_REFUSED",
    /Invalid interval\. \(400, code -1120\)/,
  ],
  [
    "404",
    { status: 404, headers: HTML, body: "<html>" },
    "E_SOURCE_REFUSED",
    /refused the request \(404\)/,
  ],
  [
    "500 HTML",
    { status: 500, headers: HTML, body: "<html>" },
    "E_SOURCE_SERVER",
    /has an internal error \(500\)/,
  ],
  ["502 empty", { status: 502 }, "E_SOURCE_SERVER", /has an internal error \(502\)/],
  [
    "503 -1008",
    { status: 503, body: { code: -1008, msg: "Server is currently overloaded." } },
    "E_SOURCE_SERVER",
    /is in trouble: Server is currently overloaded\. \(503, code -1008\)/,
  ],
  [
    "400 -1008",
    { status: 400, body: { code: -1008, msg: "Server is currently overloaded." } },
    "E_SOURCE_SERVER",
    /is in trouble/,
  ],
  [
    "504 -1007",
    { status: 504, body: { code: -1007, msg: "Timeout waiting for response." } },
    "E_SOURCE_TIMEOUT",
    /did not answer in time/,
  ],
  [
    "500 -1000",
    { status: 500, body: { code: -1000, msg: "Unknown." } },
    "E_SOURCE_SERVER",
    /code -1000/,
  ],
  [
    "HTML with 200",
    { headers: HTML, body: "<!DOCTYPE html><title>Login</title>" },
    "E_SOURCE_BAD_ANSWER",
    /web page \(HTML\)/,
  ],
  [
    "HTML as JSON",
    { body: "  <html><body>maintenance" },
    "E_SOURCE_BAD_ANSWER",
    /web page \(HTML\)/,
  ],
  ["truncated JSON", { body: ROWS.slice(0, -20) }, "E_SOURCE_BAD_ANSWER", /broken JSON/],
  [
    "wrong content type",
    { headers: { "content-type": "text/plain" }, body: ROWS },
    "E_SOURCE_BAD_ANSWER",
    /content type "text\/plain"/,
  ],
  ["empty body", { body: "" }, "E_SOURCE_BAD_ANSWER", /empty answer/],
  ["{} for []", { body: {} }, "E_SOURCE_BAD_ANSWER", /another shape: expected rows, got an object/],
  ["null", { body: "null" }, "E_SOURCE_BAD_ANSWER", /another shape/],
  [
    "numbers for texts",
    { body: [[at(0), 1.1, 1.3, 1, 1.2, 5, at(1) - 1, 6, 3, 2, 3, 0]] },
    "E_SOURCE_BAD_ANSWER",
    /row 0: open is 1\.1/,
  ],
  [
    "200 with an error body",
    { body: { code: -1121, msg: "Invalid symbol." } },
    "E_SOURCE_SYMBOL",
    /has no symbol/,
  ],
  [
    "bytes that are not UTF-8",
    { body: Buffer.from([0x5b, 0xff, 0xfe, 0x5d]) },
    "E_SOURCE_BAD_ANSWER",
    /not UTF-8/,
  ],
  [
    "redirect",
    { status: 302, headers: { location: "http://evil.example/" } },
    "E_SOURCE_BAD_ANSWER",
    /redirects to another address \(302\)/,
  ],
  [
    "cut off in the middle",
    (response) => {
      response.writeHead(200, { "content-type": "application/json", "content-length": "5000" });
      response.write("[[");
      setTimeout(() => response.destroy(), 20);
    },
    "E_SOURCE_BAD_ANSWER",
    /broke off/,
  ],
  [
    "hung up without a word",
    (response) => void response.destroy(),
    "E_SOURCE_UNREACHABLE",
    /broke \(UND_ERR_SOCKET\)|broke \(ECONNRESET\)/,
  ],
  [
    "not HTTP",
    (response) => void response.socket?.end("220 smtp ready\r\n"),
    "E_SOURCE_UNREACHABLE",
    /Response does not match the HTTP/,
  ],
];
for (const [name, answer, code, message] of FAILURES) {
  test(`failure by name: ${name}`, async (t) => {
    const error = await failure(t, answer);
    assert.equal(error.code, code);
    assert.match(error.message, message);
  });
}

test("a redirect to this machine is not followed either", async (t) => {
  const target = await scriptedHttp(t, () => ({ body: [] }));
  const error = await failure(t, { status: 307, headers: { location: `${target.url}/x` } });
  assert.equal(error.code, "E_SOURCE_BAD_ANSWER");
  assert.equal(target.seen.length, 0);
});

test("a body without end is cut at 8 MiB", async (t) => {
  let sent = 0;
  const error = await failure(t, (response) => {
    response.writeHead(200, { "content-type": "application/json" });
    const block = Buffer.alloc(2 ** 16, " ");
    const more = (): void => {
      while (!response.destroyed) {
        sent += block.length;
        if (!response.write(block)) {
          response.once("drain", more);
          return;
        }
      }
    };
    more();
  });
  assert.equal(error.code, "E_SOURCE_BAD_ANSWER");
  assert.match(error.message, /more than 8 MiB/);
  assert.ok(sent < 40 * 2 ** 20);
});

test("a small zip with a large content is cut at 8 MiB too", async (t) => {
  const bomb = gzipSync(Buffer.alloc(64 * 2 ** 20, " "));
  assert.ok(bomb.length < 2 ** 17);
  const error = await failure(t, { headers: { "content-encoding": "gzip" }, body: bomb });
  assert.match(error.message, /more than 8 MiB/);
});

test("a zipped answer is read", async (t) => {
  const b = await bench(t, () => ({
    headers: { "content-encoding": "gzip" },
    body: gzipSync(ROWS),
  }));
  const pages = await pagesOf(b, { from: at(0), to: at(5) });
  assert.equal(pages[0]?.rows.length, 5);
});

test("the deadline counts for everything: no head, and a body that drips", async (t) => {
  const silent = (): Answer => () => undefined;
  const dripping = (): Answer => (response) => {
    response.writeHead(200, { "content-type": "application/json" });
    const drip = setInterval(() => response.write(" "), 20);
    response.on("close", () => clearInterval(drip));
  };
  for (const script of [silent, dripping]) {
    const b = await bench(t, script, { clock: scaledClock(50, NOW) });
    const began = performance.now();
    const error = await errorOf(b.rest.firstOpenTime(SERIES, b.signal));
    assert.equal(error.code, "E_SOURCE_TIMEOUT");
    assert.match(error.message, /did not answer in full within 10 s/);
    assert.ok(performance.now() - began < 2_000);
  }
});

test("a request under way ends at once when it is aborted, with the reason", async (t) => {
  const clock = virtualClock(NOW);
  const b = await bench(t, () => () => undefined, { clock });
  const controller = new AbortController();
  const asked = b.rest.firstOpenTime(SERIES, controller.signal);
  setTimeout(() => controller.abort(new Error("stopped")), 50);
  await assert.rejects(asked, /stopped/);
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(clock.sleeperCount, 0);
  assert.equal(b.budget.usedAt(NOW), 2, "it may have been counted");
});

test("what is wrong below HTTP is told by name", async (t) => {
  const free = await freePort();
  const plain = await scriptedHttp(t, () => ({ body: [] }));
  const cases: readonly (readonly [string, RegExp])[] = [
    [`http://127.0.0.1:${free}`, /127\.0\.0\.1:\d+ refused the connection$/],
    ["https://no-such-host.invalid", /cannot resolve host no-such-host\.invalid \(E/],
    [`https://127.0.0.1:${plain.port}`, /no TLS connection to 127\.0\.0\.1:\d+ \(ERR_SSL_/],
  ];
  for (const [baseUrl, message] of cases) {
    const b = await bench(t, () => ({ body: [] }), { baseUrl });
    const error = await errorOf(b.rest.firstOpenTime(SERIES, b.signal));
    assert.equal(error.code, "E_SOURCE_UNREACHABLE");
    assert.match(error.message, message);
  }
});

test("a connection that is taken and never answered ends by the deadline", async (t) => {
  const sockets: Socket[] = [];
  const server = createTcpServer((socket) => sockets.push(socket));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const b = await bench(t, () => ({ body: [] }), {
    baseUrl: `https://127.0.0.1:${port}`,
    clock: scaledClock(50, NOW),
  });
  const error = await errorOf(b.rest.firstOpenTime(SERIES, b.signal));
  assert.equal(error.code, "E_SOURCE_TIMEOUT");
});
