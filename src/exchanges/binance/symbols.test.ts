import assert from "node:assert/strict";
import { test } from "node:test";
import { BlackTradeError } from "../../core/errors.ts";
import type { Market } from "../../core/ports.ts";
import { checkSymbols, refuseUnknownSymbols } from "./symbols.ts";

const market = (symbol: string, status = "TRADING"): Market => ({
  symbol,
  baseAsset: symbol.slice(0, -4),
  quoteAsset: symbol.slice(-4),
  status,
  isTrading: status === "TRADING",
});
const MARKETS = [
  market("BTCUSDT"),
  market("ETHUSDT"),
  market("DOGEUSDT"),
  market("LUNAUSDT", "BREAK"),
  market("币安人生USDT"),
];

test("other programs' spellings and slips of the hand are understood", () => {
  const cases = [
    ["BTC/USDT", "BTCUSDT"],
    ["btcusdt", "BTCUSDT"],
    ["BTC-USDT", "BTCUSDT"],
    ["btc_usdt", "BTCUSDT"],
    ["BTC/USDT:USDT", undefined],
    ["BTCUSD", "BTCUSDT"],
    ["DODGEUSDT", "DOGEUSDT"],
    ["ETHSUDT", "ETHUSDT"],
    ["币安人USDT", "币安人生USDT"],
    ["XYZQQQABC", undefined],
  ] as const;
  for (const [symbol, suggestion] of cases) {
    const { unknown } = checkSymbols([symbol], MARKETS);
    assert.equal(unknown.length, 1);
    assert.equal(unknown[0]?.suggestion, suggestion, symbol);
  }
});

test("what is listed and does not trade is no error", () => {
  const { unknown, notTrading } = checkSymbols(["BTCUSDT", "LUNAUSDT", "LUNAUSDT"], MARKETS);
  assert.deepEqual(unknown, []);
  assert.deepEqual(notTrading, [market("LUNAUSDT", "BREAK")]);
  refuseUnknownSymbols(["BTCUSDT", "LUNAUSDT"], MARKETS);
});

test("every symbol that is not listed is named in one refusal", () => {
  assert.throws(
    () => refuseUnknownSymbols(["BTCUSDT", "BTC/USDT", "NOSUCHPAIR"], MARKETS),
    (error) =>
      error instanceof BlackTradeError &&
      error.code === "E_SOURCE_SYMBOL" &&
      error.message === "Binance has no symbol BTC/USDT (did you mean BTCUSDT?), NOSUCHPAIR",
  );
});
