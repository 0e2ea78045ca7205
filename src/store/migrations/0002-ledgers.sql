-- What is missing, what was refused, and what the exchange forbids.

-- Stretches of missing candles, half-open, edges on the grid. The entries of a series that are not filled never overlap:
-- they are written under a lock on the row in series. Times are exchange time, but for filled_at.
create table gaps (
  id bigint generated always as identity primary key,
  series_id int not null,
  range_from timestamptz not null,
  range_to timestamptz not null,
  reason text not null,
  state text not null check (state in ('open', 'confirmed', 'filled')),
  empty_answers int not null,
  found_time timestamptz not null,
  first_asked_time timestamptz,
  next_try_time timestamptz not null,
  filled_at timestamptz,
  check (range_from < range_to)
);

create unique index gaps_unfilled on gaps (series_id, range_from) where state <> 'filled';
create index gaps_due on gaps (next_try_time) where state <> 'filled';

comment on table gaps is 'Every candle that is missing, why, and when it is asked for again. Filled entries stay as history.';

-- Refused candles. open_time is text: what was refused may be no time at all.
create table quarantine (
  series_id int not null,
  open_time text not null,
  source text not null,
  code text not null,
  detail text not null,
  payload text not null,
  first_seen_at timestamptz not null default clock_timestamp(),
  last_seen_at timestamptz not null default clock_timestamp(),
  seen_count bigint not null default 1,
  primary key (series_id, open_time, source, code)
);

comment on table quarantine is 'Candles that were refused, with the reason. open_time is epoch ms as served.';
comment on column quarantine.payload is 'The candle as JSON, cut to a bounded length.';

-- Until when an exchange forbids requests from this address: by its own time, and by the clock of the database.
create table exchange_bans (
  exchange text primary key,
  until_time timestamptz not null,
  ends_at timestamptz not null,
  http_status int not null,
  noted_at timestamptz not null default clock_timestamp()
);

-- down
drop table exchange_bans;
drop table quarantine;
drop table gaps;
