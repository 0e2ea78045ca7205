import { explainAbsences, gapFindings } from "../core/absences.ts";
import { type Certificate, CertificateTally } from "../core/certificate.ts";
import { compareDecimals } from "../core/decimal.ts";
import { judgeRows, type VersionedCandle } from "../core/finality.ts";
import {
  compareFindings,
  type ExchangeFinding,
  type Finding,
  type StoredCandle,
  VALUE_FIELDS,
  valueText,
} from "../core/findings.ts";
import {
  doubts,
  implausibleFindings,
  lastOfImportFindings,
  PLAUSIBILITY,
} from "../core/plausibility.ts";
import type { CoverageStore, HistorySource } from "../core/ports.ts";
import { intersectRanges, type TimeRange } from "../core/range.ts";
import { type Series, seriesKey } from "../core/series.ts";
import { structureFindings } from "../core/structure.ts";
import {
  cellOf,
  countOpenTimes,
  nominalMs,
  shiftOpenTime,
  TIMEFRAMES,
  type Timeframe,
} from "../core/timeframe.ts";
import { timeframeFindings } from "../core/timeframe-check.ts";
import { type RemovedStore, withoutRemoved } from "./detect.ts";
import type { Intake } from "./intake.ts";
import type { Writer } from "./writer.ts";

/** What verifying reads. */
export interface VerifyStore extends CoverageStore {
  /** Candles that open in the range, ascending, at most `limit`. */
  range(series: Series, range: TimeRange, limit: number): Promise<readonly VersionedCandle[]>;
}

/** What verifying needs. */
export interface VerifyOptions {
  readonly store: VerifyStore;
  /** Hash of texts as lower-case hex, fed piece by piece. */
  readonly createHash: () => { update(text: string): unknown; digest(): string };
  readonly onProgress?: OnVerified;
}

/** How far checking is, in open times of the calendar; each timeframe counts again where it is compared with another. */
export interface VerifyProgress {
  readonly doneCandles: number;
  readonly totalCandles: number;
}

/** Told after every piece. */
export type OnVerified = (progress: VerifyProgress) => void;

/** Everything that was found, and a certificate for each series. */
export interface Verification {
  readonly findings: readonly Finding[];
  readonly certificates: readonly Certificate[];
  readonly candleCount: number;
}

/** Rows in memory at a time, for each series. */
const CHUNK = 20_000;
const WINDOW_CANDLES = 45_000;
const MAX_FINDINGS = 100_000;

/**
 * Checks what is stored: gaps with reasons, structure, candles that look frozen, timeframe against timeframe. Asks nobody.
 * @param all series with their ranges; those of one symbol are compared with each other
 */
export async function verify(
  options: VerifyOptions,
  all: readonly Checked[],
  signal: AbortSignal,
): Promise<Verification> {
  const findings: Finding[] = [];
  const bySeries: { tally: CertificateTally; hash: string; own: Finding[] }[] = [];
  const doubtful = new Set<string>();
  let candleCount = 0;
  const advance = tallyOf(
    sumOf(all.map(({ series, range }) => countOpenTimes(series.timeframe, range))) +
      sumOf(crossings(all).map(({ taking }) => sumOf(taking.map(countOf)))),
    options.onProgress,
  );
  for (const { series, range } of all) {
    const tally = new CertificateTally(series, range);
    const hash = options.createHash();
    hash.update(tally.head());
    const own: Finding[] = [];
    for await (const { rows, from, to } of chunks(options.store, series, tally.range, signal)) {
      const inside = rows.filter(({ candle }) => candle.openTime >= from && candle.openTime < to);
      hash.update(tally.add(inside));
      candleCount += inside.length;
      const found = [
        ...structureFindings(series, rows),
        ...implausibleFindings(series, rows),
        ...lastOfImportFindings(series, rows),
      ];
      own.push(...found.filter(({ openTime }) => openTime >= from && openTime < to));
      const candles = rows.map(({ candle }) => candle);
      for (const { openTime } of doubts(series.timeframe, candles)) {
        doubtful.add(`${seriesKey(series)} ${openTime}`);
      }
      advance(countOpenTimes(series.timeframe, { from, to }));
    }
    const ledger = await options.store.gaps(series);
    own.push(...gapFindings(series, explainAbsences(tally.missing(), ledger)));
    bySeries.push({ tally, hash: hash.digest(), own });
  }
  const across = await acrossTimeframes(options, all, doubtful, advance, signal);
  const certificates: Certificate[] = [];
  for (const { tally, hash, own } of bySeries) {
    const key = seriesKey(tally.series);
    const mine = [...own, ...across.filter((one) => seriesKey(one.series) === key)];
    certificates.push(tally.finish(await options.store.gaps(tally.series), mine, hash));
    findings.push(...mine);
  }
  return {
    findings: findings.sort(compareFindings).slice(0, MAX_FINDINGS),
    certificates,
    candleCount,
  };
}

