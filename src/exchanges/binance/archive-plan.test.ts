import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { series as anySeries, instant } from "../../../test/support/arbitraries.ts";
import { mergeRanges } from "../../core/range.ts";
import type { Timeframe } from "../../core/timeframe.ts";
import { planArchive } from "./archive-plan.ts";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

const seriesOf = (timeframe: Timeframe, symbol = "BTCUSDT") => ({
  exchange: "binance",
  symbol,
  timeframe,
});
const at = (text: string): number => Date.parse(`${text}Z`);
const namesOf = (plan: ReturnType<typeof planArchive>) => plan.files.map(({ name }) => name);

describe("the archive plan", () => {
  test("whole months by month, other whole days by day, head and tail by REST", () => {
    const range = { from: at("2025-01-30T07:30"), to: at("2025-04-03T05:00") };
    const plan = planArchive(seriesOf("1m"), range, at("2025-04-10T00:00"));
    assert.deepEqual(namesOf(plan), [
      "BTCUSDT-1m-2025-01-31",
      "BTCUSDT-1m-2025-02",
      "BTCUSDT-1m-2025-03",
      "BTCUSDT-1m-2025-04-01",
      "BTCUSDT-1m-2025-04-02",
    ]);
    assert.deepEqual(plan.rest, [
      { from: range.from, to: at("2025-01-31T00:00") },
      { from: at("2025-04-03T00:00"), to: range.to },
    ]);
    const [day, month] = plan.files;
    assert.equal(day?.path, "/data/spot/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2025-01-31.zip");
    assert.equal(month?.path, "/data/spot/monthly/klines/BTCUSDT/1m/BTCUSDT-1m-2025-02.zip");
    assert.equal(day?.candleCount, 1_440);
    assert.equal(month?.candleCount, 28 * 1_440);
    assert.deepEqual(month?.range, { from: at("2025-02-01T00:00"), to: at("2025-03-01T00:00") });
  });

  test("a month comes on the first Monday of the next one, until then its days; a day comes the next morning", () => {
    // 2025-03-01 was a Saturday, 2025-09-01 a Monday.
    const february = { from: at("2025-02-01T00:00"), to: at("2025-03-01T00:00") };
    const before = planArchive(seriesOf("1h"), february, at("2025-03-03T05:59"));
    assert.equal(before.files.length, 28);
    assert.deepEqual(before.rest, []);
    const after = planArchive(seriesOf("1h"), february, at("2025-03-03T06:00"));
    assert.deepEqual(namesOf(after), ["BTCUSDT-1h-2025-02"]);
    const august = { from: at("2025-08-01T00:00"), to: at("2025-09-01T00:00") };
    assert.equal(planArchive(seriesOf("1h"), august, at("2025-09-01T06:00")).files.length, 1);
    const early = planArchive(seriesOf("1h"), february, at("2025-02-02T05:59"));
    assert.deepEqual(early, { files: [], rest: [february] });
    const late = planArchive(seriesOf("1h"), february, at("2025-02-02T06:00"));
    assert.deepEqual(namesOf(late), ["BTCUSDT-1h-2025-02-01"]);
    assert.deepEqual(late.rest, [{ from: at("2025-02-02T00:00"), to: february.to }]);
  });

  test("3d, 1w and 1M have no daily files; a month of theirs is what opens in it; 1M is spelt 1mo", () => {
    const range = { from: at("2025-01-15T00:00"), to: at("2025-04-05T00:00") };
    for (const timeframe of ["3d", "1w", "1M"] as const) {
      const plan = planArchive(seriesOf(timeframe), range, at("2025-04-08T00:00"));
      const spelling = timeframe === "1M" ? "1mo" : timeframe;
      assert.deepEqual(namesOf(plan), [
        `BTCUSDT-${spelling}-2025-02`,
        `BTCUSDT-${spelling}-2025-03`,
      ]);
      assert.ok(
        plan.files.every(({ path }) => path.includes(`/monthly/klines/BTCUSDT/${spelling}/`)),
      );
    }
    // Mondays of March 2025: 3, 10, 17, 24 and 31, of which the last one's candle ends in April.
    const [, march] = planArchive(seriesOf("1w"), range, at("2025-04-08T00:00")).files;
    assert.equal(march?.candleCount, 5);
  });

  test("symbols of other scripts are percent-encoded in paths only", () => {
    const range = { from: at("2025-11-01T00:00"), to: at("2025-11-02T00:00") };
    const [file] = planArchive(seriesOf("1h", "币安人生USDT"), range, at("2025-11-03T00:00")).files;
    const encoded = encodeURIComponent("币安人生USDT");
    assert.equal(file?.name, "币安人生USDT-1h-2025-11-01");
    assert.equal(file?.path, `/data/spot/daily/klines/${encoded}/1h/${encoded}-1h-2025-11-01.zip`);
  });

  test("symbols that cannot stand in a path have no files", () => {
    const range = { from: at("2025-01-01T00:00"), to: at("2025-02-03T00:00") };
    for (const symbol of [".", "..", "A\uD800"]) {
      const plan = planArchive(seriesOf("1h", symbol), range, at("2026-01-01T00:00"));
      assert.deepEqual(plan, { files: [], rest: [range] });
    }
  });

  test("only daily files, for what a monthly one lacked", () => {
    const range = { from: at("2025-01-10T00:00"), to: at("2025-02-12T00:00") };
    const kinds = ["archive-daily"] as const;
    const plan = planArchive(seriesOf("1m"), range, at("2026-01-01T00:00"), { kinds });
    assert.equal(plan.files.length, 33);
    assert.deepEqual(plan.rest, []);
    assert.deepEqual(planArchive(seriesOf("1w"), range, at("2026-01-01T00:00"), { kinds }), {
      files: [],
      rest: [range],
    });
  });

  test("files of few candles are left to REST when asked for", () => {
    const range = { from: at("2025-01-01T00:00"), to: at("2025-02-03T00:00") };
    const now = at("2026-01-01T00:00");
    const few = planArchive(seriesOf("1d"), range, now, { minCandleCount: 1_000 });
    assert.deepEqual(few, { files: [], rest: [range] });
    const hours = planArchive(seriesOf("1h"), range, now, { minCandleCount: 100 });
    assert.deepEqual(namesOf(hours), ["BTCUSDT-1h-2025-01"]);
    assert.deepEqual(hours.rest, [{ from: at("2025-02-01T00:00"), to: range.to }]);
  });

  test("nothing to plan: an empty range, before the exchange opened, after now", () => {
    const now = at("2026-01-01T00:00");
    const empty = { from: now, to: now };
    assert.deepEqual(planArchive(seriesOf("1m"), empty, now), { files: [], rest: [] });
    const old = { from: 0, to: at("2017-07-01T00:00") };
    assert.deepEqual(planArchive(seriesOf("1m"), old, now), { files: [], rest: [old] });
    const coming = { from: now, to: Number.MAX_SAFE_INTEGER };
    assert.deepEqual(planArchive(seriesOf("1m"), coming, now), { files: [], rest: [coming] });
  });

  test("files and rest tile any range exactly, and no file is planned before it can be there", () => {
    fc.assert(
      fc.property(
        anySeries(),
        instant({ min: Date.UTC(2017, 0, 1), max: Date.UTC(2027, 0, 1) }),
        fc.oneof(fc.nat(3 * DAY), fc.nat(900 * DAY)),
        fc.integer({ min: -40 * DAY, max: 40 * DAY }),
        fc.constantFrom(undefined, ["archive-daily"] as const, ["archive-monthly"] as const),
        fc.constantFrom(0, 1_000),
        (series, from, lengthMs, nowAfterEnd, kinds, minCandleCount) => {
          const range = { from, to: from + lengthMs };
          const now = range.to + nowAfterEnd;
          const options = { minCandleCount, ...(kinds !== undefined && { kinds }) };
          const { files, rest } = planArchive(series, range, now, options);
          const parts = [...files.map((file) => file.range), ...rest];
          assert.deepEqual(mergeRanges(parts), lengthMs === 0 ? [] : [range]);
          const covered = parts.reduce((sum, part) => sum + part.to - part.from, 0);
          assert.equal(covered, lengthMs, "no overlap");
          for (const file of files) {
            assert.ok(now >= file.dueTime && file.dueTime >= file.range.to);
            assert.ok(kinds === undefined || kinds.some((kind) => kind === file.kind));
            assert.ok(file.candleCount >= minCandleCount && file.candleCount > 0);
            assert.equal(new URL(file.path, "http://a").pathname, file.path);
          }
          assert.deepEqual(
            files.map((file) => file.range.from),
            files.map((file) => file.range.from).sort((a, b) => a - b),
          );
          // With everything allowed and published, less than a month at each end is left to REST.
          const isUsual =
            kinds === undefined && minCandleCount === 0 && !series.symbol.startsWith(".");
          if (isUsual && from > Date.UTC(2017, 6, 1)) {
            for (const part of rest.filter(({ to }) => to < now - 40 * DAY)) {
              assert.ok(part.to - part.from < 31 * DAY);
            }
          }
        },
      ),
      { numRuns: 300 },
    );
  });
});
