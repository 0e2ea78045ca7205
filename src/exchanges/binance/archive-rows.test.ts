import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { candle, notDecimal, openTime, timeframe } from "../../../test/support/arbitraries.ts";
import type { Candle } from "../../core/candle.ts";
import { missingRanges } from "../../core/gaps.ts";
import { openTimeAt, type Timeframe } from "../../core/timeframe.ts";
import { type ArchiveFile, planArchive } from "./archive-plan.ts";
import { ArchiveRows, type RowsPage } from "./archive-rows.ts";

const MINUTE = 60_000;
const DAY = 86_400_000;
const FROM = Date.UTC(2025, 0, 15);

function fileOf(of: Timeframe, from = FROM): ArchiveFile {
  const series = { exchange: "binance", symbol: "BTCUSDT", timeframe: of };
  const isLong = of === "3d" || of === "1w" || of === "1M";
  const start = isLong ? openTimeAt("1M", from) : openTimeAt("1d", from);
  const range = { from: start, to: start + (isLong ? 31 : 1) * DAY };
  const [file] = planArchive(series, range, start + 60 * DAY).files;
  assert.ok(file);
  return file;
}

function lineOf(
  row: Candle,
  options: { readonly unit?: number; readonly closeUnit?: number; readonly end?: string } = {},
): string {
  const { unit = 1, closeUnit = unit, end = ",0\n" } = options;
  const closeTime = row.closeTime * closeUnit + (closeUnit - 1);
  return (
    `${row.openTime * unit},${row.open},${row.high},${row.low},${row.close},${row.volume},${closeTime},` +
    `${row.quoteVolume},${row.tradeCount},${row.takerBuyVolume},${row.takerBuyQuoteVolume}${end}`
  );
}

function rowAt(time: number, values: Partial<Candle> = {}): Candle {
  return {
    openTime: time,
    closeTime: time + MINUTE - 1,
    open: "93576.00000000",
    high: "94509.42000000",
    low: "93489.03",
    close: "94401.14000000",
    volume: "755.99010000",
    quoteVolume: "71068810.55946380",
    tradeCount: 93_525,
    takerBuyVolume: "421.08319000",
    takerBuyQuoteVolume: "39596777.77992590",
    ...values,
  };
}

function read(
  content: string | Buffer,
  options: {
    readonly file?: ArchiveFile;
    readonly madeTime?: number;
    readonly pieceBytes?: number;
  } = {},
) {
  const { file = fileOf("1m"), pieceBytes = 1_000_000 } = options;
  const { madeTime = file.dueTime } = options;
  const rows = new ArchiveRows(file, madeTime);
  const pages: RowsPage[] = [];
  const take = (): void => {
    for (let page = rows.takePage(); page !== undefined; page = rows.takePage()) pages.push(page);
  };
  const bytes = Buffer.from(content);
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    rows.push(bytes.subarray(at, at + pieceBytes));
    take();
  }
  rows.end();
  take();
  return {
    pages,
    candles: pages.flatMap((page) => page.rows),
    report: rows.report(),
    headerFault: rows.headerFault,
  };
}

const minutes = (count: number, from = FROM): Candle[] =>
  Array.from({ length: count }, (_, index) => rowAt(from + index * MINUTE));
const textOf = (rows: readonly Candle[]): string => rows.map((row) => lineOf(row)).join("");
const rejectedOf = ({ report }: ReturnType<typeof read>) =>
  report.rejected.map(({ line, code }) => [line, code]);

