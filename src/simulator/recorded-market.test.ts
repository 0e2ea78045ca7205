import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { compareDecimals } from "../core/decimal.ts";
import { RecordedMarket } from "./recorded-market.ts";
import { parseRecordedRows, readRecordedFiles, seriesOfFileName } from "./recorded-rows.ts";

const HOUR = 3_600_000;
const OPEN = Date.UTC(2025, 2, 1);
/** Made up, in the shapes that recorders write. */
const ARCHIVE = [
  `${OPEN}000,100.10,101.00,99.5,100.70,12.50000000,${OPEN + HOUR}000,1256.1,40,6.1,610.00,0`,
  `${OPEN + HOUR}000,100.70,100.70,100.70,100.70,0.00000000,${OPEN + HOUR + 1_381_646}999,0,0,0,0,0`,
  `${OPEN + 3 * HOUR}000,100.6,102,100.6,101.9,7,${OPEN + 4 * HOUR}000,711.5,9,3,304,0`,
].join("\n");
const STORE = [
  "timestamp,datetime,open,high,low,close,volume,close_time,quote_volume,trades,taker_buy_base,taker_buy_quote",
  `${OPEN},2025-02-28T21:00:00,1.5,1.7,1.4,1.6,3,${OPEN + HOUR - 1},4.6,2,1,1.5`,
  "",
].join("\r\n");

const market = (): RecordedMarket =>
  new RecordedMarket({
    series: [{ symbol: "ABCUSDT", interval: "1h", rows: parseRecordedRows(ARCHIVE) }],
  });
const SERIES = { symbol: "ABCUSDT", interval: "1h" } as const;

