import type { Duplex } from "node:stream";
import type { WebSocket } from "ws";
import { type FrameForm, shutdownText } from "./kline-text.ts";
import type { Limits } from "./limits.ts";
import { RollingWindow } from "./rolling-window.ts";
import {
  type ControlError,
  type ControlMessage,
  errorText,
  parseControl,
  resultText,
  tooManyStreams,
} from "./stream-control.ts";

/** By which rules a session is kept. */
export interface SessionRules {
  readonly limits: Limits;
  /** Exchange time, epoch ms. */
  now(): number;
  /** Exchange time as pings tell it. */
  toldTime(): number;
  readonly errorForm: "nested" | "flat";
  /** A pong whose payload is not the ping's closes the socket with 1008. */
  readonly strictPongs: boolean;
  readonly lifetimeCloseCode: number;
  /** `serverShutdown` this long before the lifetime ends; 0 = none. */
  readonly shutdownNoticeMs: number;
}

/** What a client did that the exchange punishes. */
export type Breach = "messages" | "streams" | "pong" | "slowReader";

/** Who provides a session with streams, and who watches it. */
export interface SessionHost {
  /** Streams that the session does not have yet. @returns the refusal: then it gets none of them */
  subscribe(streams: readonly string[], id: string): ControlError | undefined;
  unsubscribe(stream: string): void;
  /** Told of every frame from the client, with how many came within a second. */
  onMessage?(text: string, inLastSecond: number): void;
  onBreach?(kind: Breach, detail: string): void;
  /** Told how many streams the session has once more were added. */
  onStreams?(count: number): void;
  /** Told of a close that the server decided on; 1006 is a cut without a close frame. */
  onClosing?(code: number, reason: string): void;
  /** A due ping is not sent. */
  skipsPing?(): boolean;
}

/** One client's stream connection: its subscriptions, its limits, its pings, its end (binance.md §1.4–1.6). */
export class StreamSession {
  readonly #rules: SessionRules;
  readonly #host: SessionHost;
  readonly #ws: WebSocket;
  /** The TCP stream beneath, to gather writes. */
  readonly #tcp: Duplex;
  readonly #streams = new Set<string>();
  readonly #messages = new RollingWindow(1_000);
  readonly #unanswered = new Map<string, number>();
  #form: FrameForm;
  #pingDue: number;
  #closeDue: number;
  #closeCode: number;
  #noticeDue: number;
  #isCorked = false;

