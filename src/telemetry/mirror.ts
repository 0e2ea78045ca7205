import type { Counter, Gauge } from "@prometheus-io/client";
import type { Logger } from "pino";
import type { MirrorEvent } from "../core/mirror-events.ts";
import { seriesLabel } from "../core/series.ts";

/** Metrics of the CSV mirror; without `CSV_MIRROR_DIR` they stay 0. */
export interface MirrorMetrics {
  readonly rows: Counter;
  readonly rewrites: Counter;
  readonly repairs: Counter;
  readonly failures: Counter<"code">;
  readonly pending: Gauge;
  readonly behind: Gauge;
  readonly unknownRows: Gauge<"symbol" | "timeframe">;
}

/** Makes them with the makers of the table of metrics. */
export function mirrorMetrics(make: {
  counter: <L extends string>(name: string, help: string, labelNames?: L[]) => Counter<L>;
  gauge: <L extends string>(name: string, help: string, labelNames?: L[]) => Gauge<L>;
}): MirrorMetrics {
  return {
    rows: make.counter("csv_mirror_rows_appended_total", "Rows appended to files of the mirror"),
    rewrites: make.counter(
      "csv_mirror_rewrites_total",
      "Files that were replaced by a new one because of late or corrected candles, or others' edits",
    ),
    repairs: make.counter(
      "csv_mirror_repairs_total",
      "Files that others had changed and that were put right",
    ),
    failures: make.counter(
      "csv_mirror_failures_total",
      "Failed tries to keep a file; each is tried again by itself",
      ["code"],
    ),
    pending: make.gauge("csv_mirror_pending_files", "Files that are not in step with the database"),
    behind: make.gauge(
      "csv_mirror_behind_seconds",
      "How long the file that waits longest has been waiting; 0 = all in step",
    ),
    unknownRows: make.gauge(
      "csv_mirror_unknown_rows",
      "Rows of a file that the database does not have; they are kept",
      ["symbol", "timeframe"],
    ),
  };
}

/** Counts and logs what happens to the mirror. @param paced writes a line unless one of its kind was written a moment ago */
export function recordMirror(
  event: MirrorEvent,
  metrics: MirrorMetrics,
  log: Pick<Logger, "info">,
  paced: (kind: string, level: "info" | "warn", line: string, facts: object) => void,
  labelsOf: (series: Extract<MirrorEvent, { readonly kind: "mirrored" }>["series"]) => {
    symbol: string;
    timeframe: string;
  },
): void {
  switch (event.kind) {
    case "mirrorStarted":
      log.info(event, `CSV mirror: ${event.fileCount} series in ${event.folder}.`);
      return;
    case "mirrored":
      if (event.how === "appended") metrics.rows.inc(event.rowCount);
      else metrics.rewrites.inc();
      return;
    case "mirrorRepaired": {
      metrics.repairs.inc();
      const kept = event.setAsidePath;
      const end = kept === undefined ? "" : `; as it was it is kept in ${kept}`;
      paced(
        `mirrorRepaired ${event.file}`,
        "warn",
        `${event.file} of the CSV mirror was not as the database (${event.edit}); now it is${end}.`,
        event,
      );
      return;
    }
    case "mirrorUnknownRows": {
      metrics.unknownRows.set(labelsOf(event.series), event.rowCount);
      const line =
        event.rowCount === 0
          ? `${event.file} of the CSV mirror: the database has all its candles now.`
          : `${event.file} of the CSV mirror has ${event.rowCount} candle(s) that the database does not have; they are kept. Import the file if that was not done; what import-csv held back comes with fill-gaps.`;
      paced(
        `mirrorUnknownRows ${seriesLabel(event.series)}`,
        event.rowCount === 0 ? "info" : "warn",
        line,
        event,
      );
      return;
    }
    case "mirrorFailed":
      metrics.failures.inc({ code: event.code });
      paced(
        `mirrorFailed ${event.code}`,
        "warn",
        `${event.what}: ${event.reason}. Ingestion goes on; next try in ${(event.retryMs / 1_000).toFixed(1)} s.`,
        event,
      );
      return;
    case "mirrorRecovered":
      paced("mirrorRecovered", "info", `${event.file} of the CSV mirror is kept again.`, event);
      return;
    case "mirrorState":
      metrics.pending.set(event.pendingCount);
      metrics.behind.set(event.behindMs / 1_000);
      return;
    default:
      event satisfies never;
  }
}
