import assert from "node:assert/strict";
import { test } from "node:test";
import type { Series } from "../src/core/series.ts";
import { openStore } from "../src/store/index.ts";
import { startApi, versionOf } from "./support/api-stack.ts";
import { withDatabase } from "./support/postgres.ts";

const FIRST = Date.UTC(2026, 0, 5, 10);
const at = (exchange: string): Series => ({ exchange, symbol: "BTCUSDT", timeframe: "1h" });

/** Files of another exchange can bring a symbol and timeframe that is collected, too. */
test("a request without exchange means Binance wherever that has the series", async () => {
  await withDatabase(async ({ url }) => {
    const closes = async (query: string): Promise<unknown> => {
      const api = await startApi(url);
      try {
        const path = `/api/v1/candles?symbol=BTCUSDT&timeframe=1h&limit=1${query}`;
        const body = (await (await api.get(path)).json()) as {
          candles?: { close: string }[];
          detail?: string;
        };
        return body.candles?.[0]?.close ?? body.detail;
      } finally {
        await api.close();
      }
    };
    const store = await openStore({ url });
    try {
      await store.write([versionOf(at("kraken"), FIRST, "csv", "1.25")], []);
      assert.equal(await closes(""), "1.25", "the only one");
      await store.write([versionOf(at("okx"), FIRST, "csv", "1.35")], []);
      assert.equal(await closes(""), "several exchanges have this series");
      await store.write([versionOf(at("binance"), FIRST, "rest", "1.75")], []);
      assert.equal(await closes(""), "1.75");
      assert.equal(await closes("&exchange=okx"), "1.35");
    } finally {
      await store.close();
    }
  });
});
