import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import { gunzipSync } from "node:zlib";
import { isTimeframe, type Timeframe } from "../core/timeframe.ts";

/** One candle as someone recorded it. Decimals are the recorded text; what is missing is `"0"` or 0. */
export interface RecordedRow {
  /** Epoch ms. */
  readonly openTime: number;
  readonly open: string;
  readonly high: string;
  readonly low: string;
  readonly close: string;
  readonly volume: string;
  /** Epoch ms. Absent: the end of the candle's slot. */
  readonly closeTime?: number;
  readonly quoteVolume?: string;
  readonly tradeCount?: number;
  readonly takerBuyVolume?: string;
  readonly takerBuyQuoteVolume?: string;
}

/** The recorded rows of one symbol and interval. */
export interface RecordedSeries {
  readonly symbol: string;
  readonly interval: Timeframe;
  readonly rows: readonly RecordedRow[];
}

/** Columns in the order of REST and of the archive files (binance.md §2.2, §6). */
const REST_COLUMNS = [
  "open_time",
  "open",
  "high",
  "low",
  "close",
  "volume",
  "close_time",
  "quote_volume",
  "trades",
  "taker_buy_base",
  "taker_buy_quote",
] as const;

type Column = (typeof REST_COLUMNS)[number];

/** What other headers call the same columns. */
const ALIASES: Readonly<Record<string, Column>> = {
  timestamp: "open_time",
  count: "trades",
  taker_buy_volume: "taker_buy_base",
  taker_buy_quote_volume: "taker_buy_quote",
};

/** At and above this a time is in microseconds (binance.md §6); as milliseconds it would be the year 5138. */
const MICROSECONDS_FROM = 1e14;

/**
 * Rows of a CSV text (12 columns without header, or any order with a header that names them) or of a JSON array of arrays.
 * Values stay as written; only a number with an exponent is spelled out, since the exchange never sends one.
 * @throws {SyntaxError} naming the line that is not a candle
 */
export function parseRecordedRows(text: string): RecordedRow[] {
  const body = text.charCodeAt(0) === 0xfeff ? text.slice(1) : text;
  return body.trimStart().startsWith("[") ? parseJson(body) : parseCsv(body);
}

/** Reads one file, gunzipped when its name ends in `.gz`. @throws {SyntaxError} with the file's name */
async function readRecordedRows(path: string): Promise<RecordedRow[]> {
  const bytes = await readFile(path);
  const text = (path.endsWith(".gz") ? gunzipSync(bytes) : bytes).toString("utf8");
  try {
    return parseRecordedRows(text);
  } catch (error) {
    throw new SyntaxError(`${path}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/**
 * Reads files whose names tell their series (`BTCUSDT-1h-2024-11.csv.gz`, `BTCUSDT_15m.csv`), several of one series together.
 * @throws {SyntaxError} when a name tells no series
 */
export async function readRecordedFiles(paths: readonly string[]): Promise<RecordedSeries[]> {
  const bySeries = new Map<string, { symbol: string; interval: Timeframe; rows: RecordedRow[] }>();
  for (const path of paths) {
    const { symbol, interval } = seriesOfFileName(basename(path));
    const key = `${symbol} ${interval}`;
    const series = bySeries.get(key) ?? { symbol, interval, rows: [] };
    bySeries.set(key, series);
    for (const row of await readRecordedRows(path)) series.rows.push(row);
  }
  return [...bySeries.values()];
}

/** Symbol and interval that a file name begins with. `1mo` is the archive's spelling of `1M`. */
export function seriesOfFileName(name: string): { symbol: string; interval: Timeframe } {
  const [, symbol = "", spelling = ""] =
    /^(.+?)[-_](\d+(?:mo|[smhdwM]))(?=[-_.]|$)/u.exec(name) ?? [];
  const interval = spelling === "1mo" ? "1M" : spelling;
  if (!isTimeframe(interval)) throw new SyntaxError(`${name}: no symbol and interval in the name`);
  return { symbol: symbol.replaceAll("_", ""), interval };
}

function parseCsv(text: string): RecordedRow[] {
  const rows: RecordedRow[] = [];
  let columns: readonly (Column | undefined)[] = REST_COLUMNS;
  let number = 0;
  for (const line of text.split("\n")) {
    number++;
    const cells = line.trimEnd().split(",");
    if (cells.length === 1 && cells[0] === "") continue;
    if (number === 1 && !/^\d/.test(line)) {
      columns = cells.map(columnOf);
      continue;
    }
    rows.push(rowOf(cells, columns, `line ${number}`));
  }
  return rows;
}

function parseJson(text: string): RecordedRow[] {
  const rows: RecordedRow[] = [];
  // JSON.parse would turn the decimals into floats and lose their text.
  for (const [, inner = ""] of text.matchAll(/\[([^[\]]+)\]/g)) {
    const cells = inner.split(",").map((cell) => cell.trim().replaceAll('"', ""));
    rows.push(rowOf(cells, REST_COLUMNS, `row ${rows.length + 1}`));
  }
  return rows;
}

function columnOf(header: string): Column | undefined {
  const name = header.trim().toLowerCase();
  return REST_COLUMNS.find((column) => column === name) ?? ALIASES[name];
}

function rowOf(
  cells: readonly string[],
  columns: readonly (Column | undefined)[],
  place: string,
): RecordedRow {
  const get = (column: Column): string | undefined => {
    const cell = cells[columns.indexOf(column)]?.trim();
    return cell === "" ? undefined : cell;
  };
  const decimal = (column: Column): string => {
    const text = plain(get(column) ?? "0");
    if (!/^\d+(?:\.\d+)?$/.test(text)) throw new SyntaxError(`${place}: ${column} is ${text}`);
    return text;
  };
  const openTime = timeOf(get("open_time"));
  if (openTime === undefined) throw new SyntaxError(`${place}: no open time`);
  const closeTime = timeOf(get("close_time"));
  return {
    openTime,
    open: decimal("open"),
    high: decimal("high"),
    low: decimal("low"),
    close: decimal("close"),
    volume: decimal("volume"),
    ...(closeTime !== undefined && { closeTime }),
    quoteVolume: decimal("quote_volume"),
    tradeCount: Math.trunc(Number(get("trades") ?? 0)) || 0,
    takerBuyVolume: decimal("taker_buy_base"),
    takerBuyQuoteVolume: decimal("taker_buy_quote"),
  };
}

function timeOf(text: string | undefined): number | undefined {
  const value = text === undefined ? Number.NaN : Number(text);
  if (!Number.isFinite(value)) return undefined;
  return value >= MICROSECONDS_FROM ? Math.floor(value / 1_000) : value;
}

function plain(text: string): string {
  const [, integer, fraction = "", sign, exponent] =
    /^(\d+)(?:\.(\d+))?e([-+]?)(\d+)$/i.exec(text) ?? [];
  if (integer === undefined || exponent === undefined) return text;
  const places = Number(exponent);
  if (sign === "-") return shiftLeft(integer, fraction, places);
  const digits = integer + fraction.padEnd(places, "0");
  const point = integer.length + places;
  return point < digits.length ? `${digits.slice(0, point)}.${digits.slice(point)}` : digits;
}

function shiftLeft(integer: string, fraction: string, places: number): string {
  const digits = integer.padStart(places + 1, "0");
  const point = digits.length - places;
  return `${digits.slice(0, point)}.${digits.slice(point)}${fraction}`;
}