describe("recorded rows", () => {
  test("12 archive columns in microseconds keep their text and their close times", () => {
    const [first, second] = parseRecordedRows(ARCHIVE);
    assert.deepEqual(first, {
      openTime: OPEN,
      open: "100.10",
      high: "101.00",
      low: "99.5",
      close: "100.70",
      volume: "12.50000000",
      closeTime: OPEN + HOUR,
      quoteVolume: "1256.1",
      tradeCount: 40,
      takerBuyVolume: "6.1",
      takerBuyQuoteVolume: "610.00",
    });
    assert.equal(second?.closeTime, OPEN + HOUR + 1_381_646);
  });

  test("a header names the columns, whatever their order", () => {
    const [row] = parseRecordedRows(STORE);
    assert.equal(row?.openTime, OPEN);
    assert.equal(row?.takerBuyQuoteVolume, "1.5");
    const futures =
      "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore\n" +
      `${OPEN},1,2,1,2,5,${OPEN + HOUR - 1},8,3,2,3,0`;
    assert.equal(parseRecordedRows(futures)[0]?.tradeCount, 3);
    assert.equal(parseRecordedRows(futures)[0]?.takerBuyVolume, "2");
  });

  test("JSON arrays keep their decimals and spell out exponents; missing columns are zero", () => {
    const rows = parseRecordedRows(
      `[[${OPEN}, 24899.10, 1.5e-07, 1e-08, 12.5e1, 0.0], [${OPEN + HOUR},1,1,1,1,1]]`,
    );
    assert.equal(rows.length, 2);
    assert.deepEqual(
      [rows[0]?.open, rows[0]?.high, rows[0]?.low, rows[0]?.close],
      ["24899.10", "0.00000015", "0.00000001", "125"],
    );
    assert.equal(rows[0]?.quoteVolume, "0");
    assert.equal(rows[0]?.closeTime, undefined);
    assert.deepEqual(parseRecordedRows("[]"), []);
  });

  test("what is no candle is refused with its line", () => {
    assert.throws(
      () => parseRecordedRows(`${ARCHIVE}\n${OPEN},NaN,1,1,1,1`),
      /line 4: open is NaN/,
    );
    assert.throws(() => parseRecordedRows("timestamp,open\nx,1"), /line 2: no open time/);
  });

  test("file names tell the series", () => {
    assert.deepEqual(seriesOfFileName("BTCUSDT-1h-2024-11.csv.gz"), {
      symbol: "BTCUSDT",
      interval: "1h",
    });
    assert.deepEqual(seriesOfFileName("BTC_USDT-15m.json.gz"), {
      symbol: "BTCUSDT",
      interval: "15m",
    });
    assert.deepEqual(seriesOfFileName("币安人生USDT-1mo-2025-11.csv"), {
      symbol: "币安人生USDT",
      interval: "1M",
    });
    assert.throws(() => seriesOfFileName("notes.csv"), SyntaxError);
  });

  test("files of one series are read together, gzipped or not", async () => {
    const folder = await mkdtemp(join(tmpdir(), "recorded-"));
    try {
      const paths = [join(folder, "ABCUSDT-1h-2025-03.csv.gz"), join(folder, "ABCUSDT_1h.csv")];
      await writeFile(paths[0] ?? "", gzipSync(ARCHIVE));
      await writeFile(paths[1] ?? "", STORE);
      const [series, ...others] = await readRecordedFiles(paths);
      assert.equal(others.length, 0);
      assert.equal(series?.rows.length, 4);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

describe("the recorded market", () => {
  test("serves the recorded text, holes as holes, cut closes as they are", () => {
    const rows = [
      ...market().candles(SERIES, { from: 0, to: OPEN + 9 * HOUR }, OPEN + 9 * HOUR, "ascending"),
    ];
    assert.deepEqual(
      rows.map(({ openTime, open, volume }) => [openTime, open, volume]),
      [
        [OPEN, "100.10", "12.50000000"],
        [OPEN + HOUR, "100.70", "0.00000000"],
        [OPEN + 3 * HOUR, "100.6", "7"],
      ],
    );
    assert.equal(rows[1]?.closeTime, OPEN + HOUR + 1_381_646);
    assert.equal(rows[1]?.firstTradeId, -1);
    assert.equal(rows[2]?.firstTradeId, (rows[0]?.lastTradeId ?? 0) + 1);
  });

  test("has slots where it has rows, and none in holes", () => {
    assert.deepEqual(market().slotAt(SERIES, OPEN + HOUR + 5), {
      openTime: OPEN + HOUR,
      endTime: OPEN + HOUR + 1_381_647,
    });
    assert.equal(market().slotAt(SERIES, OPEN + 2 * HOUR), undefined);
    assert.equal(market().slotAt(SERIES, OPEN - 1), undefined);
    assert.equal(market().has({ symbol: "ABCUSDT", interval: "1m" }), false);
    assert.equal(market().has({ ...SERIES, offsetMs: 8 * HOUR }), true);
    assert.equal(market().has({ ...SERIES, offsetMs: HOUR / 2 }), false);
  });

  test("a forming candle grows to the recorded one", () => {
    const moments = fc.array(fc.integer({ min: 0, max: HOUR - 1 }), {
      minLength: 2,
      maxLength: 20,
    });
    fc.assert(
      fc.property(moments, (times) => {
        const source = market();
        const final = source.candle(SERIES, OPEN, OPEN + 9 * HOUR);
        assert.ok(final);
        let previous = source.candle(SERIES, OPEN, OPEN);
        for (const time of times.sort((a, b) => a - b)) {
          const now = source.candle(SERIES, OPEN, OPEN + time);
          assert.ok(now !== undefined && previous !== undefined);
          assert.ok(compareDecimals(now.volume, previous.volume) >= 0);
          assert.ok(compareDecimals(now.high, previous.high) >= 0);
          assert.ok(compareDecimals(now.low, previous.low) <= 0);
          assert.ok(
            compareDecimals(now.close, now.high) <= 0 && compareDecimals(now.close, now.low) >= 0,
          );
          assert.ok(now.tradeCount >= previous.tradeCount && now.tradeCount <= final.tradeCount);
          assert.ok(compareDecimals(now.high, final.high) <= 0);
          previous = now;
        }
      }),
    );
  });

  test("guesses what is not told of a symbol", () => {
    assert.deepEqual(market().symbols(OPEN), [
      {
        symbol: "ABCUSDT",
        baseAsset: "ABC",
        quoteAsset: "USDT",
        status: "TRADING",
        listedAt: OPEN,
        tickSize: "0.01",
        stepSize: "0.00000001",
      },
    ]);
  });

  test("an outage takes away the rows that lie wholly in it", () => {
    const source = market();
    source.setOutages([{ from: OPEN + HOUR, to: OPEN + 2 * HOUR }]);
    const rows = [
      ...source.candles(SERIES, { from: 0, to: OPEN + 9 * HOUR }, OPEN + 9 * HOUR, "descending"),
    ];
    assert.deepEqual(
      rows.map(({ openTime }) => openTime),
      [OPEN + 3 * HOUR, OPEN],
    );
  });

  test("corrections work on text of any scale", () => {
    const source = market();
    source.setCorrections({ share: 1, delayMs: 1_000 });
    const row = source.candle(SERIES, OPEN + 3 * HOUR, OPEN + 9 * HOUR);
    assert.equal(row?.volume, "8");
    assert.equal(row?.close, "102");
    assert.equal(row?.quoteVolume, "813.50000000");
  });
});
