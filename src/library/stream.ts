import type { VersionedCandle } from "../core/finality.ts";
import type { CandleChange } from "../core/ports.ts";
import type { Series } from "../core/series.ts";
import type { Timeframe } from "../core/timeframe.ts";
import type { Store } from "../store/index.ts";
import { type StoredCandle, storedCandle } from "./selection.ts";

/** Which closed candles a stream brings, and from where on. */
export interface StreamOptions {
  /** Only these; all when not given. */
  readonly symbols?: readonly string[];
  /** Only these; all when not given. */
  readonly timeframes?: readonly Timeframe[];
  /** Only this one. */
  readonly exchange?: string;
  /** The `id` of the last candle that was dealt with: the stream goes on behind it. From now on when not given. */
  readonly afterId?: number;
  /** False leaves out what is loaded in bulk (backfills, imports). */
  readonly includesHistory?: boolean;
  /** Aborting it ends the stream, without an error. */
  readonly signal?: AbortSignal;
}

/** A closed candle that was stored or replaced. */
export interface StreamedCandle extends StoredCandle {
  /**
   * Place in the stream, for `afterId`. Candles that were loaded in bulk share one, which begins them again, but for the last
   * of them: nothing is lost wherever a reader stopped.
   */
  readonly id: number;
  /** `revised` = it took the place of another version. */
  readonly outcome: "stored" | "revised";
}

/** See `CandleRepository.stream`. */
export async function* streamCandles(
  store: Store,
  options: StreamOptions,
): AsyncGenerator<StreamedCandle, void, undefined> {
  // Leaving the loop ends what is followed, also while it waits.
  const left = new AbortController();
  const signal =
    options.signal === undefined ? left.signal : AbortSignal.any([left.signal, options.signal]);
  try {
    for await (const changes of store.follow(signal, options.afterId)) {
      for (const change of changes) {
        if (signal.aborted) return;
        if (isWanted(change, options)) yield* candlesOf(store, change, signal);
      }
    }
  } finally {
    left.abort();
  }
}

function isWanted(
  change: CandleChange,
  { symbols, timeframes, exchange, includesHistory = true }: StreamOptions,
): boolean {
  if (change.kind === "stretch" && !includesHistory) return false;
  const series: Series = change.kind === "stretch" ? change.series : change.candle.series;
  return (
    (symbols?.includes(series.symbol) ?? true) &&
    (timeframes?.includes(series.timeframe) ?? true) &&
    (exchange === undefined || exchange === series.exchange)
  );
}

async function* candlesOf(
  store: Store,
  change: CandleChange,
  signal: AbortSignal,
): AsyncGenerator<StreamedCandle, void, undefined> {
  const { id } = change;
  if (change.kind === "candle") {
    yield { ...storedCandle(change.candle), id, outcome: change.outcome };
    return;
  }
  let held: VersionedCandle | undefined;
  for await (const page of store.scan(change.series, change.range)) {
    for (const candle of page) {
      if (signal.aborted) return;
      if (held !== undefined) yield { ...storedCandle(held), id: id - 1, outcome: "stored" };
      held = candle;
    }
  }
  if (held === undefined || signal.aborted) return;
  // The last one only: whoever stopped before it gets the whole stretch again.
  yield { ...storedCandle(held), id, outcome: "stored" };
}
