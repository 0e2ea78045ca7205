/** What the start-up check demands of a table. */
export interface ExpectedTable {
  /** Types as `format_type` writes them; `!` = not null. */
  readonly columns: Readonly<Record<string, string>>;
  readonly primaryKey: readonly string[];
  /** Other columns that must be unique together. */
  readonly unique?: readonly string[];
  /** Names of its check constraints. */
  readonly checks?: readonly string[];
}

const VALUES = {
  trade_count: "integer!",
  open_time: "timestamp with time zone!",
  version: "bigint!",
  cut_ms: "numeric!",
  open: "numeric!",
  high: "numeric!",
  low: "numeric!",
  close: "numeric!",
  volume: "numeric!",
  quote_volume: "numeric!",
  taker_buy_volume: "numeric!",
  taker_buy_quote_volume: "numeric!",
};

/** The tables as the migrations leave them; a test compares the two. */
export const EXPECTED_TABLES: Readonly<Record<string, ExpectedTable>> = {
  series: {
    columns: { id: "integer!", exchange: "text!", symbol: "text!", timeframe: "text!" },
    primaryKey: ["id"],
    unique: ["exchange", "symbol", "timeframe"],
  },
  candles: {
    columns: { series_id: "integer!", ...VALUES },
    primaryKey: ["series_id", "open_time"],
    checks: ["candles_times", "candles_counts", "candles_prices", "candles_volumes"],
  },
  candle_revisions: {
    columns: {
      id: "bigint!",
      series_id: "integer!",
      ...VALUES,
      replaced_by: "bigint!",
      replaced_at: "timestamp with time zone!",
      replaced_in: "bigint!",
    },
    primaryKey: ["series_id", "open_time", "id"],
  },
  gaps: {
    columns: {
      id: "bigint!",
      series_id: "integer!",
      range_from: "timestamp with time zone!",
      range_to: "timestamp with time zone!",
      reason: "text!",
      state: "text!",
      empty_answers: "integer!",
      found_time: "timestamp with time zone!",
      first_asked_time: "timestamp with time zone",
      next_try_time: "timestamp with time zone!",
      filled_at: "timestamp with time zone",
    },
    primaryKey: ["id"],
  },
  quarantine: {
    columns: {
      series_id: "integer!",
      open_time: "text!",
      source: "text!",
      code: "text!",
      detail: "text!",
      payload: "text!",
      first_seen_at: "timestamp with time zone!",
      last_seen_at: "timestamp with time zone!",
      seen_count: "bigint!",
    },
    primaryKey: ["series_id", "open_time", "source", "code"],
  },
  exchange_bans: {
    columns: {
      exchange: "text!",
      until_time: "timestamp with time zone!",
      ends_at: "timestamp with time zone!",
      http_status: "integer!",
      noted_at: "timestamp with time zone!",
    },
    primaryKey: ["exchange"],
  },
  markets: {
    columns: {
      exchange: "text!",
      symbol: "text!",
      listing: "json!",
      changed_at: "timestamp with time zone!",
    },
    primaryKey: ["exchange", "symbol"],
  },
  ingestion_runs: {
    columns: {
      id: "integer!",
      host: "text!",
      pid: "integer!",
      mode: "text!",
      started_at: "timestamp with time zone!",
      heartbeat_at: "timestamp with time zone!",
      exchange_offset_ms: "bigint!",
      stopped_at: "timestamp with time zone",
    },
    primaryKey: ["id"],
  },
  ingestion_status: {
    columns: {
      series_id: "integer!",
      run_id: "integer",
      mode: "text",
      is_streamed: "boolean!",
      is_catching_up: "boolean!",
      latency_ms: "integer",
      wanted_from: "timestamp with time zone",
      next_open_time: "timestamp with time zone",
      newest_open_time: "timestamp with time zone",
      confirmed_to: "timestamp with time zone",
      problem_since: "timestamp with time zone",
      problem: "text",
      halted_status: "text",
    },
    primaryKey: ["series_id"],
  },
  csv_imports: {
    columns: {
      file: "text!",
      fingerprint: "text!",
      settings: "text!",
      layout: "text!",
      exchange: "text!",
      symbol: "text!",
      timeframe: "text!",
      is_finished: "boolean!",
      row_count: "bigint!",
      stored_count: "bigint!",
      revised_count: "bigint!",
      identical_count: "bigint!",
      superseded_count: "bigint!",
      refused_count: "bigint!",
      held_back_count: "bigint!",
      progress: "text!",
      started_at: "timestamp with time zone!",
      updated_at: "timestamp with time zone!",
    },
    primaryKey: ["file"],
  },
  candle_changes: {
    columns: {
      id: "bigint!",
      logged_at: "timestamp with time zone!",
      entry_count: "integer!",
      series_ids: "integer[]!",
      open_ms: "bigint[]!",
      end_ms: "bigint[]",
      revised: "boolean[]",
    },
    primaryKey: ["id"],
  },
};
