import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { candle, rivalVersions, source, timeframe } from "../../test/support/arbitraries.ts";
import type { Candle } from "./candle.ts";
import {
  AUTHORITY,
  candleKey,
  compareVersions,
  judgeRows,
  LONE_ROW_CLOSED_MS,
  LONE_ROW_SETTLED_MS,
  readVersionNumber,
  SETTLE_MS,
  type Source,
  sameValues,
  type VersionedCandle,
  versionNumber,
} from "./finality.ts";
import { nextOpenTime, openTimeAt, shiftOpenTime, type Timeframe } from "./timeframe.ts";

const SOURCES = Object.keys(AUTHORITY) as Source[];
const MAX_TIME = 2 ** 44 - 1;

const observedTime = (): fc.Arbitrary<number> =>
  fc.oneof(fc.integer({ min: 0, max: MAX_TIME }), fc.constantFrom(0, 1, MAX_TIME));

test("the roads rank partial csv < csv < unproven archive < early rest < stream < monthly < daily archive < settled rest", () => {
  const ranked = SOURCES.toSorted((a, b) => AUTHORITY[a] - AUTHORITY[b]);
  assert.deepEqual(ranked, [
    "csv-partial",
    "csv",
    "archive-unproven",
    "rest-early",
    "stream",
    "archive-monthly",
    "archive-daily",
    "rest",
  ]);
  assert.equal(new Set(Object.values(AUTHORITY)).size, SOURCES.length);
});

test("a version number is a safe integer that can be read back", () => {
  fc.assert(
    fc.property(source(), observedTime(), (road, time) => {
      const version = versionNumber(road, time);
      assert.ok(Number.isSafeInteger(version));
      assert.deepEqual(readVersionNumber(version), { source: road, observedTime: time });
    }),
    { numRuns: 1_000 },
  );
});

test("version numbers stand in databases: what they mean does not change", () => {
  assert.deepEqual(AUTHORITY, {
    ...{ "csv-partial": 5, csv: 10, "archive-unproven": 15, "rest-early": 20, stream: 30 },
    ...{ "archive-monthly": 40, "archive-daily": 50, rest: 60 },
  });
  assert.equal(versionNumber("rest", 1_783_900_800_000), 1_057_315_063_464_960);
});

test("a higher authority outranks any later time", () => {
  fc.assert(
    fc.property(source(), source(), observedTime(), observedTime(), (a, b, one, other) => {
      const order = versionNumber(a, one) - versionNumber(b, other);
      assert.equal(
        Math.sign(order),
        Math.sign(AUTHORITY[a] - AUTHORITY[b]) || Math.sign(one - other),
      );
    }),
    { numRuns: 1_000 },
  );
});

test("a number of no known road is told as such", () => {
  for (const version of [0, 1, MAX_TIME, 11 * 2 ** 44, 2 ** 52, -1, Number.NaN]) {
    assert.equal(readVersionNumber(version), undefined, String(version));
  }
});

const threeRivals = (): fc.Arbitrary<VersionedCandle[]> =>
  rivalVersions({}, { minLength: 3, maxLength: 3 });

test("versions of a candle are totally ordered, in step with their numbers", () => {
  fc.assert(
    fc.property(threeRivals(), ([a, b, c]) => {
      assert.ok(a && b && c);
      const numberOf = (each: VersionedCandle): number =>
        versionNumber(each.source, each.observedTime);
      const ab = compareVersions(a, b);
      assert.equal(compareVersions(a, a), 0);
      assert.equal(Math.sign(ab), -Math.sign(compareVersions(b, a)) || 0);
      if (ab >= 0 && compareVersions(b, c) >= 0) assert.ok(compareVersions(a, c) >= 0);
      if (numberOf(a) !== numberOf(b))
        assert.equal(Math.sign(ab), Math.sign(numberOf(a) - numberOf(b)));
      else assert.equal(ab === 0, sameValues(a.candle, b.candle));
    }),
    { numRuns: 2_000 },
  );
});

