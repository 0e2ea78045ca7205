import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "@prometheus-io/client";
import type { GapReason } from "../core/gaps.ts";
import { type Series, seriesKey } from "../core/series.ts";
import { type MirrorMetrics, mirrorMetrics } from "./mirror.ts";
import { RECONNECT_REASONS } from "./reconnect-reason.ts";

/**
 * The one table of metrics; `docs/reference/metrics.md` is compared with it. The first five keep the names and labels of
 * the system that is replaced.
 */
export interface Metrics {
  readonly registry: Registry;
  readonly candlesProcessed: Counter<"symbol" | "timeframe" | "mode">;
  readonly latency: Histogram<"symbol" | "timeframe">;
  readonly errors: Counter<"symbol" | "timeframe" | "error_type">;
  readonly status: Gauge<"symbol" | "timeframe" | "mode">;
  readonly queueSize: Gauge<"queue_name">;
  readonly closeToStored: Histogram<"timeframe">;
  readonly eventToStored: Histogram<"timeframe">;
  readonly outcomes: Counter<"outcome">;
  readonly revisions: Counter<"symbol" | "timeframe">;
  readonly received: Counter<"state">;
  readonly framesRefused: Counter;
  readonly writeDuration: Histogram;
  readonly batchSize: Histogram;
  readonly writeFailures: Counter<"code">;
  readonly connections: Gauge;
  readonly disconnects: Counter;
  readonly reconnects: Counter<"reason">;
  readonly connectFailures: Counter<"reason">;
  readonly rotations: Counter;
  readonly resubscriptions: Counter;
  readonly missedByStream: Counter;
  readonly confirmed: Counter;
  readonly gapCandles: Counter<"reason">;
  readonly gapsClosed: Counter<"outcome">;
  readonly requests: Counter<"path" | "status">;
  readonly requestDuration: Histogram<"path">;
  readonly archiveRequests: Counter<"file" | "status">;
  readonly archiveRequestDuration: Histogram<"file">;
  readonly archiveBytes: Counter;
  readonly weightUsed: Gauge;
  readonly holds: Counter<"status">;
  readonly clockOffset: Gauge;
  /** Set from stored facts at each scrape. */
  readonly state: StateGauges;
  readonly mirror: MirrorMetrics;
  /** Labels of a series: its own when it is configured, `other` for all else, so that no input grows their number. */
  readonly labelsOf: (series: Series) => { symbol: string; timeframe: string };
  /** The same for `latency`, which has a dozen samples a series: many series share `all`. */
  readonly latencyLabelsOf: (series: Series) => { symbol: string; timeframe: string };
}

/** Gauges of what stands in the database; see `stateSamples`. */
export interface StateGauges {
  readonly isKnown: Gauge;
  readonly status: Gauge<"symbol" | "timeframe" | "status">;
  readonly lag: Gauge<"symbol" | "timeframe">;
  readonly gapsOpen: Gauge<"symbol" | "timeframe">;
  readonly gapsConfirmed: Gauge<"symbol" | "timeframe">;
  readonly heartbeatAge: Gauge;
  readonly heldUntil: Gauge;
  readonly holdRemaining: Gauge;
}

/** The compiler keeps it whole. */
const GAP_REASONS = Object.keys({
  "not-fetched": 0,
  "exchange-had-none": 0,
  "before-listing": 0,
  "after-delisting": 0,
  rejected: 0,
  shed: 0,
  "unfinished-in-source": 0,
  "not-kept": 0,
} satisfies Record<GapReason, 0>);
const OUTCOMES = ["stored", "revised", "identical", "superseded", "quarantined", "shed"];
/** Series up to which each has a latency histogram of its own: 25,000 samples, which take a tenth of a second to write. */
const MAX_DETAILED_SERIES = 2_000;
/** Seconds from an event of the exchange to its commit: a few ms on a quiet machine, a minute when something is wrong. */
const FINE_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 5, 10, 30, 60];

/**
 * Registers every metric on a registry of its own. What can be counted is there with a zero from the start, so that a
 * rate or an alert has something to compare the first increase with.
 * @param series the configured ones, which alone become labels
 */
