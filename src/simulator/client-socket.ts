import { Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { WebSocket } from "ws";
import type { Exchange } from "./exchange.ts";
import { concerns } from "./faults.ts";
import type { Feed, FrameTaker } from "./feed.ts";
import { type FrameForm, type KlineFrame, shutdownText } from "./frames.ts";
import {
  type ControlMessage,
  errorText,
  parseControl,
  resultText,
  tooManyStreams,
} from "./protocol.ts";
import { RollingWindow } from "./rolling-window.ts";

/** How a socket was opened. */
export interface SocketStart extends FrameForm {
  /** Number of the socket, counted from 1. */
  readonly id: number;
  /** Stream names of the URL, not yet checked. */
  readonly streams: readonly string[];
}

/** One client's stream connection: its subscriptions, its limits, its pings, its end. */
export class ClientSocket implements FrameTaker {
  readonly id: number;
  readonly #exchange: Exchange;
  readonly #feed: Feed;
  readonly #ws: WebSocket;
  /** The TCP stream beneath, to gather writes and to cut without a close frame. */
  readonly #tcp: Duplex;
  readonly #streams = new Set<string>();
  readonly #silent = new Set<string>();
  readonly #messages = new RollingWindow(1_000);
  readonly #openedAt: number;
  readonly #unanswered = new Map<string, number>();
  #form: FrameForm;
  #pingDue: number;
  #closeDue: number;
  #closeCode: number;
  #noticeDue: number;
  #isDead = false;
  #isCorked = false;

  constructor(exchange: Exchange, feed: Feed, ws: WebSocket, tcp: Duplex, start: SocketStart) {
    const { limits, switches } = exchange;
    this.id = start.id;
    this.#exchange = exchange;
    this.#feed = feed;
    this.#ws = ws;
    this.#tcp = tcp;
    this.#form = { isCombined: start.isCombined, isMicro: start.isMicro };
    this.#openedAt = exchange.now();
    this.#pingDue = this.#openedAt + limits.pingIntervalMs;
    this.#closeDue = this.#openedAt + limits.socketLifetimeMs;
    this.#closeCode = switches.lifetimeCloseCode;
    this.#noticeDue =
      switches.shutdownNoticeMs > 0
        ? this.#closeDue - switches.shutdownNoticeMs
        : Number.POSITIVE_INFINITY;
    ws.on("message", (data) => this.#onMessage(String(data)));
    ws.on("ping", () => this.#countMessage("ping"));
    ws.on("pong", (payload) => this.#onPong(String(payload)));
    this.#subscribe(start.streams, "null");
    if (exchange.faults.strike("halfOpen") !== undefined) this.goDead();
  }

  /** True while the socket would still carry a frame. */
  get isOpen(): boolean {
    return this.#ws.readyState === this.#ws.OPEN;
  }

  take(stream: string, frame: KlineFrame): void {
    if (this.#isDead || !this.isOpen || this.#silent.has(stream)) return;
    const { journal, limits } = this.#exchange;
    if (this.#ws.bufferedAmount > limits.maxBufferedBytes) {
      journal.violation("slowReader", `${this.#ws.bufferedAmount} bytes wait`, this.id);
      this.cut();
      return;
    }
    this.#cork();
    this.#ws.send(frame.text(this.#form));
    journal.frame(frame.isFinal);
  }

  /** Pings, deadlines and lifetime. @param now exchange time */
  tick(now: number): void {
    if (this.#isDead || !this.isOpen) return;
    if (now >= this.#noticeDue) this.announceShutdown(this.#closeDue - now, this.#closeCode);
    if (now >= this.#closeDue) {
      this.close(this.#closeCode, "");
      return;
    }
    const [oldest] = this.#unanswered.values();
    if (oldest !== undefined && now - oldest > this.#exchange.limits.pongTimeoutMs) {
      this.#exchange.journal.violation("pong", `no pong for ${now - oldest} ms`, this.id);
      this.close(1008, "Pong timeout");
      return;
    }
    if (now < this.#pingDue) return;
    this.#pingDue = now + this.#exchange.limits.pingIntervalMs;
    if (this.#exchange.faults.strike("noPings") !== undefined) return;
    const payload = String(this.#exchange.toldTime());
    this.#unanswered.set(payload, now);
    this.#ws.ping(payload);
  }

  /** Sends `serverShutdown`, and closes some time later. */
  announceShutdown(closeAfterMs: number, code: number): void {
    if (this.#isDead || !this.isOpen) return;
    this.#noticeDue = Number.POSITIVE_INFINITY;
    this.#closeDue = Math.min(this.#closeDue, this.#exchange.now() + closeAfterMs);
    this.#closeCode = code;
    this.#ws.send(shutdownText(this.#form, this.#exchange.toldTime()));
  }

  /** Ends the connection with a close frame; 1006 cuts it without one. */
  close(code: number, reason: string): void {
    if (code === 1006) {
      this.cut();
      return;
    }
    this.#exchange.journal.closeSent(this.id, code, reason);
    this.#ws.close(code, reason);
  }

  /** Ends TCP without a close frame: the client sees 1006. */
  cut(): void {
    this.#exchange.journal.closeSent(this.id, 1006, "");
    this.#ws.terminate();
  }

  /** Sends the head and half the body of a text frame, then resets TCP. */
  cutMidFrame(): void {
    this.#exchange.journal.closeSent(this.id, 1006, "mid-frame");
    const body = Buffer.from(`{"e":"kline","E":${this.#exchange.toldTime()},"s":"`);
    // A final text frame that announces 120 bytes and brings fewer.
    this.#tcp.write(Buffer.concat([Buffer.from([0x81, 120]), body]), () => {
      if (this.#tcp instanceof Socket) this.#tcp.resetAndDestroy();
      else this.#ws.terminate();
    });
  }

  /** From now on neither sends, pings nor reads; TCP stays open. For good. */
  goDead(): void {
    this.#isDead = true;
    this.#ws.pause();
  }

  /** Lets gathered frames go. */
  flush(): void {
    if (!this.#isCorked) return;
    this.#isCorked = false;
    this.#tcp.uncork();
  }

  /** Takes the socket off the feed, once it has ended. */
  leave(): void {
    for (const stream of this.#streams) this.#feed.unsubscribe(stream, this);
    this.#streams.clear();
  }

  /** One write to the kernel for all frames of a tick instead of one each. */
  #cork(): void {
    if (this.#isCorked) return;
    this.#isCorked = true;
    this.#tcp.cork();
  }

  #onMessage(text: string): void {
    if (!this.#countMessage(text)) return;
    const { switches } = this.#exchange;
    const message = parseControl(text);
    const answer = this.#answer(message);
    if (typeof answer === "string") this.#ws.send(answer);
    else this.#ws.send(errorText(answer, switches.errorForm));
    if (message.kind === "error" && message.closes === true) this.close(1008, "Invalid request");
  }

  #answer(message: ControlMessage): string | ReturnType<typeof tooManyStreams> {
    switch (message.kind) {
      case "subscribe":
        return this.#subscribe(message.streams, message.id) ?? resultText("null", message.id);
      case "unsubscribe":
        for (const stream of message.streams) {
          this.#streams.delete(stream);
          this.#feed.unsubscribe(stream, this);
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

  /** @returns the refusal, when it would be too many: then none is added */
  #subscribe(
    streams: readonly string[],
    id: string,
  ): ReturnType<typeof tooManyStreams> | undefined {
    const { limits, journal, faults } = this.#exchange;
    const fresh = streams.filter((stream) => !this.#streams.has(stream));
    const count = this.#streams.size + new Set(fresh).size;
    if (count > limits.streamsPerSocket) {
      journal.violation("streams", `${count} streams`, this.id);
      return tooManyStreams(id);
    }
    journal.streams(count);
    for (const stream of fresh) {
      this.#streams.add(stream);
      if (faults.strike("silentSubscribe", concerns(stream)) !== undefined) {
        this.#silent.add(stream);
      } else {
        this.#silent.delete(stream);
        this.#feed.subscribe(stream, this);
      }
    }
    return undefined;
  }

  #onPong(payload: string): void {
    if (!this.#countMessage("pong")) return;
    // Unsolicited empty pongs are allowed and keep nothing alive (binance.md §1.6).
    if (payload === "" && !this.#unanswered.has(payload)) return;
    if (this.#exchange.switches.strictPongs && !this.#unanswered.has(payload)) {
      this.close(1008, "Invalid pong payload");
      return;
    }
    this.#unanswered.clear();
  }

  /** @returns false when it was one too many and the socket is being closed */
  #countMessage(text: string): boolean {
    const { journal, limits } = this.#exchange;
    const inLastSecond = this.#messages.add(this.#exchange.now());
    journal.message(this.id, text, inLastSecond);
    if (!this.isOpen) return false;
    if (inLastSecond <= limits.messagesPerSecond) return true;
    journal.violation("messages", `${inLastSecond} in a second`, this.id);
    this.close(1008, "Too many requests");
    return false;
  }
}
