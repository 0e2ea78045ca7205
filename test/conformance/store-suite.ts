import assert from "node:assert/strict";
import { after, before, describe, test as nodeTest } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import type { Candle } from "../../src/core/candle.ts";
import { BlackTradeError } from "../../src/core/errors.ts";
import {
  candleKey,
  compareVersions,
  type Source,
  sameValues,
  type VersionedCandle,
  versionNumber,
} from "../../src/core/finality.ts";
import { type Gap, notKeptGap, shedGap } from "../../src/core/gaps.ts";
import type {
  BanStore,
  CandleStore,
  ConfirmStore,
  CoverageStore,
  GapStore,
  RunStore,
  SeriesReport,
  StatusStore,
} from "../../src/core/ports.ts";
import { mergeRanges, subtractRanges, type TimeRange } from "../../src/core/range.ts";
import { type Series, seriesKey } from "../../src/core/series.ts";
import type { RunFacts, SeriesFacts } from "../../src/core/status.ts";
import {
  cellOf,
  closeTimeOf,
  shiftOpenTime,
  TIMEFRAMES,
  type Timeframe,
} from "../../src/core/timeframe.ts";
import type { Rejection } from "../../src/core/validate.ts";
import * as arbitrary from "../support/arbitraries.ts";

/** A store with the looks into it that the suite needs. */
export interface StoreUnderTest
  extends CandleStore,
    GapStore,
    BanStore,
    RunStore,
    StatusStore,
    CoverageStore,
    ConfirmStore {
  /** All candles of a series, ascending. */
  rows(series: Series): Promise<readonly VersionedCandle[]>;
  /** Replaced versions of a series, by open time, then in the order of replacement. */
  revisionsOf(series: Series): Promise<readonly VersionedCandle[]>;
  gapsOf(series: Series): Promise<readonly Gap[]>;
  refused(): Promise<readonly RefusedCandle[]>;
  close(): Promise<void>;
}

/** An entry of the quarantine. */
export interface RefusedCandle extends Rejection {
  readonly series: Series;
  readonly openTime: string;
  readonly source: string;
  readonly count: number;
}

/** One database for the whole suite, and any number of processes on it. */
export interface StoreHarness {
  open(): Promise<StoreUnderTest>;
  close(): Promise<void>;
}

const T0 = Date.UTC(2025, 0, 1);
const MINUTE_MS = 60_000;
/** Exchange time runs two hours ahead of the database's clock. */
const AHEAD_MS = 2 * 3_600_000;
const PROPERTY_RUNS = { numRuns: 40, endOnFailure: true };

/** A few cells of a timeframe with a candle, some of them off the grid, and a range around. */
const sparseSeries = fc.record({
  timeframe: fc.constantFrom<Timeframe>("1s", "1m", "1h", "3d", "1w", "1M"),
  cells: fc.array(fc.integer({ min: -3, max: 25 }), { maxLength: 30 }),
  offsets: fc.array(fc.constantFrom(0, 0, 0, 0.25, 0.999), { minLength: 30, maxLength: 30 }),
  from: fc.integer({ min: -5, max: 10 }),
  to: fc.integer({ min: 8, max: 30 }),
});

let symbolCount = 0;

/** A series that no other test touches. */
export function freshSeries(timeframe: Timeframe = "1m"): Series {
  symbolCount += 1;
  return { exchange: "suite", symbol: `S${symbolCount}`, timeframe };
}

/** A sound closed candle. */
export function candleAt(
  series: Series,
  openTime: number,
  source: Source = "stream",
  values: Partial<Candle> = {},
  observedTime: number = openTime + 90 * 86_400_000,
): VersionedCandle {
  return {
    series,
    source,
    observedTime,
    candle: {
      openTime,
      closeTime: closeTimeOf(series.timeframe, openTime),
      open: "100.10",
      high: "101.00000000",
      low: "99.5",
      close: "100",
      volume: "12.34000000",
      quoteVolume: "1234.00",
      tradeCount: 17,
      takerBuyVolume: "0.00000000",
      takerBuyQuoteVolume: "0",
      ...values,
    },
  };
}

