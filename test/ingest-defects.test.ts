import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { BlackTradeError } from "../src/core/errors.ts";
import type { IngestEvent } from "../src/core/events.ts";
import { ExchangeTime } from "../src/core/exchange-time.ts";
import { notFetchedGap } from "../src/core/gaps.ts";
import type { HistorySource } from "../src/core/ports.ts";
import type { Series } from "../src/core/series.ts";
import { Live } from "../src/ingest/live.ts";
import { Writer } from "../src/ingest/writer.ts";
import { virtualClock } from "./support/clocks.ts";
import { modelSeries } from "./support/exchange-model.ts";
import { Harness } from "./support/ingest-harness.ts";
import { createMemoryStore } from "./support/memory-store.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const ALWAYS_MS = 1_000 * HOUR_MS;
const BTC = modelSeries("BTCUSDT", "1m");
const ETH = modelSeries("ETHUSDT", "1m");
const BTC_HOUR = modelSeries("BTCUSDT", "1h");
const NEVER = new AbortController().signal;

const RESTARTING = new BlackTradeError("E_DB_UNREACHABLE", "the database restarts", {
  remedy: "wait",
});

describe("the start", () => {
  test("a ban as the very first answer is sat out, not slept through for weeks", async () => {
    const harness = new Harness({ series: [BTC] });
    harness.fault("ban", 0, 2 * MINUTE_MS);
    harness.start();
    await harness.clock.advance(MINUTE_MS);
    const ban = await harness.store.load("model");
    assert.equal(ban?.remainingMs, MINUTE_MS);
    assert.equal(harness.model.requestCount, 1);
    await harness.minutes(4);
    assert.equal(harness.model.requestsDuringBan, 0);
    assert.equal(await harness.wordOf(BTC), "active");
    harness.assertTable();
    await harness.stop();
  });

  test("a ban that is told while the database is away is kept when it is back", async () => {
    const harness = new Harness({ series: [BTC] });
    let refusals = 0;
    harness.store.setFaults((operation) => {
      if (operation !== "save" || refusals > 0) return undefined;
      refusals += 1;
      return { when: "before", error: RESTARTING };
    });
    harness.start();
    await harness.minutes(2);
    harness.fault("ban", 0, 5 * MINUTE_MS);
    await harness.minutes(3);
    assert.equal(refusals, 1);
    assert.ok(
      ((await harness.store.load("model"))?.remainingMs ?? 0) > 0,
      "a restart would obey it",
    );
    await harness.stop();
  });

  test("a database that is away when the series are entered is asked again", async () => {
    const harness = new Harness({ series: [BTC] });
    let wantCount = 0;
    harness.store.setFaults((operation) => {
      if (operation !== "want") return undefined;
      wantCount += 1;
      return wantCount <= 2 ? { when: "before", error: RESTARTING } : undefined;
    });
    harness.start();
    await harness.minutes(2);
    assert.equal(wantCount, 3);
    assert.equal(await harness.wordOf(BTC), "active");
    harness.assertTable();
    await harness.stop();
  });
});

describe("the writer", () => {
  test("a write that failed and a stop promise nothing that is not stored", async () => {
    const series = modelSeries("BTCUSDT", "1s");
    const clock = virtualClock();
    const base = clock.now();
    const count = 9_000;
    const store = createMemoryStore({ clock });
    await store.begin({ mode: "polling", host: "test", pid: 1 }, [series]);
    const [watermark] = await store.want([{ series, wantedFrom: base }], base);
    const harness = new Harness({ series: [series] });
    const writer = new Writer({
      store,
      clock,
      random: () => 0.5,
      record: () => undefined,
      exchangeNow: () => base + count * 1_000,
    });
    writer.track(watermark ?? assert.fail("no watermark"));
    const offer = (index: number): void => {
      const candle = harness.model.candle(series, base + index * 1_000);
      const observedTime = base + count * 1_000;
      writer.offer({ series, source: "rest", observedTime, candle: candle ?? assert.fail() });
    };
    const promised = async (): Promise<number> => {
      const [facts] = (await store.facts()).series;
      return ((facts?.next ?? base) - base) / 1_000;
    };
    const assertPromiseKept = async (): Promise<void> => {
      const stored = new Set(store.rows(series).map(({ candle }) => candle.openTime));
      const lost = Array.from({ length: await promised() }, (_, i) => base + i * 1_000).filter(
        (openTime) => !stored.has(openTime),
      );
      assert.equal(lost.length, 0);
    };
    for (let index = 0; index < count; index += 1) offer(index);

    // The first write hangs until the stop, then fails; one passes while draining; the rest finds no database.
    const hanging = Promise.withResolvers<void>();
    let writeCount = 0;
    store.setFaults(async (operation) => {
      if (operation !== "write") return undefined;
      writeCount += 1;
      if (writeCount === 1) await hanging.promise;
      return writeCount === 2 ? undefined : { when: "before" };
    });
    const stop = new AbortController();
    const running = writer.run(stop.signal);
    await clock.advance(0);
    // Some come once more while they are being written.
    for (let index = 0; index < 10; index += 1) offer(index);
    stop.abort();
    hanging.resolve();
    await running;
    const deadline = new AbortController();
    const draining = writer.drain(deadline.signal);
    await clock.advance(1_000);
    deadline.abort();
    const left = await draining;
    assert.ok(writeCount > 2);
    await assertPromiseKept();
    // What came once more waits as a version of its own.
    assert.equal(left, 4_000 + 10);
    assert.equal(await promised(), 5_000);

    store.setFaults(undefined);
    assert.equal(await writer.drain(NEVER), 0);
    assert.equal(await promised(), count);
    await assertPromiseKept();
    await writer.flushed(AbortSignal.abort());
  });
});

