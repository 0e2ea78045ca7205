import assert from "node:assert/strict";
import { globSync } from "node:fs";
import { test } from "node:test";
import fc from "fast-check";
import {
  candle as anyCandle,
  symbol as anySymbol,
  timeframe as anyTimeframe,
} from "../../../test/support/arbitraries.ts";
import {
  needsSharedData,
  readSharedData,
  sharedDataFolder,
} from "../../../test/support/shared-data.ts";
import type { Candle } from "../../core/candle.ts";
import {
  banEndOf,
  decodeCandleRows,
  decodeErrorBody,
  decodeExchangeInfo,
  decodeFrame,
  decodeServerTime,
  type Frame,
  streamName,
} from "./codec.ts";

const KLINE = {
  t: 1653818760000,
  T: 1653818819999,
  s: "BTCUSDT",
  i: "1m",
  f: 1384844002,
  L: 1384844032,
  o: "29038.46000000",
  c: "29038.47000000",
  h: "29039.00000000",
  l: "29038.40000000",
  v: "0.20926000",
  n: 31,
  x: false,
  q: "6076.58918320",
  V: "0.10436000",
  Q: "3030.45472920",
  B: "0",
};
const EVENT = { e: "kline", E: 1653818762502, s: "BTCUSDT", k: KLINE };
const ROW = [
  1499040000000,
  "0.01634790",
  "0.80000000",
  "0.01575800",
  "0.01577100",
  "148976.11427815",
  1499644799999,
  "2434.19055334",
  308,
  "1756.87402397",
  "28.46694368",
  "0",
];

const decode = (value: unknown): Frame => decodeFrame(JSON.stringify(value));

function reasonOf(value: unknown): string {
  const frame = decode(value);
  return frame.kind === "bad" ? frame.reason : `not refused: ${frame.kind}`;
}

test("a raw and a combined candle event say the same", () => {
  const expected = {
    kind: "candle",
    stream: undefined,
    symbol: "BTCUSDT",
    timeframe: "1m",
    isClosed: false,
    eventTime: 1653818762502,
    candle: {
      openTime: 1653818760000,
      closeTime: 1653818819999,
      open: "29038.46000000",
      high: "29039.00000000",
      low: "29038.40000000",
      close: "29038.47000000",
      volume: "0.20926000",
      quoteVolume: "6076.58918320",
      tradeCount: 31,
      takerBuyVolume: "0.10436000",
      takerBuyQuoteVolume: "3030.45472920",
    },
  };
  assert.deepEqual(decode(EVENT), expected);
  const stream = "btcusdt@kline_1m";
  assert.deepEqual(decode({ stream, data: EVENT }), { ...expected, stream });
});

test("a row of REST has open, high, low, close: another order than the stream's o, c, h, l", () => {
  const expected: Candle = {
    openTime: 1499040000000,
    closeTime: 1499644799999,
    open: "0.01634790",
    high: "0.80000000",
    low: "0.01575800",
    close: "0.01577100",
    volume: "148976.11427815",
    quoteVolume: "2434.19055334",
    tradeCount: 308,
    takerBuyVolume: "1756.87402397",
    takerBuyQuoteVolume: "28.46694368",
  };
  assert.deepEqual(decodeCandleRows([ROW]), { isOk: true, value: [expected] });
  assert.deepEqual(decodeCandleRows([]), { isOk: true, value: [] });
});

test("microseconds are told from milliseconds value by value", () => {
  const k = { ...KLINE, t: 1735689600000000, T: 1735689600999999, i: "1s" };
  const frame = decode({ ...EVENT, E: 1735689601002, k });
  assert.ok(frame.kind === "candle");
  assert.equal(frame.candle.openTime, 1735689600000);
  assert.equal(frame.candle.closeTime, 1735689600999);
  assert.equal(frame.eventTime, 1735689601002);

  const row = ROW.with(0, 1735689600000000).with(6, 1735689659999999);
  const rows = decodeCandleRows([row, ROW]);
  assert.ok(rows.isOk);
  assert.deepEqual(
    rows.value.map(({ openTime, closeTime }) => [openTime, closeTime]),
    [
      [1735689600000, 1735689659999],
      [1499040000000, 1499644799999],
    ],
  );
});

