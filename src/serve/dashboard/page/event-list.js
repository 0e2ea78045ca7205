import { element } from "./dom.js";
import { utc, utcClock } from "./format.js";

const MAX_EVENTS = 100;

/** What happened lately, in plain words, the newest first. */
export class EventList {
  #place;

  /** @param {HTMLElement} place an ordered list */
  constructor(place) {
    this.#place = place;
  }

  clear() {
    this.#place.replaceChildren();
  }

  /** @param {number} time epoch ms @param {string} words */
  add(time, words) {
    const stamp = element(
      "time",
      { datetime: new Date(time).toISOString(), title: utc(time) },
      utcClock(time),
    );
    this.#place.prepend(element("li", {}, stamp, words));
    while (this.#place.childElementCount > MAX_EVENTS) this.#place.lastElementChild?.remove();
  }
}