export function createMetrics(
  version: string,
  series: readonly Series[] = [],
  mode = "websocket",
): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const make = makers(registry);
  make
    .gauge("black_trade_build_info", "1, with the version in its label", ["version", "node"])
    .set({ version, node: process.version }, 1);
  const metrics = { registry, ...ingestionMetrics(make), ...exchangeMetrics(make) };
  const known = new Set(series.map(seriesKey));
  const labelsOf = (one: Series): { symbol: string; timeframe: string } =>
    known.has(seriesKey(one))
      ? { symbol: one.symbol, timeframe: one.timeframe }
      : { symbol: "other", timeframe: "other" };
  const latencyLabelsOf = (one: Series): { symbol: string; timeframe: string } =>
    series.length <= MAX_DETAILED_SERIES ? labelsOf(one) : { ...labelsOf(one), symbol: "all" };
  const all = {
    ...{ ...metrics, state: stateGauges(make), mirror: mirrorMetrics(make) },
    ...{ labelsOf, latencyLabelsOf },
  };
  beginAtZero(all, series, mode);
  return all;
}

type Makers = ReturnType<typeof makers>;

function makers(registry: Registry) {
  const registers = [registry];
  return {
    counter: <L extends string>(name: string, help: string, labelNames: L[] = []) =>
      new Counter<L>({ name, help, labelNames, registers }),
    gauge: <L extends string>(name: string, help: string, labelNames: L[] = []) =>
      new Gauge<L>({ name, help, labelNames, registers }),
    histogram: <L extends string>(
      name: string,
      help: string,
      buckets: number[],
      labelNames: L[] = [],
    ) => new Histogram<L>({ name, help, labelNames, buckets, registers }),
  };
}

function ingestionMetrics({ counter, gauge, histogram }: Makers) {
  return {
    candlesProcessed: counter(
      "ingestion_candles_processed_total",
      "Closed candles that became a new row or replaced one",
      ["symbol", "timeframe", "mode"],
    ),
    latency: histogram(
      "ingestion_latency_seconds",
      "Close of a candle to its commit, for candles that came at their close, by series; with more than 2,000 series their symbol is `all`",
      [0.1, 0.5, 1, 2, 5, 10, 30, 60],
      ["symbol", "timeframe"],
    ),
    errors: counter(
      "ingestion_errors_total",
      "Faults by kind; each is tried again by itself. Faults of no single series have empty labels",
      ["symbol", "timeframe", "error_type"],
    ),
    status: gauge(
      "ingestion_status",
      "1 while the series is active, 0 otherwise; computed from stored facts at each scrape",
      ["symbol", "timeframe", "mode"],
    ),
    queueSize: gauge("ingestion_queue_size", "Closed candles that wait for the database", [
      "queue_name",
    ]),
    closeToStored: histogram(
      "ingestion_close_to_stored_seconds",
      "Close of a candle to its commit, for candles that came at their close, in fine steps",
      FINE_BUCKETS,
      ["timeframe"],
    ),
    eventToStored: histogram(
      "ingestion_event_to_stored_seconds",
      "Time stamp of the exchange's closing event to the commit, for candles of the stream: without the exchange's own delay",
      FINE_BUCKETS,
      ["timeframe"],
    ),
    outcomes: counter(
      "ingestion_candle_outcomes_total",
      `What became of closed candles: ${OUTCOMES.join(", ")}`,
      ["outcome"],
    ),
    revisions: counter(
      "ingestion_revisions_total",
      "Stored candles that a newer or higher version with other values replaced; the old one is kept",
      ["symbol", "timeframe"],
    ),
    received: counter(
      "ingestion_stream_candles_total",
      "Candles that the stream brought, closed and forming",
      ["state"],
    ),
    framesRefused: counter(
      "ingestion_stream_frames_refused_total",
      "Frames that could not be read",
    ),
    writeDuration: histogram(
      "ingestion_write_seconds",
      "Database batch: begin to commit, repeats included",
      [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30],
    ),
    batchSize: histogram(
      "ingestion_write_batch_candles",
      "Candles of one database batch",
      [1, 2, 5, 10, 50, 100, 500, 1_000, 5_000],
    ),
    writeFailures: counter(
      "ingestion_write_failures_total",
      "Writes that the database did not take and that were repeated",
      ["code"],
    ),
    missedByStream: counter(
      "ingestion_missed_by_stream_total",
      "Closed candles that REST had and the stream did not bring in time",
    ),
    confirmed: counter(
      "ingestion_confirmed_candles_total",
      'Candles read again by REST after they had settled; differences are outcomes "revised"',
    ),
    gapCandles: counter(
      "ingestion_gap_candles_total",
      "Missing candles entered into the gap ledger, by reason",
      ["reason"],
    ),
    gapsClosed: counter("ingestion_gaps_closed_total", "Gaps that were filled or confirmed", [
      "outcome",
    ]),
  };
}

