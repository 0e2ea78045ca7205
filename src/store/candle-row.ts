import { BlackTradeError } from "../core/errors.ts";
import { readVersionNumber, type VersionedCandle } from "../core/finality.ts";
import type { TimeRange } from "../core/range.ts";
import type { Series } from "../core/series.ts";
import { closeTimeOf } from "../core/timeframe.ts";

/** A row of {@link CANDLE_COLUMNS}. */
export interface CandleRow {
  readonly openTime: number;
  readonly version: number;
  readonly cutMs: string;
  readonly tradeCount: number;
  readonly open: string;
  readonly high: string;
  readonly low: string;
  readonly close: string;
  readonly volume: string;
  readonly quoteVolume: string;
  readonly takerBuyVolume: string;
  readonly takerBuyQuoteVolume: string;
}

/** Columns of a candle, of `candles` as of `candle_revisions`. */
export const CANDLE_COLUMNS = `
  candle_epoch_ms(open_time) as "openTime", version, cut_ms as "cutMs", trade_count as "tradeCount",
  open, high, low, close, volume, quote_volume as "quoteVolume",
  taker_buy_volume as "takerBuyVolume", taker_buy_quote_volume as "takerBuyQuoteVolume"`;

/** A row as core knows it; written out, as it is made millions of times. @throws {BlackTradeError} E_DB_NEWER */
export function candleOf(series: Series, row: CandleRow): VersionedCandle {
  const road = roadOf(row.version);
  return {
    series,
    candle: {
      openTime: row.openTime,
      closeTime: closeTimeOf(series.timeframe, row.openTime) - Number(row.cutMs),
      open: row.open,
      high: row.high,
      low: row.low,
      close: row.close,
      volume: row.volume,
      quoteVolume: row.quoteVolume,
      tradeCount: row.tradeCount,
      takerBuyVolume: row.takerBuyVolume,
      takerBuyQuoteVolume: row.takerBuyQuoteVolume,
    },
    source: road.source,
    observedTime: road.observedTime,
  };
}

/** Road and time of a stored version. @throws {BlackTradeError} E_DB_NEWER */
export function roadOf(version: number): Pick<VersionedCandle, "source" | "observedTime"> {
  const road = readVersionNumber(version);
  if (road !== undefined) return road;
  throw new BlackTradeError(
    "E_DB_NEWER",
    `a stored candle has the version ${version}, whose source this program does not know`,
    { remedy: "Update black-trade." },
  );
}

/** All time. */
export const EVER: TimeRange = { from: 0, to: Number.MAX_SAFE_INTEGER };
/** What fits a `timestamptz` with room to spare, year 11,000. */
const MAX_MS = 285_000_000_000_000;

/** Edges of a range as parameters: whole ms that PostgreSQL can take. */
export function edgesOf({ from, to }: TimeRange): [number, number] {
  return [edge(from), edge(to)];
}

function edge(ms: number): number {
  return Math.trunc(Math.min(MAX_MS, Math.max(-MAX_MS / 10, ms)));
}
