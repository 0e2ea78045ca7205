import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, test } from "node:test";
import { gzipSync } from "node:zlib";
import type { FileReport, ImportReport } from "../src/csv/import.ts";
import type { ImportHints } from "../src/csv/plan.ts";
import { openStore } from "../src/store/index.ts";
import { importInto } from "./support/csv-import.ts";
import { withDatabase } from "./support/postgres.ts";
import { sharedDataFolder } from "./support/shared-data.ts";
import { zipWith } from "./support/zip.ts";

/**
 * Files of every layout and of every way to be damaged, each with what becomes of it. The table is kept in docs/CSV.md;
 * `UPDATE_DOCS=1` writes it anew.
 */

const folder = mkdtempSync(join(tmpdir(), "black-trade-csv-corpus-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const T0 = Date.UTC(2024, 0, 1);

interface Case {
  /** What is special about it, for the table. */
  readonly what: string;
  /** Path in the corpus. */
  readonly name: string;
  readonly content: Buffer | string | (() => void);
  readonly hints?: ImportHints;
  /** state: rows = stored + identical + superseded + refused + held back */
  readonly expected: string;
  /** A part of the reason, of the file or of its first note. */
  readonly reason?: RegExp;
}

interface Row {
  readonly time: number;
  readonly open: string;
  readonly high: string;
  readonly low: string;
  readonly close: string;
  readonly volume: string;
}

const row = (index: number, stepMs = HOUR): Row => ({
  time: T0 + index * stepMs,
  ...{ open: "42000.10", high: "42500.5", low: "41800", close: `42100.${10 + index}` },
  volume: `${12 + index}.345`,
});
const rows = (count: number, stepMs = HOUR): Row[] =>
  Array.from({ length: count }, (_, index) => row(index, stepMs));
const iso = (time: number): string => new Date(time).toISOString();
const HEADER =
  "timestamp,datetime,open,high,low,close,volume,close_time,quote_volume,trades,taker_buy_base,taker_buy_quote";
const ownLine = ({ time, open, high, low, close, volume }: Row): string =>
  `${time},${iso(time - 3 * HOUR).slice(0, 19)},${open},${high},${low},${close},${volume},${time + HOUR - 1},518000.5,900,6.1,256000.25`;
const own = (lines: readonly string[]): string => `${[HEADER, ...lines].join("\n")}\n`;
const OWN = own(rows(5).map(ownLine));
const six = (separator: string, time: (time: number) => number | string, count = 5): string[] =>
  rows(count).map((one) =>
    [time(one.time), one.open, one.high, one.low, one.close, one.volume].join(separator),
  );
const named = (lines: readonly string[], header = "timestamp,open,high,low,close,volume"): string =>
  `${[header, ...lines].join("\n")}\n`;
const ms = (time: number): number => time;
const archiveLine =
  (unit: number, decimals = 8) =>
  ({ time, volume }: Row): string => {
    const price = (value: number): string => value.toFixed(decimals);
    const close = unit === 1 ? time + HOUR - 1 : (time + HOUR) * unit - 1;
    return `${time * unit},${price(42_000)},${price(42_500)},${price(41_800)},${price(42_100)},${volume},${close},518000.5,900,6.1,256000.25,0`;
  };
const archive = (unit = 1, decimals = 8): string =>
  `${rows(5).map(archiveLine(unit, decimals)).join("\n")}\n`;
const UM_HEADER =
  "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore";
const BAD_LINE = "1704067200000,x,NaN,1,1,1,1,1704070799999,1,1,1,1";
const good = (count: number): string => `imported: ${count} = ${count - 1} + 0 + 0 + 0 + 1`;
const ALL_GOOD = good(5);
const REFUSED = "refused: 0 = 0 + 0 + 0 + 0 + 0";
const damaged = (lines: readonly string[], expected: string, reason: RegExp): Partial<Case> => ({
  ...{ content: own(lines), expected, reason },
});
const replaced = (index: number, line: string): string[] =>
  rows(5).map((one, at) => (at === index ? line : ownLine(one)));
const one = (index: number, change: (line: string) => string): string[] =>
  replaced(index, change(ownLine(row(index))));
const ONE_REFUSED = "imported: 5 = 3 + 0 + 0 + 1 + 1";

const CASES: readonly Case[] = [
  { what: "own layout", name: "a1/BTCUSDT_1h.csv", content: OWN, expected: ALL_GOOD },
  {
    what: "own layout, gzip",
    name: "a2/BTCUSDT_1h.csv.gz",
    content: gzipSync(OWN),
    expected: ALL_GOOD,
  },
  {
    what: "own layout, ZIP",
    name: "a3/BTCUSDT_1h.zip",
    content: zipWith([{ name: "BTCUSDT_1h.csv", content: OWN }]),
    expected: ALL_GOOD,
  },
  {
    what: "gzip called .csv",
    name: "a4/BTCUSDT_1h.csv",
    content: gzipSync(OWN),
    expected: ALL_GOOD,
  },
  {
    what: "byte order mark",
    name: "b1/BTCUSDT_1h.csv",
    content: `\ufeff${OWN}`,
    expected: ALL_GOOD,
  },
  {
    what: "CR LF",
    name: "b2/BTCUSDT_1h.csv",
    content: OWN.replaceAll("\n", "\r\n"),
    expected: ALL_GOOD,
  },
  {
    what: "CR alone",
    name: "b3/BTCUSDT_1h.csv",
    content: OWN.replaceAll("\n", "\r"),
    expected: ALL_GOOD,
  },
  {
    what: "UTF-16 with mark",
    name: "b4/BTCUSDT_1h.csv",
    content: Buffer.from(`\ufeff${OWN}`, "utf16le"),
    expected: ALL_GOOD,
  },
  {
    what: "UTF-16 big endian",
    name: "b5/BTCUSDT_1h.csv",
    content: Buffer.from(`\ufeff${OWN}`, "utf16le").swap16(),
    expected: ALL_GOOD,
  },
  {
    what: "semicolons",
    name: "b6/BTCUSDT_1h.csv",
    content: OWN.replaceAll(",", ";"),
    expected: ALL_GOOD,
  },
  {
    what: "commas in all numbers, decimal or between thousands",
    name: "b7a/BTCUSDT_1h.csv",
    content: named(
      Array.from({ length: 5 }, (_, at) => `${T0 + at * HOUR};1,234;1,240;1,230;1,23${at};10,500`),
      "timestamp;open;high;low;close;volume",
    ),
    expected: REFUSED,
    reason: /may be decimal commas or stand between thousands/,
  },
  {
    what: "the same in quotes, the volume with a point",
    name: "b7b/BTCUSDT_1h.csv",
    content: named(
      Array.from(
        { length: 5 },
        (_, at) => `${T0 + at * HOUR},"1,234","1,240","1,230","1,235",10.5`,
      ),
    ),
    expected: REFUSED,
    reason: /may be decimal commas or stand between thousands/,
  },
  {
    what: "three decimals behind a comma, told by one number",
    name: "b7c/BTCUSDT_1h.csv",
    content: named(
      Array.from({ length: 5 }, (_, at) => `${T0 + at * HOUR};1,234;1,240;1,230;1,235;${at},25`),
      "timestamp;open;high;low;close;volume",
    ),
    expected: ALL_GOOD,
  },
  {
    what: "two timeframes in one file, by its column",
    name: "b7d/BTCUSDT.csv",
    content: named(
      [
        ...six(",", ms).map((line) => `1h,${line}`),
        `1d,${T0},1,2,1,2,900`,
        `1d,${T0 + DAY},1,2,1,2,900`,
      ],
      "interval,timestamp,open,high,low,close,volume",
    ),
    hints: { symbol: "BTCUSDT" },
    expected: "imported: 7 = 4 + 0 + 0 + 2 + 1",
    reason: /its timeframe is "1d", not 1h/,
  },
  {
    what: "the other one of them, by `--timeframe`",
    name: "b7e/BTCUSDT.csv",
    content: named(
      [
        ...six(",", ms).map((line) => `1h,${line}`),
        `1d,${T0},1,2,1,2,900`,
        `1d,${T0 + DAY},1,2,1,2,900`,
      ],
      "interval,timestamp,open,high,low,close,volume",
    ),
    hints: { symbol: "BTCUSDT", timeframe: "1d" },
    expected: "imported: 7 = 1 + 0 + 0 + 5 + 1",
    reason: /its timeframe is "1h", not 1d/,
  },
  {
    what: "a header without rows",
    name: "b7f/BTCUSDT_1h.csv",
    content: `${HEADER}\n`,
    expected: REFUSED,
    reason: /it holds no rows/,
  },
  {
    what: "semicolons and decimal commas",
    name: "b7/BTCUSDT_1h.csv",
    content: named(
      six(";", ms).map((line) => line.replaceAll(".", ",")),
      "timestamp;open;high;low;close;volume",
    ),
    expected: ALL_GOOD,
  },
  {
    what: "tabs",
    name: "b8/BTCUSDT_1h.tsv",
    content: OWN.replaceAll(",", "\t"),
    expected: ALL_GOOD,
  },
  {
    what: "every cell quoted",
    name: "b9/BTCUSDT_1h.csv",
    content: OWN.replace(/[^,\n]+/g, '"$&"'),
    expected: ALL_GOOD,
  },
  {
    what: "spaces and no-break spaces",
    name: "c1/BTCUSDT_1h.csv",
    content: named(six(" ,\u00a0", ms)),
    expected: ALL_GOOD,
  },
  {
    what: "plus signs",
    name: "c2/BTCUSDT_1h.csv",
    content: named(six(",+", ms)),
    expected: ALL_GOOD,
  },
  {
    what: "`sep=;` of Excel",
    name: "c3/BTCUSDT_1h.csv",
    content: `sep=;\n${OWN.replaceAll(",", ";")}`,
    expected: ALL_GOOD,
  },
  {
    what: "comments and empty lines on top",
    name: "c4/BTCUSDT_1h.csv",
    content: `# made by hand\n\n${OWN}`,
    expected: ALL_GOOD,
  },
  {
    what: "no line end at the end",
    name: "c5/BTCUSDT_1h.csv",
    content: OWN.trimEnd(),
    expected: ALL_GOOD,
  },
  {
    what: "prices as small floats (`2.85e-05`)",
    name: "c6/SHIBUSDT_1h.csv",
    content: named(rows(5).map(({ time }) => `${time},2.85e-05,2.9e-05,2.8e-05,2.85e-05,1000.0`)),
    expected: ALL_GOOD,
  },
  {
    what: "times in seconds",
    name: "d1/BTCUSDT_1h.csv",
    content: named(six(",", (time) => time / 1_000)),
    expected: ALL_GOOD,
  },
  {
    what: "times in seconds as floats",
    name: "d2/BTCUSDT_1h.csv",
    content: named(six(",", (time) => `${time / 1_000}.0`)),
    expected: ALL_GOOD,
  },
  {
    what: "times in µs",
    name: "d3/BTCUSDT_1h.csv",
    content: named(six(",", (time) => `${time}000`)),
    expected: ALL_GOOD,
  },
  {
    what: "times in ns",
    name: "d4/BTCUSDT_1h.csv",
    content: named(six(",", (time) => `${time}000000`)),
    expected: ALL_GOOD,
  },
  {
    what: "ISO times with zone",
    name: "d5/BTCUSDT_1h.csv",
    content: named(six(",", iso)),
    expected: ALL_GOOD,
  },
  {
    what: "times as text without zone",
    name: "d6/BTCUSDT_1h.csv",
    content: named(six(",", (time) => iso(time).slice(0, 19))),
    expected: REFUSED,
    reason: /--time-zone UTC/,
  },
  {
    what: "the same, with `--time-zone`",
    name: "d7/BTCUSDT_1h.csv",
    content: named(six(",", (time) => iso(time).slice(0, 19))),
    hints: { zoneMs: 0 },
    expected: ALL_GOOD,
  },
  {
    what: "Excel's days, with `--time-zone`",
    name: "d8/BTCUSDT_1h.csv",
    content: named(six(",", (time) => time / DAY + 25_569)),
    hints: { zoneMs: 0 },
    expected: ALL_GOOD,
  },
  {
    what: "two units in one file",
    name: "d9/BTCUSDT_1h.csv",
    content: named([...six(",", ms, 3), ...six(",", (time) => time / 1_000, 5).slice(3)]),
    expected: "imported: 5 = 2 + 0 + 0 + 2 + 1",
    reason: /another unit/,
  },
  {
    what: "a local time (off the grid)",
    name: "e1/BTCUSDT_1d.csv",
    content: named(
      rows(5, DAY).map(
        (each) =>
          `${each.time - 3 * HOUR},${each.open},${each.high},${each.low},${each.close},${each.volume}`,
      ),
    ),
    expected: REFUSED,
    reason: /not on the grid of 1d/,
  },
  {
    what: "named 1h, rows 15 min apart",
    name: "e2/BTCUSDT_1h.csv",
    content: named(
      rows(20, HOUR / 4).map(
        (each) => `${each.time},${each.open},${each.high},${each.low},${each.close},${each.volume}`,
      ),
    ),
    expected: REFUSED,
    reason: /rows are 15m apart, not 1h/,
  },
  {
    what: "named 1h, rows a day apart",
    name: "e3/BTCUSDT_1h.csv",
    content: named(
      rows(20, DAY).map(
        (each) => `${each.time},${each.open},${each.high},${each.low},${each.close},${each.volume}`,
      ),
    ),
    expected: REFUSED,
    reason: /rows are 1d apart, not 1h/,
  },
  {
    what: "no symbol anywhere",
    name: "e4/prices.csv",
    content: named(six(",", ms)),
    expected: REFUSED,
    reason: /--symbol/,
  },
  {
    what: "symbol by `--symbol`, timeframe by the rows",
    name: "e5/prices.csv",
    content: named(six(",", ms)),
    hints: { symbol: "ETHUSDT" },
    expected: ALL_GOOD,
  },
  {
    what: "one row and no timeframe",
    name: "e6/prices.csv",
    content: named(six(",", ms, 1)),
    hints: { symbol: "ETHUSDT" },
    expected: REFUSED,
    reason: /--timeframe/,
  },
  {
    what: "no header, unknown columns",
    name: "e7/BTCUSDT_1h.csv",
    content: `${six(",", ms)
      .map((line) => `x,${line}`)
      .join("\n")}\n`,
    expected: REFUSED,
    reason: /--columns/,
  },
  {
    what: "the same, with `--columns`",
    name: "e8/BTCUSDT_1h.csv",
    content: `${six(",", ms)
      .map((line) => `x,${line}`)
      .join("\n")}\n`,
    hints: { columns: [undefined, "openTime", "open", "high", "low", "close", "volume"] },
    expected: ALL_GOOD,
  },
  {
    what: "other names, with `--map`",
    name: "e9/BTCUSDT_1h.csv",
    content: named(six(",", ms), "t0,first,top,bottom,end,amount"),
    hints: {
      map: {
        openTime: "t0",
        open: "first",
        high: "top",
        low: "bottom",
        close: "end",
        volume: "amount",
      },
    },
    expected: ALL_GOOD,
  },
  {
    what: "columns in another order",
    name: "f1/BTCUSDT_1h.csv",
    content: named(
      rows(5).map(
        (each) => `${each.volume},${each.close},${each.low},${each.high},${each.open},${each.time}`,
      ),
      "volume,close,low,high,open,timestamp",
    ),
    expected: ALL_GOOD,
  },
  {
    what: "two columns of one name",
    name: "f2/BTCUSDT_1h.csv",
    content: named(
      six(",", ms).map((line) => `${line},1`),
      "timestamp,open,high,low,close,volume,close",
    ),
    expected: REFUSED,
    reason: /--map/,
  },
  {
    what: "no volume",
    name: "f3/BTCUSDT_1h.csv",
    content: named(
      rows(5).map((each) => `${each.time},${each.open},${each.high},${each.low},${each.close}`),
      "timestamp,open,high,low,close",
    ),
    expected: REFUSED,
    reason: /no volume/,
  },
  {
    what: "no OHLC (CoinGecko)",
    name: "f4/BTCUSDT_1d.csv",
    content:
      "snapped_at,price,market_cap,total_volume\n2013-04-28 00:00:00 UTC,135.3,1500517590,0\n",
    expected: REFUSED,
    reason: /no open, high, low and close/,
  },
  {
    what: "data.binance.vision, spot, ms",
    name: "g1/BTCUSDT-1h-2024-01-01.csv",
    content: archive(),
    expected: "imported: 5 = 5 + 0 + 0 + 0 + 0",
  },
  {
    what: "data.binance.vision, spot, µs, ZIP",
    name: "g2/BTCUSDT-1h-2024-01-01.zip",
    content: zipWith([{ name: "BTCUSDT-1h-2024-01-01.csv", content: archive(1_000) }]),
    expected: "imported: 5 = 5 + 0 + 0 + 0 + 0",
  },
  {
    what: "data.binance.vision, futures with header",
    name: "g3/BTCUSDT-1h-2024-01-01.csv",
    content: `${UM_HEADER}\n${archive(1, 2)}`,
    expected: "imported: 5 = 5 + 0 + 0 + 0 + 0",
  },
  {
    what: "data.binance.vision, spot or futures not told",
    name: "g4/BTCUSDT-1h-2024-01-01.csv",
    content: archive(1, 2),
    expected: REFUSED,
    reason: /--exchange binance-um/,
  },
  {
    what: "data.binance.vision, joined, ms then µs",
    name: "g5/BTCUSDT_1h_2024.csv",
    content: `${archive().split("\n").slice(0, 3).join("\n")}\n${archive(1_000).split("\n").slice(3).join("\n")}`,
    expected: ALL_GOOD,
  },
  {
    what: "an archive's row that a halt cut short",
    name: "g6/BTCUSDT-1h-2024-01-01.csv",
    content: archive().replace(String(T0 + 2 * HOUR - 1), String(T0 + HOUR + 60_000)),
    expected: "imported: 5 = 5 + 0 + 0 + 0 + 0",
  },
  {
    what: "saved REST answer (JSON)",
    name: "g7/BTCUSDT_1h.json",
    content: JSON.stringify(rows(5).map((each) => archiveLine(1)(each).split(","))),
    expected: ALL_GOOD,
  },
  {
    what: "freqtrade JSON",
    name: "g8/BTC_USDT-1h.json",
    content: `[${six(", ", ms)
      .map((line) => `[${line}]`)
      .join(", ")}]`,
    expected: ALL_GOOD,
  },
  {
    what: "freqtrade JSON, cut off",
    name: "g9/BTC_USDT-1h.json",
    content: `[${six(", ", ms)
      .map((line) => `[${line}]`)
      .join(", ")}`.slice(0, -9),
    expected: "imported: 5 = 3 + 0 + 0 + 1 + 1",
    reason: /middle of a row/,
  },
  {
    what: "JSON of something else",
    name: "h1/BTCUSDT_1h.json",
    content: '[{"open":1}]',
    expected: REFUSED,
    reason: /holds no rows|JSON/,
  },
  {
    what: "CryptoDataDownload, address line, newest first",
    name: "h2/Binance_BTCUSDT_1h.csv",
    content: `https://www.CryptoDataDownload.com\nunix,date,symbol,open,high,low,close,Volume BTC,Volume USDT,tradecount\n${rows(
      5,
    )
      .reverse()
      .map(
        (each) =>
          `${each.time},${iso(each.time).slice(0, 19).replace("T", " ")},BTC/USDT,${each.open},${each.high},${each.low},${each.close},${each.volume},518000.5,900`,
      )
      .join("\n")}\n`,
    expected: ALL_GOOD,
  },
  {
    what: "CryptoDataDownload, both eras in one file",
    name: "h3/Binance_BTCUSDT_1h.csv",
    content: `${rows(5)
      .reverse()
      .map(
        (each, index) =>
          `${index < 3 ? each.time : `${each.time / 1_000}.0`},${iso(each.time).slice(0, 10)},BTC/USDT,${each.open},${each.high},${each.low},${each.close},${each.volume},518000.5,${index < 3 ? 900 : "NULL"}`,
      )
      .join("\n")}\n`,
    expected: ALL_GOOD,
  },
  {
    what: "CryptoDataDownload, `05-PM`, no unix column",
    name: "h4/Binance_BTCUSDT_1h.csv",
    content: `Date,Symbol,Open,High,Low,Close,Volume BTC,Volume USDT\n${rows(5)
      .map(
        (each, index) =>
          `2024-01-01 ${["12-AM", "01-AM", "02-AM", "03-AM", "04-AM"][index]},BTCUSDT,${each.open},${each.high},${each.low},${each.close},${each.volume},518000.5`,
      )
      .join("\n")}\n`,
    expected: ALL_GOOD,
  },
  {
    what: "Kaggle, with `--symbol`",
    name: "h5/btc_1h_data.csv",
    content: named(
      rows(5).map(
        (each) =>
          `${iso(each.time).slice(0, 19).replace("T", " ")},${each.open},${each.high},${each.low},${each.close},${each.volume},${iso(
            each.time + HOUR - 1,
          )
            .slice(0, 23)
            .replace("T", " ")},518000.5,900,6.1,256000.25,0`,
      ),
      "Open time,Open,High,Low,Close,Volume,Close time,Quote asset volume,Number of trades,Taker buy base asset volume,Taker buy quote asset volume,Ignore",
    ),
    hints: { symbol: "BTCUSDT" },
    expected: ALL_GOOD,
  },
  {
    what: "TradingView, indicators between",
    name: "h6/BINANCE_BTCUSDT, 60.csv",
    content: named(
      rows(5).map(
        (each) =>
          `${iso(each.time)},${each.open},${each.high},${each.low},${each.close},1,NaN,${each.volume}`,
      ),
      "time,open,high,low,close,Plot,MA,Volume",
    ),
    expected: ALL_GOOD,
  },
  {
    what: "TradingView in seconds, without volume",
    name: "h7/BINANCE_BTCUSDT, 60.csv",
    content: named(
      rows(5).map(
        (each) => `${each.time / 1_000},${each.open},${each.high},${each.low},${each.close}`,
      ),
      "time,open,high,low,close",
    ),
    expected: REFUSED,
    reason: /no volume/,
  },
  {
    what: "backtrader GenericCSV",
    name: "h8/Binance_BTCUSDT_d.csv",
    content: `${rows(5, DAY)
      .map(
        (each) =>
          `${iso(each.time).slice(0, 19).replace("T", " ")},${each.open},${each.high},${each.low},${each.close},${each.volume}`,
      )
      .join("\n")}\n`,
    expected: ALL_GOOD,
  },
  {
    what: "Yahoo Finance",
    name: "h9/BTC-USD.csv",
    content: named(
      rows(5, DAY).map(
        (each) =>
          `${iso(each.time).slice(0, 10)},${each.open},${each.high},${each.low},${each.close},${each.close},21056800`,
      ),
      "Date,Open,High,Low,Close,Adj Close,Volume",
    ),
    expected: ALL_GOOD,
  },
  {
    what: "Yahoo Finance with a `null` row",
    name: "i1/BTC-USD.csv",
    content: named(
      rows(5, DAY).map((each, index) =>
        index === 2
          ? `${iso(each.time).slice(0, 10)},null,null,null,null,null,null`
          : `${iso(each.time).slice(0, 10)},${each.open},${each.high},${each.low},${each.close},${each.close},21056800`,
      ),
      "Date,Open,High,Low,Close,Adj Close,Volume",
    ),
    expected: ONE_REFUSED,
    reason: /open is "null"/,
  },
  {
    what: "Jesse (close before high)",
    name: "i2/BTCUSDT_1h.csv",
    content: named(
      rows(5).map(
        (each) => `${each.time},${each.open},${each.close},${each.high},${each.low},${each.volume}`,
      ),
      "timestamp,open,close,high,low,volume",
    ),
    expected: ALL_GOOD,
  },
  {
    what: "Jesse without header",
    name: "i3/BTCUSDT_1h.csv",
    content: `${rows(5)
      .map(
        (each) => `${each.time},${each.open},${each.close},${each.high},${each.low},${each.volume}`,
      )
      .join("\n")}\n`,
    expected: ALL_GOOD,
  },
  {
    what: "zipline csvdir",
    name: "i4/daily/AAPL.csv",
    content: named(
      rows(5, DAY).map(
        (each) =>
          `${iso(each.time).slice(0, 10)},${each.open},${each.high},${each.low},${each.close},${each.volume},0.0,1.0`,
      ),
      "date,open,high,low,close,volume,dividend,split",
    ),
    expected: ALL_GOOD,
  },
  {
    what: "CoinMarketCap, with `--symbol`",
    name: "i5/Bitcoin.csv",
    content: `\ufefftimeOpen;timeClose;timeHigh;timeLow;name;open;high;low;close;volume;marketCap;circulatingSupply;timestamp\n${rows(
      5,
      DAY,
    )
      .reverse()
      .map(
        (each) =>
          `"${iso(each.time)}";"${iso(each.time + DAY - 1)}";"";"";"2781";${each.open};${each.high};${each.low};${each.close};280085470492.28;1;2;"${iso(each.time + DAY - 1)}"`,
      )
      .join("\n")}\n`,
    hints: { symbol: "BTCUSD" },
    expected: ALL_GOOD,
  },
  {
    what: "equal duplicate",
    name: "j1/BTCUSDT_1h.csv",
    content: own([...rows(5).map(ownLine), ownLine(row(1))]),
    expected: "imported: 6 = 4 + 1 + 0 + 0 + 1",
  },
  {
    what: "unequal duplicate",
    name: "j2/BTCUSDT_1h.csv",
    content: own([...rows(5).map(ownLine), ownLine(row(1)).replace(",900,", ",901,")]),
    expected: "imported: 6 = 4 + 0 + 1 + 0 + 1",
    reason: /other values stands in line 7, which is taken/,
  },
  {
    what: "the newest candle twice, unequal",
    name: "j3/BTCUSDT_1h.csv",
    content: own([...rows(5).map(ownLine), ownLine(row(4)).replace(",900,", ",901,")]),
    expected: "imported: 6 = 4 + 0 + 1 + 0 + 1",
  },
  {
    what: "rows in no order",
    name: "j4/BTCUSDT_1h.csv",
    content: own([3, 0, 4, 2, 1].map((index) => ownLine(row(index)))),
    expected: ALL_GOOD,
  },
  {
    what: "a hole between rows",
    name: "j5/BTCUSDT_1h.csv",
    content: own([0, 1, 2, 7, 8].map((index) => ownLine(row(index)))),
    expected: ALL_GOOD,
  },
  {
    what: "header in the middle",
    name: "j6/BTCUSDT_1h.csv",
    ...damaged(
      [...rows(3).map(ownLine), HEADER, ...rows(5).slice(3).map(ownLine)],
      "imported: 6 = 4 + 0 + 0 + 1 + 1",
      /time is "timestamp"/,
    ),
  } as Case,
  {
    what: "high below low",
    name: "k1/BTCUSDT_1h.csv",
    ...damaged(
      one(2, (line) => line.replace("42500.5", "41000")),
      ONE_REFUSED,
      /high 41000 is below low/,
    ),
  } as Case,
  {
    what: "`NaN`",
    name: "k2/BTCUSDT_1h.csv",
    ...damaged(
      one(2, (line) => line.replace("42500.5", "NaN")),
      ONE_REFUSED,
      /high is "NaN"/,
    ),
  } as Case,
  {
    what: "negative price",
    name: "k3/BTCUSDT_1h.csv",
    ...damaged(
      one(2, (line) => line.replace("41800", "-41800")),
      ONE_REFUSED,
      /low is "-41800"/,
    ),
  } as Case,
  {
    what: "price zero",
    name: "k4/BTCUSDT_1h.csv",
    ...damaged(
      one(2, (line) => line.replace("41800", "0")),
      ONE_REFUSED,
      /low is 0/,
    ),
  } as Case,
  {
    what: "`4.25005e+04`, `104.`, `.5`",
    name: "k5/BTCUSDT_1h.csv",
    content: own(
      one(2, (line) =>
        line.replace("42500.5", "4.25005e+04").replace("41800", "41800.").replace(",6.1,", ",.5,"),
      ),
    ),
    expected: ALL_GOOD,
  },
  {
    what: "`1e25`: more digits than a decimal has",
    name: "k5a/BTCUSDT_1h.csv",
    ...damaged(
      one(2, (line) => line.replace("42500.5", "1e25")),
      ONE_REFUSED,
      /high is "1e25"/,
    ),
  } as Case,
  {
    what: "40 digits",
    name: "k6/BTCUSDT_1h.csv",
    ...damaged(
      one(2, (line) => line.replace("42500.5", "4".repeat(40))),
      ONE_REFUSED,
      /high is/,
    ),
  } as Case,
  {
    what: "an empty cell",
    name: "k7/BTCUSDT_1h.csv",
    ...damaged(
      one(2, (line) => line.replace("42500.5", "")),
      ONE_REFUSED,
      /high is ""/,
    ),
  } as Case,
  {
    what: "half a trade",
    name: "k8/BTCUSDT_1h.csv",
    ...damaged(
      one(2, (line) => line.replace(",900,", ",900.5,")),
      ONE_REFUSED,
      /tradeCount is "900.5"/,
    ),
  } as Case,
  {
    what: "a time to come",
    name: "k9/BTCUSDT_1h.csv",
    ...damaged(
      one(2, (line) => line.replace(/^\d+/, "4102444800000")),
      ONE_REFUSED,
      /yet to come/,
    ),
  } as Case,
  {
    what: "close time of another candle",
    name: "l1/BTCUSDT_1h.csv",
    ...damaged(
      one(2, (line) =>
        line.replace(String(row(2).time + HOUR - 1), String(row(2).time + 5 * HOUR)),
      ),
      ONE_REFUSED,
      /does not belong/,
    ),
  } as Case,
  {
    what: "too few columns",
    name: "l2/BTCUSDT_1h.csv",
    ...damaged(
      one(2, (line) => line.split(",").slice(0, 7).join(",")),
      ONE_REFUSED,
      /7 columns, not 12/,
    ),
  } as Case,
  {
    what: "two rows in one line",
    name: "l2b/BTCUSDT_1h.csv",
    ...damaged(
      one(2, (line) => line + line),
      ONE_REFUSED,
      /23 columns, not 12: two rows run together/,
    ),
  } as Case,
  {
    what: "partial last line",
    name: "l3/BTCUSDT_1h.csv",
    content: OWN.slice(0, -60),
    expected: ONE_REFUSED,
    reason: /the file ends in it/,
  },
  {
    what: "partial last line, oldest row last",
    name: "l4/BTCUSDT_1h.csv",
    content: own(rows(5).reverse().map(ownLine)).slice(0, -2),
    expected: "imported: 5 = 3 + 0 + 0 + 0 + 2",
    reason: /may be cut off/,
  },
  {
    what: "NUL bytes",
    name: "l5/BTCUSDT_1h.csv",
    ...damaged(
      one(2, (line) => line.replace("42500", `42${String.fromCharCode(0)}500`)),
      ONE_REFUSED,
      /NUL/,
    ),
  } as Case,
  {
    what: "not UTF-8",
    name: "l6/BTCUSDT_1h.csv",
    content: Buffer.concat([
      Buffer.from(own(rows(2).map(ownLine))),
      Buffer.from([0x31, 0xff, 0xfe, 0x0a]),
      Buffer.from(`${rows(5).slice(2).map(ownLine).join("\n")}\n`),
    ]),
    expected: "imported: 6 = 4 + 0 + 0 + 1 + 1",
    reason: /not UTF-8/,
  },
  {
    what: "a header that is not UTF-8",
    name: "l6a/BTCUSDT_1h.csv",
    content: Buffer.from(
      named(six(",", ms), "timestamp,open,high,low,close,volume,B\u00f6rse"),
      "latin1",
    ),
    expected: REFUSED,
    reason: /line 1, .* cannot be read: it is not UTF-8; save the file as UTF-8/,
  },
  {
    what: "the same, with `--columns`",
    name: "l6b/BTCUSDT_1h.csv",
    content: Buffer.from(
      named(six(",", ms), "timestamp,open,high,low,close,volume,B\u00f6rse"),
      "latin1",
    ),
    hints: { columns: ["openTime", "open", "high", "low", "close", "volume"] },
    expected: ALL_GOOD,
  },
  {
    what: "a title that is not UTF-8 above a header",
    name: "l6c/BTCUSDT_1h.csv",
    content: Buffer.concat([Buffer.from("B\u00f6rse\n", "latin1"), Buffer.from(OWN)]),
    expected: ALL_GOOD,
  },
  {
    what: "spaces between values",
    name: "l6d/BTCUSDT_1h.csv",
    content: named(six(" ", ms), "timestamp open high low close volume"),
    expected: REFUSED,
    reason: /no comma, semicolon, tab or bar/,
  },
  {
    what: "a quote that does not end",
    name: "l7/BTCUSDT_1h.csv",
    ...damaged(
      one(2, (line) => line.replace("42500.5", '"42500.5')),
      ONE_REFUSED,
      /quotes do not pair/,
    ),
  } as Case,
  {
    what: "a line of 300 KB",
    name: "l8/BTCUSDT_1h.csv",
    ...damaged(
      [...rows(3).map(ownLine), "9".repeat(300_000), ...rows(5).slice(3).map(ownLine)],
      "imported: 6 = 4 + 0 + 0 + 1 + 1",
      /longer than 65536/,
    ),
  } as Case,
  {
    what: "another symbol in between",
    name: "l9/Binance_BTCUSDT_1h.csv",
    content: `unix,date,symbol,open,high,low,close,Volume BTC,Volume USDT,tradecount\n${rows(5)
      .map(
        (each, index) =>
          `${each.time},2024-01-01,${index === 2 ? "ETH/USDT" : "BTC/USDT"},${each.open},${each.high},${each.low},${each.close},${each.volume},518000.5,900`,
      )
      .join("\n")}\n`,
    expected: ONE_REFUSED,
    reason: /its symbol is "ETH\/USDT"/,
  },
  {
    what: "a comment at the end",
    name: "m1/BTCUSDT_1h.csv",
    content: `${OWN}# the end\n`,
    expected: "imported: 6 = 4 + 0 + 0 + 1 + 1",
    reason: /columns/,
  },
  {
    what: "only bad rows",
    name: "m2/BTCUSDT_1h.csv",
    content: own([BAD_LINE]),
    expected: "imported: 1 = 0 + 0 + 0 + 1 + 0",
    reason: /open is "NaN"/,
  },
  {
    what: "empty file",
    name: "m3/BTCUSDT_1h.csv",
    content: "",
    expected: REFUSED,
    reason: /is empty; /,
  },
  {
    what: "only a header",
    name: "m4/BTCUSDT_1h.csv",
    content: own([]),
    expected: REFUSED,
    reason: /holds no rows/,
  },
  {
    what: "gzip cut off",
    name: "m5/BTCUSDT_1h.csv.gz",
    content: gzipSync(own(rows(500).map(ownLine))).subarray(0, -900),
    expected: "partial",
    reason: /damaged or cut off/,
  },
  {
    what: "ZIP cut off",
    name: "m6/BTCUSDT_1h.zip",
    content: zipWith([{ name: "BTCUSDT_1h.csv", content: OWN }]).subarray(0, -30),
    expected: REFUSED,
    reason: /no ZIP, or one that is cut off; unpack it/,
  },
  {
    what: "ZIP with a wrong CRC",
    name: "m7/BTCUSDT_1h.zip",
    content: zipWith([{ name: "BTCUSDT_1h.csv", content: OWN, told: { crc: 1 } }]),
    expected: "partial: 5 = 4 + 0 + 0 + 0 + 1",
    reason: /CRC-32/,
  },
  {
    what: "ZIP bomb",
    name: "m8/BTCUSDT_1h.zip",
    content: zipWith([{ name: "BTCUSDT_1h.csv", content: Buffer.alloc(4_000_000, "0") }]),
    expected: REFUSED,
    reason: /times its size/,
  },
  {
    what: "ZIP with two files",
    name: "m9/BTCUSDT_1h.zip",
    content: zipWith([
      { name: "a.csv", content: OWN },
      { name: "b.csv", content: OWN },
    ]),
    expected: REFUSED,
    reason: /2 files/,
  },
  {
    what: "Parquet called .csv",
    name: "n1/BTCUSDT_1h.csv",
    content: "PAR1xxxx",
    expected: REFUSED,
    reason: /Parquet/,
  },
  {
    what: "xz called .csv",
    name: "n2/BTCUSDT_1h.csv",
    content: Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0, 0, 0]),
    expected: REFUSED,
    reason: /xz/,
  },
  {
    what: "feather, damaged",
    name: "n3/BTC_USDT-1h.feather",
    content: `ARROW1\0\0${"x".repeat(200)}ARROW1`,
    expected: REFUSED,
    reason: /feather file is damaged or of another kind; write it anew, or as CSV$/,
  },
  {
    what: "a picture",
    name: "n4/BTCUSDT_1h.csv",
    content: Buffer.from([0x89, 0x50, 0x4e, 0x47, 1, 2, 3]),
    expected: REFUSED,
    reason: /picture/,
  },
  {
    what: "random bytes",
    name: "n5/BTCUSDT_1h.csv",
    content: Buffer.from(Array.from({ length: 5_000 }, (_, index) => (index * 7_919 + 13) % 251)),
    expected: REFUSED,
    reason: /./,
  },
  {
    what: "a link out of the folder",
    name: "o1/BTCUSDT_1h.csv",
    content: () => symlinkSync("/etc/hostname", join(folder, "o1/BTCUSDT_1h.csv")),
    expected: "skipped: 0 = 0 + 0 + 0 + 0 + 0",
    reason: /out of the folder/,
  },
  {
    what: "a link in a circle",
    name: "o2/BTCUSDT_1h.csv",
    content: () => symlinkSync("BTCUSDT_1h.csv", join(folder, "o2/BTCUSDT_1h.csv")),
    expected: "skipped: 0 = 0 + 0 + 0 + 0 + 0",
    reason: /circle/,
  },
  {
    what: "a FIFO",
    name: "o3/BTCUSDT_1h.csv",
    content: () => execFileSync("mkfifo", [join(folder, "o3/BTCUSDT_1h.csv")]),
    expected: "skipped: 0 = 0 + 0 + 0 + 0 + 0",
    reason: /a FIFO/,
  },
  {
    what: "a folder called .csv",
    name: "o4/BTCUSDT_1h.csv/x.md",
    content: "text",
    expected: "skipped: 0 = 0 + 0 + 0 + 0 + 0",
    reason: /not a name of a candle file/,
  },
];

