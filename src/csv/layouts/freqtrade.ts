import { columnsOf, isHeader, type Layout, type LayoutMatch, type Sample } from "../layout.ts";
import { timeframeOf } from "../names.ts";

const COLUMNS = columnsOf(["openTime", "open", "high", "low", "close", "volume"]);
/** `XRP_ETH-5m`, `XRP_USDT_USDT-1h-futures`. */
const NAME = /^([\p{L}\p{N}]+)_([\p{L}\p{N}]+)(_[\p{L}\p{N}]+)?-(\w+)(-futures)?\./u;

/** Data of the bot freqtrade, in both of its formats: six columns, the exchange is the folder's name. */
export const freqtrade: Layout = {
  name: "freqtrade",
  title: "freqtrade's `PAIR-TIMEFRAME.json` and `.feather`",
  recognise(sample) {
    if (sample.kind === "text") return undefined;
    const isFeather = isHeader(sample, ["date", "open", "high", "low", "close", "volume"]);
    const isJson = sample.rows.length > 0 && sample.rows.every((cells) => cells.length === 6);
    if (sample.kind === "feather" ? !isFeather : !isJson) return undefined;
    return { layout: "freqtrade", columns: COLUMNS, zoneMs: 0, ...named(sample) };
  },
};

function named({ name, folders }: Sample): Partial<LayoutMatch> {
  const found = NAME.exec(name);
  if (found === null) return {};
  const [, base = "", quote = "", settle, word = "", futures] = found;
  const timeframe = timeframeOf(word);
  const isFutures = futures !== undefined || settle !== undefined;
  const folder = folders.find((one) => /^[a-z]{3,}$/.test(one) && KNOWN.has(one)) ?? "binance";
  return {
    symbol: `${base}${quote}`.toUpperCase(),
    exchange: isFutures && folder === "binance" ? "binance-um" : folder,
    ...(timeframe === undefined ? {} : { timeframe }),
  };
}

/** Exchanges that freqtrade names its folders after. */
const KNOWN: ReadonlySet<string> = new Set([
  ...["binance", "binanceus", "bitget", "bitmart", "bitvavo", "bybit", "gate", "gateio", "htx"],
  ...["hyperliquid", "kraken", "kucoin", "myokx", "okx"],
]);
