import { aggregate, hasTrades } from "./aggregate.ts";
import type { Candle } from "./candle.ts";
import { addDecimals, compareDecimals, isZeroDecimal } from "./decimal.ts";
import {
  isAttested,
  type StoredCandle,
  VALUE_FIELDS,
  type ValueDifference,
  type ValueField,
  valueText,
} from "./findings.ts";
import { missingRanges } from "./gaps.ts";
import { subtractRanges, type TimeRange } from "./range.ts";
import { cellOf, countOpenTimes, isAligned, type Timeframe } from "./timeframe.ts";

/**
 * One timeframe against another: a coarser candle says the same as the finer ones of its cell together. It finds what
 * no check of one series can prove: a candle that was saved while forming and looks like any other.
 */

/** A coarser candle and the finer ones that open in its cell. */
export interface Cell {
  readonly coarser: Timeframe;
  readonly row: StoredCandle;
  readonly finer: Timeframe;
  /** Ascending. */
  readonly parts: readonly StoredCandle[];
  /** Stretches in which the exchange confirmed to have no candles of the finer timeframe. */
  readonly confirmedGaps?: readonly TimeRange[];
  /** Open of whichever candle follows the cell, when one is stored: where trading really went on. */
  readonly nextOpen?: string;
}

/** True for a candle that its own series gives reason to doubt (`doubts` of plausibility.ts). */
export type IsDoubtful = (timeframe: Timeframe, openTime: number) => boolean;

/** A candle, or where none can be named several, that the comparison speaks against. */
export interface Suspect {
  readonly side: "coarser" | "finer";
  readonly openTime: number;
  /** Cells to ask the exchange for, edges on the grid of its side. */
  readonly range: TimeRange;
  readonly evidence: string;
}

export type Reconciliation =
  | {
      readonly kind: "not-comparable";
      /** `off-grid` = finer candles lie across the edges of the cell. */
      readonly reason: "incomplete" | "off-grid";
    }
  | {
      readonly kind: "same" | "rounding" | "different";
      /** What the finer candles make up. */
      readonly made: Candle;
      /** Fields that differ; `actual` = the coarser candle's, `expected` = the finer ones'. Empty when `same`. */
      readonly differences: readonly ValueDifference[];
      /** Only of `different`; empty = neither side can be named. */
      readonly suspects: readonly Suspect[];
      /** How many finer candles the exchange never had. */
      readonly absentCount: number;
    };

/**
 * Sums that went through floats are off by some 1e-16 of their value, 6e-16 in the CSV store that this system replaces;
 * files that keep two decimals of a quote volume by some 1e-9. Trades that are missing show in their count besides.
 */
const ROUNDING = 1e-9;

/** Compares a coarser candle with what the finer ones make up, and says which side is suspect where one must be. */
export function reconcileCell(cell: Cell, isDoubtful: IsDoubtful = () => false): Reconciliation {
  const range = cellOf(cell.coarser, cell.row.candle.openTime);
  const openTimes = cell.parts.map(({ candle }) => candle.openTime);
  const isOffGrid =
    range.from !== cell.row.candle.openTime ||
    openTimes.some((openTime) => !isAligned(cell.finer, openTime));
  if (isOffGrid) return { kind: "not-comparable", reason: "off-grid" };
  const missing = missingRanges(cell.finer, openTimes, range);
  const isIncomplete = missing.some(
    (stretch) => subtractRanges(stretch, cell.confirmedGaps ?? []).length > 0,
  );
  const parts = cell.parts.map(({ candle }) => candle);
  const made = aggregate(cell.coarser, range.from, parts);
  if (isIncomplete || made === undefined) return { kind: "not-comparable", reason: "incomplete" };
  const found = compareCandles(cell.row.candle, made, untoldFields([cell.row.candle, ...parts]));
  const { kind, differences } = found;
  const absentCount = missing.reduce(
    (sum, stretch) => sum + countOpenTimes(cell.finer, stretch),
    0,
  );
  const suspects =
    kind === "different" ? nameSuspects(cell, made, new Set(found.real), isDoubtful) : [];
  return { kind, made, differences, suspects, absentCount };
}

/**
 * Differences of two accounts of one candle, field by field; times do not count.
 * @returns `rounding` when no field differs by more than floats do, and `real` = the fields that do
 */
export function compareCandles(
  stored: Candle,
  made: Candle,
  untold: ReadonlySet<ValueField> = untoldFields([stored, made]),
): {
  readonly kind: "same" | "rounding" | "different";
  readonly differences: ValueDifference[];
  readonly real: ValueField[];
} {
  const differing = VALUE_FIELDS.filter(
    (field) =>
      field !== "closeTime" &&
      !untold.has(field) &&
      compareDecimals(valueText(stored, field), valueText(made, field)) !== 0,
  );
  // Other trades in it: then the volumes differ for a reason, however little.
  const isOtherTrades = differing.includes("tradeCount");
  const real = differing.filter(
    (field) =>
      isOtherTrades || !isRounding(field, valueText(stored, field), valueText(made, field)),
  );
  return {
    kind: real.length > 0 ? "different" : differing.length > 0 ? "rounding" : "same",
    differences: differing.map((field) => ({
      field,
      actual: valueText(stored, field),
      expected: valueText(made, field),
    })),
    real,
  };
}

