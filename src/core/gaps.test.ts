import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { openTime, series, timeframe } from "../../test/support/arbitraries.ts";
import {
  absentGaps,
  afterAnswer,
  afterRefusal,
  CONFIRM_AFTER_MS,
  emptyAnswer,
  type Gap,
  type GapReason,
  missingRanges,
  rejectedGap,
  shedGap,
} from "./gaps.ts";
import { mergeRanges, subtractRanges, type TimeRange } from "./range.ts";
import { type Series, seriesKey } from "./series.ts";
import { isAligned, nextOpenTime, openTimeAt, shiftOpenTime, type Timeframe } from "./timeframe.ts";

const HOUR_MS = 3_600_000;
const NOW = 1_783_900_800_000;

/** Times in and around a dozen cells, some exactly on their edges. */
const timesNear = (of: Timeframe, base: number): fc.Arbitrary<number> =>
  fc
    .tuple(fc.integer({ min: -2, max: 13 }), fc.constantFrom(0, 0, 0, 1, 20_799, -1))
    .map(([cell, beside]) => shiftOpenTime(of, base, cell) + beside);

const scene = (): fc.Arbitrary<{ of: Timeframe; present: number[]; range: TimeRange }> =>
  timeframe()
    .chain((of) => fc.tuple(fc.constant(of), openTime(of)))
    .chain(([of, base]) =>
      fc.record({
        of: fc.constant(of),
        present: fc.array(timesNear(of, base), { maxLength: 16, size: "max" }),
        range: fc.record({ from: timesNear(of, base), to: timesNear(of, base) }),
      }),
    );

test("what is missing is every cell that opens in the range and holds no candle", () => {
  fc.assert(
    fc.property(scene(), ({ of, present, range }) => {
      const expected: TimeRange[] = [];
      for (let open = openTimeAt(of, range.from); open < range.to; open = nextOpenTime(of, open)) {
        const end = nextOpenTime(of, open);
        if (open < range.from || present.some((time) => time >= open && time < end)) continue;
        const last = expected.at(-1);
        if (last?.to === open) expected[expected.length - 1] = { from: last.from, to: end };
        else expected.push({ from: open, to: end });
      }
      for (const order of [present, present.toSorted((a, b) => a - b)]) {
        assert.deepEqual(missingRanges(of, order, range), expected);
      }
    }),
    { numRuns: 2_000 },
  );
});

test("the outage of 2023-03-24 is found to the minute", () => {
  const day = { from: Date.UTC(2023, 2, 24), to: Date.UTC(2023, 2, 25) };
  const hole = { from: Date.UTC(2023, 2, 24, 12, 40), to: Date.UTC(2023, 2, 24, 14) };
  const served: number[] = [];
  for (let open = day.from; open < day.to; open += 60_000) {
    if (open < hole.from || open >= hole.to) served.push(open);
  }
  assert.deepEqual(missingRanges("1m", served, day), [hole]);
  assert.deepEqual(missingRanges("1m", [], day), [day]);
  assert.deepEqual(missingRanges("1m", served, { from: day.to, to: day.from }), []);
});

/** A gap as one of the ledger's doors makes it, over a few cells. */
const newGap = (): fc.Arbitrary<Gap> =>
  fc
    .tuple(series(), fc.integer({ min: 1, max: 6 }), fc.constantFrom("empty", "shed", "rejected"))
    .chain(([of, cells, door]) =>
      openTime(of.timeframe).map((from) => {
        const range = { from, to: shiftOpenTime(of.timeframe, from, cells) };
        if (door === "empty") return emptyAnswer(of, range, NOW);
        return door === "shed" ? shedGap(of, range, NOW) : rejectedGap(of, from, NOW);
      }),
    );

test("a new entry is open, on the grid, and has a next try", () => {
  fc.assert(
    fc.property(newGap(), (gap) => {
      assert.equal(gap.state, "open");
      assert.equal(gap.foundTime, NOW);
      assert.ok(gap.nextTryTime >= NOW && gap.nextTryTime <= NOW + CONFIRM_AFTER_MS);
      const { timeframe: of } = gap.series;
      assert.ok(isAligned(of, gap.range.from) && isAligned(of, gap.range.to));
      assert.ok(gap.range.from < gap.range.to);
      assert.equal(gap.emptyAnswers, gap.reason === "exchange-had-none" ? 1 : 0);
    }),
  );
});

