import { isEmptyRange, subtractRanges, type TimeRange } from "../../core/range.ts";
import type { Series } from "../../core/series.ts";
import {
  ceilOpenTime,
  countOpenTimes,
  nextOpenTime,
  openTimeAt,
  type Timeframe,
} from "../../core/timeframe.ts";

/**
 * What of a stretch of history stands in archive files (binance.md §6), by the calendar alone: no I/O. A planned file
 * may still be missing: published late, not listed, delisted.
 */

/** The two kinds of file, named as the roads that their candles come on. */
export type ArchiveKind = "archive-monthly" | "archive-daily";

/** A file of the archive. All times are epoch ms UTC. */
export interface ArchiveFile {
  readonly kind: ArchiveKind;
  readonly series: Series;
  /** `BTCUSDT-1mo-2025-02`: name without extension, not encoded. */
  readonly name: string;
  /** Path of the ZIP below the archive's address, percent-encoded; its checksum is beside it, `.CHECKSUM` added. */
  readonly path: string;
  /** The day or month: candles that open in it are in the file, whenever they close. */
  readonly range: TimeRange;
  /** Candles that the calendar asks for; a market that was off has fewer. */
  readonly candleCount: number;
  /** From when on it is to be expected. */
  readonly dueTime: number;
}

/** A stretch of history, dealt out. `files` and `rest` together are the asked range, without overlap. */
export interface ArchivePlan {
  /** Ascending. */
  readonly files: readonly ArchiveFile[];
  /** What is left for REST: head and tail, and what is not published yet. Ascending, not touching each other. */
  readonly rest: readonly TimeRange[];
}

/** What may be planned. */
export interface ArchivePlanOptions {
  /** Both kinds unless told; only `archive-daily` for what a monthly file lacked or was not there for. */
  readonly kinds?: readonly ArchiveKind[];
  /**
   * A file with fewer candles by the calendar is left to REST, which brings 1,000 in one request where a file takes two.
   * 0 unless told: whatever is published comes from files.
   */
  readonly minCandleCount?: number;
}

/** These have no daily files. */
const MONTHLY_ONLY: readonly Timeframe[] = ["3d", "1w", "1M"];
/** The exchange opened in July 2017. */
const FIRST_MONTH = Date.UTC(2017, 6, 1);
/** A file comes some time in its day; the hour is not documented. */
const PUBLISHING_HOUR_MS = 6 * 60 * 60_000;
const BOTH: readonly ArchiveKind[] = ["archive-monthly", "archive-daily"];

/**
 * Deals a stretch of history out: whole months to monthly files, other whole days to daily ones, the rest to REST. A month
 * whose file is not due yet goes by days.
 * @param range open times, half-open; may reach into the future
 * @param exchangeNow epoch ms
 */
export function planArchive(
  series: Series,
  range: TimeRange,
  exchangeNow: number,
  { kinds = BOTH, minCandleCount = 0 }: ArchivePlanOptions = {},
): ArchivePlan {
  const files: ArchiveFile[] = [];
  const end = isPathName(series.symbol) ? Math.min(range.to, exchangeNow) : range.from;
  const offer = (file: ArchiveFile): boolean => {
    const isWhole = file.range.from >= range.from && file.range.to <= range.to;
    const isPublished = exchangeNow >= file.dueTime;
    if (!isWhole || !isPublished || !kinds.includes(file.kind)) return false;
    if (file.candleCount >= minCandleCount) files.push(file);
    return file.candleCount >= minCandleCount;
  };
  let month = openTimeAt("1M", Math.max(range.from, FIRST_MONTH));
  for (; month < end; month = nextOpenTime("1M", month)) {
    if (offer(archiveFile("archive-monthly", series, month))) continue;
    if (MONTHLY_ONLY.includes(series.timeframe)) continue;
    const monthEnd = Math.min(end, nextOpenTime("1M", month));
    let day = ceilOpenTime("1d", Math.max(month, range.from));
    for (; day < monthEnd; day = nextOpenTime("1d", day)) {
      offer(archiveFile("archive-daily", series, day));
    }
  }
  const rest = isEmptyRange(range)
    ? []
    : subtractRanges(
        range,
        files.map((file) => file.range),
      );
  return { files, rest };
}

/** False for what cannot stand in a path as a name, even when encoded. */
function isPathName(symbol: string): boolean {
  return symbol.isWellFormed() && symbol !== "." && symbol !== "..";
}

/**
 * The file of a day or month:
 *
 *     /data/spot/monthly/klines/ADABKRW/1h/ADABKRW-1h-2020-08.zip
 *     /data/spot/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2024-11-19.zip
 *
 * @param from first instant of the day or month
 */
function archiveFile(kind: ArchiveKind, series: Series, from: number): ArchiveFile {
  const { symbol, timeframe } = series;
  const isDaily = kind === "archive-daily";
  const range = { from, to: nextOpenTime(isDaily ? "1d" : "1M", from) };
  // `1M` would clash with `1m` where file names have no case, so the archive spells it 1mo.
  const interval = timeframe === "1M" ? "1mo" : timeframe;
  const tail = `${interval}-${new Date(from).toISOString().slice(0, isDaily ? 10 : 7)}`;
  const encoded = encodeURIComponent(symbol);
  const folder = `/data/spot/${isDaily ? "daily" : "monthly"}/klines/${encoded}/${interval}`;
  return {
    kind,
    series,
    name: `${symbol}-${tail}`,
    path: `${folder}/${encoded}-${tail}.zip`,
    range,
    candleCount: countOpenTimes(timeframe, range),
    // Days come on the next day, months on the first Monday of the next one.
    dueTime: (isDaily ? range.to : ceilOpenTime("1w", range.to)) + PUBLISHING_HOUR_MS,
  };
}
