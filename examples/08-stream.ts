// Closed candles as any process stores them. The id is the place to go on from after a restart: keep it where you keep
// the results. Here it is a file, and the example ends after three candles.
import { readFile, writeFile } from "node:fs/promises";
import { connect } from "../src/index.ts";

await using db = await connect();
const place = Number(await readFile("place.txt", "utf8").catch(() => "0"));
let count = 0;
for await (const candle of db.candles.stream({
  symbols: ["BTCUSDT"],
  timeframes: ["1m"],
  ...(place > 0 ? { afterId: place } : {}),
})) {
  console.log(new Date(candle.openTime).toISOString(), candle.close, candle.outcome);
  await writeFile("place.txt", String(candle.id));
  count += 1;
  if (count === 3) break;
}
