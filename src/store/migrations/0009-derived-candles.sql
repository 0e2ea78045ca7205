-- Derived timeframes, which the exchange does not have, are views made on demand; see store/rollups.ts. Here is what they
-- are made of: the open time of the cell of a grid that holds an instant, epoch ms.
create function derived_open_ms(instant timestamptz, step_ms bigint, origin_ms bigint) returns bigint
  language sql immutable parallel safe
  as $$ select floor((candle_epoch_ms(instant) - origin_ms)::numeric / step_ms)::bigint * step_ms + origin_ms $$;

comment on function derived_open_ms(timestamptz, bigint, bigint) is 'Open time of the derived candle that holds an instant.';

-- down
-- Every derived timeframe goes with it; they are made of candles and can be made again. Aggregates of TimescaleDB look like
-- views here, and lie below the views of the same name.
do $$
declare
  found record;
begin
  for found in
    select c.oid::regclass::text as name, c.relname ~ '_data$' as is_aggregate
    from pg_class c
    where c.relnamespace = current_schema()::regnamespace and c.relkind = 'v'
      and c.relname ~ '^derived_candles_[0-9]+[smhdw](_data)?$'
    order by 2
  loop
    execute format('drop %s %s', case when found.is_aggregate then 'materialized view' else 'view' end, found.name);
  end loop;
end
$$;
drop function derived_open_ms(timestamptz, bigint, bigint);
