import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { createMetrics } from "../src/telemetry/metrics.ts";

const load = (name: string) =>
  import(new URL(`../src/serve/dashboard/page/${name}.js`, import.meta.url).href);
const { EventParser } = await load("event-parser");
const { parseMetrics, quantile, TILE_METRICS, total } = await load("metrics");
const { duration, fractionDigits, percent } = await load("format");
const { CandleStore, nextOpenTime } = await load("candle-store");

describe("what the page makes of what it is sent", () => {
  test("events come whole, however the stream is cut", () => {
    const text =
      ': heartbeat\n\nid: 7\nevent: closed\ndata: {"a":1}\n\ndata: {"b":\r\ndata: 2}\r\n\r\nevent: lost without data\n\n';
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: text.length })), (cuts) => {
        const events: unknown[] = [];
        const parser = new EventParser((event: unknown) => events.push(event));
        const edges = [0, ...cuts.toSorted((a, b) => a - b), text.length];
        for (const [index, edge] of edges.slice(1).entries()) {
          // CR LF in two pieces is one line end to the standard; the server sends LF alone.
          const from = edges[index] ?? 0;
          if (text[edge - 1] === "\r" && edge < text.length) return;
          parser.push(text.slice(from, edge));
        }
        assert.deepEqual(events, [
          { id: "7", event: "closed", data: { a: 1 } },
          { id: "7", event: "message", data: { b: 2 } },
        ]);
      }),
    );
  });

  test("metrics are read with hostile labels, and quantiles lie in their bucket", () => {
    const text = (counts: readonly number[]): string =>
      `# HELP x y\nup{symbol="a\\"}b\\n",t="1"} 2\nup{symbol="c"} 3.5\n${counts
        .map((count, index) => `h_bucket{le="${["0.1", "1", "+Inf"][index]}"} ${count}`)
        .join("\n")}\n`;
    const before = parseMetrics(text([0, 0, 0]));
    const after = parseMetrics(text([10, 20, 20]));
    assert.equal(total(after, "up"), 5.5);
    assert.equal(total(after, "down"), undefined);
    assert.equal(after.get("up")[0].labels.symbol, 'a"}b\n');
    assert.equal(quantile(before, after, "h", 0.5), 0.1);
    assert.ok(Math.abs(quantile(before, after, "h", 0.75) - 0.55) < 1e-9);
    assert.equal(quantile(after, after, "h", 0.5), undefined);
  });

  test("the figures at the head are metrics that there are, without a sample for each series", async () => {
    const series = Array.from({ length: 50 }, (_, index) => ({
      ...{ exchange: "binance", symbol: `S${index}` },
      timeframe: "1m" as const,
    }));
    const { registry } = createMetrics("1.2.3", series);
    for (const name of TILE_METRICS) {
      const metric = registry.getSingleMetric(name);
      assert.ok(metric !== undefined, name);
      assert.equal(
        (await metric.get()).values.some(({ labels }) => "symbol" in labels),
        false,
        name,
      );
    }
  });

  test("a share is 100 % only when it is all of it", () => {
    assert.equal(percent(999_999, 1_000_000), "99.9 %");
    assert.equal(percent(5, 5), "100 %");
    assert.equal(percent(0, 0), "–");
  });

  test("stretches of time and digits, as people say them", () => {
    assert.equal(duration(840), "840 ms");
    assert.equal(duration(7_500_000), "2 h 5 min");
    assert.equal(duration(undefined), "–");
    assert.equal(fractionDigits("0.00010000"), 4);
    assert.equal(fractionDigits("5"), 0);
  });

  test("candles stay in order whatever order they come in, the last version counts", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.integer({ min: 0, max: 50 }), fc.string())), (rows) => {
        const store = new CandleStore();
        for (const [openTime, close] of rows) store.add([{ openTime, close }]);
        const expected = [...new Map(rows)].toSorted(([a], [b]) => a - b);
        assert.deepEqual(
          store
            .list()
            .map((candle: { openTime: number; close: string }) => [candle.openTime, candle.close]),
          expected,
        );
      }),
    );
    assert.equal(nextOpenTime("1M", Date.UTC(2024, 1, 1)), Date.UTC(2024, 2, 1));
    assert.equal(nextOpenTime("1w", 0), 604_800_000);
  });
});