/** One place that knows how far it is, for several that go on. */
function tallyOf(totalCandles: number, onProgress: OnVerified | undefined): (done: number) => void {
  let doneCandles = 0;
  return (done) => {
    doneCandles += done;
    onProgress?.({ doneCandles, totalCandles });
  };
}

function sumOf(counts: readonly number[]): number {
  return counts.reduce((sum, count) => sum + count, 0);
}

function countOf({ series, range }: Checked): number {
  return countOpenTimes(series.timeframe, range);
}

/** A series with the stretch of it that is checked. */
interface Checked {
  readonly series: Series;
  readonly range: TimeRange;
}

interface Chunk {
  /** Rows of the chunk and some on each side. */
  readonly rows: readonly VersionedCandle[];
  readonly from: number;
  readonly to: number;
}

/** A series in chunks with neighbours, so that what is usual around a candle is known at the edges too. */
async function* chunks(
  store: VerifyStore,
  { ...series }: Series,
  range: TimeRange,
  signal: AbortSignal,
): AsyncIterable<Chunk> {
  const margin = PLAUSIBILITY.regimeCount + 1;
  let before: readonly VersionedCandle[] = [];
  let ahead: readonly VersionedCandle[] = await store.range(series, range, CHUNK);
  for (let from = range.from; ahead.length > 0; ) {
    signal.throwIfAborted();
    const last = ahead.at(-1)?.candle.openTime ?? range.to;
    const next =
      ahead.length < CHUNK
        ? []
        : await store.range(series, { from: last + 1, to: range.to }, CHUNK);
    const to = next.length === 0 ? range.to : last + 1;
    yield { rows: [...before, ...ahead, ...next.slice(0, margin)], from, to };
    before = ahead.slice(-margin);
    ahead = next;
    from = to;
  }
}

/** Series of one symbol that are compared with each other in one pass, the finest first. */
interface Crossing {
  readonly taking: readonly Checked[];
  readonly windowMs: number;
}

function crossings(all: readonly Checked[]): Crossing[] {
  const symbols = Map.groupBy(all, ({ series }) => `${series.exchange}:${series.symbol}`);
  return [...symbols.values()].flatMap((members) => {
    const sorted = members.toSorted(
      (a, b) => order(a.series.timeframe) - order(b.series.timeframe),
    );
    return passes(sorted.map(({ series }) => series.timeframe)).flatMap((finest) => {
      const windowMs = WINDOW_CANDLES * nominalMs(finest);
      const taking = sorted.filter(
        ({ series: { timeframe } }) =>
          order(timeframe) >= order(finest) && nominalMs(timeframe) * 2 <= windowMs,
      );
      return taking.length < 2 ? [] : [{ taking, windowMs }];
    });
  });
}

