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

/** Series with what is to be said about them, in the order in which they are given. */
export class SeriesTable {
  /** @type {(series: { symbol: string, timeframe: string }) => void} */
  onOpen = () => {};
  #place;

  /** @param {HTMLElement} place a table body */
  constructor(place) {
    this.#place = place;
  }

  /** @param {readonly SeriesState[]} series */
  show(series) {
    const focused = document.activeElement?.getAttribute("data-series");
    this.#place.replaceChildren(...series.flatMap((one) => this.#rows(one)));
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
