import type { Series } from "../core/series.ts";
import type { RunFacts, SeriesFacts, SeriesStatus } from "../core/status.ts";
import type { Metrics } from "./metrics.ts";

/** A series as it is stored, and its status. */
export interface StoredSeries {
  readonly series: Series;
  readonly facts: Pick<SeriesFacts, "openGapCount" | "confirmedGapCount">;
  readonly status: SeriesStatus;
}

/** What is stored, as the one status function sees it; `undefined` when the database does not answer. */
export interface StoredState {
  readonly run: RunFacts | undefined;
  readonly series: readonly StoredSeries[];
}

/** One sample. */
export interface Sample {
  readonly labels: Readonly<Record<string, string | number>>;
  readonly value: number;
}

/**
 * Sets the gauges of the run from stored facts. To be called for each page: a gauge that a process keeps by itself goes on
 * saying what was true when something last happened (R4).
 */
export function setRunGauges({ state }: Metrics, stored: StoredState | undefined): void {
  state.isKnown.set(stored === undefined ? 0 : 1);
  // What is not known is `NaN`: a zero would say that all is well.
  const { now, heartbeatTime, bannedUntilTime = 0 } = stored?.run ?? NOT_KNOWN;
  state.heartbeatAge.set(Math.max(0, now - heartbeatTime) / 1_000);
  state.heldUntil.set((stored?.run === undefined ? NaN : bannedUntilTime) / 1_000);
  state.holdRemaining.set(Math.max(0, bannedUntilTime - now) / 1_000);
}

const NOT_KNOWN: Pick<RunFacts, "now" | "heartbeatTime" | "bannedUntilTime"> = {
  now: NaN,
  heartbeatTime: NaN,
};

/**
 * What each gauge of state says of a series, by the gauge's name. Written into a page as it is made and never kept: for
 * tens of thousands of series that would be a hundred thousand samples, of use to nobody between two pages.
 * @returns functions that give the sample of a series, or `undefined` when it has none
 */
export function seriesSamples(
  { status, state }: Metrics,
  mode: string,
): ReadonlyMap<string, (one: StoredSeries) => Sample | undefined> {
  return new Map<string, (one: StoredSeries) => Sample | undefined>([
    [
      nameOf(status),
      ({ series, status: { word } }) => ({
        labels: { ...labelsOf(series), mode },
        value: word === "active" ? 1 : 0,
      }),
    ],
    [
      nameOf(state.status),
      ({ series, status: { word } }) => ({
        labels: { ...labelsOf(series), status: word },
        value: 1,
      }),
    ],
    [
      nameOf(state.lag),
      ({ series, status: { lagMs } }) =>
        lagMs === undefined ? undefined : { labels: labelsOf(series), value: lagMs / 1_000 },
    ],
    [
      nameOf(state.gapsOpen),
      ({ series, facts }) => ({ labels: labelsOf(series), value: facts.openGapCount }),
    ],
    [
      nameOf(state.gapsConfirmed),
      ({ series, facts }) => ({ labels: labelsOf(series), value: facts.confirmedGapCount }),
    ],
  ]);
}

function labelsOf({ symbol, timeframe }: Series): { symbol: string; timeframe: string } {
  return { symbol, timeframe };
}

/** The types of the library leave the name out. */
function nameOf(metric: object): string {
  return (metric as { readonly name: string }).name;
}
