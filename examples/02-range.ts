// A range, candle by candle: half-open, ascending, in bounded memory however long it is.
import { connect } from "../src/index.ts";

await using db = await connect();
let count = 0;
let tradeCount = 0;
const from = new Date("2025-01-01T00:00Z");
const to = new Date("2025-02-01T00:00Z");
for await (const candle of db.candles.range({ symbol: "BTCUSDT", timeframe: "1m", from, to })) {
  count += 1;
  tradeCount += candle.tradeCount;
}
console.log(`${count} candles in January 2025, ${tradeCount} trades`);
