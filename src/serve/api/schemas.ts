import { z } from "zod";
import { isCalendarDay } from "../../core/calendar.ts";
import { AUTHORITY, type Source } from "../../core/finality.ts";
import type { Series } from "../../core/series.ts";
import { isTimeframe, TIMEFRAMES } from "../../core/timeframe.ts";

/** Largest time that is taken, year 9999. */
const MAX_TIME = 253_402_300_799_999;
const DAY = /^\d{4}-\d\d-\d\d$/;
const INSTANT = /^\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d{1,3})?)?(?:Z|[+-]\d\d:\d\d)$/;

/** An instant as clients write it. */
export const timeParam = z
  .string()
  .max(40)
  .transform((text, context) => {
    const isIso = (DAY.test(text) || INSTANT.test(text)) && isCalendarDay(text.slice(0, 10));
    const time = /^\d{1,15}$/.test(text) ? Number(text) : isIso ? Date.parse(text) : Number.NaN;
    if (time >= 0 && time <= MAX_TIME) return time;
    context.addIssue({
      code: "custom",
      message: "is not a time; write epoch milliseconds, 2025-01-31 or 2025-01-31T12:00:00Z",
    });
    return z.NEVER;
  })
  .meta({
    description: "Epoch milliseconds UTC, or ISO 8601: `2025-01-31`, `2025-01-31T12:00:00Z`.",
    examples: ["1735689600000", "2025-01-01"],
  });

/** A whole number in a query. */
export function countParam(most: number, fallback: number) {
  return z
    .string()
    .regex(/^\d{1,9}$/, "is not a whole number")
    .transform(Number)
    .pipe(z.number().min(1, "must be at least 1").max(most, `must be at most ${most}`))
    .default(fallback)
    .meta({ type: "integer", pattern: undefined, minimum: 1, maximum: most, default: fallback });
}

/** `true` or `false` in a query; `false` when not given. */
export const flagParam = z
  .enum(["true", "false"])
  .default("false")
  .transform((text) => text === "true");

const symbolParam = z
  .string()
  .min(1)
  .max(50)
  .transform((text) => text.toUpperCase())
  .meta({ description: "As the exchange writes it.", examples: ["BTCUSDT"] });

const timeframeParam = z
  .enum(TIMEFRAMES, { error: `is not a timeframe; one of ${TIMEFRAMES.join(" ")}` })
  .meta({ description: "Length of the candles; M is the calendar month." });

const exchangeParam = z
  .string()
  .max(40)
  .optional()
  .meta({ description: "Origin of the candles; binance when it has them." });

const SEVERAL = { description: "Several, separated by commas; all when not given." };

/** Names separated by commas. */
const listParam = z
  .string()
  .max(20_000)
  .transform((text) => text.split(",").filter((part) => part !== ""));

/** Series by name, as {@link isOneOf} takes them. */
export interface SeriesPair {
  readonly exchange: string | undefined;
  readonly symbol: string;
  readonly timeframe: Series["timeframe"];
}

/** Series one by one; nothing given = `undefined`. */
export const pairsParam = z
  .string()
  .max(20_000)
  .transform((text, context): readonly SeriesPair[] | undefined => {
    const parts = text.split(",").filter((part) => part !== "");
    const pairs = parts.map((part) => {
      const [, exchange, symbol = "", timeframe = ""] =
        /^(?:([^:]+):)?([^:]+):([^:]+)$/.exec(part) ?? [];
      if (isTimeframe(timeframe)) return { exchange, symbol: symbol.toUpperCase(), timeframe };
      context.addIssue({
        code: "custom",
        message: `${JSON.stringify(part.slice(0, 60))} is not SYMBOL:TIMEFRAME; write BTCUSDT:1m,ETHUSDT:1h`,
      });
      return z.NEVER;
    });
    if (pairs.length > 0 || text === "") return text === "" ? undefined : pairs;
    context.addIssue({ code: "custom", message: "names no series" });
    return z.NEVER;
  })
  .meta({
    description: "`BTCUSDT:1m,ETHUSDT:1h`; every series when not given.",
    examples: ["BTCUSDT:1m,ETHUSDT:1h"],
  });

/** Parameters that name one series. */
export const seriesParams = {
  symbol: symbolParam,
  timeframe: timeframeParam,
  exchange: exchangeParam,
};

/** Parameters that choose among the series. */
export const choiceParams = {
  series: pairsParam.optional(),
  symbols: listParam.optional().meta(SEVERAL),
  timeframes: listParam.pipe(z.array(timeframeParam)).optional().meta(SEVERAL),
  exchange: exchangeParam,
};

const time = z.number().int().meta({ description: "Epoch milliseconds UTC." });
const count = z.number().int().min(0);
const decimal = z
  .string()
  .regex(/^\d+(?:\.\d+)?$/)
  .meta({ description: "A decimal as text, digit for digit as the exchange wrote it." });

export const timeSchema = time;
export const countSchema = count;

export const seriesSchema = z
  .object({ exchange: z.string(), symbol: z.string(), timeframe: z.enum(TIMEFRAMES) })
  .meta({ id: "Series" });

export const candleSchema = z
  .object({
    openTime: time,
    closeTime: time,
    open: decimal,
    high: decimal,
    low: decimal,
    close: decimal,
    volume: decimal,
    quoteVolume: decimal,
    tradeCount: count,
    takerBuyVolume: decimal,
    takerBuyQuoteVolume: decimal,
  })
  .meta({ id: "Candle", description: "Prices and volumes are text; times are epoch ms UTC." });

export const storedCandleSchema = candleSchema
  .extend({
    source: z.enum(Object.keys(AUTHORITY) as [Source, ...Source[]]),
    observedTime: time,
  })
  .meta({
    id: "StoredCandle",
    description: "A closed candle with the road on which it came and the exchange time of that.",
  });

export const rangeSchema = z
  .object({ from: time, to: time })
  .meta({ id: "TimeRange", description: "Half-open: `from` is in it, `to` is not." });

export const problemSchema = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.number().int(),
    detail: z.string(),
    code: z.string(),
    remedy: z.string().meta({ description: "What to do about it." }),
  })
  .meta({ id: "Problem", description: "RFC 9457." });

/** The three parts of a series, and nothing else that may be on the object. */
export function seriesDocument({ exchange, symbol, timeframe }: Series): Series {
  return { exchange, symbol, timeframe };
}
