import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import type { Candle } from "../../core/candle.ts";
import type { Series } from "../../core/series.ts";
import type { KlineFrame } from "../../wire/kline-text.ts";
import type { FeedEvent } from "../parts.ts";
import { type HubOptions, StreamHub, type StreamSource } from "./stream-hub.ts";

const MINUTE = 60_000;
const START = Date.UTC(2026, 0, 1, 10);
const SERIES: Series = { exchange: "binance", symbol: "BTCUSDT", timeframe: "1m" };
const SOURCE: StreamSource = {
  name: "btcusdt@kline_1m",
  kline: { symbol: "BTCUSDT", interval: "1m" },
  series: SERIES,
};

const candleAt = (minute: number, close = "1.0"): Candle => ({
  openTime: START + minute * MINUTE,
  closeTime: START + (minute + 1) * MINUTE - 1,
  ...{ open: "1.0", high: "2.0", low: "0.5", close },
  ...{ volume: "1", quoteVolume: "1", tradeCount: 1 },
  ...{ takerBuyVolume: "1", takerBuyQuoteVolume: "1" },
});

/** A hub over a flow and a clock that the test moves. */
class Scene {
  now = START + 10_000;
  readonly faults: unknown[] = [];
  readonly hub = new StreamHub({
    feed: this,
    now: () => this.now,
    read: (series, range) => this.read(series, range),
    onFault: (error) => this.faults.push(error),
  });
  read: HubOptions["read"] = async () => [];
  watcherCount = 0;
  #watcher: ((event: FeedEvent) => void) | undefined;
  #id = 0;

  subscribe(watcher: (event: FeedEvent) => void): () => void {
    this.watcherCount += 1;
    this.#watcher = watcher;
    return () => {
      this.watcherCount -= 1;
    };
  }

  grows(minute: number, close?: string): void {
    const candle = candleAt(minute, close);
    const forming = { series: SERIES, candle, eventTime: this.now };
    this.#watcher?.({ kind: "forming", forming });
  }

  closes(minute: number, close?: string, outcome: "stored" | "revised" = "stored"): void {
    const candle = {
      series: SERIES,
      candle: candleAt(minute, close),
      source: "stream" as const,
      observedTime: this.now,
    };
    this.#id += 1;
    this.#watcher?.({ kind: "closed", change: { kind: "candle", id: this.#id, candle, outcome } });
  }

