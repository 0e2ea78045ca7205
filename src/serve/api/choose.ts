import { nearest } from "../../core/nearest.ts";
import type { TimeRange } from "../../core/range.ts";
import type { Series } from "../../core/series.ts";
import type { ServeParts } from "../parts.ts";
import { HttpProblem } from "../problem.ts";

/** Names of one series, as a request gives them. */
export interface SeriesNames {
  readonly symbol: string;
  readonly timeframe: Series["timeframe"];
  readonly exchange?: string | undefined;
}

/**
 * The series that a request names.
 * @throws {HttpProblem} 404 with what there is; 400 when several exchanges have it
 */
export async function seriesOf(parts: ServeParts, names: SeriesNames): Promise<Series> {
  const all = await parts.queries.series();
  const found = all.filter(
    ({ exchange, symbol, timeframe }) =>
      symbol === names.symbol &&
      timeframe === names.timeframe &&
      (names.exchange === undefined || exchange === names.exchange),
  );
  const [one] = found;
  if (one !== undefined && found.length === 1) return one;
  if (one !== undefined) {
    throw new HttpProblem("E_HTTP_REQUEST", "several exchanges have this series", {
      remedy: `Say which: exchange=${found.map(({ exchange }) => exchange).join(" or exchange=")}.`,
    });
  }
  throw new HttpProblem(
    "E_HTTP_NOT_FOUND",
    `${JSON.stringify(names.symbol)} ${names.timeframe} is not collected`,
    { remedy: hintOf(all, names) },
  );
}

function hintOf(all: readonly Series[], { symbol }: SeriesNames): string {
  const same = all.filter((one) => one.symbol === symbol).map(({ timeframe }) => timeframe);
  if (same.length > 0) return `Of this symbol there is: ${same.join(" ")}.`;
  const meant = nearest(symbol, [...new Set(all.map((one) => one.symbol))]);
  const hint = meant === undefined ? "" : `Did you mean ${meant}? `;
  return `${hint}See /api/v1/series; to collect another one, add it to TRADING_PAIRS and TIMEFRAMES.`;
}

/** The series that lists of symbols and timeframes leave. */
export async function chosenSeries(
  parts: ServeParts,
  choice: {
    readonly symbols?: readonly string[] | undefined;
    readonly timeframes?: readonly string[] | undefined;
    readonly exchange?: string | undefined;
  },
): Promise<readonly Series[]> {
  const symbols = choice.symbols?.map((symbol) => symbol.toUpperCase());
  return (await parts.queries.series()).filter(
    ({ exchange, symbol, timeframe }) =>
      (symbols === undefined || symbols.includes(symbol)) &&
      (choice.timeframes === undefined || choice.timeframes.includes(timeframe)) &&
      (choice.exchange === undefined || choice.exchange === exchange),
  );
}

/** @throws {HttpProblem} 400 when the range is empty or turned round */
export function checkedRange(from: number, to: number): TimeRange {
  if (from < to) return { from, to };
  throw new HttpProblem("E_HTTP_REQUEST", "wrong query: from must lie before to", {
    remedy: "The range is half-open: from is in it, to is not.",
  });
}
