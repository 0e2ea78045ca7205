import { setImmediate as nextTurn } from "node:timers/promises";
import type { Metrics } from "./metrics.ts";
import { type Sample, type StoredState, stateSamples } from "./state-gauges.ts";

/** A page of metrics as it is sent. */
export interface MetricsPage {
  readonly contentType: string;
  /** Its text, to be read once. */
  readonly pieces: AsyncIterable<string>;
}

/** Samples between which other work gets its turn. */
const PIECE_SAMPLES = 500;

/**
 * The page of `/metrics`, in pieces between which candles go on: with tens of thousands of series it has hundreds of
 * thousands of lines. Only the piece under way lies in memory.
 * @param stored what is stored, or nothing when the database does not answer
 * @param names only these metrics; all when not given
 */
export function renderMetrics(
  metrics: Metrics,
  mode: string,
  stored?: StoredState,
  names?: ReadonlySet<string>,
): MetricsPage {
  return {
    contentType: metrics.registry.contentType,
    pieces: piecesOf(metrics, mode, stored, names),
  };
}

async function* piecesOf(
  metrics: Metrics,
  mode: string,
  stored: StoredState | undefined,
  names: ReadonlySet<string> | undefined,
): AsyncGenerator<string> {
  const ofState = stateSamples(metrics, mode, stored);
  for (const metric of metrics.registry.getMetricsAsArray() as unknown as Registered[]) {
    const { name } = metric;
    if (names?.has(name) === false) continue;
    const samples = ofState.get(name);
    if (samples !== undefined) {
      yield headOf(metric);
      yield* linesOf(name, samples);
    } else if (metric.type === "counter" && metric.labelNames.length > 0) {
      const { values } = await metric.get();
      yield headOf(metric);
      yield* linesOf(name, values);
    } else {
      yield `${await metrics.registry.getSingleMetricAsString(name)}\n`;
      await nextTurn();
    }
    yield "\n";
  }
}

/** What the library gives of a metric; its types leave most of it out. */
interface Registered {
  readonly name: string;
  readonly help: string;
  readonly type: string;
  readonly labelNames: readonly string[];
  get(): Promise<{ readonly values: readonly Sample[] }>;
}

function headOf({ name, help, type }: Registered): string {
  return `# HELP ${name} ${escaped(help)}\n# TYPE ${name} ${type}\n`;
}

async function* linesOf(name: string, samples: Iterable<Sample>): AsyncGenerator<string> {
  let text = "";
  let count = 0;
  for (const sample of samples) {
    text += lineOf(name, sample);
    count += 1;
    if (count % PIECE_SAMPLES !== 0) continue;
    yield text;
    text = "";
    await nextTurn();
  }
  yield text;
}

function lineOf(name: string, { labels, value }: Sample): string {
  let text = "";
  for (const label in labels) {
    text += `${text === "" ? "" : ","}${label}="${escaped(String(labels[label])).replaceAll('"', '\\"')}"`;
  }
  return `${name}${text === "" ? "" : `{${text}}`} ${value}\n`;
}

/** https://prometheus.io/docs/instrumenting/exposition_formats/#comments-help-text-and-type-information */
function escaped(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
}
