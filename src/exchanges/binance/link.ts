import type { ClientRequest, IncomingMessage } from "node:http";
import { type RawData, WebSocket } from "ws";
import { retryAfterMs } from "../../core/budget.ts";
import type { Clock } from "../../core/ports.ts";
import { type CandleFrame, cut, decodeFrame } from "./codec.ts";
import { nameNetworkFault } from "./network-errors.ts";
import { RateWindow } from "./rate-window.ts";

/** How a link behaves. All durations in ms. */
export interface LinkOptions {
  readonly url: URL;
  readonly clock: Clock;
  readonly connectTimeoutMs: number;
  /** A link without any frame for so long is dead: the exchange pings every 20 s (§1.6). */
  readonly deadLinkMs: number;
  /** Least time between two control messages. */
  readonly controlIntervalMs: number;
  readonly onCandle: (frame: CandleFrame, receivedMonotonicMs: number) => void;
  /** Called for a frame that could not be read or that nobody needs. */
  readonly onRefused: (reason: string) => void;
  /** Called when the server says that it goes down. */
  readonly onShutdown: () => void;
}

/** How dialling ended. */
export type DialResult =
  | { readonly isOpen: true }
  | {
      readonly isOpen: false;
      readonly reason: string;
      /** Least time before the next try, ms. */
      readonly retryAfterMs: number;
      /** True when the refusal is meant for this address, whichever socket asks. */
      readonly isForAll: boolean;
    };

/** Answer to a control message. */
export type ControlReply =
  | { readonly kind: "ack" }
  | { readonly kind: "refused"; readonly code: number; readonly message: string }
  /** The link was closed before there was an answer. */
  | { readonly kind: "closed" };

interface ControlMessage {
  readonly id: number;
  readonly text: string;
  readonly reply: (reply: ControlReply) => void;
}

/** A frame of one candle has 400 bytes (reliability.md S14). */
const MAX_FRAME_BYTES = 2 ** 20;
/**
 * The exchange closes at the sixth message in a second, and pings and pongs count (§1.5): one is left for a pong, which does
 * not wait, and one for what the network brings together.
 */
const MAX_SENT_PER_SECOND = 3;
const CLOSE_TIMEOUT_MS = 2_000;
/** A certificate or a region does not change in a second. */
const LASTING_RETRY_MS = 60_000;
const FIREWALL_RETRY_MS = 10 * 60_000;
const BAN_RETRY_MS = 2 * 60_000;
const SERVER_RETRY_MS = 5_000;

/** One WebSocket from dialling to its end, with its control messages, its pace and its watchdog. */
export class Link {
  /** Resolves when the handshake has ended, well or not. Never rejects. */
  readonly opened: Promise<DialResult>;
  /** Resolves with a plain reason when the link has ended, after {@link opened}. Never rejects. */
  readonly closed: Promise<string>;
  readonly #options: LinkOptions;
  readonly #socket: WebSocket;
  readonly #timers = new AbortController();
  readonly #sent = new RateWindow(MAX_SENT_PER_SECOND, 1_000);
  readonly #waiting: ControlMessage[] = [];
  /** Sent and not answered, oldest first. */
  readonly #asked = new Map<number, ControlMessage>();
  #isPumping = false;
  #nextId = 1;
  #lastControlMs = Number.NEGATIVE_INFINITY;
  #openedMs: number | undefined;
  #heardMs: number;
  #lastDataMs: number | undefined;
  #isShutdown = false;
  #isEnded = false;
  /** The first thing that went wrong tells the reason. */
  #reason: string | undefined;

