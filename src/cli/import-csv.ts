import { type FileHandle, open } from "node:fs/promises";
import { setFlagsFromString } from "node:v8";
import { Command } from "commander";
import { systemClock } from "../clock.ts";
import { type Config, SETTINGS } from "../config.ts";
import { BlackTradeError, messageOf } from "../core/errors.ts";
import { type Series, seriesKey } from "../core/series.ts";
import type { OpenZip } from "../csv/bytes.ts";
import { type ImportProgress, type ImportReport, importFiles } from "../csv/import.ts";
import { timeframeOf } from "../csv/names.ts";
import { type ImportHints, parseColumns, parseMap } from "../csv/plan.ts";
import { parseZone } from "../csv/times.ts";
import { EXCHANGE } from "../exchanges/binance/index.ts";
import { readZipEntry, unzip } from "../exchanges/binance/zip.ts";
import { enterHoles } from "../ingest/audit.ts";
import { openDatabase } from "../open-database.ts";
import type { Store } from "../store/index.ts";
import {
  configOf,
  type ExitStatus,
  STORED_STAYS,
  untilStopped,
  withDatabaseFlags,
} from "./command.ts";
import { type Confirmed, documentOf, reportLines } from "./import-lines.ts";
import { type Output, printable } from "./output.ts";
import { ProgressLine } from "./progress.ts";

interface ImportFlags {
  readonly symbol?: string;
  readonly timeframe?: string;
  readonly exchange?: string;
  readonly columns?: string;
  readonly map?: string;
  readonly timeZone?: string;
  readonly closed?: boolean;
  readonly dryRun?: boolean;
  readonly again?: boolean;
  readonly refusals?: string;
  readonly json?: boolean;
}

/** ZIP without its 64-bit form ends here anyway. */
const MAX_UNZIPPED_BYTES = 2 ** 32;
const EVER = { from: 0, to: Number.MAX_SAFE_INTEGER };

/** `import-csv`: files into the database. */
export function importCsvCommand(output: Output, end: (status: ExitStatus) => void): Command {
  return withDatabaseFlags(new Command("import-csv"))
    .description("candles of CSV files into the database; every row is accounted for")
    .argument("[path...]", `folders, files or patterns (default: ${SETTINGS.CSV_DIR.fallback})`)
    .option("--symbol <symbol>", "symbol of files that do not say it, e.g. BTCUSDT")
    .option("--timeframe <timeframe>", "timeframe of files that do not say it, e.g. 1h")
    .option(
      "--exchange <name>",
      "exchange, or origin, that the candles are stored under; default: binance",
    )
    .option(
      "--columns <fields>",
      "fields of the columns in order, e.g. time,open,high,low,close,volume; - skips one",
    )
    .option("--map <pairs>", "names of columns in the header, e.g. time=Date,volume=Vol")
    .option("--time-zone <offset>", "zone of times that are written without one: UTC or +09:00")
    .option(
      "--closed",
      "the files hold closed candles only, as export writes them: take the newest one, too",
    )
    .option("--dry-run", "read and report everything, store nothing; needs no database")
    .option("--again", "read files again that were imported before and have not changed")
    .option(
      "--refusals <file>",
      "write every row that was not taken, with its line and reason, to a file",
    )
    .option("--json", "one JSON document")
    .addHelpText(
      "before",
      `Examples:
  npx black-trade import-csv                                  everything in ${SETTINGS.CSV_DIR.fallback}
  npx black-trade import-csv old/ohlcv BTCUSDT-1h-2024-11.zip
  npx black-trade import-csv 'user_data/data/binance/*.feather'
  npx black-trade import-csv btc.csv --symbol BTCUSDT --timeframe 1d
  npx black-trade import-csv odd.csv --symbol ETHUSDT --map time=Date,volume=Vol --time-zone UTC
  npx black-trade import-csv --dry-run
  npx black-trade import-csv --closed export/                 files of black-trade export

Reads .csv, .csv.gz, .zip, .json and .feather of this system, data.binance.vision, freqtrade, CryptoDataDownload, Kaggle,
TradingView, backtrader, Yahoo, Jesse, zipline and CoinMarketCap, and any table whose header names its columns; told by
content. The newest candle of a file is not stored: it may have been forming still (but for --closed). It enters the gap
ledger and is fetched. An import can be stopped and started again at any time, and may run beside ingestion: what an exchange served is
never replaced by a file. Exit status: 0 whole, 3 something was refused (see the report), 4 no database.
`,
    )
    .action((paths: string[], flags: ImportFlags) => run(output, end, paths, flags));
}

async function run(
  output: Output,
  end: (status: ExitStatus) => void,
  paths: readonly string[],
  flags: ImportFlags,
): Promise<void> {
  const config = configOf({ ...flags });
  const hints = hintsOf(flags);
  const isDry = flags.dryRun === true;
  keepHeapSmall();
  const line = new ProgressLine(output, process.stderr.isTTY === true && !flags.json);
  const refusals = flags.refusals === undefined ? undefined : await openList(flags.refusals);
  const listed = new RefusalList(refusals);
  const work = (signal: AbortSignal): Promise<void> =>
    withStore(config, isDry, async (store) => {
      const report = await importFiles({
        ...{ paths: paths.length === 0 ? [config.csvDir] : paths, hints, openZip, store },
        ...{ clock: systemClock, isAgain: flags.again === true, signal },
        onProgress: (progress) => line.show(shownProgress(progress), printable(progress.file)),
        onNote: (file, note) => listed.add(`${file}:${note.line}: ${note.code}: ${note.detail}`),
      });
      line.end();
      const [missing, confirmed] =
        store === undefined
          ? [0, []]
          : await Promise.all([
              enterHoles(store, grownOf(report), systemClock.now()),
              confirmedOf(store, report.series),
            ]);
      if (flags.json) output.result(JSON.stringify(documentOf(report, missing, confirmed, isDry)));
      else {
        for (const text of reportLines(output, report, missing, confirmed, isDry))
          output.result(text);
      }
      end(report.isWhole ? 0 : 3);
    }).finally(() => line.end());
  await untilStopped(output, end, STORED_STAYS, work).finally(() => listed.close());
}

