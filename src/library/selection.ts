import type { Candle } from "../core/candle.ts";
import { BlackTradeError } from "../core/errors.ts";
import type { VersionedCandle } from "../core/finality.ts";
import type { TimeRange } from "../core/range.ts";
import type { Series } from "../core/series.ts";
import { isTimeframe, TIMEFRAMES, type Timeframe } from "../core/timeframe.ts";

/** An instant: epoch ms UTC, or a `Date`. */
export type Time = number | Date;

/** A series as users name it. */
export interface SeriesSelector {
  /** As the exchange writes it: `BTCUSDT`. */
  readonly symbol: string;
  /** `1m` is a minute, `1M` a month. */
  readonly timeframe: Timeframe;
  /** `binance` when not given. */
  readonly exchange?: string;
}

/** Open times, half-open: `from` is in it, `to` is not. Without an edge it reaches to the first or newest candle. */
export interface TimeSelector {
  readonly from?: Time;
  readonly to?: Time;
}

/** A point in time for which candles are read as they were known then, before later corrections. */
export interface AsOf {
  readonly at?: Time;
}

/** A stored candle, closed, with its series. Prices and volumes are the exchange's text, digit for digit. */
export interface StoredCandle extends Series, Candle {
  /** The road on which this version came; see `Source`. */
  readonly source: VersionedCandle["source"];
  /** Exchange time (epoch ms) at which this version was seen. */
  readonly observedTime: number;
}

/** @throws {BlackTradeError} E_USAGE for a timeframe that does not exist, and for what is no name */
export function seriesOf({ symbol, timeframe, exchange = "binance" }: SeriesSelector): Series {
  // Users without types may give anything.
  if (!isName(symbol)) throw noName("symbol", "Give it as the exchange writes it: BTCUSDT.");
  if (!isExchange(exchange)) throw noName("exchange", "Give a name without a colon: binance.");
  if (isTimeframe(timeframe)) return { exchange, symbol, timeframe };
  throw new BlackTradeError("E_USAGE", `"${String(timeframe)}" is not a timeframe`, {
    remedy: `Use one of: ${TIMEFRAMES.join(", ")}.`,
  });
}

/** Text that the database can hold. */
export function isName(text: unknown): text is string {
  return typeof text === "string" && text !== "" && !text.includes("\0") && text.isWellFormed();
}

/** A colon ends the exchange in the text by which a series is known. */
export function isExchange(text: unknown): text is string {
  return isName(text) && !text.includes(":");
}

function noName(what: string, remedy: string): BlackTradeError {
  return new BlackTradeError("E_USAGE", `${what} is no name`, { remedy });
}

/** @throws {BlackTradeError} E_USAGE for what is no time */
export function rangeOf({ from, to }: TimeSelector): TimeRange {
  return {
    from: from === undefined ? 0 : msOf("from", from),
    to: to === undefined ? Number.MAX_SAFE_INTEGER : msOf("to", to),
  };
}

/** @throws {BlackTradeError} E_USAGE for what is no time */
export function atOf({ at }: AsOf): number | undefined {
  return at === undefined ? undefined : msOf("at", at);
}

/** @throws {BlackTradeError} E_USAGE for what is no count */
export function limitOf(limit: number): number {
  if (Number.isSafeInteger(limit) && limit > 0) return limit;
  throw new BlackTradeError("E_USAGE", `limit is ${limit}`, {
    remedy: "Give a whole number of candles, 1 or more.",
  });
}

/** The flat form of a stored candle. */
export function storedCandle({
  series,
  candle,
  source,
  observedTime,
}: VersionedCandle): StoredCandle {
  return { ...series, ...candle, source, observedTime };
}

function msOf(name: string, time: Time): number {
  // Users without types may give anything.
  const ms = (time as unknown) instanceof Date ? time.valueOf() : time;
  if (Number.isFinite(ms)) return Math.ceil(ms as number);
  throw new BlackTradeError("E_USAGE", `${name} is not a time`, {
    remedy: "Give epoch milliseconds or a valid Date.",
  });
}
