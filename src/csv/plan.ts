import { BlackTradeError } from "../core/errors.ts";
import type { Series } from "../core/series.ts";
import { isAligned, nextOpenTime, TIMEFRAMES, type Timeframe } from "../core/timeframe.ts";
import type { Columns, Field, LayoutMatch, Sample } from "./layout.ts";
import { LAYOUTS } from "./layouts/index.ts";
import { namedSeries, timeframeOf } from "./names.ts";
import { readTime, type TimeUnit } from "./times.ts";

/** What the command says about files whose names and content do not. */
export interface ImportHints {
  readonly symbol?: string;
  readonly timeframe?: Timeframe;
  readonly exchange?: string;
  /** Fields of the columns from the first on; `undefined` skips one. */
  readonly columns?: readonly (Field | undefined)[];
  /** Names of columns in the header, by field. */
  readonly map?: Readonly<Partial<Record<Field, string>>>;
  /** Offset of times without a zone. */
  readonly zoneMs?: number;
  /** The files hold closed candles only, as `export` writes them: the newest one is taken, too. */
  readonly isClosed?: boolean;
}

/** How the rows of a file become candles of one series. */
export interface RowPlan {
  readonly layout: string;
  readonly series: Series;
  readonly columns: Columns;
  readonly delimiter: string;
  /** Cells that its rows usually have, or more; absent when that is not known. */
  readonly usualWidth?: number;
  /** True when many of the first rows have more, as where notes are written behind some of them. */
  readonly hasOddWidths?: boolean;
  readonly units: readonly TimeUnit[];
  readonly zoneMs: number;
  readonly symbolColumn?: number;
  readonly timeframeColumn?: number;
  readonly hasOddCandles: boolean;
  readonly hasDecimalComma: boolean;
  readonly wholeUntil?: number;
  /** The symbol by its own name or content, whatever the hints say. */
  readonly ownSymbol?: string;
  /** Assumptions that a user should see. */
  readonly notes: readonly string[];
}

/** Why no row of the file is taken, with what would help. */
export interface FileRefusal {
  readonly refusal: string;
}

const DEFAULT_EXCHANGE = "binance";
const TIMES_NEEDED = 2;
const USUAL_SHARE = 0.6;

/**
 * Decides whose layout a file has and which series it holds: by its content, its name and the hints. Refuses rather than
 * guesses.
 * @param sample `rows` in the order of the file, the last ones after the first ones
 */
export function planRows(sample: Sample, hints: ImportHints): RowPlan | FileRefusal {
  if (!sample.isDelimited) {
    return refuse(
      "no comma, semicolon, tab or bar stands between its values; write it anew with commas",
    );
  }
  const match = matchOf(sample, hints);
  if ("refusal" in match && match.refusal !== undefined) return { refusal: match.refusal };
  if (!("columns" in match)) return refuse("no layout is recognised");
  const missing = (["openTime", "open", "high", "low", "close"] as const).filter(
    (field) => match.columns[field] === undefined,
  );
  if (missing.length > 0) return refuse(`it has no ${missing.join(", ")}`);
  if (match.columns.volume === undefined && match.columns.quoteVolume === undefined) {
    return refuse("it has no volume: a candle without one cannot be told from one without trades");
  }
  if (sample.rows.length === 0) return refuse("it holds no rows");
  const hasDecimalComma = decimalComma(sample, match.columns);
  if (hasDecimalComma === undefined) {
    return refuse(
      "the commas in its numbers may be decimal commas or stand between thousands, and no number tells which; write it anew with decimal points",
    );
  }
  const times = timesOf(sample, match, hints);
  if ("refusal" in times) return times;
  const series = seriesOf(match, hints, times.openTimes);
  if ("refusal" in series) return series;
  return {
    layout: match.layout,
    series: series.series,
    columns: match.columns,
    delimiter: sample.delimiter,
    ...(sample.kind === "text" ? widthsOf(sample) : {}),
    units: times.units,
    zoneMs: times.zoneMs,
    ...(match.symbolColumn === undefined ? {} : { symbolColumn: match.symbolColumn }),
    ...(match.timeframeColumn === undefined ? {} : { timeframeColumn: match.timeframeColumn }),
    hasOddCandles: match.hasOddCandles ?? false,
    hasDecimalComma,
    ...wholeUntilOf(match, hints),
    ...(match.symbol === undefined ? {} : { ownSymbol: match.symbol }),
    notes: series.notes,
  };
}

