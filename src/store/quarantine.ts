import type { VersionedCandle } from "../core/finality.ts";
import type { Series } from "../core/series.ts";
import type { Rejection, RejectionCode } from "../core/validate.ts";
import type { Executor } from "./database.ts";

/** A candle that was refused, as it is listed. */
export interface QuarantinedCandle {
  readonly series: Series;
  /** Epoch ms as served: text, as it may be no number. */
  readonly openTime: string;
  readonly source: string;
  readonly code: RejectionCode;
  readonly detail: string;
  /** The candle as JSON, cut to a bounded length. */
  readonly payload: string;
  /** Epoch ms by the clock of the database. */
  readonly firstSeenTime: number;
  readonly lastSeenTime: number;
  /** How often it was refused for this reason. */
  readonly count: number;
}

/** Longest detail that is kept. */
export const QUARANTINE_DETAIL_LENGTH = 500;
const MAX_PAYLOAD_LENGTH = 2_000;

/** Enters a refused candle; one that is known is counted. @throws {BlackTradeError} E_DB_* */
export async function putAside(
  executor: Executor,
  seriesId: number,
  { candle, source, observedTime }: VersionedCandle,
  { code, detail }: Rejection,
): Promise<void> {
  const payload = JSON.stringify({ ...candle, observedTime }) ?? "";
  await executor.run({
    text: `
      insert into quarantine as known (series_id, open_time, source, code, detail, payload)
      values ($1, $2, $3, $4, $5, $6)
      on conflict (series_id, open_time, source, code) do update set
        detail = excluded.detail, payload = excluded.payload,
        last_seen_at = excluded.last_seen_at, seen_count = known.seen_count + 1`,
    values: [
      seriesId,
      storable(String(candle.openTime), MAX_PAYLOAD_LENGTH),
      source,
      code,
      storable(detail, QUARANTINE_DETAIL_LENGTH),
      storable(payload, MAX_PAYLOAD_LENGTH),
    ],
  });
}

/** Refused candles, the last seen first. @throws {BlackTradeError} E_DB_* */
export async function listQuarantine(
  executor: Executor,
  limit: number,
): Promise<readonly QuarantinedCandle[]> {
  const rows = await executor.run<Omit<QuarantinedCandle, "series"> & Series>({
    text: `
      select
        s.exchange, s.symbol, s.timeframe, q.open_time as "openTime", q.source, q.code, q.detail, q.payload,
        candle_epoch_ms(q.first_seen_at) as "firstSeenTime", candle_epoch_ms(q.last_seen_at) as "lastSeenTime",
        q.seen_count as count
      from quarantine q
      join series s on s.id = q.series_id
      order by q.last_seen_at desc, q.series_id, q.open_time
      limit $1`,
    values: [limit],
  });
  return rows.map(({ exchange, symbol, timeframe, ...rest }) => ({
    series: { exchange, symbol, timeframe },
    ...rest,
  }));
}

/** Text that PostgreSQL takes: bounded, and without the one character that it has no place for. */
function storable(text: string, maxLength: number): string {
  return text.replaceAll("\0", "\\0").slice(0, maxLength);
}
