import { DECIMAL_FIELDS } from "../../src/core/candle.ts";
import { compareDecimals, isDecimal, isZeroDecimal } from "../../src/core/decimal.ts";
import { BlackTradeError } from "../../src/core/errors.ts";
import {
  AUTHORITY,
  candleKey,
  compareVersions,
  sameValues,
  type VersionedCandle,
  versionNumber,
} from "../../src/core/finality.ts";
import { type Gap, missingRanges, notFetchedGap } from "../../src/core/gaps.ts";
import type {
  Ban,
  BanStore,
  CandleStore,
  Clock,
  ConfirmStore,
  CoverageStore,
  GapStore,
  Market,
  MarketStore,
  RunStore,
  SeriesReport,
  StatusStore,
  Watermark,
  WriteOutcome,
  WriteResult,
} from "../../src/core/ports.ts";
import { subtractRanges, type TimeRange } from "../../src/core/range.ts";
import { type Series, seriesKey } from "../../src/core/series.ts";
import type { RunFacts, SeriesFacts } from "../../src/core/status.ts";
import { countOpenTimes, openTimeAt } from "../../src/core/timeframe.ts";
import type { Rejection } from "../../src/core/validate.ts";

/** Something asked of a {@link MemoryStore}: the name of the port's method. */
export type MemoryOperation =
  | ("write" | "quarantine" | "open" | "due" | "replace" | "load" | "save" | "saveMarkets")
  | ("begin" | "want" | "end" | "report" | "facts")
  | ("gaps" | "holes" | "firstStored" | "unconfirmed" | "saveConfirmed");

/** A failure of one operation: before anything was done, or after it was done and only the answer got lost. */
export interface MemoryFault {
  readonly when: "before" | "after";
  readonly error?: Error;
}

/** Decides the fate of every operation. A promise that takes its time makes the store slow. */
export type MemoryFaults = (
  operation: MemoryOperation,
) => MemoryFault | undefined | Promise<MemoryFault | undefined>;

const READS: readonly MemoryOperation[] = [
  ...(["due", "load", "facts", "gaps", "holes", "firstStored", "unconfirmed"] as const),
];

interface Row {
  readonly versioned: VersionedCandle;
}

interface StatusRow {
  readonly series: Series;
  runId?: number;
  report?: SeriesReport;
  problemSinceTime?: number;
  wantedFrom?: number;
  next?: number;
  newestOpenTime?: number;
  latencyMs?: number;
  confirmedTo?: number;
}

interface RunRow {
  readonly id: number;
  readonly host: string;
  readonly pid: number;
  readonly mode: "websocket" | "polling";
  readonly startedAt: number;
  heartbeatAt: number;
  offsetMs: number;
  stoppedAt?: number;
}

interface QuarantineRow {
  readonly candle: VersionedCandle;
  readonly rejection: Rejection;
  count: number;
}

/** What outlives a process: the tables. */
class Tables {
  readonly markets = new Map<string, Market>();
  readonly candles = new Map<string, Row>();
  readonly revisions: VersionedCandle[] = [];
  readonly quarantine = new Map<string, QuarantineRow>();
  readonly status = new Map<string, StatusRow>();
  readonly bans = new Map<string, Ban & { readonly endsAt: number }>();
  readonly runs: RunRow[] = [];
  gaps: Gap[] = [];
  holder: MemoryStore | undefined;
}

/**
 * The ports of the store in memory, with the semantics of the PostgreSQL one: both pass the same conformance suite.
 * Deterministic, without timers: time is the clock's that it is given.
 */