test("times in seconds, fractions or texts are refused", () => {
  for (const time of [1735689600, 1735689600000.5, "1735689600000", null, -1, 0, 1e300]) {
    assert.match(reasonOf({ ...EVENT, k: { ...KLINE, t: time } }), /^kline event: k\.t is/);
    assert.match(reasonOf({ ...EVENT, E: time }), /^kline event: E is/);
    assert.equal(decodeCandleRows([ROW.with(0, time as number)]).isOk, false);
  }
});

test("an odd close time passes: it is for the quarantine, and real ones lie before the open", () => {
  const rows = decodeCandleRows([ROW.with(6, 1499039999999), ROW.with(6, 0)]);
  assert.ok(rows.isOk);
  assert.deepEqual(
    rows.value.map(({ closeTime }) => closeTime),
    [1499039999999, 0],
  );
});

test("each field of a candle event is checked by its own name", () => {
  const cases: readonly (readonly [string, unknown])[] = [
    ...["o", "h", "l", "c", "v", "q", "V", "Q"].map((field) => [field, 1.5] as const),
    ["o", undefined],
    ["o", "1".repeat(200)],
    ["t", "1653818760000"],
    ["T", null],
    ["n", "31"],
    ["x", "true"],
    ["x", 1],
    ["i", "1D"],
    ["i", "60"],
    ["i", 1],
    ["s", "btcusdt"],
    ["s", ""],
    ["s", "BTC USDT"],
    ["s", "A".repeat(65)],
  ];
  for (const [field, value] of cases) {
    assert.match(
      reasonOf({ ...EVENT, k: { ...KLINE, [field]: value } }),
      new RegExp(`^kline event: k\\.${field} is `),
    );
  }
  assert.match(reasonOf({ ...EVENT, s: "ETHUSDT" }), /^kline event: s is "ETHUSDT"/);
  assert.equal(reasonOf({ ...EVENT, k: undefined }), "kline event without k");
  assert.equal(reasonOf({ ...EVENT, k: [] }), "kline event without k");
});

test("texts that are no decimals pass as they are: quarantine keeps them with their reason", () => {
  for (const text of ["NaN", "1e5", "-1", "", "1,5", "9".repeat(40)]) {
    const frame = decode({ ...EVENT, k: { ...KLINE, v: text } });
    assert.ok(frame.kind === "candle");
    assert.equal(frame.candle.volume, text);
  }
});

test("symbols of other scripts and with digits first are read", () => {
  for (const symbol of ["币安人生USDT", "１２３４５６", "1000SATSUSDT", "1INCHUSDT", "A-B_C.D"]) {
    const frame = decode({ ...EVENT, s: symbol, k: { ...KLINE, s: symbol } });
    assert.equal(frame.kind === "candle" && frame.symbol, symbol);
  }
});

test("unknown fields, and those of the prototype, change nothing", () => {
  const text = JSON.stringify(EVENT);
  const polluted = text
    .replace("{", '{"__proto__":{"s":"EVIL","polluted":1},"new":[1,{}],')
    .replace('"k":{', '"k":{"__proto__":{"o":"666"},"constructor":{},"z":null,');
  assert.deepEqual(decodeFrame(polluted), decodeFrame(text));
  assert.equal("polluted" in {}, false);
  const onlyProto = decodeFrame('{"__proto__":{"e":"kline","result":null,"id":1}}');
  assert.equal(onlyProto.kind, "bad");
});

test("a server shutdown is known in both forms", () => {
  const event = { e: "serverShutdown", E: 1770123456789 };
  assert.deepEqual(decode(event), { kind: "shutdown" });
  assert.deepEqual(decode({ stream: "!serverShutdown", data: event }), { kind: "shutdown" });
});

test("acknowledgements keep the id's type", () => {
  for (const id of [1, "a3f1", null, 0]) {
    assert.deepEqual(decode({ result: null, id }), { kind: "ack", id, result: null });
  }
  assert.deepEqual(decode({ result: ["btcusdt@kline_1m"], id: 3 }), {
    kind: "ack",
    id: 3,
    result: ["btcusdt@kline_1m"],
  });
});

test("refusals are known in both shapes, with and without an id", () => {
  const said = { code: 2, msg: "Invalid request: invalid stream" };
  const expected = { kind: "error", code: 2, message: said.msg };
  assert.deepEqual(decode({ error: said, id: 4 }), { ...expected, id: 4 });
  assert.deepEqual(decode({ error: said }), { ...expected, id: undefined });
  assert.deepEqual(decode({ ...said, id: "x" }), { ...expected, id: "x" });
  assert.deepEqual(decode(said), { ...expected, id: undefined });
});