/** Every coarser timeframe of a symbol against the finer ones, in windows that fit into memory. */
async function acrossTimeframes(
  { store }: VerifyOptions,
  all: readonly Checked[],
  doubtful: ReadonlySet<string>,
  advance: (done: number) => void,
  signal: AbortSignal,
): Promise<Finding[]> {
  const found = new Map<string, Finding>();
  for (const { taking, windowMs } of crossings(all)) {
    const [first] = taking;
    if (first === undefined) continue;
    const { exchange, symbol } = first.series;
    const from = Math.min(...taking.map(({ range }) => range.from));
    const to = Math.max(...taking.map(({ range }) => range.to));
    // Windows overlap by half, so that every cell lies whole in one of them.
    for (let start = from; start < to; start += windowMs / 2) {
      signal.throwIfAborted();
      const window = { from: start, to: Math.min(to, start + windowMs) };
      const rows = await Promise.all(
        taking.map(async ({ series, range }) => ({
          timeframe: series.timeframe,
          rows: await readAll(store, series, {
            from: Math.max(window.from, range.from),
            to: Math.min(window.to, range.to),
          }),
          confirmedGaps: (await store.gaps(series))
            .filter(({ state, reason }) => state === "confirmed" && reason !== "not-kept")
            .map((gap) => gap.range),
        })),
      );
      const whole = rows.map((each) => ({ ...each, rows: wholeCells(each, window) }));
      const isDoubtful = (timeframe: Timeframe, openTime: number): boolean =>
        doubtful.has(`${exchange}:${symbol}:${timeframe} ${openTime}`);
      for (const finding of timeframeFindings({ exchange, symbol }, whole, isDoubtful)) {
        const { timeframe } = finding.series;
        found.set(`${symbol} ${timeframe} ${finding.openTime} ${finding.what}`, finding);
      }
      const step = { from: start, to: start + windowMs / 2 };
      advance(
        sumOf(
          taking.map(({ series, range }) => {
            const done = intersectRanges(range, step);
            return done === undefined ? 0 : countOpenTimes(series.timeframe, done);
          }),
        ),
      );
    }
  }
  return [...found.values()];
}

function order(timeframe: Timeframe): number {
  return TIMEFRAMES.indexOf(timeframe);
}

/** Finest timeframes of the passes: seconds reach to hours, minutes to weeks, hours to months. */
function passes(timeframes: readonly Timeframe[]): Timeframe[] {
  const firstFrom = (least: Timeframe): Timeframe | undefined =>
    timeframes.find((timeframe) => order(timeframe) >= order(least));
  const finest = [firstFrom("1s"), firstFrom("1m"), firstFrom("1h"), firstFrom("1d")];
  return [...new Set(finest.filter((timeframe) => timeframe !== undefined))];
}

function wholeCells(
  { timeframe, rows }: { readonly timeframe: Timeframe; readonly rows: readonly StoredCandle[] },
  window: TimeRange,
): readonly StoredCandle[] {
  return rows.filter(({ candle }) => {
    const cell = cellOf(timeframe, candle.openTime);
    return cell.from >= window.from && cell.to <= window.to;
  });
}

async function readAll(
  store: VerifyStore,
  series: Series,
  range: TimeRange,
): Promise<readonly VersionedCandle[]> {
  if (range.from >= range.to) return [];
  return store.range(series, range, WINDOW_CANDLES * 2);
}

/** What asking the exchange needs. */
export interface CompareOptions {
  readonly store: VerifyStore;
  readonly history: HistorySource;
  readonly onProgress?: OnVerified;
}

/**
 * Compares stored candles with what REST serves now; what was removed on purpose is not asked for. Nothing is changed.
 * @param ranges stretches to ask for, all of a series or a sample
 */
