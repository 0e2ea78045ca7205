// Candles of your own. Every row is judged by itself: the good ones are saved, each bad one has its reason.
import { connect, type NewCandle } from "../src/index.ts";

await using db = await connect({ access: "write" });
const candle: NewCandle = {
  exchange: "my-exchange",
  symbol: "GOLD",
  timeframe: "1h",
  openTime: new Date("2025-03-03T10:00Z"),
  open: "2861.30",
  high: "2870.05",
  low: "2858.70",
  close: "2869.90",
  volume: "1250.5",
};
const { outcomes, refusals } = await db.candles.saveBatch([
  candle,
  candle,
  { ...candle, openTime: new Date("2025-03-03T11:00Z"), high: "1" },
]);
console.log(outcomes.join(", "));
for (const { index, code, detail } of refusals) console.log(`row ${index}: ${code}: ${detail}`);
