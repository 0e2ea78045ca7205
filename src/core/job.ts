import type { Certificate } from "./certificate.ts";
import type { Timeframe } from "./timeframe.ts";

/** Series and times that a command or a job is about; what is not named is everything. */
export interface Scope {
  /** `backfill` takes what is configured, the others what is stored. */
  readonly kind: "backfill" | "fill" | "verify";
  readonly symbols?: readonly string[] | undefined;
  readonly timeframes?: readonly Timeframe[] | undefined;
  /** First open time, epoch ms; as far back as there is something, or as is configured, when not given. */
  readonly from?: number | undefined;
  /** Exclusive; now when not given. */
  readonly to?: number | undefined;
}

/** What a job is to do. */
export interface JobRequest extends Scope {
  /** Of `verify`: read again from the exchange what is missing or suspect. */
  readonly isRepairing?: boolean | undefined;
}

/** How far a job is. */
export interface JobProgress {
  /** In plain words: `filling`, `checking`. */
  readonly phase: string;
  readonly doneCandles: number;
  readonly totalCandles: number;
  readonly storedCount: number;
}

/** What a job did. */
export interface JobOutcome {
  /** True when nothing is left to do: no open gap, no finding. */
  readonly isWhole: boolean;
  readonly storedCount: number;
  /** What is left or was found, one plain line each, the first of them. */
  readonly remarks: readonly string[];
  /** Of `verify`. */
  readonly certificates: readonly Certificate[];
}

/** Does a job. @throws {BlackTradeError} what keeps it from being done; the signal's reason on abort */
export type RunJob = (
  request: JobRequest,
  signal: AbortSignal,
  onProgress: (progress: JobProgress) => void,
) => Promise<JobOutcome>;
