import { BlackTradeError } from "../core/errors.ts";
import { readVersionNumber, type VersionedCandle } from "../core/finality.ts";
import type { CandleRevision } from "../core/ports.ts";
import type { TimeRange } from "../core/range.ts";
import type { Series } from "../core/series.ts";
import { closeTimeOf } from "../core/timeframe.ts";
import type { Executor } from "./database.ts";
import type { SeriesCatalog } from "./series-catalog.ts";

interface CandleRow {
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

const COLUMNS = `
  candle_epoch_ms(open_time) as "openTime", version, cut_ms as "cutMs", trade_count as "tradeCount",
  open, high, low, close, volume, quote_volume as "quoteVolume",
  taker_buy_volume as "takerBuyVolume", taker_buy_quote_volume as "takerBuyQuoteVolume"`;

const RANGE = `
  select ${COLUMNS} from candles
  where series_id = $1 and open_time >= candle_time($2) and open_time < candle_time($3)
  order by open_time
  limit $4`;

const LATEST = `
  select ${COLUMNS} from candles
  where series_id = $1 and open_time < candle_time($3)
  order by open_time desc
  limit $2`;

const COUNT = `
  select count(*) as count from candles
  where series_id = $1 and open_time >= candle_time($2) and open_time < candle_time($3)`;

const REVISIONS = `
  select ${COLUMNS}, replaced_by as "replacedBy", candle_epoch_ms(replaced_at) as "replacedTime"
  from candle_revisions
  where series_id = $1 and open_time >= candle_time($2) and open_time < candle_time($3)
  order by open_time, id
  limit $4`;

/** Reads what is stored. Every decimal is the text that was written. */
export class CandleReader {
  readonly #executor: Executor;
  readonly #catalog: SeriesCatalog;

  constructor(executor: Executor, catalog: SeriesCatalog) {
    this.#executor = executor;
    this.#catalog = catalog;
  }

  /** Candles that open in `[from, to)`, ascending, at most `limit`. @throws {BlackTradeError} E_DB_* */
  async range(
    series: Series,
    range: TimeRange,
    limit: number,
  ): Promise<readonly VersionedCandle[]> {
    const rows = await this.#rows<CandleRow>("read-range", RANGE, series, [...edges(range), limit]);
    return rows.map((row) => candleOf(series, row));
  }

  /** The newest `count` candles that open before `before`, ascending. @throws {BlackTradeError} E_DB_* */
  async latest(
    series: Series,
    count: number,
    before: number = EVER.to,
  ): Promise<readonly VersionedCandle[]> {
    const [, to] = edges({ from: 0, to: before });
    const rows = await this.#rows<CandleRow>("read-latest", LATEST, series, [count, to]);
    return rows.map((row) => candleOf(series, row)).reverse();
  }

  /** How many candles open in `[from, to)`; all of the series without a range. @throws {BlackTradeError} E_DB_* */
  async count(series: Series, range: TimeRange = EVER): Promise<number> {
    const rows = await this.#rows<{ count: number }>("count-range", COUNT, series, edges(range));
    return rows[0]?.count ?? 0;
  }

  /** Replaced versions of candles that open in `[from, to)`, by open time, then oldest first. @throws {BlackTradeError} E_DB_* */
  async revisions(
    series: Series,
    range: TimeRange,
    limit: number,
  ): Promise<readonly CandleRevision[]> {
    const rows = await this.#rows<CandleRow & { replacedBy: number; replacedTime: number }>(
      "read-revisions",
      REVISIONS,
      series,
      [...edges(range), limit],
    );
    return rows.map((row) => ({
      replaced: candleOf(series, row),
      replacedBy: roadOf(row.replacedBy),
      replacedTime: row.replacedTime,
    }));
  }

  async #rows<Row extends object>(
    name: string,
    text: string,
    series: Series,
    values: readonly unknown[],
  ): Promise<readonly Row[]> {
    const id = await this.#catalog.find(series);
    return id === undefined ? [] : this.#executor.run<Row>({ name, text, values: [id, ...values] });
  }
}

const EVER: TimeRange = { from: 0, to: Number.MAX_SAFE_INTEGER };
/** What fits a `timestamptz` with room to spare, year 11,000. */
const MAX_MS = 285_000_000_000_000;

function edges({ from, to }: TimeRange): number[] {
  return [from, to].map((edge) => Math.trunc(Math.min(MAX_MS, Math.max(-MAX_MS / 10, edge))));
}

function candleOf(series: Series, { version, cutMs, ...values }: CandleRow): VersionedCandle {
  const { openTime, tradeCount, open, high, low, close } = values;
  const { volume, quoteVolume, takerBuyVolume, takerBuyQuoteVolume } = values;
  return {
    series,
    candle: {
      openTime,
      closeTime: closeTimeOf(series.timeframe, openTime) - Number(cutMs),
      ...{ open, high, low, close, volume, quoteVolume },
      tradeCount,
      ...{ takerBuyVolume, takerBuyQuoteVolume },
    },
    ...roadOf(version),
  };
}

function roadOf(version: number): Pick<VersionedCandle, "source" | "observedTime"> {
  const road = readVersionNumber(version);
  if (road !== undefined) return road;
  throw new BlackTradeError(
    "E_DB_NEWER",
    `a stored candle has the version ${version}, whose source this program does not know`,
    { remedy: "Update black-trade." },
  );
}