test("two versions that differ in any value are never equal in the order", () => {
  const changes: Partial<Candle>[] = [
    { tradeCount: 9 },
    { closeTime: 1_783_900_859_998 },
    ...(["open", "high", "low", "close", "volume", "quoteVolume"] as const).map((field) => ({
      [field]: "2.50000001",
    })),
    { takerBuyVolume: "0.1" },
    { takerBuyQuoteVolume: "0.1" },
  ];
  const base: Candle = {
    ...{ openTime: 1_783_900_800_000, closeTime: 1_783_900_859_999, tradeCount: 3 },
    ...{ open: "2.5", high: "2.5", low: "2.5", close: "2.5" },
    ...{ volume: "1.0", quoteVolume: "2.5", takerBuyVolume: "0", takerBuyQuoteVolume: "0" },
  };
  const version = (each: Candle): VersionedCandle => ({
    series: { exchange: "binance", symbol: "BTCUSDT", timeframe: "1m" },
    candle: each,
    source: "rest",
    observedTime: 1_783_900_900_000,
  });
  for (const change of changes) {
    const changed = version({ ...base, ...change });
    assert.notEqual(compareVersions(changed, version(base)), 0, JSON.stringify(change));
    assert.ok(!sameValues(changed.candle, base), JSON.stringify(change));
  }
  const rewritten = { ...base, open: "2.50", volume: "1", takerBuyVolume: "0.00000000" };
  assert.equal(compareVersions(version(rewritten), version(base)), 0);
  assert.ok(sameValues(rewritten, base));
});

test("whatever the order of arrival, and however often, the same values stand at the end", () => {
  const arrivals = rivalVersions().chain((versions) =>
    fc.record({
      inOrder: fc.constant(versions),
      shuffled: fc.shuffledSubarray(versions, { minLength: versions.length }),
      repeats: fc.subarray(versions),
    }),
  );
  const stand = (versions: readonly VersionedCandle[]): VersionedCandle =>
    versions.reduce((row, offered) => (compareVersions(offered, row) > 0 ? offered : row));
  fc.assert(
    fc.property(arrivals, ({ inOrder, shuffled, repeats }) => {
      const row = stand(inOrder);
      const other = stand([...shuffled, ...repeats]);
      assert.ok(sameValues(row.candle, other.candle));
      assert.equal(row.source, other.source);
      assert.equal(row.observedTime, other.observedTime);
      assert.ok(inOrder.every((version) => compareVersions(version, row) <= 0));
    }),
    { numRuns: 1_000 },
  );
});

test("a candle is identified by its series and open time alone", () => {
  fc.assert(
    fc.property(rivalVersions(), fc.constantFrom(-1, 1), (versions, beside) => {
      const [first] = versions;
      assert.ok(first);
      assert.equal(new Set(versions.map(candleKey)).size, 1);
      const moved = { ...first.candle, openTime: first.candle.openTime + beside };
      assert.notEqual(candleKey({ ...first, candle: moved }), candleKey(first));
    }),
  );
});

/** A REST answer: a picture of the exchange at `snapshotTime`, taken by a replica, some cells without trade missing. */
interface Answer {
  readonly timeframe: Timeframe;
  readonly rows: readonly Candle[];
  readonly snapshotTime: number;
  readonly askedTime: number;
}

/** The first instant at which a row can no longer change. */
const endOf = (of: Timeframe, row: Candle): number =>
  openTimeAt(of, row.openTime) === row.openTime
    ? nextOpenTime(of, row.openTime)
    : row.closeTime + 1;

/**
 * Answers as the exchange gives them. The picture may be as old as the longest lag reported, or made some time after
 * the question: then it shows candles that had not closed when it was asked, and some that had not even opened.
 */
