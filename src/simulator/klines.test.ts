import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { ApiError } from "../wire/api-error.ts";
import { klineRowText } from "../wire/kline-text.ts";
import { type KlinesRequest, parseKlines } from "../wire/klines-query.ts";
import { klineRows } from "./klines.ts";
import { SeededMarket } from "./seeded-market.ts";
import { seededSymbols } from "./seeded-symbols.ts";

const MINUTE = 60_000;
const START = Date.UTC(2025, 4, 1);
const NOW = START + 30 * 60 * MINUTE + 12_345;
const HOLE = { from: START + 600 * MINUTE, to: START + 700 * MINUTE };
const market = new SeededMarket({
  symbols: seededSymbols(["BTCUSDT", "币安人生USDT"]),
  listedAt: START,
  outages: [HOLE],
});
const knows = (symbol: string): boolean => market.has({ symbol, interval: "1m" });
const parse = (query: string, reversed: "empty" | "error" = "empty"): KlinesRequest =>
  parseKlines(query, knows, reversed);

const openTimes = (query: string): number[] => {
  const request = parse(`symbol=BTCUSDT&interval=1m&${query}`);
  const rows = [...klineRows(market, request, NOW)].map(({ openTime }) => openTime);
  return request.order === "descending" ? rows.reverse() : rows;
};

const refusal = (query: string, reversed: "empty" | "error" = "empty"): [number, string] => {
  try {
    parse(query, reversed);
  } catch (error) {
    if (error instanceof ApiError) return [error.code, error.message];
  }
  throw new assert.AssertionError({ message: `${query} was taken` });
};

/** Every minute that exists, the forming one last. */
const EXISTING = Array.from({ length: 1_801 }, (_, index) => START + index * MINUTE).filter(
  (time) => time < HOLE.from || time >= HOLE.to,
);