/**
 * Rows live for a moment only, and by default the engine lets hundreds of megabytes of them gather before it looks: that is
 * taken from the database's cache. Collected earlier, an import takes as long and less than half of the memory.
 */
function keepHeapSmall(): void {
  setFlagsFromString("--semi-space-growth-factor=1");
  setFlagsFromString("--heap-growing-percent=20");
}

async function withStore(
  config: Config,
  isDry: boolean,
  act: (store: Store | undefined) => Promise<void>,
): Promise<void> {
  if (isDry) return act(undefined);
  const database = await openDatabase(config);
  try {
    await database.migrate();
    await act(await database.openStore("write"));
  } finally {
    await database.close();
  }
}

/** @throws {BlackTradeError} E_USAGE */
function hintsOf(flags: ImportFlags): ImportHints {
  const timeframe = flags.timeframe === undefined ? undefined : timeframeOf(flags.timeframe);
  if (flags.timeframe !== undefined && timeframe === undefined) {
    throw usage(
      `--timeframe: "${flags.timeframe}" is not a timeframe`,
      "Write it like 1m, 4h or 1d.",
    );
  }
  const zoneMs = flags.timeZone === undefined ? undefined : parseZone(flags.timeZone);
  if (flags.timeZone !== undefined && zoneMs === undefined) {
    throw usage(
      `--time-zone: "${flags.timeZone}" is not an offset`,
      "Write UTC, or an offset like +09:00; a zone that changes its offset must be turned into UTC first.",
    );
  }
  if (flags.symbol !== undefined && !/^[\p{L}\p{N}_.-]{1,64}$/u.test(flags.symbol)) {
    throw usage(`--symbol: "${flags.symbol}" is not a symbol`, "Write it like BTCUSDT.");
  }
  if (flags.exchange !== undefined && !/^[a-z0-9][a-z0-9_-]{0,40}$/.test(flags.exchange)) {
    throw usage(
      `--exchange: "${flags.exchange}" is not a name`,
      "Write it like binance or my-files.",
    );
  }
  return {
    ...(flags.symbol === undefined ? {} : { symbol: flags.symbol.toUpperCase() }),
    ...(timeframe === undefined ? {} : { timeframe }),
    ...(flags.exchange === undefined ? {} : { exchange: flags.exchange }),
    ...(flags.columns === undefined ? {} : { columns: parseColumns(flags.columns) }),
    ...(flags.map === undefined ? {} : { map: parseMap(flags.map) }),
    ...(zoneMs === undefined ? {} : { zoneMs }),
    ...(flags.closed === true ? { isClosed: true } : {}),
  };
}

function usage(message: string, remedy: string): BlackTradeError {
  return new BlackTradeError("E_USAGE", message, { remedy });
}

/** Unpacks ZIP files for the importer. */
export const openZip: OpenZip = async (readAt, size, signal) => {
  const found = await readZipEntry(readAt, size, MAX_UNZIPPED_BYTES);
  if (!found.isOk) return found;
  const entry = found.value;
  return { isOk: true, name: entry.name, chunks: () => unzip(readAt, entry, signal) };
};

/** @throws {BlackTradeError} E_USAGE */
function openList(path: string): Promise<FileHandle> {
  return open(path, "w").catch((error: unknown) => {
    throw usage(
      `--refusals: ${messageOf(error)}`,
      "Name a file in a folder that you may write to.",
    );
  });
}

/** Writes refusals as they come, without holding them. */
class RefusalList {
  readonly #file: FileHandle | undefined;
  #text = "";
  #writing: Promise<unknown> = Promise.resolve();

  constructor(file: FileHandle | undefined) {
    this.#file = file;
  }

  add(line: string): void {
    if (this.#file === undefined) return;
    this.#text += `${printable(line)}\n`;
    if (this.#text.length > 65_536) this.#flush();
  }

  async close(): Promise<void> {
    this.#flush();
    await this.#writing;
    await this.#file?.close();
  }

  #flush(): void {
    const text = this.#text;
    this.#text = "";
    this.#writing = this.#writing.then(() => this.#file?.appendFile(text));
  }
}

/** Rows are guessed from bytes: a file does not say how many it has. */
function shownProgress({ doneBytes, totalBytes, rowCount, elapsedMs }: ImportProgress) {
  const share = totalBytes === 0 ? 1 : Math.min(1, doneBytes / totalBytes);
  const totalCandles = share > 0 ? Math.round(rowCount / share) : rowCount;
  return { doneCandles: rowCount, totalCandles, storedCount: rowCount, elapsedMs };
}

/** Series that got candles, of the exchange that can be asked for what is missing between them. */
function grownOf({ files }: ImportReport): Series[] {
  const grown = files.flatMap(({ series, counts }) =>
    series?.exchange === EXCHANGE && counts.stored > 0 ? [series] : [],
  );
  return [...new Map(grown.map((series) => [seriesKey(series), series])).values()];
}

function confirmedOf(store: Store, series: readonly Series[]): Promise<Confirmed[]> {
  return Promise.all(
    series.map(async (one) => ({ series: one, ...(await store.share(one, EVER)) })),
  );
}