test("events that nobody needs are told from those that cannot be read", () => {
  assert.deepEqual(decode({ e: "depthUpdate", E: 1 }), { kind: "other", event: "depthUpdate" });
  assert.deepEqual(decode({ stream: "btcusdt@bookTicker", data: { u: 1 } }), {
    kind: "other",
    event: "btcusdt@bookTicker",
  });
  assert.deepEqual(decode([{ e: "24hrMiniTicker" }]), { kind: "other", event: "array" });
  for (const text of ["", "{", "null", "1", '"kline"', "<html>", "{}", '{"id":1}', "\u0000"]) {
    assert.equal(decodeFrame(text).kind, "bad", text);
  }
});

test("reasons stay short whatever was sent", () => {
  const long = "x".repeat(1_000_000);
  for (const text of [long, JSON.stringify({ [long]: 1 }), JSON.stringify({ ...EVENT, E: long })]) {
    const frame = decodeFrame(text);
    assert.ok(frame.kind === "bad" && frame.reason.length < 200);
  }
  const other = decode({ e: long });
  assert.ok(other.kind === "other" && other.event.length < 100);
});

test("names of streams: lower case symbol, interval as it is, other scripts untouched", () => {
  assert.equal(streamName({ symbol: "BTCUSDT", timeframe: "1m" }), "btcusdt@kline_1m");
  assert.equal(streamName({ symbol: "BTCUSDT", timeframe: "1M" }), "btcusdt@kline_1M");
  assert.equal(streamName({ symbol: "币安人生USDT", timeframe: "1h" }), "币安人生usdt@kline_1h");
});

test("answers of another shape are refused with what they are", () => {
  const cases: readonly (readonly [unknown, RegExp])[] = [
    [{}, /expected rows, got an object/],
    [null, /expected rows, got null/],
    ["[]", /expected rows, got a string/],
    [[{}], /row 0: expected an array, got an object/],
    [[ROW, ROW.slice(0, 8)], /row 1: trade count is undefined/],
    [[ROW.with(1, 0.0163)], /row 0: open is 0\.0163/],
    [[ROW.with(9, 0)], /row 0: taker buy volume is 0/],
    [[ROW.with(8, "308")], /row 0: trade count is "308"/],
  ];
  for (const [answer, reason] of cases) {
    const decoded = decodeCandleRows(answer);
    assert.ok(!decoded.isOk);
    assert.match(decoded.reason, reason);
  }
});

test("the list of symbols: what is not TRADING is not trading, odd entries are passed over", () => {
  const decoded = decodeExchangeInfo({
    rateLimits: [
      { rateLimitType: "ORDERS", interval: "SECOND", intervalNum: 10, limit: 100 },
      { rateLimitType: "REQUEST_WEIGHT", interval: "MINUTE", intervalNum: 1, limit: 6000 },
    ],
    symbols: [
      { symbol: "ETHBTC", status: "TRADING", baseAsset: "ETH", quoteAsset: "BTC", filters: [] },
      { symbol: "XUSDT", status: "CANCEL_ONLY", baseAsset: "X", quoteAsset: "USDT" },
      { symbol: "YUSDT", status: "BREAK" },
      { symbol: "ZUSDT" },
      null,
      "ETHBTC",
      { symbol: 7, status: "TRADING" },
    ],
  });
  assert.ok(decoded.isOk);
  assert.equal(decoded.value.weightPerMinute, 6000);
  assert.deepEqual(
    decoded.value.markets.map(({ symbol, isTrading, status }) => [symbol, isTrading, status]),
    [
      ["ETHBTC", true, "TRADING"],
      ["XUSDT", false, "CANCEL_ONLY"],
      ["YUSDT", false, "BREAK"],
      ["ZUSDT", false, "unknown"],
    ],
  );
  assert.equal(decodeExchangeInfo([]).isOk, false);
  assert.equal(decodeExchangeInfo({ symbols: {} }).isOk, false);
  assert.equal(decodeExchangeInfo({ symbols: [] }).isOk, false);
});

