import { nearest } from "../../core/nearest.ts";
import type { TimeRange } from "../../core/range.ts";
import { type Series, seriesKey } from "../../core/series.ts";
import { EXCHANGE } from "../binance-compatible/collected.ts";
import type { ServeParts } from "../parts.ts";
import { HttpProblem } from "../problem.ts";
import { onceOf } from "../shared-answer.ts";
import type { SeriesPair } from "./schemas.ts";

/** Names of one series, as a request gives them. */
export interface SeriesNames {
  readonly symbol: string;
  readonly timeframe: Series["timeframe"];
  readonly exchange?: string | undefined;
}

/** Lists that choose among the series; all when not given. */
export interface SeriesChoice {
  readonly series?: readonly SeriesPair[] | undefined;
  readonly symbols?: readonly string[] | undefined;
  readonly timeframes?: readonly string[] | undefined;
  readonly exchange?: string | undefined;
}

/**
 * The series that a request names; of Binance where it names no exchange and several have it, so that importing a file of
 * another one changes no answer.
 * @throws {HttpProblem} 404 with what there is; 400 when several exchanges have it and Binance is none of them
 */
export async function seriesOf(parts: ServeParts, names: SeriesNames): Promise<Series> {
  const all = await parts.queries.series();
  const found = namedBy(all, names);
  const [one] = found;
  if (one !== undefined && found.length === 1) return one;
  const usual = found.find(({ exchange }) => exchange === EXCHANGE);
  if (usual !== undefined) return usual;
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

/**
 * Asked for each candle that forms, of every series that there is, by each client.
 * @returns whether a series is one of those; a pair that names no exchange means that of each
 */
export function isOneOf(pairs: readonly SeriesPair[]): (series: Series) => boolean {
  const usual = new Set(
    pairs.map(({ exchange = EXCHANGE, ...pair }) => seriesKey({ exchange, ...pair })),
  );
  return (series) =>
    usual.has(seriesKey(series)) ||
    (series.exchange !== EXCHANGE && pairs.some((pair) => isNamedBy(series, pair)));
}

function isNamedBy(series: Series, { exchange, symbol, timeframe }: SeriesNames): boolean {
  return (
    series.symbol === symbol &&
    series.timeframe === timeframe &&
    (exchange === undefined || series.exchange === exchange)
  );
}

/** Series of that name, in their order. */
function namedBy(all: readonly Series[], names: SeriesNames): readonly Series[] {
  return (bySymbol(all).get(names.symbol) ?? []).filter((series) => isNamedBy(series, names));
}

const bySymbol = onceOf((all: readonly Series[]) => Map.groupBy(all, ({ symbol }) => symbol));

/**
 * The series that lists of symbols and timeframes leave; a name that matches none is an error, since an empty answer
 * would read as "nothing is missing".
 * @throws {HttpProblem} 404
 */
export async function chosenSeries(
  parts: ServeParts,
  { series, symbols, timeframes, exchange }: SeriesChoice,
): Promise<readonly Series[]> {
  const all = await parts.queries.series();
  const names = symbols?.map((symbol) => symbol.toUpperCase());
  let left = all;
  if (series === undefined && names?.length === 1) {
    // Nobody goes through tens of thousands of series for the few of a symbol; what is not found is looked for among all.
    const its = bySymbol(all).get(names[0] ?? "") ?? [];
    if (its.some((one) => exchange === undefined || one.exchange === exchange)) left = its;
  }
  const keep = (field: keyof Series, wantedNames: readonly string[] | undefined): void => {
    if (wantedNames === undefined || wantedNames.length === 0) return;
    const wanted = new Set<string>(wantedNames);
    const kept = left.filter((one) => wanted.has(one[field]));
    const present = new Set<string>(kept.map((one) => one[field]));
    const name = wantedNames.find((one) => !present.has(one));
    if (name !== undefined) {
      const meant = nearest(name, [...new Set(left.map((one) => one[field]))]);
      const hint = meant === undefined ? "" : `Did you mean ${meant}? `;
      const shown = field === "timeframe" ? name : JSON.stringify(name);
      throw new HttpProblem("E_HTTP_NOT_FOUND", `${shown} is not collected`, {
        remedy: `${hint}See /api/v1/series for what there is.`,
      });
    }
    left = kept;
  };
  keep("exchange", exchange === undefined ? undefined : [exchange]);
  if (series !== undefined) left = pickedSeries(left, series);
  keep("symbol", names);
  keep("timeframe", timeframes);
  return left;
}

/** @throws {HttpProblem} 404 */
function pickedSeries(all: readonly Series[], pairs: readonly SeriesPair[]): readonly Series[] {
  const picked = new Set<Series>();
  for (const pair of pairs) {
    const found = namedBy(all, pair);
    for (const one of found) picked.add(one);
    if (found.length > 0) continue;
    const name = JSON.stringify(pair.symbol);
    throw new HttpProblem("E_HTTP_NOT_FOUND", `${name} ${pair.timeframe} is not collected`, {
      remedy: hintOf(all, pair),
    });
  }
  return all.filter((one) => picked.has(one));
}

/** @throws {HttpProblem} 400 when the range is empty or turned round */
export function checkedRange(from: number, to: number): TimeRange {
  if (from < to) return { from, to };
  throw new HttpProblem("E_HTTP_REQUEST", "wrong query: from must lie before to", {
    remedy: "The range is half-open: from is in it, to is not.",
  });
}
