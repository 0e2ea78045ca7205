import { Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { WebSocket } from "ws";
import type { FrameForm, KlineFrame } from "../wire/kline-text.ts";
import { StreamSession } from "../wire/stream-session.ts";
import type { Exchange } from "./exchange.ts";
import { concerns } from "./faults.ts";
import type { Feed, FrameTaker } from "./feed.ts";

/** How a socket was opened. */
export interface SocketStart extends FrameForm {
  /** Number of the socket, counted from 1. */
  readonly id: number;
  /** Stream names of the URL, not yet checked. */
  readonly streams: readonly string[];
}

/** One client's stream connection, with the faults that can befall it. */
export class ClientSocket implements FrameTaker {
  readonly id: number;
  readonly #exchange: Exchange;
  readonly #feed: Feed;
  readonly #ws: WebSocket;
  readonly #tcp: Duplex;
  readonly #session: StreamSession;
  readonly #silent = new Set<string>();
  #isDead = false;

  constructor(exchange: Exchange, feed: Feed, ws: WebSocket, tcp: Duplex, start: SocketStart) {
    this.id = start.id;
    this.#exchange = exchange;
    this.#feed = feed;
    this.#ws = ws;
    this.#tcp = tcp;
    const { limits, switches, journal, faults } = exchange;
    const rules = {
      ...switches,
      limits,
      now: () => exchange.now(),
      toldTime: () => exchange.toldTime(),
    };
    const host = {
      subscribe: (streams: readonly string[]): undefined => this.#subscribe(streams),
      unsubscribe: (stream: string) => this.#feed.unsubscribe(stream, this),
      onMessage: (text: string, inLastSecond: number) =>
        journal.message(this.id, text, inLastSecond),
      onBreach: (kind: "messages" | "streams" | "pong" | "slowReader", detail: string) =>
        journal.violation(kind, detail, this.id),
      onStreams: (count: number) => journal.streams(count),
      onClosing: (code: number, reason: string) => journal.closeSent(this.id, code, reason),
      skipsPing: () => faults.strike("noPings") !== undefined,
    };
    this.#session = new StreamSession(rules, host, ws, tcp, start);
    this.#session.subscribe(start.streams, "null");
    if (faults.strike("halfOpen") !== undefined) this.goDead();
  }

  take(stream: string, frame: KlineFrame): void {
    if (this.#isDead || this.#silent.has(stream)) return;
    if (this.#session.send(frame.text(this.#session.form))) {
      this.#exchange.journal.frame(frame.isFinal);
    }
  }

  /** Pings, deadlines and lifetime. @param now exchange time */
  tick(now: number): void {
    if (!this.#isDead) this.#session.tick(now);
  }

  /** Sends `serverShutdown`, and closes some time later. */
  announceShutdown(closeAfterMs: number, code: number): void {
    if (!this.#isDead) this.#session.announceShutdown(closeAfterMs, code);
  }

  /** Ends the connection with a close frame; 1006 cuts it without one. */
  close(code: number, reason: string): void {
    this.#session.close(code, reason);
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
    this.#session.flush();
  }

  /** Takes the socket off the feed, once it has ended. */
  leave(): void {
    this.#session.leave();
  }

  #subscribe(streams: readonly string[]): undefined {
    for (const stream of streams) {
      if (this.#exchange.faults.strike("silentSubscribe", concerns(stream)) !== undefined) {
        this.#silent.add(stream);
      } else {
        this.#silent.delete(stream);
        this.#feed.subscribe(stream, this);
      }
    }
  }
}
