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
 * What the gauges of state say, by the gauge's name. Written into a page as it is made and never kept: a gauge that a
 * process keeps by itself goes on saying what was true when something last happened (R4), and for tens of thousands of
 * series it would be a hundred thousand samples, of use to nobody between two pages.
 * @returns samples in the order of the series; to be read once
 */
export function stateSamples(
  { status, state }: Metrics,
  mode: string,
  stored: StoredState | undefined,
): ReadonlyMap<string, Iterable<Sample>> {
  // What is not known is `NaN`: a zero would say that all is well.
  const { now, heartbeatTime, bannedUntilTime = 0 } = stored?.run ?? NOT_KNOWN;
  const heldUntil = stored?.run === undefined ? NaN : bannedUntilTime;
  const all = stored?.series ?? [];
  return new Map<string, Iterable<Sample>>([
    [nameOf(state.isKnown), ofRun(stored === undefined ? 0 : 1)],
    [nameOf(state.heartbeatAge), ofRun(Math.max(0, now - heartbeatTime) / 1_000)],
    [nameOf(state.heldUntil), ofRun(heldUntil / 1_000)],
    [nameOf(state.holdRemaining), ofRun(Math.max(0, heldUntil - now) / 1_000)],
    [
      nameOf(status),
      ofSeries(all, ({ series, status: { word } }) => ({
        labels: { ...labelsOf(series), mode },
        value: word === "active" ? 1 : 0,
      })),
    ],
    [
      nameOf(state.status),
      ofSeries(all, ({ series, status: { word } }) => ({
        labels: { ...labelsOf(series), status: word },
        value: 1,
      })),
    ],
    [
      nameOf(state.lag),
      ofSeries(all, ({ series, status: { lagMs } }) =>
        lagMs === undefined ? undefined : { labels: labelsOf(series), value: lagMs / 1_000 },
      ),
    ],
    [
      nameOf(state.gapsOpen),
      ofSeries(all, ({ series, facts }) => ({
        labels: labelsOf(series),
        value: facts.openGapCount,
      })),
    ],
    [
      nameOf(state.gapsConfirmed),
      ofSeries(all, ({ series, facts }) => ({
        labels: labelsOf(series),
        value: facts.confirmedGapCount,
      })),
    ],
  ]);
}

const NOT_KNOWN: Pick<RunFacts, "now" | "heartbeatTime" | "bannedUntilTime"> = {
  now: NaN,
  heartbeatTime: NaN,
};

function ofRun(value: number): Sample[] {
  return [{ labels: {}, value }];
}

function* ofSeries(
  all: readonly StoredSeries[],
  sampleOf: (one: StoredSeries) => Sample | undefined,
): Generator<Sample> {
  for (const one of all) {
    const sample = sampleOf(one);
    if (sample !== undefined) yield sample;
  }
}

function labelsOf({ symbol, timeframe }: Series): { symbol: string; timeframe: string } {
  return { symbol, timeframe };
}

/** The types of the library leave the name out. */
function nameOf(metric: object): string {
  return (metric as { readonly name: string }).name;
}