/** `state: rows = stored + identical + superseded + refused + held back` */
function outcomeOf({ state, counts }: FileReport): string {
  const { row: rowCount, stored, revised, identical, superseded, refused, heldBack } = counts;
  assert.equal(rowCount, stored + revised + identical + superseded + refused + heldBack);
  return `${state}: ${rowCount} = ${stored + revised} + ${identical} + ${superseded} + ${refused} + ${heldBack}`;
}

function reasonOf({ reason, notes }: FileReport): string {
  const note =
    notes.find(({ code }) => code !== "held-back") ??
    notes.find(({ detail }) => /cut off/.test(detail));
  return reason ?? (note === undefined ? "" : `line ${note.line}: ${note.detail}`);
}

/** A FIFO or a link alone would be no file at all: something to import lies beside it. */
const BESIDE = "beside/BTCUSDT_1d.csv";

test("every file of the corpus ends as it should", async (t) => {
  assert.ok(CASES.length >= 60);
  mkdirSync(join(folder, dirname(BESIDE)), { recursive: true });
  writeFileSync(join(folder, BESIDE), named(rows(2, DAY).map((each) => `${each.time},2,3,1,2,5`)));
  const lines: string[] = [];
  const wrong: string[] = [];
  await withDatabase(async ({ url }) => {
    const store = await openStore({ url });
    try {
      for (const [index, each] of CASES.entries()) {
        const top = join(folder, each.name.split("/")[0] ?? "");
        mkdirSync(dirname(join(folder, each.name)), { recursive: true });
        if (typeof each.content === "function") each.content();
        else writeFileSync(join(folder, each.name), each.content);
        // Each in an exchange of its own, so that no case finds another one's candles.
        const hints = /^(?:g4)/.test(each.name)
          ? { ...each.hints }
          : { exchange: `case-${index}`, ...each.hints };
        const beside = each.name.startsWith("o") ? [join(folder, dirname(BESIDE))] : [];
        const report = await importInto(store, [...beside, top], { hints });
        const file = report.files.find((one) => one.file.startsWith(top)) ?? assert.fail(each.name);
        const outcome = outcomeOf(file);
        const reason = reasonOf(file);
        const isExpected = outcome.startsWith(each.expected) && each.reason?.test(reason) !== false;
        if (!isExpected) wrong.push(`${each.what}: ${outcome} (${reason})`);
        assertWhole(report, file, each);
        lines.push(tableLine(each.what, file, outcome, reason));
      }
    } finally {
      await store.close();
    }
  });
  t.diagnostic(`${CASES.length} files`);
  for (const line of lines) t.diagnostic(line);
  assert.deepEqual(wrong, []);
  compareWithDocs(lines);
});

