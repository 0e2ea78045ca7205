-- requires: timescaledb
-- Candles in chunks of 90 days. One table holds 1m and 1d, so short chunks would be many.
select create_hypertable(
  'candles',
  'open_time',
  chunk_time_interval => interval '90 days',
  create_default_indexes => false,
  migrate_data => true,
  if_not_exists => true
);

-- down
-- Back to a plain table with the same rows; the view and the trigger hang on the table and are laid anew.
drop view ohlcv_candles;
create table plain_candles (like candles including all);
insert into plain_candles select * from candles;
drop table candles;
alter table plain_candles rename to candles;
alter table candles rename constraint plain_candles_pkey to candles_pkey;

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

comment on table candles is 'Closed candles, each once. The view ohlcv_candles shows them with symbol and close time.';
comment on view ohlcv_candles is 'Closed candles. timestamp = open time, close_time = last millisecond, both epoch ms UTC.';