describe("klines", () => {
  test("both ends are inclusive on open times, pages ascend, the open candle is last", () => {
    const time = fc.option(fc.integer({ min: START - 9 * MINUTE, max: NOW + 9 * MINUTE }), {
      nil: undefined,
    });
    const limit = fc.option(fc.integer({ min: 1, max: 1_500 }), { nil: undefined });
    fc.assert(
      fc.property(time, time, limit, fc.boolean(), (start, end, count, isMicro) => {
        const write = (value: number): number => (isMicro ? value * 1_000 : value);
        const query = [
          start === undefined ? "" : `startTime=${write(start)}`,
          end === undefined ? "" : `endTime=${write(end)}`,
          count === undefined ? "" : `limit=${count}`,
        ].filter((part) => part !== "");
        const inside = EXISTING.filter(
          (open) => open >= (start ?? 0) && open <= (end ?? Number.POSITIVE_INFINITY),
        );
        const most = Math.min(count ?? 500, 1_000);
        const expected = start === undefined ? inside.slice(-most) : inside.slice(0, most);
        assert.deepEqual(openTimes(query.join("&")), expected);
      }),
      { numRuns: 60 },
    );
  });

  test("a start between two opens begins with the later, an end inside a candle includes it", () => {
    const from = START + 10 * MINUTE;
    assert.deepEqual(openTimes(`startTime=${from + 1}&endTime=${from + 2 * MINUTE + 1}`), [
      from + MINUTE,
      from + 2 * MINUTE,
    ]);
    assert.deepEqual(openTimes(`startTime=${from}&endTime=${from}`), [from]);
    assert.deepEqual(openTimes(`startTime=${NOW + MINUTE}`), []);
  });

  test("walking by last open time + 1 visits every candle once, holes or not", () => {
    const seen: number[] = [];
    for (let next = 0; ; ) {
      const page = openTimes(`startTime=${next}&limit=77`);
      if (page.length === 0) break;
      seen.push(...page);
      next = (page.at(-1) ?? 0) + 1;
    }
    assert.deepEqual(seen, EXISTING);
  });

  test("startTime=0&limit=1 is the first candle of the symbol", () => {
    assert.deepEqual(openTimes("startTime=0&limit=1"), [START]);
  });

  test("a row has twelve fields, O H L C, and no flag for the open candle", () => {
    const request = parse("symbol=BTCUSDT&interval=1m&limit=1");
    const [candle] = [...klineRows(market, request, NOW)];
    assert.ok(candle);
    const row = JSON.parse(klineRowText(candle, false));
    assert.deepEqual(row, [
      candle.openTime,
      candle.open,
      candle.high,
      candle.low,
      candle.close,
      candle.volume,
      candle.closeTime,
      candle.quoteVolume,
      candle.tradeCount,
      candle.takerBuyVolume,
      candle.takerBuyQuoteVolume,
      "0",
    ]);
    assert.ok(candle.closeTime >= NOW);
    const micro = JSON.parse(klineRowText(candle, true));
    assert.equal(micro[0], candle.openTime * 1_000);
    assert.equal(micro[6], (candle.closeTime + 1) * 1_000 - 1);
  });

  test("takes symbols of any script and time zones of the documents", () => {
    assert.equal(
      parse(`symbol=${encodeURIComponent("币安人生USDT")}&interval=1M`).series.interval,
      "1M",
    );
    for (const [text, offsetMs] of [
      ["0", 0],
      ["8", 480 * MINUTE],
      ["-1:00", -60 * MINUTE],
      ["05:45", 345 * MINUTE],
      ["14", 840 * MINUTE],
      ["-12:00", -720 * MINUTE],
    ] as const) {
      const { series } = parse(`symbol=BTCUSDT&interval=1d&timeZone=${text}`);
      assert.equal(series.offsetMs, offsetMs, text);
    }
    assert.equal(refusal("symbol=BTCUSDT&interval=1d&timeZone=14:01")[0], -1130);
    assert.equal(refusal("symbol=BTCUSDT&interval=1d&timeZone=x")[0], -1130);
  });

  test("refuses in the exchange's words", () => {
    const symbolRange = "^[\\w\\-._&&[^a-z]]{1,50}$";
    for (const [query, code, message] of [
      [
        "interval=1m",
        -1102,
        "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.",
      ],
      [
        "symbol=BTCUSDT",
        -1102,
        "Mandatory parameter 'interval' was not sent, was empty/null, or malformed.",
      ],
      ["symbol=NOPEUSDT&interval=1m", -1121, "Invalid symbol."],
      ["symbol=BTCUSDT&interval=1D", -1120, "Invalid interval."],
      [
        "symbol=btcusdt&interval=1m",
        -1100,
        `Illegal characters found in parameter 'symbol'; legal range is '${symbolRange}'.`,
      ],
      [
        "symbol=BTCUSDT&interval=1m&limit=-1",
        -1100,
        "Illegal characters found in parameter 'limit'; legal range is '^[0-9]{1,20}$'.",
      ],
      [
        "symbol=BTCUSDT&interval=1m&startTime=x",
        -1100,
        "Illegal characters found in parameter 'startTime'; legal range is '^[0-9]{1,20}$'.",
      ],
      [
        "symbol=BTCUSDT&symbol=BTCUSDT&interval=1m",
        -1101,
        "Duplicate values for a parameter detected.",
      ],
      [
        "symbol=BTCUSDT&interval=1m&limit=1&foo=1",
        -1104,
        "Not all sent parameters were read; read '3' parameter(s) but was sent '4'.",
      ],
    ] as const) {
      assert.deepEqual(refusal(query), [code, message], query);
    }
    const reversed = "symbol=BTCUSDT&interval=1m&startTime=2&endTime=1";
    assert.equal(refusal(reversed, "error")[0], -1128);
    assert.deepEqual([...klineRows(market, parse(reversed), NOW)], []);
  });
});
