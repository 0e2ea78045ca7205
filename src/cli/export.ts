import { join } from "node:path";
import { Command } from "commander";
import { systemClock } from "../clock.ts";
import { type Config, SETTINGS } from "../config.ts";
import { BlackTradeError } from "../core/errors.ts";
import type { TimeRange } from "../core/range.ts";
import { type Series, seriesLabel } from "../core/series.ts";
import { EXPORT_FORMATS, type ExportFormat } from "../csv/export/encode.ts";
import { type ExportRequest, exportSeries } from "../csv/export/export.ts";
import { partitionPath, writeWhole } from "../csv/export/files.ts";
import { openDatabase } from "../open-database.ts";
import type { Store } from "../store/index.ts";
import { configOfExisting, type ExitStatus, untilStopped, withDatabaseFlags } from "./command.ts";
import { duration, type Output, printable } from "./output.ts";
import { grouped, ProgressLine } from "./progress.ts";
import { parseTime } from "./time-argument.ts";

interface ExportFlags {
  readonly format: string;
  readonly out?: string;
  readonly symbols?: string;
  readonly timeframes?: string;
  readonly exchange?: string;
  readonly from?: string;
  readonly to?: string;
  readonly at?: string;
  readonly floats?: boolean;
  readonly json?: boolean;
}

/** A file that was written. */
interface ExportedFile {
  readonly series: Series;
  /** Absent for stdout. */
  readonly path?: string;
  readonly candleCount: number;
  readonly byteCount: number;
}

const FORMATS = Object.keys(EXPORT_FORMATS) as ExportFormat[];
const BINARY: readonly ExportFormat[] = ["parquet", "arrow", "arrow-stream"];

/** `export`: candles out of the database. */
export function exportCommand(output: Output, end: (status: ExitStatus) => void): Command {
  return withDatabaseFlags(new Command("export"))
    .description(
      "candles to CSV, Parquet, Arrow or JSON: to stdout, a file, or a folder of many series",
    )
    .option("--format <format>", `${FORMATS.join(", ")}`, "csv")
    .option("--out <path>", "a file (of one series), or a folder; default: stdout (of one series)")
    .option("--symbols <list>", `${SETTINGS.TRADING_PAIRS.help}; default: all that is stored`)
    .option("--timeframes <list>", `${SETTINGS.TIMEFRAMES.help}; default: all that is stored`)
    .option("--exchange <name>", "only of this exchange")
    .option(
      "--from <time>",
      "first open time, e.g. 2025-01-01 or -30d; default: the first stored candle",
    )
    .option("--to <time>", "end of the range, itself not in it; default: the newest stored candle")
    .option("--at <time>", "as the candles were known at this time, before later corrections")
    .option("--floats", "decimals as 64-bit floats, JSON numbers; default: exact decimals")
    .option(
      "--json",
      "a summary as one JSON document: on stdout, or on stderr when the data go there",
    )
    .addHelpText(
      "before",
      `Examples:
  npx black-trade export --symbols BTCUSDT --timeframes 1h --from -30d > btc.csv
  npx black-trade export --symbols BTCUSDT --timeframes 1m --format parquet --out btc.parquet
  npx black-trade export --format parquet --out lake          every series, partitioned
  npx black-trade export --out backup && npx black-trade import-csv backup
  npx black-trade export --symbols ETHUSDT --timeframes 1d --format ndjson | jq .close

CSV is the layout that import-csv reads, digit for digit; the newest candle of each file comes back by the exchange.
Parquet: zstd, times in ms UTC, DECIMAL with the smallest scale that holds every value of the file. Arrow: an IPC file
(Feather 2) or, arrow-stream, a stream; Decimal128. JSON: one array, or ndjson: one object a line; decimals are strings.
A folder holds SYMBOL_TIMEFRAME.csv, or exchange=…/symbol=…/timeframe=…/ for the other formats (a month is 1mo).
A file appears when it is whole. Exit status: 0 done, 1 the file cannot be written, 2 nothing stored is meant, 4 no database.
`,
    )
    .action((flags: ExportFlags) => run(output, end, flags));
}

async function run(
  output: Output,
  end: (status: ExitStatus) => void,
  flags: ExportFlags,
): Promise<void> {
  const format = formatOf(flags);
  const range = rangeOf(flags);
  const at = flags.at === undefined ? undefined : parseTime("--at", flags.at, systemClock.now());
  const config = configOfExisting({ ...flags });
  const beganMs = systemClock.monotonic();
  await untilStopped(output, end, undefined, async (signal) => {
    const database = await openDatabase(config);
    try {
      const store = await database.openStore("read");
      const all = await chosenSeries(store, config, flags);
      const targets = targetsOf(all, format, flags.out);
      const request = { range, format, areFloats: flags.floats === true, at, signal };
      const files: ExportedFile[] = [];
      for (const [series, path] of targets) {
        files.push(await exportOne(output, store, { ...request, series }, path, flags));
      }
      summarize(output, files, flags, systemClock.monotonic() - beganMs);
      end(0);
    } finally {
      await database.close();
    }
  });
}