describe("one series that REST refuses", () => {
  test("its gaps keep those of another neither waiting nor the exchange busy", async () => {
    const harness = new Harness({ series: [BTC, ETH] });
    harness.start();
    await harness.minutes(5);
    const { code, symbol } = { code: "E_SOURCE_SYMBOL", symbol: "BTCUSDT" } as const;
    harness.fault("rest-error", 0, ALWAYS_MS, { code, symbol });
    const now = harness.clock.now();
    const from = now - 40 * MINUTE_MS;
    const gapAt = (series: typeof BTC, start: number, foundTime: number) =>
      notFetchedGap(series, { from: start, to: start + MINUTE_MS }, foundTime);
    const stuck = Array.from({ length: 8 }, (_, i) =>
      gapAt(BTC, from + i * 2 * MINUTE_MS, now - 1_000),
    );
    harness.store.forget(ETH, from);
    await harness.store.open([...stuck, gapAt(ETH, from, now)]);
    const asked = harness.model.requestCount;
    await harness.clock.advance(5 * MINUTE_MS);
    assert.deepEqual(harness.store.ledger(ETH), []);
    assert.equal(await harness.wordOf(ETH), "active");
    await harness.clock.advance(HOUR_MS);
    assert.equal(harness.store.ledger(BTC).length, 8);
    const askedCount = harness.model.requestCount - asked;
    assert.ok(askedCount < 200, `${askedCount} requests in 65 minutes`);
    harness.assertTable();
    await harness.stop();
  });

  test("the others are confirmed all the same", async () => {
    const harness = new Harness({ series: [BTC, ETH] });
    harness.start();
    await harness.minutes(5);
    const { code, symbol } = { code: "E_SOURCE_REFUSED", symbol: "BTCUSDT" } as const;
    harness.fault("rest-error", 0, ALWAYS_MS, { code, symbol });
    await harness.clock.advance(90 * MINUTE_MS);
    const bySource = (series: typeof BTC, source: string): number =>
      harness.store.rows(series).filter((row) => row.source === source).length;
    assert.ok(bySource(BTC, "stream") > 80);
    const waiting = bySource(ETH, "stream");
    assert.ok(waiting < 60, `${waiting} candles are not confirmed`);
    await harness.stop();
  });
});

