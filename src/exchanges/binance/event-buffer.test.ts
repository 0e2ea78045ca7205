import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { LiveEvent } from "../../core/ports.ts";
import type { Series } from "../../core/series.ts";
import { EventBuffer } from "./event-buffer.ts";

type CandleEvent = Extract<LiveEvent, { kind: "candle" }>;

const SERIES: readonly Series[] = ["A", "B", "C"].map((symbol) => ({
  exchange: "binance",
  symbol,
  timeframe: "1m",
}));

function event(series: Series, tradeCount: number, isClosed: boolean): CandleEvent {
  const candle = {
    openTime: 1_790_000_040_000,
    closeTime: 1_790_000_099_999,
    open: "1",
    high: "1",
    low: "1",
    close: "1",
    volume: "1",
    quoteVolume: "1",
    tradeCount,
    takerBuyVolume: "1",
    takerBuyQuoteVolume: "1",
  };
  return { kind: "candle", series, candle, isClosed, eventTime: 1_790_000_050_000 };
}

const noOverflow = (): void => assert.fail("overflow");
const step = fc.record({
  series: fc.constantFrom(...SERIES),
  what: fc.constantFrom("forming", "forming", "closed", "lost", "pull"),
});

test("nothing but a forming candle with a newer one of its series behind it is left out, and order holds", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const buffer = new EventBuffer(1_000, noOverflow);
      const sent: LiveEvent[] = [];
      const got: LiveEvent[] = [];
      for (const [index, { series, what }] of steps.entries()) {
        if (what === "pull") {
          if (buffer.size > 0) got.push(...((await buffer.take()) ?? []));
        } else if (what === "lost") {
          const lost = {
            kind: "disconnected",
            connection: "x",
            series: [series],
            reason: "r",
          } as const;
          sent.push(lost);
          buffer.link(lost);
        } else {
          const one = event(series, index, what === "closed");
          sent.push(one);
          buffer.candle(one);
        }
      }
      buffer.end();
      got.push(...((await buffer.take()) ?? []));
      assert.equal(await buffer.take(), undefined);

      for (const series of SERIES) {
        const of = (events: readonly LiveEvent[]) =>
          events.filter((one) => (one.kind === "candle" ? one.series : one.series[0]) === series);
        const all = of(sent);
        const kept = of(got);
        const missing = all.filter((one) => !kept.includes(one));
        assert.deepEqual(
          kept,
          all.filter((one) => kept.includes(one)),
        );
        for (const one of missing) {
          assert.ok(one.kind === "candle" && !one.isClosed);
          const next = all[all.indexOf(one) + 1];
          assert.ok(
            next?.kind === "candle" && !next.isClosed,
            "only a newer forming one replaces it",
          );
        }
      }
    }),
    { numRuns: 300 },
  );
});

test("when it is full forming candles go first", async () => {
  const [a, b] = SERIES;
  assert.ok(a && b);
  const buffer = new EventBuffer(10, noOverflow);
  for (let index = 0; index < 8; index += 1) buffer.candle(event(a, index, true));
  buffer.candle(event(a, 8, false));
  buffer.candle(event(b, 9, false));
  buffer.candle(event(SERIES[2] ?? a, 10, false));
  assert.equal(buffer.size, 10, "a forming one that finds no room is left out");
  buffer.candle(event(b, 11, true));
  const events = (await buffer.take()) ?? [];
  assert.deepEqual(
    events.map((one) => one.kind === "candle" && one.candle.tradeCount),
    [0, 1, 2, 3, 4, 5, 6, 7, 11],
  );
});

test("when closed candles alone fill it they are dropped, counted, and told before the next", async () => {
  const [a, b] = SERIES;
  assert.ok(a && b);
  const counts: (readonly (readonly [string, number])[])[] = [];
  const buffer: EventBuffer = new EventBuffer(10, (dropped) => {
    counts.push([...dropped].map(([{ symbol }, count]) => [symbol, count]));
    buffer.link({ kind: "disconnected", connection: "x", series: [a, b], reason: "slow" });
  });
  for (let index = 0; index < 6; index += 1) buffer.candle(event(a, index, true));
  for (let index = 0; index < 4; index += 1) buffer.candle(event(b, index, true));
  buffer.candle(event(a, 99, true));
  assert.deepEqual(counts, [
    [
      ["A", 6],
      ["B", 4],
    ],
  ]);
  const events = (await buffer.take()) ?? [];
  assert.deepEqual(
    events.map(({ kind }) => kind),
    ["disconnected", "candle"],
  );
});

test("a pull waits for the first event, for the end, and throws what went wrong", async () => {
  const [a] = SERIES;
  assert.ok(a);
  const buffer = new EventBuffer(10, noOverflow);
  const pull = buffer.take();
  buffer.candle(event(a, 1, false));
  buffer.candle(event(a, 2, false));
  assert.equal((await pull)?.length, 1);
  const failing = buffer.take();
  buffer.fail(new Error("a defect"));
  await assert.rejects(failing, /a defect/);
  const ended = new EventBuffer(10, noOverflow);
  const last = ended.take();
  ended.end();
  assert.equal(await last, undefined);
});