/** Cells of most of the first rows, or of the header when it has more. */
function widthsOf({ header, rows }: Sample): Pick<RowPlan, "usualWidth" | "hasOddWidths"> {
  const counts = [...Map.groupBy(rows, ({ length }) => length)];
  const [width = 0] = counts.toSorted(([, a], [, b]) => b.length - a.length)[0] ?? [];
  const usualWidth = Math.max(width, header?.length ?? 0);
  const wider = rows.filter(({ length }) => length > usualWidth).length;
  // One such row may be the very fault that it is looked for.
  return { usualWidth, hasOddWidths: wider >= 2 && wider > rows.length / 10 };
}

/**
 * A row of more cells than this may be two that ran together, the first of them whole or torn: a crash in mid-line, and
 * an appended row. Its values would be made of both, so it is not read.
 */
export function mostCells({ usualWidth, hasOddWidths }: RowPlan, neededWidth: number): number {
  if (usualWidth === undefined) return Number.POSITIVE_INFINITY;
  return hasOddWidths === true ? Math.max(usualWidth, 2 * neededWidth - 2) : usualWidth;
}

function wholeUntilOf(match: LayoutMatch, hints: ImportHints): Pick<RowPlan, "wholeUntil"> {
  if (hints.isClosed === true) return { wholeUntil: Number.POSITIVE_INFINITY };
  return match.wholeUntil === undefined ? {} : { wholeUntil: match.wholeUntil };
}

function matchOf(sample: Sample, hints: ImportHints): LayoutMatch | FileRefusal {
  if (hints.columns !== undefined) {
    const columns: Partial<Record<Field, number>> = {};
    hints.columns.forEach((field, index) => {
      if (field !== undefined) columns[field] = index;
    });
    return { layout: "--columns", columns, ...namedSeries(sample.name) };
  }
  const unread = sample.unreadHeader;
  // Without it, columns would be guessed from their values alone.
  if (unread !== undefined && sample.kind === "text") {
    return refuse(
      `line ${unread.line}, where the names of its columns should be, cannot be read: ${unread.reason}; save the file as UTF-8, or name the columns by --columns`,
    );
  }
  const found = LAYOUTS.map((layout) => layout.recognise(sample)).find((one) => one !== undefined);
  if (hints.map === undefined) return found ?? unrecognised(sample);
  const columns: Partial<Record<Field, number>> = { ...found?.columns };
  for (const [field, name] of Object.entries(hints.map) as [Field, string][]) {
    const at = (sample.header ?? []).findIndex((one) => one.toLowerCase() === name.toLowerCase());
    if (at < 0) return refuse(`its header has no column "${name}" (--map ${field}=${name})`);
    columns[field] = at;
  }
  const layout = found === undefined ? "--map" : `${found.layout} --map`;
  return { ...namedSeries(sample.name), ...found, layout, columns };
}

function unrecognised({ header, kind, rows }: Sample): FileRefusal {
  if (rows.length === 0) return refuse("it holds no rows");
  if (kind === "json") return refuse("its JSON is not a list of rows of candles");
  if (header !== undefined) {
    const shown = header.slice(0, 12).join(", ").slice(0, 200);
    return refuse(
      `its header names no open, high, low and close (${shown}); name them by --map if they are there`,
    );
  }
  return refuse("its columns have no names and are of no known layout; name them by --columns");
}

interface Times {
  readonly units: readonly TimeUnit[];
  readonly zoneMs: number;
  /** Of the sample, in its order. */
  readonly openTimes: readonly number[];
}

