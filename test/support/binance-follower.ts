import assert from "node:assert/strict";
import type { TestContext } from "node:test";
import type { IngestEvent } from "../../src/core/events.ts";
import { ExchangeTime } from "../../src/core/exchange-time.ts";
import type { Clock, LiveEvent, LiveSource } from "../../src/core/ports.ts";
import type { Series } from "../../src/core/series.ts";
import {
  type BinanceStreamOptions,
  createBinanceStream,
} from "../../src/exchanges/binance/index.ts";

/** A consumer that writes down what a stream brings. */
export interface Follower {
  readonly stream: LiveSource;
  readonly events: readonly LiveEvent[];
  readonly records: readonly IngestEvent[];
  readonly exchangeTime: ExchangeTime;
  /** Sleeps of the stream that have not ended. */
  readonly sleeperCount: () => number;
  /** Resolves with the n-th event of a kind (counted from 1), fails after 20 s. */
  event<K extends LiveEvent["kind"]>(
    kind: K,
    count?: number,
  ): Promise<Extract<LiveEvent, { kind: K }>>;
  /** The same for what was recorded. */
  record<K extends IngestEvent["kind"]>(
    kind: K,
    count?: number,
  ): Promise<Extract<IngestEvent, { kind: K }>>;
  /** Aborts and waits for the end. */
  stop(): Promise<void>;
}

/** Follows a stream until the test ends. */
export function follow(
  t: TestContext,
  series: readonly Series[],
  options: Partial<BinanceStreamOptions> & { readonly wsUrl: string; readonly clock: Clock },
): Follower {
  const events: LiveEvent[] = [];
  const records: IngestEvent[] = [];
  const exchangeTime = new ExchangeTime();
  let sleeperCount = 0;
  const clock: Clock = {
    ...options.clock,
    sleep: async (ms, signal) => {
      sleeperCount += 1;
      try {
        await options.clock.sleep(ms, signal);
      } finally {
        sleeperCount -= 1;
      }
    },
  };
  const stream = createBinanceStream({
    exchangeTime,
    random: () => 0.5,
    record: (event) => records.push(event),
    firstDelayMs: 1_000,
    ...options,
    clock,
  });
  const controller = new AbortController();
  const done = (async () => {
    for await (const batch of stream.stream(series, controller.signal)) {
      assert.ok(batch.length > 0);
      events.push(...batch);
    }
  })();
  const stop = async (): Promise<void> => {
    controller.abort();
    await done;
  };
  t.after(stop);

  async function nth<T extends { readonly kind: string }>(
    list: readonly T[],
    kind: string,
    count: number,
  ): Promise<T> {
    const began = performance.now();
    for (;;) {
      const found = list.filter((item) => item.kind === kind)[count - 1];
      if (found !== undefined) return found;
      const seen = [...events, ...records].map((item) => JSON.stringify(item).slice(0, 200));
      assert.ok(
        performance.now() - began < 20_000,
        `no ${kind} number ${count}; seen: ${seen.slice(-10).join("\n")}`,
      );
      await Promise.race([done, new Promise((resolve) => setTimeout(resolve, 2))]);
    }
  }
  return {
    stream,
    events,
    records,
    exchangeTime,
    sleeperCount: () => sleeperCount,
    event: async (kind, count = 1) =>
      (await nth(events, kind, count)) as Extract<LiveEvent, { kind: typeof kind }>,
    record: async (kind, count = 1) =>
      (await nth(records, kind, count)) as Extract<IngestEvent, { kind: typeof kind }>,
    stop,
  };
}

/** Series `COIN0USDT 1m`, `COIN1USDT 1m` … */
export function coins(count: number): Series[] {
  return Array.from({ length: count }, (_, index) => ({
    exchange: "binance",
    symbol: `COIN${index}USDT`,
    timeframe: "1m",
  }));
}

/** A combined candle frame of a series. */
export function candleFrame(
  { symbol, timeframe }: Series,
  given: {
    readonly openTime?: number;
    readonly isClosed?: boolean;
    readonly tradeCount?: number;
  } = {},
): { stream: string; data: { e: string; E: number; s: string; k: Record<string, unknown> } } {
  const openTime = given.openTime ?? 1_790_000_040_000;
  return {
    stream: `${symbol.toLowerCase()}@kline_${timeframe}`,
    data: {
      e: "kline",
      E: openTime + 2_000,
      s: symbol,
      k: {
        t: openTime,
        T: openTime + 59_999,
        s: symbol,
        i: timeframe,
        f: 1,
        L: 2,
        o: "1.0",
        c: "1.0",
        h: "1.0",
        l: "1.0",
        v: "2",
        n: given.tradeCount ?? 2,
        x: given.isClosed ?? false,
        q: "2",
        V: "1",
        Q: "1",
        B: "0",
      },
    },
  };
}
