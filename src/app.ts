import { mkdir } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { systemClock } from "./clock.ts";
import { type Config, historyDays, secretsOf } from "./config.ts";
import { WeightBudget } from "./core/budget.ts";
import type { IngestEvent } from "./core/events.ts";
import { ExchangeTime } from "./core/exchange-time.ts";
import type { ArchiveSource, Ban } from "./core/ports.ts";
import type { Series } from "./core/series.ts";
import {
  createBinanceArchive,
  createBinanceRest,
  createBinanceStream,
  EXCHANGE,
  planArchive,
  refuseUnknownSymbols,
} from "./exchanges/binance/index.ts";
import { History, type HistoryProgress } from "./ingest/history.ts";
import { type IngestSummary, ingest, obeyStoredBan } from "./ingest/run.ts";
import { startHttp } from "./serve/http.ts";
import { createStatusReader, type StatusView } from "./serve/status-reader.ts";
import {
  createDatabase,
  Database,
  describeTarget,
  type Embedded,
  migrate,
  migrateDown,
  migrationStates,
  openStore,
  parseDatabaseUrl,
  type Store,
  startEmbedded,
} from "./store/index.ts";
import { openLog } from "./telemetry/log.ts";
import { createMetrics, type Metrics } from "./telemetry/metrics.ts";
import { createRecorder } from "./telemetry/record.ts";
import { packageVersion } from "./version.ts";

/** Name of the database in the embedded server. */
const EMBEDDED_DATABASE = "black_trade";
/** Binance's limit of request weight a minute (binance.md §2.1). */
const WEIGHT_PER_MINUTE = 6_000;
const DAY_MS = 86_400_000;
/** Name under which the archive host's holds are kept. */
const ARCHIVE_HOLD = "binance-archive";

/** A database that is reached, embedded or not. */
export interface OpenedDatabase {
  /** `user@host:port/database`; never a password. */
  readonly description: string;
  /** What to type for a look at it with psql. */
  readonly connectHint: string;
  /** True when it was created just now. */
  readonly isCreated: boolean;
  readonly migrate: () => ReturnType<typeof migrate>;
  readonly migrateDown: (count: number) => ReturnType<typeof migrateDown>;
  readonly migrationStates: () => ReturnType<typeof migrationStates>;
  readonly server: () => Promise<{ version: string; timescale: string | undefined; size: string }>;
  /** @throws {BlackTradeError} E_DB_NOT_MIGRATED and the other refusals of the start-up check */
  readonly openStore: (access: "read" | "write") => Promise<Store>;
  readonly close: () => Promise<void>;
}

/** How a database is reached. */
export interface OpenOptions {
  /** Create the database when it is missing; the embedded one is always created. */
  readonly isCreating?: boolean;
  /** Told of every SQL statement, in one line. */
  readonly onStatement?: (line: string) => void;
  /** Told when the embedded server ended and runs again. */
  readonly onNote?: (note: string) => void;
}

/**
 * Reaches the database of a configuration, starting the embedded server when no URL is given.
 * @throws {BlackTradeError} E_DB_*, E_EMBEDDED_*
 */
export async function openDatabase(
  config: Config,
  options: OpenOptions = {},
): Promise<OpenedDatabase> {
  const embedded =
    config.databaseUrl === undefined
      ? await startEmbedded({
          dataDir: config.dataDir,
          ...(options.onNote === undefined ? {} : { onNote: options.onNote }),
        })
      : undefined;
  try {
    return await reach(config, embedded, options);
  } catch (error) {
    await embedded?.release();
    throw error;
  }
}