describe("the clock", () => {
  test("a series that falls far behind between being taken and being asked for leaks no lane", async () => {
    const clock = virtualClock();
    const exchangeTime = new ExchangeTime();
    // Every look at the clock finds it a millisecond on: the sixteen that are taken together cross the edge one by one.
    let looks = 0;
    const ticking = {
      ...clock,
      monotonic: () => {
        looks += 1;
        return clock.monotonic() + looks;
      },
    };
    const start = clock.now();
    const edgeMs = 1_000_000;
    exchangeTime.observeEvent(start + edgeMs - 8, 0);
    let inFlight = 0;
    const seen: number[] = [];
    const history: HistorySource = {
      // biome-ignore lint/correctness/useYield: every request fails
      async *candles() {
        inFlight += 1;
        seen.push(inFlight);
        try {
          await clock.sleep(100, NEVER);
          throw new BlackTradeError("E_SOURCE_SERVER", "503", { remedy: "wait" });
        } finally {
          inFlight -= 1;
        }
      },
      firstOpenTime: async () => undefined,
    };
    const store = createMemoryStore({ clock });
    const record = (_: IngestEvent): void => undefined;
    const exchangeNow = () => start + edgeMs;
    const writer = new Writer({ store, clock, random: () => 0.5, record, exchangeNow });
    const watermarks = Array.from({ length: 60 }, (_, index) => ({
      series: modelSeries(`S${index}`, "1s"),
      next: start,
    }));
    const live = new Live({
      ...{ watermarks, history, gaps: store, store, writer, clock: ticking, exchangeTime, record },
      isTrading: () => true,
      heldUntil: () => 0,
    });
    const stop = new AbortController();
    const running = live.run(stop.signal);
    await clock.advance(0);
    assert.equal(Math.max(...seen), 16, "the first wave was not taken before the edge");
    await clock.advance(500);
    seen.length = 0;
    await clock.advance(30_000);
    assert.equal(Math.max(...seen), 4);
    stop.abort();
    await clock.advance(1_000);
    await running;
  });

  test("a process that was stopped in the middle of a look at all series rests no longer for it", async () => {
    const clock = virtualClock();
    const exchangeTime = new ExchangeTime();
    let stoppedMs = 0;
    const waking = { ...clock, monotonic: () => clock.monotonic() + stoppedMs };
    const start = clock.now();
    exchangeTime.observeEvent(start, 0);
    let askedAtMs: number | undefined;
    const history: HistorySource = {
      // biome-ignore lint/correctness/useYield: that it is asked is what counts
      async *candles() {
        askedAtMs ??= clock.monotonic();
      },
      firstOpenTime: async () => undefined,
    };
    const store = createMemoryStore({ clock });
    const record = (_: IngestEvent): void => undefined;
    const exchangeNow = () => exchangeTime.now(waking.monotonic());
    const writer = new Writer({ store, clock, random: () => 0.5, record, exchangeNow });
    const live = new Live({
      ...{ watermarks: [{ series: BTC, next: start }], history, gaps: store, store, writer },
      ...{ clock: waking, exchangeTime, record },
      isTrading: () => true,
      // Asked in every look: SIGSTOP and SIGCONT ten minutes later, in the first.
      heldUntil: () => {
        stoppedMs = 10 * MINUTE_MS;
        return 0;
      },
    });
    const stop = new AbortController();
    const running = live.run(stop.signal);
    await clock.advance(5_000);
    assert.ok(askedAtMs !== undefined, "what is ten minutes overdue was not asked for");
    stop.abort();
    await clock.advance(1_000);
    await running;
  });

  test("what was left to the archive and then filled by another process is not being caught up any more", async () => {
    const clock = virtualClock();
    const exchangeTime = new ExchangeTime();
    exchangeTime.observeEvent(clock.now(), 0);
    const next = clock.now() - 30_000 * MINUTE_MS;
    const exchangeNow = () => exchangeTime.now(clock.monotonic());
    const { model } = new Harness({ series: [BTC], clock });
    const history: HistorySource = {
      async *candles(_series, { from }) {
        const range = { from, to: clock.now() };
        const askedTime = clock.now();
        yield { range, rows: model.truth(BTC, range), source: "rest", askedTime };
      },
      firstOpenTime: async () => undefined,
    };
    const store = createMemoryStore({ clock });
    await store.begin({ mode: "polling", host: "test", pid: 1 }, [BTC]);
    const watermarks = await store.want([{ series: BTC, wantedFrom: next }], clock.now());
    const record = (_: IngestEvent): void => undefined;
    const writer = new Writer({ store, clock, random: () => 0.5, record, exchangeNow });
    const live = new Live({
      ...{ watermarks, history, gaps: store, store, writer, clock, exchangeTime, record },
      archive: { plan: () => assert.fail("read"), open: () => assert.fail("read") },
      isTrading: () => true,
      heldUntil: () => 0,
    });
    const stop = new AbortController();
    const running = Promise.allSettled([live.run(stop.signal), writer.run(stop.signal)]);
    await clock.advance(1_000);
    const [left] = await store.gaps(BTC);
    assert.equal(left?.reason, "not-fetched");
    assert.equal(live.report(BTC).isCatchingUp, true);
    await store.replace(left ?? assert.fail(), []);
    await clock.advance(10_000);
    assert.equal(live.report(BTC).isCatchingUp, false);
    stop.abort();
    await clock.advance(1_000);
    await running;
  });

  test("after a sleep of the machine nothing is called active while candles are missing", async () => {
    const series = [BTC_HOUR, BTC];
    const harness = new Harness({ series, historyMs: 10 * HOUR_MS });
    harness.start();
    await harness.minutes(10);
    for (const one of series) assert.equal(await harness.wordOf(one), "active");
    harness.clock.suspend(5 * HOUR_MS);
    harness.fault("drop", 0, 30 * MINUTE_MS);
    harness.fault("rest-error", 0, 30 * MINUTE_MS);
    await harness.clock.advance(30_000);
    for (let minute = 0; minute < 29; minute += 1) {
      for (const one of series) assert.notEqual(await harness.wordOf(one), "active");
      await harness.clock.advance(MINUTE_MS);
    }
    await harness.minutes(5);
    for (const one of series) assert.equal(await harness.wordOf(one), "active");
    harness.assertTable();
    await harness.stop();
  });
});

