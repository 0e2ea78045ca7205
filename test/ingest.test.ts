import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { seriesKey } from "../src/core/series.ts";
import { openTimeAt } from "../src/core/timeframe.ts";
import { modelSeries } from "./support/exchange-model.ts";
import { Harness } from "./support/ingest-harness.ts";

const MINUTE = modelSeries("BTCUSDT", "1m");
const SECOND = modelSeries("ETHUSDT", "1s");
const HOUR = modelSeries("BTCUSDT", "1h");
const SERIES = [MINUTE, SECOND, HOUR];

for (const mode of ["websocket", "polling"] as const) {
  describe(`ingestion in ${mode} mode under virtual time`, () => {
    test("an empty database is caught up with and then kept whole", async () => {
      const harness = new Harness({ series: SERIES, mode });
      harness.start();
      await harness.minutes(5);
      assert.equal(await harness.wordOf(MINUTE), "active");
      assert.equal(await harness.wordOf(SECOND), "active");
      assert.equal(await harness.wordOf(HOUR), "active");
      harness.assertTable();
      const summary = await harness.stop();
      assert.equal(summary.pendingCount, 0);
      assert.equal(await harness.wordOf(MINUTE), "paused");
    });

    test("a ban stops every request and loses nothing", async () => {
      const harness = new Harness({ series: SERIES, mode });
      harness.start();
      await harness.minutes(3);
      harness.fault("ban", 0, 30 * 60_000);
      if (mode === "websocket") harness.fault("drop", 5 * 60_000, 10 * 60_000);
      await harness.minutes(10);
      for (const { problem = "" } of (await harness.store.facts()).series) {
        assert.doesNotMatch(problem, /come by REST/, "REST is not asked during a ban");
      }
      assert.equal(await harness.wordOf(SECOND), "banned");
      await harness.minutes(25);
      assert.equal(harness.model.requestsDuringBan, 0);
      assert.equal(await harness.wordOf(SECOND), "active");
      harness.assertTable();
      await harness.stop();
    });

    test("an outage of the exchange becomes a gap that is confirmed after an hour", async () => {
      const harness = new Harness({ series: [MINUTE], mode });
      harness.start();
      await harness.minutes(2);
      harness.fault("outage", 0, 7 * 60_000);
      await harness.minutes(12);
      assert.equal(await harness.wordOf(MINUTE), "gap");
      await harness.minutes(65);
      assert.equal(await harness.wordOf(MINUTE), "active");
      harness.assertTable();
      const [gap] = harness.store.ledger(MINUTE);
      assert.equal(gap?.state, "confirmed");
      assert.equal(gap?.range.to - gap?.range.from, 7 * 60_000);
      const asked = harness.model.requestCount;
      if (mode === "websocket") {
        await harness.minutes(60);
        assert.ok(
          harness.model.requestCount - asked < 70,
          "a confirmed gap is asked for again and again",
        );
      }
      await harness.stop();
    });

    test("REST errors and a lagging replica never store an unfinished candle", async () => {
      const harness = new Harness({ series: SERIES, mode });
      harness.start();
      await harness.minutes(2);
      harness.fault("rest-lag", 0, 10 * 60_000);
      harness.fault("drop", 60_000, 5 * 60_000);
      harness.fault("rest-error", 12 * 60_000, 3 * 60_000);
      await harness.minutes(25);
      harness.assertTable();
      assert.equal(await harness.wordOf(MINUTE), "active");
      await harness.stop();
    });
  });
}

