import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { WeightBudget } from "../src/core/budget.ts";
import type { Candle } from "../src/core/candle.ts";
import { SourceHoldError } from "../src/core/errors.ts";
import { ExchangeTime } from "../src/core/exchange-time.ts";
import type { Clock, LiveEvent } from "../src/core/ports.ts";
import { nominalMs, TIMEFRAMES, type Timeframe } from "../src/core/timeframe.ts";
import { createBinanceRest, refuseUnknownSymbols } from "../src/exchanges/binance/index.ts";
import {
  SeededMarket,
  type Simulator,
  type SimulatorOptions,
  seededSymbols,
  startSimulator,
} from "../src/simulator/index.ts";
import { follow } from "./support/binance-follower.ts";
import { scaledClock } from "./support/clocks.ts";
import { binanceSeries, truthOf } from "./support/live-stack.ts";

/** The adapter against the built-in exchange: two readings of the same documents meet. */

const NAMES = ["BTCUSDT", "ETHUSDT", "币安人生USDT"];
const START = Date.UTC(2025, 5, 2, 10, 0, 30);
const MINUTE = 60_000;
const DAY = 86_400_000;
const FACTOR = 40;

interface Meeting {
  readonly simulator: Simulator;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

async function meet(t: TestContext, options: Partial<SimulatorOptions> = {}): Promise<Meeting> {
  const clock = scaledClock(FACTOR, START);
  const market = new SeededMarket({ symbols: seededSymbols(NAMES) });
  const simulator = await startSimulator({ market, clock, ...options });
  const controller = new AbortController();
  t.after(async () => {
    controller.abort();
    await simulator.close();
  });
  return { simulator, clock, signal: controller.signal };
}

function restOf({ simulator, clock }: Meeting) {
  const exchangeTime = new ExchangeTime();
  const budget = new WeightBudget(6_000);
  const rest = createBinanceRest({
    baseUrl: simulator.url,
    clock,
    exchangeTime,
    budget,
    random: Math.random,
    record: () => undefined,
    onHold: async () => undefined,
    deadlineMs: 600_000,
  });
  return { rest, budget, exchangeTime };
}

const closedOf = (events: readonly LiveEvent[]) =>
  events.flatMap((event) => (event.kind === "candle" && event.isClosed ? [event] : []));

test("history is page by page what the market had, digit for digit, in every timeframe", async (t) => {
  const outages = [{ from: START - 2 * DAY, to: START - 2 * DAY + 47 * MINUTE }];
  const market = new SeededMarket({ symbols: seededSymbols(NAMES), outages });
  const meeting = await meet(t, { market });
  const { rest } = restOf(meeting);
  const spans: Partial<Record<Timeframe, number>> = { "1s": DAY / 48, "1m": 2 * DAY + MINUTE };
  for (const timeframe of TIMEFRAMES) {
    const series = binanceSeries("币安人生USDT", timeframe);
    const range = {
      from: START - (spans[timeframe] ?? nominalMs(timeframe) * 12),
      to: START - 3 * MINUTE,
    };
    const rows: Candle[] = [];
    let from = range.from;
    for await (const page of rest.candles(series, range, meeting.signal, "bulk")) {
      assert.equal(page.range.from, from);
      from = page.range.to;
      rows.push(...page.rows);
    }
    const closed = (candles: readonly Candle[]) =>
      candles.filter(({ closeTime }) => closeTime < START);
    assert.deepEqual(closed(rows), closed(truthOf(market, series, range, START)), timeframe);
    assert.ok(rows.length > 0);
  }
  assert.deepEqual(meeting.simulator.journal.counts().violations, {});
});

test("two candles in one minute, off the grid, come over too", async (t) => {
  const now = START - 30_000;
  const offGrid = [{ from: now - DAY, to: now - DAY / 2, shiftMs: 20_799 }];
  const market = new SeededMarket({ symbols: seededSymbols(NAMES), offGrid });
  const meeting = await meet(t, { market });
  const series = binanceSeries("BTCUSDT", "1m");
  // 999 candles before the odd minute, so that the first answer ends between its two candles.
  const range = { from: now - DAY - 999 * MINUTE, to: now };
  const rows: Candle[] = [];
  for await (const page of restOf(meeting).rest.candles(series, range, meeting.signal, "bulk")) {
    rows.push(...page.rows);
  }
  assert.deepEqual(rows, truthOf(market, series, range, START));
  assert.ok(rows.some(({ openTime }) => openTime % MINUTE === 20_799));
});

test("time, symbols and the first candle are those of the exchange", async (t) => {
  const meeting = await meet(t);
  const { simulator, clock, signal } = meeting;
  const { rest, exchangeTime } = restOf(meeting);
  await rest.syncTime(signal);
  assert.ok(Math.abs(exchangeTime.now(clock.monotonic()) - simulator.now()) < 2_000);
  const markets = await rest.markets(signal);
  assert.deepEqual(markets.map(({ symbol }) => symbol).sort(), [...NAMES].sort());
  refuseUnknownSymbols(NAMES, markets);
  const series = binanceSeries("BTCUSDT", "1m");
  const query = { symbol: series.symbol, interval: series.timeframe };
  const range = { from: 0, to: START };
  const [first] = simulator.market.candles(query, range, START, "ascending");
  assert.equal(await rest.firstOpenTime(series, signal), first?.openTime);
});

test("what the stream closes is what REST serves then; the exchange has nothing to complain about", async (t) => {
  const meeting = await meet(t, { switches: { strictPongs: true } });
  const { simulator, clock } = meeting;
  const series = NAMES.flatMap((symbol) => [
    binanceSeries(symbol, "1m"),
    binanceSeries(symbol, "1s"),
  ]);
  const follower = follow(t, series, { wsUrl: simulator.wsUrl, clock });
  await follower.event("connected");
  await pause((1.5 * MINUTE) / FACTOR);
  await follower.stop();
  const closed = closedOf(follower.events);
  assert.ok(closed.length >= 3 + 3 * 60, `${closed.length} closed`);
  for (const { series: one, candle } of closed) {
    const range = { from: candle.openTime, to: candle.openTime + 1 };
    assert.deepEqual([candle], truthOf(simulator.market, one, range, simulator.now()));
  }
  assert.deepEqual(simulator.journal.counts().violations, {});
});

test("drops, cuts, dead links and shutdowns: the series come back, within the exchange's limits", async (t) => {
  const meeting = await meet(t);
  const { simulator, clock } = meeting;
  const series = NAMES.map((symbol) => binanceSeries(symbol, "1s"));
  const follower = follow(t, series, { wsUrl: simulator.wsUrl, clock });
  await follower.event("connected");
  simulator.faults.set({ kind: "drop", code: 1006 });
  await follower.event("connected", 2);
  simulator.faults.set({ kind: "cutMidFrame" });
  await follower.event("connected", 3);
  simulator.faults.set({ kind: "drop", code: 1008, reason: "Too many requests" });
  await follower.event("connected", 4);
  await pause((12 * 1_000) / FACTOR);
  const dead = simulator.faults.set({ kind: "halfOpen" });
  await pause(20);
  simulator.faults.clear(dead);
  const lost = await follower.event("disconnected", 4);
  assert.equal(lost.reason, "no frame for 60 s");
  await follower.event("connected", 5);
  await pause((12 * 1_000) / FACTOR);

  simulator.faults.set({ kind: "serverShutdown", closeAfterMs: 60_000 });
  await follower.record("rotated");
  assert.equal(follower.events.filter(({ kind }) => kind === "disconnected").length, 4);
  const { violations, maxMessagesPerSecond } = simulator.journal.counts();
  assert.deepEqual(violations, {});
  assert.ok(maxMessagesPerSecond <= 4);
});

test("a silent subscription: acknowledged, mute, and alive after it was asked for again", async (t) => {
  const meeting = await meet(t);
  const { simulator, clock } = meeting;
  const series = NAMES.map((symbol) => binanceSeries(symbol, "1s"));
  const mute = simulator.faults.set({ kind: "silentSubscribe" });
  const follower = follow(t, series, { wsUrl: simulator.wsUrl, clock });
  await follower.event("connected");
  await pause(200);
  assert.equal(closedOf(follower.events).length, 0);
  simulator.faults.clear(mute);
  follower.stream.resubscribe(series);
  await follower.event("candle");
  assert.deepEqual(simulator.journal.counts().violations, {});
});

test("bans and holds: no request reaches the exchange before they are over", async (t) => {
  const meeting = await meet(t);
  const { simulator, signal } = meeting;
  const { rest } = restOf(meeting);
  const series = binanceSeries("BTCUSDT", "1m");
  await rest.syncTime(signal);
  simulator.faults.set({ kind: "rest", answer: "429", retryAfter: 5, count: 1 });
  await assert.rejects(rest.firstOpenTime(series, signal), SourceHoldError);
  await Promise.all([rest.firstOpenTime(series, signal), rest.firstOpenTime(series, signal)]);
  simulator.faults.set({ kind: "ban", ms: 20_000 });
  await assert.rejects(rest.firstOpenTime(series, signal), SourceHoldError);
  await rest.firstOpenTime(series, signal);
  assert.deepEqual(simulator.journal.counts().violations, {});
});

test("a flood of requests stays below 90 % of the exchange's limit and brings no refusal", async (t) => {
  const meeting = await meet(t, { limits: { weightPerMinute: 200 } });
  const { simulator, signal } = meeting;
  const { rest } = restOf(meeting);
  await rest.syncTime(signal);
  await rest.markets(signal);
  const series = binanceSeries("BTCUSDT", "1m");
  await Promise.all(Array.from({ length: 120 }, () => rest.firstOpenTime(series, signal)));
  const { violations, maxWeightPerMinute } = simulator.journal.counts();
  assert.deepEqual(violations, {});
  assert.ok(maxWeightPerMinute <= 180, `${maxWeightPerMinute}`);
});
