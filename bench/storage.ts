import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { createDatabase, type Database, migrate } from "../src/store/index.ts";
import { scriptOptions } from "../test/support/script-options.ts";
import { testSetting } from "../test/support/setting.ts";
import { readSharedData, sharedDataFolder } from "../test/support/shared-data.ts";
import { writeRecordedMinutes } from "./support/recorded-minutes.ts";
import { type BenchServer, withDatabaseAt, withServer } from "./support/server.ts";

/**
 * Bytes a candle, indexes included, after vacuum: our table, the layout that it replaced, and TimescaleDB compressed where
 * `TEST_TIMESCALE_URL` names a server. Recorded minutes of 13 symbols, whose quote and taker columns are reckoned to the
 * exchange's eight decimals (made rows where none are recorded), and recorded hours of BTCUSDT with all twelve columns, the
 * longest numbers there are. Loaded in blocks of 1,000 of each series in turn, as a parallel backfill does.
 * Run: `node bench/storage.ts [--json]`.
 */
const options = scriptOptions({
  json: false,
  quick: false,
});
const HOURS = "archive12/BTCUSDT_1h_2021-2026.csv.gz";
const QUICK_FILES = 2;

const RAW = `
  create unlogged table raw (
    id int, open_ms bigint, open numeric, high numeric, low numeric, close numeric, volume numeric, close_ms bigint,
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

const MINUTES = `
  insert into raw
  select $1, ts, o, h, l, c, v, ts + 59999, round(c * v, 8), (v % 1000)::int, round(v * 0.4871, scale(v)), round(c * v * 0.4871, 8)
  from minutes`;
const BLOCKS = `
  from (select *, row_number() over (partition by id order by open_ms) / 1000 as block from raw) r
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

/** One set of candles. */
interface Sample {
  readonly what: string;
  readonly rows: number;
  readonly plain: Size;
  readonly old: Size;
  /** With what it was before, in the same hypertable. */
  readonly compressed:
    | { readonly bytes: number; readonly before: number }
    | { readonly skipped: string };
}

/** Fills `raw`. */
type Load = (database: Database) => Promise<void>;

/** Six-column files; the other columns are reckoned. */
function loadMinutes(files: readonly string[]): Load {
  return async (database) => {
    const columns = "ts bigint, o numeric, h numeric, l numeric, c numeric, v numeric";
    await database.run({ text: `create unlogged table minutes (${columns})` });
    for (const [index, file] of files.entries()) {
      const data = await readFile(file);
      await database.transaction((tx) =>
        tx.copyIn("copy minutes from stdin (format csv, header)", [data]),
      );
      await database.run({ text: MINUTES, values: [index + 1] });
      await database.run({ text: "truncate minutes" });
    }
  };
}

/** The archive's twelve columns. */
const loadHours: Load = async (database) => {
  const lines = readSharedData(HOURS).trim().split("\n");
  const rows = lines
    .filter((line) => /^\d/.test(line))
    .map((line) => {
      const cells = line.split(",").slice(0, 11);
      // µs since 2025.
      for (const time of [0, 6]) cells[time] = String(cells[time]).slice(0, 13);
      return `1,${cells.join(",")}\n`;
    });
  await database.transaction((tx) =>
    tx.copyIn("copy raw from stdin (format csv)", [Buffer.from(rows.join(""))]),
  );
};

async function fill(database: Database, load: Load): Promise<number> {
  await database.run({ text: RAW });
  await load(database);
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

async function compressed(load: Load): Promise<Sample["compressed"]> {
  const server = testSetting("TEST_TIMESCALE_URL");
  if (server === undefined) return { skipped: "TEST_TIMESCALE_URL is not set" };
  const url = new URL(server);
  url.pathname = `/bench_storage_${process.pid}`;
  await createDatabase({ url: url.href });
  try {
    return await withDatabaseAt(url.href, async (database) => {
      await migrate(database);
      const count = await fill(database, load);
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

async function measure(server: BenchServer, what: string, load: Load): Promise<Sample> {
  return withDatabaseAt(await server.freshDatabase(), async (database) => {
    const rows = await fill(database, load);
    const plain = await sizeOf(database, "candles", rows);
    for (const text of OLD.split(";")) await database.run({ text });
    await database.run({ text: FILL_OLD });
    await database.run({ text: "vacuum (analyze) ohlcv_old" });
    const old = await sizeOf(database, "ohlcv_old", rows);
    return { what, rows, plain, old, compressed: await compressed(load) };
  });
}

const samples = await withServer(async (server) => {
  const { files, isRecorded } = await writeRecordedMinutes(join(server.folder, "csv"));
  const some = options.quick ? files.slice(0, QUICK_FILES) : files;
  const what = isRecorded ? `recorded minutes of ${some.length} symbols` : "made minutes";
  const all = [await measure(server, what, loadMinutes(some))];
  const folder = sharedDataFolder();
  if (folder !== undefined && existsSync(join(folder, HOURS))) {
    all.push(await measure(server, "recorded hours of BTCUSDT", loadHours));
  }
  return all;
});
if (options.json) process.stdout.write(`${JSON.stringify(samples)}\n`);
else {
  const line = (name: string, { bytes, heap, index }: Size): string =>
    `  ${name.padEnd(22)}${bytes.toFixed(0)} B a candle (table ${heap.toFixed(0)}, indexes ${index.toFixed(0)})\n`;
  for (const { what, rows, plain, old, compressed } of samples) {
    process.stdout.write(
      `${what}, ${rows.toLocaleString("en-US")} rows\n${line("plain", plain)}${line("old layout", old)}` +
        ("skipped" in compressed
          ? `  TimescaleDB           not measured: ${compressed.skipped}\n`
          : `  TimescaleDB           ${compressed.bytes.toFixed(0)} B a candle compressed, ${compressed.before.toFixed(0)} before\n`),
    );
  }
}
