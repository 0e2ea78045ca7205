import { type IncomingMessage, STATUS_CODES } from "node:http";
import type { Duplex } from "node:stream";
import { type WebSocket, WebSocketServer } from "ws";
import { messageOf } from "../../core/errors.ts";
import { ApiError } from "../../wire/api-error.ts";
import type { Answer } from "../../wire/http-answer.ts";
import { type KlineFrame, seriesOfStream } from "../../wire/kline-text.ts";
import { CONNECT_WINDOW_MS, type Limits, MAX_MESSAGE_BYTES } from "../../wire/limits.ts";
import { RollingWindow } from "../../wire/rolling-window.ts";
import { type ControlError, isWellFormedStream } from "../../wire/stream-control.ts";
import { type SessionRules, StreamSession } from "../../wire/stream-session.ts";
import { parseStreamUrl, type StreamUrl } from "../../wire/stream-url.ts";
import type { ServeParts } from "../parts.ts";
import { type Collected, type CollectedReader, notCollected } from "./collected.ts";
import { type FrameTaker, StreamHub, type StreamSource } from "./stream-hub.ts";

/** A reader so far behind gets no forming candles until it has caught up; the next one replaces them anyway. */
const SKIP_FORMING_BYTES = 1024 * 1024;
/** Candles of one stretch that a stream tells. */
const MAX_TOLD = 1_000;
/** Connects are counted for so many addresses at a time. */
const MAX_ADDRESSES = 10_000;
/** A name without a part of its own: ccxt opens `/ws/0`, `/ws/1` … to tell its connections apart. */
const PSEUDO_STREAM = /^\d+$/;

/** The stream side: Binance's handshakes, subscriptions, limits and pings over the live flow. */
export class CompatibleStreams {
  readonly #parts: () => ServeParts;
  readonly #reader: CollectedReader;
  readonly #limits: Limits;
  /** The exchange's way of saying an error. */
  readonly #refusal: (error: unknown) => Answer;
  readonly #onFault: (error: unknown) => void;
  readonly #sockets = new Set<Socket>();
  readonly #connects = new Map<string, RollingWindow>();
  readonly #ws = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    maxPayload: MAX_MESSAGE_BYTES,
    perMessageDeflate: false,
  });
  #hub: StreamHub | undefined;

  constructor(
    parts: () => ServeParts,
    reader: CollectedReader,
    limits: Limits,
    refusal: (error: unknown) => Answer,
    onFault: (error: unknown) => void,
  ) {
    this.#onFault = onFault;
    this.#parts = parts;
    this.#reader = reader;
    this.#limits = limits;
    this.#refusal = refusal;
  }

  /** Takes over a connection that asked for an upgrade, or refuses it. */
  async upgrade(request: IncomingMessage, tcp: Duplex, head: Buffer): Promise<void> {
    try {
      const url = this.#check(request);
      const collected = await this.#reader.read();
      const streams = sourcesOf(url.streams, collected);
      if (tcp.destroyed) return;
      this.#ws.handleUpgrade(request, tcp, head, (ws) => {
        this.#open(ws, tcp, url, streams, collected);
      });
    } catch (error) {
      refuse(tcp, this.#refusal(error));
    }
  }

  /** Pings, deadlines, frames that wait, and what has come to be collected meanwhile. */
  tick(): void {
    if (this.#sockets.size === 0) return;
    const now = this.#parts().now();
    this.#hub?.tick(now);
    for (const socket of this.#sockets) socket.session.tick(now);
    this.#reader.read().then(
      (collected) => {
        for (const socket of this.#sockets) socket.collected = collected;
      },
      // What was known goes on to hold; REST tells of the database's trouble.
      () => undefined,
    );
  }

  /** Says goodbye to every client. */
  close(): void {
    this.#hub?.close();
    for (const socket of this.#sockets) socket.session.close(1001, "");
    this.#ws.close();
  }

  #check(request: IncomingMessage): StreamUrl {
    const url = parseStreamUrl(request.url ?? "/");
    if (url === undefined) {
      throw new ApiError(-5000, "There is /ws, /ws/<stream> and /stream?streams=<stream>.", 404);
    }
    const now = this.#parts().now();
    const address = request.socket.remoteAddress ?? "";
    if (this.#connects.size >= MAX_ADDRESSES && !this.#connects.has(address)) {
      this.#connects.clear();
    }
    const window = this.#connects.get(address) ?? new RollingWindow(CONNECT_WINDOW_MS);
    this.#connects.set(address, window);
    if (window.add(now) > this.#limits.connectsPer5Minutes) {
      const msg = `Too many requests; current limit is ${this.#limits.connectsPer5Minutes} connections per 5 MINUTE.`;
      throw new ApiError(-1003, msg, 429);
    }
    if (url.streams.length > this.#limits.streamsPerSocket) {
      throw new ApiError(-1100, "Too many subscriptions.", 400);
    }
    return url;
  }

  #open(
    ws: WebSocket,
    tcp: Duplex,
    url: StreamUrl,
    streams: ReadonlyMap<string, StreamSource | undefined>,
    collected: Collected,
  ): void {
    this.#hub ??= this.#openHub();
    const socket = new Socket(ws, tcp, url, this.#hub, collected, this.#rules());
    this.#sockets.add(socket);
    ws.on("error", () => ws.terminate());
    ws.on("close", () => {
      this.#sockets.delete(socket);
      socket.session.leave();
    });
    socket.session.subscribe([...streams.keys()], "null");
  }

  #openHub(): StreamHub {
    const { feed, now, queries } = this.#parts();
    return new StreamHub({
      feed,
      now,
      read: async (series, range) =>
        (await queries.range(series, range, MAX_TOLD)).map(({ candle }) => candle),
      onFault: this.#onFault,
    });
  }

  #rules(): SessionRules {
    const now = (): number => this.#parts().now();
    return {
      limits: this.#limits,
      now,
      toldTime: now,
      errorForm: "nested",
      strictPongs: false,
      lifetimeCloseCode: 1001,
      shutdownNoticeMs: 0,
    };
  }
}

