import assert from "node:assert/strict";
import { mkdtemp, open, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { tableFromIPC } from "apache-arrow";
import { parquetMetadata } from "hyparquet";
import { openZip } from "../../src/cli/import-csv.ts";
import { systemClock } from "../../src/clock.ts";
import { type Candle, DECIMAL_FIELDS } from "../../src/core/candle.ts";
import { isDecimal } from "../../src/core/decimal.ts";
import { type ExportFormat, encodeCandles } from "../../src/csv/export/encode.ts";
import { importFiles } from "../../src/csv/import.ts";
import { formatOwnRow, OWN_LAYOUT_HEADER, parseOwnRow } from "../../src/csv/own-layout.ts";
import { mergeRows, offsetOf, readHeading, readLines } from "../../src/csv/own-rows.ts";
import { pick } from "../sim/random.ts";
import { zipWith } from "../support/zip.ts";
import type { Target, TargetMaker } from "./target.ts";

const OPEN = Date.UTC(2025, 0, 1);
const MINUTE_MS = 60_000;
/** What 50 ms are meant for; larger files take longer by their rows. */
const MAX_FILE_BYTES = 32_768;

const candles = Array.from({ length: 30 }, (_, index): Candle => {
  const openTime = OPEN + index * MINUTE_MS;
  return {
    ...{ openTime, closeTime: openTime + MINUTE_MS - 1, tradeCount: index },
    ...{ open: "1.10", high: "99999.123456789012345678", low: "0.00000001", close: "1.50" },
    ...{ volume: "10.00", quoteVolume: "15.0", takerBuyVolume: "4", takerBuyQuoteVolume: "6.0" },
  };
});
const own = `${OWN_LAYOUT_HEADER}\n${candles.map((candle) => `${formatOwnRow(candle)}\n`).join("")}`;
const archive = candles
  .map(
    ({ openTime, closeTime }) => `${openTime},1.1,2.0,0.5,1.5,10.0,${closeTime},15.0,3,4.0,6.0,0\n`,
  )
  .join("");

/** Files as users have them. */
const FILES: readonly (string | Buffer)[] = [
  ...[own, archive, own.replaceAll("\n", "\r\n"), own.replaceAll(",", ";"), `\uFEFF${own}`],
  Buffer.from(own, "utf16le"),
  gzipSync(own),
  zipWith([{ name: "BTCUSDT-1m-2025-01.csv", content: archive }]),
  JSON.stringify(candles.map(({ openTime }) => [openTime, 1.1, 2, 0.5, 1.5, 10])),
  `date,open,high,low,close,volume\n2025-01-01 00:00:00+00:00,1,2,0.5,1.5,3\n2025-01-01 00:01:00,1,2,1,1,0\n`,
  `https://www.CryptoDataDownload.com\nUnix,Date,Symbol,Open,High,Low,Close,Volume BTC,Volume USDT,tradecount\n1735689600000,2025-01-01 00:00:00,BTC/USDT,1,2,0.5,1.5,3,4,5\n`,
  `"Date","Open","High","Low","Close","Adj Close","Volume"\n"2025-01-01","1,000.5","2","1e-3","1.5","1.5","3"\n`,
];
const NAMES = [
  ...["BTCUSDT_1m.csv", "BTCUSDT-1m-2025-01.zip", "BTC_USDT-1m.json", "Binance_BTCUSDT_d.csv"],
  ...["x.csv", "BTCUSDT_1m.csv.gz", "BTC_USDT-1m.feather", "BINANCE_BTCUSDT, 1.csv", "a.tsv"],
];

async function inFolder(make: (folder: string) => Promise<Target> | Target): Promise<Target> {
  const folder = await mkdtemp(join(tmpdir(), "bt-fuzz-"));
  const target = await make(folder);
  return { ...target, close: () => rm(folder, { recursive: true, force: true }) };
}

async function feather(): Promise<Buffer> {
  return encoded("arrow", candles);
}

async function encoded(format: ExportFormat, rows: readonly Candle[]): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  async function* pages(): AsyncGenerator<readonly Candle[]> {
    yield rows;
  }
  for await (const chunk of encodeCandles(format, pages())) chunks.push(chunk);
  return Buffer.concat(chunks);
}

