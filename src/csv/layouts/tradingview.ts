import { type Layout, type LayoutMatch, plainNames } from "../layout.ts";
import { timeframeOf } from "../names.ts";

/** TradingView's chart export: `time,open,high,low,close`, indicators, `Volume`; ISO times with a zone, or seconds. */
export const tradingView: Layout = {
  name: "tradingview",
  title: "TradingView's chart export",
  recognise(sample) {
    const names = plainNames(sample.header);
    const isChart = ["time", "open", "high", "low", "close"].every(
      (name, index) => names[index] === name,
    );
    if (!isChart) return undefined;
    const volume = names.lastIndexOf("volume");
    const columns = { openTime: 0, open: 1, high: 2, low: 3, close: 4 };
    return {
      layout: "tradingview",
      columns: volume < 0 ? columns : { ...columns, volume },
      units: ["text", "s"],
      ...named(sample.name),
    };
  },
};

/** `BINANCE_BTCUSDT, 60.csv`, `BINANCE_BTCUSDT_60.csv`, `BINANCE_BTCUSDT.P, 1D.csv`. */
function named(name: string): Partial<LayoutMatch> {
  const found = /^([A-Z]+)_([A-Z0-9]+)(\.P)?(?:, |_)(\w+?)(?:[_.]|$)/.exec(name);
  if (found === null) return {};
  const [, exchange = "", symbol = "", perpetual, word = ""] = found;
  const timeframe = timeframeOf(word);
  const market = perpetual === undefined ? "" : "-um";
  return {
    symbol,
    exchange: `${exchange.toLowerCase()}${market}`,
    ...(timeframe === undefined ? {} : { timeframe }),
  };
}