function isRounding(field: ValueField, a: string, b: string): boolean {
  if (!SUMS.has(field)) return false;
  const [x, y] = [Number(a), Number(b)];
  return Math.abs(x - y) <= ROUNDING * Math.max(x, y);
}

/** Fields that are sums of many numbers, and long ones. Prices have few digits and survive a float. */
const SUMS: ReadonlySet<ValueField> = new Set<ValueField>([
  ...(["volume", "quoteVolume", "takerBuyVolume", "takerBuyQuoteVolume"] as const),
]);

/**
 * Fields of which some candle has only a zero where there was a value: Binance's counts and taker columns of
 * 2017 … 2019, and what files of other systems do not have.
 */
function untoldFields(candles: readonly Candle[]): Set<ValueField> {
  const untold = new Set<ValueField>();
  for (const candle of candles) {
    if (isZeroDecimal(candle.volume)) continue;
    if (isZeroDecimal(candle.quoteVolume)) untold.add("quoteVolume").add("takerBuyQuoteVolume");
    if (candle.tradeCount > 0) continue;
    untold.add("tradeCount");
    if (!isZeroDecimal(candle.takerBuyVolume)) continue;
    untold.add("takerBuyVolume").add("takerBuyQuoteVolume");
  }
  return untold;
}

function nameSuspects(
  cell: Cell,
  made: Candle,
  real: ReadonlySet<ValueField>,
  isDoubtful: IsDoubtful,
): Suspect[] {
  const short = shorterSide(cell.row.candle, made, real);
  const suspects =
    short === "coarser"
      ? coarserSuspects(cell, made, real, isDoubtful)
      : short === "finer"
        ? finerSuspects(cell, made, real, isDoubtful)
        : [];
  const open = suspects.filter((suspect) => !isAttestedSide(cell, suspect));
  return open.length > 0 ? open : suspectsByAuthority(cell);
}

/** The side that has less traded in it. A candle that was saved too early has less, never more. */
function shorterSide(
  stored: Candle,
  made: Candle,
  real: ReadonlySet<ValueField>,
): "coarser" | "finer" | undefined {
  const signs = (["volume", "tradeCount"] as const)
    .filter((field) => real.has(field))
    .map((field) => Math.sign(compareDecimals(valueText(stored, field), valueText(made, field))));
  if (signs.length === 0 || signs.some((sign) => sign !== signs[0])) return undefined;
  return (signs[0] ?? 0) < 0 ? "coarser" : "finer";
}

/**
 * The coarser candle has less than its parts. Where it also ends elsewhere than they do it was saved too early. Binance's
 * own contradictions end alike: trades are missing from the middle of one account.
 */
function coarserSuspects(
  cell: Cell,
  made: Candle,
  real: ReadonlySet<ValueField>,
  isDoubtful: IsDoubtful,
): Suspect[] {
  const { candle } = cell.row;
  const partCount = cell.parts.length;
  const wholeParts = partsBefore(cell);
  const endsEarly = wholeParts !== undefined && wholeParts < partCount - 1;
  const isTorn = isDoubtful(cell.coarser, candle.openTime);
  if (!real.has("close") && !endsEarly && !isTorn) return [];
  const reasons = [`has ${amountText(candle, made)} of its ${partCount} candles of ${cell.finer}`];
  if (real.has("close"))
    reasons.push(`closes at ${candle.close} where they close at ${made.close}`);
  if (endsEarly) reasons.push(`looks as it did when ${wholeParts} of them had ended`);
  return [coarserSuspect(cell, reasons.join(", "))];
}

/**
 * How many of the parts had ended when the coarser candle looked as it is stored.
 * @returns `undefined` when it never looked so
 */
function partsBefore({ coarser, row, parts }: Cell): number | undefined {
  const stored = row.candle;
  const candles = parts.map(({ candle }) => candle);
  let volume = "0";
  const count = candles.findIndex((part) => {
    volume = addDecimals(volume, part.volume);
    return compareDecimals(volume, stored.volume) > 0;
  });
  const part = candles[count];
  const present = aggregate(coarser, stored.openTime, candles.slice(0, count + 1));
  if (part === undefined || present === undefined) return undefined;
  const past = aggregate(coarser, stored.openTime, candles.slice(0, count));
  const isBetween =
    isWithin(stored, present) && (past === undefined || !hasTrades(past) || isWithin(past, stored));
  const closesThere =
    (compareDecimals(stored.close, part.low) >= 0 &&
      compareDecimals(stored.close, part.high) <= 0) ||
    (past !== undefined && compareDecimals(stored.close, past.close) === 0);
  return isBetween && closesThere ? count : undefined;
}

/** True when the first may be an earlier look at the second. A count of 0 may stand for none told. */
function isWithin(earlier: Candle, later: Candle): boolean {
  return (
    compareDecimals(earlier.high, later.high) <= 0 &&
    compareDecimals(earlier.low, later.low) >= 0 &&
    (earlier.tradeCount <= later.tradeCount || later.tradeCount === 0)
  );
}

