import { once } from "node:events";
import { hostname } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { systemClock } from "./clock.ts";
import { type Config, historyDays, secretsOf } from "./config.ts";
import { WeightBudget } from "./core/budget.ts";
import { BlackTradeError, messageOf } from "./core/errors.ts";
import type { IngestEvent, Recorder } from "./core/events.ts";
import { ExchangeTime } from "./core/exchange-time.ts";
import type { ArchiveSource, Ban } from "./core/ports.ts";
import type { Series } from "./core/series.ts";
import {
  createBinanceArchive,
  createBinanceRest,
  createBinanceStream,
  EXCHANGE,
  knownOutage,
  planArchive,
  refuseUnknownSymbols,
} from "./exchanges/binance/index.ts";
import { History, type HistoryProgress } from "./ingest/history.ts";
import { doJob } from "./ingest/job.ts";
import { type IngestSummary, ingest, obeyStoredBan } from "./ingest/run.ts";
import { makeFolder } from "./make-folder.ts";
import { type OpenedDatabase, openDatabase } from "./open-database.ts";
import { QUERY_CONCURRENCY } from "./serve/query-gate.ts";
import { type Serving, type ServingSources, startServing } from "./serve/serving.ts";
import { createStatusReader, PATIENCE_MS } from "./serve/status-reader.ts";
import { createSha256 } from "./sha256.ts";
import type { Store } from "./store/index.ts";
import { openLog } from "./telemetry/log.ts";
import { createMetrics } from "./telemetry/metrics.ts";
import { RecentLines } from "./telemetry/recent-lines.ts";
import { createRecorder } from "./telemetry/record.ts";
import { renderMetrics } from "./telemetry/render.ts";
import { packageVersion } from "./version.ts";

/** Binance's limit of request weight a minute (binance.md §2.1). */
export const WEIGHT_PER_MINUTE = 6_000;
const DAY_MS = 86_400_000;
/** The most that the query of a request may take. */
const QUERY_DEADLINE_MS = 5_000;
/** The mirror's own: two files at a time, and a look at what has changed. */
const MIRROR_CONNECTIONS = 4;
/** Name under which the archive host's holds are kept. */
const ARCHIVE_HOLD = "binance-archive";

/** A run of ingestion that has begun, for whoever wants to look at it meanwhile. */
export interface RunningIngest {
  readonly store: Store;
  readonly series: readonly Series[];
  readonly connectHint: string;
  /** Base of the HTTP face, when it is on. */
  readonly httpUrl: string | undefined;
}

/** How a run is accompanied. */
export interface RunOptions {
  /** Aborting it stops the run cleanly. */
  readonly signal: AbortSignal;
  readonly isHttpEnabled: boolean;
  readonly isLogPlain: boolean;
  readonly hasColors?: boolean;
  /** Where log lines go; stderr when not given. */
  readonly writeLog?: (line: string) => void;
  /** Runs beside the ingestion; its failure ends the run. */
  readonly whileRunning?: (running: RunningIngest) => Promise<void>;
}

/**
 * The main job, composed: HTTP, database, exchange, ingestion.
 * @returns what was written, after a clean stop
 * @throws {BlackTradeError} whatever keeps it from starting
 */
export async function runIngest(config: Config, options: RunOptions): Promise<IngestSummary> {
  const telling = openTelling(config, options, config.mode);
  const { log } = telling;
  // First of all: a port in use is a mistake that must show before anything is started.
  const http = options.isHttpEnabled ? await openHttp(config, telling) : undefined;
  let database: OpenedDatabase | undefined;
  let mirror: Awaited<ReturnType<typeof prepareMirror>> | undefined;
  try {
    database = await openToldDatabase(config, log);
    for (const { version, name } of await database.migrate())
      log.info(`Migration ${version} ${name} applied.`);
    const store = await database.openStore("write");
    for (const warning of store.server.warnings) log.warn(warning);
    log.info(`Database: ${database.description}`);
    mirror = await prepareMirror(config, database, telling.record);
    const parts = await exchangeParts(config, store, mirror.record);
    const sources = http && (await servingSources(config, database, store, parts, true));
    const feed = sources && http.show(sources);
    const series = seriesOf(config);
    const companion = options.whileRunning?.({
      store,
      series,
      connectHint: database.connectHint,
      httpUrl: http?.url,
    });
    const companionEnded = new AbortController();
    companion?.catch(() => companionEnded.abort());
    const signal = AbortSignal.any([options.signal, companionEnded.signal]);
    const onLive = feed === undefined ? {} : { onLive: feed.takeLive.bind(feed) };
    const summary = await ingest({ ...ingestOptions(config, store, parts), ...onLive }, signal);
    await companion;
    return summary;
  } finally {
    await http?.close();
    await mirror?.stop();
    await database?.close();
  }
}

