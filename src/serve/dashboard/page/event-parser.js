/** @typedef {{ id: string, event: string, data: any }} ServerEvent */

/** Reads `text/event-stream`, as WHATWG HTML §9.2.6 says. */
export class EventParser {
  #rest = "";
  #id = "";
  #event = "";
  /** @type {string[]} */
  #data = [];
  #onEvent;

  /** @param {(event: ServerEvent) => void} onEvent */
  constructor(onEvent) {
    this.#onEvent = onEvent;
  }

  /** @param {string} text any part of the stream */
  push(text) {
    const lines = (this.#rest + text).split(/\r\n|\n|\r/);
    this.#rest = lines.pop() ?? "";
    for (const line of lines) this.#line(line);
  }

  /** @param {string} line */
  #line(line) {
    if (line === "") {
      if (this.#data.length > 0) {
        const data = JSON.parse(this.#data.join("\n"));
        this.#onEvent({ id: this.#id, event: this.#event || "message", data });
      }
      this.#event = "";
      this.#data = [];
      return;
    }
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "data") this.#data.push(value);
    else if (name === "event") this.#event = value;
    else if (name === "id") this.#id = value;
  }
}
