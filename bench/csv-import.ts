import { chmod, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { basename, join } from "node:path";
import pg from "pg";
import { createDatabase, Database, migrate, startEmbedded } from "../src/store/index.ts";
import { scriptOptions } from "../test/support/script-options.ts";
import { type CommandRun, runCommand as run } from "./support/command.ts";
import { medianOf } from "./support/median.ts";
import { writeMadeSeconds, writeRecordedMinutes } from "./support/recorded-minutes.ts";
import { timed } from "./support/server.ts";

/**
 * How long `import-csv` takes beside `psql`, which copies the same files into a temporary table and inserts from there
 * into the same table, alternating in one run; and how much memory a huge file takes. Every round begins with an empty
 * table, in a database of its own. Needs psql. `--others` adds pgloader (where it is installed), which loads into a plain
 * table and inserts from there, and one INSERT a row of the first file, as a script does. Run:
 * `npm run bench:import -- [--rounds 5] [--others] [--huge-gb 5] [--json]`; without recorded data the rows are made.
 */
const options = scriptOptions({
  rounds: 5,
  "huge-gb": 0,
  others: false,
  json: false,
});
const BIN = join(import.meta.dirname, "../bin/black-trade.js");
const ROW_WISE_ROWS = 5_001;

/** What a user would type into psql. The table has the same columns, checks and key. */
function psqlScript(files: readonly string[]): string {
  const parts = files.map((file, index) => {
    const symbol = basename(file, "_1m.csv");
    return `
create temp table t${index} (ts bigint, o numeric, h numeric, l numeric, c numeric, v numeric);
\\copy t${index} from '${file}' with (format csv, header)
insert into series (exchange, symbol, timeframe) values ('binance', '${symbol}', '1m') on conflict do nothing;
insert into candles (series_id, trade_count, open_time, version, open, high, low, close, volume,
  quote_volume, taker_buy_volume, taker_buy_quote_volume)
select s.id, 0, candle_time(ts), 1, o, h, l, c, v, 0, 0, 0
from t${index}, series s where s.symbol = '${symbol}'
on conflict do nothing;
drop table t${index};`;
  });
  return parts.join("\n");
}

const folder = await mkdtemp(join(tmpdir(), "black-trade-bench-import-"));
// The embedded server runs as another user when this is root.
await chmod(folder, 0o755);
const server = await startEmbedded({ dataDir: join(folder, "data") });
let databases = 0;

async function freshDatabase(): Promise<string> {
  databases += 1;
  const url = server.urlOf(`bench_${databases}`);
  await createDatabase({ url });
  const database = new Database({ url, poolSize: 1 });
  await migrate(database);
  await database.run({ text: "checkpoint", deadlineMs: 600_000 });
  await database.close();
  return url;
}

async function countRows(url: string): Promise<number> {
  const database = new Database({ url, poolSize: 1 });
  const [row] = await database.run<{ count: number }>({ text: "select count(*) from candles" });
  await database.close();
  return row?.count ?? 0;
}

/** The same for pgloader: a table of its own for each file, then the insert. */
function pgloaderScript(url: string, files: readonly string[]): string {
  const { user, password, host, port, database } = new pg.Client({ connectionString: url });
  const target = `postgresql://${user}:${password}@unix:${host}:${port}/${database}`;
  const commands = files.map((file, index) => {
    const symbol = basename(file, "_1m.csv");
    return `
LOAD CSV FROM '${file}' (ts, o, h, l, c, v)
  INTO ${target}?tablename=l${index} (ts, o, h, l, c, v)
  WITH skip header = 1, fields terminated by ',', batch rows = 25000
  BEFORE LOAD DO $$ create table l${index} (ts bigint, o numeric, h numeric, l numeric, c numeric, v numeric); $$
  AFTER LOAD DO
    $$ insert into series (exchange, symbol, timeframe) values ('binance', '${symbol}', '1m') on conflict do nothing; $$,
    $$ insert into candles (series_id, trade_count, open_time, version, open, high, low, close, volume,
         quote_volume, taker_buy_volume, taker_buy_quote_volume)
       select s.id, 0, candle_time(ts), 1, o, h, l, c, v, 0, 0, 0
       from l${index}, series s where s.symbol = '${symbol}' on conflict do nothing; $$,
    $$ drop table l${index}; $$;`;
  });
  return commands.join("\n");
}

/** Rows of one file, each an INSERT … ON CONFLICT of its own, committed by itself. @returns rows a second */
async function rowWise(url: string, file: string): Promise<number> {
  const [, ...lines] = (await readFile(file, "utf8")).trimEnd().split("\n").slice(0, ROW_WISE_ROWS);
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const tookMs = await timed(async () => {
      for (const line of lines) {
        await client.query({
          name: "row",
          text: `
            insert into candles (series_id, trade_count, open_time, version, open, high, low, close, volume,
              quote_volume, taker_buy_volume, taker_buy_quote_volume)
            values (1, 0, candle_time($1), 1, $2, $3, $4, $5, $6, 0, 0, 0) on conflict do nothing`,
          values: line.split(","),
        });
      }
    });
    return (lines.length / tookMs) * 1_000;
  } finally {
    await client.end();
  }
}

