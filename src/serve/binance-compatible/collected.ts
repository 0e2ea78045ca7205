import type { Series } from "../../core/series.ts";
import type { Timeframe } from "../../core/timeframe.ts";
import { ApiError } from "../../wire/api-error.ts";
import type { KlineSeries } from "../../wire/kline-text.ts";
import type { ServeParts } from "../parts.ts";
import { onceOf } from "../shared-answer.ts";

/** The exchange whose symbols are served: its wire knows no other. */
export const EXCHANGE = "binance";

/** The series that are collected, as requests and streams name them. */
export class Collected {
  readonly #timeframes = new Map<string, Timeframe[]>();
  readonly #symbolOf = new Map<string, string>();

  /** @param series of any exchange; timeframes of a symbol shortest first, as the store lists them */
  constructor(series: readonly Series[]) {
    for (const { exchange, symbol, timeframe } of series) {
      if (exchange !== EXCHANGE) continue;
      const timeframes = this.#timeframes.get(symbol) ?? [];
      timeframes.push(timeframe);
      this.#timeframes.set(symbol, timeframes);
      this.#symbolOf.set(symbol.toLowerCase(), symbol);
    }
  }

  get symbols(): readonly string[] {
    return [...this.#timeframes.keys()];
  }

  /** From the lower-case symbol of a stream name to the exchange's spelling. */
  symbolOf(lowerCase: string): string | undefined {
    return this.#symbolOf.get(lowerCase);
  }

  hasSymbol(symbol: string): boolean {
    return this.#timeframes.has(symbol);
  }

  /** What a symbol is collected at, shortest first. */
  timeframesOf(symbol: string): readonly Timeframe[] {
    return this.#timeframes.get(symbol) ?? [];
  }

  /**
   * The stored series that answers a request.
   * @throws {ApiError} −1121 when it is not collected, −1130 for candles of another time zone than UTC
   */
  seriesFor({ symbol, interval, offsetMs = 0 }: KlineSeries): Series {
    const timeframes = this.#timeframes.get(symbol);
    if (timeframes === undefined) throw notCollected(symbol);
    if (!timeframes.includes(interval)) {
      const msg = `Invalid symbol. ${symbol} is collected here at ${timeframes.join(", ")}, not at ${interval}.`;
      throw new ApiError(-1121, msg);
    }
    if (!sharesGrid(interval, offsetMs)) {
      const msg = `Data sent for parameter 'timeZone' is not valid. Only candles of UTC are kept here, and those of ${interval} differ.`;
      throw new ApiError(-1130, msg);
    }
    return { exchange: EXCHANGE, symbol, timeframe: interval };
  }
}

/** The exchange's refusal of a symbol that it does not know, and why. */
export function notCollected(symbol: string): ApiError {
  return new ApiError(-1121, `Invalid symbol. ${symbol} is not collected by this server.`);
}

/** Lengths that divide the shifts of time zones, ms; the others begin elsewhere in another zone. */
const STEP_MS: Readonly<Partial<Record<Timeframe, number>>> = {
  "1s": 1_000,
  "1m": 60_000,
  "3m": 180_000,
  "5m": 300_000,
  "15m": 900_000,
  "30m": 1_800_000,
  "1h": 3_600_000,
  "2h": 7_200_000,
  "4h": 14_400_000,
  "6h": 21_600_000,
  "8h": 28_800_000,
  "12h": 43_200_000,
};

/** True when candles of a time zone are those of UTC: hours are the same in Shanghai, days are not. */
function sharesGrid(interval: Timeframe, offsetMs: number): boolean {
  if (offsetMs === 0) return true;
  const stepMs = STEP_MS[interval];
  return stepMs !== undefined && offsetMs % stepMs === 0;
}

/** Reads what is collected. */
export class CollectedReader {
  readonly #parts: () => ServeParts;

  constructor(parts: () => ServeParts) {
    this.#parts = parts;
  }

  /** @throws {BlackTradeError} when the database does not answer; the next call asks again */
  async read(): Promise<Collected> {
    return collectedOf(await this.#parts().queries.series());
  }
}

const collectedOf = onceOf((all: readonly Series[]) => new Collected(all));
