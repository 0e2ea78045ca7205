import { finerTimeframes } from "./aggregate.ts";
import {
  isAttested,
  type StoredCandle,
  type TimeframesFinding,
  type ValueDifference,
} from "./findings.ts";
import type { TimeRange } from "./range.ts";
import {
  type Cell,
  compareCandles,
  type IsDoubtful,
  type Reconciliation,
  reconcileCell,
  type Suspect,
} from "./reconcile.ts";
import type { Series } from "./series.ts";
import { cellOf, nextOpenTime, TIMEFRAMES, type Timeframe } from "./timeframe.ts";

/** Every stored timeframe of a symbol against the finer ones of which it is made. */

/** Stored candles of one timeframe. */
export interface TimeframeRows {
  readonly timeframe: Timeframe;
  /** Ascending by open time. */
  readonly rows: readonly StoredCandle[];
  /** Stretches in which the exchange confirmed to have none. */
  readonly confirmedGaps?: readonly TimeRange[];
}

/** With two accounts of a cell besides the candle itself, two can agree against one. More would say the same again. */
const ACCOUNTS = 2;

type Compared = Exclude<Reconciliation, { readonly kind: "not-comparable" }>;

interface Account {
  readonly cell: Cell;
  readonly result: Compared;
}

/**
 * Compares every coarser candle with the finer ones that cover its cell, with the longest two timeframes that do. A
 * candle is named once, with the first evidence.
 * @param all timeframes of one symbol; a cell is judged where all of it is given, so cut ranges at edges of the longest
 * @returns in order of timeframe and time
 */
export function timeframeFindings(
  instrument: Pick<Series, "exchange" | "symbol">,
  all: readonly TimeframeRows[],
  isDoubtful?: IsDoubtful,
): TimeframesFinding[] {
  const byTimeframe = new Map(all.map((each) => [each.timeframe, each]));
  const found = new Map<string, TimeframesFinding>();
  const named = new Set<string>();
  for (const timeframe of TIMEFRAMES) {
    const coarser = byTimeframe.get(timeframe);
    if (coarser === undefined) continue;
    const finer = finerTimeframes(timeframe).flatMap((each) => byTimeframe.get(each) ?? []);
    const cursors = finer.map((each) => new Cursor(each));
    coarser.rows.forEach((row, index) => {
      const nextOpen = openAfter(timeframe, row, coarser.rows[index + 1]);
      const accounts = accountsOf(timeframe, row, nextOpen, cursors, isDoubtful);
      for (const finding of judge(instrument, accounts, named)) {
        const key = nameOf(finding.series.timeframe, finding.openTime);
        if (finding.what === "contradiction") named.add(key);
        if (!found.has(`${key} ${finding.what}`)) found.set(`${key} ${finding.what}`, finding);
      }
    });
  }
  return [...found.values()];
}

/** Finds the rows of one cell after another without searching. */
class Cursor {
  readonly timeframe: Timeframe;
  readonly confirmedGaps: readonly TimeRange[];
  readonly #rows: readonly StoredCandle[];
  #next = 0;

  constructor({ timeframe, rows, confirmedGaps = [] }: TimeframeRows) {
    this.timeframe = timeframe;
    this.confirmedGaps = confirmedGaps;
    this.#rows = rows;
  }

  /** Rows that open in the range; each call with a later range. */
  take({ from, to }: TimeRange): StoredCandle[] {
    const taken: StoredCandle[] = [];
    for (; ; this.#next++) {
      const row = this.#rows[this.#next];
      if (row === undefined || row.candle.openTime >= to) return taken;
      if (row.candle.openTime >= from) taken.push(row);
    }
  }
}

function openAfter(
  timeframe: Timeframe,
  { candle }: StoredCandle,
  next: StoredCandle | undefined,
): string | undefined {
  const isNext = next?.candle.openTime === nextOpenTime(timeframe, candle.openTime);
  return isNext ? next?.candle.open : undefined;
}