type Telling = ReturnType<typeof openTelling>;

/** What tells of a run: the log, and the metrics; `record` feeds both. */
function openTelling(
  config: Config,
  options: Pick<RunOptions, "isLogPlain" | "hasColors" | "writeLog">,
  mode: string,
) {
  const recent = new RecentLines();
  const log = openLog({
    level: config.logLevel,
    isPlain: options.isLogPlain,
    hasColors: options.hasColors ?? false,
    secrets: secretsOf(config),
    write: options.writeLog ?? ((line) => process.stderr.write(line)),
    recent,
  });
  const metrics = createMetrics(packageVersion(), seriesOf(config), config.mode);
  const record = createRecorder(metrics, log, mode, systemClock.monotonic);
  return { recent, log, metrics, record };
}

/** The database, with what there is to say of it in the log. */
function openToldDatabase(config: Config, log: Telling["log"]): Promise<OpenedDatabase> {
  return openDatabase(config, {
    onNote: (note) => log.warn(note),
    ...(config.isDbEchoed ? { onStatement: (line) => log.info(line) } : {}),
  });
}

/**
 * The CSV mirror beside ingestion, when one is wanted. It begins when ingestion has taken the database, for two must not
 * write one folder, and ends after it, with what was written last.
 */
async function prepareMirror(
  config: Config,
  database: OpenedDatabase,
  record: Recorder,
): Promise<{ readonly record: Recorder; readonly stop: () => Promise<void> }> {
  if (config.csvMirrorDir === undefined) return { record, stop: async () => undefined };
  const { Mirror } = await import("./csv/mirror.ts");
  const mirror = new Mirror({
    folder: config.csvMirrorDir,
    exchange: EXCHANGE,
    store: await database.openStore("read", { poolSize: MIRROR_CONNECTIONS }),
    clock: systemClock,
    random: Math.random,
    record,
  });
  const stop = new AbortController();
  let running: Promise<void> | undefined;
  return {
    record: (event) => {
      record(event);
      if (event.kind === "started") running ??= mirror.run(stop.signal);
      else if (event.kind === "batchWritten") mirror.heedWritten(event.candles);
    },
    stop: async () => {
      stop.abort();
      await running;
    },
  };
}

/** Listens at once; what there is to show comes later. */
async function openHttp(config: Config, { metrics, log, recent }: Telling): Promise<Serving> {
  const http = await startServing({
    ...config.http,
    clock: systemClock,
    version: packageVersion(),
    renderMetrics: (view, names) =>
      renderMetrics(metrics, config.mode, view.isKnown ? view : undefined, names),
    logLines: (afterId) => recent.after(afterId),
    onFault: (error) => log.warn(`HTTP: ${messageOf(error)}`),
  });
  log.info(
    `HTTP on ${http.url}: dashboard /, API /api/v1 and /openapi.json, /metrics /livez /readyz`,
  );
  return http;
}

