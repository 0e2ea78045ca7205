// How the ingestion is: the words of `npx black-trade status`, by the same function.
import { connect } from "../src/index.ts";

await using db = await connect();
for (const { symbol, timeframe, status, reason } of await db.ingestion.allStatuses()) {
  console.log(symbol, timeframe, status, reason);
}
const one = await db.ingestion.status({ symbol: "BTCUSDT", timeframe: "1m" });
if (one?.status !== "active") console.log("BTCUSDT 1m is not up to date");