test("a request limit that makes no sense is not taken over", () => {
  for (const limit of [0, -5, "6000", null]) {
    const rateLimits = [
      { rateLimitType: "REQUEST_WEIGHT", interval: "MINUTE", intervalNum: 1, limit },
    ];
    const decoded = decodeExchangeInfo({ symbols: [{ symbol: "ETHBTC" }], rateLimits });
    assert.ok(decoded.isOk);
    assert.equal(decoded.value.weightPerMinute, undefined);
  }
});

test("server time, error bodies, ends of bans", () => {
  assert.deepEqual(decodeServerTime({ serverTime: 1499827319559 }), {
    isOk: true,
    value: 1499827319559,
  });
  for (const answer of [
    {},
    [],
    null,
    { serverTime: "1499827319559" },
    { serverTime: 1499827319 },
  ]) {
    assert.equal(decodeServerTime(answer).isOk, false);
  }
  assert.deepEqual(decodeErrorBody({ code: -1121, msg: "Invalid symbol." }), {
    code: -1121,
    message: "Invalid symbol.",
  });
  assert.equal(decodeErrorBody([]), undefined);
  assert.equal(decodeErrorBody({ msg: "x" }), undefined);
  const said = "Way too much request weight used; IP banned until 1795366119820. Please use";
  assert.equal(banEndOf(said), 1795366119820);
  assert.equal(banEndOf("Too much request weight used"), undefined);
});

test("any candle goes over the wire and back, digit for digit", () => {
  fc.assert(
    fc.property(
      anySymbol(),
      anyTimeframe().chain((of) => fc.tuple(fc.constant(of), anyCandle(of))),
      fc.boolean(),
      (symbol, [timeframe, candle], isClosed) => {
        const text = encodeEvent(symbol, timeframe, candle, isClosed);
        const frame = decodeFrame(text);
        assert.deepEqual(frame, {
          kind: "candle",
          stream: undefined,
          symbol,
          timeframe,
          candle,
          isClosed,
          eventTime: candle.closeTime,
        });
      },
    ),
  );
});

test("any text and any JSON give a frame, never an exception", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (text) => isFrame(decodeFrame(text))),
    {
      numRuns: 2_000,
    },
  );
  fc.assert(
    fc.property(fc.json(), (text) => isFrame(decodeFrame(text))),
    { numRuns: 2_000 },
  );
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      for (const decoder of [decodeCandleRows, decodeExchangeInfo, decodeServerTime]) {
        assert.equal(typeof decoder(value).isOk, "boolean");
      }
      decodeErrorBody(value);
    }),
    { numRuns: 2_000 },
  );
});

test("any frame with one part changed gives a frame, and a candle only with texts for decimals", () => {
  const keys = Object.keys(KLINE);
  const values = fc.oneof(fc.jsonValue(), fc.constantFrom("", "NaN", -0, [], {}));
  fc.assert(
    fc.property(fc.constantFrom(...keys), values, fc.boolean(), (key, value, isCombined) => {
      const event = { ...EVENT, k: { ...KLINE, [key]: value } };
      const frame = decode(isCombined ? { stream: "btcusdt@kline_1m", data: event } : event);
      assert.ok(isFrame(frame));
      if (frame.kind !== "candle") return;
      const { openTime, closeTime, tradeCount, ...decimals } = frame.candle;
      assert.ok(Number.isSafeInteger(openTime) && Number.isSafeInteger(closeTime));
      assert.equal(typeof tradeCount, "number");
      for (const text of Object.values(decimals)) assert.equal(typeof text, "string");
    }),
    { numRuns: 2_000 },
  );
  const text = JSON.stringify({ stream: "btcusdt@kline_1m", data: EVENT });
  fc.assert(
    fc.property(fc.nat(text.length), fc.nat(5), fc.string({ maxLength: 4 }), (at, cut, insert) =>
      isFrame(decodeFrame(text.slice(0, at) + insert + text.slice(at + cut))),
    ),
    { numRuns: 2_000 },
  );
});

