-- Three users, each with no more rights than its work needs:
--
--   black_trade_migrator   makes and changes the tables, and owns them:   db migrate, down, compress, retain, rollup
--   black_trade_ingest     reads, inserts and updates; never deletes:     ingest, backfill, fill-gaps, import-csv, verify --repair
--   black_trade_reader     reads:                                         serve, status, verify, export, doctor, your own queries
--
-- As a superuser, in the database of black-trade, before or after its tables are there; may be run again at any time:
--
--   psql -d black_trade -v ON_ERROR_STOP=1 --single-transaction -f ops/postgres/roles.sql
--
-- It sets no passwords, so that none lies in a file or in the server's log. Then, in psql:
--
--   \password black_trade_migrator
--   \password black_trade_ingest
--   \password black_trade_reader

do $$
declare
  role_name text;
begin
  foreach role_name in array array['black_trade_migrator', 'black_trade_ingest', 'black_trade_reader'] loop
    if not exists (select from pg_roles where rolname = role_name) then
      execute format('create role %I login', role_name);
    end if;
    execute format('alter role %I nosuperuser nocreatedb nocreaterole noreplication nobypassrls', role_name);
    execute format('grant connect on database %I to %I', current_database(), role_name);
  end loop;
  -- Importing and filling gather rows in a temporary table first. To create is for TimescaleDB's extension.
  execute format('revoke temporary on database %I from public', current_database());
  execute format('grant temporary on database %I to black_trade_ingest', current_database());
  execute format('grant create, temporary on database %I to black_trade_migrator', current_database());
end
$$;

-- PostgreSQL before 15 lets everybody make tables.
revoke create on schema public from public;
grant usage on schema public to black_trade_ingest, black_trade_reader;
grant usage, create on schema public to black_trade_migrator;

-- What is there already gets the migrator as its owner; what belongs to an extension stays where it is.
do $$
declare
  thing record;
begin
  for thing in
    select c.oid::regclass::text as name,
      case
        -- An aggregate of TimescaleDB (db rollup) looks like a view, and is none to whoever alters it.
        when c.relkind = 'v' and c.relname ~ '^derived_candles_[0-9]+[smhdw]_data$' then 'materialized view'
        when c.relkind = 'v' then 'view'
        when c.relkind = 'S' then 'sequence'
        else 'table'
      end as kind
    from pg_class c
    where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v', 'S')
      and not exists (select from pg_depend d where d.objid = c.oid and d.deptype in ('e', 'a', 'i'))
    union all
    select p.oid::regprocedure::text, 'function' from pg_proc p
    where p.pronamespace = 'public'::regnamespace and p.prokind = 'f'
      and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')
  loop
    execute format('alter %s %s owner to black_trade_migrator', thing.kind, thing.name);
  end loop;
end
$$;

grant select, insert, update on all tables in schema public to black_trade_ingest;
grant select on all tables in schema public to black_trade_reader;
-- And on the tables of later migrations.
alter default privileges for role black_trade_migrator in schema public
  grant select, insert, update on tables to black_trade_ingest;
alter default privileges for role black_trade_migrator in schema public
  grant select on tables to black_trade_reader;
