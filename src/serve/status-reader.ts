import { messageOf } from "../core/errors.ts";
import type { StatusStore } from "../core/ports.ts";
import type { Series } from "../core/series.ts";
import {
  type RunFacts,
  type SeriesFacts,
  type SeriesStatus,
  seriesStatus,
} from "../core/status.ts";

/** A configured series with its status. */
export interface SeriesView {
  readonly series: Series;
  readonly facts: SeriesFacts;
  readonly status: SeriesStatus;
}

/** Status of everything, or why it is not known. */
export type StatusView =
  | {
      readonly isKnown: true;
      readonly run: RunFacts | undefined;
      readonly series: readonly SeriesView[];
    }
  | { readonly isKnown: false; readonly reason: string };

/** Readers within this time share one answer of the database. */
const SHARED_MS = 1_000;

/**
 * Reads the status of all configured series from stored facts. Metric, `/readyz` and page ask the same reader, so they
 * cannot disagree; a database that does not answer makes the status unknown, never the last one known.
 */
export function createStatusReader(
  store: StatusStore,
  monotonicMs: () => number,
): () => Promise<StatusView> {
  let readAt = Number.NEGATIVE_INFINITY;
  let view: Promise<StatusView> | undefined;
  return () => {
    if (view === undefined || monotonicMs() - readAt > SHARED_MS) {
      readAt = monotonicMs();
      view = read(store);
    }
    return view;
  };
}

async function read(store: StatusStore): Promise<StatusView> {
  try {
    const { run, series } = await store.facts();
    const configured = series.filter(({ isConfigured }) => isConfigured);
    return {
      isKnown: true,
      run,
      series: configured.map((facts) => ({
        series: facts.series,
        facts,
        status: seriesStatus(facts, run),
      })),
    };
  } catch (error) {
    return { isKnown: false, reason: messageOf(error) };
  }
}