  /** Dials at once. */
  constructor(options: LinkOptions) {
    this.#options = options;
    this.#heardMs = options.clock.monotonic();
    const socket = new WebSocket(options.url, {
      perMessageDeflate: false,
      maxPayload: MAX_FRAME_BYTES,
      followRedirects: false,
      rejectUnauthorized: true,
      headers: { "user-agent": "black-trade" },
    });
    this.#socket = socket;
    const { host } = options.url;
    this.opened = new Promise((resolve) => {
      const fail = (reason: string, minRetryMs = 0, isForAll = false): void => {
        resolve({ isOpen: false, reason, retryAfterMs: minRetryMs, isForAll });
        this.close(reason);
      };
      socket.on("open", () => {
        this.#heardMs = this.#openedMs = options.clock.monotonic();
        resolve({ isOpen: true });
        this.#pump();
      });
      socket.on("unexpected-response", (request: ClientRequest, response: IncomingMessage) => {
        const { reason, retryMs, isForAll } = nameUpgradeRefusal(response, host);
        fail(reason, retryMs, isForAll);
        request.destroy();
      });
      socket.on("error", (error: Error) => {
        if (this.#openedMs !== undefined) this.#kill(nameSocketError(error, host));
        else {
          const { reason, isLasting } = nameNetworkFault(error, host);
          fail(this.#reason ?? reason, isLasting ? LASTING_RETRY_MS : 0);
        }
      });
      socket.on("close", () => {
        if (this.#openedMs === undefined) fail(this.#reason ?? `${host} closed the connection`);
      });
    });
    this.closed = new Promise((resolve) => {
      socket.on("close", (code, said) => {
        this.#end();
        resolve(this.#reason ?? closeReason(code, said.toString()));
      });
    });
    socket.on("message", (data, isBinary) => this.#onMessage(data, isBinary));
    socket.on("ping", () => {
      const now = options.clock.monotonic();
      this.#heardMs = now;
      // ws answers by itself, with the payload, before any control message that waits.
      this.#sent.note(now);
    });
    socket.on("pong", () => {
      this.#heardMs = options.clock.monotonic();
    });
    void this.#watch();
  }

  /** True once a candle came over it. */
  get hasData(): boolean {
    return this.#lastDataMs !== undefined;
  }

  /** When the last candle came, or the link was opened; monotonic ms. */
  get lastDataMs(): number {
    return this.#lastDataMs ?? this.openedMs;
  }

  /** When the handshake ended well; monotonic ms. `Infinity` before. */
  get openedMs(): number {
    return this.#openedMs ?? Number.POSITIVE_INFINITY;
  }

  /** True when the server has said that it goes down. */
  get isShutdown(): boolean {
    return this.#isShutdown;
  }

  /** Sends a control message as soon as the pace allows. Never rejects; an ack proves syntax only (§1.4). */
  request(method: "SUBSCRIBE" | "UNSUBSCRIBE", params: readonly string[]): Promise<ControlReply> {
    if (this.#isEnded) return Promise.resolve({ kind: "closed" });
    return new Promise((reply) => {
      const id = this.#nextId;
      this.#nextId += 1;
      this.#waiting.push({ id, text: JSON.stringify({ method, params, id }), reply });
      this.#pump();
    });
  }

  /** Ends a link that is of no more use: says so, and gives the other side a moment for what is under way. */
  retire(reason: string): void {
    this.#reason ??= reason;
    this.#socket.close(1000);
    const { clock } = this.#options;
    clock.sleep(CLOSE_TIMEOUT_MS, this.#timers.signal).then(
      () => this.#socket.terminate(),
      // It has ended by itself.
      () => undefined,
    );
  }

  /** Ends the link at once: says so when it is open, and waits for nothing. */
  close(reason: string): void {
    this.#reason ??= reason;
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.close(1000);
    this.#socket.terminate();
  }

  #kill(reason: string): void {
    this.#reason ??= reason;
    // A closing handshake with a dead peer would take another half minute.
    this.#socket.terminate();
  }

  #onMessage(data: RawData, isBinary: boolean): void {
    const now = this.#options.clock.monotonic();
    this.#heardMs = now;
    if (isBinary || !Buffer.isBuffer(data)) {
      this.#options.onRefused("binary frame");
      return;
    }
    const frame = decodeFrame(data.toString());
    switch (frame.kind) {
      case "candle":
        this.#lastDataMs = now;
        this.#options.onCandle(frame, now);
        return;
      case "ack":
        this.#answer(frame.id, { kind: "ack" });
        return;
      case "error": {
        const reply = { kind: "refused", code: frame.code, message: frame.message } as const;
        // Some refusals lack the id; answers come in order, so it belongs to the oldest question.
        const [oldest] = this.#asked.keys();
        this.#answer(frame.id ?? oldest, reply);
        this.#options.onRefused(`the exchange refused a request: ${refusalText(reply)}`);
        return;
      }
      case "shutdown":
        this.#isShutdown = true;
        this.#options.onShutdown();
        return;
      case "other":
        this.#options.onRefused(`event of a kind that was not asked for: ${frame.event}`);
        return;
      case "bad":
        this.#options.onRefused(frame.reason);
    }
  }

  #answer(id: unknown, reply: ControlReply): void {
    if (typeof id !== "number") return;
    const message = this.#asked.get(id);
    this.#asked.delete(id);
    message?.reply(reply);
  }

  #pump(): void {
    // What waits when the link ends is answered by its end.
    if (!this.#isPumping && this.#openedMs !== undefined) {
      this.#sendWaiting().catch(() => undefined);
    }
  }

  async #sendWaiting(): Promise<void> {
    const { clock, controlIntervalMs } = this.#options;
    this.#isPumping = true;
    try {
      for (;;) {
        const now = clock.monotonic();
        const dueMs = this.#lastControlMs + controlIntervalMs;
        const waitMs = Math.max(dueMs - now, this.#sent.waitMs(now));
        if (this.#waiting.length > 0 && waitMs > 0) {
          await clock.sleep(waitMs, this.#timers.signal);
          continue;
        }
        const message = this.#waiting.shift();
        if (message === undefined) return;
        this.#asked.set(message.id, message);
        this.#lastControlMs = now;
        this.#sent.note(now);
        this.#socket.send(message.text, () => undefined);
      }
    } finally {
      this.#isPumping = false;
    }
  }

  /** Armed from dialling on: a link that never says a word is as dead as one that fell silent. */
  async #watch(): Promise<void> {
    const { clock, connectTimeoutMs, deadLinkMs } = this.#options;
    try {
      for (;;) {
        const limitMs = this.#openedMs === undefined ? connectTimeoutMs : deadLinkMs;
        const leftMs = this.#heardMs + limitMs - clock.monotonic();
        if (leftMs <= 0) {
          const what = this.#openedMs === undefined ? "no connection within" : "no frame for";
          return this.#kill(`${what} ${limitMs / 1_000} s`);
        }
        await clock.sleep(leftMs, this.#timers.signal);
      }
    } catch {
      // The link has ended.
    }
  }

  #end(): void {
    this.#isEnded = true;
    this.#timers.abort();
    for (const { reply } of this.#asked.values()) reply({ kind: "closed" });
    for (const { reply } of this.#waiting.splice(0)) reply({ kind: "closed" });
    this.#asked.clear();
  }
}

/** A refusal in words. */
export function refusalText({ code, message }: { code: number; message: string }): string {
  return `${message} (code ${code})`;
}

/** The closes that were seen are 1000, 1001, 1006 and 1008 (§1.6); all of them end the link, none ends the stream. */
function closeReason(code: number, said: string): string {
  const detail = code === 1006 ? "no close frame" : cut(said, 123);
  return detail === "" ? `socket closed ${code}` : `socket closed ${code} (${detail})`;
}

function nameSocketError(error: Error, host: string): string {
  const code = "code" in error ? error.code : undefined;
  if (code === "WS_ERR_UNSUPPORTED_MESSAGE_LENGTH") return "frame larger than 1 MiB";
  if (typeof code === "string" && code.startsWith("WS_ERR_")) {
    return `broken frame: ${error.message}`;
  }
  return nameNetworkFault(error, host).reason;
}

/** An upgrade that is answered by a page: the same classes as an answer of REST, not a flapping socket. */
function nameUpgradeRefusal(
  { statusCode = 0, headers }: IncomingMessage,
  host: string,
): { reason: string; retryMs: number; isForAll: boolean } {
  const isHtml = /html/i.test(headers["content-type"] ?? "");
  const reason = (said: string): string =>
    `${host} refused the WebSocket: ${said} (${statusCode}${isHtml ? ", a web page" : ""})`;
  const retryAfter = headers["retry-after"] ?? null;
  const refusal = (said: string, retryMs: number, isForAll: boolean) => ({
    reason: reason(said),
    retryMs,
    isForAll,
  });
  if (statusCode === 403) return refusal("blocked by the firewall", FIREWALL_RETRY_MS, true);
  if (statusCode === 418) {
    return refusal("this address is banned", retryAfterMs(retryAfter, BAN_RETRY_MS), true);
  }
  if (statusCode === 429) return refusal("too many connects", retryAfterMs(retryAfter), true);
  if (statusCode === 451) return refusal("closed to this region", LASTING_RETRY_MS, true);
  if (statusCode >= 500) return refusal("internal error", SERVER_RETRY_MS, false);
  return refusal("unexpected answer", LASTING_RETRY_MS, false);
}