function timesOf(sample: Sample, match: LayoutMatch, hints: ImportHints): Times | FileRefusal {
  const at = match.columns.openTime ?? 0;
  const zoneMs = hints.zoneMs ?? match.zoneMs;
  const read = rowsOf(sample, match, hints).flatMap(
    (cells) => readTime(cells[at] ?? "", zoneMs) ?? [],
  );
  const [first] = read;
  if (first === undefined) {
    const shown = JSON.stringify((sample.rows[0]?.[at] ?? "").slice(0, 40));
    return refuse(`its times cannot be read (${shown})`);
  }
  const allowed = match.units;
  if (allowed !== undefined && !allowed.includes(first.unit)) {
    return refuse(`its times are in ${unitText(first.unit)}, which ${match.layout} does not have`);
  }
  if (zoneMs === undefined && read.some(({ isZoneless }) => isZoneless)) {
    return refuse(
      "its times have no zone and nothing says which; say --time-zone UTC, or an offset like +09:00",
    );
  }
  return {
    units: allowed ?? [first.unit],
    zoneMs: zoneMs ?? 0,
    openTimes: read.map(({ time }) => time),
  };
}

/** Rows of the sample whose own column says the timeframe that is read, so that others do not count for the spacing. */
function rowsOf(
  { rows }: Sample,
  { timeframe, timeframeColumn }: LayoutMatch,
  hints: ImportHints,
): Sample["rows"] {
  if (timeframeColumn === undefined) return rows;
  const wanted = hints.timeframe ?? timeframe;
  const meant = rows.filter((cells) => timeframeOf(cells[timeframeColumn] ?? "") === wanted);
  return meant.length === 0 ? rows : meant;
}

function unitText(unit: TimeUnit): string {
  const words = { s: "seconds", ms: "ms", us: "µs", ns: "ns", excel: "Excel days", text: "text" };
  return words[unit];
}

function seriesOf(
  match: LayoutMatch,
  hints: ImportHints,
  openTimes: readonly number[],
): { series: Series; notes: string[] } | FileRefusal {
  const symbol = hints.symbol ?? match.symbol;
  if (symbol === undefined) {
    return refuse("neither its name nor its content says which symbol it is; say --symbol BTCUSDT");
  }
  const spacing = spacingOf(openTimes);
  const timeframe = hints.timeframe ?? match.timeframe ?? spacing;
  if (timeframe === undefined) {
    return refuse("nothing says which timeframe it has; say --timeframe 1h");
  }
  const problem = spacingProblem(timeframe, openTimes, match.hasOddCandles === true);
  if (problem !== undefined) return refuse(problem);
  const exchange = hints.exchange ?? match.exchange;
  if (exchange === undefined && match.layout === "binance-archive") {
    return refuse(
      "spot and futures of Binance have the same symbols, and nothing tells which this is; say --exchange binance or --exchange binance-um",
    );
  }
  const isAssumed = exchange === undefined;
  return {
    series: { exchange: exchange ?? DEFAULT_EXCHANGE, symbol, timeframe },
    notes: isAssumed ? [`taken as of ${DEFAULT_EXCHANGE}; --exchange says otherwise`] : [],
  };
}

/** The timeframe that most neighbours are apart, when the rows are clear about it. */
function spacingOf(openTimes: readonly number[]): Timeframe | undefined {
  const steps = neighbours(openTimes);
  if (steps.length < TIMES_NEEDED) return undefined;
  return TIMEFRAMES.find(
    (timeframe) =>
      steps.filter(([a, b]) => nextOpenTime(timeframe, a) === b && isAligned(timeframe, a))
        .length >=
      steps.length * USUAL_SHARE,
  );
}

