import { messageOf } from "../core/errors.ts";
import type { StatusStore } from "../core/ports.ts";
import type { Series } from "../core/series.ts";
import {
  type RunFacts,
  type SeriesFacts,
  type SeriesStatus,
  seriesStatus,
} from "../core/status.ts";
import { sharedAnswer } from "./shared-answer.ts";

/** A configured series with its status. */
export interface SeriesView {
  readonly series: Series;
  readonly facts: SeriesFacts;
  readonly status: SeriesStatus;
}

/** Status of everything, or why it is not known. */
export type StatusView = KnownView | { readonly isKnown: false; readonly reason: string };

interface KnownView {
  readonly isKnown: true;
  readonly run: RunFacts | undefined;
  readonly series: readonly SeriesView[];
}

/**
 * How long a server waits for it: a database that hangs must not look like a dead program to who watches it. Prometheus
 * gives up after 10 s, the probes of `ops/kubernetes` after 5 s.
 */
export const PATIENCE_MS = 4_000;

/**
 * Reads the status of all configured series from stored facts. Metric, `/readyz` and page ask the same reader, so they
 * cannot disagree; a database that does not answer makes the status unknown, never the last one known.
 * @param patienceMs after it the status is unknown; what was asked goes on, and is not asked a second time beside it
 */
export function createStatusReader(
  store: StatusStore,
  monotonicMs: () => number,
  patienceMs?: number,
): () => Promise<StatusView> {
  let underWay: Promise<KnownView> | undefined;
  const answer = sharedAnswer(() => {
    underWay ??= read(store).finally(() => {
      underWay = undefined;
    });
    return patienceMs === undefined ? underWay : inTime(underWay, patienceMs);
  }, monotonicMs);
  return () => answer().catch((error) => ({ isKnown: false, reason: messageOf(error) }));
}

async function inTime<T>(reading: Promise<T>, patienceMs: number): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const reason = `the database has not answered for ${patienceMs / 1_000} s`;
  const timer = setTimeout(() => reject(new Error(reason)), patienceMs);
  try {
    return await Promise.race([reading, promise]);
  } finally {
    clearTimeout(timer);
  }
}

async function read(store: StatusStore): Promise<KnownView> {
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
}
