import { BlackTradeError } from "../core/errors.ts";
import type { Finding } from "../core/findings.ts";
import type { Gap } from "../core/gaps.ts";
import type { JobOutcome, JobProgress, JobRequest } from "../core/job.ts";
import type { CandleQueries, StatusStore } from "../core/ports.ts";
import { type Series, seriesLabel } from "../core/series.ts";
import { countOpenTimes, type Timeframe } from "../core/timeframe.ts";
import { chooseWanted } from "./choose.ts";
import type { History, HistoryProgress, Wanted } from "./history.ts";
import { type VerifyOptions, type VerifyStore, verify } from "./verify.ts";

/** What a job works with. */
export interface JobOptions {
  readonly store: VerifyStore & Pick<CandleQueries, "overview"> & Pick<StatusStore, "facts">;
  /** Opens history; only called when the exchange is needed. Names symbols that it must list. */
  readonly openHistory: (
    symbols: readonly string[],
    onProgress: (progress: HistoryProgress) => void,
  ) => Promise<History>;
  /** What is ingested: `backfill` loads this. */
  readonly configured: readonly Series[];
  /** The one that can be asked; series of others are checked only. */
  readonly exchange: string;
  /** History wanted of a series, ms back from now. */
  readonly historyMs: (timeframe: Timeframe) => number;
  readonly createHash: VerifyOptions["createHash"];
  /** Exchange time, epoch ms. */
  readonly now: () => number;
}

const MAX_REMARKS = 100;

/**
 * Does one job: the same as the commands `fill-gaps`, `backfill` and `verify`.
 * @throws {BlackTradeError} E_USAGE when nothing is chosen, E_SOURCE_*, E_DB_*; the signal's reason on abort
 */
export async function doJob(
  options: JobOptions,
  request: JobRequest,
  signal: AbortSignal,
  onProgress: (progress: JobProgress) => void,
): Promise<JobOutcome> {
  const wanted = await wantedBy(options, request);
  signal.throwIfAborted();
  if (wanted.length === 0) {
    throw new BlackTradeError("E_USAGE", "no series of that choice is known", {
      remedy: "See /api/v1/series; backfill takes what TRADING_PAIRS and TIMEFRAMES name.",
    });
  }
  const onFilled = (progress: HistoryProgress): void =>
    onProgress({ phase: "filling", ...progressOf(progress), storedCount: progress.storedCount });
  const symbols = request.kind === "backfill" ? wanted.map(({ series }) => series.symbol) : [];
  const openHistory = (): Promise<History> => options.openHistory([...new Set(symbols)], onFilled);
  if (request.kind === "verify")
    return check(options, wanted, request, openHistory, signal, onProgress);
  const history = await openHistory();
  const gaps = await history.findGaps(wanted, true);
  const summary = await history.fill(gaps, signal);
  const left = await history.openGaps(wanted);
  const problems = [...new Set(summary.outcomes.flatMap(({ problem }) => problem ?? []))];
  return {
    isWhole: left.length === 0 && problems.length === 0,
    storedCount: summary.storedCount,
    remarks: [...problems, ...left.map(gapLine)].slice(0, MAX_REMARKS),
    certificates: [],
  };
}

async function check(
  options: JobOptions,
  wanted: readonly Wanted[],
  request: JobRequest,
  openHistory: () => Promise<History>,
  signal: AbortSignal,
  onProgress: (progress: JobProgress) => void,
): Promise<JobOutcome> {
  const { store, createHash } = options;
  const look = (phase: string) =>
    verify(
      {
        store,
        createHash,
        onProgress: (done) => onProgress({ phase, ...progressOf(done), storedCount: 0 }),
      },
      wanted,
      signal,
    );
  let found = await look("checking");
  let storedCount = 0;
  if (request.isRepairing === true) {
    const history = await openHistory();
    const repaired = await history.repair(wanted, found.findings, [], signal);
    storedCount = repaired.storedCount + repaired.revisedCount;
    found = await look("checking again");
  }
  const serious = found.findings.filter(({ severity }) => severity !== "info");
  return {
    isWhole: serious.length === 0 && found.certificates.every(({ isClean }) => isClean),
    storedCount,
    remarks: serious.slice(0, MAX_REMARKS).map(findingLine),
    certificates: found.certificates,
  };
}

function progressOf({ doneCandles, totalCandles }: { doneCandles: number; totalCandles: number }) {
  return { doneCandles, totalCandles };
}

function wantedBy(options: JobOptions, request: JobRequest): Promise<Wanted[]> {
  const { historyMs } = options;
  const { kind, isRepairing } = request;
  const now = options.now();
  return chooseWanted(
    { ...options, now },
    {
      ...request,
      startOf: kind === "backfill" ? async (one) => now - historyMs(one.timeframe) : undefined,
      isAsking: kind !== "verify" || isRepairing === true,
    },
  );
}

function gapLine({ series, range, reason, nextTryTime }: Gap): string {
  const count = countOpenTimes(series.timeframe, range);
  return `${seriesLabel(series)}: ${count} candles from ${iso(range.from)} to ${iso(range.to)} are missing (${reason}); asked for again at ${iso(nextTryTime)}`;
}

function findingLine({ series, openTime, severity, evidence }: Finding): string {
  return `${seriesLabel(series)} ${iso(openTime)}: ${severity}: ${evidence}`;
}

function iso(time: number): string {
  return new Date(time).toISOString();
}