export class MemoryStore
  implements
    CandleStore,
    GapStore,
    BanStore,
    MarketStore,
    RunStore,
    StatusStore,
    ConfirmStore,
    CoverageStore
{
  readonly #clock: Pick<Clock, "now">;
  readonly #tables: Tables;
  #run: RunRow | undefined;
  #faults: MemoryFaults | undefined;

  /** @param clock the clock of the "database" */
  constructor(clock: Pick<Clock, "now">, tables: unknown = new Tables()) {
    if (!(tables instanceof Tables)) throw new TypeError("not the tables of a memory store");
    this.#clock = clock;
    this.#tables = tables;
  }

  /** Another process on the same tables. */
  peer(): MemoryStore {
    return new MemoryStore(this.#clock, this.#tables);
  }

  /** The process dies: what it held is free, what it wrote stays. */
  crash(): void {
    if (this.#tables.holder === this) this.#tables.holder = undefined;
    this.#run = undefined;
  }

  /** Installs what goes wrong; `undefined` = nothing does. */
  setFaults(faults: MemoryFaults | undefined): void {
    this.#faults = faults;
  }

  /** All that changes something fails, or works again; reading always works. */
  failWrites(isFailing: boolean): void {
    this.setFaults(
      isFailing
        ? (operation) => (READS.includes(operation) ? undefined : { when: "before" })
        : undefined,
    );
  }

  /** Stored candles of a series, ascending. */
  rows(series: Series): VersionedCandle[] {
    return [...this.#tables.candles.values()]
      .map(({ versioned }) => versioned)
      .filter((row) => seriesKey(row.series) === seriesKey(series))
      .sort((a, b) => a.candle.openTime - b.candle.openTime);
  }

  /** The stored version of a candle. */
  row(series: Series, openTime: number): VersionedCandle | undefined {
    return this.#tables.candles.get(`${seriesKey(series)}@${openTime}`)?.versioned;
  }

  /** How far a series is accounted for, and how far it is confirmed. */
  progress(series: Series): { readonly next?: number; readonly confirmedTo?: number } {
    const { next, confirmedTo } = this.#tables.status.get(seriesKey(series)) ?? { series };
    return {
      ...(next === undefined ? {} : { next }),
      ...(confirmedTo === undefined ? {} : { confirmedTo }),
    };
  }

  /** Replaced versions of a series, in the order of their replacement. */
  revisions(series: Series): VersionedCandle[] {
    return this.#tables.revisions.filter((row) => seriesKey(row.series) === seriesKey(series));
  }

  /** Ledger entries of a series that are not filled, ascending. */
  ledger(series: Series): Gap[] {
    return this.#tables.gaps
      .filter((gap) => seriesKey(gap.series) === seriesKey(series))
      .sort((a, b) => a.range.from - b.range.from);
  }

  gaps(series: Series): Promise<readonly Gap[]> {
    return this.#do("gaps", () => this.ledger(series));
  }

  holes(series: Series, range: TimeRange): Promise<TimeRange[]> {
    return this.#do("holes", () => {
      const openTimes = this.rows(series).map(({ candle }) => candle.openTime);
      return missingRanges(series.timeframe, openTimes, range);
    });
  }

  unconfirmed(series: Series, range: TimeRange, limit: number): Promise<number[]> {
    return this.#do("unconfirmed", () => this.#unconfirmed(series, range).slice(0, limit));
  }

  #unconfirmed(series: Series, range: TimeRange): number[] {
    return this.rows(series)
      .filter(({ source }) => AUTHORITY[source] < AUTHORITY["archive-monthly"])
      .map(({ candle }) => candle.openTime)
      .filter((openTime) => openTime >= range.from && openTime < range.to);
  }

  saveConfirmed(
    series: Series,
    from: number,
    confirmedTo: number,
    asked: readonly number[],
  ): Promise<number | undefined> {
    return this.#do("saveConfirmed", () => {
      const row = this.#statusOf(series);
      if (row.confirmedTo !== undefined && row.confirmedTo !== from) return undefined;
      const notAsked = this.#unconfirmed(series, { from, to: confirmedTo }).filter(
        (openTime) => !asked.includes(openTime),
      );
      row.confirmedTo = Math.min(confirmedTo, ...notAsked);
      return row.confirmedTo;
    });
  }

  firstStored(series: Series): Promise<number | undefined> {
    return this.#do("firstStored", () => this.rows(series)[0]?.candle.openTime);
  }

  /** Deletes a candle, as a hand in the database would. */
  forget(series: Series, openTime: number): void {
    for (const [key, { versioned }] of this.#tables.candles) {
      const isMeant = seriesKey(versioned.series) === seriesKey(series);
      if (isMeant && versioned.candle.openTime === openTime) this.#tables.candles.delete(key);
    }
  }

  /** Refused candles. */
  quarantined(): { candle: VersionedCandle; rejection: Rejection; count: number }[] {
    return [...this.#tables.quarantine.values()].map((row) => ({ ...row }));
  }

  /** From where on a series is wanted. */
  wantedFrom(series: Series): number | undefined {
    return this.#tables.status.get(seriesKey(series))?.wantedFrom;
  }

  write(batch: readonly VersionedCandle[], watermarks: readonly Watermark[]): Promise<WriteResult> {
    return this.#do("write", () => {
      for (const { series } of batch) refuseNul(series);
      const outcomes: WriteOutcome[] = [];
      const rejections = new Map<number, Rejection>();
      for (const indices of groupByKey(batch)) this.#writeKey(batch, indices, outcomes, rejections);
      this.#raise(batch, outcomes, watermarks);
      return { outcomes, rejections };
    });
  }

  quarantine(candle: VersionedCandle, rejection: Rejection): Promise<void> {
    return this.#do("quarantine", () => this.#putAside(candle, rejection));
  }

  open(gaps: readonly Gap[]): Promise<void> {
    return this.#do("open", () => {
      for (const gap of gaps) this.#enter(gap);
    });
  }

  due(
    series: readonly Series[],
    now: number,
    limit: number,
    below = Number.POSITIVE_INFINITY,
  ): Promise<readonly Gap[]> {
    return this.#do("due", () => {
      const keys = new Set(series.map(seriesKey));
      return this.#tables.gaps
        .filter((gap) => gap.nextTryTime <= now && keys.has(seriesKey(gap.series)))
        .filter((gap) => countOpenTimes(gap.series.timeframe, gap.range) < below)
        .sort((a, b) => a.nextTryTime - b.nextTryTime || a.range.from - b.range.from)
        .slice(0, limit);
    });
  }

  replace(gap: Gap, left: readonly Gap[]): Promise<void> {
    return this.#do("replace", () => {
      const isSame = (other: Gap): boolean =>
        seriesKey(other.series) === seriesKey(gap.series) &&
        other.range.from === gap.range.from &&
        other.range.to === gap.range.to;
      if (!this.#tables.gaps.some(isSame)) return;
      this.#tables.gaps = this.#tables.gaps.filter((other) => !isSame(other));
      for (const part of left) this.#enter(part);
    });
  }

  load(exchange: string): Promise<(Ban & { readonly remainingMs: number }) | undefined> {
    return this.#do("load", () => {
      const row = this.#tables.bans.get(exchange);
      if (row === undefined || row.endsAt <= this.#clock.now()) return undefined;
      const { endsAt, ...ban } = row;
      return { ...ban, remainingMs: endsAt - this.#clock.now() };
    });
  }

  saveMarkets(_exchange: string, markets: readonly Market[]): Promise<void> {
    return this.#do("saveMarkets", () => {
      for (const market of markets) this.#tables.markets.set(market.symbol, market);
    });
  }

  save(ban: Ban, remainingMs: number): Promise<void> {
    return this.#do("save", () => {
      const endsAt = this.#clock.now() + remainingMs;
      const before = this.#tables.bans.get(ban.exchange);
      if (before === undefined || endsAt > before.endsAt) {
        this.#tables.bans.set(ban.exchange, { ...ban, endsAt });
      }
    });
  }

  begin(
    { mode, host, pid }: Parameters<RunStore["begin"]>[0],
    series: readonly Series[],
  ): Promise<void> {
    return this.#do("begin", () => {
      const { runs, holder } = this.#tables;
      const last = runs.at(-1);
      if (holder !== undefined && holder !== this) throw busy(last);
      this.#tables.holder = this;
      const now = this.#clock.now();
      this.#run = {
        ...{ id: runs.length + 1, host, pid, mode },
        ...{ startedAt: now, heartbeatAt: now, offsetMs: last?.offsetMs ?? 0 },
      };
      runs.push(this.#run);
      for (const one of series) {
        const row = this.#statusOf(one);
        row.runId = this.#run.id;
        delete row.report;
        delete row.problemSinceTime;
      }
    });
  }

  want(
    wanted: readonly { readonly series: Series; readonly wantedFrom: number }[],
    exchangeTime: number,
  ): Promise<readonly Watermark[]> {
    return this.#do("want", () => {
      this.#runNow().offsetMs = exchangeTime - this.#clock.now();
      return wanted.map(({ series, wantedFrom }) => {
        const row = this.#statusOf(series);
        if (row.wantedFrom === undefined) {
          row.wantedFrom = wantedFrom;
          row.next = wantedFrom;
        } else if (wantedFrom < row.wantedFrom) {
          const range = { from: wantedFrom, to: row.wantedFrom };
          this.#enter(notFetchedGap(series, range, exchangeTime));
          row.wantedFrom = wantedFrom;
        }
        return { series, next: this.#overNotKept(series, row, exchangeTime) };
      });
    });
  }

  #overNotKept(series: Series, row: StatusRow, now: number): number {
    const ends = this.#tables.gaps
      .filter((gap) => gap.reason === "not-kept" && seriesKey(gap.series) === seriesKey(series))
      .map((gap) => gap.range.to);
    const next = row.next ?? 0;
    const keptFrom = Math.max(next, ...ends);
    if (keptFrom > next) this.#enter(notFetchedGap(series, { from: next, to: keptFrom }, now));
    row.next = keptFrom;
    return keptFrom;
  }

  end(): Promise<void> {
    return this.#do("end", () => {
      if (this.#run !== undefined) this.#run.stoppedAt = this.#clock.now();
      this.crash();
    });
  }

  report(reports: readonly SeriesReport[], exchangeTime: number | undefined): Promise<void> {
    return this.#do("report", () => {
      const run = this.#runNow();
      if (run !== this.#tables.runs.at(-1)) throw busy(this.#tables.runs.at(-1));
      run.heartbeatAt = this.#clock.now();
      if (exchangeTime !== undefined) run.offsetMs = exchangeTime - run.heartbeatAt;
      for (const report of reports) {
        const row = this.#statusOf(report.series);
        if (report.problem === undefined) delete row.problemSinceTime;
        else row.problemSinceTime ??= run.heartbeatAt + run.offsetMs;
        row.report = report;
      }
    });
  }

  facts(): Promise<{
    readonly run: RunFacts | undefined;
    readonly series: readonly SeriesFacts[];
  }> {
    return this.#do("facts", () => {
      const { runs, status } = this.#tables;
      const run = runs.at(-1);
      return {
        run: run === undefined ? undefined : this.#runFacts(run),
        series: [...status.values()].map((row) => this.#seriesFacts(row, run)),
      };
    });
  }

  async #do<T>(operation: MemoryOperation, act: () => T): Promise<T> {
    const fault = await this.#faults?.(operation);
    if (fault?.when === "before") throw fault.error ?? unreachable();
    const result = act();
    if (fault?.when === "after") throw fault.error ?? unreachable();
    return result;
  }

  #writeKey(
    batch: readonly VersionedCandle[],
    indices: readonly number[],
    outcomes: WriteOutcome[],
    rejections: Map<number, Rejection>,
  ): void {
    let winner: VersionedCandle | undefined;
    for (const index of indices) {
      const offered = batch[index];
      if (offered === undefined) continue;
      if (winner !== undefined) {
        outcomes[index] = sameValues(offered.candle, winner.candle) ? "identical" : "superseded";
        continue;
      }
      const detail = refusalOf(offered);
      if (detail !== undefined) {
        const rejection: Rejection = { code: "database-refused", detail };
        this.#putAside(offered, rejection);
        rejections.set(index, rejection);
        outcomes[index] = "quarantined";
        continue;
      }
      winner = offered;
      outcomes[index] = this.#upsert(offered);
    }
  }

  #upsert(offered: VersionedCandle): WriteOutcome {
    const { candles, revisions } = this.#tables;
    const key = candleKey(offered);
    const stored = candles.get(key)?.versioned;
    if (stored === undefined) {
      candles.set(key, { versioned: offered });
      return "stored";
    }
    const isSame = sameValues(offered.candle, stored.candle);
    if (compareVersions(offered, stored) <= 0) return isSame ? "identical" : "superseded";
    candles.set(key, { versioned: offered });
    if (isSame) return "identical";
    revisions.push(stored);
    return "revised";
  }

  /** Watermarks and newest candles that a batch implies; no watermark passes a candle that was refused. */
  #raise(
    batch: readonly VersionedCandle[],
    outcomes: readonly WriteOutcome[],
    watermarks: readonly Watermark[],
  ): void {
    const barriers = new Map<string, number>();
    for (const [index, { series, candle, source }] of batch.entries()) {
      const key = seriesKey(series);
      if (outcomes[index] === "quarantined") {
        const cell = openTimeAt(series.timeframe, candle.openTime);
        if (!Number.isNaN(cell)) barriers.set(key, Math.min(cell, barriers.get(key) ?? cell));
        continue;
      }
      const row = this.#statusOf(series);
      const newest = row.newestOpenTime ?? Number.NEGATIVE_INFINITY;
      if (outcomes[index] === "stored" && candle.openTime >= newest) {
        const latencyMs = isLive(batch[index]) ? this.#latencyOf(candle.closeTime) : undefined;
        if (latencyMs !== undefined) row.latencyMs = latencyMs;
      }
      row.newestOpenTime = Math.max(newest, candle.openTime);
      const isWritten = outcomes[index] === "stored" || outcomes[index] === "revised";
      if (isWritten && AUTHORITY[source] < AUTHORITY["archive-monthly"]) {
        const before = row.confirmedTo ?? row.wantedFrom ?? candle.openTime;
        row.confirmedTo = Math.min(before, candle.openTime);
      }
    }
    for (const { series, next } of watermarks) {
      const row = this.#statusOf(series);
      const reached = Math.min(next, barriers.get(seriesKey(series)) ?? next);
      row.next = Math.max(row.next ?? reached, reached);
    }
  }

  #latencyOf(closeTime: number): number | undefined {
    const run = this.#tables.runs.at(-1);
    if (run === undefined || closeTime + 1 < run.startedAt + run.offsetMs) return undefined;
    return Math.max(0, this.#clock.now() + run.offsetMs - (closeTime + 1));
  }

  #putAside(candle: VersionedCandle, rejection: Rejection): void {
    const { quarantine } = this.#tables;
    const key = [candleKey(candle), candle.source, rejection.code].join("|");
    const count = (quarantine.get(key)?.count ?? 0) + 1;
    quarantine.set(key, { candle, rejection, count });
  }

  #enter(gap: Gap): void {
    const covered = this.ledger(gap.series).map(({ range }) => range);
    for (const range of subtractRanges(gap.range, covered)) {
      this.#tables.gaps.push({ ...gap, range });
    }
  }

  #statusOf(series: Series): StatusRow {
    const { status } = this.#tables;
    const row = status.get(seriesKey(series)) ?? { series };
    status.set(seriesKey(series), row);
    return row;
  }

  #runNow(): RunRow {
    if (this.#run === undefined) throw new Error("no run has begun");
    return this.#run;
  }

  #runFacts(run: RunRow): RunFacts {
    const { host, pid, mode, offsetMs } = run;
    const bans = [...this.#tables.bans.values()].filter(({ exchange }) =>
      [...this.#tables.status.values()].some(
        ({ series, runId }) => runId === run.id && series.exchange === exchange,
      ),
    );
    const bannedUntilTime = Math.max(...bans.map(({ untilTime }) => untilTime));
    return {
      ...{ host, pid, mode },
      startedTime: run.startedAt + offsetMs,
      heartbeatTime: run.heartbeatAt + offsetMs,
      ...(run.stoppedAt === undefined ? {} : { stoppedTime: run.stoppedAt + offsetMs }),
      ...(bans.length === 0 ? {} : { bannedUntilTime }),
      now: this.#clock.now() + offsetMs,
    };
  }

  #seriesFacts(row: StatusRow, run: RunRow | undefined): SeriesFacts {
    const { series, report, problemSinceTime, wantedFrom, next, newestOpenTime, latencyMs } = row;
    const gaps = this.ledger(series);
    return {
      series,
      isConfigured: run !== undefined && row.runId === run.id,
      ...(wantedFrom === undefined ? {} : { wantedFrom }),
      ...(wantedFrom === undefined || next === undefined ? {} : { next }),
      ...(newestOpenTime === undefined ? {} : { newestOpenTime }),
      isStreamed: report?.isStreamed ?? false,
      isCatchingUp: report?.isCatchingUp ?? false,
      openGapCount: gaps.filter(({ state }) => state === "open").length,
      confirmedGapCount: gaps.filter(({ state }) => state === "confirmed").length,
      ...(row.confirmedTo === undefined ? {} : { confirmedTo: row.confirmedTo }),
      ...(report?.haltedStatus === undefined ? {} : { haltedStatus: report.haltedStatus }),
      ...(report?.problem === undefined ? {} : { problem: report.problem }),
      ...(problemSinceTime === undefined ? {} : { problemSinceTime }),
      ...(latencyMs === undefined ? {} : { latencyMs }),
    };
  }
}