function exchangeMetrics({ counter, gauge, histogram }: Makers) {
  return {
    connections: gauge("ingestion_stream_connections", "WebSocket connections that carry series"),
    disconnects: counter(
      "ingestion_stream_disconnects_total",
      "Connections lost; rotations are not counted",
    ),
    reconnects: counter(
      "ingestion_stream_reconnects_total",
      `Connections that had to be made anew, by reason: ${RECONNECT_REASONS.join(", ")}`,
      ["reason"],
    ),
    connectFailures: counter(
      "ingestion_stream_connect_failures_total",
      "Attempts to connect or subscribe that failed, by the same reasons",
      ["reason"],
    ),
    rotations: counter(
      "ingestion_stream_rotations_total",
      "Connections replaced before they ended",
    ),
    resubscriptions: counter(
      "ingestion_stream_resubscriptions_total",
      "Series subscribed anew because their stream was silent",
    ),
    requests: counter("exchange_requests_total", "REST requests by path and HTTP status", [
      "path",
      "status",
    ]),
    requestDuration: histogram(
      "exchange_request_seconds",
      "REST requests, sent to answered",
      [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
      ["path"],
    ),
    archiveRequests: counter(
      "exchange_archive_requests_total",
      "Requests to the archive's host, which have no weight, by kind of file and HTTP status; status 0 = no answer",
      ["file", "status"],
    ),
    archiveRequestDuration: histogram(
      "exchange_archive_request_seconds",
      "Files of the archive, asked for to last byte",
      [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120, 600],
      ["file"],
    ),
    archiveBytes: counter(
      "exchange_archive_received_bytes_total",
      "Bytes of archive files and checksums that came",
    ),
    weightUsed: gauge(
      "exchange_request_weight_used",
      "Request weight of the current minute as the exchange counts it, at the last request",
    ),
    holds: counter(
      "exchange_holds_total",
      "Times that the exchange refused requests until an instant, by HTTP status (429, 418, 403)",
      ["status"],
    ),
    clockOffset: gauge(
      "exchange_clock_offset_seconds",
      "Exchange time minus the clock of this machine",
    ),
  };
}

function stateGauges({ gauge }: Makers): StateGauges {
  return {
    isKnown: gauge(
      "ingestion_status_known",
      "1 while the database answers, so that the gauges of state say something; 0 otherwise",
    ),
    status: gauge(
      "ingestion_series_status",
      "1 for the status that each series has; the others are absent",
      ["symbol", "timeframe", "status"],
    ),
    lag: gauge(
      "ingestion_lag_seconds",
      "Now minus the close of the newest stored candle; up to one timeframe is as it should be",
      ["symbol", "timeframe"],
    ),
    gapsOpen: gauge(
      "ingestion_gaps_open",
      "Stretches of missing candles that are still asked for",
      ["symbol", "timeframe"],
    ),
    gapsConfirmed: gauge(
      "ingestion_gaps_confirmed",
      "Stretches of missing candles that are explained: the exchange has none",
      ["symbol", "timeframe"],
    ),
    heartbeatAge: gauge(
      "ingestion_heartbeat_age_seconds",
      "Time since the ingester of this database gave a sign of life",
    ),
    heldUntil: gauge(
      "exchange_held_until_timestamp_seconds",
      "End of the stored hold (429, 418, 403) by the exchange; 0 = none",
    ),
    holdRemaining: gauge(
      "exchange_hold_remaining_seconds",
      "How long the exchange goes on refusing requests; 0 = it does not",
    ),
  };
}

function beginAtZero(metrics: Metrics, series: readonly Series[], mode: string): void {
  for (const outcome of OUTCOMES) metrics.outcomes.inc({ outcome }, 0);
  for (const state of ["closed", "forming"]) metrics.received.inc({ state }, 0);
  for (const outcome of ["filled", "confirmed"]) metrics.gapsClosed.inc({ outcome }, 0);
  for (const status of ["403", "418", "429"]) metrics.holds.inc({ status }, 0);
  for (const code of ["E_DB_FAILED", "E_DB_UNREACHABLE"]) metrics.writeFailures.inc({ code }, 0);
  for (const reason of GAP_REASONS) metrics.gapCandles.inc({ reason }, 0);
  for (const reason of RECONNECT_REASONS) {
    metrics.reconnects.inc({ reason }, 0);
    metrics.connectFailures.inc({ reason }, 0);
  }
  metrics.queueSize.set({ queue_name: "candles" }, 0);
  for (const { symbol, timeframe } of series) {
    metrics.candlesProcessed.inc({ symbol, timeframe, mode }, 0);
    metrics.revisions.inc({ symbol, timeframe }, 0);
  }
}
