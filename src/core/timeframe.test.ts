import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { timeframe } from "../../test/support/arbitraries.ts";
import type { TimeRange } from "./range.ts";
import {
  ceilOpenTime,
  cellOf,
  closeTimeOf,
  countOpenTimes,
  isAligned,
  isTimeframe,
  nextOpenTime,
  nominalMs,
  openTimeAt,
  previousOpenTime,
  shiftOpenTime,
  TIMEFRAMES,
  type Timeframe,
} from "./timeframe.ts";

const DAY_MS = 86_400_000;

/** Epoch ms of a UTC date; unlike `Date.UTC` it takes the years 0 … 99 for what they are. Fields may overflow. */
function utc(year: number, month: number, day: number, ...time: number[]): number {
  const date = new Date(0);
  date.setUTCFullYear(year, month, day);
  const [hours = 0, minutes = 0, seconds = 0] = time;
  return date.setUTCHours(hours, minutes, seconds, 0);
}

/** The cell of the grid that holds an instant, by the calendar fields of `Date`: binance.md §3.1 in other words. */
function oracle(of: Timeframe, time: number): TimeRange {
  const date = new Date(time);
  const [year, month, day] = [date.getUTCFullYear(), date.getUTCMonth(), date.getUTCDate()];
  const [hour, minute, second] = [date.getUTCHours(), date.getUTCMinutes(), date.getUTCSeconds()];
  if (of === "1M") return { from: utc(year, month, 1), to: utc(year, month + 1, 1) };
  const size = Number.parseInt(of, 10);
  const from = (field: number): number => field - (field % size);
  switch (of.slice(-1)) {
    case "s":
      return {
        from: utc(year, month, day, hour, minute, from(second)),
        to: utc(year, month, day, hour, minute, from(second) + size),
      };
    case "m":
      return {
        from: utc(year, month, day, hour, from(minute)),
        to: utc(year, month, day, hour, from(minute) + size),
      };
    case "h":
      return {
        from: utc(year, month, day, from(hour)),
        to: utc(year, month, day, from(hour) + size),
      };
    case "w": {
      const sinceMonday = (date.getUTCDay() + 6) % 7;
      return {
        from: utc(year, month, day - sinceMonday),
        to: utc(year, month, day - sinceMonday + 7),
      };
    }
    default: {
      // Days counted from 2026-07-13, which opens a three-day candle.
      const days = Math.round((utc(year, month, day) - Date.UTC(2026, 6, 13)) / DAY_MS);
      const since = ((days % size) + size) % size;
      return { from: utc(year, month, day - since), to: utc(year, month, day - since + size) };
    }
  }
}

/** Any instant that `Date` can hold, most of them where candles are, many at the edge of a day, month or year. */
const anyTime = (): fc.Arbitrary<number> =>
  fc.oneof(
    { weight: 4, arbitrary: fc.integer({ min: Date.UTC(2008, 0), max: Date.UTC(2100, 0) }) },
    { weight: 2, arbitrary: fc.integer({ min: -8.6e15, max: 8.6e15 }) },
    {
      weight: 3,
      arbitrary: fc
        .tuple(
          fc.integer({ min: -3_000, max: 6_000 }),
          fc.integer({ min: 0, max: 11 }),
          fc.integer({ min: 1, max: 31 }),
          fc.constantFrom(-1, 0, 1),
        )
        .map(([year, month, day, beside]) => utc(year, month, day) + beside),
    },
    { weight: 1, arbitrary: fc.integer({ min: -1_000_000, max: 1_000_000 }) },
  );

const RUNS = { numRuns: 1_000 };

for (const of of TIMEFRAMES) {
  test(`${of}: the cell that holds an instant is that of the calendar, at any time`, () => {
    fc.assert(
      fc.property(anyTime(), (time) => {
        const { from, to } = oracle(of, time);
        assert.equal(openTimeAt(of, time), from);
        assert.equal(nextOpenTime(of, time), to);
        assert.deepEqual(cellOf(of, time), { from, to });
        assert.equal(closeTimeOf(of, from), to - 1);
        assert.equal(isAligned(of, time), time === from);
        assert.equal(ceilOpenTime(of, time), time === from ? time : to);
        assert.equal(previousOpenTime(of, time), oracle(of, time - 1).from);
      }),
      RUNS,
    );
  });
}

test("all instants of a cell share its open time, and the next cell begins where it ends", () => {
  fc.assert(
    fc.property(
      timeframe(),
      anyTime(),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (of, time, part) => {
        const open = openTimeAt(of, time);
        const end = nextOpenTime(of, time);
        const inside = Math.min(end - 1, open + Math.floor(part * (end - open)));
        assert.equal(openTimeAt(of, inside), open);
        assert.equal(nextOpenTime(of, inside), end);
        assert.equal(openTimeAt(of, end), end);
        assert.equal(previousOpenTime(of, end), open);
      },
    ),
    RUNS,
  );
});

test("a shift by n is n steps to the neighbour, and shifts add up", () => {
  const steps = fc.integer({ min: -40, max: 40 });
  fc.assert(
    fc.property(timeframe(), anyTime(), steps, steps, (of, time, count, more) => {
      let walked = openTimeAt(of, time);
      for (let step = 0; step < Math.abs(count); step++) {
        walked = count > 0 ? nextOpenTime(of, walked) : previousOpenTime(of, walked);
      }
      const shifted = shiftOpenTime(of, time, count);
      assert.equal(shifted, walked);
      assert.equal(shiftOpenTime(of, shifted, more), shiftOpenTime(of, time, count + more));
      assert.equal(shiftOpenTime(of, shifted, -count), openTimeAt(of, time));
    }),
    RUNS,
  );
});

