import { EventEmitter } from "node:events";

/** The simulated network's end of a socket. */
export interface SocketWire {
  send(text: string): void;
  pong(): void;
  close(code: number): void;
  terminate(): void;
}

/** What dials: the network of the process that runs now. */
export interface Dialer {
  dial(socket: WebSocket, url: URL): SocketWire;
}

let dialer: Dialer | undefined;

/** Says to whose network new sockets belong. */
export function setDialer(next: Dialer | undefined): void {
  dialer = next;
}

/**
 * Stands in for the class of the package `ws` in the program under simulation: the part of its behaviour that
 * `exchanges/binance/link.ts` relies on, without a network. `test/sim/hooks.ts` puts it in the package's place.
 */
export class WebSocket extends EventEmitter {
  static readonly CONNECTING = 0;
  static readonly OPEN = 1;
  static readonly CLOSING = 2;
  static readonly CLOSED = 3;
  readyState: number = WebSocket.CONNECTING;
  readonly #wire: SocketWire;
  readonly #isAnswering: boolean;

  constructor(url: URL, options: { readonly autoPong?: boolean } = {}) {
    super();
    this.#isAnswering = options.autoPong ?? true;
    if (dialer === undefined) throw new Error("no network");
    this.#wire = dialer.dial(this, url);
  }

  send(text: string, done?: (error?: Error) => void): void {
    if (this.readyState !== WebSocket.OPEN) {
      done?.(new Error("WebSocket is not open"));
      return;
    }
    this.#wire.send(text);
    done?.();
  }

  close(code = 1005): void {
    if (this.readyState === WebSocket.CONNECTING) this.terminate();
    else if (this.readyState === WebSocket.OPEN) {
      this.readyState = WebSocket.CLOSING;
      this.#wire.close(code);
    }
  }

  terminate(): void {
    if (this.readyState === WebSocket.CLOSED) return;
    this.#wire.terminate();
  }

  /** The handshake has ended well. */
  arriveOpen(): void {
    if (this.readyState !== WebSocket.CONNECTING) return;
    this.readyState = WebSocket.OPEN;
    this.emit("open");
  }

  /** The server sent an answer in place of a handshake. */
  arriveRefusal(statusCode: number, headers: Readonly<Record<string, string>>): void {
    if (this.readyState !== WebSocket.CONNECTING) return;
    this.emit("unexpected-response", { destroy: () => undefined }, { statusCode, headers });
  }

  /** What the network says went wrong. */
  arriveError(error: Error): void {
    if (this.readyState === WebSocket.CLOSED) return;
    this.emit("error", error);
    this.terminate();
  }

  arriveFrame(data: Buffer, isBinary: boolean): void {
    if (this.readyState !== WebSocket.OPEN && this.readyState !== WebSocket.CLOSING) return;
    this.emit("message", data, isBinary);
  }

  arrivePing(): void {
    if (this.readyState !== WebSocket.OPEN) return;
    if (this.#isAnswering) this.#wire.pong();
    this.emit("ping", Buffer.alloc(0));
  }

  arriveClose(code: number, reason: string): void {
    if (this.readyState === WebSocket.CLOSED) return;
    this.readyState = WebSocket.CLOSED;
    this.emit("close", code, Buffer.from(reason));
  }
}
