import { systemClock } from "../../src/clock.ts";
import type { Candle } from "../../src/core/candle.ts";
import type { Source, VersionedCandle } from "../../src/core/finality.ts";
import type { RunJob } from "../../src/core/job.ts";
import type { Series } from "../../src/core/series.ts";
import { nextOpenTime } from "../../src/core/timeframe.ts";
import type { LiveFeed } from "../../src/serve/feed.ts";
import type { EncodeCandles } from "../../src/serve/parts.ts";
import { type ServingOptions, startServing } from "../../src/serve/serving.ts";
import { createStatusReader } from "../../src/serve/status-reader.ts";
import { openStore, type Store } from "../../src/store/index.ts";

/** A token of 192 bits, as in the documentation. */
export const TOKEN = "nG2d8vQx0Zb4Lr7YtKc9Wp3sJm6HfA1e";

/** What differs from the usual. */
export interface ApiOptions
  extends Partial<Pick<ServingOptions, "token" | "allowedHosts" | "allowedOrigins" | "clock">> {
  readonly now?: () => number;
  readonly isIngesting?: boolean;
  readonly runJob?: RunJob;
  readonly encode?: EncodeCandles;
  readonly onFault?: (error: unknown) => void;
}

/** The real server over a real database. */
export interface ApiStack {
  readonly url: string;
  /** Writes, as an ingester would. */
  readonly store: Store;
  /** What requests read with. */
  readonly queries: Store;
  readonly feed: LiveFeed;
  get(path: string, headers?: Readonly<Record<string, string>>): Promise<Response>;
  close(): Promise<void>;
}

/** Starts the server over a migrated database. */
export async function startApi(databaseUrl: string, options: ApiOptions = {}): Promise<ApiStack> {
  const { now = Date.now, isIngesting = true, clock = systemClock } = options;
  const store = await openStore({ url: databaseUrl });
  const queries = await openStore({
    url: databaseUrl,
    access: "read",
    isReadOnly: true,
    deadlineMs: 5_000,
  });
  const serving = await startServing({
    host: "127.0.0.1",
    port: 0,
    version: "0.0.0",
    token: options.token,
    allowedHosts: options.allowedHosts ?? [],
    allowedOrigins: options.allowedOrigins ?? [],
    clock,
    logLines: () => [],
    renderMetrics: () => ({ contentType: "text/plain", pieces: ["up 1\n"] }),
    onFault: options.onFault ?? (() => undefined),
  });
  const feed = serving.show({
    queries,
    readStatus: createStatusReader(store, clock.monotonic),
    now,
    isIngesting,
    encode: options.encode ?? (async () => new Uint8Array()),
    knownOutage: () => undefined,
    runJob:
      options.runJob ??
      (async () => ({ isWhole: true, storedCount: 0, remarks: [], certificates: [] })),
  });
  const token: Record<string, string> =
    options.token === undefined ? {} : { authorization: `Bearer ${options.token}` };
  return {
    url: serving.url,
    store,
    queries,
    feed,
    get: (path, headers = {}) =>
      fetch(`${serving.url}${path}`, { headers: { ...token, ...headers } }),
    close: async () => {
      await serving.close();
      await queries.close();
      await store.close();
    },
  };
}

/** A candle with digits of its own: trailing zeros, and more than a float holds. */
export function candleAt(series: Series, openTime: number, close = "1.50"): Candle {
  return {
    openTime,
    closeTime: nextOpenTime(series.timeframe, openTime) - 1,
    open: "1.10000000",
    high: "99999999999.123456789012345678",
    low: "0.00000001",
    close,
    volume: "10.00",
    quoteVolume: "15.0",
    tradeCount: 3,
    takerBuyVolume: "4",
    takerBuyQuoteVolume: "6.0",
  };
}

/** A version of a candle. */
export function versionOf(
  series: Series,
  openTime: number,
  source: Source = "stream",
  close?: string,
): VersionedCandle {
  const candle = candleAt(series, openTime, close);
  return { series, candle, source, observedTime: candle.closeTime + 100 };
}
