import type {
  BanStore,
  CandleChanges,
  CandleQueries,
  CandleStore,
  GapStore,
  ImportStore,
  MarketStore,
  RunStore,
  StatusStore,
} from "../core/ports.ts";
import { BanLedger } from "./ban-ledger.ts";
import { BulkLoader } from "./bulk-load.ts";
import { CandleReader } from "./candle-reader.ts";
import { CandleWriter } from "./candle-writer.ts";
import { ChangeFeed } from "./changes.ts";
import { Confirmation } from "./confirmation.ts";
import { type Pacing, REAL_PACING } from "./contention.ts";
import { Coverage } from "./coverage.ts";
import { readCoverageDays, readOverview } from "./coverage-days.ts";
import { Database, type DatabaseOptions } from "./database.ts";
import { GapLedger } from "./gap-ledger.ts";
import { IngestionRuns } from "./ingestion-runs.ts";
import { MarketList } from "./market-list.ts";
import { listQuarantine, putAside, type QuarantinedCandle } from "./quarantine.ts";
import { SeriesCatalog } from "./series-catalog.ts";
import { type Access, checkServer, type ServerReport } from "./server-check.ts";
import { readFacts } from "./status-reader.ts";

export type { ColumnField } from "./candle-columns.ts";
export { Compression, type CompressionFacts } from "./compression.ts";
export { describeTarget, maskPasswords, parseDatabaseUrl } from "./connection-url.ts";
export { createDatabase } from "./create-database.ts";
export { Database, type DatabaseOptions } from "./database.ts";
export { type EmbeddedFacts, inspectEmbedded } from "./embedded/inspect.ts";
export {
  EMBEDDED_DATABASE,
  type Embedded,
  type EmbeddedOptions,
  startEmbedded,
} from "./embedded.ts";
export { type DatabaseFacts, inspectDatabase } from "./inspect.ts";
export { migrate, migrateDown, migrationStates } from "./migrate.ts";
export { type Excess, type Keep, type NotKept, Retention } from "./retention.ts";
export { type Rollup, Rollups } from "./rollups.ts";

/** How a store is opened. */
export interface StoreOptions extends DatabaseOptions {
  /** `read` needs only the right to read; `write` when not given. */
  readonly access?: Access;
  /** Go on with a server that may lose commits (`fsync = off`); {@link Store.server} then has the warnings. */
  readonly toleratesUnsafe?: boolean;
  /** Waiting between tries; the machine's own when not given. */
  readonly pacing?: Pacing;
}

/** Everything that is kept in PostgreSQL: the ports of ingestion, and what is read of it. */
export interface Store
  extends CandleStore,
    GapStore,
    BanStore,
    ImportStore,
    MarketStore,
    RunStore,
    StatusStore,
    CandleQueries,
    CandleChanges,
    Pick<CandleReader, "count" | "scan" | "blocks" | "columns" | "extent">,
    Pick<Confirmation, "unconfirmed" | "saveConfirmed">,
    Pick<Coverage, "holes" | "firstStored" | "share"> {
  /** What the check at the start found. */
  readonly server: ServerReport;
  /** Refused candles, the last seen first. */
  quarantined(limit: number): Promise<readonly QuarantinedCandle[]>;
  /** Waits for what is running and closes every connection; a run that has not ended loses its hold on the database. */
  close(): Promise<void>;
}

/**
 * Opens the database of a URL: checks the server and the schema first, writes nothing.
 * @throws {BlackTradeError} E_CONFIG, E_DB_*: unreachable, wrong password, not migrated, newer, changed, unsafe
 */
export async function openStore(options: StoreOptions): Promise<Store> {
  const { access = "write", toleratesUnsafe = false, pacing = REAL_PACING } = options;
  const database = new Database(options);
  try {
    const server = await checkServer(database, access, toleratesUnsafe);
    database.refuseWrites(server.isPooled);
    return assemble(database, server, pacing);
  } catch (error) {
    await database.close();
    throw error;
  }
}

function assemble(database: Database, server: ServerReport, pacing: Pacing): Store {
  const catalog = new SeriesCatalog(database, pacing);
  const writer = new CandleWriter(database, catalog, pacing);
  const loader = new BulkLoader(database, catalog, writer, pacing);
  const reader = new CandleReader(database, catalog);
  const coverage = new Coverage(database, catalog);
  const confirmation = new Confirmation(database, catalog, pacing);
  const changes = new ChangeFeed(database, pacing, server.isPooled);
  const gaps = new GapLedger(database, catalog, pacing);
  const bans = new BanLedger(database);
  const markets = new MarketList(database);
  const runs = new IngestionRuns(database, catalog, pacing, server.isPooled);
  return {
    server,
    write: (batch, watermarks) => writer.write(batch, watermarks),
    quarantine: async (candle, rejection) => {
      const [id = 0] = await catalog.register([candle.series]);
      await putAside(database, id, candle, rejection);
    },
    imported: (file) => loader.imported(file),
    loadPart: (part) => loader.loadPart(part),
    open: (entries) => gaps.open(entries),
    due: (series, now, limit, below) => gaps.due(series, now, limit, below),
    replace: (gap, left) => gaps.replace(gap, left),
    load: (exchange) => bans.load(exchange),
    save: (ban, remainingMs) => bans.save(ban, remainingMs),
    begin: (run, series) => runs.begin(run, series),
    want: (wanted, exchangeTime) => runs.want(wanted, exchangeTime),
    end: () => runs.end(),
    report: (reports, exchangeTime) => runs.report(reports, exchangeTime),
    facts: () => readFacts(database),
    range: (series, range, limit, at) => reader.range(series, range, limit, at),
    latest: (series, count, before, at) => reader.latest(series, count, before, at),
    scan: (series, range, options) => reader.scan(series, range, options),
    blocks: (series, range, options) => reader.blocks(series, range, options),
    columns: (series, range, fields, options) => reader.columns(series, range, fields, options),
    extent: (series, range, at) => reader.extent(series, range, at),
    count: (series, range) => reader.count(series, range),
    revisions: (series, range, limit) => reader.revisions(series, range, limit),
    follow: (signal, afterId) => changes.follow(signal, afterId),
    lastChangeId: () => changes.lastChangeId(),
    overview: () => readOverview(database),
    coverageDays: (series, range) => readCoverageDays(database, series, range),
    holes: (series, range) => coverage.holes(series, range),
    unconfirmed: (series, range, limit) => confirmation.unconfirmed(series, range, limit),
    saveConfirmed: (series, from, to, asked) => confirmation.saveConfirmed(series, from, to, asked),
    firstStored: (series) => coverage.firstStored(series),
    share: (series, range) => coverage.share(series, range),
    series: () => catalog.list(),
    gaps: (series) => gaps.list(series),
    saveMarkets: (exchange, listed) => markets.saveMarkets(exchange, listed),
    markets: () => markets.markets(),
    quarantined: (limit) => listQuarantine(database, limit),
    close: async () => {
      changes.close();
      await runs.close();
      await database.close();
    },
  };
}
