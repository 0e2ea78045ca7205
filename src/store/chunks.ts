import type { TimeRange } from "../core/range.ts";
import type { Series } from "../core/series.ts";
import type { Executor } from "./database.ts";
import { lockSeries } from "./gap-ledger.ts";
import { numberArray } from "./sql-arrays.ts";

/** A chunk of the hypertable by its instants, half-open. */
export interface ChunkRange extends TimeRange {
  /** Quoted, with its schema. */
  readonly name: string;
}

/** What of a series may go. */
interface Due {
  readonly series: Series;
  readonly seriesId: number;
  /** Everything that opens before this, epoch ms. */
  readonly before: number;
}

/** What a chunk holds of one series. */
export interface Share {
  readonly series: Series;
  readonly seriesId: number;
  /** Open times of its first and last candle. */
  readonly first: number;
  readonly last: number;
  /** True when the series has candles behind the chunk. */
  readonly goesOn: boolean;
}

const CHUNKS = `
  select
    format('%I.%I', chunk_schema, chunk_name) as name,
    candle_epoch_ms(range_start) as "from", candle_epoch_ms(range_end) as "to"
  from timescaledb_information.chunks
  where hypertable_schema = current_schema() and hypertable_name = 'candles' and range_end <= candle_time($1)
    and pg_has_role((select relowner from pg_class where oid = 'candles'::regclass), 'USAGE')
  order by range_start`;

/** Each is a look at the index, or at the metadata of the segments of a compressed chunk. */
const HAS_OTHERS = `
  select exists (
    select from series s
    where s.id <> all ($1::int[]) and exists (
      select from candles c
      where c.series_id = s.id and c.open_time >= candle_time($2) and c.open_time < candle_time($3)
    )
  ) as "hasOthers"`;

const SHARES = `
  select
    series_id as "seriesId", count(*) as count,
    candle_epoch_ms(min(open_time)) as first, candle_epoch_ms(max(open_time)) as last,
    exists (
      select from candles later where later.series_id = c.series_id and later.open_time >= candle_time($2)
    ) as "goesOn"
  from candles c
  where open_time >= candle_time($1) and open_time < candle_time($2)
  group by series_id
  order by series_id`;

const DELETE_REVISIONS = `
  with gone as (
    delete from candle_revisions
    where series_id = any($1::int[]) and open_time >= candle_time($2) and open_time < candle_time($3)
    returning 1
  )
  select count(*) as count from gone`;

/** Chunks that hold nothing but what is due, oldest first; none for who does not own the table. */
export async function wholeChunks(executor: Executor, due: readonly Due[]): Promise<ChunkRange[]> {
  const latest = Math.max(...due.map(({ before }) => before));
  if (due.length === 0) return [];
  const chunks = await executor.run<ChunkRange>({ text: CHUNKS, values: [latest] });
  const whole: ChunkRange[] = [];
  for (const chunk of chunks) if (await isWhole(executor, chunk, due)) whole.push(chunk);
  return whole;
}

/**
 * Drops a chunk with everything in it, after what it held was noted.
 * @param note called for each series that has candles in it, its ledger locked
 * @returns `undefined` when something else has come into it meanwhile
 */
export async function dropChunk(
  tx: Executor,
  chunk: ChunkRange,
  due: readonly Due[],
  note: (share: Share) => Promise<void>,
): Promise<{ candleCount: number; revisionCount: number } | undefined> {
  // Whoever writes waits behind a lock that is waited for.
  await tx.run({ text: "set local lock_timeout = '3s'" });
  await tx.run({ text: `lock table ${chunk.name} in share row exclusive mode` });
  if (!(await isWhole(tx, chunk, due))) return undefined;
  const { from, to } = chunk;
  const shares = await tx.run<Omit<Share, "series"> & { readonly count: number }>({
    text: SHARES,
    values: [from, to],
  });
  const ids = shares.map(({ seriesId }) => seriesId);
  await lockSeries(tx, ids);
  const known = new Map(due.map((one) => [one.seriesId, one.series]));
  for (const share of shares) {
    const series = known.get(share.seriesId);
    if (series !== undefined) await note({ ...share, series });
  }
  const [revisions] = await tx.run<{ count: number }>({
    text: DELETE_REVISIONS,
    values: [numberArray(ids), from, to],
  });
  const dropped = await tx.run({
    text: "select drop_chunks('candles', older_than => candle_time($2), newer_than => candle_time($1))",
    values: [from, to],
  });
  if (dropped.length !== 1) throw new Error(`${dropped.length} chunks instead of one were dropped`);
  return {
    candleCount: shares.reduce((sum, { count }) => sum + count, 0),
    revisionCount: revisions?.count ?? 0,
  };
}

async function isWhole(
  executor: Executor,
  { from, to }: TimeRange,
  due: readonly Due[],
): Promise<boolean> {
  const ids = due.filter(({ before }) => before >= to).map(({ seriesId }) => seriesId);
  const [row] = await executor.run<{ hasOthers: boolean }>({
    text: HAS_OTHERS,
    values: [numberArray(ids), from, to],
  });
  return row?.hasOthers === false;
}
