/**
 * Prometheus text as the program serves it: the page shows the same numbers as every other reader of `/metrics`.
 * @typedef {{ labels: Record<string, string | undefined>, value: number }} Sample
 * @typedef {Map<string, Sample[]>} Samples
 */

export const OUTCOMES_METRIC = "ingestion_candle_outcomes_total";
export const LATENCY_METRIC = "ingestion_close_to_stored_seconds";
export const WEIGHT_METRIC = "exchange_request_weight_used";
export const QUEUE_METRIC = "ingestion_queue_size";
/** What the tiles are made of: none of them has a sample for each series. */
export const TILE_METRICS = [OUTCOMES_METRIC, LATENCY_METRIC, WEIGHT_METRIC, QUEUE_METRIC];

const LINE = /^([A-Za-z_:][\w:]*)(?:\{(.*)\})? (\S+)/;
const LABEL = /([A-Za-z_]\w*)="((?:[^"\\]|\\.)*)"/g;

/** @param {string} text @returns {Samples} by metric name */
export function parseMetrics(text) {
  /** @type {Samples} */
  const samples = new Map();
  for (const line of text.split("\n")) {
    const [, name, labels = "", value = ""] = LINE.exec(line) ?? [];
    if (name === undefined) continue;
    const entry = { labels: labelsOf(labels), value: value === "+Inf" ? Infinity : Number(value) };
    const known = samples.get(name);
    if (known === undefined) samples.set(name, [entry]);
    else known.push(entry);
  }
  return samples;
}

/** @param {string} text @returns {Record<string, string>} */
function labelsOf(text) {
  return Object.fromEntries(
    [...text.matchAll(LABEL)].map(([, name = "", value = ""]) => [
      name,
      value.replace(/\\(.)/g, (_, character) => (character === "n" ? "\n" : character)),
    ]),
  );
}

/** @param {Samples} samples @param {string} name @returns {number | undefined} sum over all labels; undefined when absent */
export function total(samples, name) {
  return samples.get(name)?.reduce((sum, { value }) => sum + value, 0);
}

/**
 * Quantile of what a histogram counted between two readings, interpolated within its bucket.
 * @param {Samples} before @param {Samples} after @param {string} name @param {number} q 0 … 1
 * @returns {number | undefined} undefined when nothing was counted
 */
export function quantile(before, after, name, q) {
  const earlier = buckets(before, name);
  const counts = [...buckets(after, name)]
    .map(([edge, value]) => /** @type {const} */ ([edge, value - (earlier.get(edge) ?? 0)]))
    .sort(([a], [b]) => a - b);
  const all = counts.at(-1)?.[1] ?? 0;
  if (all <= 0) return undefined;
  let [from, below] = [0, 0];
  for (const [edge, value] of counts) {
    if (value >= q * all) {
      if (edge === Infinity) return from;
      return from + ((edge - from) * (q * all - below)) / Math.max(1, value - below);
    }
    [from, below] = [edge, value];
  }
  return undefined;
}

/** @param {Samples} samples @param {string} name @returns {Map<number, number>} upper edge → count, over all labels */
function buckets(samples, name) {
  /** @type {Map<number, number>} */
  const counts = new Map();
  for (const { labels, value } of samples.get(`${name}_bucket`) ?? []) {
    const edge = labels.le === "+Inf" ? Infinity : Number(labels.le);
    counts.set(edge, (counts.get(edge) ?? 0) + value);
  }
  return counts;
}
