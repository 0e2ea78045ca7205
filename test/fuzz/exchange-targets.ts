import assert from "node:assert/strict";
import { deflateRawSync, gzipSync } from "node:zlib";
import type { Candle } from "../../src/core/candle.ts";
import { DECIMAL_FIELDS } from "../../src/core/candle.ts";
import { isDecimal } from "../../src/core/decimal.ts";
import { validateCandle } from "../../src/core/validate.ts";
import { holdOf, readAnswer } from "../../src/exchanges/binance/answers.ts";
import { ArchiveRows } from "../../src/exchanges/binance/archive-rows.ts";
import {
  decodeCandleRows,
  decodeExchangeInfo,
  decodeFrame,
  decodeServerTime,
} from "../../src/exchanges/binance/codec.ts";
import { readZipEntry, unzip, ZipFault } from "../../src/exchanges/binance/zip.ts";
import { pick } from "../sim/random.ts";
import type { Target } from "./target.ts";

const KLINE = {
  ...{ t: 1653818760000, T: 1653818819999, s: "BTCUSDT", i: "1m", f: 1384844002, L: 1384844032 },
  ...{ o: "29038.46000000", c: "29038.47000000", h: "29038.47000000", l: "29038.46000000" },
  ...{ v: "0.20926000", n: 31, x: true, q: "6076.58918320", V: "0.10436000", Q: "3030.45472920" },
  B: "0",
};
/** An event of a candle that is closed, as the exchange sends it. */
export const EVENT = { e: "kline", E: 1653818820002, s: "BTCUSDT", k: KLINE };
const FRAMES = [
  EVENT,
  { stream: "btcusdt@kline_1m", data: EVENT },
  { e: "serverShutdown", E: 1770123456789 },
  { result: null, id: 1 },
  { error: { code: 2, msg: "Invalid request: invalid stream" }, id: "x" },
  { code: 3, msg: "Invalid JSON: expected value at line 1 column 1" },
];
const ROW = [
  ...[1499040000000, "0.01634790", "0.80000000", "0.01575800", "0.01577100", "148976.11427815"],
  ...[1499644799999, "2434.19055334", 308, "1756.87402397", "28.46694368", "0"],
];
const INFO = {
  rateLimits: [
    { rateLimitType: "REQUEST_WEIGHT", interval: "MINUTE", intervalNum: 1, limit: 6000 },
  ],
  symbols: [{ symbol: "ETHBTC", status: "TRADING", baseAsset: "ETH", quoteAsset: "BTC" }],
};
const LINE =
  "1735689600000000,93576.00000000,94509.42000000,93489.03000000,94401.14000000,755.99010000,1735693199999999,71068810.55946380,93525,421.08319000,39596777.77992590,0\n";
const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));

/** What is taken over must be plain decimals once the rules have passed it, and nothing may have been added to it. */
function checkCandle(candle: Candle): string {
  const rejection = validateCandle(candle, Number.MAX_SAFE_INTEGER / 2);
  if (rejection !== undefined) return rejection.code;
  for (const field of DECIMAL_FIELDS) assert.ok(isDecimal(candle[field]), field);
  return "valid";
}

const frames: Target = {
  name: "stream frames",
  seeds: FRAMES.map(json),
  read: (input) => {
    const frame = decodeFrame(input.toString());
    return frame.kind === "candle" ? checkCandle(frame.candle) : frame.kind;
  },
};

const answers: Target = {
  name: "REST answers",
  seeds: [
    json([ROW, ROW]),
    json(INFO),
    json({ serverTime: 1499827319559 }),
    json({ code: -1121, msg: "Invalid symbol." }),
    Buffer.from("<html>blocked</html>"),
    json({ code: -1003, msg: "Way too much request weight used; IP banned until 1795366119820." }),
  ],
  read: (input, random) => {
    const body = input.toString();
    const status = pick(random, [200, 200, 200, 400, 403, 418, 429, 451, 500, 503, 302]);
    const headers = new Headers({
      "content-type": pick(random, [
        "application/json",
        "text/html",
        "application/json;charset=UTF-8",
      ]),
      "retry-after": pick(random, ["1", "0", "-1", "99999999999", "soon", "1e9"]),
    });
    const answer = { head: { status, headers }, body } as Parameters<typeof holdOf>[0];
    const now = 1_653_818_760_000;
    const hold = holdOf(answer, "host", now);
    if (hold !== undefined) {
      assert.ok(hold.untilTime >= now && hold.untilTime <= now + 4 * 86_400_000, "a hold of sense");
      return "hold";
    }
    const rows = readAnswer(
      answer,
      "host",
      pick(random, [
        decodeCandleRows,
        decodeExchangeInfo,
        decodeServerTime,
      ]) as typeof decodeCandleRows,
    );
    if (Array.isArray(rows)) for (const row of rows) checkCandle(row);
    return "valid";
  },
};