test("a refused off-grid candle leaves the gap of the cell that it opens in", () => {
  const of: Series = { exchange: "binance", symbol: "BTCUSDT", timeframe: "1m" };
  assert.deepEqual(rejectedGap(of, 1_512_367_220_799, NOW).range, {
    from: 1_512_367_200_000,
    to: 1_512_367_260_000,
  });
});

test("an empty stretch is split at the first candle that the exchange has: before the listing, and not served", () => {
  const scene = newGap().chain((gap) =>
    fc.record({
      gap: fc.constant(gap),
      // Before, in and behind the stretch, on the grid or a little off it; or no candle at all.
      first: fc.option(
        fc
          .tuple(fc.integer({ min: -2, max: 9 }), fc.constantFrom(0, 999))
          .map(
            ([cell, beside]) => shiftOpenTime(gap.series.timeframe, gap.range.from, cell) + beside,
          ),
        { nil: undefined },
      ),
    }),
  );
  fc.assert(
    fc.property(scene, ({ gap: { series: of, range }, first }) => {
      const gaps = absentGaps(of, range, NOW, first);
      const told = new Map<number, GapReason>();
      for (const { range: part, reason, state, nextTryTime } of gaps) {
        assert.ok(part.from < part.to);
        assert.equal(state, reason === "before-listing" ? "confirmed" : "open");
        assert.ok(nextTryTime >= NOW + CONFIRM_AFTER_MS);
        for (let open = part.from; open < part.to; open = nextOpenTime(of.timeframe, open)) {
          assert.ok(!told.has(open), "told twice");
          told.set(open, reason);
        }
      }
      const cells = [...told].map(([open]) => open);
      assert.deepEqual(missingRanges(of.timeframe, cells, range), []);
      assert.ok(cells.every((open) => open >= range.from && open < range.to));
      for (const [open, reason] of told) {
        // A candle off the grid lists the cell that it lies in.
        const isBefore = first !== undefined && nextOpenTime(of.timeframe, open) <= first;
        assert.equal(reason, isBefore ? "before-listing" : "exchange-had-none");
      }
    }),
    { numRuns: 500 },
  );
});

/** Asks for a gap at the given pauses; each answer leaves all of it. @returns the gap after each answer, with its time */
function askOften(gap: Gap, pauses: readonly number[]): { gap: Gap; askedTime: number }[] {
  const history: { gap: Gap; askedTime: number }[] = [];
  let [current, askedTime] = [gap, NOW];
  for (const pause of pauses) {
    askedTime += pause;
    const [left, ...more] = afterAnswer(current, [current.range], askedTime);
    assert.ok(left);
    assert.deepEqual(more, []);
    current = left;
    history.push({ gap: current, askedTime });
  }
  return history;
}

test("an absence is confirmed exactly when it was answered twice at least an hour apart, at any pace of asking", () => {
  const pause = fc.oneof(
    fc.nat(2 * HOUR_MS),
    fc.constantFrom(0, 1, HOUR_MS - 1, HOUR_MS, HOUR_MS + 1, 30 * 60_000),
  );
  fc.assert(
    fc.property(newGap(), fc.array(pause, { minLength: 1, maxLength: 8 }), (gap, pauses) => {
      const times = gap.firstAskedTime === undefined ? [] : [gap.firstAskedTime];
      for (const { gap: after, askedTime } of askOften(gap, pauses)) {
        times.push(askedTime);
        const spanMs = askedTime - (times[0] ?? askedTime);
        assert.equal(after.state, spanMs >= HOUR_MS ? "confirmed" : "open");
        assert.equal(after.reason, "exchange-had-none");
        assert.equal(after.emptyAnswers, times.length);
        assert.equal(after.firstAskedTime, times[0]);
        assert.equal(after.foundTime, gap.foundTime);
        assert.ok(after.nextTryTime > askedTime, "never due again at once");
        if (after.state === "open") assert.ok(after.nextTryTime <= askedTime + HOUR_MS);
      }
    }),
    { numRuns: 1_000 },
  );
});

