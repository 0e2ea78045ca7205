import { EventParser } from "./event-parser.js";

/**
 * The page's road to the program: requests, and the stream of events, both with the token when one is needed.
 * `EventSource` cannot send a header and a token never stands in a URL: the stream is read with `fetch`.
 * @typedef {import("./event-parser.js").ServerEvent} ServerEvent
 * @typedef {{ kind: "live" } | { kind: "connecting" } | { kind: "lost", since: number, reason: string } | { kind: "locked", isTokenWrong: boolean }} LinkState
 */

const TOKEN_KEY = "black-trade token";
const MAX_RETRY_MS = 15_000;
/** An answer that does not come in this time is not waited for: a browser has six connections to a program. */
const ANSWER_MS = 20_000;
/** The program says something at least every 15 s. */
const SILENCE_MS = 40_000;

export class Connection {
  /** @type {(state: LinkState) => void} */
  onState = () => {};
  /** @type {LinkState} */
  #state = { kind: "connecting" };
  /** @type {string | undefined} */
  #lastId;
  #retry = new AbortController();
  #path = "";
  #turned = new AbortController();

  /** True after a token that cannot be sent; the program is not asked to judge it. */
  #isTokenUnfit = false;

  /** @param {string} token */
  unlock(token) {
    // A header holds nothing else.
    this.#isTokenUnfit = !/^[\x21-\x7e]*$/.test(token.trim());
    if (!this.#isTokenUnfit && token.trim() !== "") {
      sessionStorage.setItem(TOKEN_KEY, token.trim());
    }
    this.#retry.abort();
  }

  /**
   * @param {string} path @param {Record<string, string | number | undefined>} [query] @returns {Promise<any>}
   * @throws {Error} in the words of the program
   */
  async get(path, query = {}) {
    const response = await this.#ask(path, query, { accept: "application/json" });
    return response.json();
  }

  /** @param {string} path with its query @returns {Promise<string>} */
  async text(path) {
    return (await this.#ask(path, {}, {})).text();
  }

  /** @param {string} path @param {Record<string, string | number | undefined>} query @param {Record<string, string>} headers */
  async #ask(path, query, headers) {
    try {
      return await this.#fetch(path, query, headers, AbortSignal.timeout(ANSWER_MS));
    } catch (error) {
      if (!(error instanceof DOMException) || error.name !== "TimeoutError") throw error;
      throw new Error(`the program has not answered for ${ANSWER_MS / 1_000} s`);
    }
  }

  /**
   * Every event from now on; reconnects by itself and goes on where it was.
   * @param {string} path @param {(event: ServerEvent) => void} onEvent
   */
  async follow(path, onEvent) {
    this.#path = path;
    for (let failures = 0; ; failures += 1) {
      try {
        await this.#read(this.#path, (event) => {
          failures = 0;
          onEvent(event);
        });
        if (this.#turned.signal.aborted) continue;
        this.#lost("the program ended the connection");
      } catch (error) {
        if (this.#turned.signal.aborted) continue;
        if (this.#state.kind !== "locked") this.#lost(reasonOf(error));
      }
      this.#retry = new AbortController();
      await pause(Math.min(MAX_RETRY_MS, 500 * 2 ** failures), this.#retry.signal);
    }
  }

  /** Follows another stream from now on, of which `ready` comes first. @param {string} path */
  turnTo(path) {
    if (path === this.#path) return;
    this.#path = path;
    this.#lastId = undefined;
    this.#turned.abort();
    this.#retry.abort();
  }

  /** @param {string} path @param {(event: ServerEvent) => void} onEvent */
  async #read(path, onEvent) {
    this.#turned = new AbortController();
    const watchdog = new AbortController();
    const ended = AbortSignal.any([watchdog.signal, this.#turned.signal]);
    let timer = setTimeout(() => watchdog.abort(), SILENCE_MS);
    try {
      const headers = {
        accept: "text/event-stream",
        ...(this.#lastId === undefined ? {} : { "last-event-id": this.#lastId }),
      };
      const response = await this.#fetch(path, {}, headers, ended);
      if (response.body === null) throw new Error("the answer is empty");
      if (this.#state.kind !== "live") this.#become({ kind: "live" });
      const parser = new EventParser((event) => {
        // Still in the pipe of a stream that was turned away from: its id means nothing to the next.
        if (this.#turned.signal.aborted) return;
        if (event.id !== "") this.#lastId = event.id;
        onEvent(event);
      });
      for await (const text of chunksOf(response.body)) {
        clearTimeout(timer);
        timer = setTimeout(() => watchdog.abort(), SILENCE_MS);
        parser.push(text);
      }
    } finally {
      clearTimeout(timer);
    }
  }

  /** @param {string} path @param {Record<string, string | number | undefined>} query @param {Record<string, string>} headers @param {AbortSignal} [signal] */
  async #fetch(path, query, headers, signal) {
    const token = sessionStorage.getItem(TOKEN_KEY);
    const given = Object.entries(query).filter(([, value]) => value !== undefined);
    const search = new URLSearchParams(
      given.map(([key, value]) => [key, String(value)]),
    ).toString();
    const response = await fetch(search === "" ? path : `${path}?${search}`, {
      headers: { ...headers, ...(token === null ? {} : { authorization: `Bearer ${token}` }) },
      cache: "no-store",
      ...(signal === undefined ? {} : { signal }),
    });
    if (response.status === 401) this.#lock(token);
    if (!response.ok) throw new Error(await problemOf(response));
    return response;
  }

  /** @param {string | null} token that was refused; kept, it would be sent again until this address has to wait */
  #lock(token) {
    const isNewer = sessionStorage.getItem(TOKEN_KEY) !== token;
    if (isNewer) return;
    sessionStorage.removeItem(TOKEN_KEY);
    const wasWrong = this.#state.kind === "locked" && this.#state.isTokenWrong;
    const isTokenWrong = token !== null || this.#isTokenUnfit || wasWrong;
    this.#become({ kind: "locked", isTokenWrong });
  }

  /** @param {string} reason */
  #lost(reason) {
    const since = this.#state.kind === "lost" ? this.#state.since : Date.now();
    this.#become({ kind: "lost", since, reason });
  }

  /** @param {LinkState} state */
  #become(state) {
    this.#state = state;
    this.onState(state);
  }
}

/** @param {ReadableStream<Uint8Array>} body @returns {AsyncGenerator<string>} */
async function* chunksOf(body) {
  const decoder = new TextDecoder();
  const reader = body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    yield decoder.decode(value, { stream: true });
  }
}

/** @param {Response} response @returns {Promise<string>} */
async function problemOf(response) {
  const problem = await response.json().catch(() => ({}));
  const words = problem.detail ?? problem.title ?? problem.error;
  return typeof words === "string" ? words : `the program answered ${response.status}`;
}

/** @param {unknown} error */
function reasonOf(error) {
  if (error instanceof DOMException && error.name === "AbortError") return "nothing came for 40 s";
  if (error instanceof TypeError) return "the program does not answer";
  return error instanceof Error ? error.message : String(error);
}

/** @param {number} ms @param {AbortSignal} signal ends it early @returns {Promise<void>} */
function pause(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
