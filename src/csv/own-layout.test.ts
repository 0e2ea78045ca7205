import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { candle, notDecimal, series, timeframe } from "../../test/support/arbitraries.ts";
import type { Candle } from "../core/candle.ts";
import {
  formatOwnRow,
  OWN_LAYOUT_COLUMNS,
  OWN_LAYOUT_HEADER,
  ownFileName,
  ownRowOpenTime,
  parseOwnFileName,
  parseOwnRow,
} from "./own-layout.ts";

const anyCandle = (): fc.Arbitrary<Candle> => timeframe().chain((of) => candle(of));

test("the header and a row are those of the replaced system", () => {
  assert.equal(
    OWN_LAYOUT_HEADER,
    "timestamp,datetime,open,high,low,close,volume,close_time,quote_volume,trades,taker_buy_base,taker_buy_quote",
  );
  const row = formatOwnRow({
    openTime: 1_700_000_000_000,
    closeTime: 1_700_000_899_999,
    open: "1.10",
    high: "4",
    low: "0.5",
    close: "2.000",
    volume: "10",
    quoteVolume: "20.25",
    tradeCount: 3,
    takerBuyVolume: "5",
    takerBuyQuoteVolume: "10.5",
  });
  assert.equal(
    row,
    "1700000000000,2023-11-14T22:13:20,1.10,4,0.5,2.000,10,1700000899999,20.25,3,5,10.5",
  );
});

test("a written row reads back as the same candle, digit for digit", () => {
  fc.assert(
    fc.property(anyCandle(), (each) => {
      const line = formatOwnRow(each);
      assert.ok(!/[\r\n"]/.test(line));
      assert.deepEqual(parseOwnRow(line), { isRow: true, candle: each });
      assert.equal(ownRowOpenTime(line), each.openTime);
    }),
  );
});

test("datetime repeats the open time in UTC, whatever the zone of the machine", () => {
  fc.assert(
    fc.property(anyCandle(), fc.nat(999), (each, ms) => {
      const openTime = each.openTime + ms;
      const datetime = formatOwnRow({ ...each, openTime }).split(",")[1] ?? "";
      assert.doesNotMatch(datetime, /[Zz+]/);
      assert.equal(Date.parse(`${datetime}Z`), openTime);
    }),
  );
});

test("datetime is not looked at when reading", () => {
  fc.assert(
    fc.property(anyCandle(), fc.stringMatching(/^[^,\n]{0,30}$/), (each, datetime) => {
      const fields = formatOwnRow(each).split(",");
      fields[1] = datetime;
      assert.deepEqual(parseOwnRow(fields.join(",")), { isRow: true, candle: each });
    }),
  );
});

test("a field that is not what it must be is named, never guessed", () => {
  const checked = OWN_LAYOUT_COLUMNS.map((name, index) => ({ name, index })).filter(
    ({ name }) => name !== "datetime",
  );
  fc.assert(
    fc.property(
      anyCandle(),
      fc.constantFrom(...checked),
      notDecimal().filter((text) => !text.includes(",")),
      (each, { name, index }, text) => {
        const fields = formatOwnRow(each).split(",");
        fields[index] = text;
        const row = parseOwnRow(fields.join(","));
        assert.ok(!row.isRow);
        assert.ok(row.problem.startsWith(`${name} is `), row.problem);
      },
    ),
  );
});

test("a row that was cut off is no row, or has lost nothing but decimals of its last column", () => {
  fc.assert(
    fc.property(anyCandle(), fc.nat(), (each, at) => {
      const line = formatOwnRow(each);
      const cut = line.slice(0, at % line.length);
      const row = parseOwnRow(cut);
      if (!row.isRow) return;
      const { takerBuyQuoteVolume, ...rest } = row.candle;
      assert.deepEqual({ ...rest, takerBuyQuoteVolume: each.takerBuyQuoteVolume }, each);
      assert.ok(each.takerBuyQuoteVolume.startsWith(takerBuyQuoteVolume));
    }),
  );
});

test("no line makes the reader throw", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 200 }), (line) => {
      parseOwnRow(line);
      ownRowOpenTime(line);
    }),
  );
  assert.equal(ownRowOpenTime(OWN_LAYOUT_HEADER), undefined);
  assert.equal(ownRowOpenTime("1760868000000.0,x"), undefined);
  assert.equal(parseOwnRow("").isRow, false);
});

test("a file name is that of one series, also where case does not count", () => {
  fc.assert(
    fc.property(series(), series(), (a, b) => {
      const { symbol, timeframe: of } = a;
      assert.deepEqual(parseOwnFileName(ownFileName(a)), { symbol, timeframe: of });
      const isSame = symbol === b.symbol && of === b.timeframe;
      assert.equal(ownFileName(a).toLowerCase() === ownFileName(b).toLowerCase(), isSame);
    }),
  );
});

test("a file name never leaves its folder", () => {
  fc.assert(
    fc.property(
      fc.string({ unit: "grapheme", minLength: 1, maxLength: 12 }).map((text) => text.normalize()),
      timeframe(),
      (symbol, of) => {
        const name = ownFileName({ symbol, timeframe: of });
        assert.doesNotMatch(name, /[\\/:*?"<>|\0]|^\.{1,2}$/);
        assert.deepEqual(parseOwnFileName(name), { symbol, timeframe: of });
      },
    ),
  );
});

test("names that are no series are told apart", () => {
  assert.deepEqual(parseOwnFileName("BTCUSD_PERP_1h.csv"), {
    symbol: "BTCUSD_PERP",
    timeframe: "1h",
  });
  assert.deepEqual(parseOwnFileName("BTCUSDT_1m.csv"), { symbol: "BTCUSDT", timeframe: "1m" });
  assert.deepEqual(parseOwnFileName("BTCUSDT_1M.csv"), { symbol: "BTCUSDT", timeframe: "1M" });
  assert.equal(ownFileName({ symbol: "BTCUSDT", timeframe: "1M" }), "BTCUSDT_1mo.csv");
  for (const name of [
    "BTCUSDT.csv",
    "_1h.csv",
    "BTCUSDT_1H.csv",
    "BTCUSDT_1h.csv.gz",
    "%zz_1h.csv",
  ])
    assert.equal(parseOwnFileName(name), undefined, name);
});
