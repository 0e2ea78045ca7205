/**
 * Advisory locks, each scoped to one database. The numbers are arbitrary; they must only never change, as programs of
 * two versions have to meet at the same lock.
 */

/** Held while the schema is changed. */
export const MIGRATION_LOCK = 7_310_446_921;
/** Held by the one ingester of a database for as long as it runs. */
export const INGEST_LOCK = 7_310_446_922;
/** Held while a derived timeframe is made or dropped. */
export const ROLLUP_LOCK = 7_310_446_923;
/** Held while the policy of compression is changed. */
export const COMPRESSION_LOCK = 7_310_446_924;
