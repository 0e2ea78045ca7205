import type { Candle } from "./candle.ts";
import type { Source } from "./finality.ts";
import { type FrozenFinding, isAttested, type StoredCandle } from "./findings.ts";
import type { Series } from "./series.ts";
import { cellOf, closeTimeOf, nextOpenTime, nominalMs, type Timeframe } from "./timeframe.ts";

/**
 * Suspicion of candles that were saved while they were forming, from one series alone. Such a candle passes every
 * check of structure. It betrays itself by where it ends: trading goes on from a close, so the next candle opens there
 * or a tick beside, but the price of a frozen candle had moved on before the next one opened; and it is short of volume
 * and trades. Evidence is counted in points: decimal digits of the odds against chance.
 *
 * The constants were tuned on recorded data, see test/verify-rules.test.ts for what they find and how often they err.
 */
export interface PlausibilityTuning {
  /** Candles on each side that say what is usual just here. Half a day each way at 1h. */
  readonly neighbourCount: number;
  /** Candles on each side that say what is usual in this market at this time. Fees, ticks and hence jumps change. */
  readonly regimeCount: number;
  /**
   * At 1h, a jump below this share of the local range never counts: 99 % of BTCUSDT's are below it in every year.
   * Elsewhere the share is that times √(1h ÷ length): a price strays with the root of time, the step from one trade to
   * the next is the same in all timeframes.
   */
  readonly leastJumpShare: number;
  /** A jump counts from this many times the size that 95 % of the series' jumps stay below. Thin markets jump always. */
  readonly usualJumpFactor: number;
  /** A jump of fewer price steps is noise of the grid of prices. */
  readonly leastJumpTicks: number;
  /** Volume spreads at least so much (natural logarithm), or a dull stretch would make every quiet candle an event. */
  readonly leastSpread: number;
  /** Suspect from here. */
  readonly suspectPoints: number;
  /** Doubtful from here: suspect where other evidence points at the same candle. */
  readonly doubtfulPoints: number;
  /** Files freeze candles again and again: so many suspects near by … */
  readonly clusterCount: number;
  /** … within so many candles make the doubtful ones suspect. */
  readonly clusterReach: number;
}

export const PLAUSIBILITY: PlausibilityTuning = {
  neighbourCount: 12,
  regimeCount: 500,
  leastJumpShare: 0.01,
  usualJumpFactor: 2.5,
  leastJumpTicks: 3,
  leastSpread: 0.25,
  suspectPoints: 5,
  doubtfulPoints: 2,
  clusterCount: 2,
  clusterReach: 100,
};

/** With fewer candles than this nothing is usual. */
const LEAST_COUNT = 20;
/** What is usual is worked out once for so many candles. */
const BLOCK = 250;
const HOUR_MS = 3_600_000;

/** What speaks against one candle. */
export interface Doubt {
  readonly openTime: number;
  readonly points: number;
  readonly reasons: readonly string[];
}

/**
 * Doubts about candles, from `doubtfulPoints` up; the last one and those before a gap are never doubted, for it takes
 * the next open to judge.
 * @param candles of one series, ascending by open time; to judge a part of a series, give `regimeCount` more on each side
 */
export function doubts(
  timeframe: Timeframe,
  candles: readonly Candle[],
  tuning: PlausibilityTuning = PLAUSIBILITY,
): Doubt[] {
  if (candles.length < LEAST_COUNT) return [];
  const measured = measure(timeframe, candles, tuning);
  const leastShare = tuning.leastJumpShare * Math.sqrt(HOUR_MS / nominalMs(timeframe));
  const found: Doubt[] = [];
  for (let block = 0; block < candles.length; block += BLOCK) {
    const usual = usualAround(measured, block + BLOCK / 2, tuning);
    const end = Math.min(block + BLOCK, candles.length);
    for (let index = block; index < end; index++) {
      const candle = candles[index];
      const doubt = candle && judge(candle, measured, index, usual, leastShare, tuning);
      if (doubt) found.push(doubt);
    }
  }
  return found;
}

/**
 * Findings on candles that look frozen. Attested rows are the exchange's word and never doubted.
 * @param rows as for {@link doubts}
 */
export function implausibleFindings(
  series: Series,
  rows: readonly StoredCandle[],
  tuning: PlausibilityTuning = PLAUSIBILITY,
): FrozenFinding[] {
  const attested = new Set(
    rows.filter(({ source }) => isAttested(source)).map(({ candle }) => candle.openTime),
  );
  if (attested.size === rows.length) return [];
  const doubted = doubts(
    series.timeframe,
    rows.map(({ candle }) => candle),
    tuning,
  ).filter(({ openTime }) => !attested.has(openTime));
  const strong = doubted.filter(({ points }) => points >= tuning.suspectPoints);
  return doubted.flatMap(({ openTime, points, reasons }) => {
    const isStrong = points >= tuning.suspectPoints;
    if (!isStrong && !isNearCluster(series.timeframe, openTime, strong, tuning)) return [];
    const others = isStrong ? [] : ["others near by were frozen"];
    return [frozenFinding(series, openTime, [...reasons, ...others].join("; "), { points })];
  });
}

