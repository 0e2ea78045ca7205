import { BlackTradeError } from "../../core/errors.ts";
import { nearest } from "../../core/nearest.ts";
import type { Market } from "../../core/ports.ts";

/** What is wrong with configured symbols. */
export interface SymbolCheck {
  /** Not listed, with what was most likely meant. */
  readonly unknown: readonly { readonly symbol: string; readonly suggestion?: string }[];
  /** Listed and not trading: their history is served, new candles may not come. */
  readonly notTrading: readonly Market[];
}

/**
 * Compares symbols with what the exchange lists. Needed because a stream of a symbol that does not exist is
 * acknowledged and stays silent for ever (binance.md §1.4).
 */
export function checkSymbols(symbols: readonly string[], markets: readonly Market[]): SymbolCheck {
  const listed = new Map(markets.map((market) => [market.symbol, market]));
  const unknown = [];
  const notTrading = [];
  for (const symbol of new Set(symbols)) {
    const market = listed.get(symbol);
    if (market === undefined) {
      const suggestion = suggest(symbol, listed);
      unknown.push({ symbol, ...(suggestion === undefined ? {} : { suggestion }) });
    } else if (!market.isTrading) notTrading.push(market);
  }
  return { unknown, notTrading };
}

/** @throws {BlackTradeError} E_SOURCE_SYMBOL naming every symbol that is not listed, with what was most likely meant */
export function refuseUnknownSymbols(symbols: readonly string[], markets: readonly Market[]): void {
  const { unknown } = checkSymbols(symbols, markets);
  if (unknown.length === 0) return;
  const named = unknown.map(({ symbol, suggestion }) =>
    suggestion === undefined ? symbol : `${symbol} (did you mean ${suggestion}?)`,
  );
  throw new BlackTradeError("E_SOURCE_SYMBOL", `Binance has no symbol ${named.join(", ")}`, {
    remedy: "Correct TRADING_PAIRS: symbols are written as BTCUSDT.",
  });
}

/** `BTC/USDT`, `btcusdt` and `BTC-USDT` are the same thing to other programs; the rest is a slip of the hand. */
function suggest(symbol: string, listed: ReadonlyMap<string, Market>): string | undefined {
  const plain = symbol.toUpperCase().replace(/[/_:\s-]/g, "");
  return listed.has(plain) ? plain : nearest(plain, listed.keys());
}
