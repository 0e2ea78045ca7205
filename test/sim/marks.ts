import type { IngestEvent } from "../../src/core/events.ts";
import type { FaultKind } from "./faults.ts";

/**
 * The mechanisms that keep the promises. Each has to be seen at work in a long run: one that never acts proves nothing,
 * and whatever made it act has gone from the simulation.
 */
export const MARKS = [
  ...["connected", "disconnected", "connectFailed", "rotated", "resubscribed"],
  ...["dead link seen", "connect timeout", "replaced before the cut", "replaced at shutdown"],
  ...["successor no better", "subscribe unanswered", "frame refused", "missed by stream"],
  ...["fetched at deadline", "fetched for a hole", "fetched after settling"],
  ...["E_SOURCE_SERVER", "E_SOURCE_BAD_ANSWER", "E_SOURCE_TIMEOUT", "E_SOURCE_UNREACHABLE"],
  ...["E_SOURCE_RATE_LIMIT", "E_SOURCE_BANNED", "E_SOURCE_BLOCKED"],
  ...["held by 429", "held by 418", "held by 403", "held by an earlier run"],
  ...["stored", "revised", "identical", "superseded", "quarantined", "shed"],
  ...["write repeated", "write recovered", "gap exchange-had-none", "gap before-listing"],
  ...["archive file read", "archive file missing", "archive file doubted"],
  ...["gap filled", "gap confirmed", "gap found by audit", "confirmed", "clock synced"],
  ...["waited for exchange", "waited for database", "clean stop"],
  ...["status starting", "status backfilling", "status active", "status lagging", "status gap"],
  ...["status stale", "status banned", "status halted", "status paused", "status error"],
] as const;

export type Mark = (typeof MARKS)[number];

/** Faults that make a mechanism act which chance alone rarely does. */
export const PROVOKED_BY: Partial<Record<Mark, readonly FaultKind[]>> = {
  "waited for database": ["db-start"],
  "waited for exchange": ["rest-refused", "kill"],
  "subscribe unanswered": ["ws-delay", "ws-drop"],
  "successor no better": ["ws-ack-silent", "ws-shutdown"],
  "connect timeout": ["ws-hang", "ws-drop"],
  "dead link seen": ["ws-halfopen"],
  "replaced at shutdown": ["ws-shutdown"],
  resubscribed: ["ws-mute"],
  "missed by stream": ["ws-mute"],
  "frame refused": ["ws-cut", "ws-alien"],
  "held by an earlier run": ["rest-418", "kill"],
  "held by 403": ["rest-403"],
  E_SOURCE_BLOCKED: ["rest-403"],
  quarantined: ["garbage"],
  superseded: ["ws-late-close"],
  "gap before-listing": ["listing"],
  "gap found by audit": ["db-deleted-row"],
  "gap confirmed": ["outage"],
  "archive file read": ["archive-odd"],
  "archive file missing": ["archive-missing"],
  "archive file doubted": ["archive-unproven"],
  "status backfilling": ["archive-missing"],
  "status halted": ["halt"],
  "status banned": ["rest-418"],
  "status paused": ["stop"],
};

/** The marks that an event of the program stands for. */
export function marksOf(event: IngestEvent): readonly string[] {
  switch (event.kind) {
    case "connected":
    case "disconnected":
    case "rotated":
    case "resubscribed":
    case "connectFailed":
      return [event.kind, ...("reason" in event ? linkMarks(event.reason) : [])];
    case "frameRefused":
      return ["frame refused"];
    case "missedByStream":
      return ["missed by stream"];
    case "fetched":
      return [CAUSES[event.cause] ?? event.cause];
    case "fetchFailed":
      return [event.code];
    case "troubled":
      return [
        event.what.startsWith("start")
          ? `waited for ${event.code.startsWith("E_DB") ? "database" : "exchange"}`
          : "troubled",
        event.code,
      ];
    case "held":
      return [
        event.reason === "hold of an earlier run"
          ? "held by an earlier run"
          : `held by ${event.httpStatus}`,
      ];
    case "batchWritten":
      return event.candles.map(({ outcome }) => outcome);
    case "quarantined":
    case "shed":
    case "confirmed":
      return [event.kind];
    case "writeFailed":
      return ["write repeated"];
    case "writeRecovered":
      return ["write recovered"];
    case "gapFound":
      return [event.reason === "not-fetched" ? "gap found by audit" : `gap ${event.reason}`];
    case "gapClosed":
      return [`gap ${event.outcome}`];
    case "fileDoubted":
      return ["archive file doubted"];
    case "archiveRequestDone":
      if (event.file === "checksum") return [];
      return [event.httpStatus === 200 ? "archive file read" : "archive file missing"];
    case "clockSynced":
      return ["clock synced"];
    case "stopped":
      return ["clean stop"];
    default:
      return [];
  }
}

const CAUSES: Readonly<Record<string, string>> = {
  deadline: "fetched at deadline",
  hole: "fetched for a hole",
  settle: "fetched after settling",
};

function linkMarks(reason: string): string[] {
  const found: string[] = [];
  for (const [text, mark] of LINK_REASONS) if (reason.includes(text)) found.push(mark);
  return found;
}

const LINK_REASONS = [
  ["no frame for", "dead link seen"],
  ["no connection within", "connect timeout"],
  ["nearly a day old", "replaced before the cut"],
  ["about to shut down", "replaced at shutdown"],
  ["but no candle came", "successor no better"],
  ["no answer to SUBSCRIBE", "subscribe unanswered"],
] as const;
