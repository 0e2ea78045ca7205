import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "@prometheus-io/client";

/** The one table of metrics. The first five keep the names and labels of the system that is replaced. */
export interface Metrics {
  readonly registry: Registry;
  readonly candlesProcessed: Counter<"symbol" | "timeframe" | "mode">;
  readonly latency: Histogram<"symbol" | "timeframe">;
  readonly errors: Counter<"symbol" | "timeframe" | "error_type">;
  readonly status: Gauge<"symbol" | "timeframe" | "mode">;
  readonly queueSize: Gauge<"queue_name">;
  readonly outcomes: Counter<"outcome">;
  readonly received: Counter<"state">;
  readonly framesRefused: Counter;
  readonly writeDuration: Histogram;
  readonly writeFailures: Counter<"code">;
  readonly connections: Gauge;
  readonly disconnects: Counter;
  readonly rotations: Counter;
  readonly resubscriptions: Counter;
  readonly missedByStream: Counter;
  readonly confirmed: Counter;
  readonly gapCandles: Counter<"reason">;
  readonly gapsClosed: Counter<"outcome">;
  readonly requests: Counter<"path" | "status">;
  readonly requestDuration: Histogram<"path">;
  readonly weightUsed: Gauge;
  readonly heldUntil: Gauge;
  readonly clockOffset: Gauge;
}

/** Registers every metric on a registry of its own. */
export function createMetrics(version: string): Metrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  new Gauge({
    name: "black_trade_build_info",
    help: "1, with the version in its label",
    labelNames: ["version", "node"],
    registers,
  }).set({ version, node: process.version }, 1);
  return {
    registry,
    candlesProcessed: new Counter({
      name: "ingestion_candles_processed_total",
      help: "Closed candles that became a new row or replaced one",
      labelNames: ["symbol", "timeframe", "mode"],
      registers,
    }),
    latency: new Histogram({
      name: "ingestion_latency_seconds",
      help: "Close of a candle to its commit, for candles that came at their close",
      labelNames: ["symbol", "timeframe"],
      buckets: [0.1, 0.5, 1, 2, 5, 10, 30, 60],
      registers,
    }),
    errors: new Counter({
      name: "ingestion_errors_total",
      help: "Faults by kind; each is tried again by itself",
      labelNames: ["symbol", "timeframe", "error_type"],
      registers,
    }),
    status: new Gauge({
      name: "ingestion_status",
      help: "1 while the series is active, 0 otherwise; computed from stored facts at each scrape",
      labelNames: ["symbol", "timeframe", "mode"],
      registers,
    }),
    queueSize: new Gauge({
      name: "ingestion_queue_size",
      help: "Closed candles that wait for the database",
      labelNames: ["queue_name"],
      registers,
    }),
    outcomes: new Counter({
      name: "ingestion_candle_outcomes_total",
      help: "What became of closed candles: stored, revised, identical, superseded, quarantined, shed",
      labelNames: ["outcome"],
      registers,
    }),
    received: new Counter({
      name: "ingestion_stream_candles_total",
      help: "Candles that the stream brought, closed and forming",
      labelNames: ["state"],
      registers,
    }),
    framesRefused: new Counter({
      name: "ingestion_stream_frames_refused_total",
      help: "Frames that could not be read",
      registers,
    }),
    writeDuration: new Histogram({
      name: "ingestion_write_seconds",
      help: "One batch: begin to commit, repeats included",
      buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30],
      registers,
    }),
    writeFailures: new Counter({
      name: "ingestion_write_failures_total",
      help: "Writes that the database did not take and that were repeated",
      labelNames: ["code"],
      registers,
    }),
    connections: new Gauge({
      name: "ingestion_stream_connections",
      help: "WebSocket connections that carry series",
      registers,
    }),
    disconnects: new Counter({
      name: "ingestion_stream_disconnects_total",
      help: "Connections lost; rotations are not counted",
      registers,
    }),
    rotations: new Counter({
      name: "ingestion_stream_rotations_total",
      help: "Connections replaced before they ended",
      registers,
    }),
    resubscriptions: new Counter({
      name: "ingestion_stream_resubscriptions_total",
      help: "Series subscribed anew because their stream was silent",
      registers,
    }),
    missedByStream: new Counter({
      name: "ingestion_missed_by_stream_total",
      help: "Closed candles that REST had and the stream did not bring in time",
      registers,
    }),
    confirmed: new Counter({
      name: "ingestion_confirmed_candles_total",
      help: 'Candles read again by REST after they had settled; differences are outcomes "revised"',
      registers,
    }),
    gapCandles: new Counter({
      name: "ingestion_gap_candles_total",
      help: "Missing candles entered into the gap ledger, by reason",
      labelNames: ["reason"],
      registers,
    }),
    gapsClosed: new Counter({
      name: "ingestion_gaps_closed_total",
      help: "Gaps that were filled or confirmed",
      labelNames: ["outcome"],
      registers,
    }),
    requests: new Counter({
      name: "exchange_requests_total",
      help: "REST requests by path and HTTP status; status 0 = no answer",
      labelNames: ["path", "status"],
      registers,
    }),
    requestDuration: new Histogram({
      name: "exchange_request_seconds",
      help: "REST requests, sent to answered",
      labelNames: ["path"],
      buckets: [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
      registers,
    }),
    weightUsed: new Gauge({
      name: "exchange_request_weight_used",
      help: "Request weight of the current minute as the exchange counts it",
      registers,
    }),
    heldUntil: new Gauge({
      name: "exchange_held_until_timestamp_seconds",
      help: "End of the last hold (429, 418, 403) by the exchange; 0 = none",
      registers,
    }),
    clockOffset: new Gauge({
      name: "exchange_clock_offset_seconds",
      help: "Exchange time minus the clock of this machine",
      registers,
    }),
  };
}