const answer = (isOffGrid: boolean): fc.Arbitrary<Answer> =>
  timeframe()
    .chain((of) => fc.record({ of: fc.constant(of), model: candle(of) }))
    .chain(({ of, model }) =>
      fc.record({
        of: fc.constant(of),
        model: fc.constant(model),
        present: fc.array(fc.boolean(), { minLength: 6, maxLength: 6 }),
        // Around the close of one of the cells, where it matters; or anywhere.
        near: fc.integer({ min: 0, max: 6 }),
        besideMs: fc.oneof(
          fc.integer({ min: -3_000, max: 3_000 }),
          fc.integer({ min: -70_000, max: 70_000 }),
        ),
        trailMs: fc.oneof(
          fc.integer({ min: -LONE_ROW_CLOSED_MS, max: 5_000 }),
          fc.integer({ min: 0, max: 5_000 }),
        ),
        shiftMs: isOffGrid ? fc.integer({ min: 1, max: 999 }) : fc.constant(0),
        shiftPart: isOffGrid ? fc.double({ min: 0, max: 0.99, noNaN: true }) : fc.constant(0),
      }),
    )
    .map(({ of, model, present, near, besideMs, trailMs, shiftMs, shiftPart }) => {
      const base = model.openTime;
      const cellMs = nextOpenTime(of, base) - base;
      const shift = shiftMs + Math.floor((shiftPart * (cellMs - 1_000)) / 1_000) * 1_000;
      const snapshotTime = shiftOpenTime(of, base, near) + shift + besideMs;
      const rows = present
        .map((isPresent, index) => {
          const openTime = shiftOpenTime(of, base, index) + shift;
          const closeTime = shiftOpenTime(of, base, index + 1) + shift - 1;
          return { isPresent, row: { ...model, openTime, closeTime } };
        })
        .filter(({ isPresent, row }) => isPresent && row.openTime <= snapshotTime)
        .map(({ row }) => row);
      return { timeframe: of, rows, snapshotTime, askedTime: snapshotTime - trailMs };
    });

for (const [name, isOffGrid] of [
  ["on the grid", false],
  ["off the grid", true],
] as const) {
  test(`${name}: no row is called closed that the exchange had not closed in the picture it served`, () => {
    fc.assert(
      fc.property(answer(isOffGrid), ({ timeframe: of, rows, snapshotTime, askedTime }) => {
        const { settled, early } = judgeRows(of, rows, askedTime);
        for (const row of [...settled, ...early]) assert.ok(endOf(of, row) <= snapshotTime);
      }),
      { numRuns: 2_000 },
    );
  });

  test(`${name}: no row is called closed whose end lies behind the question, successor or not`, () => {
    let temptingCount = 0;
    fc.assert(
      fc.property(answer(isOffGrid), ({ timeframe: of, rows, askedTime }) => {
        const { settled, early } = judgeRows(of, rows, askedTime);
        for (const row of [...settled, ...early]) assert.ok(endOf(of, row) <= askedTime);
        if (rows.slice(0, -1).some((row) => endOf(of, row) > askedTime)) temptingCount += 1;
      }),
      { numRuns: 2_000 },
    );
    assert.ok(temptingCount > 5, `the property was hardly tried: ${temptingCount}`);
  });
}

test("every row is told apart once, in order, and by the same limits", () => {
  fc.assert(
    fc.property(answer(false), ({ timeframe: of, rows, askedTime }) => {
      const { settled, early, forming } = judgeRows(of, rows, askedTime);
      assert.deepEqual([...settled, ...early, ...forming], rows);
      for (const row of settled) assert.ok(askedTime >= endOf(of, row) + SETTLE_MS);
      for (const row of early) {
        const settleMs = row === rows.at(-1) ? LONE_ROW_SETTLED_MS : SETTLE_MS;
        assert.ok(askedTime < endOf(of, row) + settleMs);
      }
      rows.forEach((row, index) => {
        const isLone = index === rows.length - 1;
        const isClosed = askedTime >= endOf(of, row) + (isLone ? LONE_ROW_CLOSED_MS : 0);
        assert.equal(forming.includes(row), !isClosed, "withheld exactly while it is not closed");
      });
    }),
    { numRuns: 2_000 },
  );
});

