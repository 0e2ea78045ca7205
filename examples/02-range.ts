// A range, candle by candle: half-open, ascending, in bounded memory however long it is.
// Run it with two days of your own: npx node examples/02-range.ts 2025-06-01 2025-07-01
import { connect } from "../src/index.ts";

await using db = await connect();
let count = 0;
let tradeCount = 0;
const [, , from = "2025-01-01", to = "2025-02-01"] = process.argv;
const range = { from: new Date(from), to: new Date(to) };
for await (const candle of db.candles.range({ symbol: "BTCUSDT", timeframe: "1m", ...range })) {
  count += 1;
  tradeCount += candle.tradeCount;
}
console.log(`${count} candles of ${from} … ${to}, ${tradeCount} trades`);