describe("rows of an archive file", () => {
  test("a whole day, digit for digit, with nothing to report", () => {
    const rows = minutes(1_440);
    const { candles, pages, report } = read(textOf(rows));
    assert.deepEqual(candles, rows);
    assert.deepEqual(
      pages.map(({ range }) => range),
      [{ from: FROM, to: FROM + DAY }],
    );
    assert.deepEqual(report, {
      rowCount: 1_440,
      duplicateCount: 0,
      conflictCount: 0,
      offGridCount: 0,
      rejectedCount: 0,
      rejected: [],
      absent: [],
      notes: [],
    });
  });

  test("milliseconds or microseconds, each value by itself", () => {
    const rows = minutes(3);
    const text = [
      lineOf(rows[0] ?? rowAt(0), { unit: 1_000 }),
      lineOf(rows[1] ?? rowAt(0), { unit: 1, closeUnit: 1_000 }),
      lineOf(rows[2] ?? rowAt(0), { unit: 1_000, closeUnit: 1 }),
    ];
    assert.deepEqual(read(text.join("")).candles, rows);
  });

  test("header, byte order mark, CRLF, eleven columns, no line break at the end, empty lines", () => {
    const rows = minutes(3);
    const header =
      "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore";
    const body = rows.map((row) => lineOf(row, { end: "\r\n" })).join("\r\n");
    for (const begin of ["", "\uFEFF", `\uFEFF${header}\r\n`, `${header}\n`]) {
      for (const pieceBytes of [1, 2, 7, 1_000]) {
        const { candles, report } = read(`${begin}${body.trimEnd()}`, { pieceBytes });
        assert.deepEqual(candles, rows);
        assert.equal(report.rejectedCount, 0);
        assert.equal(report.notes.length, begin.includes("open_time") ? 1 : 0);
      }
    }
    assert.deepEqual(read("").candles, []);
    assert.deepEqual(read("\uFEFF").candles, []);
    assert.deepEqual(read(header).report.absent, [{ from: FROM, to: FROM + DAY }]);
  });

  test("a header with other columns condemns the file", () => {
    const { headerFault } = read("timestamp,open,close,high,low,volume\n");
    assert.match(headerFault ?? "", /another order/);
    assert.equal(read("time,open,high,low,close,v\n").headerFault, undefined);
    assert.equal(read("a,b,c\n").headerFault, undefined);
  });

  test("equal repeats are dropped, of unequal ones the later line wins and is noted", () => {
    const [first, second, third] = minutes(3);
    assert.ok(first && second && third);
    const other = { ...second, volume: "756.00000000" };
    const read1 = read(textOf([first, first, second, third, other, first]));
    assert.deepEqual(read1.candles, [first, other, third]);
    assert.equal(read1.report.rowCount, 3);
    assert.equal(read1.report.duplicateCount, 2);
    assert.equal(read1.report.conflictCount, 1);
    assert.deepEqual(read1.report.notes, [
      `line 5 has other values for ${second.openTime} and was taken`,
    ]);
  });

  test("rows off the grid, early closes, a close before the open: kept as they are", () => {
    const rows = [
      rowAt(FROM),
      rowAt(FROM + 20_799, { closeTime: FROM + 80_798 }),
      rowAt(FROM + MINUTE, { closeTime: FROM + MINUTE + 41_646 }),
      rowAt(FROM + 2 * MINUTE, { closeTime: FROM }),
    ];
    const { candles, report } = read(textOf(rows));
    assert.deepEqual(candles, rows);
    assert.equal(report.offGridCount, 1);
    assert.deepEqual(report.absent, [{ from: FROM + 3 * MINUTE, to: FROM + DAY }]);
  });

  test("what is no row is kept out with its line, and what it was", () => {
    const good = minutes(2);
    const bad = [
      "<html>503</html>",
      lineOf(rowAt(FROM)).replace(String(FROM), `"${FROM}"`),
      lineOf(rowAt(FROM)).replace(String(FROM), String(FROM / 1_000)),
      lineOf(rowAt(FROM)).replace(String(FROM), "1e12"),
      lineOf(rowAt(FROM)).replace(",93525,", ",93525.0,"),
      lineOf(rowAt(FROM)).replace(",93525,", ",,"),
      lineOf(rowAt(FROM)).replace(",0\n", ",0,0\n"),
      lineOf(rowAt(FROM)).replace(`,${FROM + MINUTE - 1},`, ",-1,"),
      "x".repeat(5_000),
      `${"9".repeat(2_000)},1`,
      "\u0000\u0000",
    ].map((line) => line.trimEnd());
    const text = `${lineOf(rowAt(FROM))}${bad.join("\n")}\n${lineOf(rowAt(FROM + MINUTE))}`;
    for (const pieceBytes of [3, 100, 1_000_000]) {
      const result = read(text, { pieceBytes });
      assert.deepEqual(result.candles, good);
      assert.deepEqual(rejectedOf(result), [
        [2, "columns"],
        [3, "not-a-time"],
        [4, "not-a-time"],
        [5, "not-a-time"],
        [6, "not-a-count"],
        [7, "not-a-count"],
        [8, "columns"],
        [9, "not-a-time"],
        [10, "too-long"],
        [11, "too-long"],
        [12, "columns"],
      ]);
      assert.equal(
        result.report.rejected[0]?.detail,
        'neither 11 nor 12 columns: "<html>503</html>"',
      );
      assert.ok(result.report.rejected.every(({ detail }) => detail.length < 120));
    }
  });

  test("prices that are no decimals pass as they are: the quarantine keeps them", () => {
    const row = rowAt(FROM, { open: "NaN", volume: "1e5", quoteVolume: "", high: "-1" });
    assert.deepEqual(read(lineOf(row)).candles, [row]);
  });

  test("rows of other days are kept out", () => {
    const rows = [rowAt(FROM - 1), rowAt(FROM), rowAt(FROM + DAY - 1), rowAt(FROM + DAY)];
    const result = read(textOf(rows));
    assert.deepEqual(result.candles, rows.slice(1, 3));
    assert.deepEqual(rejectedOf(result), [
      [1, "outside-file"],
      [4, "outside-file"],
    ]);
  });

  test("a candle that was not closed and settled when the file was made is kept out", () => {
    const file = fileOf("1w", Date.UTC(2025, 2, 1));
    const monday = Date.UTC(2025, 2, 31);
    const rows = [rowAt(monday - 7 * DAY), rowAt(monday)];
    const closed = monday + 7 * DAY;
    const late = read(textOf(rows), { file, madeTime: closed + MINUTE });
    assert.deepEqual(late.candles, rows);
    const early = read(textOf(rows), { file, madeTime: closed + MINUTE - 1 });
    assert.deepEqual(early.candles, rows.slice(0, 1));
    assert.deepEqual(rejectedOf(early), [[2, "not-closed"]]);
    assert.deepEqual(early.report.absent.at(-1), { from: monday, to: closed });
  });

  test("rows out of order find their place while it is near, and are kept out later", () => {
    const rows = minutes(1_440);
    const descending = read(textOf(rows.toReversed()));
    assert.deepEqual(descending.candles, rows);
    const file = fileOf("1s");
    const seconds = Array.from({ length: 20_000 }, (_, index) =>
      rowAt(FROM + index * 1_000, { closeTime: FROM + index * 1_000 + 999 }),
    );
    const [first, ...others] = seconds;
    assert.ok(first);
    const result = read(textOf([...others, first]), { file, pieceBytes: 10_000 });
    assert.deepEqual(result.candles, others);
    assert.deepEqual(rejectedOf(result), [[20_000, "out-of-order"]]);
    assert.deepEqual(result.report.absent[0], { from: FROM, to: FROM + 1_000 });
  });

  test("pages are of bounded size and follow one another without a break", () => {
    const file = fileOf("1s");
    const rows = Array.from({ length: 86_400 }, (_, index) =>
      rowAt(FROM + index * 1_000, { closeTime: FROM + index * 1_000 + 999 }),
    );
    const { pages, report } = read(textOf(rows), { file, pieceBytes: 50_000 });
    assert.ok(pages.every((page) => page.rows.length <= 5_000));
    let from = FROM;
    for (const { range, rows: inside } of pages) {
      assert.equal(range.from, from);
      assert.ok(inside.every((row) => row.openTime >= range.from && row.openTime < range.to));
      from = range.to;
    }
    assert.equal(from, FROM + DAY);
    assert.deepEqual(report.absent, []);
  });

  test("lists stay short: of very many holes and rejections the counts stay exact", () => {
    const every2 = minutes(1_440).filter((_, index) => index % 2 === 0);
    assert.equal(read(textOf(every2)).report.absent.length, 720);
    const file = fileOf("1s");
    const rows = Array.from({ length: 40_000 }, (_, index) => rowAt(FROM + index * 2_000));
    const { report } = read(textOf(rows), { file });
    assert.equal(report.rowCount, 40_000);
    assert.equal(report.absent.length, 1_001);
    // What is told together says too much, never too little.
    assert.deepEqual(report.absent[999], { from: FROM + 1_999_000, to: FROM + 79_998_000 });
    const garbage = read(`${lineOf(rowAt(FROM))}${"?\n".repeat(5_000)}`);
    assert.equal(garbage.report.rejectedCount, 5_000);
    assert.equal(garbage.report.rejected.length, 100);
  });

  test("any bytes, in any pieces: rows or rejections, never an exception, and the same for all pieces", () => {
    const anyLine = fc.oneof(
      candle("1m").map((row) => lineOf(row)),
      openTime("1m", { min: FROM - DAY, max: FROM + 2 * DAY }).chain((time) =>
        candle("1m", time).map((row) => lineOf(row, { unit: time % 7 === 0 ? 1_000 : 1 })),
      ),
      fc.nat(DAY).chain((ms) => candle("1m", FROM + ms).map((row) => lineOf(row))),
      fc
        .tuple(candle("1m", FROM), notDecimal())
        .map(([row, text]) => lineOf({ ...row, volume: text, close: text })),
      fc.string({ unit: "binary" }),
      fc.array(fc.string({ unit: "grapheme" }), { maxLength: 14 }).map((cells) => cells.join(",")),
      fc.constantFrom("\n", "\r\n", ",,,,,,,,,,,\n", "0,0,0,0,0,0,0,0,0,0,0,0\n", "\uFEFF"),
    );
    fc.assert(
      fc.property(
        fc.array(anyLine, { maxLength: 40 }),
        fc.uint8Array({ maxLength: 30 }),
        fc.integer({ min: 1, max: 200 }),
        (lines, noise, pieceBytes) => {
          const bytes = Buffer.concat([Buffer.from(lines.join("")), noise]);
          const whole = read(bytes);
          assert.deepEqual(read(bytes, { pieceBytes }), whole);
          const { candles, report, pages } = whole;
          assert.equal(report.rowCount, candles.length);
          const times = candles.map((row) => row.openTime);
          assert.deepEqual(
            times,
            [...new Set(times)].sort((a, b) => a - b),
          );
          assert.deepEqual(
            report.absent,
            missingRanges("1m", times, { from: FROM, to: FROM + DAY }),
          );
          for (const { range, rows } of pages) {
            for (const row of rows) {
              assert.ok(row.openTime >= range.from && row.openTime < range.to);
            }
          }
        },
      ),
      { numRuns: 400 },
    );
  });

  test("what was written is read back, in every timeframe and unit", () => {
    fc.assert(
      fc.property(
        timeframe().chain((of) =>
          fc.tuple(
            fc.constant(of),
            fc.uniqueArray(
              openTime(of, { min: FROM - 14 * DAY, max: FROM + 16 * DAY }).chain((time) =>
                candle(of, time),
              ),
              { selector: (row) => row.openTime, maxLength: 30 },
            ),
          ),
        ),
        fc.constantFrom(1, 1_000),
        fc.constantFrom(",0\n", "\n", ",0\r\n"),
        ([of, rows], unit, end) => {
          const file = fileOf(of);
          const wanted = rows
            .filter(({ openTime: time }) => time >= file.range.from && time < file.range.to)
            .sort((a, b) => a.openTime - b.openTime);
          const text = rows.map((row) => lineOf(row, { unit, end })).join("");
          const { candles, report } = read(text, { file });
          assert.deepEqual(candles, wanted);
          assert.equal(report.rejectedCount, rows.length - wanted.length);
          const times = wanted.map((row) => row.openTime);
          assert.deepEqual(report.absent, missingRanges(of, times, file.range));
        },
      ),
      { numRuns: 200 },
    );
  });
});
