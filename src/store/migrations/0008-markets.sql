-- What the exchange last said of each collected symbol, whole: served again to programs that ask as they would ask it.
create table markets (
  exchange text not null,
  symbol text not null,
  -- Not jsonb: the order of its parts stays as it was sent.
  listing json not null,
  changed_at timestamptz not null default clock_timestamp(),
  primary key (exchange, symbol)
);

comment on table markets is 'Symbols as the exchange lists them: status, assets, filters. One row for each collected symbol.';
comment on column markets.listing is 'The symbol''s entry in the exchange''s own list.';
comment on column markets.changed_at is 'When the entry was first seen as it is.';

-- down
drop table markets;