/** What HTTP shows of an open database. */
async function servingSources(
  config: Config,
  database: OpenedDatabase,
  store: Store,
  parts: ExchangeParts,
  isIngesting: boolean,
): Promise<ServingSources> {
  // For requests of others: connections of their own, which may only read, and only for a short while.
  const queries = await database.openStore("read", {
    isReadOnly: true,
    deadlineMs: QUERY_DEADLINE_MS,
    poolSize: QUERY_CONCURRENCY,
  });
  const { exchangeTime } = parts;
  const now = (): number =>
    exchangeTime.isKnown ? exchangeTime.now(systemClock.monotonic()) : systemClock.now();
  return {
    queries,
    readStatus: createStatusReader(store, systemClock.monotonic, PATIENCE_MS),
    now,
    isIngesting,
    encode: async (format, series, candles) => {
      // Loaded when it is asked for: most ingesters never are.
      const { encodeCandles } = await import("./csv/export/encode.ts");
      const page = candles.map(({ candle }) => candle);
      return buffer(encodeCandles(format, Readable.from([page]), { series }));
    },
    knownOutage: (series, range) => (series.exchange === EXCHANGE ? knownOutage(range) : undefined),
    runJob: (request, signal, onProgress) =>
      doJob(
        {
          store,
          openHistory: (symbols, onFilled) =>
            openHistory(parts, store, { signal, symbols, onProgress: onFilled }),
          configured: seriesOf(config),
          exchange: EXCHANGE,
          historyMs: (timeframe) => historyDays(config, timeframe) * DAY_MS,
          createHash: createSha256,
          now,
        },
        request,
        signal,
        onProgress,
      ),
  };
}

/** How serving without ingestion is accompanied. */
export interface ServeRunOptions extends Pick<RunOptions, "signal" | "isLogPlain" | "hasColors"> {
  /** Told of the base of the HTTP face when everything is served. */
  readonly onReady?: (url: string) => void;
}

/**
 * Serves what is stored, and what another process stores, until the signal is aborted. Migrates nothing.
 * @throws {BlackTradeError} whatever keeps it from starting
 */
export async function runServe(config: Config, options: ServeRunOptions): Promise<void> {
  const telling = openTelling(config, options, "serve");
  const { log, record } = telling;
  const http = await openHttp(config, telling);
  let database: OpenedDatabase | undefined;
  try {
    database = await openToldDatabase(config, log);
    const store = await openForServing(database);
    for (const warning of store.server.warnings) log.warn(warning);
    log.info(`Database: ${database.description}`);
    const parts = await exchangeParts(config, store, record);
    await seedTime(store, parts.exchangeTime);
    await obeyStoredBan({ ...parts, store, exchange: EXCHANGE });
    http.show(await servingSources(config, database, store, parts, false));
    log.info("Serving without ingesting: no forming candles; closed ones show as they are stored.");
    options.onReady?.(http.url);
    if (!options.signal.aborted) await once(options.signal, "abort");
  } finally {
    await http.close();
    await database?.close();
  }
}

/** Jobs write; a database user who may only read can be served all the same. */
async function openForServing(database: OpenedDatabase): Promise<Store> {
  try {
    return await database.openStore("write");
  } catch (error) {
    if (error instanceof BlackTradeError && error.code === "E_DB_RIGHT") {
      return database.openStore("read");
    }
    throw error;
  }
}

/** The exchange's time as the last ingester knew it; jobs ask the exchange itself. */
async function seedTime(store: Store, exchangeTime: ExchangeTime): Promise<void> {
  const { run } = await store.facts();
  if (run !== undefined) exchangeTime.seed(run.now, systemClock.monotonic());
}

/** Everything that a command about history works with. */
export interface HistoryTools {
  readonly store: Store;
  readonly history: History;
  /** Exchange time, epoch ms. */
  readonly now: () => number;
}

/**
 * Opens database and exchange for a command about history, and closes them after it. Migrates first; obeys a stored ban.
 * @throws {BlackTradeError} whatever keeps it from starting, and whatever `act` throws
 */
