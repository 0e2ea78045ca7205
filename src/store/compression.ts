import { BlackTradeError } from "../core/errors.ts";
import type { TimeRange } from "../core/range.ts";
import type { Database, Executor } from "./database.ts";
import { isContention, isGone, sqlStateOf } from "./db-errors.ts";
import { COMPRESSION_LOCK } from "./locks.ts";
import { refuseNonOwner } from "./ownership.ts";
import { inspectTimescale, timescaleObstacle } from "./timescale.ts";

/** What is known of compression in a database. */
export interface CompressionFacts {
  /** Why candles cannot be compressed here, one line; absent when they can. */
  readonly obstacle?: string;
  /** The policy compresses chunks that ended this long ago, ms; absent when there is no policy. */
  readonly afterMs?: number;
  readonly chunkCount: number;
  readonly compressedCount: number;
  /** Bytes of the compressed chunks with their indexes, as they were before. */
  readonly uncompressedBytes: number;
  /** Bytes of the same chunks when they had been compressed. */
  readonly compressedBytes: number;
  /** Bytes of all candles, indexes included. */
  readonly totalBytes: number;
}

/** One chunk that was compressed. */
export interface CompressedChunk {
  readonly range: TimeRange;
  readonly beforeBytes: number;
  readonly afterBytes: number;
}

/** What a pass did. */
export interface CompressionSummary {
  readonly chunks: readonly CompressedChunk[];
  /** Chunks that somebody else held; the policy comes to them. */
  readonly busyCount: number;
}

/** Told before each chunk: its number from 0, of how many, and the instants that it spans. */
export type OnChunk = (done: number, total: number, range: TimeRange) => void;

interface Chunk extends TimeRange {
  /** Quoted, with its schema. */
  readonly name: string;
  readonly isCompressed: boolean;
}

/** Compressing 50 million rows takes some two minutes on a slow disk. */
const DEADLINE_MS = 60 * 60_000;
/** `duplicate_object`. */
const ALREADY_COMPRESSED = "42710";
/** Whoever writes into the chunk waits behind a lock that is waited for. */
const LOCK_TIMEOUT = "set local lock_timeout = '3s'";

const LAYOUT = `
  alter table candles set (
    timescaledb.compress, timescaledb.compress_segmentby = 'series_id', timescaledb.compress_orderby = 'open_time'
  )`;

const POLICY = `
  from timescaledb_information.jobs
  where hypertable_schema = current_schema() and hypertable_name = 'candles'
    and proc_name = 'policy_compression'`;

const CHUNKS = `
  select
    format('%I.%I', chunk_schema, chunk_name) as name,
    candle_epoch_ms(range_start) as "from", candle_epoch_ms(range_end) as "to", is_compressed as "isCompressed"
  from timescaledb_information.chunks
  where hypertable_schema = current_schema() and hypertable_name = 'candles'
    and range_end <= clock_timestamp() - $1::bigint * interval '1 millisecond'
  order by range_start`;

const FACTS = `
  select
    (select (extract(epoch from (config ->> 'compress_after')::interval) * 1000)::bigint ${POLICY}) as "afterMs",
    (
      select count(*) from timescaledb_information.chunks
      where hypertable_schema = current_schema() and hypertable_name = 'candles'
    ) as "chunkCount",
    count(*) filter (where compression_status = 'Compressed') as "compressedCount",
    coalesce(sum(before_compression_total_bytes), 0)::bigint as "uncompressedBytes",
    coalesce(sum(after_compression_total_bytes), 0)::bigint as "compressedBytes",
    hypertable_size('candles') as "totalBytes"
  from chunk_compression_stats('candles')`;

/**
 * Compression of candles in the columnstore of TimescaleDB: a chunk whose candles have settled becomes columns of one
 * series each. Rows in it are read and written as before, only slower.
 */