export async function compareWithExchange(
  { store, history, onProgress }: CompareOptions,
  series: Series,
  ranges: readonly TimeRange[],
  signal: AbortSignal,
): Promise<ExchangeFinding[]> {
  const findings: ExchangeFinding[] = [];
  const asking = await withoutRemoved(store, series, ranges);
  const advance = tallyOf(
    sumOf(asking.map((range) => countOpenTimes(series.timeframe, range))),
    onProgress,
  );
  for (const range of asking) {
    for await (const page of history.candles(series, range, signal, "bulk")) {
      advance(countOpenTimes(series.timeframe, page.range));
      const { settled } = judgeRows(series.timeframe, page.rows, page.askedTime);
      const lastSettled = settled.at(-1);
      if (lastSettled === undefined) continue;
      const asked = {
        from: page.range.from,
        to: Math.min(page.range.to, lastSettled.openTime + 1),
      };
      const stored = new Map(
        (await store.range(series, asked, CHUNK)).map((row) => [row.candle.openTime, row.candle]),
      );
      for (const served of settled) {
        const mine = stored.get(served.openTime);
        stored.delete(served.openTime);
        const differences = VALUE_FIELDS.filter(
          (field) =>
            mine !== undefined && !isSame(valueText(mine, field), valueText(served, field)),
        ).map((field) => ({
          field,
          actual: mine === undefined ? "" : valueText(mine, field),
          expected: valueText(served, field),
        }));
        if (mine === undefined) {
          findings.push(finding(series, served.openTime, "not-stored", []));
        } else if (differences.length > 0) {
          findings.push(finding(series, served.openTime, "differs", differences));
        }
      }
      for (const openTime of stored.keys())
        findings.push(finding(series, openTime, "not-served", []));
    }
  }
  return findings;
}

function isSame(a: string, b: string): boolean {
  return a === b || compareDecimals(a, b) === 0;
}

const EVIDENCE: Readonly<Record<ExchangeFinding["what"], string>> = {
  differs: "REST serves other values now",
  "not-stored": "REST serves a candle that is not stored",
  "not-served": "stored, and REST does not serve it",
};

function finding(
  series: Series,
  openTime: number,
  what: ExchangeFinding["what"],
  differences: ExchangeFinding["differences"],
): ExchangeFinding {
  return {
    check: "exchange",
    what,
    series,
    openTime,
    range: cellOf(series.timeframe, openTime),
    severity: what === "not-served" ? "suspect" : "wrong",
    evidence: EVIDENCE[what],
    differences,
  };
}

/** An evenly spread sample of a range: `pageCount` stretches of one answer of REST each. */
export function sampleRanges(
  { timeframe }: Series,
  range: TimeRange,
  pageCount: number,
): TimeRange[] {
  const pageMs =
    shiftOpenTime(timeframe, range.from, PAGE_CANDLES) - cellOf(timeframe, range.from).from;
  const room = range.to - range.from;
  if (pageMs * pageCount >= room) return [range];
  return Array.from({ length: pageCount }, (_, index) => {
    const from = cellOf(
      timeframe,
      range.from + ((room - pageMs) * index) / Math.max(1, pageCount - 1),
    ).from;
    return { from, to: Math.min(range.to, shiftOpenTime(timeframe, from, PAGE_CANDLES)) };
  });
}

const PAGE_CANDLES = 1_000;

/** What repairing needs. */
export interface RepairOptions {
  readonly store: RemovedStore;
  readonly history: HistorySource;
  readonly intake: Intake;
  readonly writer: Writer;
  readonly onProgress?: OnVerified;
}

/** Stretches of a series that are to be read again. */
export interface Reread {
  readonly series: Series;
  readonly ranges: readonly TimeRange[];
}

/**
 * Reads stretches again by REST and stores what REST serves, but for what was removed on purpose; only its higher
 * authority changes a row, and the old version is kept.
 * @returns candles that were served
 */
export async function rereadAll(
  { store, history, intake, writer, onProgress }: RepairOptions,
  stretches: readonly Reread[],
  signal: AbortSignal,
): Promise<number> {
  let served = 0;
  const wanted: Checked[] = [];
  for (const { series, ranges } of stretches) {
    for (const range of await withoutRemoved(store, series, ranges)) wanted.push({ series, range });
  }
  const advance = tallyOf(sumOf(wanted.map(countOf)), onProgress);
  for (const { series, range } of wanted) {
    for await (const page of history.candles(series, range, signal, "heal")) {
      advance(countOpenTimes(series.timeframe, page.range));
      await writer.room(signal);
      const { settled } = judgeRows(series.timeframe, page.rows, page.askedTime);
      for (const row of settled) intake.take(series, row, page.source, page.askedTime);
      served += settled.length;
    }
  }
  await writer.flushed(signal);
  return served;
}