describe("a flush", () => {
  test("does not wait for what was let go, and not for less than what stayed", async () => {
    const clock = virtualClock();
    const store = createMemoryStore({ clock });
    const { model } = new Harness({ series: [BTC, ETH], clock });
    const start = Math.floor(clock.now() / HOUR_MS) * HOUR_MS - HOUR_MS;
    const writer = new Writer({
      ...{ store, clock, random: () => 0.5, record: () => undefined },
      exchangeNow: () => clock.now(),
      capacity: 4,
    });
    const offer = (series: Series, index: number): "taken" | "shed" => {
      const openTime = start + index * MINUTE_MS;
      const candle = model.candle(series, openTime) ?? assert.fail();
      return writer.offer({ series, candle, source: "stream", observedTime: candle.closeTime + 1 });
    };
    for (let index = 0; index < 4; index += 1) offer(BTC, index);
    let isFlushed = false;
    const flushed = writer.flushed(NEVER).then(() => {
      isFlushed = true;
    });
    assert.equal(offer(ETH, 0), "taken");
    assert.equal(offer(ETH, 1), "taken");
    await clock.advance(1_000);
    assert.equal(isFlushed, false);
    await writer.drain(NEVER);
    await flushed;
    assert.deepEqual([store.rows(BTC).length, store.rows(ETH).length], [0, 2]);
    const [gap, ...more] = await store.gaps(BTC);
    assert.deepEqual(more, []);
    assert.deepEqual(gap?.range, { from: start, to: start + 4 * MINUTE_MS });
  });
});

describe("the stop", () => {
  test("an audit of many series under way ends with it", async () => {
    const series = Array.from({ length: 100 }, (_, index) => modelSeries(`S${index}`, "1d"));
    const harness = new Harness({ series, mode: "polling", historyMs: 72 * HOUR_MS });
    let lookCount = 0;
    harness.store.setFaults(async (operation) => {
      if (operation !== "holes") return undefined;
      lookCount += 1;
      await harness.clock.sleep(1_000, NEVER);
      return undefined;
    });
    harness.start();
    await harness.clock.advance(10 * MINUTE_MS + 5_000);
    const lookedBefore = lookCount;
    // All of them wholly, one after the other from the first minute on; and some of their newest candles.
    assert.ok(lookedBefore > 100 && lookedBefore < 150, `${lookedBefore} looked at`);
    await harness.stop(2_000);
    assert.equal(lookCount, lookedBefore);
  });
});