const files = async (folder: string): Promise<Target> => ({
  name: "files to import",
  seeds: [...FILES.map((file) => Buffer.from(file)), await feather()],
  read: async (input, random) => {
    const path = join(folder, pick(random, NAMES));
    await writeFile(path, input.subarray(0, MAX_FILE_BYTES));
    const { files, counts } = await importFiles({
      ...{ paths: [path], openZip, clock: systemClock, store: undefined, isAgain: true },
      ...{ hints: {}, signal: new AbortController().signal },
    });
    await rm(path);
    const { stored, identical, superseded, refused, heldBack, row } = counts;
    assert.equal(stored + identical + superseded + refused + heldBack, row, "a row is lost");
    const [report] = files;
    assert.ok(report !== undefined && files.length === 1);
    if (report.state !== "imported") assert.ok((report.reason ?? "") !== "", "a reason is given");
    assert.ok(JSON.stringify(report).length < 50_000, "the report has a bound");
    return report.state === "imported" && refused > 0 ? "rows refused" : report.state;
  },
});

const ownFile = (folder: string): Target => ({
  name: "files of the mirror",
  seeds: [own, own.slice(0, 700), own.replaceAll("\n", "\r\n"), archive].map((text) =>
    Buffer.from(text),
  ),
  read: async (input) => {
    const bytes = input.subarray(0, MAX_FILE_BYTES);
    const path = join(folder, "BTCUSDT_1m.csv");
    await writeFile(path, bytes);
    const handle = await open(path);
    try {
      const heading = await readHeading(handle);
      if (heading.kind === "foreign") return "foreign";
      let lineCount = 0;
      let end = heading.end;
      for await (const lines of readLines(handle, heading.end)) {
        for (const line of lines) {
          assert.equal(line.offset, end, "lines tile the file");
          end = line.end;
          lineCount += 1;
        }
      }
      assert.equal(end, bytes.length);
      const found = await offsetOf(handle, heading.end, bytes.length, OPEN + 7 * MINUTE_MS);
      assert.ok(found >= heading.end && found <= bytes.length);
      async function* pages(): AsyncGenerator<readonly Candle[]> {
        yield candles.slice(0, 11);
        yield candles.slice(11);
      }
      const seen = { lines: 0, candles: 0 };
      for await (const rows of mergeRows(readLines(handle, heading.end), pages())) {
        for (const row of rows) {
          if ("line" in row) seen.lines += 1;
          if ("candle" in row) seen.candles += 1;
        }
      }
      assert.deepEqual(seen, { lines: lineCount, candles: candles.length });
      return heading.kind;
    } finally {
      await handle.close();
    }
  },
});

const FORMATS: readonly ExportFormat[] = ["csv", "json", "ndjson", "parquet", "arrow"];

const decimals: Target = {
  name: "exported decimals",
  seeds: ["0.00000001", "99999999999999999999.999999999999999999", "29038.46000000", "0"].map(
    (text) => Buffer.from(text),
  ),
  read: async (input, random) => {
    const texts = input
      .toString()
      .split(/[^\d.]+/)
      .filter(isDecimal);
    if (texts.length === 0) return "refused";
    const [first] = candles;
    assert.ok(first !== undefined);
    const values = Object.fromEntries(
      DECIMAL_FIELDS.map((field) => [field, pick(random, texts)]),
    ) as Pick<Candle, (typeof DECIMAL_FIELDS)[number]>;
    const candle = { ...first, ...values };
    const format = pick(random, FORMATS);
    const bytes = await encoded(format, [candle]);
    if (format === "csv") {
      const row = parseOwnRow(bytes.toString().split("\n")[1] ?? "");
      assert.deepEqual(row, { isRow: true, candle });
    } else if (format === "parquet") {
      assert.equal(parquetMetadata(Uint8Array.from(bytes).buffer).num_rows, 1n);
    } else if (format === "arrow") assert.equal(tableFromIPC(bytes).numRows, 1);
    else assert.deepEqual([JSON.parse(bytes.toString())].flat(), [candle]);
    return format;
  },
};

/** What lies in folders, and what is written into them. */
export const FILE_TARGETS: readonly TargetMaker[] = [
  { name: "files to import", testInputs: 250, open: () => inFolder(files) },
  { name: "files of the mirror", testInputs: 250, open: () => inFolder(ownFile) },
  { name: "exported decimals", testInputs: 300, open: async () => decimals },
];