const archive: Target = {
  name: "archive lines",
  seeds: [
    Buffer.from(LINE.repeat(3)),
    Buffer.from(`open_time,open,high,low,close,volume\n${LINE}`),
    Buffer.from(`\uFEFF${LINE.replaceAll("000,", ",")}`),
  ],
  read: (input, random) => {
    const series = { exchange: "binance", symbol: "BTCUSDT", timeframe: "1h" } as const;
    const range = { from: Date.UTC(2025, 0, 1), to: Date.UTC(2025, 1, 1) };
    const rows = new ArchiveRows(
      { kind: "archive-monthly", series, range, candleCount: 744 } as ConstructorParameters<
        typeof ArchiveRows
      >[0],
      Date.UTC(2025, 1, 2),
    );
    const size = pick(random, [1, 7, 1_000, 1_000_000]);
    let count = 0;
    for (let at = 0; at < input.length; at += Math.max(size, Math.floor(input.length / 200))) {
      rows.push(input.subarray(at, at + Math.max(size, Math.floor(input.length / 200))));
      for (let page = rows.takePage(); page !== undefined; page = rows.takePage())
        count += page.rows.length;
    }
    rows.end();
    for (let page = rows.takePage(); page !== undefined; page = rows.takePage())
      count += page.rows.length;
    const report = rows.report();
    assert.ok(report.rowCount >= count, "no row was invented");
    return report.rejectedCount === 0 ? "valid" : "some lines refused";
  },
};

const zip: Target = {
  name: "ZIP files",
  seeds: [zipOf(Buffer.from(LINE.repeat(20))), zipOf(Buffer.alloc(100_000)), gzipSync(LINE)],
  read: async (input) => {
    const readAt = async (offset: number, length: number): Promise<Buffer> =>
      Buffer.from(input.subarray(Math.max(0, offset), Math.max(0, offset) + length));
    const entry = await readZipEntry(readAt, input.length, 1_000_000);
    if (!entry.isOk) return "refused";
    let size = 0;
    try {
      for await (const piece of unzip(readAt, entry.value, new AbortController().signal)) {
        size += piece.length;
        assert.ok(size <= 1_000_000 + 65_536, "a bomb goes no further than its limit");
      }
    } catch (error) {
      if (error instanceof ZipFault) return "fault";
      throw error;
    }
    return "valid";
  },
};

/** A ZIP of one file, as PKWARE's APPNOTE has it. */
function zipOf(content: Buffer): Buffer {
  const packed = deflateRawSync(content);
  const name = Buffer.from("BTCUSDT-1h-2025-01.csv");
  const local = Buffer.alloc(30);
  local.writeUInt32LE(0x04034b50, 0);
  local.writeUInt16LE(8, 8);
  local.writeUInt16LE(name.length, 26);
  const directory = Buffer.alloc(46);
  directory.writeUInt32LE(0x02014b50, 0);
  directory.writeUInt16LE(8, 10);
  directory.writeUInt32LE(packed.length, 20);
  directory.writeUInt32LE(content.length, 24);
  directory.writeUInt16LE(name.length, 28);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(1, 8);
  end.writeUInt16LE(1, 10);
  end.writeUInt32LE(46 + name.length, 12);
  end.writeUInt32LE(30 + name.length + packed.length, 16);
  return Buffer.concat([local, name, packed, directory, name, end]);
}

/** What an exchange, or whoever stands in between, sends. */
export const EXCHANGE_TARGETS: readonly Target[] = [frames, answers, archive, zip];
