import { element } from "./dom.js";
import { count, duration } from "./format.js";
import {
  LATENCY_METRIC,
  OUTCOMES_METRIC,
  parseMetrics,
  QUEUE_METRIC,
  quantile,
  total,
  WEIGHT_METRIC,
} from "./metrics.js";

/**
 * The figures at the head of the page.
 * @typedef {import("./metrics.js").Samples} Samples
 * @typedef {{ at: number, samples: Samples }} Reading
 */

/** Request weight that Binance grants a minute. */
const WEIGHT_LIMIT = 6_000;
const [STORED, LATENCY, WEIGHT, WAITING] = /** @type {const} */ ([
  "Stored",
  "Close → stored, p50 / p99",
  "Request weight",
  "Waiting for the database",
]);
const METRIC_TILES = [STORED, LATENCY, WEIGHT, WAITING];
/** Rates and percentiles are those of so long, ms. */
const WINDOW_MS = 60_000;

export class Tiles {
  #place;
  /** @type {Map<string, HTMLElement>} */
  #values = new Map();
  /** @type {Reading[]} */
  #readings = [];

  /** @param {HTMLElement} place a definition list */
  constructor(place) {
    this.#place = place;
  }

  /** @param {string} name @param {string} value */
  set(name, value) {
    let place = this.#values.get(name);
    if (place === undefined) {
      place = element("dd");
      this.#values.set(name, place);
      this.#place.append(element("div", {}, element("dt", {}, name), place));
    }
    if (place.textContent !== value) place.textContent = value;
  }

  /** The figures are not known any more. */
  forgetMetrics() {
    this.#readings = [];
    for (const name of METRIC_TILES) if (this.#values.has(name)) this.set(name, "–");
  }

  /** @param {string} text of `/metrics` @param {number} at monotonic ms */
  addMetrics(text, at) {
    const samples = parseMetrics(text);
    this.#readings.push({ at, samples });
    while (this.#readings.length > 2 && (this.#readings[1]?.at ?? at) <= at - WINDOW_MS) {
      this.#readings.shift();
    }
    const first = this.#readings[0];
    if (first === undefined || first.at === at) return;
    const stored = storedCount(samples);
    if (stored === undefined) return;
    const before = storedCount(first.samples) ?? 0;
    const perSecond = Math.max(0, stored - before) / ((at - first.at) / 1_000);
    this.set(STORED, `${count(perSecond)} candles/s`);
    const [p50, p99] = [0.5, 0.99].map((q) => {
      const seconds = quantile(first.samples, samples, LATENCY_METRIC, q);
      return seconds === undefined ? "–" : duration(seconds * 1_000);
    });
    this.set(LATENCY, `${p50} / ${p99}`);
    const weight = total(samples, WEIGHT_METRIC) ?? 0;
    this.set(WEIGHT, `${count(weight)} of ${count(WEIGHT_LIMIT)} a minute`);
    this.set(WAITING, count(total(samples, QUEUE_METRIC) ?? 0));
  }
}

/** @param {Samples} samples @returns {number | undefined} closed candles that became a new row or replaced one */
function storedCount(samples) {
  const outcomes = samples.get(OUTCOMES_METRIC);
  const ours = outcomes?.filter(({ labels }) =>
    ["stored", "revised"].includes(labels.outcome ?? ""),
  );
  return ours?.reduce((sum, { value }) => sum + value, 0);
}
