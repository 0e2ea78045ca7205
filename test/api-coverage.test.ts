import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Source } from "../src/core/finality.ts";
import { type Gap, notFetchedGap } from "../src/core/gaps.ts";
import type { CoverageDay } from "../src/core/ports.ts";
import type { Series } from "../src/core/series.ts";
import { countOpenTimes, nextOpenTime, type Timeframe } from "../src/core/timeframe.ts";
import { openStore } from "../src/store/index.ts";
import { versionOf } from "./support/api-stack.ts";
import { withDatabase } from "./support/postgres.ts";

const DAY = 86_400_000;
const FIRST = Date.UTC(2026, 0, 1);
const HOUR = 3_600_000;

/** One candle of the calendar: not there, or by which road it came. */
type Cell = Source | "missing";

const cells = fc.array(
  fc.constantFrom<Cell>("missing", "csv", "stream", "stream", "rest", "rest", "archive-daily"),
  { minLength: 1, maxLength: 24 * 5 },
);

test("days are counted as they are stored, inside and outside of what the ledger accounts for", () =>
  withDatabase(async ({ url }) => {
    const store = await openStore({ url });
    let number = 0;
    try {
      await fc.assert(
        fc.asyncProperty(
          cells,
          fc.nat(30),
          fc.nat(130),
          fc.boolean(),
          async (road, wantedAt, nextAt, isConfirmed) => {
            number += 1;
            const series: Series = {
              exchange: "binance",
              symbol: `S${number}USDT`,
              timeframe: "1h",
            };
            const timeOf = (index: number): number => FIRST + index * HOUR;
            const from = Math.min(wantedAt, nextAt);
            const next = Math.max(wantedAt, nextAt);
            await store.begin({ mode: "websocket", host: "h", pid: 1 }, [series]);
            await store.want([{ series, wantedFrom: timeOf(from) }], timeOf(next));
            // What is accounted for and not stored is in the ledger.
            const gaps: Gap[] = [];
            for (let index = from; index < next; index += 1) {
              if ((road[index] ?? "missing") !== "missing") continue;
              const range = { from: timeOf(index), to: timeOf(index + 1) };
              gaps.push(notFetchedGap(series, range, timeOf(next)));
            }
            await store.open(gaps);
            const stored = road.flatMap((one, index) =>
              one === "missing" ? [] : [{ one, index }],
            );
            await store.write(
              stored.map(({ one, index }) => versionOf(series, timeOf(index), one)),
              [{ series, next: timeOf(next) }],
            );
            const isAttested = ({ one }: { one: Source }) =>
              one === "rest" || one.startsWith("archive");
            const mark = stored.find((row) => !isAttested(row) && row.index >= from)?.index ?? next;
            if (isConfirmed && mark > from) {
              await store.saveConfirmed(series, timeOf(from), timeOf(Math.min(mark, next)), []);
            }
            const days = await store.coverageDays([series], {
              from: FIRST - DAY,
              to: FIRST + 7 * DAY,
            });
            const counted = new Map(days.map((day) => [day.dayTime, day]));
            for (let day = FIRST - DAY; day < FIRST + 7 * DAY; day += DAY) {
              const its = stored.filter(
                ({ index }) => timeOf(index) >= day && timeOf(index) < day + DAY,
              );
              const one = counted.get(day);
              assert.equal(one?.storedCount ?? 0, its.length, `stored on ${day}`);
              assert.equal(one?.confirmedCount ?? 0, its.filter(isAttested).length, "confirmed");
              const missing = gaps.filter(
                ({ range }) => range.from >= day && range.from < day + DAY,
              );
              const absent = one?.absent.reduce((sum, { count }) => sum + count, 0) ?? 0;
              assert.equal(absent, missing.length, "absent");
            }
            const starts = [from, ...stored.map(({ index }) => index)];
            const first = days[0]?.wanted.from ?? 0;
            assert.equal(first, timeOf(Math.min(...starts)));
          },
        ),
        { numRuns: 40 },
      );
    } finally {
      await store.end();
      await store.close();
    }
  }));

test("timeframes of more than a day have their candle on one day; months and weeks by the calendar", () =>
  withDatabase(async ({ url }) => {
    const store = await openStore({ url });
    try {
      for (const timeframe of ["1w", "3d", "1M"] as Timeframe[]) {
        const series: Series = { exchange: "binance", symbol: "BTCUSDT", timeframe };
        const first = nextOpenTime(timeframe, FIRST);
        const second = nextOpenTime(timeframe, first);
        await store.write([versionOf(series, first), versionOf(series, second)], []);
        const range = { from: FIRST, to: second + DAY };
        const days: readonly CoverageDay[] = await store.coverageDays([series], range);
        assert.deepEqual(
          days.map(({ dayTime, wanted, storedCount }) => [
            dayTime,
            countOpenTimes(timeframe, wanted),
            storedCount,
          ]),
          [
            [first, 1, 1],
            [second, 1, 1],
          ],
        );
      }
    } finally {
      await store.close();
    }
  }));

test("an unknown series has no days; the overview tells how far each reaches", () =>
  withDatabase(async ({ url }) => {
    const store = await openStore({ url });
    try {
      const series: Series = { exchange: "binance", symbol: "ÜBERUSDT", timeframe: "1h" };
      assert.deepEqual(await store.coverageDays([series], { from: 0, to: DAY }), []);
      assert.deepEqual(await store.overview(), []);
      await store.write([versionOf(series, FIRST), versionOf(series, FIRST + HOUR)], []);
      assert.deepEqual(await store.overview(), [
        { series, firstOpenTime: FIRST, newestOpenTime: FIRST + HOUR },
      ]);
    } finally {
      await store.close();
    }
  }));