describe("many series, many gaps", () => {
  test("a report whose answer was lost is written anew: what it said may be the past by then", async () => {
    const harness = new Harness({ series: [BTC] });
    let lost = 0;
    harness.start();
    await harness.minutes(2);
    harness.fault("drop", 0, 7_000);
    await harness.clock.advance(1_000);
    harness.store.setFaults((operation) => {
      if (operation !== "report" || lost > 0) return undefined;
      lost += 1;
      return { when: "after", error: RESTARTING };
    });
    await harness.clock.advance(5_500);
    const [during] = (await harness.store.facts()).series;
    assert.equal(during?.isStreamed, false);
    await harness.minutes(5);
    assert.equal(lost, 1);
    const [facts] = (await harness.store.facts()).series;
    assert.equal(facts?.isStreamed, true);
    assert.equal(facts?.problem, undefined);
    await harness.stop();
  });

  test("hundreds of gaps after an outage are filled one after the other, not a handful every few seconds", async () => {
    const harness = new Harness({ series: [BTC], historyMs: 10 * HOUR_MS });
    harness.start();
    await harness.minutes(3);
    const now = harness.clock.now();
    const start = Math.floor(now / HOUR_MS) * HOUR_MS - 9 * HOUR_MS;
    const gaps = Array.from({ length: 250 }, (_, index) => {
      const from = start + 2 * index * MINUTE_MS;
      return notFetchedGap(BTC, { from, to: from + MINUTE_MS }, now);
    });
    await harness.store.open(gaps);
    const openCount = async (): Promise<number> =>
      (await harness.store.gaps(BTC)).filter(({ state }) => state === "open").length;
    assert.equal(await openCount(), 250);
    // Looked at every 5 s; what is due then follows without another pause.
    await harness.clock.advance(8_000);
    assert.equal(await openCount(), 0);
    await harness.stop();
  });

  test("pieces of what is being filled do not stand in the way of others", async () => {
    const harness = new Harness({ series: [BTC, ETH] });
    const { model, clock, store } = harness;
    harness.start();
    await harness.minutes(3);
    const now = clock.now();
    const from = Math.floor(now / HOUR_MS) * HOUR_MS - 1_000 * HOUR_MS;
    const large = notFetchedGap(ETH, { from, to: from + 500 * HOUR_MS }, now);
    await store.open([large]);
    const candles = model.candles.bind(model);
    model.candles = async function* (series, range, ...rest) {
      if (series === ETH && range.from >= from) await clock.sleep(HOUR_MS, rest[0]);
      yield* candles(series, range, ...rest);
    };
    await clock.advance(6_000);
    // A file of it was read, and lacked a minute in each hour.
    const pieces = Array.from({ length: 400 }, (_, hour) => {
      const at = from + hour * HOUR_MS;
      return { ...large, range: { from: at, to: at + MINUTE_MS } };
    });
    await store.replace(large, pieces);
    await store.open([notFetchedGap(BTC, { from, to: from + MINUTE_MS }, clock.now())]);
    await clock.advance(6_000);
    assert.deepEqual(await store.gaps(BTC), []);
    await harness.stop();
  });

  test("an exchange that does not answer is not asked for one gap after the other", async () => {
    const harness = new Harness({ series: [BTC] });
    const { model, clock, store } = harness;
    harness.start();
    await harness.minutes(3);
    const now = clock.now();
    const start = Math.floor(now / HOUR_MS) * HOUR_MS - 100 * HOUR_MS;
    const gaps = Array.from({ length: 1_200 }, (_, index) => {
      const from = start + 2 * index * MINUTE_MS;
      return notFetchedGap(BTC, { from, to: from + MINUTE_MS }, now);
    });
    await store.open(gaps);
    harness.fault("rest-error", 0, HOUR_MS, { code: "E_SOURCE_UNREACHABLE" });
    const before = model.requestCount;
    await clock.advance(30_000);
    assert.ok(model.requestCount - before < 60, `${model.requestCount - before} requests`);
    await harness.stop();
  });

  test("what waits is told while the database hangs", async () => {
    const harness = new Harness({ series: [BTC, ETH] });
    harness.start();
    await harness.minutes(2);
    const hang = Promise.withResolvers<undefined>();
    harness.store.setFaults((operation) => (operation === "write" ? hang.promise : undefined));
    await harness.clock.advance(3 * MINUTE_MS);
    const told = harness.events.filter((event) => event.kind === "queueSize").at(-1);
    assert.ok((told?.size ?? 0) >= 4, `${told?.size} wait`);
    hang.resolve(undefined);
    await harness.minutes(2);
    await harness.stop();
  });

  test("what an outage left is filled beside the years that are still being loaded", async () => {
    const harness = new Harness({ series: [BTC, ETH] });
    const { model, clock, store } = harness;
    harness.start();
    await harness.minutes(3);
    const now = clock.now();
    const start = Math.floor(now / HOUR_MS) * HOUR_MS - 10_000 * HOUR_MS;
    const years = Array.from({ length: 70 }, (_, index) => {
      const from = start + index * 100 * HOUR_MS;
      return notFetchedGap(ETH, { from, to: from + 90 * HOUR_MS }, now);
    });
    await store.open(years);
    const candles = model.candles.bind(model);
    model.candles = async function* (series, range, ...rest) {
      // Slow as a year is.
      if (series === ETH && range.to < now - 10 * HOUR_MS) await clock.sleep(HOUR_MS, rest[0]);
      yield* candles(series, range, ...rest);
    };
    await clock.advance(6_000);
    const cell = { from: start, to: start + MINUTE_MS };
    await store.open([notFetchedGap(BTC, cell, clock.now())]);
    await clock.advance(6_000);
    assert.deepEqual(await store.gaps(BTC), []);
    assert.equal((await store.gaps(ETH)).length, 70);
    await harness.stop();
  });
});
