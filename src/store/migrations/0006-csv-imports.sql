-- Which files were read into the table, and how far: a file that was read to its end is not read again until it changes,
-- one that was not is gone on with. Each part of a file is noted in the transaction that stores its candles.
create table csv_imports (
  file text primary key,
  fingerprint text not null,
  settings text not null,
  layout text not null,
  exchange text not null,
  symbol text not null,
  timeframe text not null,
  is_finished boolean not null,
  row_count bigint not null,
  stored_count bigint not null,
  revised_count bigint not null,
  identical_count bigint not null,
  superseded_count bigint not null,
  refused_count bigint not null,
  held_back_count bigint not null,
  progress text not null,
  started_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz not null default clock_timestamp()
);

comment on table csv_imports is 'Files that were imported: row_count = stored + revised + identical + superseded + refused + held back.';
comment on column csv_imports.fingerprint is 'Size, inode and times of change of the file: by it a changed file is told.';
comment on column csv_imports.settings is 'What the command said about the file.';
comment on column csv_imports.progress is 'Where reading goes on, as JSON.';

-- down
drop table csv_imports;