async function exportOne(
  output: Output,
  store: Store,
  request: ExportRequest,
  path: string | undefined,
  flags: ExportFlags,
): Promise<ExportedFile> {
  const { series, range } = request;
  const isDrawn = path !== undefined && process.stderr.isTTY === true && flags.json !== true;
  const line = new ProgressLine(output, isDrawn);
  const show = line.phase(printable(seriesLabel(series)));
  const isShown = path !== undefined && flags.json !== true;
  const totalCandles = isShown ? await store.count(series, range) : 0;
  let candleCount = 0;
  const chunks = exportSeries(store, {
    ...request,
    onCandles: (count) => {
      candleCount += count;
      if (isShown) show({ doneCandles: candleCount, totalCandles });
    },
  });
  const write = path === undefined ? writeStdout(chunks, request.signal) : writeWhole(path, chunks);
  const byteCount = await write.finally(() => line.end());
  return { series, ...(path === undefined ? {} : { path }), candleCount, byteCount };
}

/** Waits where the reader is slower; ends early when it has gone. */
async function writeStdout(
  chunks: AsyncIterable<Uint8Array>,
  signal: AbortSignal | undefined,
): Promise<number> {
  let size = 0;
  for await (const chunk of chunks) {
    signal?.throwIfAborted();
    size += chunk.length;
    if (process.stdout.write(chunk)) continue;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        process.stdout.off("drain", done);
        signal?.removeEventListener("abort", done);
        resolve();
      };
      process.stdout.on("drain", done);
      signal?.addEventListener("abort", done);
    });
  }
  return size;
}

function formatOf({ format: text, floats, out }: ExportFlags): ExportFormat {
  const format = FORMATS.find((one) => one === text);
  if (format === undefined) {
    throw new BlackTradeError("E_USAGE", `--format: "${text}" is not known`, {
      remedy: `Use one of: ${FORMATS.join(", ")}.`,
    });
  }
  if (format === "csv" && floats === true) {
    throw new BlackTradeError("E_USAGE", "--floats does not go with CSV, which is text", {
      remedy: "Leave it out, or choose another --format.",
    });
  }
  if (out === undefined && BINARY.includes(format) && process.stdout.isTTY === true) {
    throw new BlackTradeError("E_USAGE", `${format} is not for a terminal`, {
      remedy: "Add --out FILE, or send stdout to a file.",
    });
  }
  return format;
}

function rangeOf({ from, to }: ExportFlags): TimeRange {
  const now = systemClock.now();
  const range = {
    from: from === undefined ? 0 : parseTime("--from", from, now),
    to: to === undefined ? Number.MAX_SAFE_INTEGER : parseTime("--to", to, now),
  };
  if (range.from < range.to) return range;
  throw new BlackTradeError("E_USAGE", "--from is not before --to", {
    remedy: "The range holds open times from --from up to, not including, --to.",
  });
}

async function chosenSeries(store: Store, config: Config, flags: ExportFlags): Promise<Series[]> {
  const stored = await store.series();
  const chosen = stored.filter(
    ({ exchange, symbol, timeframe }) =>
      (flags.exchange === undefined || flags.exchange === exchange) &&
      (flags.symbols === undefined || config.symbols.includes(symbol)) &&
      (flags.timeframes === undefined || config.timeframes.includes(timeframe)),
  );
  if (chosen.length > 0) return chosen;
  throw new BlackTradeError("E_USAGE", "no stored series is meant", {
    remedy:
      stored.length === 0
        ? 'Collect candles first: "npx black-trade ingest" or "npx black-trade backfill".'
        : `Stored are for example: ${stored.slice(0, 5).map(seriesLabel).map(printable).join(", ")}.`,
  });
}

/** Where each series goes; `undefined` = stdout. */
function targetsOf(
  all: readonly Series[],
  format: ExportFormat,
  out: string | undefined,
): (readonly [series: Series, path: string | undefined])[] {
  const isFile = out?.endsWith(`.${EXPORT_FORMATS[format].extension}`) === true;
  if (out === undefined || isFile) {
    const [only] = all;
    if (only !== undefined && all.length === 1) return [[only, out]];
    const where = out === undefined ? "stdout" : "one file";
    throw new BlackTradeError("E_USAGE", `${all.length} series do not go into ${where}`, {
      remedy: "Name one by --symbols and --timeframes, or give a folder: --out FOLDER.",
    });
  }
  const targets = all.map((series) => [series, join(out, partitionPath(series, format))] as const);
  if (new Set(targets.map(([, path]) => path)).size === targets.length) return targets;
  throw new BlackTradeError("E_USAGE", "two exchanges have the same symbol and timeframe", {
    remedy: "CSV files do not name the exchange: choose one by --exchange.",
  });
}

function summarize(
  output: Output,
  files: readonly ExportedFile[],
  flags: ExportFlags,
  elapsedMs: number,
): void {
  const sum = (of: (file: ExportedFile) => number): number =>
    files.reduce((total, file) => total + of(file), 0);
  const candleCount = sum((file) => file.candleCount);
  const byteCount = sum((file) => file.byteCount);
  if (flags.json === true) {
    const document = JSON.stringify({
      format: flags.format,
      ...{ candleCount, byteCount, elapsedMs: Math.round(elapsedMs) },
      files: files.map(({ series, ...file }) => ({ ...series, ...file })),
    });
    if (flags.out === undefined) output.note(document);
    else output.result(document);
    return;
  }
  const counts = `${grouped(candleCount)} candles, ${grouped(byteCount)} bytes, ${duration(elapsedMs)}`;
  const what = files.length === 1 ? "" : ` in ${files.length} files`;
  output.note(flags.out === undefined ? counts : `${printable(flags.out)}${what}: ${counts}`);
}
