import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type VersionedCandle, versionNumber } from "../core/finality.ts";
import { PackedCandles } from "../core/packed-candles.ts";
import type { Series } from "../core/series.ts";
import { copySize, encodeCandles } from "./copy-text.ts";

const series: Series = { exchange: "binance", symbol: "BTCUSDT", timeframe: "1m" };
const MINUTE = 60_000;

test("candles are encoded as COPY reads them", () => {
  const row = fc.record({
    openTime: fc.integer({ min: 1_199_145_600_000, max: 2 ** 44 - 1 }),
    tradeCount: fc.integer({ min: 0, max: 2_147_483_647 }),
    lengthMs: fc.integer({ min: 1, max: 2 * MINUTE }),
    observedTime: fc.integer({ min: 1_199_145_600_000, max: 2 ** 44 - 1 }),
    source: fc.constantFrom("csv" as const, "csv-partial" as const, "rest" as const),
    volume: fc.constantFrom("0", "0.00", "12.5", "99999999999999999999.000000000000000001"),
  });
  fc.assert(
    fc.property(fc.array(row, { maxLength: 30 }), fc.integer({ min: 1 }), (rows, id) => {
      const candles = rows.map(
        ({ openTime, tradeCount, lengthMs, observedTime, source, volume }): VersionedCandle => ({
          ...{ series, source, observedTime },
          candle: {
            ...{ openTime, closeTime: openTime + lengthMs - 1, tradeCount },
            ...{ open: "2", high: "3.50", low: "1", close: "2.000", volume, quoteVolume: "4" },
            ...{ takerBuyVolume: "5", takerBuyQuoteVolume: "6" },
          },
        }),
      );
      const expected = rows.map(
        ({ openTime, tradeCount, lengthMs, observedTime, source, volume }) => {
          const cutMs = (Math.floor(openTime / MINUTE) + 1) * MINUTE - openTime - lengthMs;
          const time = new Date(openTime).toISOString().replace("T", " ").replace("Z", "+00");
          const shown = time.replace(".000+", "+");
          const version = versionNumber(source, observedTime);
          const decimals = ["2", "3.50", "1", "2.000", volume, "4", "5", "6"];
          return `${[id, tradeCount, version, cutMs, shown, ...decimals].join("\t")}\n`;
        },
      );
      const packed = PackedCandles.of(series, candles);
      const encoded = encodeCandles(id, packed, Buffer.alloc(copySize(packed))).toString("latin1");
      assert.equal(encoded, expected.join(""));
    }),
  );
});
