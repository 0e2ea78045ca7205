import type { GapReason } from "./gaps.ts";
import type { MirrorEvent } from "./mirror-events.ts";
import type { WriteOutcome } from "./ports.ts";
import type { TimeRange } from "./range.ts";
import type { Series } from "./series.ts";
import type { StatusWord } from "./status.ts";
import type { Rejection } from "./validate.ts";

/** One written candle, for counting and timing. */
export interface WrittenCandle {
  readonly series: Series;
  readonly openTime: number;
  readonly outcome: WriteOutcome;
  /** Close → committed, ms, for candles that came at their close; history has none. */
  readonly latencyMs?: number;
  /** Time stamp of the exchange's closing event → committed, ms; only candles of the stream have one. */
  readonly eventLatencyMs?: number;
}

/**
 * Everything noteworthy that the program does. Told once, to one `record` function, which turns it into a log line and
 * metrics: nothing is counted or logged anywhere else.
 */
export type IngestEvent =
  | MirrorEvent
  | { readonly kind: "started"; readonly mode: string; readonly seriesCount: number }
  | { readonly kind: "stopped"; readonly storedCount: number; readonly pendingCount: number }
  | { readonly kind: "connected"; readonly connection: string; readonly seriesCount: number }
  | {
      readonly kind: "connectFailed";
      readonly connection: string;
      readonly reason: string;
      readonly retryMs: number;
    }
  | {
      readonly kind: "disconnected";
      readonly connection: string;
      readonly reason: string;
      readonly seriesCount: number;
    }
  | { readonly kind: "rotated"; readonly connection: string; readonly reason: string }
  | { readonly kind: "resubscribed"; readonly seriesCount: number; readonly reason: string }
  | { readonly kind: "frameRefused"; readonly reason: string }
  | { readonly kind: "received"; readonly closedCount: number; readonly formingCount: number }
  | {
      readonly kind: "batchWritten";
      readonly candles: readonly WrittenCandle[];
      readonly tookMs: number;
    }
  | {
      readonly kind: "writeFailed";
      readonly reason: string;
      readonly code: string;
      readonly retryMs: number;
      readonly pendingCount: number;
    }
  | { readonly kind: "writeRecovered"; readonly afterMs: number }
  | {
      readonly kind: "quarantined";
      readonly series: Series;
      readonly openTime: number;
      readonly rejection: Rejection;
    }
  | { readonly kind: "shed"; readonly series: Series; readonly count: number }
  | { readonly kind: "queueSize"; readonly size: number }
  | {
      readonly kind: "fetched";
      readonly series: Series;
      readonly cause: string;
      readonly candleCount: number;
    }
  | {
      readonly kind: "fetchFailed";
      readonly series: Series;
      readonly code: string;
      readonly reason: string;
    }
  /** Candles were read again by REST; `absentCount` of them it does not have any more. */
  | {
      readonly kind: "confirmed";
      readonly series: Series;
      readonly candleCount: number;
      readonly absentCount: number;
    }
  /** Something that concerns no single series failed; it is tried again. */
  | {
      readonly kind: "troubled";
      readonly what: string;
      readonly code: string;
      readonly reason: string;
    }
  | { readonly kind: "missedByStream"; readonly series: Series; readonly count: number }
  | {
      readonly kind: "gapFound";
      readonly series: Series;
      readonly range: TimeRange;
      readonly reason: GapReason;
      readonly missing: number;
    }
  | {
      readonly kind: "gapClosed";
      readonly series: Series;
      readonly range: TimeRange;
      readonly outcome: "filled" | "confirmed";
    }
  | {
      readonly kind: "held";
      readonly httpStatus: number;
      readonly untilTime: number;
      readonly reason: string;
    }
  | {
      readonly kind: "requestDone";
      readonly path: string;
      readonly httpStatus: number;
      readonly usedWeight: number;
      readonly tookMs: number;
    }
  /** A file of the archive that no checksum vouches for is stored all the same, and read again by REST. */
  | {
      readonly kind: "fileDoubted";
      readonly file: "archive-monthly" | "archive-daily";
      readonly series: Series;
      readonly range: TimeRange;
      readonly check: "mismatch" | "no-checksum";
    }
  /** A request to the archive's host, which has no weight; told at its end. */
  | {
      readonly kind: "archiveRequestDone";
      readonly file: "monthly" | "daily" | "checksum";
      /** 0 = no answer. */
      readonly httpStatus: number;
      readonly byteCount: number;
      readonly tookMs: number;
    }
  | { readonly kind: "clockSynced"; readonly offsetMs: number; readonly errorMs: number }
  | {
      readonly kind: "statusChanged";
      readonly series: Series;
      readonly from: StatusWord | undefined;
      readonly to: StatusWord;
      readonly reason: string;
      /** Of all series of the run, after this change and all others of the same look. */
      readonly activeCount: number;
      readonly seriesCount: number;
    };

/** Where events go. */
export type Recorder = (event: IngestEvent) => void;
