import type { Candle } from "../core/candle.ts";
import { isDecimal } from "../core/decimal.ts";
import type { Series } from "../core/series.ts";
import { isTimeframe } from "../core/timeframe.ts";

/**
 * The layout of the replaced system: one file a series, `{SYMBOL}_{TIMEFRAME}.csv`, 12 columns, a header, LF, no quotes,
 * ascending by open time. `timestamp` and `close_time` are epoch ms UTC. `datetime` repeats `timestamp` for people: it
 * has no zone, the replaced system wrote local time there and this program writes UTC, so that a reader must not use it.
 */
export const OWN_LAYOUT_COLUMNS = [
  "timestamp",
  "datetime",
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

/** First line of every file, without its line end. */
export const OWN_LAYOUT_HEADER = OWN_LAYOUT_COLUMNS.join(",");

/** One row, without its line end; every decimal is the candle's own text. */
export function formatOwnRow(candle: Candle): string {
  const { openTime, closeTime, open, high, low, close, volume } = candle;
  const { quoteVolume, tradeCount, takerBuyVolume, takerBuyQuoteVolume } = candle;
  return `${openTime},${formatOwnDatetime(openTime)},${open},${high},${low},${close},${volume},${closeTime},${quoteVolume},${tradeCount},${takerBuyVolume},${takerBuyQuoteVolume}`;
}

/** The `datetime` of a row: UTC without a zone, `2024-06-17T00:00:00`; milliseconds only where there are some. */
function formatOwnDatetime(openTime: number): string {
  const text = new Date(openTime).toISOString();
  return text.slice(0, text.endsWith(".000Z") ? -5 : -1);
}

/** A row that was read, or the first thing that is wrong with it. */
export type OwnRow =
  | { readonly isRow: true; readonly candle: Candle }
  | { readonly isRow: false; readonly problem: string };

/**
 * Reads a row strictly: 12 fields, whole numbers for times and counts, plain decimals as text. `datetime` is not looked at.
 * Whether the candle makes sense is not judged here (`validateCandle`).
 * @param line without its line end
 */
export function parseOwnRow(line: string): OwnRow {
  const fields = line.split(",");
  if (fields.length !== OWN_LAYOUT_COLUMNS.length) {
    return {
      isRow: false,
      problem: `has ${fields.length} columns instead of ${OWN_LAYOUT_COLUMNS.length}`,
    };
  }
  for (const [index, isSound] of FIELD_CHECKS) {
    const text = fields[index] ?? "";
    if (!isSound(text)) {
      return {
        isRow: false,
        problem: `${OWN_LAYOUT_COLUMNS[index]} is ${JSON.stringify(text.slice(0, 40))}`,
      };
    }
  }
  const [timestamp, , open, high, low, close, volume, closeTime, quoteVolume, trades, base, quote] =
    fields as [...TwelveTexts];
  return {
    isRow: true,
    candle: {
      openTime: Number(timestamp),
      closeTime: Number(closeTime),
      ...{ open, high, low, close, volume, quoteVolume },
      tradeCount: Number(trades),
      takerBuyVolume: base,
      takerBuyQuoteVolume: quote,
    },
  };
}

/** Open time that a line begins with, whatever follows it; `undefined` when it begins with none. */
export function ownRowOpenTime(line: string): number | undefined {
  const comma = line.indexOf(",");
  const text = comma < 0 ? "" : line.slice(0, comma);
  return isWhole(text) ? Number(text) : undefined;
}

type TwelveTexts = [string, string, string, string, string, string, string, string, ...FourTexts];
type FourTexts = [string, string, string, string];

/** At most 15 digits: exact as a number, and microseconds are told from milliseconds by who reads them. */
function isWhole(text: string): boolean {
  return /^(?:0|[1-9]\d{0,14})$/.test(text);
}

const WHOLE_COLUMNS: readonly string[] = ["timestamp", "close_time", "trades"];

const FIELD_CHECKS = OWN_LAYOUT_COLUMNS.map((name, index) => ({ name, index }))
  .filter(({ name }) => name !== "datetime")
  .map(({ name, index }) => [index, WHOLE_COLUMNS.includes(name) ? isWhole : isDecimal] as const);

/**
 * How a month is called in file names. `BTCUSDT_1m.csv` and `BTCUSDT_1M.csv` are one file where names differ by more than
 * case only (macOS, Windows), so that a month is written `1mo`; `1M` is read as well.
 */
const MONTH_IN_NAMES = "1mo";
const ENDING = ".csv";

/**
 * File name of a series; the exchange is not in it. What a symbol has besides letters, digits, `_`, `.` and `-` is
 * percent-encoded, so that a name never leaves its folder.
 */
export function ownFileName({ symbol, timeframe }: Pick<Series, "symbol" | "timeframe">): string {
  const safe = symbol.replace(/[^\p{L}\p{N}_.-]/gu, (text) =>
    // encodeURIComponent leaves these five as they are; a file system may not.
    /[!'()*~]/.test(text)
      ? `%${text.charCodeAt(0).toString(16).toUpperCase()}`
      : encodeURIComponent(text),
  );
  return `${safe}_${timeframe === "1M" ? MONTH_IN_NAMES : timeframe}${ENDING}`;
}

/**
 * Symbol and timeframe of a file name (without its folder).
 * @returns `undefined` for any other name
 */
export function parseOwnFileName(name: string): Pick<Series, "symbol" | "timeframe"> | undefined {
  if (!name.endsWith(ENDING)) return undefined;
  // macOS gives names back decomposed.
  const stem = name.slice(0, -ENDING.length).normalize("NFC");
  const split = stem.lastIndexOf("_");
  if (split < 1) return undefined;
  const word = stem.slice(split + 1);
  const timeframe = word === MONTH_IN_NAMES ? "1M" : word;
  if (!isTimeframe(timeframe)) return undefined;
  try {
    return { symbol: decodeURIComponent(stem.slice(0, split)), timeframe };
  } catch {
    return undefined;
  }
}
