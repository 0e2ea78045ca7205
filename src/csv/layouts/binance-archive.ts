import { isTimeframe } from "../../core/timeframe.ts";
import { columnsOf, isHeader, type Layout, type LayoutMatch, type Sample } from "../layout.ts";

const COLUMNS = columnsOf([
  ...(["openTime", "open", "high", "low", "close", "volume", "closeTime"] as const),
  ...(["quoteVolume", "tradeCount", "takerBuyVolume", "takerBuyQuoteVolume"] as const),
]);
const HEADER = [
  ...["opentime", "open", "high", "low", "close", "volume", "closetime", "quotevolume"],
  ...["count", "takerbuyvolume", "takerbuyquotevolume", "ignore"],
];
/** `BTCUSDT-1h-2024-11`, `ADABTC-1m-2021-11-27`; delivery futures have `_` in their symbol. */
const NAME = /^([\p{Lu}\p{N}_]+)-(\w+)-(\d{4})-(\d{2})(?:-(\d{2}))?/u;

/**
 * Files of data.binance.vision. Spot has no header and always 8 decimals, µs from 2025 on; futures have a header since
 * 2022. Spot and futures have the same symbols and file names, and are different markets.
 */
export const binanceArchive: Layout = {
  name: "binance-archive",
  title: "data.binance.vision, spot and futures, also several files joined",
  recognise(sample) {
    const isHeaded = isHeader(sample, HEADER);
    const isBare =
      sample.kind === "text" &&
      sample.header === undefined &&
      sample.rows.length > 0 &&
      sample.rows.every((cells) => cells.length === 12 || cells.length === 11) &&
      sample.rows.every(([open, , , , , , close]) => isTime(open) && isTime(close));
    if (!isHeaded && !isBare) return undefined;
    const exchange = exchangeOf(sample, isHeaded);
    return {
      layout: "binance-archive",
      columns: COLUMNS,
      units: ["ms", "us"],
      hasOddCandles: true,
      ...(exchange === undefined ? {} : { exchange }),
      ...named(sample.name),
    };
  },
};

function isTime(cell: string | undefined): boolean {
  return /^\d{13}(?:\d{3})?$/.test(cell ?? "");
}

/** @returns `undefined` when nothing tells spot from futures */
function exchangeOf({ folders, rows }: Sample, isHeaded: boolean): string | undefined {
  const [kind] = folders.filter((folder) => ["spot", "um", "cm"].includes(folder));
  if (kind === "spot") return "binance";
  if (kind !== undefined) return `binance-${kind}`;
  if (isHeaded) return "binance-um";
  const hasSpotDecimals = rows.every((cells) =>
    cells.slice(1, 5).every((cell) => /\.\d{8}$/.test(cell)),
  );
  return hasSpotDecimals ? "binance" : undefined;
}

function named(name: string): Partial<LayoutMatch> {
  const found = NAME.exec(name);
  if (found === null) return joinedName(name);
  const [, symbol = "", word = "", year, month, day] = found;
  const timeframe = word === "1mo" ? "1M" : word;
  if (!isTimeframe(timeframe)) return {};
  const wholeUntil =
    day === undefined
      ? Date.UTC(Number(year), Number(month), 1)
      : Date.UTC(Number(year), Number(month) - 1, Number(day) + 1);
  // A file of the archive is made when its month or day is over.
  return { symbol, timeframe, wholeUntil };
}

/** `BTCUSDT_1h_2021-2026`: who joins files names them so. */
function joinedName(name: string): Partial<LayoutMatch> {
  const [, symbol, timeframe] = /^([\p{Lu}\p{N}]{5,})[_-](\w+?)(?:[_.-]|$)/u.exec(name) ?? [];
  if (symbol === undefined || timeframe === undefined || !isTimeframe(timeframe)) return {};
  return { symbol, timeframe };
}