test("every recorded candle frame is read, and says what was sent", needsSharedData(), () => {
  const frames = [...recordedFrames()].filter((frame) => frame.includes('"kline"'));
  assert.ok(frames.length > 150, `only ${frames.length} frames`);
  let closedCount = 0;
  for (const text of frames) {
    const frame = decodeFrame(text);
    assert.ok(frame.kind === "candle", `${JSON.stringify(frame)} of ${text}`);
    const sent = JSON.parse(text);
    const event = sent.data ?? sent;
    const { candle } = frame;
    assert.deepEqual(
      { ...event.k, ...fieldsOf(candle), s: frame.symbol, i: frame.timeframe, x: frame.isClosed },
      event.k,
    );
    assert.equal(frame.eventTime, event.E);
    assert.equal(frame.stream, sent.stream);
    if (frame.isClosed) closedCount += 1;
  }
  assert.ok(closedCount >= 4, `only ${closedCount} closed`);
});

test("every other recorded frame is an event that nobody needs", needsSharedData(), () => {
  const others = [...recordedFrames()].filter((frame) => !frame.includes('"kline"'));
  assert.ok(others.length > 1_000, `only ${others.length} frames`);
  for (const text of others) {
    const { kind } = decodeFrame(text);
    assert.ok(kind === "other" || kind === "ack", `${kind}: ${text}`);
  }
});

test("recorded answers of REST are read, and say what was sent", needsSharedData(), () => {
  for (const file of dataFiles("rest/klines_*.json")) {
    const sent: unknown[][] = JSON.parse(readSharedData(file));
    const decoded = decodeCandleRows(sent);
    assert.ok(decoded.isOk, `${file}: ${JSON.stringify(decoded)}`);
    assert.deepEqual(
      decoded.value.map((candle) => rowOf(candle)),
      sent.map((row) => row.slice(0, 11)),
    );
  }
  for (const file of dataFiles("rest/exchangeInfo_*.json.gz")) {
    const sent = JSON.parse(readSharedData(file));
    const decoded = decodeExchangeInfo(sent);
    assert.ok(decoded.isOk);
    assert.equal(decoded.value.markets.length, sent.symbols.length);
    assert.ok(decoded.value.markets.some(({ isTrading }) => isTrading));
    assert.ok((decoded.value.weightPerMinute ?? 0) >= 1200);
  }
});

test("recorded error bodies are recognised", needsSharedData(), () => {
  const lines = readSharedData("rest/error_responses_a.jsonl").trim().split("\n");
  const bodies = lines.map((line) => JSON.parse(line)).filter(({ body }) => body);
  assert.ok(bodies.length >= 2);
  for (const { status, body } of bodies) {
    const error = decodeErrorBody(body);
    assert.equal(error?.code, -1003);
    assert.equal(banEndOf(error?.message ?? ""), status === 418 ? 1785050129644 : undefined);
  }
});

function isFrame(frame: Frame): boolean {
  return ["candle", "shutdown", "ack", "error", "other", "bad"].includes(frame.kind);
}

function fieldsOf(candle: Candle) {
  return {
    t: candle.openTime,
    T: candle.closeTime,
    o: candle.open,
    h: candle.high,
    l: candle.low,
    c: candle.close,
    v: candle.volume,
    q: candle.quoteVolume,
    n: candle.tradeCount,
    V: candle.takerBuyVolume,
    Q: candle.takerBuyQuoteVolume,
  };
}

function rowOf(candle: Candle): unknown[] {
  const { t, o, h, l, c, v, T, q, n, V, Q } = fieldsOf(candle);
  return [t, o, h, l, c, v, T, q, n, V, Q];
}

function encodeEvent(symbol: string, timeframe: string, candle: Candle, isClosed: boolean): string {
  const k = { ...fieldsOf(candle), s: symbol, i: timeframe, x: isClosed, f: -1, L: -1, B: "0" };
  return JSON.stringify({ e: "kline", E: candle.closeTime, s: symbol, k });
}

function dataFiles(pattern: string): string[] {
  return globSync(pattern, { cwd: sharedDataFolder() ?? "" });
}

/** Frames of all recordings; some are bare `k` objects, which are put into an event as they were in one. */
function* recordedFrames(): Generator<string> {
  for (const file of dataFiles("ws/*")) {
    for (const line of readSharedData(file).trim().split("\n")) {
      const text = file.endsWith(".log.gz") ? line.replace(/^[\d.]+: /, "") : line;
      if (!text.startsWith("{")) continue;
      if (!file.includes("closed_k_objects")) yield text;
      else {
        const k = JSON.parse(text);
        yield JSON.stringify({ e: "kline", E: k.T + 1, s: k.s, k });
      }
    }
  }
}
