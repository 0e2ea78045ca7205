-- What was written, for programs that follow it: one row a transaction, kept for a week.

-- An entry is one candle (end_ms null) or a stretch [open_ms, end_ms) of a series. Its place in the arrays, from 1, is its
-- number within the row. The arrays of what is rare are null when no entry has it.
create table candle_changes (
  id bigint generated always as identity primary key,
  logged_at timestamptz not null default clock_timestamp(),
  entry_count int not null,
  series_ids int[] not null,
  open_ms bigint[] not null,
  end_ms bigint[],
  revised boolean[]
);

comment on table candle_changes is 'Which candles each transaction stored or replaced, for a week. The row with the least id only says what is kept: all after it.';

insert into candle_changes (id, entry_count, series_ids, open_ms) overriding system value values (0, 0, '{}', '{}');

-- To be called last in a transaction that writes candles. Numbers are given before the commit, so a later one may be
-- visible earlier. Therefore each writer first locks the greatest number that it sees, in a name space of its own
-- (7310 * 2^48), and keeps that to its end: whoever reads a newest number first and these locks then knows that
-- up to the lesser of the two no row is to come. Nobody waits for anybody.
create function log_candle_changes(series_ids int[], open_ms bigint[], end_ms bigint[], revised boolean[]) returns void
  language plpgsql set search_path from current
  as $$
begin
  perform pg_advisory_xact_lock_shared((7310::bigint << 48) + coalesce(max(c.id), 0)) from candle_changes c;
  insert into candle_changes (entry_count, series_ids, open_ms, end_ms, revised)
    values (cardinality(series_ids), series_ids, open_ms, end_ms, revised);
  perform pg_notify('black_trade_candle_changes', '');
end
$$;

-- Forgets what is older than a week, but for the newest such row. Runs with its owner's rights: writers cannot delete.
create function prune_candle_changes() returns void
  language plpgsql security definer set search_path from current
  as $$
declare
  first_kept bigint := (
    select id from candle_changes where logged_at >= clock_timestamp() - interval '7 days' order by id limit 1
  );
begin
  delete from candle_changes where id in (
    select id from candle_changes
    where id < (select max(id) from candle_changes where first_kept is null or id < first_kept)
    order by id
    limit 50000
  );
end
$$;

-- It runs with rights that its caller lacks: a temporary table of the caller must not stand in for the real one.
do $$
begin
  execute format('alter function prune_candle_changes() set search_path = %s, pg_temp', current_setting('search_path'));
end
$$;

-- down
drop function prune_candle_changes();
drop function log_candle_changes(int[], bigint[], bigint[], boolean[]);
drop table candle_changes;