test("a range holds as many open times as one meets walking through it", () => {
  fc.assert(
    fc.property(
      timeframe(),
      anyTime(),
      fc.integer({ min: -3, max: 30 }),
      fc.integer({ min: -2, max: 2 }),
      (of, from, cells, beside) => {
        const to = shiftOpenTime(of, from, cells) + beside;
        let count = 0;
        for (let open = openTimeAt(of, from); open < to; open = nextOpenTime(of, open)) {
          if (open >= from) count++;
        }
        assert.equal(countOpenTimes(of, { from, to }), count);
      },
    ),
    RUNS,
  );
});

test("counts of adjoining ranges add up, however long", () => {
  fc.assert(
    fc.property(timeframe(), anyTime(), anyTime(), anyTime(), (of, ...times) => {
      const [a = 0, b = 0, c = 0] = times.sort((one, other) => one - other);
      const whole = countOpenTimes(of, { from: a, to: c });
      const parts = countOpenTimes(of, { from: a, to: b }) + countOpenTimes(of, { from: b, to: c });
      assert.equal(whole, parts);
      assert.equal(countOpenTimes(of, { from: c, to: a }) > 0, false);
    }),
    RUNS,
  );
});

test("the nominal length is that of every cell, and of the longest month", () => {
  fc.assert(
    fc.property(timeframe(), anyTime(), (of, time) => {
      const length = nextOpenTime(of, time) - openTimeAt(of, time);
      if (of === "1M") assert.ok(length <= nominalMs(of) && length >= nominalMs(of) - 3 * DAY_MS);
      else assert.equal(length, nominalMs(of));
    }),
    RUNS,
  );
});

test("recorded open times lie on the grid, and their neighbours by a millisecond do not", () => {
  const recorded: readonly (readonly [Timeframe, number, string])[] = [
    ["3d", 1_783_900_800_000, "2026-07-13"],
    ["3d", 1_783_641_600_000, "2026-07-10"],
    ["3d", Date.UTC(2017, 7, 17), "first BTCUSDT"],
    ["3d", Date.UTC(2026, 6, 1), "binance.md §3.1"],
    ["1w", 1_783_296_000_000, "2026-07-06"],
    ["1w", 1_782_691_200_000, "2026-06-29"],
    ["1w", Date.UTC(2017, 7, 14), "first BTCUSDT"],
    ["1M", Date.UTC(2017, 7, 1), "first BTCUSDT"],
    ["1d", Date.UTC(2017, 7, 17), "first BTCUSDT"],
    ["1m", Date.UTC(2017, 7, 17, 4), "first BTCUSDT"],
  ];
  for (const [of, time, note] of recorded) {
    assert.ok(isAligned(of, time), `${of} ${note}`);
    assert.ok(!isAligned(of, time - 1) && !isAligned(of, time + 1), `${of} ${note}`);
  }
  assert.equal(nextOpenTime("3d", 1_783_641_600_000), 1_783_900_800_000);
  assert.equal(nextOpenTime("1w", 1_782_691_200_000), 1_783_296_000_000);
  assert.ok(!isAligned("3d", 0), "flooring the epoch is the known error of others");
  assert.ok(!isAligned("1w", 0), "1970-01-01 was a Thursday");
  assert.ok(!isAligned("1m", 1_512_367_220_799), "2017-12-04 06:00:20.799 is a real, off-grid row");
});

test("February is 28 or 29 days long by the Gregorian rule", () => {
  for (const [year, days] of [
    [1900, 28],
    [2000, 29],
    [2023, 28],
    [2024, 29],
    [2100, 28],
    [2400, 29],
  ] as const) {
    const open = Date.UTC(year, 1, 1);
    assert.equal((nextOpenTime("1M", open) - open) / DAY_MS, days, String(year));
  }
});

test("days on which clocks are put forward or back have 24 hours and 1,440 minutes", () => {
  for (const day of ["2026-03-08", "2026-03-29", "2026-10-25", "2026-11-01"]) {
    const from = Date.parse(`${day}T00:00:00Z`);
    const range = { from, to: nextOpenTime("1d", from) };
    assert.equal(range.to - range.from, DAY_MS);
    assert.equal(countOpenTimes("1h", range), 24);
    assert.equal(countOpenTimes("1m", range), 1_440);
  }
});

test("only the exact spelling is a timeframe", () => {
  for (const text of TIMEFRAMES) assert.ok(isTimeframe(text));
  for (const text of [
    "",
    "1",
    "m",
    "1D",
    "1H",
    "1S",
    "15min",
    "1mo",
    " 1m",
    "1m ",
    "2m",
    "60",
    "toString",
  ]) {
    assert.ok(!isTimeframe(text), text);
  }
  assert.equal(new Set(TIMEFRAMES).size, 16);
});

test("timeframes are listed shortest first", () => {
  const lengths = TIMEFRAMES.map(nominalMs);
  assert.deepEqual(
    lengths,
    [...lengths].sort((a, b) => a - b),
  );
});
