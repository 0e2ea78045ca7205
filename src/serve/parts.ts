import type { Candle, SeriesCandle } from "../core/candle.ts";
import type { CandleChange, CandleQueries } from "../core/ports.ts";
import type { Series } from "../core/series.ts";
import type { StatusView } from "./status-reader.ts";

/** A forming candle as the exchange told it last. */
export interface FormingCandle extends SeriesCandle {
  /** Exchange time stamp of the event, epoch ms. */
  readonly eventTime: number;
}

/** What happens now, for those who watch. */
export type FeedEvent =
  | { readonly kind: "closed"; readonly change: CandleChange }
  | { readonly kind: "forming"; readonly forming: FormingCandle }
  | { readonly kind: "status"; readonly view: StatusView };

/** The live flow inside this process: one reading of the database and of the stream, for any number of watchers. */
export interface Feed {
  /**
   * Told of every event from now on, synchronously and in order; must not block or throw.
   * @returns ends the subscription
   */
  subscribe(watcher: (event: FeedEvent) => void): () => void;
  /** The candle of a series that is forming now; `undefined` where no stream tells of it. */
  forming(series: Series): Candle | undefined;
}

/** What the HTTP faces show, once the database is open. */
export interface ServeParts {
  /** Reads with a statement timeout, over connections that may only read. */
  readonly queries: CandleQueries;
  readonly feed: Feed;
  readonly readStatus: () => Promise<StatusView>;
  /** Exchange time, epoch ms. */
  readonly now: () => number;
}
