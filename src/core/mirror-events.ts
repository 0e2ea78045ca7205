import type { Series } from "./series.ts";

/** What happens to the CSV mirror; a part of `IngestEvent`. */
export type MirrorEvent =
  | { readonly kind: "mirrorStarted"; readonly folder: string; readonly fileCount: number }
  /** Rows were appended to a file, or a new file took its place (`rowCount` is 0 then). */
  | {
      readonly kind: "mirrored";
      readonly series: Series;
      readonly how: "appended" | "rewritten";
      readonly rowCount: number;
    }
  /** Others had changed a file; it is as the database again. */
  | {
      readonly kind: "mirrorRepaired";
      readonly file: string;
      /** What they had changed, in words. */
      readonly edit: string;
      /** Where the file was kept as they had left it; absent when nothing of theirs was lost. */
      readonly setAsidePath?: string;
    }
  /** A file has rows that the database does not have; they stay. 0 = not any more. */
  | {
      readonly kind: "mirrorUnknownRows";
      readonly series: Series;
      readonly file: string;
      readonly rowCount: number;
    }
  | {
      readonly kind: "mirrorFailed";
      /** A file, or the mirror as a whole. */
      readonly what: string;
      readonly code: string;
      readonly reason: string;
      readonly retryMs: number;
    }
  | { readonly kind: "mirrorRecovered"; readonly file: string }
  /** How far it is behind the database, now and then. */
  | {
      readonly kind: "mirrorState";
      /** Files that are not in step. */
      readonly pendingCount: number;
      /** How long the longest has been waiting. */
      readonly behindMs: number;
    };
