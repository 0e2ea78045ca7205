import type { HistorySource } from "../core/ports.ts";
import { type Series, seriesKey } from "../core/series.ts";

/** Where the exchange's history of each series begins; it is asked once a series, whoever wants to know. */
export class FirstOpenTimes {
  readonly #history: HistorySource;
  readonly #answers = new Map<string, Promise<number | undefined>>();

  constructor(history: HistorySource) {
    this.#history = history;
  }

  /**
   * @returns open time of the first candle that the exchange has; `undefined` when it has none
   * @throws {BlackTradeError} E_SOURCE_*; the next question is asked anew
   */
  of(series: Series, signal: AbortSignal): Promise<number | undefined> {
    const key = seriesKey(series);
    const known = this.#answers.get(key);
    if (known !== undefined) return known;
    const asked = this.#history.firstOpenTime(series, signal);
    this.#answers.set(key, asked);
    asked.catch(() => this.#answers.delete(key));
    return asked;
  }
}
