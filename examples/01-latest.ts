// The newest candles of a series. In a program of your own: import { connect } from "black-trade".
import { connect } from "../src/index.ts";

await using db = await connect();
const candles = await db.candles.latest({ symbol: "BTCUSDT", timeframe: "1m", limit: 5 });
for (const { openTime, close, volume } of candles) {
  console.log(new Date(openTime).toISOString(), close, volume);
}
