import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import type { Candle } from "../src/core/candle.ts";
import { BlackTradeError, SourceHoldError } from "../src/core/errors.ts";
import { ExchangeTime } from "../src/core/exchange-time.ts";
import type { Clock } from "../src/core/ports.ts";
import type { TimeRange } from "../src/core/range.ts";
import type { Series } from "../src/core/series.ts";
import { nextOpenTime, openTimeAt, TIMEFRAMES } from "../src/core/timeframe.ts";
import { createBinanceArchive, planArchive } from "../src/exchanges/binance/index.ts";
import {
  type ArchiveDirt,
  SeededMarket,
  type Simulator,
  type SimulatorOptions,
  seededSymbols,
  startSimulator,
} from "../src/simulator/index.ts";
import { binanceSeries, truthOf } from "./support/live-stack.ts";

/** The archive adapter against the built-in exchange: two readings of the same documents meet. */

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const NAMES = ["BTCUSDT", "NXSBTC", "币安人生USDT"];
const NOW = Date.UTC(2025, 3, 9, 12);

/** Stands still until it is told to jump. */
class HandClock implements Clock {
  #now: number;
  constructor(now: number) {
    this.#now = now;
  }
  now(): number {
    return this.#now;
  }
  monotonic(): number {
    return this.#now;
  }
  async sleep(ms: number, signal: AbortSignal): Promise<void> {
    const due = this.#now + ms;
    do await wait(2, undefined, { signal });
    while (this.#now < due);
  }
  pass(ms: number): void {
    this.#now += ms;
  }
}

async function meet(t: TestContext, options: Partial<SimulatorOptions> = {}, now = NOW) {
  const clock = new HandClock(now);
  const market = new SeededMarket({ symbols: seededSymbols(NAMES) });
  const simulator = await startSimulator({ market, clock, ...options });
  const tempFolder = mkdtempSync(join(tmpdir(), "archive-simulator-"));
  const controller = new AbortController();
  t.after(async () => {
    controller.abort();
    rmSync(tempFolder, { recursive: true, force: true });
    await simulator.close();
  });
  const archive = createBinanceArchive({
    baseUrl: simulator.url,
    tempFolder,
    clock,
    exchangeTime: new ExchangeTime(),
  });
  const { signal } = controller;

  /** Everything that archives have of a stretch, and what is left to REST. */
  async function load(series: Series, range: TimeRange) {
    const { files, rest } = planArchive(series, range, clock.now());
    const rows: Candle[] = [];
    const left: TimeRange[] = [...rest];
    const answers = [];
    for (const file of files) {
      const answer = await archive.open(file, signal);
      answers.push(answer);
      if (answer.kind === "not-published") {
        left.push(file.range);
        continue;
      }
      for await (const page of answer.pages) {
        assert.equal(page.source, answer.check === "ok" ? file.kind : "archive-unproven");
        assert.equal(page.askedTime, answer.madeTime);
        rows.push(...page.rows);
      }
      left.push(...answer.report().absent);
    }
    assert.deepEqual(readdirSync(tempFolder), []);
    return { files, rows, left, answers };
  }
  return { simulator, clock, archive, signal, load };
}

function closedOf({ market }: Simulator, series: Series, range: TimeRange, at = NOW): Candle[] {
  return truthOf(market, series, range, at).filter(({ closeTime }) => closeTime < at);
}

const isIn =
  (ranges: readonly TimeRange[]) =>
  ({ openTime }: Candle): boolean =>
    ranges.some(({ from, to }) => openTime >= from && openTime < to);

test("history by archives is what the market had, digit for digit, in every timeframe", async (t) => {
  const outages = [{ from: Date.UTC(2025, 2, 5, 1), to: Date.UTC(2025, 2, 5, 3, 17) }];
  const market = new SeededMarket({ symbols: seededSymbols(NAMES), outages });
  const { simulator, load } = await meet(t, { market });
  for (const timeframe of TIMEFRAMES) {
    const isShort = !["1m", "1h", "1d", "3d", "1w", "1M"].includes(timeframe);
    // A quiet symbol for the months: its market is made faster.
    const series = binanceSeries(isShort ? "币安人生USDT" : "NXSBTC", timeframe);
    const range = isShort
      ? { from: Date.UTC(2025, 3, 7, 23), to: Date.UTC(2025, 3, 9, 1) }
      : { from: Date.UTC(2025, 1, 27, 13), to: NOW };
    const { files, rows, left } = await load(series, range);
    const kinds = new Set(files.map(({ kind }) => kind));
    const isLong = ["3d", "1w", "1M"].includes(timeframe);
    assert.equal(kinds.size, isShort || isLong ? 1 : 2, timeframe);
    const whole = closedOf(simulator, series, range);
    assert.deepEqual(
      rows,
      whole.filter((row) => !isIn(left)(row)),
      timeframe,
    );
    assert.ok(rows.length > 0);
    // What is left besides head, tail and outage is nothing that exists.
    const inside = {
      from: files[0]?.range.from ?? range.from,
      to: files.at(-1)?.range.to ?? range.to,
    };
    const missing = closedOf(simulator, series, inside).filter(isIn(left));
    assert.deepEqual(missing, [], timeframe);
    if (timeframe === "1m") {
      const [outage] = outages;
      assert.ok(left.some(({ from, to }) => from === outage?.from && to === outage.to));
    }
  }
});

test("dirty files of all kinds bring the same candles", async (t) => {
  const { simulator, load } = await meet(t);
  const series = binanceSeries("BTCUSDT", "1m");
  const range = { from: Date.UTC(2025, 3, 6), to: Date.UTC(2025, 3, 7) };
  const truth = closedOf(simulator, series, range);
  const dirts: readonly ArchiveDirt[] = [
    ...(["header", "bom", "crlf", "microseconds", "milliseconds", "mixedUnits"] as const),
    ...(["elevenColumns", "duplicates", "conflicts", "garbage"] as const),
  ];
  const odd = Math.ceil(1_440 / 50);
  for (const dirt of dirts) {
    simulator.faults.clear();
    simulator.faults.set({ kind: "archiveDirt", dirt });
    const { rows, left, answers } = await load(series, range);
    assert.deepEqual(rows, truth, dirt);
    assert.deepEqual(left, []);
    const [answer] = answers;
    assert.ok(answer?.kind === "opened" && answer.check === "ok");
    const report = answer.report();
    assert.equal(report.duplicateCount, dirt === "duplicates" ? odd : 0);
    assert.equal(report.conflictCount, dirt === "conflicts" ? odd : 0);
    assert.equal(report.rejectedCount, dirt === "garbage" ? odd : 0);
  }
  for (const dirt of dirts) simulator.faults.set({ kind: "archiveDirt", dirt });
  assert.deepEqual((await load(series, range)).rows, truth);
});

test("a day that is missing in a monthly file is in its daily file", async (t) => {
  const { simulator, load, archive, signal } = await meet(t);
  const series = binanceSeries("NXSBTC", "5m");
  const range = { from: Date.UTC(2025, 2, 1), to: Date.UTC(2025, 3, 1) };
  simulator.faults.set({ kind: "archiveDirt", dirt: "missingDay", day: "2025-03-11" });
  const { rows, left } = await load(series, range);
  assert.deepEqual(left, [{ from: Date.UTC(2025, 2, 11), to: Date.UTC(2025, 2, 12) }]);
  const [lost] = left;
  assert.ok(lost);
  const [day] = planArchive(series, lost, NOW, { kinds: ["archive-daily"] }).files;
  assert.ok(day);
  const answer = await archive.open(day, signal);
  assert.ok(answer.kind === "opened");
  for await (const page of answer.pages) rows.push(...page.rows);
  rows.sort((a, b) => a.openTime - b.openTime);
  assert.deepEqual(rows, closedOf(simulator, series, range));
});

test("a checksum that is wrong once, wrong always, or not there", async (t) => {
  const { simulator, load } = await meet(t);
  const series = binanceSeries("NXSBTC", "1h");
  const range = { from: Date.UTC(2025, 3, 6), to: Date.UTC(2025, 3, 7) };
  const truth = closedOf(simulator, series, range);
  const checkOf = async () => {
    const { rows, answers } = await load(series, range);
    assert.deepEqual(rows, truth);
    const [answer] = answers;
    return answer?.kind === "opened" ? answer.check : answer?.kind;
  };
  simulator.faults.set({ kind: "archiveMismatch", count: 1 });
  assert.equal(await checkOf(), "ok");
  simulator.faults.set({ kind: "archiveMismatch" });
  assert.equal(await checkOf(), "mismatch");
  simulator.faults.clear();
  simulator.faults.set({ kind: "archive", answer: "404", path: ".CHECKSUM" });
  assert.equal(await checkOf(), "no-checksum");
});

test("what is not there yet, never was, or is said to be gone is not published", async (t) => {
  const { simulator, clock, archive, load, signal } = await meet(t, {
    switches: { archiveDelayMs: 30 * HOUR },
  });
  const series = binanceSeries("NXSBTC", "1h");
  const range = { from: Date.UTC(2025, 3, 8), to: Date.UTC(2025, 3, 9) };
  const [file] = planArchive(series, range, NOW).files;
  assert.ok(file);
  assert.equal((await archive.open(file, signal)).kind, "not-published");
  assert.deepEqual((await load(series, range)).left, [range]);
  clock.pass(18 * HOUR);
  const answer = await archive.open(file, signal);
  assert.ok(answer.kind === "opened");
  assert.equal(answer.madeTime, range.to + 30 * HOUR);
  await answer.close();
  const [unknown] = planArchive(binanceSeries("NOSUCH", "1h"), range, NOW).files;
  assert.ok(unknown);
  assert.equal((await archive.open(unknown, signal)).kind, "not-published");
  simulator.faults.set({ kind: "archive", answer: "404", path: "/daily/" });
  assert.equal((await archive.open(file, signal)).kind, "not-published");
});

test("trouble of the archive's host: named, once each, and no request during a hold", async (t) => {
  const { simulator, clock, archive, signal } = await meet(t);
  const series = binanceSeries("NXSBTC", "1h");
  const range = { from: Date.UTC(2025, 3, 6), to: Date.UTC(2025, 3, 7) };
  const [file] = planArchive(series, range, NOW).files;
  assert.ok(file);
  const cases = [
    ["500", "E_SOURCE_SERVER"],
    ["html", "E_SOURCE_BAD_ANSWER"],
    ["truncated", "E_SOURCE_BAD_ANSWER"],
  ] as const;
  for (const [answer, code] of cases) {
    simulator.faults.clear();
    simulator.faults.set({ kind: "archive", answer });
    await assert.rejects(archive.open(file, signal), (error) => {
      assert.ok(error instanceof BlackTradeError, String(error));
      assert.equal(error.code, code, error.message);
      return true;
    });
  }
  simulator.faults.clear();
  simulator.faults.set({ kind: "archive", answer: "timeout" });
  const late = assert.rejects(archive.open(file, signal), /sent nothing for 3[01] s/);
  await wait(50);
  clock.pass(31_000);
  await late;
  for (const answer of ["429", "503", "403"] as const) {
    simulator.faults.clear();
    simulator.faults.set({ kind: "archive", answer, count: 1, retryAfter: 120 });
    for (const _ of [1, 2, 3]) {
      await assert.rejects(archive.open(file, signal), SourceHoldError);
      clock.pass(15_000);
    }
    clock.pass(11 * MINUTE);
    const opened = await archive.open(file, signal);
    assert.equal(opened.kind, "opened");
    if (opened.kind === "opened") await opened.close();
  }
  assert.deepEqual(simulator.journal.counts().violations, {});
});

test("a file is as old as it says: a later correction is not in it", async (t) => {
  const corrections = { share: 1, delayMs: 5 * DAY };
  const market = new SeededMarket({ symbols: seededSymbols(NAMES), corrections });
  const { simulator, load } = await meet(t, { market });
  const series = binanceSeries("BTCUSDT", "1h");
  const range = { from: Date.UTC(2025, 3, 1), to: Date.UTC(2025, 3, 2) };
  const { rows, answers } = await load(series, range);
  const [answer] = answers;
  assert.ok(answer?.kind === "opened");
  assert.deepEqual(rows, closedOf(simulator, series, range, answer.madeTime));
  assert.notDeepEqual(rows, closedOf(simulator, series, range));
});

test("a 3d candle that still formed when its month was published is left to REST", async (t) => {
  // Months that begin on a Monday: the file of the month before came while a candle of its last days was open.
  const mondays = [Date.UTC(2024, 6, 1), Date.UTC(2025, 8, 1), Date.UTC(2025, 11, 1)];
  const monday = mondays.find((time) => openTimeAt("3d", time) < time);
  assert.ok(monday !== undefined);
  const now = monday + 30 * DAY;
  const { simulator, load } = await meet(t, {}, now);
  const series = binanceSeries("BTCUSDT", "3d");
  const range = { from: openTimeAt("1M", monday - 1), to: monday };
  const { rows, left } = await load(series, range);
  const openCell = openTimeAt("3d", monday);
  assert.deepEqual(left, [{ from: openCell, to: nextOpenTime("3d", openCell) }]);
  const truth = closedOf(simulator, series, range, now);
  assert.deepEqual(rows, truth.slice(0, -1));
});
