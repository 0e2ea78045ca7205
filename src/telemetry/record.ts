import type { Logger } from "pino";
import type { IngestEvent, Recorder } from "../core/events.ts";
import { seriesLabel } from "../core/series.ts";
import type { Metrics } from "./metrics.ts";
import { recordMirror } from "./mirror.ts";
import { reconnectReason } from "./reconnect-reason.ts";

/** Lines of one kind are written at most this often; the next one tells how many were left out (R8). */
const QUIET_MS = 10_000;
/** A clock further off than this is worth a line. */
const CLOCK_WARN_MS = 2_000;

/**
 * Turns every event into its metric and its log line; nothing else counts or logs.
 * Levels: warn = something failed and nothing is lost; error = data was dropped, or somebody must act.
 * @param nowMs a clock for the pace of log lines, ms
 */
export function createRecorder(
  metrics: Metrics,
  log: Logger,
  mode: string,
  nowMs: () => number,
): Recorder {
  const quiet = new Map<string, { until: number; skipped: number }>();

  /** Writes a line unless one of its kind was written a moment ago. */
  function paced(
    kind: string,
    level: "info" | "warn" | "error",
    line: string,
    facts: object,
  ): void {
    const now = nowMs();
    const entry = quiet.get(kind);
    if (entry !== undefined && now < entry.until) {
      entry.skipped += 1;
      return;
    }
    const skipped = entry?.skipped ?? 0;
    quiet.set(kind, { until: now + QUIET_MS, skipped: 0 });
    log[level](facts, skipped === 0 ? line : `${line} (${skipped} more of this kind since)`);
  }

  const labels = metrics.labelsOf;

  return (event: IngestEvent): void => {
    switch (event.kind) {
      case "started":
        log.info(event, `Ingesting ${event.seriesCount} series (${event.mode}).`);
        return;
      case "stopped": {
        const rest =
          event.pendingCount === 0
            ? ""
            : ` ${event.pendingCount} could not be written; the next start fetches them again.`;
        log.info(event, `Stopped. ${event.storedCount} candles were written.${rest}`);
        return;
      }
      case "connected":
        metrics.connections.inc();
        log.info(event, `WebSocket ${event.connection} carries ${event.seriesCount} series.`);
        return;
      case "connectFailed":
        metrics.errors.inc({ symbol: "", timeframe: "", error_type: "connect" });
        metrics.connectFailures.inc({ reason: reconnectReason(event.reason) });
        paced(
          "connectFailed",
          "warn",
          `WebSocket ${event.connection} cannot connect: ${event.reason}; next try in ${seconds(event.retryMs)}. What it does not bring is fetched by REST.`,
          event,
        );
        return;
      case "disconnected":
        metrics.connections.dec();
        metrics.disconnects.inc();
        metrics.reconnects.inc({ reason: reconnectReason(event.reason) });
        paced(
          `disconnected ${event.connection}`,
          "warn",
          `WebSocket ${event.connection} lost: ${event.reason}; reconnecting. What it does not bring is fetched by REST.`,
          event,
        );
        return;
      case "rotated":
        metrics.rotations.inc();
        metrics.reconnects.inc({ reason: reconnectReason(event.reason) });
        log.info(event, `WebSocket ${event.connection} replaced: ${event.reason}.`);
        return;
      case "resubscribed":
        metrics.resubscriptions.inc(event.seriesCount);
        paced(
          "resubscribed",
          "warn",
          `${event.seriesCount} series subscribed anew: ${event.reason}.`,
          event,
        );
        return;
      case "frameRefused":
        metrics.framesRefused.inc();
        paced("frameRefused", "warn", `A frame could not be read: ${event.reason}.`, event);
        return;
      case "received":
        if (event.closedCount > 0) metrics.received.inc({ state: "closed" }, event.closedCount);
        if (event.formingCount > 0) metrics.received.inc({ state: "forming" }, event.formingCount);
        return;
      case "batchWritten":
        metrics.writeDuration.observe(event.tookMs / 1_000);
        metrics.batchSize.observe(event.candles.length);
        for (const { series, outcome, latencyMs, eventLatencyMs } of event.candles) {
          // The refusal itself is an event of its own.
          if (outcome !== "quarantined") metrics.outcomes.inc({ outcome });
          if (outcome === "stored" || outcome === "revised") {
            metrics.candlesProcessed.inc({ ...labels(series), mode });
          }
          if (outcome === "revised") metrics.revisions.inc(labels(series));
          const { timeframe } = labels(series);
          if (latencyMs !== undefined) {
            metrics.latency.observe(metrics.latencyLabelsOf(series), latencyMs / 1_000);
            metrics.closeToStored.observe({ timeframe }, latencyMs / 1_000);
          }
          if (eventLatencyMs !== undefined) {
            metrics.eventToStored.observe({ timeframe }, eventLatencyMs / 1_000);
          }
        }
        return;
      case "writeFailed":
        metrics.writeFailures.inc({ code: event.code });
        paced(
          `writeFailed ${event.code}`,
          "warn",
          `Cannot write: ${event.reason}. ${event.pendingCount} candles wait; next try in ${seconds(event.retryMs)}.`,
          event,
        );
        return;
      case "writeRecovered":
        log.info(event, `The database takes candles again after ${seconds(event.afterMs)}.`);
        return;
      case "quarantined":
        metrics.outcomes.inc({ outcome: "quarantined" });
        metrics.errors.inc({ ...labels(event.series), error_type: event.rejection.code });
        paced(
          "quarantined",
          "error",
          `${seriesLabel(event.series)} ${new Date(event.openTime).toISOString()} refused: ${event.rejection.detail}. It is kept in table "quarantine".`,
          event,
        );
        return;
      case "shed":
        metrics.outcomes.inc({ outcome: "shed" }, event.count);
        paced(
          "shed",
          "error",
          `${event.count} candles of ${seriesLabel(event.series)} dropped for want of memory; they go into the gap ledger and are fetched again.`,
          event,
        );
        return;
      case "queueSize":
        metrics.queueSize.set({ queue_name: "candles" }, event.size);
        return;
      case "fetched":
        log.debug(
          event,
          `${event.candleCount} candles of ${seriesLabel(event.series)} by REST (${event.cause}).`,
        );
        return;
      case "fetchFailed":
        metrics.errors.inc({ ...labels(event.series), error_type: event.code });
        paced(
          `fetchFailed ${event.code}`,
          "warn",
          `${seriesLabel(event.series)} could not be fetched: ${event.reason}. It is tried again.`,
          event,
        );
        return;
      case "troubled":
        metrics.errors.inc({ symbol: "", timeframe: "", error_type: event.code });
        paced(
          `troubled ${event.what} ${event.code}`,
          "warn",
          `${event.what}: ${event.reason}. It is tried again.`,
          event,
        );
        return;
      case "confirmed":
        metrics.confirmed.inc(event.candleCount);
        if (event.absentCount > 0) {
          paced(
            "confirmed",
            "warn",
            `${seriesLabel(event.series)}: REST does not have ${event.absentCount} candle(s) that are stored; they are kept.`,
            event,
          );
        }
        return;
      case "missedByStream":
        metrics.missedByStream.inc(event.count);
        paced(
          "missedByStream",
          "info",
          `The stream did not bring ${event.count} candle(s) of ${seriesLabel(event.series)}; REST did.`,
          event,
        );
        return;
      case "gapFound": {
        metrics.gapCandles.inc({ reason: event.reason }, event.missing);
        const what =
          event.reason === "before-listing"
            ? "was not listed yet"
            : "has no candle at the exchange, which is asked again in an hour,";
        const level = event.reason === "before-listing" ? "info" : "warn";
        const span = `from ${iso(event.range.from)} to ${iso(event.range.to)} (${event.missing} candles)`;
        paced("gapFound", level, `${seriesLabel(event.series)} ${what} ${span}.`, event);
        return;
      }
      case "gapClosed":
        metrics.gapsClosed.inc({ outcome: event.outcome });
        log.info(
          event,
          `${seriesLabel(event.series)}: gap from ${iso(event.range.from)} ${event.outcome === "filled" ? "filled" : "confirmed: the exchange had none"}.`,
        );
        return;
      case "held":
        metrics.holds.inc({ status: holdStatus(event.httpStatus) });
        log.warn(
          event,
          `The exchange refuses requests until ${iso(event.untilTime)} (${event.httpStatus}: ${event.reason}). None is sent until then; what the WebSocket does not bring is fetched afterwards.`,
        );
        return;
      case "requestDone":
        metrics.requests.inc({ path: event.path, status: String(event.httpStatus) });
        metrics.requestDuration.observe({ path: event.path }, event.tookMs / 1_000);
        metrics.weightUsed.set(event.usedWeight);
        return;
      case "fileDoubted": {
        const { series, range, check, file } = event;
        metrics.errors.inc({ ...metrics.labelsOf(series), error_type: `archive_${check}` });
        const why = check === "mismatch" ? "does not fit its checksum, twice" : "has no checksum";
        log.warn(
          event,
          `${seriesLabel(series)}: the ${file} file of ${iso(range.from).slice(0, 10)} ${why}. Its structure is sound; it is stored as unproven and read again by REST.`,
        );
        return;
      }
      case "archiveRequestDone": {
        const { file, httpStatus, byteCount, tookMs } = event;
        metrics.archiveRequests.inc({ file, status: String(httpStatus) });
        metrics.archiveRequestDuration.observe({ file }, tookMs / 1_000);
        metrics.archiveBytes.inc(byteCount);
        return;
      }
      case "clockSynced":
        metrics.clockOffset.set(event.offsetMs / 1_000);
        if (Math.abs(event.offsetMs) > CLOCK_WARN_MS) {
          paced(
            "clockSynced",
            "warn",
            `This machine's clock differs from the exchange's by ${seconds(event.offsetMs)}; the exchange's is used. Set the clock (ntp).`,
            event,
          );
        }
        return;
      case "statusChanged": {
        const reason = event.reason === "" ? "" : `: ${event.reason}`;
        const all = `${event.activeCount} of ${event.seriesCount} series active`;
        const line = `${seriesLabel(event.series)} is ${event.to}${reason} (${all}).`;
        const isGood =
          event.to === "active" || event.to === "backfilling" || event.to === "starting";
        paced(`statusChanged ${event.to}`, isGood ? "info" : "warn", line, event);
        return;
      }
      case "mirrorStarted":
      case "mirrored":
      case "mirrorRepaired":
      case "mirrorUnknownRows":
      case "mirrorFailed":
      case "mirrorRecovered":
      case "mirrorState":
        recordMirror(event, metrics.mirror, log, paced, metrics.labelsOf);
        return;
      default:
        event satisfies never;
    }
  };
}

/** Other statuses than these do not hold requests back; one that comes all the same must not be a label of its own. */
function holdStatus(httpStatus: number): string {
  return [403, 418, 429].includes(httpStatus) ? String(httpStatus) : "other";
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}

function iso(timeMs: number): string {
  return new Date(timeMs).toISOString().replace(".000Z", "Z");
}
