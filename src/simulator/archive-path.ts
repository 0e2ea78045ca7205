import type { TimeRange } from "../core/range.ts";
import { isTimeframe, nextOpenTime, openTimeAt, type Timeframe } from "../core/timeframe.ts";

/** An archive file, by its URL. */
export interface ArchiveFile {
  readonly symbol: string;
  readonly interval: Timeframe;
  /** Open times in the file, half-open. */
  readonly range: TimeRange;
  /** Exchange time from which on it exists, without the archive's own delay. */
  readonly readyFrom: number;
  /** `BTCUSDT-1h-2025-01`, without extension. */
  readonly name: string;
  readonly kind: "zip" | "checksum";
}

const PATH =
  /^\/data\/spot\/(daily|monthly)\/klines\/([^/]+)\/([^/]+)\/(([^/]+)-([^/-]+)-(\d{4})-(\d\d)(?:-(\d\d))?)\.zip(\.CHECKSUM)?$/u;

/** The archive has no daily files of these (binance.md §6). */
const MONTHLY_ONLY: readonly Timeframe[] = ["3d", "1w", "1M"];
const WEEK_MS = 7 * 86_400_000;

/**
 * Reads `/data/spot/{daily|monthly}/klines/SYMBOL/interval/SYMBOL-interval-YYYY-MM[-DD].zip[.CHECKSUM]`.
 * @returns `undefined` for a path that cannot name a file
 */
export function parseArchivePath(path: string): ArchiveFile | undefined {
  const match = PATH.exec(decoded(path));
  if (match === null) return undefined;
  const [, period, symbol = "", folder = "", name = "", inName, spelling] = match;
  const [year, month, day] = [match[7], match[8], match[9]].map((part) => Number(part ?? 0));
  const interval = folder === "1mo" ? "1M" : folder;
  // `1M` would clash with `1m` where file names have no case, so the archive spells it 1mo.
  if (folder === "1M" || !isTimeframe(interval)) return undefined;
  if (inName !== symbol || spelling !== folder) return undefined;
  const isDaily = period === "daily";
  if (isDaily !== (match[9] !== undefined)) return undefined;
  if (isDaily && MONTHLY_ONLY.includes(interval)) return undefined;
  const from = Date.UTC(year ?? 0, (month ?? 1) - 1, isDaily ? day : 1);
  const to = nextOpenTime(isDaily ? "1d" : "1M", from);
  return {
    symbol,
    interval,
    range: { from, to },
    readyFrom: isDaily ? to : firstMonday(to),
    name,
    kind: match[10] === undefined ? "zip" : "checksum",
  };
}

/** Monthly files come on the first Monday of the next month. */
function firstMonday(monthStart: number): number {
  const week = openTimeAt("1w", monthStart);
  return week === monthStart ? week : week + WEEK_MS;
}

function decoded(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}