export class Compression {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** @throws {BlackTradeError} E_DB_* */
  async facts(): Promise<CompressionFacts> {
    const obstacle = await columnstoreObstacle(this.#database);
    if (obstacle !== undefined) {
      const [row] = await this.#database.run<{ totalBytes: number }>({
        // Chunks are children of the table.
        text: `
          select
            pg_total_relation_size('candles') + coalesce((
              select sum(pg_total_relation_size(inhrelid)) from pg_inherits where inhparent = 'candles'::regclass
            ), 0)::bigint as "totalBytes"`,
      });
      const none = { chunkCount: 0, compressedCount: 0, uncompressedBytes: 0, compressedBytes: 0 };
      return { obstacle, ...none, totalBytes: row?.totalBytes ?? 0 };
    }
    const [row] = await this.#database.run<
      Omit<CompressionFacts, "obstacle" | "afterMs"> & { readonly afterMs: number | null }
    >({ text: FACTS });
    if (row === undefined) throw new Error("an aggregate gave no row");
    const { afterMs, ...rest } = row;
    return { ...rest, ...(afterMs === null ? {} : { afterMs }) };
  }

  /**
   * Sets the policy, and compresses at once what is due. May be repeated and stopped: a chunk is compressed or is not.
   * @param afterMs how long ago a chunk must have ended
   * @throws {BlackTradeError} E_DB_FEATURE where the server cannot, E_DB_RIGHT, other E_DB_*
   */
  async compress(
    afterMs: number,
    signal: AbortSignal,
    onChunk: OnChunk = () => undefined,
  ): Promise<CompressionSummary> {
    await this.#refuseObstacle();
    await refuseNonOwner(this.#database, "compress candles");
    await this.#alone(async (tx) => {
      if (!(await hasLayout(tx))) await tx.run({ text: LAYOUT });
      await tx.run({ text: "select remove_compression_policy('candles', if_exists => true)" });
      await tx.run({
        // Not at once: it would stand in the way of what is done here.
        text: `
          select add_compression_policy('candles', compress_after => $1::bigint * interval '1 millisecond',
            initial_start => clock_timestamp() + interval '1 hour')`,
        values: [afterMs],
      });
    });
    const due = await this.#database.run<Chunk>({ text: CHUNKS, values: [afterMs] });
    const chunks: CompressedChunk[] = [];
    let busyCount = 0;
    for (const [index, chunk] of due.entries()) {
      signal.throwIfAborted();
      const { from, to } = chunk;
      onChunk(index, due.length, { from, to });
      const sizes = await this.#compressChunk(chunk);
      if (sizes === "busy") busyCount += 1;
      else if (sizes !== "done" && !chunk.isCompressed)
        chunks.push({ range: { from, to }, ...sizes });
    }
    return { chunks, busyCount };
  }

  /** Takes the policy away; what is compressed stays so. @returns true when there was one */
  async stop(): Promise<boolean> {
    if ((await columnstoreObstacle(this.#database)) !== undefined) return false;
    await refuseNonOwner(this.#database, "change how candles are compressed");
    return this.#alone(async (tx) => {
      const policies = await tx.run({ text: `select 1 ${POLICY}` });
      await tx.run({ text: "select remove_compression_policy('candles', if_exists => true)" });
      return policies.length > 0;
    });
  }

  /** In a transaction, after those of others who change the policy now. */
  #alone<T>(work: (tx: Executor) => Promise<T>): Promise<T> {
    return this.#database.transaction(async (tx) => {
      await tx.run({ text: `select pg_advisory_xact_lock(${COMPRESSION_LOCK})` });
      return work(tx);
    });
  }

  /**
   * Rows that came into a compressed chunk later are compressed with it.
   * @returns `busy` when it is in use, `done` when somebody else has compressed or dropped it since it was listed
   */
  async #compressChunk({
    name,
  }: Chunk): Promise<Pick<CompressedChunk, "beforeBytes" | "afterBytes"> | "busy" | "done"> {
    try {
      return await this.#database.transaction(async (tx) => {
        await tx.run({ text: LOCK_TIMEOUT });
        await tx.run({ text: "select compress_chunk($1::regclass, true)", values: [name] });
        const [sizes] = await tx.run<{ beforeBytes: number; afterBytes: number }>({
          text: `
            select
              before_compression_total_bytes as "beforeBytes", after_compression_total_bytes as "afterBytes"
            from chunk_compression_stats('candles')
            where format('%I.%I', chunk_schema, chunk_name) = $1`,
          values: [name],
        });
        return sizes ?? { beforeBytes: 0, afterBytes: 0 };
      }, DEADLINE_MS);
    } catch (error) {
      if (isContention(error)) return "busy";
      if (isGone(error) || sqlStateOf(error) === ALREADY_COMPRESSED) return "done";
      throw error;
    }
  }

  async #refuseObstacle(): Promise<void> {
    const obstacle = await columnstoreObstacle(this.#database);
    if (obstacle === undefined) return;
    throw new BlackTradeError("E_DB_FEATURE", `candles cannot be compressed here: ${obstacle}`, {
      remedy: "Go on without it, or use a server with TimescaleDB under its community licence.",
    });
  }
}

/** Why a database has no columnstore and no continuous aggregates, or `undefined` when it has. */
export async function columnstoreObstacle(executor: Executor): Promise<string | undefined> {
  const facts = await inspectTimescale(executor);
  if (!facts.isInstalled) {
    const server = timescaleObstacle(facts) ?? "the database does not use TimescaleDB";
    return `${server}, and plain PostgreSQL compresses long values only, in rows of 2 kB and more; a candle has some 150 bytes`;
  }
  const [row] = await executor.run<{ licence: string | null; isHypertable: boolean }>({
    text: `
      select
        current_setting('timescaledb.license', true) as licence,
        exists (
          select from timescaledb_information.hypertables
          where hypertable_schema = current_schema() and hypertable_name = 'candles'
        ) as "isHypertable"`,
  });
  if (row?.licence === "apache") {
    return "TimescaleDB runs under the Apache licence (timescaledb.license), which has neither compression nor continuous aggregates";
  }
  return row?.isHypertable === true
    ? undefined
    : 'the table candles is no hypertable ("npx black-trade db migrate" makes it one)';
}

/** Changing the layout is refused as soon as a chunk is compressed. */
async function hasLayout(tx: Executor): Promise<boolean> {
  const rows = await tx.run({
    text: `
      select from timescaledb_information.hypertables
      where hypertable_schema = current_schema() and hypertable_name = 'candles' and compression_enabled`,
  });
  return rows.length > 0;
}