  constructor(rules: SessionRules, host: SessionHost, ws: WebSocket, tcp: Duplex, form: FrameForm) {
    const { limits, lifetimeCloseCode, shutdownNoticeMs } = rules;
    this.#rules = rules;
    this.#host = host;
    this.#ws = ws;
    this.#tcp = tcp;
    this.#form = { isCombined: form.isCombined, isMicro: form.isMicro };
    const openedAt = rules.now();
    this.#pingDue = openedAt + limits.pingIntervalMs;
    this.#closeDue = openedAt + limits.socketLifetimeMs;
    this.#closeCode = lifetimeCloseCode;
    this.#noticeDue =
      shutdownNoticeMs > 0 ? this.#closeDue - shutdownNoticeMs : Number.POSITIVE_INFINITY;
    ws.on("message", (data) => this.#onMessage(String(data)));
    ws.on("ping", () => this.#countMessage("ping"));
    ws.on("pong", (payload) => this.#onPong(String(payload)));
  }

  /** True while the socket would still carry a frame. */
  get isOpen(): boolean {
    return this.#ws.readyState === this.#ws.OPEN;
  }

  get form(): FrameForm {
    return this.#form;
  }

  get streams(): ReadonlySet<string> {
    return this.#streams;
  }

  /** Bytes that the client has not taken yet. */
  get bufferedBytes(): number {
    return this.#ws.bufferedAmount;
  }

  /**
   * Sends a frame; what is sent until {@link flush} goes out as one write. A reader that is too slow is cut off.
   * @returns whether it was sent
   */
  send(text: string): boolean {
    if (!this.isOpen) return false;
    if (this.bufferedBytes > this.#rules.limits.maxBufferedBytes) {
      this.#host.onBreach?.("slowReader", `${this.bufferedBytes} bytes wait`);
      this.cut();
      return false;
    }
    if (!this.#isCorked) {
      this.#isCorked = true;
      this.#tcp.cork();
    }
    this.#ws.send(text);
    return true;
  }

  /** Lets gathered frames go. */
  flush(): void {
    if (!this.#isCorked) return;
    this.#isCorked = false;
    this.#tcp.uncork();
  }

  /** Adds streams as SUBSCRIBE does. @returns the refusal: then none was added */
  subscribe(streams: readonly string[], id: string): ControlError | undefined {
    const fresh = [...new Set(streams.filter((stream) => !this.#streams.has(stream)))];
    const count = this.#streams.size + fresh.length;
    if (count > this.#rules.limits.streamsPerSocket) {
      this.#host.onBreach?.("streams", `${count} streams`);
      return tooManyStreams(id);
    }
    const refusal = this.#host.subscribe(fresh, id);
    if (refusal !== undefined) return refusal;
    for (const stream of fresh) this.#streams.add(stream);
    this.#host.onStreams?.(count);
    return undefined;
  }

  /** Pings, deadlines and lifetime. @param now exchange time */
  tick(now: number): void {
    if (!this.isOpen) return;
    const { limits } = this.#rules;
    if (now >= this.#noticeDue) this.announceShutdown(this.#closeDue - now, this.#closeCode);
    if (now >= this.#closeDue) {
      this.close(this.#closeCode, "");
      return;
    }
    const [oldest] = this.#unanswered.values();
    if (oldest !== undefined && now - oldest > limits.pongTimeoutMs) {
      this.#host.onBreach?.("pong", `no pong for ${now - oldest} ms`);
      this.close(1008, "Pong timeout");
      return;
    }
    if (now < this.#pingDue) return;
    this.#pingDue = now + limits.pingIntervalMs;
    if (this.#host.skipsPing?.() === true) return;
    const payload = String(this.#rules.toldTime());
    this.#unanswered.set(payload, now);
    this.#ws.ping(payload);
  }

  /** Sends `serverShutdown`, and closes some time later. */
  announceShutdown(closeAfterMs: number, code: number): void {
    if (!this.isOpen) return;
    this.#noticeDue = Number.POSITIVE_INFINITY;
    this.#closeDue = Math.min(this.#closeDue, this.#rules.now() + closeAfterMs);
    this.#closeCode = code;
    this.#ws.send(shutdownText(this.#form, this.#rules.toldTime()));
  }

  /** Ends the connection with a close frame; 1006 cuts it without one. */
  close(code: number, reason: string): void {
    if (code === 1006) {
      this.cut();
      return;
    }
    this.#host.onClosing?.(code, reason);
    this.#ws.close(code, reason);
  }

  /** Ends TCP without a close frame: the client sees 1006. */
  cut(): void {
    this.#host.onClosing?.(1006, "");
    this.#ws.terminate();
  }

  /** Gives its streams back, once the socket has ended. */
  leave(): void {
    for (const stream of this.#streams) this.#host.unsubscribe(stream);
    this.#streams.clear();
  }

  #onMessage(text: string): void {
    if (!this.#countMessage(text)) return;
    const message = parseControl(text);
    const answer = this.#answer(message);
    if (typeof answer === "string") this.#ws.send(answer);
    else this.#ws.send(errorText(answer, this.#rules.errorForm));
    if (message.kind === "error" && message.closes === true) this.close(1008, "Invalid request");
  }

  #answer(message: ControlMessage): string | ControlError {
    switch (message.kind) {
      case "subscribe":
        return this.subscribe(message.streams, message.id) ?? resultText("null", message.id);
      case "unsubscribe":
        for (const stream of message.streams) {
          if (this.#streams.delete(stream)) this.#host.unsubscribe(stream);
        }
        return resultText("null", message.id);
      case "list":
        return resultText(JSON.stringify([...this.#streams]), message.id);
      case "setCombined":
        this.#form = { ...this.#form, isCombined: message.value };
        return resultText("null", message.id);
      case "getCombined":
        return resultText(String(this.#form.isCombined), message.id);
      case "error":
        return message;
    }
  }

  #onPong(payload: string): void {
    if (!this.#countMessage("pong")) return;
    // Unsolicited empty pongs are allowed and keep nothing alive (binance.md §1.6).
    if (payload === "" && !this.#unanswered.has(payload)) return;
    if (this.#rules.strictPongs && !this.#unanswered.has(payload)) {
      this.close(1008, "Invalid pong payload");
      return;
    }
    this.#unanswered.clear();
  }

  /** @returns false when it was one too many and the socket is being closed */
  #countMessage(text: string): boolean {
    const inLastSecond = this.#messages.add(this.#rules.now());
    this.#host.onMessage?.(text, inLastSecond);
    if (!this.isOpen) return false;
    if (inLastSecond <= this.#rules.limits.messagesPerSecond) return true;
    this.#host.onBreach?.("messages", `${inLastSecond} in a second`);
    this.close(1008, "Too many requests");
    return false;
  }
}