test("asked whenever it is due, a gap is confirmed at the second question and asked for rarely ever after", () => {
  fc.assert(
    fc.property(newGap(), (gap) => {
      const tenYears = NOW + 10 * 365.25 * 24 * HOUR_MS;
      let asked = gap.emptyAnswers;
      let [current, time] = [gap, gap.nextTryTime];
      for (; time <= tenYears; time = current.nextTryTime) {
        const [left] = afterAnswer(current, [current.range], time);
        assert.ok(left);
        current = left;
        asked += 1;
        if (asked === 2) assert.equal(current.state, "confirmed");
        assert.ok(asked <= 12, "asked for ever");
      }
      assert.ok(asked >= 5, "never looked at again");
    }),
  );
});

test("a confirmed gap is looked at again after 7, 14, 28 … days, five years at the most", () => {
  const day = 24 * HOUR_MS;
  const of: Series = { exchange: "binance", symbol: "BTCUSDT", timeframe: "1m" };
  const gap = emptyAnswer(of, { from: NOW - 60_000, to: NOW }, NOW);
  assert.equal(gap.nextTryTime, NOW + HOUR_MS);
  const history = askOften(gap, [HOUR_MS, ...Array<number>(11).fill(day)]);
  const pauses = history.map(({ gap: after, askedTime }) => (after.nextTryTime - askedTime) / day);
  assert.deepEqual(pauses, [7, 14, 28, 56, 112, 224, 448, 896, 1_792, 1_792, 1_792, 1_792]);
});

test("a part of a gap keeps the history of the whole, and what came is no gap any more", () => {
  const cut = newGap().chain((gap) =>
    fc.record({
      gap: fc.constant(gap),
      came: fc.array(fc.nat(5), { maxLength: 4 }),
      afterMs: fc.nat(3 * HOUR_MS),
    }),
  );
  fc.assert(
    fc.property(cut, ({ gap, came, afterMs }) => {
      const { timeframe: of } = gap.series;
      const present = came.map((index) => {
        const from = shiftOpenTime(of, gap.range.from, index);
        return { from, to: nextOpenTime(of, from) };
      });
      const missing = subtractRanges(gap.range, present);
      const left = afterAnswer(gap, missing, NOW + afterMs);
      assert.deepEqual(
        left.map((part) => part.range),
        missing,
      );
      assert.deepEqual(mergeRanges(left.map((part) => part.range)), missing);
      for (const part of left) {
        assert.equal(seriesKey(part.series), seriesKey(gap.series));
        assert.equal(part.foundTime, gap.foundTime);
        assert.equal(part.firstAskedTime, gap.firstAskedTime ?? NOW + afterMs);
        assert.equal(part.emptyAnswers, gap.emptyAnswers + 1);
      }
    }),
    { numRuns: 500 },
  );
});

test("what is refused again and again is asked for after 1 h, 2 h, 4 h …, once a week at the least", () => {
  const of: Series = { exchange: "binance", symbol: "BTCUSDT", timeframe: "1m" };
  let gap = rejectedGap(of, NOW, NOW);
  const pauses: number[] = [];
  assert.equal(gap.nextTryTime, NOW + HOUR_MS);
  for (let turn = 1; turn <= 10; turn++) {
    const askedTime = gap.nextTryTime;
    gap = afterRefusal(gap, gap.range, askedTime);
    pauses.push(gap.nextTryTime - askedTime);
    assert.deepEqual(gap, {
      ...{ series: of, range: { from: NOW, to: NOW + 60_000 }, foundTime: NOW },
      ...{ reason: "rejected", state: "open", emptyAnswers: turn },
      nextTryTime: gap.nextTryTime,
    });
  }
  assert.deepEqual(
    pauses.map((pause) => pause / HOUR_MS),
    [1, 2, 4, 8, 16, 32, 64, 128, 168, 168],
  );
});