async function reach(
  config: Config,
  embedded: Embedded | undefined,
  options: OpenOptions,
): Promise<OpenedDatabase> {
  const url = embedded?.urlOf(EMBEDDED_DATABASE) ?? config.databaseUrl ?? "";
  const { onStatement } = options;
  const connection = {
    url,
    ...(onStatement === undefined
      ? {}
      : {
          onStatement: ({
            text,
            tookMs,
            rowCount,
          }: {
            text: string;
            tookMs: number;
            rowCount: number;
          }) =>
            onStatement(
              `${text.replace(/\s+/g, " ").trim()} (${rowCount} rows, ${tookMs.toFixed(1)} ms)`,
            ),
        }),
  };
  const isCreated =
    embedded !== undefined || options.isCreating === true
      ? await createDatabase(connection)
      : false;
  const database = new Database(connection);
  const stores: Store[] = [];
  const target = describeTarget(parseDatabaseUrl(url));
  return {
    description:
      embedded === undefined ? target : `embedded PostgreSQL in ${config.dataDir}, ${target}`,
    connectHint:
      embedded === undefined ? `psql "$DATABASE_URL"` : embedded.psqlHint(EMBEDDED_DATABASE),
    isCreated,
    migrate: () => migrate(database),
    migrateDown: (count) => migrateDown(database, count),
    migrationStates: () => migrationStates(database),
    server: async () => {
      const [row] = await database.run<{ version: string; timescale: string | null; size: string }>(
        {
          text: `
          select current_setting('server_version') as version,
            (select extversion from pg_extension where extname = 'timescaledb') as timescale,
            pg_size_pretty(pg_database_size(current_database())) as size`,
        },
      );
      return {
        version: `PostgreSQL ${row?.version}`,
        timescale: row?.timescale ?? undefined,
        size: row?.size ?? "",
      };
    },
    openStore: async (access) => {
      const store = await openStore({ ...connection, access });
      stores.push(store);
      return store;
    },
    close: async () => {
      await Promise.allSettled(stores.map((store) => store.close()));
      await database.close();
      await embedded?.release();
    },
  };
}

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
  const log = openLog({
    level: config.logLevel,
    isPlain: options.isLogPlain,
    hasColors: options.hasColors ?? false,
    secrets: secretsOf(config),
    write: options.writeLog ?? ((line) => process.stderr.write(line)),
  });
  const metrics = createMetrics(packageVersion());
  const recorder = createRecorder(metrics, log, config.mode, systemClock.monotonic);
  let readStatus = async (): Promise<StatusView> => ({
    isKnown: false,
    reason: "the database is being opened",
  });
  // First of all: a port in use is a mistake that must show before anything is started.
  const http = options.isHttpEnabled
    ? await startHttp({
        ...config.http,
        readStatus: () => readStatus(),
        renderMetrics: (view) => renderMetrics(metrics, config.mode, view),
      })
    : undefined;
  let database: OpenedDatabase | undefined;
  try {
    if (http !== undefined) log.info(`HTTP on ${http.url}: /metrics /livez /readyz`);
    database = await openDatabase(config, {
      onNote: (note) => log.warn(note),
      ...(config.isDbEchoed ? { onStatement: (line) => log.info(line) } : {}),
    });
    for (const { version, name } of await database.migrate())
      log.info(`Migration ${version} ${name} applied.`);
    const store = await database.openStore("write");
    for (const warning of store.server.warnings) log.warn(warning);
    log.info(`Database: ${database.description}`);
    readStatus = createStatusReader(store, systemClock.monotonic);
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
    const summary = await ingest(await ingestOptions(config, store, recorder), signal);
    await companion;
    return summary;
  } finally {
    await http?.close();
    await database?.close();
  }
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
  const log = openLog({
    level: config.logLevel,
    isPlain: options.isLogPlain,
    hasColors: false,
    secrets: secretsOf(config),
    write: (line) => process.stderr.write(line),
  });
  const record = createRecorder(
    createMetrics(packageVersion()),
    log,
    "backfill",
    systemClock.monotonic,
  );
  const database = await openDatabase(config, { onNote: (note) => log.warn(note) });
  try {
    await database.migrate();
    const store = await database.openStore("write");
    const parts = await exchangeParts(config, store, record);
    const { exchangeTime, clock, source } = parts;
    await obeyStoredBan({ ...parts, store, exchange: EXCHANGE });
    await source.syncTime(options.signal);
    const markets = await source.markets(options.signal);
    refuseUnknownSymbols(options.symbols, markets);
    const trading = new Set(
      markets.filter(({ isTrading }) => isTrading).map(({ symbol }) => symbol),
    );
    const history = new History({
      ...parts,
      history: source,
      store,
      isTrading: (symbol) => trading.has(symbol),
      ...(options.onProgress === undefined ? {} : { onProgress: options.onProgress }),
    });
    return await act({ store, history, now: () => exchangeTime.now(clock.monotonic()) });
  } finally {
    await database.close();
  }
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
  await mkdir(tempFolder, { recursive: true });
  const archive = createBinanceArchive({
    baseUrl: config.binance.archiveUrl,
    tempFolder,
    ...(archiveHold === undefined ? {} : { heldUntilTime: archiveHold.untilTime }),
    clock: systemClock,
    exchangeTime,
    onHold,
  });
  return {
    ...shared,
    budget,
    source: createBinanceRest({ ...shared, baseUrl: config.binance.restUrl, budget, onHold }),
    archive: { plan: planArchive, open: archive.open.bind(archive) } as ArchiveSource,
  };
}

async function ingestOptions(
  config: Config,
  store: Store,
  record: (event: IngestEvent) => void,
): Promise<Parameters<typeof ingest>[0]> {
  const parts = await exchangeParts(config, store, record);
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

/** The status gauge is set from stored facts at each scrape, by the same function as everywhere (R4). */
async function renderMetrics(
  metrics: Metrics,
  mode: string,
  view: StatusView,
): Promise<{ contentType: string; body: string }> {
  metrics.status.reset();
  if (view.isKnown) {
    for (const { series, status } of view.series) {
      const { symbol, timeframe } = series;
      metrics.status.set({ symbol, timeframe, mode }, status.word === "active" ? 1 : 0);
    }
  }
  return { contentType: metrics.registry.contentType, body: await metrics.registry.metrics() };
}
