import { type Layout, type LayoutMatch, plainNames, type Sample } from "../layout.ts";
import { symbolOf, timeframeOf } from "../names.ts";

/**
 * CryptoDataDownload, newest row first, under a line with its address: `unix, date, symbol, open, high, low, close,
 * Volume BTC, Volume USDT, tradecount`. Rows of before 2020 have seconds as a float and no trade count; the oldest files
 * have no `unix` column. Times are UTC.
 */
export const cryptoDataDownload: Layout = {
  name: "cryptodatadownload",
  title: "CryptoDataDownload, both eras, with or without its header",
  recognise(sample) {
    const names = plainNames(sample.header);
    const isHeaded =
      names.includes("symbol") &&
      names.includes("date") &&
      names.some((name) => /^volume[a-z]+$/.test(name));
    if (isHeaded) return { ...BASE, ...headed(names), ...named(sample) };
    const isBare =
      sample.header === undefined &&
      sample.rows.length > 0 &&
      sample.rows.every(
        (cells) => cells.length >= 9 && cells.length <= 10 && isPair(cells[2]) && isDay(cells[1]),
      );
    return isBare ? { ...BASE, ...BARE, ...named(sample) } : undefined;
  },
};

const BASE = {
  layout: "cryptodatadownload",
  units: ["ms", "s", "text"],
  zoneMs: 0,
} as const satisfies Partial<LayoutMatch>;

const BARE = {
  columns: {
    ...{
      openTime: 0,
      open: 3,
      high: 4,
      low: 5,
      close: 6,
      volume: 7,
      quoteVolume: 8,
      tradeCount: 9,
    },
  },
  symbolColumn: 2,
};

function headed(names: readonly string[]): Pick<LayoutMatch, "columns" | "symbolColumn"> {
  const at = (name: string): number | undefined => {
    const index = names.indexOf(name);
    return index < 0 ? undefined : index;
  };
  const volumes = names.flatMap((name, index) => (/^volume[a-z]+$/.test(name) ? [index] : []));
  // Files of the first era name them in either order; the base's volume stands first since.
  const [volume, quoteVolume] = volumes;
  const fields = {
    openTime: at("unix") ?? at("unixtimestamp") ?? at("date"),
    ...{ open: at("open"), high: at("high"), low: at("low"), close: at("close") },
    ...{ volume, quoteVolume, tradeCount: at("tradecount") },
  };
  const columns = Object.fromEntries(
    Object.entries(fields).filter(([, index]) => index !== undefined),
  );
  return { columns, symbolColumn: names.indexOf("symbol") };
}

function isPair(cell = ""): boolean {
  return /^[\p{Lu}\p{N}]+\/[\p{Lu}\p{N}]+$/u.test(cell);
}

function isDay(cell = ""): boolean {
  return /^\d{4}-\d{2}-\d{2}/.test(cell);
}

/** `Binance_BTCUSDT_d.csv`: exchange, symbol, timeframe. */
function named({ name, rows }: Sample): Partial<LayoutMatch> {
  const [, exchange, pair, word = ""] = /^([A-Za-z]+)_([A-Za-z0-9]+)_(\w+?)\./.exec(name) ?? [];
  const timeframe = timeframeOf(word);
  const symbol = symbolOf(rows[0]?.find(isPair) ?? "") ?? pair?.toUpperCase();
  return {
    ...(exchange === undefined ? {} : { exchange: exchange.toLowerCase() }),
    ...(symbol === undefined ? {} : { symbol }),
    ...(timeframe === undefined ? {} : { timeframe }),
  };
}