describe("live ingestion under virtual time", () => {
  test("a lost connection heals candle by candle, and the status says so", async () => {
    const harness = new Harness({ series: SERIES });
    harness.start();
    await harness.minutes(3);
    harness.fault("drop", 0, 10 * 60_000);
    await harness.minutes(5);
    harness.assertTable();
    const status = (await harness.statuses()).get(seriesKey(MINUTE));
    assert.equal(status?.word, "active");
    assert.match(status?.reason ?? "", /1006.*REST/);
    await harness.minutes(10);
    harness.assertTable();
    assert.equal((await harness.statuses()).get(seriesKey(MINUTE))?.reason, "");
    await harness.stop();
  });

  for (const kind of ["silence", "no-close"] as const) {
    test(`a stream with ${kind} is healed by REST and subscribed anew`, async () => {
      const harness = new Harness({ series: SERIES });
      harness.start();
      await harness.minutes(3);
      harness.fault(kind, 0, 10 * 60_000);
      await harness.minutes(8);
      harness.assertTable(20_000);
      assert.ok(
        harness.model.resubscribed.some(({ timeframe }) => timeframe === "1m"),
        "the silent stream was not subscribed anew",
      );
      await harness.minutes(5);
      harness.assertTable();
      await harness.stop();
    });
  }

  test("stream and REST both gone: nothing is active, and all is fetched when they are back", async () => {
    const harness = new Harness({ series: SERIES });
    harness.start();
    await harness.minutes(3);
    harness.fault("drop", 0, 20 * 60_000);
    harness.fault("rest-error", 0, 20 * 60_000);
    await harness.minutes(2);
    for (const series of [MINUTE, SECOND]) assert.notEqual(await harness.wordOf(series), "active");
    await harness.minutes(22);
    harness.assertTable();
    for (const series of SERIES) assert.equal(await harness.wordOf(series), "active");
    await harness.stop();
  });

  test("a database that is away for ten minutes loses nothing", async () => {
    const harness = new Harness({ series: SERIES });
    harness.start();
    await harness.minutes(3);
    harness.store.failWrites(true);
    await harness.minutes(10);
    harness.store.failWrites(false);
    await harness.minutes(3);
    harness.assertTable();
    const received = harness.events.filter(({ kind }) => kind === "writeFailed").length;
    assert.ok(received > 0);
    await harness.stop();
  });

  test("what came by the stream is read again by REST: a correction becomes a revision", async () => {
    const harness = new Harness({ series: [MINUTE] });
    harness.start();
    await harness.minutes(5);
    const from = harness.clock.now();
    harness.fault("correction", 0, 10 * 60_000);
    await harness.minutes(150);
    const { series } = await harness.store.facts();
    const confirmedTo = series[0]?.confirmedTo ?? 0;
    assert.ok(confirmedTo > from + 60 * 60_000, `confirmed only to ${confirmedTo}`);
    for (const { candle, source } of harness.store.rows(MINUTE)) {
      if (candle.openTime >= confirmedTo) continue;
      assert.equal(source, "rest");
      const truth = harness.model.candleAt(MINUTE, candle.openTime, harness.clock.now());
      assert.equal(candle.volume, truth?.volume);
    }
    const revisions = harness.store.revisions(MINUTE);
    assert.ok(revisions.length >= 8, `${revisions.length} revisions`);
    assert.ok(revisions.every(({ source }) => source === "stream"));
    await harness.stop();
  });

  test("a row deleted by hand is noticed and fetched again", async () => {
    const harness = new Harness({ series: [MINUTE] });
    harness.start();
    await harness.minutes(10);
    harness.store.forget(MINUTE, openTimeAt("1m", harness.clock.now()) - 5 * 60_000);
    await harness.clock.advance(12 * 60_000);
    harness.assertTable();
    await harness.stop();
  });

  test("a series listed an hour ago has no gap before its listing", async () => {
    const clock = undefined;
    const listedAt = Date.UTC(2025, 11, 31, 23, 30);
    const harness = new Harness({
      series: [MINUTE],
      listedAt,
      historyMs: 5 * 3_600_000,
      ...(clock ?? {}),
    });
    harness.start();
    await harness.minutes(5);
    assert.equal(await harness.wordOf(MINUTE), "active");
    const [gap] = harness.store.ledger(MINUTE);
    assert.equal(gap?.reason, "before-listing");
    assert.equal(gap?.state, "confirmed");
    await harness.stop();
  });
});
