import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { ExchangeTime } from "../src/core/exchange-time.ts";
import type { Timeframe } from "../src/core/timeframe.ts";
import { validateCandle } from "../src/core/validate.ts";
import { createBinanceArchive, planArchive } from "../src/exchanges/binance/index.ts";
import { scaledClock } from "./support/clocks.ts";
import { scriptedHttp } from "./support/scripted-http.ts";
import { needsSharedData, readSharedData } from "./support/shared-data.ts";
import { zipWith } from "./support/zip.ts";

/** The archive adapter reads what data.binance.vision published, in ZIPs made here, digit for digit. */

const NOW = Date.UTC(2026, 0, 5);

interface Recorded {
  readonly path: string;
  readonly symbol: string;
  readonly timeframe: Timeframe;
  /** First day of the file. */
  readonly from: number;
  readonly isDaily?: boolean;
  readonly hasHeader?: boolean;
  /** Rows of the whole period are there. */
  readonly isWhole: boolean;
}

const spot = (month: string, year: number, index: number): Recorded => ({
  path: `archive/BTCUSDT-1h-${month}.csv.gz`,
  symbol: "BTCUSDT",
  timeframe: "1h",
  from: Date.UTC(year, index),
  isWhole: true,
});

const FILES: readonly Recorded[] = [
  spot("2024-11", 2024, 10),
  spot("2024-12", 2024, 11),
  spot("2025-01", 2025, 0),
  spot("2025-02", 2025, 1),
  {
    path: "archive/ADABTC-1m-2021-11-27.csv",
    symbol: "ADABTC",
    timeframe: "1m",
    from: Date.UTC(2021, 10, 27),
    isDaily: true,
    isWhole: false,
  },
  {
    path: "archive/BTCUSDT-1m-2023-03.lines33879-33880.csv",
    symbol: "BTCUSDT",
    timeframe: "1m",
    from: Date.UTC(2023, 2),
    isWhole: false,
  },
  {
    path: "archive/um/BTCUSDT-5m-2025-01.csv.gz",
    symbol: "BTCUSDT",
    timeframe: "5m",
    from: Date.UTC(2025, 0),
    hasHeader: true,
    isWhole: true,
  },
  {
    path: "archive/um/1000PEPEUSDT-5m-2025-01.csv.gz",
    symbol: "1000PEPEUSDT",
    timeframe: "5m",
    from: Date.UTC(2025, 0),
    hasHeader: true,
    isWhole: true,
  },
  {
    path: "archive/um/NEARUSDT-1m-2023-02.csv.gz",
    symbol: "NEARUSDT",
    timeframe: "1m",
    from: Date.UTC(2023, 1),
    hasHeader: true,
    isWhole: true,
  },
];

async function readRecorded(t: TestContext, recorded: Recorded) {
  const content = readSharedData(recorded.path);
  const { symbol, timeframe, from } = recorded;
  const to = recorded.isDaily ? from + 86_400_000 : Date.UTC(2000, monthsSince2000(from) + 1);
  const [file] = planArchive({ exchange: "binance", symbol, timeframe }, { from, to }, NOW).files;
  assert.ok(file);
  const zip = zipWith([{ name: `${file.name}.csv`, content }]);
  const sum = `${createHash("sha256").update(zip).digest("hex")}  ${file.name}.zip\n`;
  const server = await scriptedHttp(t, ({ path }) => ({
    body: path.endsWith(".CHECKSUM") ? sum : zip,
  }));
  const tempFolder = mkdtempSync(join(tmpdir(), "archive-recorded-"));
  t.after(() => rmSync(tempFolder, { recursive: true, force: true }));
  const archive = createBinanceArchive({
    baseUrl: server.url,
    tempFolder,
    clock: scaledClock(1, NOW),
    exchangeTime: new ExchangeTime(),
  });
  const answer = await archive.open(file, new AbortController().signal);
  assert.ok(answer.kind === "opened" && answer.check === "ok");
  const rows = [];
  for await (const page of answer.pages) rows.push(...page.rows);
  assert.deepEqual(readdirSync(tempFolder), []);
  return { content, rows, file, report: answer.report(), madeTime: answer.madeTime };
}

const monthsSince2000 = (time: number): number => {
  const date = new Date(time);
  return (date.getUTCFullYear() - 2000) * 12 + date.getUTCMonth();
};
const inMs = (text = ""): number => (text.length > 13 ? Number(text.slice(0, 13)) : Number(text));

for (const recorded of FILES) {
  test(`recorded ${recorded.path}`, needsSharedData(), async (t) => {
    const { content, rows, file, report, madeTime } = await readRecorded(t, recorded);
    const lines = content
      .trimEnd()
      .split("\n")
      .slice(recorded.hasHeader ? 1 : 0);
    assert.equal(rows.length, lines.length);
    assert.ok(rows.length > 0);
    for (const [index, row] of rows.entries()) {
      const cells = lines[index]?.split(",") ?? [];
      assert.equal(row.openTime, inMs(cells[0]));
      assert.equal(row.closeTime, inMs(cells[6]));
      assert.equal(row.tradeCount, Number(cells[8]));
      assert.deepEqual([row.open, row.high, row.low, row.close, row.volume], cells.slice(1, 6));
      assert.deepEqual(
        [row.quoteVolume, row.takerBuyVolume, row.takerBuyQuoteVolume],
        [cells[7], cells[9], cells[10]],
      );
      assert.equal(validateCandle(row, madeTime), undefined);
    }
    assert.equal(report.rejectedCount + report.duplicateCount + report.offGridCount, 0);
    assert.equal(report.notes.length, recorded.hasHeader ? 1 : 0);
    if (recorded.isWhole) {
      assert.equal(rows.length, file.candleCount);
      assert.deepEqual(report.absent, []);
    } else {
      assert.ok(report.absent.length > 0);
    }
  });
}
