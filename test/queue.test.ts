import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { candleKey, type Source, type VersionedCandle } from "../src/core/finality.ts";
import { isWithin } from "../src/core/range.ts";
import { type Series, seriesKey } from "../src/core/series.ts";
import { nextOpenTime, openTimeAt, shiftOpenTime } from "../src/core/timeframe.ts";
import { type Offered, Queue, type ShedStretch } from "../src/ingest/queue.ts";

const START = Date.UTC(2025, 0, 1);

function seriesOf(index: number, timeframe: Series["timeframe"]): Series {
  return { exchange: "model", symbol: `S${index}USDT`, timeframe };
}

function versionOf(
  series: Series,
  openTime: number,
  source: Source = "stream",
  close = "1",
): VersionedCandle {
  const closeTime = nextOpenTime(series.timeframe, openTime) - 1;
  return {
    series,
    source,
    observedTime: closeTime + 1,
    candle: {
      ...{ openTime, closeTime, open: "1", high: close, low: "1", close },
      ...{ volume: "1", quoteVolume: "1", tradeCount: 1 },
      ...{ takerBuyVolume: "1", takerBuyQuoteVolume: "1" },
    },
  };
}

const ignore = (): void => undefined;

interface Step {
  readonly kind: "offer" | "take" | "tell";
  readonly candle: VersionedCandle;
  readonly count: number;
}

const step = (): fc.Arbitrary<Step> =>
  fc
    .record({
      kind: fc.constantFrom<Step["kind"]>("offer", "offer", "offer", "offer", "take", "tell"),
      index: fc.nat(3),
      at: fc.nat(12),
      source: fc.constantFrom<Source>("stream", "stream", "rest-early", "rest"),
      close: fc.constantFrom("1", "2"),
      count: fc.nat(4),
    })
    .map(({ kind, index, at, source, close, count }) => {
      const series = seriesOf(index, "1m");
      return {
        ...{ kind, count },
        candle: versionOf(series, shiftOpenTime("1m", START, at), source, close),
      };
    });

test("whatever is offered comes out, or is told of as let go; never both lost, never more than there is room for", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 8 }), fc.array(step()), (capacity, steps) => {
      let letGo = 0;
      const queue = new Queue(capacity, (_series, count) => (letGo += count));
      const outcomes = new Map<Offered, number>();
      const out: VersionedCandle[] = [];
      const told: ShedStretch[] = [];
      for (const { kind, candle, count } of steps) {
        if (kind === "offer") {
          const outcome = queue.offer(candle);
          outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
        } else if (kind === "take") out.push(...queue.take(count).batch);
        else told.push(...queue.takeShed());
        assert.ok(queue.size <= capacity);
        const { live, history } = queue.taken;
        assert.equal(live + history, queue.size + out.length);
      }
      out.push(...queue.take(capacity).batch);
      told.push(...queue.takeShed());
      assert.ok(queue.isEmpty);
      const fresh = (outcomes.get("taken") ?? 0) + (outcomes.get("shed") ?? 0);
      assert.equal(out.length + letGo, fresh);
      const came = new Set(out.map(candleKey));
      for (const { candle, kind } of steps) {
        if (kind !== "offer" || came.has(candleKey(candle))) continue;
        const isTold = told.some(
          ({ series, ranges }) =>
            seriesKey(series) === seriesKey(candle.series) &&
            isWithin(ranges, candle.candle.openTime),
        );
        assert.ok(isTold, candleKey(candle));
      }
    }),
  );
});

test("what REST brought, too, is never let go once it waits: its caller reckons with it", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 8 }), fc.array(step()), (capacity, steps) => {
      const queue = new Queue(capacity, ignore);
      const kept = new Set<string>();
      for (const { kind, candle } of steps) {
        if (kind !== "offer") continue;
        if (queue.offer(candle) !== "shed" && candle.source !== "stream") {
          kept.add(candleKey(candle));
        }
      }
      const out = new Set(queue.take(capacity).batch.map(candleKey));
      for (const key of kept) assert.ok(out.has(key), key);
    }),
  );
});

test("ten minutes without a database cost a request a busy series, not one each", () => {
  const queue = new Queue(2_000, ignore);
  const all = Array.from({ length: 50 }, (_, index) =>
    (["1s", "1m", "5m", "1h"] as const).map((timeframe) => seriesOf(index, timeframe)),
  ).flat();
  // From half past on, so that each hour's candle closes half an hour in.
  for (let now = START + 1_800_000; now <= START + 2 * 1_800_000; now += 1_000) {
    for (const series of all) {
      if (openTimeAt(series.timeframe, now) !== now) continue;
      queue.offer(versionOf(series, shiftOpenTime(series.timeframe, now, -1)));
    }
  }
  assert.deepEqual(queue.takeShed(), [], "while the flood lasts");
  const batch = [...queue.take(500).batch, ...queue.take(1_500).batch];
  const told = queue.takeShed();
  assert.equal(told.length, 50);
  assert.deepEqual([...new Set(told.map(({ series }) => series.timeframe))], ["1s"]);
  for (const { ranges } of told) assert.equal(ranges.length, 1);
  const waiting = batch.map(({ series }) => series.timeframe);
  for (const [timeframe, count] of [
    ["1h", 50],
    ["5m", 350],
    ["1m", 1_550],
  ] as const) {
    assert.equal(waiting.filter((one) => one === timeframe).length, count, timeframe);
  }
});

test("what REST brought may be let go of as any other once it was taken out", () => {
  const queue = new Queue(4, ignore);
  const [one, other] = [seriesOf(1, "1m"), seriesOf(2, "1m")];
  const cells = [0, 1, 2, 3].map((index) => shiftOpenTime("1m", START, index));
  for (const cell of cells) queue.offer(versionOf(one, cell, "rest-early"));
  assert.equal(queue.offer(versionOf(other, START)), "shed", "nothing may go");
  assert.equal(queue.take(4).batch.length, 4);
  for (const cell of cells) queue.offer(versionOf(one, cell));
  assert.equal(queue.offer(versionOf(other, START)), "taken");
});

test("a series that gave way is taken again when half of the room is free", () => {
  const letGo: [Series, number][] = [];
  const queue = new Queue(4, (series, count) => letGo.push([series, count]));
  const [one, other] = [seriesOf(1, "1m"), seriesOf(2, "1m")];
  const at = (index: number): number => shiftOpenTime("1m", START, index);
  for (let index = 0; index < 4; index += 1) queue.offer(versionOf(one, at(index)));
  assert.equal(queue.offer(versionOf(other, at(0))), "taken");
  assert.equal(queue.offer(versionOf(one, at(4))), "taken");
  const [stretch] = queue.takeShed();
  assert.deepEqual(letGo, [[one, 4]]);
  assert.deepEqual(stretch?.series, one);
  assert.deepEqual(stretch?.ranges, [{ from: at(0), to: at(4) }]);
});
