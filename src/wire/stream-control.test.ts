import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { seriesOfStream } from "./kline-text.ts";
import { errorText, isWellFormedStream, parseControl, resultText } from "./stream-control.ts";
import { parseStreamUrl } from "./stream-url.ts";

const errorOf = (text: string): string => {
  const message = parseControl(text);
  assert.equal(message.kind, "error");
  return message.kind === "error" ? errorText(message, "nested") : "";
};

describe("control messages", () => {
  test("are understood", () => {
    assert.deepEqual(
      parseControl('{"method":"SUBSCRIBE","params":["btcusdt@kline_1m","1"],"id":1}'),
      {
        kind: "subscribe",
        streams: ["btcusdt@kline_1m", "1"],
        id: "1",
      },
    );
    assert.deepEqual(parseControl('{"method":"LIST_SUBSCRIPTIONS","id":3}'), {
      kind: "list",
      id: "3",
    });
    assert.deepEqual(parseControl('{"method":"SET_PROPERTY","params":["combined",true],"id":5}'), {
      kind: "setCombined",
      value: true,
      id: "5",
    });
    assert.deepEqual(parseControl('{"method":"GET_PROPERTY","params":["combined"],"id":null}'), {
      kind: "getCombined",
      id: "null",
    });
  });

  test("an id comes back with its type, 64 bits long", () => {
    for (const id of ["-7", "9223372036854775807", '"6a1b0c2d3e4f5061728394a5b6c7d8e9"', "null"]) {
      const message = parseControl(`{"method":"LIST_SUBSCRIPTIONS","id":${id}}`);
      assert.equal(resultText("null", message.id), `{"result":null,"id":${id}}`);
    }
  });

  test("are refused in the words of the wire", () => {
    assert.equal(
      errorOf('{"method":"NOT_A_METHOD","id":4}'),
      '{"error":{"code":2,"msg":"Invalid request: unknown variant `NOT_A_METHOD`, expected one of `SUBSCRIBE`, `UNSUBSCRIBE`, `LIST_SUBSCRIPTIONS`, `SET_PROPERTY`, `GET_PROPERTY`"},"id":4}',
    );
    assert.match(errorOf('{"params":[],"id":4}'), /missing field `method` at line 1 column 20/);
    assert.match(
      errorOf('{"method":"LIST_SUBSCRIPTIONS","id":1.5}'),
      /request ID must be an unsigned integer/,
    );
    assert.match(
      errorOf('{"method":"LIST_SUBSCRIPTIONS","params":["a"],"id":1}'),
      /too many parameters/,
    );
    assert.match(
      errorOf("hello"),
      /"code":3,"msg":"Invalid JSON: expected value at line 1 column 1"/,
    );
    assert.equal(
      errorOf('{"method":"GET_PROPERTY","params":["x"],"id":1}'),
      '{"error":{"code":0,"msg":"Unknown property"},"id":1}',
    );
    const value = parseControl('{"method":"SET_PROPERTY","params":["combined",1],"id":1}');
    assert.equal(
      value.kind === "error" && errorText(value, "flat"),
      '{"code":1,"msg":"Invalid value type: expected Boolean","id":1}',
    );
  });

  test("a malformed stream name ends the connection, an unknown one does not", () => {
    const malformed = parseControl('{"method":"SUBSCRIBE","params":["@@@x###"],"id":1}');
    assert.equal(malformed.kind === "error" && malformed.closes, true);
    for (const name of [
      "BTCUSDT@kline_1m",
      "btcusdt@kline_7m",
      "0",
      "币安人生usdt@kline_1d@+08:00",
      "!ticker@arr",
    ]) {
      assert.ok(isWellFormedStream(name), name);
    }
  });

  test("no text makes the parser throw", () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.string(), fc.json()),
        (text) => typeof parseControl(text).kind === "string",
      ),
    );
  });
});

describe("stream names and URLs", () => {
  const symbolOf = (lower: string): string | undefined =>
    new Map([
      ["btcusdt", "BTCUSDT"],
      ["币安人生usdt", "币安人生USDT"],
    ]).get(lower);

  test("a name asks for a series only in lower case", () => {
    assert.deepEqual(seriesOfStream("btcusdt@kline_1M", symbolOf), {
      symbol: "BTCUSDT",
      interval: "1M",
    });
    assert.deepEqual(seriesOfStream("币安人生usdt@kline_1d@+08:00", symbolOf), {
      symbol: "币安人生USDT",
      interval: "1d",
      offsetMs: 28_800_000,
    });
    for (const name of [
      "BTCUSDT@kline_1m",
      "btcusdt@kline_7m",
      "ethusdt@kline_1m",
      "btcusdt@trade",
    ]) {
      assert.equal(seriesOfStream(name, symbolOf), undefined, name);
    }
  });

  test("every path of the clients is served", () => {
    const raw = (...streams: string[]): object => ({ isCombined: false, isMicro: false, streams });
    const combined = (...streams: string[]): object => ({ ...raw(...streams), isCombined: true });
    for (const [url, expected] of [
      ["/ws", raw()],
      ["/ws/", raw()],
      ["/ws/btcusdt@kline_1m/ethusdt@kline_1s", raw("btcusdt@kline_1m", "ethusdt@kline_1s")],
      ["/ws/btcusdt%40kline_1m", raw("btcusdt@kline_1m")],
      ["/stream", combined()],
      ["/stream?streams=", combined()],
      ["/stream?streams=a@kline_1d@+08:00/b@kline_1m", combined("a@kline_1d@+08:00", "b@kline_1m")],
      [
        `/stream?streams=${encodeURIComponent("币安人生usdt@kline_1m")}`,
        combined("币安人生usdt@kline_1m"),
      ],
      ["/stream/ws", raw()],
      ["/stream/ws/0", raw("0")],
      ["/ws/a@kline_1m?timeUnit=microsecond", { ...raw("a@kline_1m"), isMicro: true }],
      [
        "/stream?streams=a@kline_1m&timeUnit=MICROSECOND",
        { ...combined("a@kline_1m"), isMicro: true },
      ],
      ["/elsewhere", undefined],
      ["/stream/other", undefined],
    ] as const) {
      assert.deepEqual(parseStreamUrl(url), expected, url);
    }
  });
});