/** @returns why rows so far apart are not of this timeframe */
function spacingProblem(
  timeframe: Timeframe,
  openTimes: readonly number[],
  hasOddCandles: boolean,
): string | undefined {
  const aligned = openTimes.filter((time) => isAligned(timeframe, time)).length;
  const steps = neighbours(openTimes);
  const closer = steps.filter(([a, b]) => b < nextOpenTime(timeframe, a)).length;
  if (closer > steps.length / 10) {
    const real = spacingOf(openTimes);
    return `its rows are ${real ?? "closer"} apart${real === undefined ? " than" : ", not"} ${timeframe}`;
  }
  if (aligned < openTimes.length / 2 && !(hasOddCandles && openTimes.length < 3)) {
    return `its times are not on the grid of ${timeframe}: another timeframe, or a local time`;
  }
  const next = steps.filter(([a, b]) => nextOpenTime(timeframe, a) === b).length;
  const real = spacingOf(openTimes);
  if (steps.length >= TIMES_NEEDED && next === 0 && real !== undefined) {
    return `its rows are ${real} apart, not ${timeframe}`;
  }
  return undefined;
}

/** Neighbouring open times, each pair ascending, repeats left out. */
function neighbours(openTimes: readonly number[]): (readonly [number, number])[] {
  const sorted = [...new Set(openTimes)].sort((a, b) => a - b);
  return sorted.slice(1).map((time, index) => [sorted[index] ?? 0, time] as const);
}

const DECIMAL_FIELDS = ["open", "high", "low", "close", "volume", "quoteVolume"] as const;

/**
 * True when prices have decimal commas. `"61,234"` alone may be either: one number at least has to show that its comma is
 * not between thousands, and none may have a point.
 * @returns `undefined` when that cannot be told
 */
function decimalComma({ rows }: Sample, columns: Columns): boolean | undefined {
  const cells = (fields: readonly Field[]): string[] =>
    rows.flatMap((row) => fields.flatMap((field) => row[columns[field] ?? -1] || []));
  const prices = cells(["open", "close"]);
  const areGrouped = prices.length > 0 && prices.every((cell) => /^\d+(?:,\d+)?$/.test(cell));
  if (!areGrouped || !prices.some((cell) => cell.includes(","))) return false;
  const all = cells(DECIMAL_FIELDS);
  const isDecimal = (cell: string): boolean =>
    /^\d+,\d+$/.test(cell) && !/^[1-9]\d{0,2},\d{3}$/.test(cell);
  if (prices.some(isDecimal)) return true;
  return all.some(isDecimal) && !all.some((cell) => cell.includes(".")) ? true : undefined;
}

function refuse(refusal: string): FileRefusal {
  return { refusal };
}

const FIELDS: readonly Field[] = [
  ...(["openTime", "closeTime", "open", "high", "low", "close", "volume"] as const),
  ...(["quoteVolume", "tradeCount", "takerBuyVolume", "takerBuyQuoteVolume"] as const),
];
const SHORT: Readonly<Record<string, Field>> = {
  time: "openTime",
  timestamp: "openTime",
  trades: "tradeCount",
};

/**
 * `--columns time,open,high,low,close,-,volume`.
 * @throws {BlackTradeError} E_USAGE
 */
export function parseColumns(text: string): (Field | undefined)[] {
  return text.split(",").map((name) => (name.trim() === "-" ? undefined : fieldOf(name)));
}

/**
 * `--map open=Open,time=Date`.
 * @throws {BlackTradeError} E_USAGE
 */
export function parseMap(text: string): Partial<Record<Field, string>> {
  const map: Partial<Record<Field, string>> = {};
  for (const part of text.split(",")) {
    const at = part.indexOf("=");
    if (at < 0) throw usage(`--map: "${part}" is not of the form field=name of the column`);
    map[fieldOf(part.slice(0, at))] = part.slice(at + 1).trim();
  }
  return map;
}

function fieldOf(name: string): Field {
  const plain = name.trim();
  const field =
    SHORT[plain.toLowerCase()] ?? FIELDS.find((one) => one.toLowerCase() === plain.toLowerCase());
  if (field === undefined) throw usage(`"${plain}" is not a field of a candle`);
  return field;
}

function usage(message: string): BlackTradeError {
  return new BlackTradeError("E_USAGE", message, {
    remedy: `Fields are time, ${FIELDS.slice(1).join(", ")}; "-" skips a column.`,
  });
}