try {
  const { files, rowCount } = await writeRecordedMinutes(join(folder, "csv"));
  const hasPgloader = await run("pgloader", ["--version"]).then(
    () => true,
    () => false,
  );
  const ours: CommandRun[] = [];
  const theirs: CommandRun[] = [];
  const loaded: CommandRun[] = [];
  const single: number[] = [];
  for (let round = 0; round < options.rounds; round += 1) {
    const url = await freshDatabase();
    ours.push(await run(process.execPath, [BIN, "import-csv", "--database-url", url, ...files]));
    const imported = await countRows(url);
    const other = await freshDatabase();
    theirs.push(await run("psql", ["-q", "-v", "ON_ERROR_STOP=1", "-d", other], psqlScript(files)));
    const inserted = await countRows(other);
    if (imported !== inserted - files.length) {
      throw new Error(
        `${imported} rows imported, ${inserted} inserted by psql: not one less a file`,
      );
    }
    if (!options.others) continue;
    single.push(await rowWise(await freshDatabase(), files[0] ?? ""));
    if (!hasPgloader) continue;
    const third = await freshDatabase();
    const script = join(folder, "pgloader.load");
    await writeFile(script, pgloaderScript(third, files));
    loaded.push(await run("pgloader", ["--quiet", "--on-error-stop", script]));
    const byPgloader = await countRows(third);
    if (byPgloader !== inserted) throw new Error(`${byPgloader} rows by pgloader, not ${inserted}`);
  }
  const [mine, psql] = [ours, theirs].map((runs) => medianOf(runs.map(({ tookMs }) => tookMs))) as [
    number,
    number,
  ];
  const report: Record<string, number> = {
    rows: rowCount,
    importMs: Math.round(mine),
    importRowsPerSecond: Math.round((rowCount / mine) * 1_000),
    importPeakMb: Math.round(Math.max(...ours.map(({ peakMb }) => peakMb))),
    psqlMs: Math.round(psql),
    psqlRowsPerSecond: Math.round((rowCount / psql) * 1_000),
    ratio: Math.round((mine / psql) * 100) / 100,
    medianOfRatios:
      Math.round(
        medianOf(ours.map(({ tookMs }, index) => tookMs / (theirs[index]?.tookMs ?? 1))) * 100,
      ) / 100,
  };
  if (single.length > 0) report.rowWiseRowsPerSecond = Math.round(medianOf(single));
  if (loaded.length > 0) {
    const pgloader = medianOf(loaded.map(({ tookMs }) => tookMs));
    report.pgloaderMs = Math.round(pgloader);
    report.pgloaderRowsPerSecond = Math.round((rowCount / pgloader) * 1_000);
    report.pgloaderPeakMb = Math.round(Math.max(...loaded.map(({ peakMb }) => peakMb)));
  }
  const hugeBytes = options["huge-gb"] * 2 ** 30;
  if (hugeBytes > 0) {
    const path = join(folder, "HUGEUSDT_1s.csv");
    const rows = await writeMadeSeconds(path, hugeBytes, 80);
    const url = await freshDatabase();
    const huge = await run(process.execPath, [BIN, "import-csv", "--database-url", url, path]);
    report.hugeBytes = (await stat(path)).size;
    report.hugeRows = rows;
    report.hugeMs = Math.round(huge.tookMs);
    report.hugeRowsPerSecond = Math.round((rows / huge.tookMs) * 1_000);
    report.hugePeakMb = Math.round(huge.peakMb);
  }
  const where = `node ${process.version}, ${availableParallelism()} cores`;
  const write = (text: string): boolean => process.stdout.write(`${text}\n`);
  if (options.json) write(JSON.stringify({ where, ...report }));
  else {
    write(`import-csv beside psql (${where}), median of ${options.rounds} alternating rounds`);
    for (const [name, value] of Object.entries(report)) {
      write(`  ${name.padEnd(22)}${value.toLocaleString("en-US")}`);
    }
  }
} finally {
  await server.release();
  await rm(folder, { recursive: true, force: true });
}
