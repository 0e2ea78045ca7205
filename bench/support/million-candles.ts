import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Series } from "../../src/core/series.ts";
import { createDatabase, Database, migrate, startEmbedded } from "../../src/store/index.ts";
import { SeriesCatalog } from "../../src/store/series-catalog.ts";

/** A database with many candles of one series, shaped like Binance's: eight decimals, two of a price in use. */
export interface BenchDatabase {
  readonly url: string;
  readonly dataDir: string;
  readonly series: Series;
}

const FILL_DEADLINE_MS = 30 * 60_000;

/** Makes one in a temporary folder, and takes it away after `run`. */
export async function withCandles<T>(
  count: number,
  run: (bench: BenchDatabase) => Promise<T>,
): Promise<T> {
  const dataDir = await mkdtemp(join(tmpdir(), "black-trade-bench-"));
  // The server's own user has to reach it when this runs as root.
  await chmod(dataDir, 0o755);
  try {
    const embedded = await startEmbedded({ dataDir });
    try {
      const url = embedded.urlOf("black_trade");
      const series = await fill(url, count);
      return await run({ url, dataDir, series });
    } finally {
      await embedded.release();
    }
  } finally {
    await rm(dataDir, { recursive: true, force: true });
  }
}

async function fill(url: string, count: number): Promise<Series> {
  const series: Series = { exchange: "binance", symbol: "BTCUSDT", timeframe: "1m" };
  await createDatabase({ url });
  const database = new Database({ url });
  try {
    await migrate(database);
    const [id] = await new SeriesCatalog(database).register([series]);
    await database.run({
      deadlineMs: FILL_DEADLINE_MS,
      text: `
        insert into candles (series_id, trade_count, open_time, version, open, high, low, close,
          volume, quote_volume, taker_buy_volume, taker_buy_quote_volume)
        select $1, (random() * 2000)::int, candle_time(1577836800000 + minute * 60000), 1055531162664960 + minute,
          price, price + 25.5, price - 25.5, price + 1.25,
          volume, round(price * volume, 8), round(volume / 3, 8), round(price * volume / 3, 8)
        from (
          select minute, (60000 + 5000 * sin(minute / 5000.0))::numeric(12, 2)::numeric(20, 8) as price,
            (random() * 200)::numeric(12, 5)::numeric(20, 8) as volume
          from generate_series(0, $2::bigint - 1) minute
        ) as walk`,
      values: [id, count],
    });
    await database.run({ deadlineMs: FILL_DEADLINE_MS, text: "vacuum (analyze) candles" });
    return series;
  } finally {
    await database.close();
  }
}