/** What every implementation of the store's ports has to keep. */
export function describeStore(
  name: string,
  openHarness: () => Promise<StoreHarness>,
  { skip = false }: { readonly skip?: string | false } = {},
): void {
  // Each test is skipped by itself: the runner then tells how many were.
  const test = (title: string, run: () => Promise<void>): void => {
    nodeTest(title, { skip }, run);
  };
  describe(name, () => {
    let harness: StoreHarness;
    let store: StoreUnderTest;
    const peers: StoreUnderTest[] = [];
    const peer = async (): Promise<StoreUnderTest> => {
      const opened = await harness.open();
      peers.push(opened);
      return opened;
    };

    before(async () => {
      if (skip !== false) return;
      harness = await openHarness();
      store = await harness.open();
    });
    after(async () => {
      for (const one of peers) await one.close();
      await store?.close();
      await harness?.close();
    });

    describe("coverage", () => {
      test("holes are those of the calendar, off-grid candles or not", async () => {
        await fc.assert(
          fc.asyncProperty(sparseSeries, async ({ timeframe, cells, offsets, from, to }) => {
            const series = freshSeries(timeframe);
            const start = cellOf(timeframe, T0).from;
            const at = (cell: number): number => shiftOpenTime(timeframe, start, cell);
            const openTimes = new Set(
              cells.map((cell, index) => {
                const length = at(cell + 1) - at(cell);
                return at(cell) + Math.floor(length * (offsets[index] ?? 0));
              }),
            );
            const rows = [...openTimes].map((openTime) => candleAt(series, openTime, "rest"));
            if (rows.length > 0) await store.write(rows, []);
            const expected: TimeRange[] = [];
            for (let cell = from; cell < to; cell += 1) {
              const isThere = [...openTimes].some(
                (time) => time >= at(cell) && time < at(cell + 1),
              );
              if (!isThere) expected.push({ from: at(cell), to: at(cell + 1) });
            }
            const holes = await store.holes(series, { from: at(from), to: at(to) });
            assert.deepEqual(holes, mergeRanges(expected));
            const first = openTimes.size === 0 ? undefined : Math.min(...openTimes);
            assert.equal(await store.firstStored(series), first);
          }),
          { ...PROPERTY_RUNS, numRuns: 120 },
        );
      });

      test("many cells, one of them empty, one with an off-grid candle, one with two", async () => {
        const series = freshSeries("1m");
        const openTimes = Array.from({ length: 5_000 }, (_, cell) => T0 + cell * MINUTE_MS)
          .filter((_, cell) => cell !== 3_000)
          .map((time, index) => (index === 1_500 ? time + 7_000 : time));
        const rows = [...openTimes, T0 + 700 * MINUTE_MS + 30_000].map((openTime) =>
          candleAt(series, openTime, "rest"),
        );
        await store.write(rows, []);
        assert.deepEqual(await store.holes(series, { from: T0, to: T0 + 5_000 * MINUTE_MS }), [
          { from: T0 + 3_000 * MINUTE_MS, to: T0 + 3_001 * MINUTE_MS },
        ]);
      });

      test("a candle that is still to be confirmed takes back what was confirmed behind it", async () => {
        const series = freshSeries();
        const at = (minute: number): number => T0 + minute * MINUTE_MS;
        const confirmedTo = async () => (await factsOf(store, series)).confirmedTo;
        await write(candleAt(series, at(10), "rest"));
        assert.equal(await confirmedTo(), undefined);
        await write(candleAt(series, at(11), "stream"));
        assert.equal(await confirmedTo(), at(11));
        assert.equal(await store.saveConfirmed(series, at(11), at(20), []), at(11));
        assert.equal(await store.saveConfirmed(series, at(11), at(20), [at(11)]), at(20));
        await write(candleAt(series, at(12), "archive-daily"), candleAt(series, at(25), "stream"));
        assert.equal(await confirmedTo(), at(20));
        // It is stored already, and better.
        await write(candleAt(series, at(10), "csv"));
        assert.equal(await confirmedTo(), at(20));
        await write(candleAt(series, at(5), "csv"), candleAt(series, at(3), "csv"));
        assert.equal(await confirmedTo(), at(3));
        assert.deepEqual(await store.unconfirmed(series, { from: at(3), to: at(20) }, 10), [
          at(3),
          at(5),
          at(11),
        ]);
        // What was read from 20 on does not speak of them.
        assert.equal(await store.saveConfirmed(series, at(20), at(30), []), undefined);
        assert.equal(await confirmedTo(), at(3));
      });
    });

    test("a symbol with a NUL character is refused as bad input, not tried again", async () => {
      const series = { ...freshSeries(), symbol: "BAD\u0000" };
      await assert.rejects(store.write([candleAt(series, T0)], []), (error) => {
        assert.ok(error instanceof BlackTradeError && !error.retryable);
        return true;
      });
      assert.deepEqual(await store.gaps(series), []);
    });

    const write = async (...batch: VersionedCandle[]): Promise<readonly string[]> =>
      (await store.write(batch, [])).outcomes;

    test("a candle is stored once; the same again is identical", async () => {
      const series = freshSeries();
      const row = candleAt(series, T0);
      assert.deepEqual(await write(row), ["stored"]);
      assert.deepEqual(await write(row), ["identical"]);
      assert.deepEqual(await store.rows(series), [row]);
      assert.deepEqual(await store.revisionsOf(series), []);
    });

    test("a higher authority replaces a lower one, never the other way round", async () => {
      const series = freshSeries();
      const stream = candleAt(series, T0, "stream", { volume: "1" });
      const rest = candleAt(series, T0, "rest", { volume: "2" });
      const csv = candleAt(series, T0, "csv", { volume: "3" }, stream.observedTime + 1e9);
      assert.deepEqual(await write(stream), ["stored"]);
      assert.deepEqual(await write(rest), ["revised"]);
      assert.deepEqual(await write(stream), ["superseded"]);
      assert.deepEqual(await write(csv), ["superseded"]);
      assert.deepEqual(await store.rows(series), [rest]);
      assert.deepEqual(await store.revisionsOf(series), [stream]);
    });

    test("of one road the later version wins, whatever came first", async () => {
      const series = freshSeries();
      const early = candleAt(series, T0, "rest", { close: "99.6" }, T0 + 90_000);
      const late = candleAt(series, T0, "rest", { close: "99.7" }, T0 + 90_001);
      assert.deepEqual(await write(late), ["stored"]);
      assert.deepEqual(await write(early), ["superseded"]);
      assert.deepEqual(await store.rows(series), [late]);
    });

    test("a version that says the same in a higher voice is identical, and raises the version", async () => {
      const series = freshSeries();
      const stream = candleAt(series, T0, "stream", { volume: "1.0" });
      const rest = candleAt(series, T0, "rest", { volume: "1.00" });
      await write(stream);
      assert.deepEqual(await write(rest), ["identical"]);
      assert.deepEqual(await store.rows(series), [rest]);
      assert.deepEqual(await store.revisionsOf(series), []);
      assert.deepEqual(await write(stream), ["identical"]);
      assert.deepEqual(await store.rows(series), [rest]);
    });

    test("equal versions are told apart by count, then by the decimals in core's order", async () => {
      const series = freshSeries();
      const base = candleAt(series, T0, "rest");
      const rising: Partial<Candle>[] = [
        { tradeCount: 18 },
        { tradeCount: 18, volume: "13" },
        { tradeCount: 18, volume: "13", quoteVolume: "1235" },
        { tradeCount: 18, volume: "13", quoteVolume: "1235", takerBuyVolume: "1" },
        { tradeCount: 19, low: "99.4" },
        { tradeCount: 19, closeTime: base.candle.closeTime, low: "99.5" },
      ];
      await write(base);
      for (const values of rising) {
        const next = candleAt(series, T0, "rest", values);
        const [stored] = await store.rows(series);
        assert.ok(stored && compareVersions(next, stored) > 0);
        assert.deepEqual(await write(next), ["revised"]);
        assert.deepEqual(await write(stored), ["superseded"]);
      }
      assert.equal((await store.revisionsOf(series)).length, rising.length);
    });

    test("one batch may hold every version of a candle, and each has its outcome", async () => {
      const series = freshSeries();
      const low = candleAt(series, T0, "stream", { volume: "1" });
      const twin = candleAt(series, T0, "csv", { volume: "2.0" });
      const high = candleAt(series, T0, "rest", { volume: "2" });
      const other = candleAt(series, T0 + MINUTE_MS);
      assert.deepEqual(await write(low, other, high, twin, other), [
        ...["superseded", "stored", "stored", "identical", "identical"],
      ]);
      assert.deepEqual(await store.rows(series), [high, other]);
    });

    test("cut, off-grid and calendar candles come out as they were served", async () => {
      const cut = freshSeries("1h");
      const odd = candleAt(cut, T0, "rest", { closeTime: T0 + 1_234_567 });
      const late = candleAt(cut, T0 + 3_600_000, "rest", { closeTime: T0 + 9_000_000 });
      const offGrid = candleAt(cut, T0 + 7_200_000 + 12_345, "rest", {
        closeTime: T0 + 10_799_999,
      });
      await write(odd, late, offGrid);
      assert.deepEqual(await store.rows(cut), [odd, late, offGrid]);
      for (const timeframe of TIMEFRAMES) {
        const series = freshSeries(timeframe);
        const opens = [Date.UTC(2024, 0, 29), Date.UTC(2024, 1, 1), Date.UTC(2024, 1, 29)];
        const rows = opens.map((time) => candleAt(series, time, "archive-daily"));
        // A cut of a whole month does not fit 32 bits.
        rows.push(
          candleAt(series, Date.UTC(2024, 2, 1), "rest", { closeTime: Date.UTC(2024, 2, 1) + 5 }),
        );
        await write(...rows);
        assert.deepEqual(await store.rows(series), rows);
      }
    });

    test("R2: every decimal comes out as the text that went in", async () => {
      await fc.assert(
        fc.asyncProperty(arbitrary.versionedCandle(), async (given) => {
          const row = { ...given, series: freshSeries(given.series.timeframe) };
          assert.deepEqual(await write(row), ["stored"]);
          assert.deepEqual(await store.rows(row.series), [row]);
        }),
        { ...PROPERTY_RUNS, numRuns: 100 },
      );
    });

    test("S9: any symbol is a name and nothing else", async () => {
      const symbols = fc.oneof(
        arbitrary.symbol(),
        fc.string({ unit: "grapheme", minLength: 1, maxLength: 30 }),
        fc.constantFrom("'; drop table candles; --", '"', "\\", "{a,b}", "NULL", "$1", "%s", " "),
      );
      await fc.assert(
        fc.asyncProperty(symbols, async (text) => {
          const series = { ...freshSeries(), symbol: `${freshSeries().symbol}${text}` };
          fc.pre(!series.symbol.includes("\0"));
          await write(candleAt(series, T0));
          assert.equal((await store.rows(series)).length, 1);
        }),
        PROPERTY_RUNS,
      );
    });

    test("R3: any order, batching and repetition of versions ends at the same table", async () => {
      const scenario = fc
        .array(arbitrary.rivalVersions({ timeframe: "1m" }), { minLength: 1, maxLength: 4 })
        .chain((rivals) => {
          const offered = rivals.flat();
          return fc.tuple(
            fc.constant(offered),
            fc.array(fc.nat(offered.length - 1), { minLength: 1, maxLength: 25 }),
            fc.array(fc.nat(6), { minLength: 1, maxLength: 8 }),
          );
        });
      await fc.assert(
        fc.asyncProperty(scenario, async ([given, order, sizes]) => {
          const series = freshSeries();
          const offered = given.map((row) => ({ ...row, series }));
          const arrivals = order.map((index) => offered[index] as VersionedCandle);
          const model = new Map<string, VersionedCandle>();
          const counts = new Map<string, number>();
          let changes = 0;
          for (let at = 0, turn = 0; at < arrivals.length; turn += 1) {
            const batch = arrivals.slice(at, at + (sizes[turn % sizes.length] ?? 0) + 1);
            at += batch.length;
            const { outcomes } = await store.write(batch, []);
            assert.equal(outcomes.length, batch.length);
            const before = new Map(model);
            for (const row of batch) {
              const stored = model.get(candleKey(row));
              if (stored === undefined || compareVersions(row, stored) > 0)
                model.set(candleKey(row), row);
            }
            for (const [key, row] of model) {
              const old = before.get(key);
              if (old !== undefined && !sameValues(old.candle, row.candle)) changes += 1;
            }
            for (const outcome of outcomes) counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
          }
          const rows = await store.rows(series);
          assert.equal(rows.length, model.size);
          for (const row of rows) {
            const expected = model.get(candleKey(row));
            assert.ok(expected);
            assert.equal(
              versionNumber(row.source, row.observedTime),
              versionNumber(expected.source, expected.observedTime),
            );
            assert.ok(sameValues(row.candle, expected.candle));
          }
          // R6: the outcomes account for every candle that was offered, and for every row and replaced version.
          assert.equal(counts.get("stored"), model.size);
          assert.equal(counts.get("revised") ?? 0, changes);
          assert.equal((await store.revisionsOf(series)).length, changes);
          assert.equal(
            [...counts.values()].reduce((a, b) => a + b),
            arrivals.length,
          );
        }),
        PROPERTY_RUNS,
      );
    });

    test("two processes that write the same rivals at once end at the same table", async () => {
      const other = await peer();
      const series = freshSeries();
      const batchOf = (source: Source, volume: string): VersionedCandle[] =>
        Array.from({ length: 200 }, (_, n) =>
          candleAt(series, T0 + n * MINUTE_MS, source, { volume }),
        );
      const rest = batchOf("rest", "2");
      const results = await Promise.all([
        store.write(batchOf("stream", "1"), []),
        other.write([...rest].reverse(), []),
        store.write(batchOf("csv", "3"), []),
      ]);
      assert.deepEqual(await store.rows(series), rest);
      const counts = results.flatMap(({ outcomes }) => outcomes);
      assert.equal(counts.filter((outcome) => outcome === "stored").length, 200);
      const revised = counts.filter((outcome) => outcome === "revised").length;
      assert.equal((await store.revisionsOf(series)).length, revised);
    });

    test("D13: rows that the database refuses are put aside, one by one; the rest is stored", async () => {
      const series = freshSeries();
      const good = Array.from({ length: 20 }, (_, n) => candleAt(series, T0 + n * MINUTE_MS));
      const bad = (n: number, values: Partial<Candle>): VersionedCandle =>
        candleAt(series, T0 + n * MINUTE_MS, "stream", values);
      const poison = [
        bad(30, { volume: "NaN" }),
        bad(31, { high: "Infinity" }),
        bad(32, { quoteVolume: "-1" }),
        bad(33, { low: "0" }),
        bad(34, { close: "102" }),
        bad(35, { takerBuyVolume: "1".repeat(22) }),
        bad(36, { tradeCount: -1 }),
        bad(37, { tradeCount: 3_000_000_000 }),
        bad(38, { open: "1,2" }),
        bad(39, { open: '"}' }),
        bad(40, { open: "" }),
        bad(41, { tradeCount: 1.5 }),
      ];
      const batch = [...good.slice(0, 7), ...poison, ...good.slice(7)];
      const { outcomes, rejections } = await store.write(batch, []);
      for (const [index, row] of batch.entries()) {
        const isPoison = poison.includes(row);
        assert.equal(
          outcomes[index],
          isPoison ? "quarantined" : "stored",
          JSON.stringify(row.candle),
        );
        assert.equal(rejections.get(index)?.code, isPoison ? "database-refused" : undefined);
      }
      assert.deepEqual(await store.rows(series), good);
      const refused = (await store.refused()).filter(
        (row) => seriesKey(row.series) === seriesKey(series),
      );
      assert.equal(refused.length, poison.length);
      for (const { detail, count } of refused) {
        assert.ok(detail.length > 5 && !detail.includes("\n"));
        assert.equal(count, 1);
      }
      await store.write(poison.slice(0, 1), []);
      const again = (await store.refused()).find(
        ({ openTime }) => openTime === `${T0 + 30 * MINUTE_MS}`,
      );
      assert.equal(again?.count, 2);
    });

    test("when the winner of a batch is refused, the next version of the candle is stored", async () => {
      const series = freshSeries();
      const good = candleAt(series, T0);
      const bad = candleAt(series, T0, "rest", { volume: "-1" });
      assert.deepEqual(await write(good, bad, candleAt(series, T0, "csv")), [
        ...["stored", "quarantined", "identical"],
      ]);
      assert.deepEqual(await store.rows(series), [good]);
    });

    test("a refused candle can be listed, whatever it holds", async () => {
      const series = freshSeries();
      const rejection: Rejection = { code: "not-a-time", detail: "openTime is NaN\0" };
      const row = candleAt(series, Number.NaN, "rest", { open: "\0'\"\\" });
      await store.quarantine(row, rejection);
      await store.quarantine(row, rejection);
      await store.quarantine(row, { ...rejection, code: "not-a-count" });
      const refused = (await store.refused()).filter(
        (one) => seriesKey(one.series) === seriesKey(series),
      );
      assert.deepEqual(refused.map(({ code, count, openTime }) => [code, count, openTime]).sort(), [
        ["not-a-count", 1, "NaN"],
        ["not-a-time", 2, "NaN"],
      ]);
    });

    test("watermarks go up with the rows, never down, and stop before a refused candle", async () => {
      const series = freshSeries();
      await store.begin({ mode: "websocket", host: "here", pid: 1 }, [series]);
      await store.want([{ series, wantedFrom: T0 }], T0 + AHEAD_MS);
      const next = async (): Promise<number | undefined> => (await factsOf(store, series)).next;
      const at = (n: number): number => T0 + n * MINUTE_MS;
      assert.equal(await next(), at(0));
      await store.write([candleAt(series, at(0))], [{ series, next: at(1) }]);
      assert.equal(await next(), at(1));
      await store.write([], [{ series, next: at(3) }]);
      await store.write([candleAt(series, at(1))], [{ series, next: at(2) }]);
      assert.equal(await next(), at(3));
      const bad = candleAt(series, at(4), "stream", { volume: "-1" });
      await store.write(
        [candleAt(series, at(3)), bad, candleAt(series, at(5))],
        [{ series, next: at(6) }],
      );
      assert.equal(await next(), at(4));
      const facts = await factsOf(store, series);
      assert.equal(facts.newestOpenTime, at(5));
      await store.end();
    });

    test("an empty write is no error", async () => {
      assert.deepEqual(await store.write([], []), { outcomes: [], rejections: new Map() });
    });

    describe("gap ledger", () => {
      const gapOf = (series: Series, from: number, to: number, values: Partial<Gap> = {}): Gap => ({
        series,
        range: { from: T0 + from * MINUTE_MS, to: T0 + to * MINUTE_MS },
        reason: "exchange-had-none",
        state: "open",
        foundTime: T0,
        emptyAnswers: 1,
        firstAskedTime: T0 + 5,
        nextTryTime: T0 + 3_600_000,
        ...values,
      });

      test("entries come back as they were entered, once, and the older one is kept", async () => {
        const series = freshSeries();
        const old = gapOf(series, 10, 20);
        const bare: Gap = { ...gapOf(series, 40, 50, { reason: "shed", emptyAnswers: 0 }) };
        delete (bare as { firstAskedTime?: number }).firstAskedTime;
        await store.open([old, bare]);
        await store.open([old]);
        await store.open([gapOf(series, 5, 45, { reason: "not-fetched" })]);
        assert.deepEqual(await store.gapsOf(series), [
          gapOf(series, 5, 10, { reason: "not-fetched" }),
          old,
          gapOf(series, 20, 40, { reason: "not-fetched" }),
          bare,
        ]);
        await store.open([]);
      });

      test("what is due comes by its turn, of the asked series only", async () => {
        const [one, two, three] = [freshSeries(), freshSeries(), freshSeries()];
        await store.open([
          gapOf(one, 0, 1, { nextTryTime: T0 + 30 }),
          gapOf(one, 2, 3, { nextTryTime: T0 + 10 }),
          gapOf(two, 0, 1, { nextTryTime: T0 + 20, state: "confirmed" }),
          gapOf(two, 2, 3, { nextTryTime: T0 + 31 }),
          gapOf(three, 0, 1, { nextTryTime: T0 }),
        ]);
        const times = async (limit: number): Promise<number[]> =>
          (await store.due([one, two, freshSeries()], T0 + 30, limit)).map(
            (gap) => gap.nextTryTime - T0,
          );
        assert.deepEqual(await times(10), [10, 20, 30]);
        assert.deepEqual(await times(2), [10, 20]);
        assert.deepEqual(await store.due([], T0 + 30, 10), []);
      });

      test("large ones can be left out of what is due", async () => {
        const series = freshSeries();
        const gaps = [gapOf(series, 0, 5), gapOf(series, 10, 14), gapOf(series, 20, 21)];
        await store.open(gaps);
        const [large, ...small] = gaps;
        assert.deepEqual(await store.due([series], T0 + 3_600_000, 10), [large, ...small]);
        assert.deepEqual(await store.due([series], T0 + 3_600_000, 10, 5), small);
        const nobodyKnows = freshSeries("1d");
        assert.deepEqual(await store.due([nobodyKnows, series], T0 + 3_600_000, 10, 5), small);
        assert.deepEqual(await store.due([series], T0 + 3_600_000, 1, 5), small.slice(0, 1));
      });

      test("an answer replaces its entry, once", async () => {
        const series = freshSeries();
        const gap = gapOf(series, 0, 10);
        const left = [
          gapOf(series, 2, 4, { emptyAnswers: 2, state: "confirmed" }),
          gapOf(series, 6, 7, { emptyAnswers: 2 }),
        ];
        await store.open([gap]);
        await store.replace(gap, left);
        assert.deepEqual(await store.gapsOf(series), left);
        await store.replace(gap, []);
        assert.deepEqual(await store.gapsOf(series), left);
        const again = gapOf(series, 6, 7, { emptyAnswers: 3 });
        for (let turn = 0; turn < 2; turn += 1) {
          await store.replace(gapOf(series, 6, 7), [again]);
          assert.deepEqual(await store.gapsOf(series), [left[0], again]);
        }
        for (const part of [left[0] as Gap, again]) await store.replace(part, []);
        assert.deepEqual(await store.gapsOf(series), []);
        await store.open([gap]);
        assert.deepEqual(await store.gapsOf(series), [gap]);
      });

      test("R7: entries never overlap and cover just what was entered and not filled", async () => {
        const range = fc
          .tuple(fc.nat(30), fc.integer({ min: 1, max: 12 }))
          .map(([from, length]) => [from, from + length] as const);
        const act = fc.oneof(
          fc.record({
            kind: fc.constant("open" as const),
            ranges: fc.array(range, { maxLength: 4 }),
          }),
          fc.record({
            kind: fc.constant("answer" as const),
            pick: fc.nat(20),
            present: fc.array(range),
          }),
        );
        await fc.assert(
          fc.asyncProperty(fc.array(act, { maxLength: 12 }), async (acts) => {
            const series = freshSeries();
            const toRange = ([from, to]: readonly [number, number]): TimeRange =>
              gapOf(series, from, to).range;
            let model: TimeRange[] = [];
            for (const one of acts) {
              const entries = await store.gapsOf(series);
              if (one.kind === "open") {
                await store.open(one.ranges.map(([from, to]) => gapOf(series, from, to)));
                model = mergeRanges([...model, ...one.ranges.map(toRange)]);
              } else {
                const gap = entries[one.pick % Math.max(1, entries.length)];
                if (gap === undefined) continue;
                const left = subtractRanges(gap.range, one.present.map(toRange));
                await store.replace(
                  gap,
                  left.map((part) => ({ ...gap, range: part })),
                );
                const filled = subtractRanges(gap.range, left);
                model = model.flatMap((part) => subtractRanges(part, filled));
              }
            }
            const ranges = (await store.gapsOf(series)).map((gap) => gap.range);
            for (const [index, { from }] of ranges.entries()) {
              assert.ok(index === 0 || from >= (ranges[index - 1]?.to ?? 0), "entries overlap");
            }
            assert.deepEqual(mergeRanges(ranges), mergeRanges(model));
          }),
          { ...PROPERTY_RUNS, numRuns: 25 },
        );
      });

      test("two processes that enter the same stretch at once enter it once", async () => {
        const other = await peer();
        const series = freshSeries();
        await Promise.all(
          [store, other, store, other].map((one, n) => one.open([gapOf(series, n, 20 + n)])),
        );
        const ranges = (await store.gapsOf(series)).map(({ range }) => range);
        const covered = ranges.reduce((sum, { from, to }) => sum + to - from, 0);
        assert.equal(covered, 23 * MINUTE_MS);
        assert.deepEqual(mergeRanges(ranges), [gapOf(series, 0, 23).range]);
      });
    });

    test("a ban is kept for other processes; a shorter one does not cut it short", async () => {
      const exchange = `bans-${symbolCount}`;
      const other = await peer();
      assert.equal(await store.load(exchange), undefined);
      await store.save({ exchange, untilTime: T0 + 600_000, httpStatus: 418 }, 600_000);
      await other.save({ exchange, untilTime: T0 + 60_000, httpStatus: 429 }, 60_000);
      const ban = await other.load(exchange);
      assert.equal(ban?.untilTime, T0 + 600_000);
      assert.equal(ban.httpStatus, 418);
      assert.ok(ban.remainingMs > 590_000 && ban.remainingMs <= 600_000);
      await store.save({ exchange, untilTime: T0 + 900_000, httpStatus: 403 }, 900_000);
      assert.equal((await store.load(exchange))?.httpStatus, 403);
      const over = `${exchange}-over`;
      await store.save({ exchange: over, untilTime: T0, httpStatus: 418 }, -1);
      assert.equal(await store.load(over), undefined);
    });

    describe("runs and status", () => {
      const run = { mode: "websocket", host: "here", pid: 42 } as const;

      test("P10: one ingester at a time; the next one takes over when it has ended", async () => {
        const other = await peer();
        const series = freshSeries();
        await store.begin(run, [series]);
        await assert.rejects(other.begin({ ...run, pid: 43, host: "there" }, [series]), (error) => {
          assert.ok(error instanceof BlackTradeError);
          assert.equal(error.code, "E_DB_BUSY");
          assert.match(error.message, /pid 42 on here/);
          return true;
        });
        await store.end();
        await other.begin({ ...run, pid: 43, host: "there" }, [series]);
        assert.equal((await store.facts()).run?.pid, 43);
        await other.end();
      });

      test("only the series of the current or last run are configured", async () => {
        const [old, both, written] = [freshSeries(), freshSeries(), freshSeries()];
        await store.begin(run, [old, both]);
        await store.end();
        await store.begin({ ...run, mode: "polling" }, [both]);
        await store.write([candleAt(written, T0, "csv")], []);
        assert.equal((await factsOf(store, old)).isConfigured, false);
        assert.equal((await factsOf(store, both)).isConfigured, true);
        const facts = await factsOf(store, written);
        assert.deepEqual([facts.isConfigured, facts.newestOpenTime], [false, T0]);
        assert.deepEqual(
          [facts.next, facts.wantedFrom, facts.latencyMs],
          [undefined, undefined, undefined],
        );
        await store.end();
        assert.equal((await factsOf(store, both)).isConfigured, true);
      });

      test("a known series keeps its older start; an earlier one becomes a gap", async () => {
        const series = freshSeries();
        const at = (n: number): number => T0 + n * MINUTE_MS;
        await store.begin(run, [series]);
        const want = async (n: number): Promise<number | undefined> =>
          (await store.want([{ series, wantedFrom: at(n) }], at(500)))[0]?.next;
        assert.equal((await factsOf(store, series)).wantedFrom, undefined);
        assert.equal(await want(100), at(100));
        await store.write([candleAt(series, at(100))], [{ series, next: at(101) }]);
        assert.equal(await want(200), at(101));
        assert.equal((await factsOf(store, series)).wantedFrom, at(100));
        assert.equal(await want(40), at(101));
        assert.equal((await factsOf(store, series)).wantedFrom, at(40));
        const [gap] = await store.gapsOf(series);
        assert.deepEqual(gap?.range, { from: at(40), to: at(100) });
        assert.equal(gap?.reason, "not-fetched");
        assert.equal(gap?.nextTryTime, at(500));
        assert.equal((await factsOf(store, series)).openGapCount, 1);
        assert.equal(await want(40), at(101));
        assert.equal((await store.gapsOf(series)).length, 1);
        await store.end();
      });

      test("who begins before the end of what is not kept goes on behind it; the ledger has what lies before", async () => {
        const series = freshSeries();
        const at = (n: number): number => T0 + n * MINUTE_MS;
        await store.begin(run, [series]);
        await store.open([
          notKeptGap(series, { from: at(20), to: at(40) }, at(500)),
          notKeptGap(series, { from: at(50), to: at(100) }, at(500)),
        ]);
        const want = async (n: number): Promise<number | undefined> =>
          (await store.want([{ series, wantedFrom: at(n) }], at(500)))[0]?.next;
        assert.equal(await want(10), at(100));
        const ledger = [
          [at(10), at(20), "not-fetched"],
          [at(20), at(40), "not-kept"],
          [at(40), at(50), "not-fetched"],
          [at(50), at(100), "not-kept"],
        ];
        const gaps = async () =>
          (await store.gapsOf(series)).map(({ range, reason }) => [range.from, range.to, reason]);
        assert.deepEqual(await gaps(), ledger);
        const { next, wantedFrom } = await factsOf(store, series);
        assert.deepEqual([next, wantedFrom], [at(100), at(10)]);
        await store.write([candleAt(series, at(100))], [{ series, next: at(101) }]);
        assert.equal(await want(10), at(101));
        assert.deepEqual(await gaps(), ledger);
        await store.end();
      });

      test("facts are told in exchange time, which the database's clock carries on", async () => {
        const series = freshSeries();
        const report: SeriesReport = {
          series,
          mode: "websocket",
          isStreamed: true,
          isCatchingUp: false,
        };
        await store.begin(run, [series]);
        const ahead = Date.now() + AHEAD_MS;
        await store.report([report], ahead);
        await store.report([], undefined);
        const { run: facts } = await store.facts();
        assert.ok(facts);
        for (const time of [facts.now, facts.startedTime, facts.heartbeatTime]) {
          assert.ok(Math.abs(time - ahead) < 30_000, `${time - ahead} ms off`);
        }
        assert.ok(facts.startedTime <= facts.heartbeatTime && facts.heartbeatTime <= facts.now);
        assert.equal(facts.stoppedTime, undefined);
        const row = await factsOf(store, series);
        assert.deepEqual([row.isStreamed, row.isCatchingUp, row.problem], [true, false, undefined]);
        await store.end();
        const stopped = (await store.facts()).run;
        assert.ok(Math.abs((stopped?.stoppedTime ?? 0) - ahead) < 30_000);
        // The next run knows exchange time only roughly until it has asked: by the last run's offset.
        await store.begin(run, [series]);
        const next = (await store.facts()).run;
        assert.ok(Math.abs((next?.now ?? 0) - ahead) < 60_000);
        assert.equal(next?.stoppedTime, undefined);
        await store.end();
      });

      test("a problem is told with the time since which it stands", async () => {
        const series = freshSeries();
        const report: SeriesReport = {
          series,
          mode: "polling",
          isStreamed: false,
          isCatchingUp: true,
        };
        await store.begin(run, [series]);
        const ahead = Date.now() + AHEAD_MS;
        await store.report(
          [{ ...report, problem: "exchange error 503", haltedStatus: "BREAK" }],
          ahead,
        );
        const first = await factsOf(store, series);
        assert.equal(first.problem, "exchange error 503");
        assert.equal(first.haltedStatus, "BREAK");
        assert.equal(first.isCatchingUp, true);
        assert.ok(Math.abs((first.problemSinceTime ?? 0) - ahead) < 30_000);
        await store.report([{ ...report, problem: "exchange error 504 \0" }], ahead + 5_000);
        const second = await factsOf(store, series);
        assert.equal(second.problemSinceTime, first.problemSinceTime);
        assert.equal(second.haltedStatus, undefined);
        await store.report([report], ahead + 10_000);
        const third = await factsOf(store, series);
        assert.deepEqual([third.problem, third.problemSinceTime], [undefined, undefined]);
        await store.end();
      });

      test("latency is that of the newest candle that came live", async () => {
        const series = freshSeries();
        await store.begin(run, [series]);
        const now = Math.floor(Date.now() / MINUTE_MS) * MINUTE_MS + AHEAD_MS;
        // The run began less than 0.4 s before a close.
        await store.report([], now - 400);
        const latency = async (): Promise<number | undefined> =>
          (await factsOf(store, series)).latencyMs;
        await store.write([candleAt(series, now - 3 * MINUTE_MS, "rest")], []);
        assert.equal(await latency(), undefined);
        // It closed before the run began: how long ago says nothing about how fast it came.
        await store.write([candleAt(series, now - 2.5 * MINUTE_MS, "stream")], []);
        assert.equal(await latency(), undefined);
        await sleep(900);
        await store.write(
          [
            candleAt(series, now - MINUTE_MS, "stream"),
            candleAt(series, now - 2 * MINUTE_MS, "csv"),
          ],
          [],
        );
        const measured = (await latency()) ?? Number.NaN;
        assert.ok(measured >= 450 && measured < 20_000, `${measured} ms`);
        await store.write([candleAt(series, now - 5 * MINUTE_MS, "stream")], []);
        await store.write([candleAt(series, now - MINUTE_MS, "rest")], []);
        assert.equal(await latency(), measured);
        await store.end();
      });

      test("a ban shows with the run of its exchange", async () => {
        const series = { ...freshSeries(), exchange: `banned-${symbolCount}` };
        await store.begin(run, [series]);
        assert.equal((await store.facts()).run?.bannedUntilTime, undefined);
        await store.save({ exchange: series.exchange, untilTime: T0, httpStatus: 418 }, 60_000);
        assert.equal((await store.facts()).run?.bannedUntilTime, T0);
        await store.end();
      });

      test("counts of gaps are those of the ledger", async () => {
        const series = freshSeries();
        const gap = shedGap(series, { from: T0, to: T0 + MINUTE_MS }, T0);
        const later = { from: T0 + 5 * MINUTE_MS, to: T0 + 6 * MINUTE_MS };
        await store.begin(run, [series]);
        await store.open([gap, { ...gap, state: "confirmed", range: later }]);
        const counts = async (): Promise<number[]> => {
          const { openGapCount, confirmedGapCount } = await factsOf(store, series);
          return [openGapCount, confirmedGapCount];
        };
        assert.deepEqual(await counts(), [1, 1]);
        await store.replace(gap, []);
        assert.deepEqual(await counts(), [0, 1]);
        await store.end();
      });
    });
  });
}

async function factsOf(store: StatusStore, series: Series): Promise<SeriesFacts> {
  const facts: { run: RunFacts | undefined; series: readonly SeriesFacts[] } = await store.facts();
  const found = facts.series.find((one) => seriesKey(one.series) === seriesKey(series));
  return found ?? assert.fail(`${seriesKey(series)} is not known`);
}