/**
 * Findings on the newest candle of each stretch that files brought: whoever saves a file saves the candle that is
 * forming, unless he leaves it out. Found without looking at values.
 * @param rows of one series, ascending by open time
 */
export function lastOfImportFindings(
  series: Series,
  rows: readonly StoredCandle[],
): FrozenFinding[] {
  return rows.flatMap(({ candle, source }, index) => {
    if (!isFile(source) || isFile(rows[index + 1]?.source)) return [];
    const evidence = "the newest candle of what a file brought: it may have been forming still";
    return [frozenFinding(series, candle.openTime, evidence)];
  });
}

function isFile(source: Source | undefined): boolean {
  return source === "csv" || source === "csv-partial";
}

function frozenFinding(
  series: Series,
  openTime: number,
  evidence: string,
  found?: { readonly points: number },
): FrozenFinding {
  return {
    check: "frozen",
    what: found === undefined ? "last-of-import" : "implausible",
    series,
    openTime,
    range: cellOf(series.timeframe, openTime),
    severity: "suspect",
    evidence,
    differences: [],
    ...(found === undefined ? {} : { points: found.points }),
  };
}

/** Columns of numbers, index for index with the candles; NaN where there is nothing to compare. */
interface Measured {
  /** Distance from the close to the next open. */
  readonly jump: Float64Array;
  /** The same as a share of how far the price moves just here. */
  readonly jumpShare: Float64Array;
  /** How far below its neighbours' median the volume lies, natural logarithm. */
  readonly volumeShortfall: Float64Array;
  readonly tradeShortfall: Float64Array;
  /** The smallest step of price that is seen at the candle. */
  readonly step: Float64Array;
}

function measure(
  timeframe: Timeframe,
  candles: readonly Candle[],
  { neighbourCount }: PlausibilityTuning,
): Measured {
  const column = (value: (candle: Candle) => number): Float64Array =>
    Float64Array.from(candles, value);
  const open = column((candle) => Number(candle.open));
  const close = column((candle) => Number(candle.close));
  const range = column((candle) => Number(candle.high) - Number(candle.low));
  const volume = column((candle) => logarithm(Number(candle.volume)));
  const trades = column((candle) => logarithm(candle.tradeCount));
  const empty = (): Float64Array => new Float64Array(candles.length).fill(Number.NaN);
  const [jump, jumpShare, volumeShortfall, tradeShortfall, step] = [
    ...[empty(), empty(), empty(), empty(), empty()],
  ] as [Float64Array, Float64Array, Float64Array, Float64Array, Float64Array];
  candles.forEach((candle, index) => {
    const isFollowed = candles[index + 1]?.openTime === nextOpenTime(timeframe, candle.openTime);
    // A halt explains a jump and a small volume; so does nothing traded.
    const isCut = candle.closeTime !== closeTimeOf(timeframe, candle.openTime);
    if (!isFollowed || isCut) return;
    const at = (values: Float64Array, place: number): number => values[place] ?? Number.NaN;
    const gap = Math.abs(at(open, index + 1) - at(close, index));
    const body = Math.abs(at(close, index) - at(open, index));
    const localRange = Math.max(
      medianAround(range, index, neighbourCount),
      at(range, index),
      at(range, index + 1),
    );
    jump[index] = gap;
    jumpShare[index] = localRange > 0 ? gap / localRange : 0;
    volumeShortfall[index] = medianAround(volume, index, neighbourCount) - at(volume, index);
    tradeShortfall[index] = medianAround(trades, index, neighbourCount) - at(trades, index);
    step[index] = leastPositive([gap, body, at(range, index)]);
  });
  return { jump, jumpShare, volumeShortfall, tradeShortfall, step };
}

/** What is usual in a regime of the series. */
interface Usual {
  /** 95 % of the jumps are no greater. A quantile that a few frozen candles do not move. */
  readonly jump: number;
  readonly jumpShare: number;
  /** Spread of the shortfalls, as a standard deviation. */
  readonly volumeSpread: number;
  readonly tradeSpread: number;
  readonly tick: number;
}

function usualAround(
  measured: Measured,
  centre: number,
  { regimeCount, leastSpread }: PlausibilityTuning,
): Usual {
  // As many at the ends as in the middle: the newest candles are the ones that were frozen, they must not be a crowd.
  const latest = Math.max(0, measured.jump.length - 2 * regimeCount);
  const start = Math.min(latest, Math.max(0, centre - regimeCount));
  const around = (values: Float64Array): Float64Array =>
    known(values.subarray(start, start + 2 * regimeCount));
  return {
    jump: quantile(around(measured.jump), 0.95),
    jumpShare: quantile(around(measured.jumpShare), 0.95),
    volumeSpread: Math.max(leastSpread, spread(around(measured.volumeShortfall))),
    tradeSpread: Math.max(leastSpread, spread(around(measured.tradeShortfall))),
    tick: around(measured.step)[0] ?? Number.POSITIVE_INFINITY,
  };
}

