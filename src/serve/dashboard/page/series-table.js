import { element } from "./dom.js";
import { duration } from "./format.js";

/**
 * @typedef {{
 *   symbol: string, timeframe: string, status: string, reason: string,
 *   lagMs?: number | null, latencyMs?: number | null, isStreamed?: boolean, openGapCount: number,
 * }} SeriesState
 */

/** @type {Readonly<Record<string, string>>} */
const TONES = {
  ...{ active: "good", starting: "busy", backfilling: "busy", lagging: "busy", gap: "busy" },
  ...{ halted: "dim", paused: "dim", stale: "bad", banned: "bad", error: "bad", unknown: "bad" },
};

/** Every series with what is to be said about it; the ones that need a look come first. */
export class SeriesTable {
  /** @type {(series: { symbol: string, timeframe: string }) => void} */
  onOpen = () => {};
  #place;
  /** @type {readonly SeriesState[]} */
  #series = [];
  #wanted = "";

  /** @param {HTMLElement} place a table body */
  constructor(place) {
    this.#place = place;
  }

  /** @param {readonly SeriesState[]} series */
  show(series) {
    this.#series = [...series].sort((a, b) => rank(a) - rank(b));
    this.#draw();
  }

  /** @param {string} wanted words of which each must be in the row */
  find(wanted) {
    this.#wanted = wanted.trim().toLowerCase();
    this.#draw();
  }

  #draw() {
    const focused = document.activeElement?.getAttribute("data-series");
    const words = this.#wanted.split(/\s+/);
    const shown = this.#series.filter((series) => {
      const text =
        `${series.symbol} ${series.timeframe} ${series.status} ${sourceOf(series)}`.toLowerCase();
      return words.every((word) => text.includes(word));
    });
    this.#place.replaceChildren(...shown.flatMap((series) => this.#rows(series)));
    if (focused === null || focused === undefined) return;
    for (const button of this.#place.querySelectorAll("button")) {
      if (button.getAttribute("data-series") === focused) button.focus();
    }
  }

  /**
   * A row, and below it the reason over the whole width: in the column of the state it would be many short lines.
   * @param {SeriesState} series
   */
  #rows(series) {
    const name = `${series.symbol} ${series.timeframe}`;
    const button = element("button", { type: "button", "data-series": name }, name);
    button.addEventListener("click", () => this.onOpen(series));
    const tone = TONES[series.status] ?? "bad";
    const state = element(
      "td",
      {},
      element("span", { class: "state", "data-tone": tone }, series.status),
    );
    const row = element(
      "tr",
      series.reason === "" ? {} : { class: "explained" },
      element("th", { scope: "row" }, button),
      state,
      element("td", { class: "number" }, duration(series.lagMs ?? undefined)),
      element("td", { class: "number" }, duration(series.latencyMs ?? undefined)),
      element("td", {}, sourceOf(series)),
    );
    if (series.reason === "") return [row];
    const reason = element("td", { colspan: "5", class: "reason" }, series.reason);
    return [row, element("tr", {}, reason)];
  }
}

/** @param {SeriesState} series */
function sourceOf(series) {
  if (series.isStreamed === undefined) return "–";
  return series.isStreamed ? "WebSocket" : "REST";
}

/** @param {SeriesState} series */
function rank({ status }) {
  return ["bad", "busy", "dim", "good"].indexOf(TONES[status] ?? "bad");
}
