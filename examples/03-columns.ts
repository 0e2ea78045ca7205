// Columns of numbers for an indicator: a simple moving average over 20 candles of the newest 200.
import { connect } from "../src/index.ts";

await using db = await connect();
const { openTime, close } = await db.candles.toColumns({
  symbol: "BTCUSDT",
  timeframe: "1m",
  limit: 200,
  fields: ["close"],
});
const length = 20;
let sum = 0;
let average = Number.NaN;
for (const [index, value] of close.entries()) {
  sum += value - (close[index - length] ?? 0);
  if (index >= length - 1) average = sum / length;
}
const newest = openTime.at(-1);
if (newest === undefined) console.log("nothing is stored yet");
else {
  const time = new Date(newest).toISOString();
  console.log(`${close.length} closes up to ${time}, average of the last ${length}: ${average}`);
}

// The same digit for digit, for whoever calculates in decimals.
const exact = await db.candles.toColumns({
  symbol: "BTCUSDT",
  timeframe: "1m",
  limit: 2,
  exact: true,
});
console.log("exact closes:", exact.close.join(" "));
