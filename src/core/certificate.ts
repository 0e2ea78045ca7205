import { type Absence, explainAbsences } from "./absences.ts";
import { type Candle, DECIMAL_FIELDS } from "./candle.ts";
import { shortestDecimal } from "./decimal.ts";
import { type Finding, isAttested, type Severity, type StoredCandle } from "./findings.ts";
import type { Gap } from "./gaps.ts";
import type { TimeRange } from "./range.ts";
import { type Series, seriesKey } from "./series.ts";
import { ceilOpenTime, cellOf, countOpenTimes } from "./timeframe.ts";

/**
 * What a series holds in a range, on one page: counts, a reason for every absence, and a hash that two installations
 * with equal data share. The hash is of the text that {@link CertificateTally} gives; hashing itself is the shell's.
 */
export interface Certificate {
  readonly series: Series;
  /** Half-open, edges on the grid. */
  readonly range: TimeRange;
  /** Candles that the calendar has in the range. */
  readonly expectedCount: number;
  /** Of these, how many hold a candle. */
  readonly presentCount: number;
  /** Stored rows. Off the grid (Binance 2017-12, 2018-02) a cell may hold two. */
  readonly rowCount: number;
  readonly absentCounts: Readonly<Partial<Record<Absence["reason"], number>>>;
  /** Rows that are the exchange's settled word: archives and REST. */
  readonly confirmedCount: number;
  /** 0 … 1; 1 where there are no rows. */
  readonly confirmedShare: number;
  readonly findingCounts: Readonly<Record<Severity, number>>;
  /** True when every absence has a confirmed reason and no finding is above `info`. */
  readonly isClean: boolean;
  readonly hash: string;
}

/**
 * One row of the text that is hashed. Decimals by value: `1.0` and `1.00` are the same candle. Not in it: by which road
 * and when the row came, for two installations may have equal data by different roads.
 */
export function certificateLine(candle: Candle): string {
  const decimals = DECIMAL_FIELDS.map((field) => shortestDecimal(candle[field]));
  return `${[candle.openTime, candle.closeTime, candle.tradeCount, ...decimals].join(" ")}\n`;
}

/** Counts the rows of a series as they are read, so that a certificate needs no more memory than a page of them. */
export class CertificateTally {
  readonly series: Series;
  readonly range: TimeRange;
  #rowCount = 0;
  #confirmedCount = 0;
  /** First cell that no row accounted for yet. */
  #due: number;
  readonly #missing: TimeRange[] = [];

  /** @param range the edges need not be aligned; a candle belongs to it when its cell opens in it */
  constructor(series: Series, range: TimeRange) {
    const from = ceilOpenTime(series.timeframe, range.from);
    this.series = series;
    this.range = { from, to: Math.max(from, ceilOpenTime(series.timeframe, range.to)) };
    this.#due = this.range.from;
  }

  /** First part of the text that is hashed: what it is about, and the version of its form. */
  head(): string {
    return `black-trade candles 1 ${seriesKey(this.series)} ${this.range.from} ${this.range.to}\n`;
  }

  /**
   * Counts rows.
   * @param rows ascending by open time, after those of the calls before; those outside the range are passed over
   * @returns the next part of the text that is hashed
   */
  add(rows: readonly StoredCandle[]): string {
    let text = "";
    for (const { candle, source } of rows) {
      const { openTime } = candle;
      if (openTime < this.range.from || openTime >= this.range.to) continue;
      const cell = cellOf(this.series.timeframe, openTime);
      if (cell.from > this.#due) this.#missing.push({ from: this.#due, to: cell.from });
      this.#due = cell.to;
      this.#rowCount++;
      if (isAttested(source)) this.#confirmedCount++;
      text += certificateLine(candle);
    }
    return text;
  }

  /** Stretches without rows, once all rows were added. */
  missing(): TimeRange[] {
    const rest = { from: this.#due, to: this.range.to };
    return rest.from < rest.to ? [...this.#missing, rest] : [...this.#missing];
  }

  /**
   * The certificate, once all rows were added.
   * @param gaps the ledger of the series
   * @param findings of the series in the range; absences are counted here and need not be among them
   * @param hash of `head()` and all that `add` gave, as text
   */
  finish(gaps: readonly Gap[], findings: readonly Finding[], hash: string): Certificate {
    const { series, range } = this;
    const absences = explainAbsences(this.missing(), gaps);
    const absentCounts: Partial<Record<Absence["reason"], number>> = {};
    for (const { reason, range: stretch } of absences) {
      const count = countOpenTimes(series.timeframe, stretch);
      absentCounts[reason] = (absentCounts[reason] ?? 0) + count;
    }
    const absentCount = Object.values(absentCounts).reduce((sum, count) => sum + count, 0);
    const expectedCount = countOpenTimes(series.timeframe, range);
    const findingCounts = { info: 0, suspect: 0, wrong: 0 };
    for (const { severity } of findings) findingCounts[severity]++;
    return {
      ...{ series, range, expectedCount, absentCounts, findingCounts, hash },
      presentCount: expectedCount - absentCount,
      rowCount: this.#rowCount,
      confirmedCount: this.#confirmedCount,
      confirmedShare: this.#rowCount === 0 ? 1 : this.#confirmedCount / this.#rowCount,
      isClean:
        findingCounts.suspect + findingCounts.wrong === 0 &&
        absences.every(({ isConfirmed }) => isConfirmed),
    };
  }
}
