import { setImmediate as nextTurn } from "node:timers/promises";
import type { Series } from "../core/series.ts";
import type { RunFacts, SeriesFacts, SeriesStatus } from "../core/status.ts";
import type { Metrics } from "./metrics.ts";

/** What is stored, as the one status function sees it; `undefined` when the database does not answer. */
export interface StoredState {
  readonly run: RunFacts | undefined;
  readonly series: readonly {
    readonly series: Series;
    readonly facts: Pick<SeriesFacts, "openGapCount" | "confirmedGapCount">;
    readonly status: SeriesStatus;
  }[];
}

/** Series between which other work gets its turn. */
const TURN_SERIES = 500;

/**
 * Sets every gauge of state from stored facts. To be called at each scrape: a gauge that a process keeps by itself goes on
 * saying what was true when something last happened (R4). Not for two callers at a time.
 */
export async function setStateGauges(
  metrics: Metrics,
  mode: string,
  stored?: StoredState,
): Promise<void> {
  const { status, state } = metrics;
  const { isKnown, ...rest } = state;
  for (const gauge of [status, ...Object.values(rest)]) gauge.reset();
  isKnown.set(stored === undefined ? 0 : 1);
  setRun(metrics, stored?.run);
  if (stored === undefined) return;
  for (const [index, one] of stored.series.entries()) {
    if (index % TURN_SERIES === TURN_SERIES - 1) await nextTurn();
    const { symbol, timeframe } = one.series;
    const { word, lagMs } = one.status;
    status.set({ symbol, timeframe, mode }, word === "active" ? 1 : 0);
    state.status.set({ symbol, timeframe, status: word }, 1);
    state.gapsOpen.set({ symbol, timeframe }, one.facts.openGapCount);
    state.gapsConfirmed.set({ symbol, timeframe }, one.facts.confirmedGapCount);
    if (lagMs !== undefined) state.lag.set({ symbol, timeframe }, lagMs / 1_000);
  }
}

/** What is not known is `NaN`: a zero would say that all is well. */
function setRun({ state }: Metrics, run: RunFacts | undefined): void {
  const { now, heartbeatTime, bannedUntilTime = 0 } = run ?? { now: NaN, heartbeatTime: NaN };
  state.heartbeatAge.set(Math.max(0, now - heartbeatTime) / 1_000);
  state.heldUntil.set((run === undefined ? NaN : bannedUntilTime) / 1_000);
  state.holdRemaining.set(Math.max(0, bannedUntilTime - now) / 1_000);
}
