import type { Candle } from "../core/candle.ts";
import type { VersionedCandle } from "../core/finality.ts";
import type { CandleStore } from "../core/ports.ts";
import { closeTimeOf, isAligned, isTimeframe, type Timeframe } from "../core/timeframe.ts";
import { type RejectionCode, validateCandle } from "../core/validate.ts";
import { isExchange, isName, type SeriesSelector, type Time } from "./selection.ts";

/** A candle to be saved. Decimals are text, so that nothing rounds them; what is optional and not given is stored as zero. */
export interface NewCandle extends SeriesSelector {
  readonly openTime: Time;
  /** Last millisecond; that of the timeframe when not given, which needs an open time on the timeframe's grid. */
  readonly closeTime?: Time;
  readonly open: string;
  readonly high: string;
  readonly low: string;
  readonly close: string;
  /** Of the base asset. */
  readonly volume: string;
  readonly quoteVolume?: string;
  readonly tradeCount?: number;
  readonly takerBuyVolume?: string;
  readonly takerBuyQuoteVolume?: string;
}

/**
 * What became of a saved candle: `stored` = it is in the table now, as a new row or in place of another one (which is kept
 * as a revision); `identical` = the same values were there; `superseded` = another version that counts more, or is newer,
 * is there and stays; `refused` = it is no sound closed candle.
 */
export type SaveOutcome = "stored" | "identical" | "superseded" | "refused";

/** Why a candle was refused. */
export interface SaveRefusal {
  /** Its place in the batch. */
  readonly index: number;
  readonly code: RejectionCode | "not-a-series" | "not-closed" | "off-grid";
  /** One plain sentence. */
  readonly detail: string;
}

/** What became of a batch. */
export interface SaveResult {
  /** Index for index with the batch. */
  readonly outcomes: readonly SaveOutcome[];
  readonly refusals: readonly SaveRefusal[];
  /** How many of each; together the size of the batch. */
  readonly counts: Readonly<Record<SaveOutcome, number>>;
}

/** Without one of these a row counts as `csv-partial`: zero there means that it was not told. */
const OPTIONAL = ["quoteVolume", "tradeCount", "takerBuyVolume", "takerBuyQuoteVolume"] as const;
/** Rows of one transaction. */
const MAX_BATCH = 5_000;

/**
 * Saves candles by the rule of finality, with the least authority: nothing that came from an exchange is replaced by what a
 * program saves, and of two saves of one candle the later one counts. Each sound row is saved, whatever else is in the
 * batch. In transactions of 5,000; to repeat a batch is harmless.
 * @param now epoch ms
 * @throws {BlackTradeError} E_DB_*; transactions before it stand
 */
export async function saveCandles(
  store: CandleStore,
  candles: readonly NewCandle[],
  now: number,
): Promise<SaveResult> {
  const outcomes = new Array<SaveOutcome>(candles.length).fill("refused");
  const refusals: SaveRefusal[] = [];
  const sound: { index: number; row: VersionedCandle }[] = [];
  for (const [index, candle] of candles.entries()) {
    const judged = isObject(candle) ? judge(candle, now) : NO_CANDLE;
    if ("row" in judged) sound.push({ index, row: judged.row });
    else refusals.push({ index, ...judged });
  }
  for (let at = 0; at < sound.length; at += MAX_BATCH) {
    const part = sound.slice(at, at + MAX_BATCH);
    const written = await store.write(
      part.map(({ row }) => row),
      [],
    );
    for (const [place, { index }] of part.entries()) {
      outcomes[index] = OUTCOMES[written.outcomes[place] ?? "quarantined"];
      const rejection = written.rejections.get(place);
      if (rejection !== undefined) refusals.push({ index, ...rejection });
    }
  }
  const counts = { stored: 0, identical: 0, superseded: 0, refused: 0 };
  for (const outcome of outcomes) counts[outcome] += 1;
  return { outcomes, refusals: refusals.sort((a, b) => a.index - b.index), counts };
}

const OUTCOMES = {
  stored: "stored",
  revised: "stored",
  identical: "identical",
  superseded: "superseded",
  quarantined: "refused",
} as const;

/** Users without types may give anything. */
function isObject(candle: unknown): boolean {
  return typeof candle === "object" && candle !== null;
}

const NO_CANDLE = { code: "not-a-series", detail: "it is no candle" } as const;

function judge(
  { exchange = "binance", symbol, timeframe, ...values }: NewCandle,
  now: number,
): { readonly row: VersionedCandle } | Omit<SaveRefusal, "index"> {
  const problem = seriesProblem(exchange, symbol, timeframe);
  if (problem !== undefined) return { code: "not-a-series", detail: problem };
  const openTime = msOf(values.openTime);
  const candle: Candle = {
    ...{ openTime, closeTime: closeTimeFor(timeframe, openTime, values.closeTime) },
    ...{ open: values.open, high: values.high, low: values.low, close: values.close },
    ...{ volume: values.volume, quoteVolume: values.quoteVolume ?? "0" },
    tradeCount: values.tradeCount ?? 0,
    takerBuyVolume: values.takerBuyVolume ?? "0",
    takerBuyQuoteVolume: values.takerBuyQuoteVolume ?? "0",
  };
  // To a program without types, null is nothing, too.
  const isWhole = OPTIONAL.every((field) => (values[field] ?? undefined) !== undefined);
  const rejection = validateCandle(candle, now);
  if (rejection !== undefined) return rejection;
  if (candle.closeTime >= now || closeTimeOf(timeframe, openTime) >= now) {
    return { code: "not-closed", detail: `closes at ${candle.closeTime}, it is ${now} now` };
  }
  // An exchange that was halted does make such candles; whoever saves one knows when it closed.
  if (values.closeTime === undefined && !isAligned(timeframe, openTime)) {
    return {
      code: "off-grid",
      detail: `opens at ${openTime}, where no candle of ${timeframe} does`,
    };
  }
  return {
    row: {
      series: { exchange, symbol, timeframe },
      candle,
      source: isWhole ? "csv" : "csv-partial",
      observedTime: now,
    },
  };
}

function seriesProblem(exchange: unknown, symbol: unknown, timeframe: unknown): string | undefined {
  if (!isExchange(exchange)) return `exchange is ${shown(exchange)}`;
  if (!isName(symbol)) return `symbol is ${shown(symbol)}`;
  return typeof timeframe === "string" && isTimeframe(timeframe)
    ? undefined
    : `timeframe is ${shown(timeframe)}`;
}

function shown(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value);
  return value === undefined ? "missing" : "no text";
}

/** What is no time comes back as it is: the rules refuse it. */
function closeTimeFor(timeframe: Timeframe, openTime: number, closeTime: Time | undefined): number {
  if (closeTime !== undefined) return msOf(closeTime);
  return Number.isSafeInteger(openTime) ? closeTimeOf(timeframe, openTime) : openTime;
}

/** What is no time is refused by the rules, as a value. */
function msOf(time: Time): number {
  return time instanceof Date ? time.getTime() : time;
}