function accountsOf(
  coarser: Timeframe,
  row: StoredCandle,
  nextOpen: string | undefined,
  cursors: readonly Cursor[],
  isDoubtful: IsDoubtful | undefined,
): Account[] {
  const accounts: Account[] = [];
  const range = cellOf(coarser, row.candle.openTime);
  for (const cursor of cursors) {
    // Every cursor moves on, also where its rows are not needed.
    const parts = cursor.take(range);
    if (accounts.length >= ACCOUNTS || parts.length === 0) continue;
    const { timeframe: finer, confirmedGaps } = cursor;
    const cell = {
      ...{ coarser, row, finer, parts, confirmedGaps },
      ...(nextOpen === undefined ? {} : { nextOpen }),
    };
    const result = reconcileCell(cell, isDoubtful);
    if (result.kind !== "not-comparable") accounts.push({ cell, result });
  }
  return accounts;
}

function nameOf(timeframe: Timeframe, openTime: number): string {
  return `${timeframe} ${openTime}`;
}

/** @param named candles that were found suspect before: where they take part, they explain what differs */
function judge(
  instrument: Pick<Series, "exchange" | "symbol">,
  accounts: readonly Account[],
  named: ReadonlySet<string>,
): TimeframesFinding[] {
  return accounts.flatMap((account) => {
    const { cell, result } = account;
    if (result.kind === "same") return [];
    if (result.kind === "rounding") {
      const evidence = `differs from its candles of ${cell.finer} by what floats lose`;
      return [finding(instrument, account, { what: "rounding", severity: "info", evidence })];
    }
    const isExplained =
      result.suspects.length === 0 &&
      cell.parts.some(({ candle }) => named.has(nameOf(cell.finer, candle.openTime)));
    if (isExplained) return [];
    const suspects = result.suspects.length > 0 ? result.suspects : outvoted(account, accounts);
    if (suspects.length > 0) {
      return suspects.map((suspect) => contradiction(instrument, account, suspect));
    }
    const isFinal = [cell.row, ...cell.parts].every(({ source }) => isAttested(source));
    const evidence = `${isFinal ? "the exchange contradicts itself: " : ""}differs from its candles of ${cell.finer}, and nothing says which is wrong`;
    const severity = isFinal ? "info" : "suspect";
    return [finding(instrument, account, { what: "disagreement", severity, evidence })];
  });
}

/** The side that a third account speaks against. */
function outvoted({ cell, result }: Account, accounts: readonly Account[]): Suspect[] {
  const others = accounts.filter((other) => other.result !== result);
  const range = cellOf(cell.coarser, cell.row.candle.openTime);
  const isOpen = (rows: readonly StoredCandle[]): boolean =>
    rows.some(({ source }) => !isAttested(source));
  for (const other of others) {
    const { finer } = other.cell;
    const whole = { openTime: range.from, range };
    if (other.result.kind !== "different") {
      if (!isOpen(cell.parts)) continue;
      const evidence = `contradicts ${cell.coarser} and ${finer}, which agree`;
      return [{ side: "finer", ...whole, evidence }];
    }
    if (compareCandles(result.made, other.result.made).kind === "different") continue;
    if (!isOpen([cell.row])) continue;
    const evidence = `contradicts ${cell.finer} and ${finer}, which agree`;
    return [{ side: "coarser", ...whole, evidence }];
  }
  return [];
}

function contradiction(
  instrument: Pick<Series, "exchange" | "symbol">,
  account: Account,
  { side, openTime, range, evidence }: Suspect,
): TimeframesFinding {
  const { cell, result } = account;
  const isCoarser = side === "coarser";
  return {
    check: "timeframes",
    what: "contradiction",
    series: { ...instrument, timeframe: isCoarser ? cell.coarser : cell.finer },
    against: isCoarser ? cell.finer : cell.coarser,
    suspectSide: side,
    ...{ openTime, range, severity: "suspect", evidence },
    differences: isCoarser ? result.differences : result.differences.map(swapped),
  };
}

function finding(
  instrument: Pick<Series, "exchange" | "symbol">,
  { cell, result }: Account,
  said: Pick<TimeframesFinding, "what" | "severity" | "evidence">,
): TimeframesFinding {
  const { openTime } = cell.row.candle;
  return {
    check: "timeframes",
    series: { ...instrument, timeframe: cell.coarser },
    against: cell.finer,
    ...{ openTime, range: cellOf(cell.coarser, openTime) },
    ...said,
    differences: result.differences,
  };
}

/** The same difference, seen from the finer candles. */
function swapped({ field, actual, expected }: ValueDifference): ValueDifference {
  return { field, actual: expected, expected: actual };
}
