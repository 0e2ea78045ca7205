import { setImmediate as turn } from "node:timers/promises";
import pg from "pg";
import { systemClock } from "../src/clock.ts";
import type { Candle } from "../src/core/candle.ts";
import { CloseClock } from "../src/core/close-clock.ts";
import type { Series } from "../src/core/series.ts";
import { nextOpenTime, TIMEFRAMES } from "../src/core/timeframe.ts";
import { Intake } from "../src/ingest/intake.ts";
import { Writer } from "../src/ingest/writer.ts";
import { openStore } from "../src/store/index.ts";
import { scriptOptions } from "../test/support/script-options.ts";
import { medianOf } from "./support/median.ts";
import { withServer } from "./support/server.ts";

/**
 * The boundary burst: 24,000 series close at once; how long until all of it is durable. Through the program's own path
 * (checks, close clock, writer, one transaction a batch with rows, watermarks and change log), beside the bare upsert of the
 * same rows through `pg` into a table with the same columns and key. Candles are handed in as sockets bring them: what one
 * read of 64 kB holds, then the event loop turns. Alternating, on one server.
 * Run: `npm run bench:burst -- [--symbols 1500] [--rounds 5] [--json]`.
 */
const options = scriptOptions({
  symbols: 1500,
  rounds: 5,
  json: false,
});
const START = Date.UTC(2026, 5, 1);
/** As large as the program's own. */
const BATCH = 5_000;
/** Closing frames in one read of a socket: 64 kB of some 360 bytes each. */
const READ_FRAMES = 180;

const series: Series[] = Array.from({ length: options.symbols }, (_, index) =>
  TIMEFRAMES.map((timeframe) => ({ exchange: "binance", symbol: `S${index}USDT`, timeframe })),
).flat();

function candleOf({ timeframe }: Series, openTime: number, index: number): Candle {
  const price = (29_000 + index / 8).toFixed(8);
  return {
    openTime,
    closeTime: nextOpenTime(timeframe, openTime) - 1,
    ...{ open: price, high: price, low: price, close: price },
    ...{ volume: "0.20926000", quoteVolume: "6076.58918320", tradeCount: 31 },
    ...{ takerBuyVolume: "0.10436000", takerBuyQuoteVolume: "3030.45472920" },
  };
}

/** The candle of each series that ends the round: open times go on by one candle each. */
const opens = series.map(() => START);
function nextCandles(): Candle[] {
  return series.map((one, index) => {
    const openTime = opens[index] ?? START;
    opens[index] = nextOpenTime(one.timeframe, openTime);
    return candleOf(one, openTime, index);
  });
}

const BARE_TABLE = `
  create table bare (
    series_id int, trade_count int, open_time timestamptz, version bigint,
    open numeric, high numeric, low numeric, close numeric,
    volume numeric, quote_volume numeric, taker_buy_volume numeric, taker_buy_quote_volume numeric,
    primary key (series_id, open_time)
  )`;
const BARE_UPSERT = `
  insert into bare as stored
  select * from unnest(
    $1::int[], $2::int[], $3::timestamptz[], $4::bigint[], $5::numeric[], $6::numeric[], $7::numeric[],
    $8::numeric[], $9::numeric[], $10::numeric[], $11::numeric[], $12::numeric[])
  on conflict (series_id, open_time) do update set
    trade_count = excluded.trade_count, version = excluded.version, open = excluded.open, high = excluded.high,
    low = excluded.low, close = excluded.close, volume = excluded.volume, quote_volume = excluded.quote_volume,
    taker_buy_volume = excluded.taker_buy_volume, taker_buy_quote_volume = excluded.taker_buy_quote_volume
  where excluded.version > stored.version`;

async function bare(client: pg.Client, candles: readonly Candle[]): Promise<number> {
  const began = performance.now();
  for (let from = 0; from < candles.length; from += BATCH) {
    const rows = candles.slice(from, from + BATCH);
    await client.query({
      name: "bare-upsert",
      text: BARE_UPSERT,
      values: [
        rows.map((_, index) => from + index),
        rows.map((row) => row.tradeCount),
        rows.map((row) => new Date(row.openTime)),
        rows.map((row) => row.closeTime),
        ...(["open", "high", "low", "close", "volume", "quoteVolume"] as const).map((field) =>
          rows.map((row) => row[field]),
        ),
        rows.map((row) => row.takerBuyVolume),
        rows.map((row) => row.takerBuyQuoteVolume),
      ],
    });
  }
  return performance.now() - began;
}

await withServer(async (server) => {
  const url = await server.freshDatabase();
  const store = await openStore({ url });
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query(BARE_TABLE);
  await store.begin({ mode: "websocket", host: "bench", pid: process.pid }, series);
  const watermarks = await store.want(
    series.map((one) => ({ series: one, wantedFrom: START })),
    START,
  );
  let exchangeNow = START;
  const writer = new Writer({
    store,
    clock: systemClock,
    random: Math.random,
    record: () => undefined,
    exchangeNow: () => exchangeNow,
  });
  const closeClock = new CloseClock();
  const intake = new Intake(writer, closeClock);
  for (const watermark of watermarks) {
    writer.track(watermark);
    closeClock.track(watermark.series, watermark.next);
  }
  const stop = new AbortController();
  const running = writer.run(stop.signal);
  const times = { own: [] as number[], bare: [] as number[] };
  const own = async (candles: readonly Candle[]): Promise<number> => {
    exchangeNow = Math.max(...candles.map(({ closeTime }) => closeTime)) + 1;
    const began = performance.now();
    for (const [index, one] of series.entries()) {
      const candle = candles[index];
      if (candle !== undefined) intake.take(one, candle, "stream", candle.closeTime + 1);
      if (index % READ_FRAMES === READ_FRAMES - 1) await turn();
    }
    await writer.flushed(stop.signal);
    return performance.now() - began;
  };
  // The first of each makes plans, pages and types warm.
  await own(nextCandles());
  await bare(client, nextCandles());
  for (let round = 0; round < options.rounds; round += 1) {
    times.own.push(await own(nextCandles()));
    times.bare.push(await bare(client, nextCandles()));
  }
  stop.abort();
  await running.catch(() => undefined);
  await client.end();
  await store.end();
  await store.close();
  const [ownMs, bareMs] = [medianOf(times.own), medianOf(times.bare)];
  const report = {
    rows: series.length,
    rounds: times.own.length,
    ownMs: Math.round(ownMs),
    bareMs: Math.round(bareMs),
    ratio: Number((ownMs / bareMs).toFixed(2)),
  };
  process.stdout.write(
    options.json
      ? `${JSON.stringify(report)}\n`
      : `burst    ${report.rows} closes durable in ${report.ownMs} ms, bare upsert ${report.bareMs} ms: ratio ${report.ratio} (median of ${report.rounds}, alternating)\n`,
  );
});