/** One client's connection. */
class Socket implements FrameTaker {
  readonly session: StreamSession;
  collected: Collected;
  readonly #hub: StreamHub;
  #isDirty = false;

  constructor(
    ws: WebSocket,
    tcp: Duplex,
    url: StreamUrl,
    hub: StreamHub,
    collected: Collected,
    rules: SessionRules,
  ) {
    this.#hub = hub;
    this.collected = collected;
    const host = {
      subscribe: (streams: readonly string[], id: string) => this.#subscribe(streams, id),
      unsubscribe: (stream: string) => this.#hub.leave(stream, this),
    };
    this.session = new StreamSession(rules, host, ws, tcp, url);
  }

  take(frame: KlineFrame): void {
    const { session } = this;
    if (!frame.isFinal && session.bufferedBytes > SKIP_FORMING_BYTES) return;
    if (!session.send(frame.text(session.form)) || this.#isDirty) return;
    // All frames of a turn go out as one write.
    this.#isDirty = true;
    setImmediate(() => {
      this.#isDirty = false;
      session.flush();
    });
  }

  #subscribe(streams: readonly string[], id: string): ControlError | undefined {
    try {
      for (const source of sourcesOf(streams, this.collected).values()) {
        if (source !== undefined) this.#hub.join(source, this);
      }
      return undefined;
    } catch (error) {
      const code = error instanceof ApiError ? error.code : -1000;
      return { kind: "error", code, msg: messageOf(error), id };
    }
  }
}

/**
 * What feeds each stream; `undefined` for names that clients use only to tell connections apart. The exchange would
 * acknowledge any other name and stay silent for ever; a client of a shared collector is told instead.
 * @throws {ApiError} for the first stream that will never speak
 */
function sourcesOf(
  streams: readonly string[],
  collected: Collected,
): ReadonlyMap<string, StreamSource | undefined> {
  return new Map(
    streams.map((name) => [name, PSEUDO_STREAM.test(name) ? undefined : sourceOf(name, collected)]),
  );
}

function sourceOf(name: string, collected: Collected): StreamSource {
  const [, symbol] = /^(.+)@kline_/u.exec(name) ?? [];
  if (symbol === undefined || !isWellFormedStream(name)) {
    throw new ApiError(
      2,
      `Invalid request: only kline streams are served here, not ${name.slice(0, 80)}`,
    );
  }
  const kline = seriesOfStream(name, (lowerCase) => collected.symbolOf(lowerCase));
  if (kline === undefined) {
    if (collected.symbolOf(symbol) !== undefined) {
      throw new ApiError(-1120, `Invalid interval. There is no stream ${name}.`);
    }
    const isUpperCase = collected.symbolOf(symbol.toLowerCase()) !== undefined;
    if (!isUpperCase) throw notCollected(symbol);
    throw new ApiError(-1121, `Invalid symbol. Stream names are in lower case, not ${name}.`);
  }
  return { name, kline, series: collected.seriesFor(kline) };
}

function refuse(tcp: Duplex, { status, body, type, retryAfter }: Answer): void {
  const retry = retryAfter === undefined ? "" : `Retry-After: ${retryAfter}\r\n`;
  tcp.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? "Refused"}\r\nContent-Type: ${type}\r\n${retry}` +
      `Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  );
}