test("an off-grid row goes on to its own close, and no further than its length whatever it says", () => {
  const openTime = 1_512_367_220_799;
  const fate = (closeTime: number, askedTime: number): string => {
    const row = (at: number, end: number): Candle => ({
      ...{ openTime: at, closeTime: end, tradeCount: 1 },
      ...{ open: "1", high: "1", low: "1", close: "1", volume: "1", quoteVolume: "1" },
      ...{ takerBuyVolume: "0", takerBuyQuoteVolume: "0" },
    });
    const rows = [row(openTime, closeTime), row(openTime + 60_000, closeTime + 60_000)];
    const judged = judgeRows("1m", rows, askedTime);
    return judged.forming.includes(rows[0] as Candle) ? "forming" : "closed";
  };
  assert.equal(fate(openTime + 59_999, openTime + 59_999), "forming");
  assert.equal(fate(openTime + 59_999, openTime + 60_000), "closed");
  assert.equal(fate(openTime + 1e15, openTime + 59_999), "forming");
  assert.equal(fate(openTime + 1e15, openTime + 60_000), "closed");
  assert.equal(
    fate(Number.NaN, openTime + 60_000),
    "closed",
    "so that it is refused, not withheld",
  );
  const cellEnd = openTime - 20_799 + 60_000;
  assert.equal(fate(openTime + 3, cellEnd - 1), "forming", "cut short: by its cell");
  assert.equal(fate(openTime + 3, cellEnd), "closed");
});

test("a row of the minute is judged by its close, its successor and its age", () => {
  const openTime = 1_783_900_800_000;
  const end = openTime + 60_000;
  const row = (at: number): Candle => ({
    ...{ openTime: at, closeTime: at + 59_999, tradeCount: 1 },
    ...{ open: "1", high: "1", low: "1", close: "1", volume: "1", quoteVolume: "1" },
    ...{ takerBuyVolume: "0", takerBuyQuoteVolume: "0" },
  });
  const fate = (askedTime: number, hasSuccessor: boolean): string => {
    const rows = hasSuccessor ? [row(openTime), row(end)] : [row(openTime)];
    const judged = judgeRows("1m", rows, askedTime);
    const [found] = Object.entries(judged).filter(([, list]) => list[0]?.openTime === openTime);
    return found?.[0] ?? "none";
  };
  assert.equal(fate(end - 1, false), "forming", "the last millisecond");
  assert.equal(fate(end + 2_000, false), "forming", "no row after it: a replica may lag");
  assert.equal(fate(end + LONE_ROW_CLOSED_MS - 1, false), "forming");
  assert.equal(fate(end + LONE_ROW_CLOSED_MS, false), "early");
  assert.equal(fate(end + SETTLE_MS, false), "early", "a stuck replica looks like this");
  assert.equal(fate(end + LONE_ROW_SETTLED_MS - 1, false), "early");
  assert.equal(fate(end + LONE_ROW_SETTLED_MS, false), "settled");
  assert.equal(fate(end - 1, true), "forming", "a successor from the future proves nothing");
  assert.equal(fate(end, true), "early");
  assert.equal(fate(end + SETTLE_MS - 1, true), "early");
  assert.equal(fate(end + SETTLE_MS, true), "settled");
  assert.deepEqual(judgeRows("1m", [], end), { settled: [], early: [], forming: [] });
});

test("a candle of a second that opened after the question was asked is not closed", () => {
  const askedTime = 1_783_900_800_400;
  const row = (openTime: number): Candle => ({
    ...{ openTime, closeTime: openTime + 999, tradeCount: 1 },
    ...{ open: "1", high: "1", low: "1", close: "1", volume: "1", quoteVolume: "1" },
    ...{ takerBuyVolume: "0", takerBuyQuoteVolume: "0" },
  });
  // The answer took two seconds: it ends with rows of which nobody knew when it was asked for.
  const rows = [-1_400, -400, 600, 1_600].map((besideMs) => row(askedTime + besideMs));
  const { settled, early, forming } = judgeRows("1s", rows, askedTime);
  assert.deepEqual(settled, []);
  assert.deepEqual(early, rows.slice(0, 1));
  assert.deepEqual(forming, rows.slice(1));
});
