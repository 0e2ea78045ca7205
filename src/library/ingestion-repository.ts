import type { Series } from "../core/series.ts";
import {
  type RunFacts,
  type SeriesFacts,
  type SeriesStatus,
  seriesStatus,
} from "../core/status.ts";
import type { Store } from "../store/index.ts";
import { type SeriesSelector, seriesOf } from "./selection.ts";

/** State of a series: what `npx black-trade status` says, by the same function. */
export interface SeriesState extends Series {
  /** `active` only if every candle that must exist by now is stored and no gap is open behind it. */
  readonly status: SeriesStatus["word"];
  /** One line: what, and what the program does about it. Empty for a plain `active`. */
  readonly reason: string;
  /** Now − newest close that is stored, ms; absent when nothing is stored. */
  readonly lagMs?: number;
  /** What is stored about the series: open gaps, newest candle, problem, latency. Times are epoch ms. */
  readonly facts: SeriesFacts;
}

/** States of the ingestion, computed from stored facts by whoever reads: a dead ingester does not stay `active`. */
export class IngestionRepository {
  readonly #store: Pick<Store, "facts">;

  /** @param connection what `connect` gives */
  constructor(connection: { readonly store: Pick<Store, "facts"> }) {
    this.#store = connection.store;
  }

  /**
   * State of every series that the database knows, by exchange, symbol and timeframe as stored; one that nobody ingests is
   * `paused`. @throws {BlackTradeError} E_DB_*
   */
  async allStatuses(): Promise<SeriesState[]> {
    const { run, series } = await this.#store.facts();
    return series.map((facts) => stateOf(facts, run));
  }

  /** State of one series; `undefined` when the database has never heard of it. @throws {BlackTradeError} E_DB_* */
  async status(selector: SeriesSelector): Promise<SeriesState | undefined> {
    const { exchange, symbol, timeframe } = seriesOf(selector);
    return (await this.allStatuses()).find(
      (state) =>
        state.exchange === exchange && state.symbol === symbol && state.timeframe === timeframe,
    );
  }

  /** The run of the ingester, if there ever was one. @throws {BlackTradeError} E_DB_* */
  async run(): Promise<RunFacts | undefined> {
    return (await this.#store.facts()).run;
  }
}

function stateOf(facts: SeriesFacts, run: RunFacts | undefined): SeriesState {
  const { word, reason, lagMs } = seriesStatus(facts, run);
  return {
    ...facts.series,
    ...{ status: word, reason, facts },
    ...(lagMs === undefined ? {} : { lagMs }),
  };
}
