import type { Candle } from "./candle.ts";
import { compareDecimals } from "./decimal.ts";
import {
  isAttested,
  type StoredCandle,
  type StructureDefect,
  type StructureFinding,
} from "./findings.ts";
import type { Series } from "./series.ts";
import { cellOf, closeTimeOf, isAligned, nominalMs, type Timeframe } from "./timeframe.ts";
import { validateCandle } from "./validate.ts";

/** Structure of stored candles: what can be seen without comparing values with anything else. */

interface Defect {
  readonly what: StructureDefect;
  readonly evidence: string;
  /** True when no exchange ever served such a row: proved wrong, not only odd. */
  readonly isImpossible?: boolean;
}

/**
 * Findings on the build of stored candles, one for each defect. What is only odd (off the grid, cut short, …) is real
 * data where an attested road brought it, and suspect where not.
 * @param rows of one series, ascending by open time
 */
export function structureFindings(
  series: Series,
  rows: readonly StoredCandle[],
): StructureFinding[] {
  return [...defectFindings(series, rows), ...untoldFindings(series, rows)];
}

/** Stretches of rows that a file without all columns brought. */
function untoldFindings(series: Series, rows: readonly StoredCandle[]): StructureFinding[] {
  const findings: StructureFinding[] = [];
  let isOpen = false;
  for (const { candle, source } of rows) {
    const { from, to } = cellOf(series.timeframe, candle.openTime);
    const last = findings.at(-1);
    if (source === "csv-partial" && isOpen && last !== undefined) {
      findings[findings.length - 1] = { ...last, range: { from: last.range.from, to } };
    } else if (source === "csv-partial") {
      findings.push({
        ...{ check: "structure", what: "untold", series, openTime: candle.openTime },
        ...{ range: { from, to }, severity: "info", differences: [] },
        evidence:
          "from a file without all columns: a zero volume, quote volume, trade count or taker buy was not told there",
      });
    }
    isOpen = source === "csv-partial";
  }
  return findings;
}

function defectFindings(series: Series, rows: readonly StoredCandle[]): StructureFinding[] {
  return rows.flatMap((row, index) => {
    const defects = [
      ...ownDefects(series.timeframe, row),
      ...placeDefects(series.timeframe, row.candle, rows[index - 1]?.candle),
    ];
    return defects.map(({ what, evidence, isImpossible }) => ({
      check: "structure" as const,
      what,
      series,
      openTime: row.candle.openTime,
      range: cellOf(series.timeframe, row.candle.openTime),
      severity: isImpossible ? "wrong" : isAttested(row.source) ? "info" : "suspect",
      evidence,
      differences: [],
    }));
  });
}

function ownDefects(timeframe: Timeframe, { candle, source }: StoredCandle): Defect[] {
  const rejection = validateCandle(candle, Number.MAX_SAFE_INTEGER);
  if (rejection !== undefined) {
    return [{ what: "malformed", evidence: rejection.detail, isImpossible: true }];
  }
  // What was not told cannot contradict what was.
  const isTold = source !== "csv-partial";
  return [...timeDefects(timeframe, candle), ...(isTold ? valueDefects(candle) : [])];
}

function timeDefects(timeframe: Timeframe, { openTime, closeTime }: Candle): Defect[] {
  const defects: Defect[] = [];
  const isOnGrid = isAligned(timeframe, openTime);
  const { from } = cellOf(timeframe, openTime);
  // An off-grid candle may go on over the edge of its cell, for a full length at most.
  const due = isOnGrid
    ? closeTimeOf(timeframe, openTime)
    : Math.max(closeTimeOf(timeframe, openTime), openTime + nominalMs(timeframe) - 1);
  if (!isOnGrid) {
    const evidence = `opens ${openTime - from} ms after its place on the grid`;
    defects.push({ what: "off-grid", evidence });
  }
  if (closeTime < openTime) {
    const evidence = `closes ${openTime - closeTime} ms before it opens`;
    defects.push({ what: "closes-before-it-opens", evidence });
  } else if (closeTime > due) {
    const evidence = `closes ${closeTime - due} ms after the end of its cell`;
    defects.push({ what: "closes-late", evidence });
  } else if (isOnGrid && closeTime < due) {
    const evidence = `closes ${due - closeTime} ms before the end of its cell, as at a halt`;
    defects.push({ what: "cut-short", evidence });
  }
  return defects;
}

function valueDefects(candle: Candle): Defect[] {
  const defects: Defect[] = [];
  const { low, high, volume, quoteVolume, takerBuyVolume, takerBuyQuoteVolume } = candle;
  if (isMeanPriceOutside(candle)) {
    const evidence = `quote volume ${quoteVolume} for volume ${volume} is a mean price outside ${low} … ${high}`;
    defects.push({ what: "mean-price-outside-range", evidence });
  }
  if (compareDecimals(takerBuyVolume, volume) > 0) {
    const evidence = `takers bought ${takerBuyVolume} of ${volume}`;
    defects.push({ what: "takers-exceed-volume", evidence });
  } else if (compareDecimals(takerBuyQuoteVolume, quoteVolume) > 0 && !isUntold(quoteVolume)) {
    const evidence = `takers paid ${takerBuyQuoteVolume} of ${quoteVolume}`;
    defects.push({ what: "takers-exceed-volume", evidence });
  }
  return defects;
}

/** Room for the exchange's rounding of each trade, and for values that went through floats. */
const MEAN_PRICE_TOLERANCE = 1e-6;
const TRADE_ROUNDING = 1e-8;

/** Each trade's quote volume is price × volume, so their sum lies within low … high times the volume. */
function isMeanPriceOutside(candle: Candle): boolean {
  if (isUntold(candle.quoteVolume)) return false;
  const [low, high, volume, quote] = [
    ...[Number(candle.low), Number(candle.high)],
    ...[Number(candle.volume), Number(candle.quoteVolume)],
  ] as [number, number, number, number];
  const slack = TRADE_ROUNDING * (candle.tradeCount + 1);
  const isAbove = quote > high * volume * (1 + MEAN_PRICE_TOLERANCE) + slack;
  return isAbove || quote < low * volume * (1 - MEAN_PRICE_TOLERANCE) - slack;
}

/** Files of other systems have no quote volume; it is stored as zero. */
function isUntold(quoteVolume: string): boolean {
  return compareDecimals(quoteVolume, "0") === 0;
}

function placeDefects(
  timeframe: Timeframe,
  { openTime }: Candle,
  previous: Candle | undefined,
): Defect[] {
  if (previous === undefined) return [];
  if (previous.openTime === openTime) {
    return [{ what: "repeated", evidence: "stored twice", isImpossible: true }];
  }
  if (previous.openTime < cellOf(timeframe, openTime).from) return [];
  const evidence = `opens ${openTime - previous.openTime} ms after another candle of the same cell`;
  return [{ what: "shares-cell", evidence }];
}
