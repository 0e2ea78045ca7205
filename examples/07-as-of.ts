// What was known at a time: a backtest that must not see corrections that came later.
import { connect } from "../src/index.ts";

await using db = await connect();
const query = { symbol: "BTCUSDT", timeframe: "1m", limit: 100 } as const;
const [now] = (await db.candles.latest(query)).slice(-1);
if (now === undefined) console.log("nothing is stored yet");
else {
  const then = await db.candles.toColumns({ ...query, at: now.observedTime });
  console.log(`${then.close.length} candles were known when the newest one was seen`);
  for await (const candle of db.candles.range({ ...query, from: now.openTime, at: Date.now() })) {
    console.log(
      `${candle.close} by ${candle.source}, seen ${new Date(candle.observedTime).toISOString()}`,
    );
  }
}