/**
 * Some of the finer candles have too little. Which: those that their own series gives reason to doubt, and where their
 * close is not the coarser one's, those that it comes from.
 */
function finerSuspects(
  cell: Cell,
  made: Candle,
  real: ReadonlySet<ValueField>,
  isDoubtful: IsDoubtful,
): Suspect[] {
  const { coarser, finer, parts, nextOpen } = cell;
  const { candle } = cell.row;
  const together = `the ${parts.length} candles of ${finer} have ${amountText(made, candle)} of their ${coarser}`;
  const doubtful = parts
    .filter((part) => isDoubtful(finer, part.candle.openTime))
    .map((part) =>
      finerSuspect(cell, part, `${together}, and the next candle does not open at its close`),
    );
  if (!real.has("close")) return doubtful;
  const found = [...doubtful];
  // The coarser candle has more, but may have been saved early too, only later than its last part.
  if (nextOpen !== undefined && !isMuchNearer(candle.close, made.close, nextOpen)) {
    const evidence = `closes at ${candle.close} where its candles of ${finer} close at ${made.close} and the next candle opens at ${nextOpen}`;
    found.push(coarserSuspect(cell, evidence));
  }
  if (nextOpen !== undefined && isMuchNearer(made.close, candle.close, nextOpen)) return found;
  const ending = endingParts(cell);
  const [first, last] = [ending[0], ending.at(-1)];
  const isNamed = ending.some(({ candle: { openTime } }) =>
    doubtful.some((each) => each.openTime === openTime),
  );
  if (first === undefined || last === undefined || isNamed) return found;
  const evidence = `${together}, and close at ${made.close} where that closes at ${candle.close}`;
  const range = { from: first.candle.openTime, to: cellOf(finer, last.candle.openTime).to };
  return [...found, { ...finerSuspect(cell, first, evidence), range }];
}

/**
 * The finer candles one of which must be wrong when the close is: the last that has trades, and those without trades
 * after it, up to the first that stands at the coarser one's close and so knew of later trades.
 */
function endingParts({ row, parts }: Cell): readonly StoredCandle[] {
  const lastTraded = parts.findLastIndex(({ candle }) => hasTrades(candle));
  const ending = parts.slice(Math.max(0, lastTraded));
  const knows = ending.findIndex(
    ({ candle }) => compareDecimals(candle.close, row.candle.close) === 0,
  );
  return knows < 0 ? ending : ending.slice(0, knows);
}

/** True when trading clearly ended at `a` and not at `b`: the next candle opened there. */
function isMuchNearer(a: string, b: string, nextOpen: string): boolean {
  const distance = (price: string): number => Math.abs(Number(price) - Number(nextOpen));
  return distance(a) * MUCH <= distance(b);
}

/** A close is a tick or two from the next open; what was saved early lies many ticks away. */
const MUCH = 4;

/** Where one whole side is the exchange's word, and the other is not, the other is suspect without more evidence. */
function suspectsByAuthority(cell: Cell): Suspect[] {
  const isCoarserAttested = isAttested(cell.row.source);
  const open = cell.parts.filter(({ source }) => !isAttested(source));
  const [first, last] = [open[0], open.at(-1)];
  if (!isCoarserAttested && open.length === 0) {
    const evidence = `contradicts its candles of ${cell.finer}, which the exchange attested`;
    return [coarserSuspect(cell, evidence)];
  }
  if (!isCoarserAttested || first === undefined || last === undefined) return [];
  const range = {
    from: first.candle.openTime,
    to: cellOf(cell.finer, last.candle.openTime).to,
  };
  const evidence = `contradicts the candle of ${cell.coarser}, which the exchange attested`;
  return [{ side: "finer", openTime: range.from, range, evidence }];
}

function isAttestedSide({ row, parts }: Cell, { side, range }: Suspect): boolean {
  if (side === "coarser") return isAttested(row.source);
  return parts
    .filter(({ candle: { openTime } }) => openTime >= range.from && openTime < range.to)
    .every(({ source }) => isAttested(source));
}

function coarserSuspect({ coarser, row }: Cell, evidence: string): Suspect {
  const { openTime } = row.candle;
  return { side: "coarser", openTime, range: cellOf(coarser, openTime), evidence };
}

function finerSuspect({ finer }: Cell, { candle }: StoredCandle, evidence: string): Suspect {
  const { openTime } = candle;
  return { side: "finer", openTime, range: cellOf(finer, openTime), evidence };
}

/** How much of the greater the smaller has, for people. */
function amountText(smaller: Candle, greater: Candle): string {
  if (compareDecimals(smaller.volume, greater.volume) === 0) {
    return `${smaller.tradeCount} of the ${greater.tradeCount} trades`;
  }
  const percent = (Number(smaller.volume) / Number(greater.volume)) * 100;
  // What is not all of it is not rounded to 100.
  return `${Math.min(99.99, Math.round(percent * 100) / 100)} % of the volume`;
}