/** An empty store in memory. */
export function createMemoryStore({ clock }: { readonly clock: Pick<Clock, "now"> }): MemoryStore {
  return new MemoryStore(clock);
}

function isLive(row: VersionedCandle | undefined): boolean {
  return row?.source === "stream" || row?.source === "rest-early";
}

/** Indices of a batch by candle, the version that wins first. */
function groupByKey(batch: readonly VersionedCandle[]): number[][] {
  const groups = new Map<string, number[]>();
  for (const [index, row] of batch.entries()) {
    const key = candleKey(row);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [index]);
    else group.push(index);
  }
  const at = (index: number): VersionedCandle => batch[index] as VersionedCandle;
  return [...groups.values()].map((group) =>
    group.sort((a, b) => compareVersions(at(b), at(a)) || a - b),
  );
}

/** What the table's own checks refuse. */
function refusalOf(row: VersionedCandle): string | undefined {
  const { candle } = row;
  if (!Number.isSafeInteger(candle.openTime)) return "invalid time";
  if (!Number.isSafeInteger(candle.closeTime)) return "invalid time";
  const { tradeCount } = candle;
  if (!Number.isInteger(tradeCount) || tradeCount < 0 || tradeCount > 2_147_483_647) {
    return "invalid count";
  }
  if (versionNumber(row.source, row.observedTime) <= 0) return "invalid version";
  if (!DECIMAL_FIELDS.every((field) => isDecimal(candle[field]))) return "invalid decimal";
  const { open, high, low, close } = candle;
  if (isZeroDecimal(low)) return "violates check of prices";
  for (const price of [open, close]) {
    if (compareDecimals(price, low) < 0 || compareDecimals(price, high) > 0) {
      return "violates check of prices";
    }
  }
  return undefined;
}

function refuseNul({ symbol }: Series): void {
  if (!symbol.includes("\0")) return;
  throw new BlackTradeError("E_USAGE", "not a symbol", { remedy: "Name another one." });
}

function unreachable(): BlackTradeError {
  return new BlackTradeError("E_DB_UNREACHABLE", "database memory does not answer", {
    remedy: "Switch the fault off.",
  });
}

function busy(holder: RunRow | undefined): BlackTradeError {
  return new BlackTradeError(
    "E_DB_BUSY",
    `another ingester (pid ${holder?.pid} on ${holder?.host}) is active`,
    { remedy: "Stop it first." },
  );
}
