import { nextOpenTime, openTimeAt } from "../core/timeframe.ts";
import type { ArchiveFile } from "./archive-path.ts";
import type { ArchiveDirt } from "./faults.ts";
import type { MarketCandle } from "./market.ts";

/** Spot files are in microseconds from this day on (binance.md §6). */
const MICROSECONDS_FROM = Date.UTC(2025, 0, 1);
const HEADER =
  "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore";
/** One row in so many is repeated or has garbage beside it. */
const ODD_EVERY = 50;
const GARBAGE = "<html>503</html>";

/** How the files of the archive are written. */
export interface CsvStyle {
  readonly dirt: ReadonlySet<ArchiveDirt>;
  /** `2025-01-31`: which day monthly files lack; absent: the middle one. */
  readonly day?: string;
}

/** What stands before the first row. */
export function csvBegin({ dirt }: CsvStyle): string {
  return (dirt.has("bom") ? "\uFEFF" : "") + (dirt.has("header") ? line(HEADER, dirt) : "");
}

/** The lines of one candle, in its file. */
export function csvLines(
  candle: MarketCandle,
  index: number,
  file: ArchiveFile,
  { dirt, day }: CsvStyle,
): string {
  if (dirt.has("missingDay") && isInMissingDay(candle.openTime, file, day)) return "";
  const row = line(rowOf(candle, index, file, dirt), dirt);
  if (index % ODD_EVERY !== 0) return row;
  const other = { ...candle, volume: `1${candle.volume}`, tradeCount: candle.tradeCount + 1 };
  return (
    (dirt.has("conflicts") ? line(rowOf(other, index, file, dirt), dirt) : "") +
    row +
    (dirt.has("duplicates") ? row : "") +
    (dirt.has("garbage") ? line(GARBAGE, dirt) : "")
  );
}

function rowOf(
  candle: MarketCandle,
  index: number,
  { range }: ArchiveFile,
  dirt: ReadonlySet<ArchiveDirt>,
): string {
  const isUsual = range.from >= MICROSECONDS_FROM;
  const isMicro = dirt.has("microseconds") || (isUsual && !dirt.has("milliseconds"));
  const isMixed = dirt.has("mixedUnits");
  const openUnit = (isMixed ? index % 2 === 0 : isMicro) ? 1_000 : 1;
  const closeUnit = (isMixed ? index % 3 === 0 : isMicro) ? 1_000 : 1;
  const closeTime = candle.closeTime * closeUnit + (closeUnit - 1);
  return (
    `${candle.openTime * openUnit},${candle.open},${candle.high},${candle.low},${candle.close},${candle.volume},` +
    `${closeTime},${candle.quoteVolume},${candle.tradeCount},${candle.takerBuyVolume},${candle.takerBuyQuoteVolume}` +
    (dirt.has("elevenColumns") ? "" : ",0")
  );
}

function line(text: string, dirt: ReadonlySet<ArchiveDirt>): string {
  return `${text}${dirt.has("crlf") ? "\r\n" : "\n"}`;
}

function isInMissingDay(
  openTime: number,
  { range }: ArchiveFile,
  day: string | undefined,
): boolean {
  if (range.to === nextOpenTime("1d", range.from)) return false;
  const from = openTimeAt("1d", day === undefined ? (range.from + range.to) / 2 : Date.parse(day));
  return openTime >= from && openTime < nextOpenTime("1d", from);
}
