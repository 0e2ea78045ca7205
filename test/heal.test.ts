import assert from "node:assert/strict";
import { test } from "node:test";
import type { Candle } from "../src/core/candle.ts";
import { type Gap, rejectedGap } from "../src/core/gaps.ts";
import type { HistorySource } from "../src/core/ports.ts";
import type { Series } from "../src/core/series.ts";
import { healGap } from "../src/ingest/heal.ts";
import { Intake } from "../src/ingest/intake.ts";
import { Writer } from "../src/ingest/writer.ts";
import { virtualClock } from "./support/clocks.ts";
import { createMemoryStore } from "./support/memory-store.ts";

const MINUTE: Series = { exchange: "model", symbol: "BTCUSDT", timeframe: "1m" };
const FOUND = Date.UTC(2026, 0, 1);
const OPEN = FOUND - 60 * 60_000;
const HOUR_MS = 60 * 60_000;

const row = (openTime: number, isSound: boolean): Candle => ({
  ...{ openTime, closeTime: openTime + 59_999, tradeCount: 1 },
  ...{ open: "2", high: isSound ? "2" : "1", low: "2", close: "2" },
  ...{ volume: "1", quoteVolume: "2", takerBuyVolume: "0", takerBuyQuoteVolume: "0" },
});

/** The real writer before a store in memory, and an exchange that serves one answer. */
function stand() {
  const clock = virtualClock(FOUND);
  const store = createMemoryStore({ clock });
  const writer = new Writer({
    ...{ store, clock, random: () => 0.5, record: () => undefined },
    exchangeNow: () => clock.now(),
  });
  const intake = new Intake(writer);
  const heal = async (
    gap: Gap,
    rows: readonly Candle[],
    askedTime: number,
    coveredTo = Number.MAX_SAFE_INTEGER,
  ): Promise<void> => {
    const history: HistorySource = {
      candles: async function* (_series, { from, to }) {
        const range = { from, to: Math.min(to, coveredTo) };
        yield { range, rows, source: "rest", askedTime };
      },
      firstOpenTime: async () => OPEN - HOUR_MS,
    };
    const lifetime = async () => ({ firstOpenTime: OPEN - HOUR_MS, isTrading: true });
    const stop = new AbortController();
    const running = writer.run(stop.signal);
    const options = { history, gaps: store, intake, writer, lifetime, record: () => undefined };
    await healGap(options, gap, stop.signal);
    stop.abort();
    await running;
    await writer.drain(new AbortController().signal);
  };
  return { store, heal };
}

test("a candle that is served and refused again and again is asked for ever more rarely, until it is mended", async () => {
  const { store, heal } = stand();
  await store.open([rejectedGap(MINUTE, OPEN, FOUND)]);
  const pauses: number[] = [];
  for (let turn = 1; turn <= 10; turn++) {
    const [gap, ...more] = await store.gaps(MINUTE);
    assert.ok(gap);
    assert.deepEqual(more, []);
    const askedTime = gap.nextTryTime;
    await heal(gap, [row(OPEN, false)], askedTime);
    const [left] = await store.gaps(MINUTE);
    assert.deepEqual([left?.reason, left?.state], ["rejected", "open"]);
    assert.equal(left?.foundTime, FOUND, "found when it was found");
    assert.equal(left.emptyAnswers, turn);
    pauses.push((left.nextTryTime - askedTime) / HOUR_MS);
  }
  assert.deepEqual(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 168, 168]);
  assert.equal(store.rows(MINUTE).length, 0);
  assert.ok(store.quarantined().length > 0);

  const [gap] = await store.gaps(MINUTE);
  assert.ok(gap);
  await heal(gap, [row(OPEN, true)], gap.nextTryTime);
  assert.deepEqual(await store.gaps(MINUTE), []);
  assert.equal(store.rows(MINUTE)[0]?.candle.open, "2");
});

test("of a gap whose answer has one refused row, that row's cell is left, with the history of the gap", async () => {
  const { store, heal } = stand();
  const gap: Gap = {
    ...rejectedGap(MINUTE, OPEN, FOUND - HOUR_MS),
    range: { from: OPEN, to: OPEN + 3 * 60_000 },
    reason: "exchange-had-none",
    emptyAnswers: 1,
    firstAskedTime: FOUND - HOUR_MS,
  };
  await store.open([gap]);
  const rows = [row(OPEN, true), row(OPEN + 60_000, false), row(OPEN + 120_000, true)];
  await heal(gap, rows, FOUND + HOUR_MS);
  const [left, ...more] = await store.gaps(MINUTE);
  assert.deepEqual(more, []);
  assert.deepEqual(left?.range, { from: OPEN + 60_000, to: OPEN + 120_000 });
  assert.deepEqual([left.reason, left.state], ["rejected", "open"]);
  assert.equal(left.foundTime, FOUND - HOUR_MS);
  assert.equal(left.emptyAnswers, 2);
  const stored = store.rows(MINUTE).map(({ candle }) => candle.openTime);
  assert.deepEqual(stored, [OPEN, OPEN + 120_000]);

  // It served one: that it has none is to be said twice, an hour apart.
  await heal(left, [], left.nextTryTime);
  const [empty] = await store.gaps(MINUTE);
  assert.equal(empty?.state, "open");
});

test("of what the answer did not cover nothing is said, and it is asked for again soon", async () => {
  const { store, heal } = stand();
  const gap: Gap = {
    ...rejectedGap(MINUTE, OPEN, FOUND),
    range: { from: OPEN, to: OPEN + 3 * 60_000 },
    ...{ reason: "shed", emptyAnswers: 0 },
  };
  await store.open([gap]);
  // Our clock has slept: to it the last of them has not even begun.
  const askedTime = OPEN + 119_000;
  await heal(gap, [row(OPEN, true)], askedTime, OPEN + 120_000);
  const [absent, ahead, ...more] = await store.gaps(MINUTE);
  assert.deepEqual(more, []);
  assert.deepEqual(absent?.range, { from: OPEN + 60_000, to: OPEN + 120_000 });
  assert.equal(absent.emptyAnswers, 1);
  assert.deepEqual(ahead?.range, { from: OPEN + 120_000, to: OPEN + 180_000 });
  assert.deepEqual([ahead.reason, ahead.emptyAnswers], ["shed", 0]);
  assert.equal(ahead.nextTryTime, askedTime + 60_000);
});
