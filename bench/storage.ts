import { existsSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { createDatabase, type Database, migrate } from "../src/store/index.ts";
import { testSetting } from "../test/support/setting.ts";
import { readSharedData, sharedDataFolder } from "../test/support/shared-data.ts";
import { withDatabaseAt, withServer } from "./support/server.ts";

/**
 * Bytes a candle, indexes included, after vacuum: our table, the layout that it replaced, and TimescaleDB compressed where
 * `TEST_TIMESCALE_URL` names a server. Recorded hours with all twelve columns where there are any, else made ones; as many
 * series with the same rows as `--copies` says, loaded in blocks of 1,000 in turn, as a parallel backfill does.
 * Run: `node bench/storage.ts [--copies 20] [--json]`.
 */
const { values: options } = parseArgs({
  options: {
    copies: { type: "string", default: "20" },
    json: { type: "boolean", default: false },
  },
});
const copies = Number(options.copies);
const RECORDED = "archive12/BTCUSDT_1h_2021-2026.csv.gz";
const MADE_ROWS = 50_000;
const HOUR_MS = 3_600_000;
const FROM = Date.UTC(2021, 0, 1);

const RAW = `
  create unlogged table raw (
    open_ms bigint, open numeric, high numeric, low numeric, close numeric, volume numeric, close_ms bigint,
    quote_volume numeric, trades int, taker_buy numeric, taker_buy_quote numeric
  )`;

/** The replaced system's table: a surrogate key, text keys, fixed scale, and two indexes more than it needs. */
const OLD = `
  create table ohlcv_old (
    id bigserial primary key,
    symbol varchar(20) not null, timeframe varchar(5) not null, timestamp bigint not null,
    open numeric(20, 8) not null, high numeric(20, 8) not null, low numeric(20, 8) not null,
    close numeric(20, 8) not null, volume numeric(20, 8) not null, quote_volume numeric(20, 8),
    trades int, taker_buy_base numeric(20, 8), taker_buy_quote numeric(20, 8), close_time bigint,
    created_at timestamptz default now(), updated_at timestamptz default now(),
    unique (symbol, timeframe, timestamp)
  );
  create index on ohlcv_old (symbol, timeframe);
  create index on ohlcv_old (timestamp)`;

const BLOCKS = `
  from (select *, row_number() over (order by open_ms) / 1000 as block from raw) r, generate_series(1, ${copies}) id
  order by block, id, open_ms`;
const FILL = `
  insert into candles (series_id, trade_count, open_time, version, open, high, low, close, volume,
    quote_volume, taker_buy_volume, taker_buy_quote_volume)
  select id, trades, candle_time(open_ms), 1055531162664960 + close_ms - open_ms, open, high, low, close, volume,
    quote_volume, taker_buy, taker_buy_quote ${BLOCKS}`;
const FILL_OLD = `
  insert into ohlcv_old (symbol, timeframe, timestamp, open, high, low, close, volume, quote_volume, trades,
    taker_buy_base, taker_buy_quote, close_time)
  select 'COIN' || id || 'USDT', '1h', open_ms, open, high, low, close, volume, quote_volume, trades,
    taker_buy, taker_buy_quote, close_ms ${BLOCKS}`;

interface Size {
  readonly bytes: number;
  readonly heap: number;
  readonly index: number;
}

interface Report {
  readonly rows: number;
  readonly digits: "recorded" | "made";
  readonly plain: Size;
  readonly old: Size;
  /** With what it was before, in the same hypertable. */
  readonly compressed:
    | { readonly bytes: number; readonly before: number }
    | { readonly skipped: string };
}

/** Rows of the archive's twelve columns without the last, times in ms. */
function rows(): { text: string; digits: Report["digits"] } {
  const folder = sharedDataFolder();
  if (folder !== undefined && existsSync(join(folder, RECORDED))) {
    const lines = readSharedData(RECORDED).trim().split("\n");
    const text = lines.filter((line) => /^\d/.test(line)).map(recordedRow);
    return { text: text.join("\n"), digits: "recorded" };
  }
  return {
    text: Array.from({ length: MADE_ROWS }, (_, index) => madeRow(index)).join("\n"),
    digits: "made",
  };
}

function recordedRow(line: string): string {
  const cells = line.split(",").slice(0, 11);
  // µs since 2025.
  for (const time of [0, 6]) cells[time] = String(cells[time]).slice(0, 13);
  return cells.join(",");
}

function madeRow(index: number): string {
  const price = 60_000 + (index % 997) * 0.13;
  const text = (value: number, digits = 2): string =>
    `${value.toFixed(digits)}${"0".repeat(8 - digits)}`;
  const open = FROM + index * HOUR_MS;
  const volume = ((index % 7_919) + 1) / 31;
  return [
    open,
    ...[price, price + 9, price - 9, price + 1].map((value) => text(value)),
    text(volume, 5),
    open + HOUR_MS - 1,
    text(volume * price, 8),
    index % 5_000,
    text(volume / 2, 5),
    text((volume * price) / 2, 8),
  ].join(",");
}

async function load(database: Database): Promise<number> {
  await database.run({ text: RAW });
  await database.transaction((tx) =>
    tx.copyIn("copy raw from stdin (format csv)", [Buffer.from(`${rows().text}\n`)]),
  );
  await database.run({ text: FILL });
  await database.run({ text: "vacuum (analyze) candles" });
  const [row] = await database.run<{ count: number }>({ text: "select count(*) from candles" });
  return row?.count ?? 0;
}

async function sizeOf(
  database: Database,
  table: "candles" | "ohlcv_old",
  count: number,
): Promise<Size> {
  const [size] = await database.run<{ heap: number; index: number }>({
    text: "select pg_table_size($1::regclass) as heap, pg_indexes_size($1::regclass) as index",
    values: [table],
  });
  const { heap = Number.NaN, index = Number.NaN } = size ?? {};
  return { bytes: (heap + index) / count, heap: heap / count, index: index / count };
}

async function compressed(): Promise<Report["compressed"]> {
  const server = testSetting("TEST_TIMESCALE_URL");
  if (server === undefined) return { skipped: "TEST_TIMESCALE_URL is not set" };
  const url = new URL(server);
  url.pathname = `/bench_storage_${process.pid}`;
  await createDatabase({ url: url.href });
  try {
    return await withDatabaseAt(url.href, async (database) => {
      await migrate(database);
      const count = await load(database);
      const size = async (): Promise<number> => {
        const [row] = await database.run<{ bytes: number }>({
          text: "select hypertable_size('candles') as bytes",
        });
        return (row?.bytes ?? Number.NaN) / count;
      };
      const before = await size();
      await database.run({
        text: `
          alter table candles set (
            timescaledb.compress, timescaledb.compress_segmentby = 'series_id', timescaledb.compress_orderby = 'open_time'
          )`,
      });
      await database.run({ text: "select compress_chunk(c, true) from show_chunks('candles') c" });
      return { bytes: await size(), before };
    });
  } finally {
    await withDatabaseAt(server, (admin) =>
      admin.run({ text: `drop database if exists ${url.pathname.slice(1)} with (force)` }),
    );
  }
}

const report = await withServer(async (server): Promise<Report> => {
  const plainUrl = await server.freshDatabase();
  return withDatabaseAt(plainUrl, async (database) => {
    const count = await load(database);
    const plain = await sizeOf(database, "candles", count);
    for (const text of OLD.split(";")) await database.run({ text });
    await database.run({ text: FILL_OLD });
    await database.run({ text: "vacuum (analyze) ohlcv_old" });
    const old = await sizeOf(database, "ohlcv_old", count);
    return { rows: count, digits: rows().digits, plain, old, compressed: await compressed() };
  });
});
if (options.json) process.stdout.write(`${JSON.stringify(report)}\n`);
else {
  const line = (name: string, { bytes, heap, index }: Size): string =>
    `${name.padEnd(24)}${bytes.toFixed(0)} B a candle (table ${heap.toFixed(0)}, indexes ${index.toFixed(0)})\n`;
  process.stdout.write(
    `${report.rows.toLocaleString("en-US")} rows of ${report.digits} digits in ${copies} series\n` +
      line("plain", report.plain) +
      line("old layout", report.old) +
      ("skipped" in report.compressed
        ? `TimescaleDB             not measured: ${report.compressed.skipped}\n`
        : `TimescaleDB             ${report.compressed.bytes.toFixed(0)} B a candle compressed, ${report.compressed.before.toFixed(0)} before\n`),
  );
}
