-- How far each series was read again by REST after it had settled.
alter table ingestion_status add column confirmed_to timestamptz;

comment on column ingestion_status.confirmed_to is 'Every stored candle that opens before this was confirmed by an archive or by settled REST.';

-- down
alter table ingestion_status drop column confirmed_to;
