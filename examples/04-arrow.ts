// An Arrow table, and a file of it that pandas, Polars and DuckDB read: pl.read_ipc("candles.arrow").
import { writeFile } from "node:fs/promises";
import { tableToIPC } from "apache-arrow";
import { connect } from "../src/index.ts";

await using db = await connect();
const table = await db.candles.toArrow({ symbol: "BTCUSDT", timeframe: "1m", limit: 1_000 });
await writeFile("candles.arrow", tableToIPC(table, "file"));
console.log(`candles.arrow: ${table.numRows} rows of ${table.schema.fields.join(", ")}`);