function judge(
  candle: Candle,
  measured: Measured,
  index: number,
  usual: Usual,
  leastShare: number,
  tuning: PlausibilityTuning,
): Doubt | undefined {
  const jump = measured.jump[index] ?? Number.NaN;
  const jumpShare = measured.jumpShare[index] ?? Number.NaN;
  // Without an unusual jump there is no suspicion: a quiet candle that ends where the next begins is a quiet candle.
  if (!(jump >= tuning.leastJumpTicks * usual.tick * ALMOST && jumpShare > usual.jumpShare)) return;
  const countsFrom = Math.max(leastShare, tuning.usualJumpFactor * usual.jumpShare);
  const jumpPoints = 2 * log2(Math.min(jumpShare / countsFrom, jump / usual.jump));
  const deviations = leastKnown(
    (measured.volumeShortfall[index] ?? Number.NaN) / usual.volumeSpread,
    (measured.tradeShortfall[index] ?? Number.NaN) / usual.tradeSpread,
  );
  const volumePoints = tailDigits(deviations);
  const points = jumpPoints + volumePoints;
  if (points < tuning.doubtfulPoints) return;
  const reasons: string[] = [];
  if (jumpPoints > 0) {
    const share = percent(jumpShare);
    reasons.push(
      `the next candle opens ${significant(jump)} away from its close ${candle.close}, ${share} of the usual range`,
    );
  }
  if (volumePoints > 0) {
    const share = percent(Math.exp(-(measured.volumeShortfall[index] ?? 0)));
    reasons.push(`its volume is ${share} of its neighbours'`);
  }
  return { openTime: candle.openTime, points: Math.round(points * 10) / 10, reasons };
}

function isNearCluster(
  timeframe: Timeframe,
  openTime: number,
  strong: readonly Doubt[],
  { clusterCount, clusterReach }: PlausibilityTuning,
): boolean {
  const reachMs = clusterReach * (nextOpenTime(timeframe, openTime) - openTime);
  const near = strong.filter((other) => Math.abs(other.openTime - openTime) <= reachMs);
  return near.length >= clusterCount;
}

/** Prices went through floats here: three ticks may be a hair less. */
const ALMOST = 0.999;

function logarithm(value: number): number {
  return value > 0 ? Math.log(value) : Number.NaN;
}

function log2(ratio: number): number {
  return ratio > 1 ? Math.log2(ratio) : 0;
}

/** −log10 of the chance that a normal value lies so many deviations out, within 0.1 from one deviation up; 0 below. */
function tailDigits(deviations: number): number {
  if (!(deviations > 1)) return 0;
  const density = (deviations * deviations) / 2 / Math.LN10;
  return density + Math.log10(deviations * Math.sqrt(2 * Math.PI) + 1) - 0.1;
}

/** Known values, ascending. */
function known(values: Float64Array): Float64Array {
  return values.filter((value) => !Number.isNaN(value)).sort();
}

function quantile(ascending: Float64Array, share: number): number {
  const place = Math.min(ascending.length - 1, Math.floor(share * ascending.length));
  return ascending[place] ?? Number.NaN;
}

/** Median of the known values beside a place, `count` on each side; NaN when there are too few. */
function medianAround(values: Float64Array, index: number, count: number): number {
  const near: number[] = [];
  const end = Math.min(values.length, index + count + 1);
  for (let other = Math.max(0, index - count); other < end; other++) {
    const value = values[other] ?? Number.NaN;
    if (other === index || Number.isNaN(value)) continue;
    // By insertion: twice as fast as a sort for two dozen values, and this is where the time goes.
    let place = near.length;
    for (; place > 0 && (near[place - 1] ?? 0) > value; place--) near[place] = near[place - 1] ?? 0;
    near[place] = value;
  }
  if (near.length < LEAST_NEIGHBOURS) return Number.NaN;
  return near[Math.floor(near.length / 2)] ?? Number.NaN;
}

const LEAST_NEIGHBOURS = 8;

/**
 * Standard deviation, by quantiles that outliers do not move: by the middle, or by the upper tail where that is longer,
 * as in thin markets.
 */
function spread(ascending: Float64Array): number {
  const byMiddle = quantile(known(ascending.map(Math.abs)), 0.5) / 0.6745;
  const byTail = quantile(ascending, 0.95) / 1.645;
  return Math.max(byMiddle, byTail) || 0;
}

function leastPositive(values: readonly number[]): number {
  const positive = values.filter((value) => value > 0);
  return positive.length === 0 ? Number.NaN : Math.min(...positive);
}

function leastKnown(a: number, b: number): number {
  if (Number.isNaN(a)) return b;
  return Number.isNaN(b) ? a : Math.min(a, b);
}

function percent(share: number): string {
  return `${significant(share * 100)} %`;
}

function significant(value: number): string {
  return String(Number(value.toPrecision(3)));
}