/** Only what lost something makes the import unwhole. */
function assertWhole(report: ImportReport, file: FileReport, { what, name }: Case): void {
  const isLoss = file.counts.refused > 0 || ["refused", "partial"].includes(file.state);
  const isSkippedCandle = file.state === "skipped" && name.endsWith(".csv");
  assert.equal(report.isWhole, !(isLoss || isSkippedCandle), what);
}

function tableLine(what: string, file: FileReport, outcome: string, reason: string): string {
  const plain = reason
    .replaceAll(folder, "…")
    .replace(/[\p{Cc}|]/gu, "·")
    .slice(0, 110);
  const shown = reason.includes("random") || what === "random bytes" ? "" : plain;
  return `| ${what} | ${file.layout ?? ""} | ${outcome.replace(/: 0 = 0 \+ 0 \+ 0 \+ 0 \+ 0$/, "")} | ${shown} |`;
}

const DOCS = join(import.meta.dirname, "../docs/CSV.md");
const [BEGIN, END] = ["<!-- corpus -->\n", "<!-- /corpus -->"];

function compareWithDocs(lines: readonly string[]): void {
  const page = readFileSync(DOCS, "utf8");
  const begin = page.indexOf(BEGIN) + BEGIN.length;
  const table = `\n| file | layout | outcome: rows = stored + identical + superseded + refused + held back | why |\n|---|---|---|---|\n${lines.join("\n")}\n\n`;
  if (process.env.UPDATE_DOCS !== undefined) {
    writeFileSync(DOCS, page.slice(0, begin) + table + page.slice(page.indexOf(END)));
    return;
  }
  assert.equal(
    page.slice(begin, page.indexOf(END)),
    table,
    "docs/CSV.md is out of date: UPDATE_DOCS=1",
  );
}