test("a refused row keeps the history of the gap that it lies in, whatever its reason was", () => {
  const answers = fc.array(fc.nat(3 * HOUR_MS), { maxLength: 30 });
  fc.assert(
    fc.property(newGap(), answers, fc.nat(5), (gap, pauses, index) => {
      const { gap: known, askedTime } = askOften(gap, pauses).at(-1) ?? { gap, askedTime: NOW };
      const { timeframe: of } = gap.series;
      const from = shiftOpenTime(of, gap.range.from, index);
      const range = { from, to: nextOpenTime(of, from) };
      const refused = afterRefusal(known, range, askedTime);
      assert.equal(seriesKey(refused.series), seriesKey(gap.series));
      assert.deepEqual(refused.range, range);
      assert.deepEqual([refused.reason, refused.state], ["rejected", "open"]);
      assert.equal(refused.foundTime, gap.foundTime);
      assert.equal(refused.emptyAnswers, known.emptyAnswers + 1);
      const pause = refused.nextTryTime - askedTime;
      assert.ok(pause >= HOUR_MS && pause <= 7 * 24 * HOUR_MS);
      const again = afterRefusal(refused, range, askedTime);
      assert.equal(again.nextTryTime - askedTime, Math.min(2 * pause, 7 * 24 * HOUR_MS));
    }),
    { numRuns: 500 },
  );
});

test("an exchange that served a row, if a refused one, has to say twice anew that it has none", () => {
  fc.assert(
    fc.property(newGap(), fc.nat(30), fc.integer({ min: 1, max: 20 }), (gap, empty, refusals) => {
      const pauses = Array<number>(empty).fill(HOUR_MS);
      let { gap: known, askedTime } = askOften(gap, pauses).at(-1) ?? { gap, askedTime: NOW };
      for (let turn = 0; turn < refusals; turn++) {
        askedTime = known.nextTryTime;
        known = afterRefusal(known, known.range, askedTime);
      }
      const [first] = afterAnswer(known, [known.range], known.nextTryTime);
      assert.equal(first?.state, "open");
      assert.equal(first.nextTryTime, known.nextTryTime + HOUR_MS);
      const [second] = afterAnswer(first, [known.range], first.nextTryTime);
      assert.equal(second?.state, "confirmed");
      assert.equal(second.foundTime, gap.foundTime);
      // Looked at again like one that has just been confirmed, not as rarely as one of many years.
      assert.equal(second.nextTryTime - first.nextTryTime, 7 * 24 * HOUR_MS);
    }),
    { numRuns: 300 },
  );
});

test("a gap that was filled leaves nothing", () => {
  fc.assert(
    fc.property(newGap(), (gap) => {
      assert.deepEqual(afterAnswer(gap, [], NOW + HOUR_MS), []);
    }),
  );
});

test("what lies before the listing or after the delisting keeps that reason, other reasons give way to the answer", () => {
  const reasons: readonly GapReason[] = [
    ...(["not-fetched", "exchange-had-none", "before-listing", "after-delisting"] as const),
    ...(["rejected", "shed", "unfinished-in-source"] as const),
  ];
  const of: Series = { exchange: "binance", symbol: "BTCUSDT", timeframe: "1m" };
  const range = { from: NOW, to: NOW + 60_000 };
  for (const reason of reasons) {
    const [left] = afterAnswer({ ...emptyAnswer(of, range, NOW), reason }, [range], NOW + HOUR_MS);
    const isListing = reason === "before-listing" || reason === "after-delisting";
    assert.equal(left?.reason, isListing ? reason : "exchange-had-none");
  }
});

test("a confirmed gap stays confirmed, also when the clock of the exchange is set back", () => {
  fc.assert(
    fc.property(newGap(), fc.integer({ min: -2 * HOUR_MS, max: 2 * HOUR_MS }), (gap, beside) => {
      const [confirmed] = afterAnswer(gap, [gap.range], NOW).flatMap((first) =>
        afterAnswer(first, [first.range], NOW + HOUR_MS),
      );
      assert.equal(confirmed?.state, "confirmed");
      const [again] = afterAnswer(confirmed, [gap.range], NOW + HOUR_MS + beside);
      assert.equal(again?.state, "confirmed");
      assert.ok(again.nextTryTime > NOW + HOUR_MS + beside);
    }),
  );
});
