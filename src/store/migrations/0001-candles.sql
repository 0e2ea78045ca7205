-- Candles, their replaced versions, and the view that users of the old system know.

-- Instants are epoch milliseconds UTC at every face and timestamptz inside. None of these functions looks at the
-- session's time zone; all but candle_time are immutable. A double holds the milliseconds of any year exactly after rounding.
create function candle_epoch_ms(instant timestamptz) returns bigint
  language sql immutable parallel safe
  as $$ select (date_part('epoch', instant at time zone 'UTC') * 1000)::bigint $$;

create function candle_time(epoch_ms bigint) returns timestamptz
  language sql stable parallel safe
  as $$ select timestamptz '1970-01-01 00:00:00+00' + epoch_ms * interval '1 millisecond' $$;

-- Length of a timeframe in ms; null for the calendar month.
create function candle_step_ms(timeframe text) returns bigint
  language sql immutable parallel safe
  as $$ select case timeframe
    when '1s' then 1000
    when '1m' then 60000
    when '3m' then 180000
    when '5m' then 300000
    when '15m' then 900000
    when '30m' then 1800000
    when '1h' then 3600000
    when '2h' then 7200000
    when '4h' then 14400000
    when '6h' then 21600000
    when '8h' then 28800000
    when '12h' then 43200000
    when '1d' then 86400000
    when '3d' then 259200000
    when '1w' then 604800000
  end::bigint $$;

-- A known open time: 3d candles open on 1970-01-02 and every third day, weeks on Monday.
create function candle_origin_ms(timeframe text) returns bigint
  language sql immutable parallel safe
  as $$ select case timeframe when '3d' then 86400000 when '1w' then 345600000 else 0 end::bigint $$;

-- The least open time of the grid that is later than open_ms; an off-grid open time belongs to the cell that holds it.
create function candle_next_open_ms(timeframe text, open_ms bigint) returns bigint
  language sql immutable parallel safe
  as $$ select case
    when timeframe = '1M' then
      (date_part(
        'epoch',
        date_trunc('month', timestamp '1970-01-01' + open_ms * interval '1 millisecond') + interval '1 month'
      ) * 1000)::bigint
    else
      open_ms + candle_step_ms(timeframe)
        - ((open_ms - candle_origin_ms(timeframe)) % candle_step_ms(timeframe) + candle_step_ms(timeframe))
          % candle_step_ms(timeframe)
  end $$;

create table series (
  id int generated always as identity primary key,
  exchange text not null check (exchange <> ''),
  symbol text not null check (symbol <> ''),
  timeframe text not null check (candle_step_ms(timeframe) is not null or timeframe = '1M'),
  unique (exchange, symbol, timeframe)
);

-- No foreign key and no second index: either would halve the speed of loading. Narrow columns first. Candles come in the
-- order of their key, so pages of the index need no room for later ones.
-- 1e20 bounds the 20 integer digits that are accepted; NaN and, from PostgreSQL 14 on, Infinity are greater than that.
create table candles (
  series_id int not null,
  trade_count int not null,
  open_time timestamptz not null,
  version bigint not null,
  cut_ms numeric not null default 0,
  open numeric not null,
  high numeric not null,
  low numeric not null,
  close numeric not null,
  volume numeric not null,
  quote_volume numeric not null,
  taker_buy_volume numeric not null,
  taker_buy_quote_volume numeric not null,
  primary key (series_id, open_time) with (fillfactor = 100),
  constraint candles_times check (isfinite(open_time) and cut_ms > -1e13 and cut_ms < 1e13),
  constraint candles_counts check (trade_count >= 0 and version > 0),
  constraint candles_prices check (
    low > 0 and high < 1e20 and open between low and high and close between low and high
  ),
  constraint candles_volumes check (
    volume >= 0 and volume < 1e20
    and quote_volume >= 0 and quote_volume < 1e20
    and taker_buy_volume >= 0 and taker_buy_volume < 1e20
    and taker_buy_quote_volume >= 0 and taker_buy_quote_volume < 1e20
  )
);

comment on table candles is 'Closed candles, each once. The view ohlcv_candles shows them with symbol and close time.';
comment on column candles.version is 'Authority of the source * 2^44 + exchange time (epoch ms) at which this version was seen. The greater one wins.';
comment on column candles.cut_ms is 'Regular close time minus the close time that the exchange served, ms. 0 unless a halt cut the candle.';

-- Every version that was replaced by one with other values.
create table candle_revisions (
  id bigint generated always as identity,
  series_id int not null,
  trade_count int not null,
  open_time timestamptz not null,
  version bigint not null,
  cut_ms numeric not null,
  open numeric not null,
  high numeric not null,
  low numeric not null,
  close numeric not null,
  volume numeric not null,
  quote_volume numeric not null,
  taker_buy_volume numeric not null,
  taker_buy_quote_volume numeric not null,
  replaced_by bigint not null,
  replaced_at timestamptz not null default clock_timestamp(),
  replaced_in bigint not null default txid_current(),
  primary key (series_id, open_time, id)
);

comment on column candle_revisions.replaced_by is 'Version that took its place.';
comment on column candle_revisions.replaced_in is 'Transaction that replaced it: tells a writer which of its rows were revisions.';

-- A trigger, so that no update can lose a version, not even one by hand.
create function keep_candle_revision() returns trigger
  language plpgsql set search_path from current
  as $$
begin
  insert into candle_revisions (
    series_id, trade_count, open_time, version, cut_ms, open, high, low, close,
    volume, quote_volume, taker_buy_volume, taker_buy_quote_volume, replaced_by
  ) values (
    old.series_id, old.trade_count, old.open_time, old.version, old.cut_ms, old.open, old.high, old.low, old.close,
    old.volume, old.quote_volume, old.taker_buy_volume, old.taker_buy_quote_volume, new.version
  );
  return null;
end
$$;

create trigger keep_candle_revision after update on candles for each row
  when (
    (old.series_id, old.open_time, old.trade_count, old.cut_ms, old.open, old.high, old.low, old.close,
     old.volume, old.quote_volume, old.taker_buy_volume, old.taker_buy_quote_volume)
    is distinct from
    (new.series_id, new.open_time, new.trade_count, new.cut_ms, new.open, new.high, new.low, new.close,
     new.volume, new.quote_volume, new.taker_buy_volume, new.taker_buy_quote_volume)
  )
  execute function keep_candle_revision();

create view ohlcv_candles as
  select
    s.symbol,
    s.timeframe,
    candle_epoch_ms(c.open_time) as "timestamp",
    c.open,
    c.high,
    c.low,
    c.close,
    c.volume,
    c.quote_volume,
    c.trade_count as trades,
    c.taker_buy_volume as taker_buy_base,
    c.taker_buy_quote_volume as taker_buy_quote,
    (candle_next_open_ms(s.timeframe, candle_epoch_ms(c.open_time)) - 1 - c.cut_ms)::bigint as close_time,
    s.exchange
  from candles c
  join series s on s.id = c.series_id;

comment on view ohlcv_candles is 'Closed candles. timestamp = open time, close_time = last millisecond, both epoch ms UTC.';

-- down
drop view ohlcv_candles;
drop table candles;
drop table candle_revisions;
drop table series;
drop function keep_candle_revision();
drop function candle_next_open_ms(text, bigint);
drop function candle_origin_ms(text);
drop function candle_step_ms(text);
drop function candle_time(bigint);
drop function candle_epoch_ms(timestamptz);
