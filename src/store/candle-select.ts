import type { DECIMAL_FIELDS } from "../core/candle.ts";
import type { TimeRange } from "../core/range.ts";
import { edgesOf } from "./candle-row.ts";

/** What is read of one series. */
export interface CandleSelection {
  /** Number of the series. */
  readonly seriesId: number;
  /** Open times, half-open, epoch ms. */
  readonly range: TimeRange;
  /** Only what was known at this time, epoch ms. */
  readonly at?: number | undefined;
}

/** Columns of the fields that may be read by themselves. */
export const SQL_NAMES: Readonly<Record<(typeof DECIMAL_FIELDS)[number] | "tradeCount", string>> = {
  ...{ open: "open", high: "high", low: "low", close: "close", volume: "volume" },
  ...{ quoteVolume: "quote_volume", tradeCount: "trade_count" },
  ...{ takerBuyVolume: "taker_buy_volume", takerBuyQuoteVolume: "taker_buy_quote_volume" },
};

const VALUES = `
  series_id, open_time, version, cut_ms, trade_count, open, high, low, close,
  volume, quote_volume, taker_buy_volume, taker_buy_quote_volume`;

/** Low 44 bits of a version: when it was observed. */
const OBSERVED = "(version & 17592186044415)";

/**
 * A table expression of the candles of a selection, for COPY, which takes no parameters: numbers only go into the text.
 *
 * At a time, the version that was in the table: the first one that was replaced later, else the newest. Nothing tells when
 * the first version of a candle came into the table; it counts from the exchange time at which it was observed.
 */
export function candlesSql({ seriesId, range, at }: CandleSelection): string {
  const [from, to] = edgesOf(range);
  const within = `series_id = ${whole(seriesId)} and open_time >= candle_time(${from}) and open_time < candle_time(${to})`;
  if (at === undefined) return `(select ${VALUES} from candles where ${within}) as selected`;
  const [atMs] = edgesOf({ from: at, to: at });
  const revision = (time: "<=" | ">"): string => `exists (
    select from candle_revisions r
    where r.series_id = v.series_id and r.open_time = v.open_time and r.replaced_at ${time} candle_time(${atMs})
  )`;
  const wasThere = `(${OBSERVED} <= ${atMs} or ${revision("<=")})`;
  return `(
    select ${VALUES} from candles v where ${within} and not ${revision(">")} and ${wasThere}
    union all
    select ${VALUES} from (
      select distinct on (open_time) ${VALUES} from candle_revisions
      where ${within} and replaced_at > candle_time(${atMs})
      order by open_time, id
    ) as v
    where ${wasThere}
  ) as selected`;
}

/** A number that may stand in the text of a statement. */
export function whole(value: number): number {
  if (!Number.isSafeInteger(value)) throw new RangeError(`${value} is not a whole number`);
  return value;
}
