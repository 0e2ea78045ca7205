import { systemClock } from "../../src/clock.ts";
import type { Clock } from "../../src/core/ports.ts";
import type { Series } from "../../src/core/series.ts";
import { nextOpenTime } from "../../src/core/timeframe.ts";
import { decodeExchangeInfo } from "../../src/exchanges/binance/codec.ts";
import type { LiveFeed } from "../../src/serve/feed.ts";
import { startServing } from "../../src/serve/serving.ts";
import { createStatusReader } from "../../src/serve/status-reader.ts";
import type { Simulator } from "../../src/simulator/index.ts";
import { openStore, type Store } from "../../src/store/index.ts";

/** The HTTP server over a database, in this process. */
export interface CompatibleServer {
  readonly url: string;
  readonly wsUrl: string;
  /** To be told of live events. */
  readonly feed: LiveFeed;
  /** What should not happen and did. */
  readonly faults: unknown[];
  close(): Promise<void>;
}

/** What is served. */
export interface CompatibleOptions {
  readonly databaseUrl: string;
  /** Exchange time, epoch ms. */
  readonly now: () => number;
  readonly clock?: Clock;
  readonly token?: string;
  readonly isIngesting?: boolean;
}

export async function serveCompatible(options: CompatibleOptions): Promise<CompatibleServer> {
  const { databaseUrl, now, clock = systemClock, token, isIngesting = false } = options;
  const store = await openStore({ url: databaseUrl, access: "read" });
  const faults: unknown[] = [];
  const serving = await startServing({
    host: "127.0.0.1",
    port: 0,
    version: "0.0.0",
    token,
    allowedHosts: [],
    allowedOrigins: [],
    clock,
    onFault: (error) => faults.push(error),
    logLines: () => [],
    renderMetrics: () => ({ contentType: "text/plain", pieces: [] }),
  });
  const readStatus = createStatusReader(store, clock.monotonic);
  const feed = serving.show({
    queries: store,
    readStatus,
    now,
    isIngesting,
    knownOutage: () => undefined,
    encode: notHere,
    runJob: notHere,
  });
  return {
    url: serving.url,
    wsUrl: serving.url.replace("http:", "ws:"),
    feed,
    faults,
    close: async () => {
      await serving.close();
      await store.close();
    },
  };
}

/** Puts everything that the exchange has by now into a table: closed candles, and what it says of its symbols. */
export async function collectAll(
  store: Store,
  simulator: Simulator,
  series: readonly Series[],
): Promise<void> {
  const now = simulator.now();
  await store.begin({ mode: "websocket", host: "test", pid: process.pid }, series);
  await store.end();
  const decoded = decodeExchangeInfo(
    await (await fetch(`${simulator.url}/api/v3/exchangeInfo`)).json(),
  );
  if (!decoded.isOk) throw new Error("the simulator's exchangeInfo was not understood");
  const symbols = new Set(series.map(({ symbol }) => symbol));
  await store.saveMarkets(
    "binance",
    decoded.value.markets.filter(({ symbol }) => symbols.has(symbol)),
  );
  for (const one of series) {
    const { symbol, timeframe } = one;
    const everything = { from: 0, to: now };
    const market = { symbol, interval: timeframe };
    const batch = [...simulator.market.candles(market, everything, now, "ascending")]
      .filter(({ openTime }) => nextOpenTime(timeframe, openTime) <= now)
      .map((candle) => ({ series: one, candle, source: "rest" as const, observedTime: now }));
    for (let first = 0; first < batch.length; first += 5_000) {
      await store.write(batch.slice(first, first + 5_000), []);
    }
  }
}

function notHere(): never {
  throw new Error("the faces under test do not need it");
}
