import type { Candle, DECIMAL_FIELDS } from "./candle.ts";
import type { Source, VersionedCandle } from "./finality.ts";
import type { Gap } from "./gaps.ts";
import type { PackedCandles } from "./packed-candles.ts";
import type { TimeRange } from "./range.ts";
import type { Series } from "./series.ts";
import type { RunFacts, SeriesFacts } from "./status.ts";
import type { Rejection } from "./validate.ts";

/** Time as the program is given it; tests give a virtual one. */
export interface Clock {
  /** Wall clock, epoch ms. May jump. */
  now(): number;
  /** Ms since some instant, fractions included. Never jumps, never goes back. */
  monotonic(): number;
  /** Resolves after `ms`. @throws the signal's reason as soon as it is aborted */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

/** What a stream of live candles says. A lost connection is a value, not an exception. */
export type LiveEvent =
  | {
      readonly kind: "candle";
      readonly series: Series;
      readonly candle: Candle;
      /** The exchange's own closed flag; a candle without it is forming. */
      readonly isClosed: boolean;
      /** Exchange time stamp of the event, epoch ms. */
      readonly eventTime: number;
    }
  /** A connection carries these series from now on: subscribed, not yet proved by data. */
  | { readonly kind: "connected"; readonly connection: string; readonly series: readonly Series[] }
  /** No connection carries these series any more. */
  | {
      readonly kind: "disconnected";
      readonly connection: string;
      readonly series: readonly Series[];
      readonly reason: string;
    };

/** Live candles of an exchange. */
export interface LiveSource {
  /**
   * Events of all given series, gathered since the consumer last asked: in order for each connection, forming candles
   * of one series reduced to the newest. Reconnects for ever by itself; ends when the signal is aborted.
   */
  stream(series: readonly Series[], signal: AbortSignal): AsyncIterable<readonly LiveEvent[]>;
  /** The exchange had closed candles of these series and the stream did not bring them: subscribe anew, or replace the socket. */
  resubscribe(series: readonly Series[]): void;
}

/** A part of history as one answer gave it. */
export interface HistoryPage {
  /** What was asked: the exchange had `rows` for this range and nothing else. Half-open; pages follow one another. */
  readonly range: TimeRange;
  /** Ascending by open time, no repeats; the last may be forming. */
  readonly rows: readonly Candle[];
  readonly source: Source;
  /** Exchange time just before the request was sent (an archive: when it was made). */
  readonly askedTime: number;
}

/** History of an exchange. */
export interface HistorySource {
  /**
   * Pages that together cover `range`, ascending. `range.to` in the future reads up to the forming candle.
   * @throws {BlackTradeError} E_SOURCE_*; what was yielded before stays valid
   */
  candles(
    series: Series,
    range: TimeRange,
    signal: AbortSignal,
    priority: "live" | "heal" | "bulk",
  ): AsyncIterable<HistoryPage>;
  /** Open time of the first candle that the exchange has, or `undefined` when it has none. */
  firstOpenTime(series: Series, signal: AbortSignal): Promise<number | undefined>;
}

/** A symbol as the exchange lists it. */
export interface Market {
  readonly symbol: string;
  readonly baseAsset: string;
  readonly quoteAsset: string;
  /** True only for the status that means trading; unknown statuses are not trading. */
  readonly isTrading: boolean;
  /** The exchange's own word. */
  readonly status: string;
  /** The symbol's entry in the exchange's list, whole; absent where an exchange has none. */
  readonly listing?: Readonly<Record<string, unknown>>;
}

/** A collected symbol as the exchange listed it last. */
export interface ListedMarket {
  readonly exchange: string;
  readonly symbol: string;
  /** JSON text of its entry in the exchange's list. */
  readonly listing: string;
}

/** A file of an exchange's archive, as planned by the calendar; it may turn out not to be published. */
export interface PlannedFile {
  readonly kind: "archive-monthly" | "archive-daily";
  readonly series: Series;
  /** Open times that it should hold, half-open. */
  readonly range: TimeRange;
  readonly candleCount: number;
}

/** A stretch of history dealt out to files and to REST; together they are the stretch, without overlap. */
export interface ArchivePlan {
  readonly files: readonly PlannedFile[];
  readonly rest: readonly TimeRange[];
}

/** A file that was fetched and whose bytes were checked. */
export interface ArchiveContent {
  readonly kind: "opened";
  /**
   * What its checksum says: `mismatch` after a second try, `no-checksum` when there is none. The rows of both have the
   * source `archive-unproven`, so that REST is asked for them again.
   */
  readonly check: "ok" | "mismatch" | "no-checksum";
  /** Its rows, ascending; to be read once. */
  readonly pages: AsyncIterable<HistoryPage>;
  /** What it held; complete once `pages` has ended. */
  report(): {
    readonly rowCount: number;
    readonly rejectedCount: number;
    /** Stretches of its range without a row. */
    readonly absent: readonly TimeRange[];
  };
  close(): Promise<void>;
}

/** Bulk history of an exchange, in files. */
export interface ArchiveSource {
  /** Deals a stretch out, by the calendar alone; `kinds` limits it, `minCandleCount` leaves small files to REST. */
  plan(
    series: Series,
    range: TimeRange,
    exchangeNow: number,
    options?: { readonly kinds?: readonly PlannedFile["kind"][]; readonly minCandleCount?: number },
  ): ArchivePlan;
  /** Fetches a file. @throws {BlackTradeError} E_SOURCE_* */
  open(
    file: PlannedFile,
    signal: AbortSignal,
  ): Promise<ArchiveContent | { readonly kind: "not-published" }>;
}

/** How far stored candles were read again by REST after they had settled. */
export interface ConfirmStore {
  /** Open times of stored candles that came by CSV, a young REST answer or the stream, ascending, at most `limit`. */
  unconfirmed(series: Series, range: TimeRange, limit: number): Promise<readonly number[]>;
  /**
   * Every stored candle of the series that opens before `confirmedTo` is confirmed, as `from` was said before. A candle to
   * be confirmed that was not asked for stops it there, also one whose transaction ends only now.
   * @param asked open times that were asked for, whatever the answer
   * @returns how far it is confirmed now; `undefined` when older candles to be confirmed have been written meanwhile
   */
  saveConfirmed(
    series: Series,
    from: number,
    confirmedTo: number,
    asked: readonly number[],
  ): Promise<number | undefined>;
}

/** What is stored and what is not, by the calendar. */
export interface CoverageStore {
  /** Stretches of a range without a candle: leading, inner, trailing, or all of it. Disjoint, ascending, on the grid. */
  holes(series: Series, range: TimeRange): Promise<readonly TimeRange[]>;
  /** Open time of the oldest stored candle of a series. */
  firstStored(series: Series): Promise<number | undefined>;
  /** Ledger entries of a series that are not filled, ascending. */
  gaps(series: Series): Promise<readonly Gap[]>;
}

/** What else is asked of an exchange. */
export interface MarketSource {
  /** All listed symbols. */
  markets(signal: AbortSignal): Promise<readonly Market[]>;
  /** Asks for the time and puts it into the shared estimate. */
  syncTime(signal: AbortSignal): Promise<void>;
}

/** What became of one offered candle. `stored` = new row, `revised` = replaced one with other values (which was kept). */
export type WriteOutcome = "stored" | "revised" | "identical" | "superseded" | "quarantined";

/** What a write did, index for index with its batch. */
export interface WriteResult {
  readonly outcomes: readonly WriteOutcome[];
  /** Reasons of the quarantined ones, by index. */
  readonly rejections: ReadonlyMap<number, Rejection>;
}

/** How far a series is accounted for without a hole. */
export interface Watermark {
  readonly series: Series;
  /** Open time before which every candle since `from` is stored or in the gap ledger. */
  readonly next: number;
}

/** Where candles are kept. */
export interface CandleStore {
  /**
   * Writes closed candles and the watermarks that they imply in one transaction: all of it or nothing, but for rows that
   * the database itself refuses, which are quarantined. May be repeated: the version rule makes a repeat a no-op.
   * @throws {BlackTradeError} E_DB_*; retryable ones may have been committed
   */
  write(batch: readonly VersionedCandle[], watermarks: readonly Watermark[]): Promise<WriteResult>;
  /** Puts a refused candle where users can list it. */
  quarantine(candle: VersionedCandle, rejection: Rejection): Promise<void>;
}

/** What became of rows that were read of a file; together they are all that were read. */
export interface ImportCounts {
  readonly row: number;
  readonly stored: number;
  /** Took the place of an older version with other values, which was kept. */
  readonly revised: number;
  readonly identical: number;
  readonly superseded: number;
  readonly refused: number;
  readonly heldBack: number;
}

/** A file that is, or was, imported. */
export interface ImportedFile {
  /** Its full path. */
  readonly file: string;
  /** Tells one content of the file from another without reading it. */
  readonly fingerprint: string;
  /** What the command said about the file. */
  readonly settings: string;
  readonly layout: string;
  readonly series: Series;
  readonly isFinished: boolean;
  readonly counts: ImportCounts;
  /** Where reading goes on, as JSON of the reader. */
  readonly progress: string;
}

/** What a part of a file brings, all of it or nothing. */
export interface ImportPart {
  /** Candles of one series, strictly ascending by open time. */
  readonly candles: PackedCandles;
  /** Entries for the ledger; a cell with a candle of a higher authority than a file's needs none. */
  readonly gaps: readonly Gap[];
  /** The file as it is before this part: `counts` of rows that were not offered are in it. */
  readonly file: ImportedFile;
}

/** Loading in bulk. */
export interface ImportStore {
  /** What is known of a file. */
  imported(file: string): Promise<ImportedFile | undefined>;
  /**
   * Stores a part of a file by the version rule and notes in the same transaction how far the file is read.
   * @returns the file as it is now: its counts with what became of the candles
   * @throws {BlackTradeError} E_DB_*; whether it was committed is told by {@link imported}
   */
  loadPart(part: ImportPart): Promise<ImportedFile>;
}

/** The gap ledger. */
export interface GapStore {
  /** Enters gaps; a stretch that is in the ledger already keeps its older entry. */
  open(gaps: readonly Gap[]): Promise<void>;
  /**
   * Gaps of these series whose next try has come; the one that has waited longest first.
   * @param below only those of fewer candles
   */
  due(
    series: readonly Series[],
    now: number,
    limit: number,
    below?: number,
  ): Promise<readonly Gap[]>;
  /** Replaces one ledger entry by what a new answer left of it (none = filled). */
  replace(gap: Gap, left: readonly Gap[]): Promise<void>;
}

/** A hold that the exchange put on this address. */
export interface Ban {
  readonly exchange: string;
  /** Exchange time, epoch ms. */
  readonly untilTime: number;
  readonly httpStatus: number;
}

/** What the exchange says of symbols, kept for those who ask without it. */
export interface MarketStore {
  /** Keeps what was said last of each; symbols that are not given stay as they are. */
  saveMarkets(exchange: string, markets: readonly Market[]): Promise<void>;
}

/** Bans, kept so that a restart obeys them. */
export interface BanStore {
  /** The hold in force, with what is left of it by the database's clock; `undefined` when it is over. */
  load(exchange: string): Promise<(Ban & { readonly remainingMs: number }) | undefined>;
  /**
   * Keeps a hold; a shorter one never cuts a longer one short.
   * @param remainingMs what is left of it now
   */
  save(ban: Ban, remainingMs: number): Promise<void>;
}

/** State of a series as the ingester reports it. */
export interface SeriesReport {
  readonly series: Series;
  readonly mode: "websocket" | "polling";
  /** True while a stream carries the series. */
  readonly isStreamed: boolean;
  /** True while older history is being caught up with. */
  readonly isCatchingUp: boolean;
  /** The exchange's word for the symbol's state, when it is not trading. */
  readonly haltedStatus?: string;
  /** What goes wrong, one line. */
  readonly problem?: string;
}

/** The ingester's run: one at a time for a database. */
export interface RunStore {
  /**
   * Takes the database for this run. Series of earlier runs that are not given count as not configured from now on.
   * @throws {BlackTradeError} E_DB_BUSY when another ingester holds the database
   */
  begin(
    run: { readonly mode: "websocket" | "polling"; readonly host: string; readonly pid: number },
    series: readonly Series[],
  ): Promise<void>;
  /**
   * Says from where on each series is wanted, once the exchange's time is known. A known series keeps its older start;
   * an earlier start than stored enters the new stretch into the gap ledger as `not-fetched`; so does what is not
   * accounted for before the end of what is not kept, and the series goes on behind that.
   * @param exchangeTime epoch ms
   * @returns how far each is accounted for
   */
  want(
    wanted: readonly { readonly series: Series; readonly wantedFrom: number }[],
    exchangeTime: number,
  ): Promise<readonly Watermark[]>;
  /** Marks the run as cleanly stopped and gives the database free. */
  end(): Promise<void>;
}

/** A version of a candle that another one took the place of. */
export interface CandleRevision {
  readonly replaced: VersionedCandle;
  /** Road and exchange time of the version that took its place. */
  readonly replacedBy: Pick<VersionedCandle, "source" | "observedTime">;
  /** Epoch ms by the clock of the database. */
  readonly replacedTime: number;
}

/** How far a series reaches. */
export interface SeriesOverview {
  readonly series: Series;
  /** Open times of the first and of the newest stored candle; absent when nothing is stored. */
  readonly firstOpenTime?: number;
  readonly newestOpenTime?: number;
}

/** What is stored of one UTC day of a series. */
export interface CoverageDay {
  readonly series: Series;
  /** First instant of the day, epoch ms UTC. */
  readonly dayTime: number;
  /**
   * The part of the day in which candles are wanted, half-open; it may lie in the future. A day before the first candle
   * that is stored, wanted or in the ledger, or after the last one of a series that nobody ingests, has none.
   */
  readonly wanted: TimeRange;
  readonly storedCount: number;
  /** Of the stored ones, how many an archive or settled REST vouches for. */
  readonly confirmedCount: number;
  /** What the gap ledger says of the others, by reason. */
  readonly absent: readonly {
    readonly reason: Gap["reason"];
    readonly state: Gap["state"];
    readonly count: number;
  }[];
}

/** Most digits that a decimal has before and behind the point, leading and trailing zeros not counted. */
export interface DecimalDigits {
  readonly integer: number;
  readonly fraction: number;
}

/** How much is stored in a range, for whoever lays out a file before its rows are read. */
export interface CandleExtent {
  readonly count: number;
  readonly digits: Readonly<Record<(typeof DECIMAL_FIELDS)[number], DecimalDigits>>;
}

/** What readers ask of the store. Every decimal is the text that was written; ranges are half-open, rows ascending. */
export interface CandleQueries {
  /** Every series that the database knows, by exchange, symbol and timeframe. */
  series(): Promise<readonly Series[]>;
  /** Candles that open in `[from, to)`, the first `limit` of them; with `at` as known at that time (epoch ms). */
  range(
    series: Series,
    range: TimeRange,
    limit: number,
    at?: number,
  ): Promise<readonly VersionedCandle[]>;
  /**
   * The newest `count` candles, ascending; with `before` the newest that open before it (epoch ms, exclusive), with `at` as
   * known at that time (epoch ms).
   */
  latest(
    series: Series,
    count: number,
    before?: number,
    at?: number,
  ): Promise<readonly VersionedCandle[]>;
  /** Replaced versions, by open time, then oldest first. */
  revisions(series: Series, range: TimeRange, limit: number): Promise<readonly CandleRevision[]>;
  /** Ledger entries of a series that are not filled, ascending. */
  gaps(series: Series): Promise<readonly Gap[]>;
  /** First and newest candle of every series. */
  overview(): Promise<readonly SeriesOverview[]>;
  /**
   * What is stored of each UTC day that the range touches, by series, then day. Days in which no candle is wanted, or opens
   * by the calendar, are not there, nor are series that the database does not know.
   */
  coverageDays(series: readonly Series[], range: TimeRange): Promise<readonly CoverageDay[]>;
  /** Collected symbols as their exchange listed them last; those of which it was never asked are not there. */
  markets(): Promise<readonly ListedMarket[]>;
}

/** A candle that a committed transaction stored or replaced. */
export interface CandleWritten {
  readonly kind: "candle";
  /** Grows in commit order; the place from which {@link CandleChanges.follow} goes on. */
  readonly id: number;
  /** As it stands when it is read: a version that came still later may show already. */
  readonly candle: VersionedCandle;
  readonly outcome: "stored" | "revised";
}

/** Many candles of one series that a committed transaction stored or replaced: a page of history. Read them from the store. */
export interface StretchWritten {
  readonly kind: "stretch";
  /** As of {@link CandleWritten}. */
  readonly id: number;
  readonly series: Series;
  /** Holds the open time of each candle that changed, half-open; candles within it may be unchanged. */
  readonly range: TimeRange;
}

/** What a committed transaction did to stored candles. */
export type CandleChange = CandleWritten | StretchWritten;

/** Candles as they are committed, by whichever process. */
export interface CandleChanges {
  /**
   * Every change after `afterId` (from now on when not given), in commit order, in bounded pages, at least once; goes on
   * over lost connections without a loss, and ends when `signal` is aborted. The changes of one candle are in the order
   * of its versions. More than 100 changes of a series in one transaction are told as a stretch.
   * @throws {BlackTradeError} E_DB_CHANGES_GONE when `afterId` is not kept any more: read the table, and follow from now on
   */
  follow(signal: AbortSignal, afterId?: number): AsyncIterable<readonly CandleChange[]>;
  /** The place after the last change that is committed: what is read after this call holds all changes up to it. */
  lastChangeId(): Promise<number>;
}

/** Facts from which status is computed, by any process. */
export interface StatusStore {
  /**
   * Writes reports and the run's sign of life.
   * @param exchangeTime epoch ms, when it is known
   */
  report(reports: readonly SeriesReport[], exchangeTime: number | undefined): Promise<void>;
  /** Facts of every series known to the store, with the run that ingests it. */
  facts(): Promise<{ readonly run: RunFacts | undefined; readonly series: readonly SeriesFacts[] }>;
}
