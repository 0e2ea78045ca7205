-- Facts from which any process computes how ingestion goes.

-- One row for each run of the ingester; the one with the greatest id is the current or last.
create table ingestion_runs (
  id int generated always as identity primary key,
  host text not null,
  pid int not null,
  mode text not null,
  started_at timestamptz not null,
  heartbeat_at timestamptz not null,
  exchange_offset_ms bigint not null,
  stopped_at timestamptz
);

comment on column ingestion_runs.heartbeat_at is 'Last sign of life, by the clock of the database.';
comment on column ingestion_runs.exchange_offset_ms is 'Exchange time minus the clock of the database at the last sign of life.';

-- Updated in place at every close: room in the page keeps such updates out of the index.
create table ingestion_status (
  series_id int primary key,
  run_id int,
  mode text,
  is_streamed boolean not null default false,
  is_catching_up boolean not null default false,
  latency_ms int,
  wanted_from timestamptz,
  next_open_time timestamptz,
  newest_open_time timestamptz,
  problem_since timestamptz,
  problem text,
  halted_status text
) with (fillfactor = 60);

comment on column ingestion_status.run_id is 'Last run that was configured to ingest the series.';
comment on column ingestion_status.next_open_time is 'Every candle from wanted_from up to here is stored or in the gap ledger.';
comment on column ingestion_status.latency_ms is 'Close to stored of the newest candle that came at its close.';
comment on column ingestion_status.problem_since is 'Exchange time.';

-- down
drop table ingestion_status;
drop table ingestion_runs;
