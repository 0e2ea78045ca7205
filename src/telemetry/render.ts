import { setImmediate as nextTurn } from "node:timers/promises";
import type { Metrics } from "./metrics.ts";
import { type StoredState, setStateGauges } from "./state-gauges.ts";

/** Metrics as they are sent. */
export interface MetricsPage {
  readonly contentType: string;
  readonly body: string;
}

/**
 * Makes the page of `/metrics`. With thousands of series that takes a second in all, so it is done in pieces, between
 * which candles go on; whoever asks meanwhile gets the same page.
 * @returns to be called with what is stored, or with nothing when the database does not answer
 */
export function createRenderer(
  metrics: Metrics,
  mode: string,
): (stored?: StoredState) => Promise<MetricsPage> {
  let running: Promise<MetricsPage> | undefined;
  return (stored) => {
    running ??= render(metrics, mode, stored).finally(() => {
      running = undefined;
    });
    return running;
  };
}

async function render(metrics: Metrics, mode: string, stored?: StoredState): Promise<MetricsPage> {
  const { registry } = metrics;
  await setStateGauges(metrics, mode, stored);
  const parts: string[] = [];
  for (const { name } of registry.getMetricsAsArray()) {
    parts.push(await registry.getSingleMetricAsString(name));
    await nextTurn();
  }
  // They are set anew for the next page; until then they would only lie in memory, a kilobyte a series.
  const { status, state } = metrics;
  for (const gauge of [status, state.status, state.lag, state.gapsOpen, state.gapsConfirmed]) {
    gauge.reset();
  }
  return { contentType: registry.contentType, body: `${parts.join("\n\n")}\n` };
}