  closesMany(from: number, to: number): void {
    const range = { from: START + from * MINUTE, to: START + to * MINUTE };
    const change = { kind: "stretch", id: ++this.#id, series: SERIES, range } as const;
    this.#watcher?.({ kind: "stretch", change });
  }

  /** A listener from now on. @returns what it gets: `10` = minute 10 closed, `10?` = it is forming */
  listener(): string[] {
    const seen: string[] = [];
    this.hub.join(SOURCE, { take: (frame) => seen.push(shown(frame)) });
    return seen;
  }
}

const shown = (frame: KlineFrame): string => {
  const { k } = JSON.parse(frame.text({ isCombined: false, isMicro: false }));
  return `${(k.t - START) / MINUTE}${k.x ? "" : "?"}`;
};

describe("the streams", () => {
  test("tell a candle as forming, then as closed once it is committed", () => {
    const scene = new Scene();
    const seen = scene.listener();
    scene.grows(0);
    scene.now = START + MINUTE + 40;
    scene.closes(0);
    scene.grows(1);
    assert.deepEqual(seen, ["0?", "0", "1?"]);
  });

  test("a candle waits for the closing frame of the one before, and only its newest frame", () => {
    const scene = new Scene();
    const seen = scene.listener();
    scene.now = START + MINUTE + 40;
    scene.grows(1, "1.1");
    scene.grows(1, "1.2");
    assert.deepEqual(seen, []);
    scene.now += 500;
    scene.closes(0);
    assert.deepEqual(seen, ["0", "1?"]);
    scene.grows(1, "1.3");
    assert.deepEqual(seen, ["0", "1?", "1?"]);
  });

  test("but not for ever: what is healed later is told when it comes", () => {
    const scene = new Scene();
    const seen = scene.listener();
    scene.now = START + MINUTE + 40;
    scene.grows(1);
    scene.now += 2_999;
    scene.hub.tick(scene.now);
    assert.deepEqual(seen, []);
    scene.now += 1;
    scene.hub.tick(scene.now);
    scene.grows(1);
    assert.deepEqual(seen, ["1?", "1?"]);
    scene.closes(0);
    assert.deepEqual(seen, ["1?", "1?", "0"]);
  });

  test("without a tick the next frame after that time goes", () => {
    const scene = new Scene();
    const seen = scene.listener();
    scene.now = START + MINUTE + 40;
    scene.grows(1);
    scene.now += 3_000;
    scene.grows(1);
    assert.deepEqual(seen, ["1?"]);
  });

  test("a listener gets the closing frame of every candle that closes after it has joined, of no other", () => {
    const scene = new Scene();
    scene.now = START + 3 * MINUTE + 5;
    const early = scene.listener();
    scene.now = START + 6 * MINUTE + 5;
    const late = scene.listener();
    // The exchange's stream was lost for minutes; REST has brought them.
    for (const minute of [0, 1, 2, 3, 4, 5, 6]) scene.closes(minute);
    assert.deepEqual(early, ["3", "4", "5", "6"]);
    assert.deepEqual(late, ["6"]);
  });

  test("a newer version, a repeat and a hole filled behind are not told", () => {
    const scene = new Scene();
    const seen = scene.listener();
    scene.now = START + 3 * MINUTE;
    scene.closes(0);
    scene.closes(2);
    scene.closes(2);
    scene.closes(2, "1.5", "revised");
    scene.closes(1);
    scene.grows(2);
    assert.deepEqual(seen, ["0", "2"]);
  });

  test("many that are stored at once are read, and told before what comes meanwhile", async () => {
    const scene = new Scene();
    scene.now = START + 2 * MINUTE + 5;
    const seen = scene.listener();
    const answer = Promise.withResolvers<readonly Candle[]>();
    const asked: unknown[] = [];
    scene.read = (_series, range) => {
      asked.push([(range.from - START) / MINUTE, (range.to - START) / MINUTE]);
      return answer.promise;
    };
    scene.now = START + 200 * MINUTE + 5;
    scene.closesMany(0, 199);
    scene.closes(199);
    scene.grows(200);
    assert.deepEqual([asked, seen], [[[2, 199]], []]);
    answer.resolve([2, 3, 198].map((minute) => candleAt(minute)));
    await new Promise(setImmediate);
    assert.deepEqual(seen, ["2", "3", "198", "199", "200?"]);
    // What was told is not read again; a database that fails holds nothing up.
    scene.closesMany(0, 200);
    assert.equal(asked.length, 1);
    scene.read = () => Promise.reject(new Error("away"));
    scene.closesMany(200, 400);
    scene.closes(400);
    await new Promise(setImmediate);
    assert.deepEqual([seen.at(-1), scene.faults.length], ["400", 1]);
  });

  test("the first frames need not wait for a candle that had closed before anybody listened", () => {
    const scene = new Scene();
    scene.now = START + MINUTE + 5;
    const seen = scene.listener();
    scene.grows(1);
    assert.deepEqual(seen, ["1?"]);
  });

  test("the flow is followed while somebody listens", () => {
    const scene = new Scene();
    assert.equal(scene.watcherCount, 0);
    const taker = { take: () => undefined };
    const other = { take: () => undefined };
    scene.hub.join(SOURCE, taker);
    scene.hub.join(SOURCE, other);
    assert.equal(scene.watcherCount, 1);
    scene.hub.leave(SOURCE.name, taker);
    assert.deepEqual([scene.watcherCount, scene.hub.size], [1, 1]);
    scene.hub.leave(SOURCE.name, other);
    scene.hub.leave(SOURCE.name, other);
    assert.deepEqual([scene.watcherCount, scene.hub.size], [0, 0]);
    scene.hub.join(SOURCE, taker);
    assert.equal(scene.watcherCount, 1);
  });

  test("whatever the flow does, each candle closes once, in order, and nothing of it follows", () => {
    const step = fc.record({
      what: fc.constantFrom("grows", "closes", "tick"),
      minute: fc.integer({ min: 0, max: 6 }),
      ms: fc.integer({ min: 0, max: 40_000 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const scene = new Scene();
        const seen = scene.listener();
        for (const { what, minute, ms } of steps) {
          scene.now += ms;
          if (what === "tick") scene.hub.tick(scene.now);
          else scene[what as "grows" | "closes"](minute);
        }
        let closed = -1;
        for (const text of seen) {
          const minute = Number.parseInt(text, 10);
          assert.ok(minute > closed, seen.join(" "));
          if (!text.endsWith("?")) closed = minute;
        }
      }),
    );
  });
});