export async function withHistory<T>(
  config: Config,
  options: HistoryRunOptions,
  act: (tools: HistoryTools) => Promise<T>,
): Promise<T> {
  const { log, record } = openTelling(config, options, "backfill");
  const database = await openDatabase(config, { onNote: (note) => log.warn(note) });
  try {
    await database.migrate();
    const store = await database.openStore("write");
    const parts = await exchangeParts(config, store, record);
    const { exchangeTime, clock } = parts;
    await obeyStoredBan({ ...parts, store, exchange: EXCHANGE });
    const history = await openHistory(parts, store, options);
    return await act({ store, history, now: () => exchangeTime.now(clock.monotonic()) });
  } finally {
    await database.close();
  }
}

/** History over parts that exist; the exchange is asked for its time and its symbols first. */
async function openHistory(
  parts: ExchangeParts,
  store: Store,
  { signal, symbols, onProgress }: Pick<HistoryRunOptions, "signal" | "symbols" | "onProgress">,
): Promise<History> {
  const { source } = parts;
  await source.syncTime(signal);
  const markets = await source.markets(signal);
  refuseUnknownSymbols(symbols, markets);
  const named = new Set(symbols);
  await store.saveMarkets(
    EXCHANGE,
    markets.filter(({ symbol }) => named.has(symbol)),
  );
  const trading = new Set(markets.filter(({ isTrading }) => isTrading).map(({ symbol }) => symbol));
  return new History({
    ...parts,
    history: source,
    store,
    isTrading: (symbol) => trading.has(symbol),
    ...(onProgress === undefined ? {} : { onProgress }),
  });
}

/** How a command about history is accompanied. */
export interface HistoryRunOptions {
  readonly signal: AbortSignal;
  readonly isLogPlain: boolean;
  /** Symbols that must be listed. */
  readonly symbols: readonly string[];
  readonly onProgress?: (progress: HistoryProgress) => void;
}

/** Every configured symbol at every configured timeframe. */
export function seriesOf(config: Pick<Config, "symbols" | "timeframes">): Series[] {
  return config.symbols.flatMap((symbol) =>
    config.timeframes.map((timeframe) => ({ exchange: EXCHANGE, symbol, timeframe })),
  );
}

type ExchangeParts = Awaited<ReturnType<typeof exchangeParts>>;

/** The exchange's side, with the budget and the time that all requests share. */
async function exchangeParts(config: Config, store: Store, record: (event: IngestEvent) => void) {
  const exchangeTime = new ExchangeTime();
  const budget = new WeightBudget(WEIGHT_PER_MINUTE);
  const shared = { clock: systemClock, exchangeTime, random: Math.random, record };
  const onHold = (ban: Ban): Promise<void> => {
    const { isKnown } = exchangeTime;
    const now = isKnown ? exchangeTime.now(systemClock.monotonic()) : systemClock.now();
    return store.save(ban, ban.untilTime - now);
  };
  const archiveHold = await store.load(ARCHIVE_HOLD);
  const tempFolder = join(config.dataDir, "tmp");
  await makeFolder(config.dataDir, 0o755);
  await makeFolder(tempFolder, 0o700);
  const archive = createBinanceArchive({
    baseUrl: config.binance.archiveUrl,
    tempFolder,
    ...(archiveHold === undefined ? {} : { heldUntilTime: archiveHold.untilTime }),
    clock: systemClock,
    exchangeTime,
    record,
    onHold,
  });
  return {
    ...shared,
    budget,
    source: createBinanceRest({ ...shared, baseUrl: config.binance.restUrl, budget, onHold }),
    archive: { plan: planArchive, open: archive.open.bind(archive) } as ArchiveSource,
  };
}

function ingestOptions(
  config: Config,
  store: Store,
  parts: ExchangeParts,
): Parameters<typeof ingest>[0] {
  const series = seriesOf(config);
  return {
    ...parts,
    exchange: EXCHANGE,
    series,
    mode: config.mode,
    host: hostname(),
    pid: process.pid,
    historyMs: (timeframe) => historyDays(config, timeframe) * DAY_MS,
    live: createBinanceStream({
      ...parts,
      wsUrl: config.binance.wsUrl,
      firstDelayMs: config.reconnectDelayMs,
    }),
    store,
    checkSymbols: (markets) => refuseUnknownSymbols(config.symbols, markets),
  };
}