test("the recorded files of other people's programs", {
  skip: sharedDataFolder() === undefined ? "recorded market data is absent" : false,
}, async (t) => {
  const root = join(sharedDataFolder() ?? "", "layouts");
  const { files, isWhole } = await importInto(undefined, [root]);
  const found = Object.fromEntries(
    files.map((file) => [
      file.file.slice(root.length + 1),
      `${file.layout ?? ""} ${outcomeOf(file)}`,
    ]),
  );
  for (const file of files)
    t.diagnostic(`${file.file.slice(root.length + 1)}: ${outcomeOf(file)} ${reasonOf(file)}`);
  assert.equal(isWhole, false);
  assert.deepEqual(found, {
    "backtrader/Binance_BTCUSDT_d.genericcsv.head300.csv":
      "backtrader imported: 300 = 299 + 0 + 0 + 0 + 1",
    "coingecko/btc-usd-max.head60.csv": ` ${REFUSED}`,
    "coinmarketcap/Bitcoin_weekly.head40.csv": ` ${REFUSED}`,
    "cryptodatadownload/Binance_BTCUSDT_d.head.csv":
      "cryptodatadownload imported: 10 = 9 + 0 + 0 + 0 + 1",
    "cryptodatadownload/Binance_BTCUSDT_d.noheader.csv.gz":
      "cryptodatadownload imported: 1435 = 1433 + 0 + 1 + 0 + 1",
    "freqtrade/UNITTEST_BTC-1m.json.gz": "freqtrade imported: 13681 = 13680 + 0 + 0 + 0 + 1",
    "freqtrade/XRP_ETH-5m.feather": "freqtrade imported: 706 = 705 + 0 + 0 + 0 + 1",
    "freqtrade/XRP_USDT_USDT-1h-futures.json.gz": "freqtrade imported: 100 = 99 + 0 + 0 + 0 + 1",
    "kaggle/btc_1d_data_2018_to_2025.first1000.csv": ` ${REFUSED}`,
    "misc/jesse_doc_example.csv": ` ${REFUSED}`,
    "misc/nautilus_btc-perp_1m.head.csv": ` ${REFUSED}`,
    "misc/tardis_trades_XBTUSD_not_ohlcv.csv": ` ${REFUSED}`,
    "misc/yahoo_BTC-USD.head2.csv": "yahoo imported: 2 = 1 + 0 + 0 + 0 + 1",
    "misc/zipline_csvdir_AAPL.head5.csv": "zipline imported: 5 = 4 + 0 + 0 + 0 + 1",
    "tradingview/BINANCE_BTCUSDT_60.head.csv": "tradingview imported: 5 = 4 + 0 + 0 + 0 + 1",
  });
  const hinted: readonly (readonly [string, ImportHints, string])[] = [
    ["kaggle", { symbol: "BTCUSDT" }, "kaggle imported: 1000 = 999 + 0 + 0 + 0 + 1"],
    ["coinmarketcap", { symbol: "BTC" }, "coinmarketcap imported: 40 = 39 + 0 + 0 + 0 + 1"],
    ["misc/jesse_doc_example.csv", { symbol: "SPY" }, "jesse imported: 3 = 2 + 0 + 0 + 0 + 1"],
    [
      "misc/nautilus_btc-perp_1m.head.csv",
      { symbol: "BTC-PERP", zoneMs: 0 },
      "header imported: 199 = 198 + 0 + 0 + 0 + 1",
    ],
  ];
  for (const [path, hints, expected] of hinted) {
    const [file] = (await importInto(undefined, [join(root, path)], { hints })).files;
    assert.equal(`${file?.layout} ${file && outcomeOf(file)}`, expected);
  }
});
