import type { AddressInfo } from "node:net";
import { connect, createServer, type NetConnectOpts, type Server, type Socket } from "node:net";

/** What the proxy does to bytes now. */
export interface Weather {
  /** Each way, ms. */
  readonly delayMs: number;
  /** Each way; `Infinity` = as fast as it goes. */
  readonly bytesPerSecond: number;
  /** Takes connections and bytes and passes nothing on: no FIN, no RST. */
  readonly isBlackHole: boolean;
  /** New connections are refused. */
  readonly isRefusing: boolean;
  /**
   * Called with what the server sends; when it says true, the connection is reset before these bytes reach the client.
   * So the answer to a COMMIT gets lost, and the COMMIT does not.
   */
  readonly cutsBefore: ((chunk: Buffer) => boolean) | undefined;
}

const FAIR: Weather = {
  delayMs: 0,
  bytesPerSecond: Number.POSITIVE_INFINITY,
  isBlackHole: false,
  isRefusing: false,
  cutsBefore: undefined,
};

/** A TCP proxy on loopback that does to a connection what networks do. */
export class TcpProxy {
  readonly #server: Server;
  readonly #target: NetConnectOpts;
  readonly #links = new Set<Link>();
  #weather: Weather = FAIR;

  private constructor(target: NetConnectOpts) {
    this.#target = target;
    this.#server = createServer({ allowHalfOpen: true }, (client) => this.#accept(client));
  }

  static async to(target: NetConnectOpts): Promise<TcpProxy> {
    const proxy = new TcpProxy(target);
    await new Promise<void>((resolve) => proxy.#server.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get linkCount(): number {
    return this.#links.size;
  }

  /** What is not said becomes fair again. */
  set(weather: Partial<Weather>): void {
    this.#weather = { ...FAIR, ...weather };
    if (!this.#weather.isBlackHole) for (const link of this.#links) link.flush();
  }

  /** Resets every connection, in the middle of a frame when one is on its way. */
  reset(): void {
    for (const link of this.#links) link.cut();
  }

  async close(): Promise<void> {
    this.reset();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #accept(client: Socket): void {
    if (this.#weather.isRefusing) {
      client.resetAndDestroy();
      return;
    }
    const link = new Link(client, connect(this.#target), () => this.#weather);
    this.#links.add(link);
    link.onEnd = () => this.#links.delete(link);
  }
}

/** One connection and its other half. */
class Link {
  onEnd = (): void => undefined;
  readonly #client: Socket;
  readonly #server: Socket;
  readonly #weather: () => Weather;
  readonly #ways: readonly Way[];

  constructor(client: Socket, server: Socket, weather: () => Weather) {
    this.#client = client;
    this.#server = server;
    this.#weather = weather;
    this.#ways = [new Way(client, server, weather), new Way(server, client, weather)];
    client.setNoDelay(true);
    server.setNoDelay(true);
    for (const way of this.#ways) way.onEnd = () => this.cut();
    server.on("data", (chunk: Buffer) => {
      if (this.#weather().cutsBefore?.(chunk) === true) this.cut();
      else this.#ways[1]?.take(chunk);
    });
    client.on("data", (chunk: Buffer) => this.#ways[0]?.take(chunk));
    for (const socket of [client, server]) {
      socket.on("error", () => this.cut());
      socket.on("close", () => this.cut());
    }
  }

  flush(): void {
    for (const way of this.#ways) way.flush();
  }

  /** Half of what waits goes out, then both ends are reset. */
  cut(): void {
    for (const way of this.#ways) way.spill();
    // After an end() a reset fails within libuv, and the handle then keeps the process from ever ending.
    if (this.#client.writableEnded) this.#client.destroy();
    else this.#client.resetAndDestroy();
    // A unix socket knows no reset.
    this.#server.destroy();
    this.onEnd();
  }
}

/** One direction of a connection. */
class Way {
  onEnd = (): void => undefined;
  readonly #to: Socket;
  readonly #weather: () => Weather;
  readonly #waiting: { readonly chunk: Buffer; readonly due: number }[] = [];
  #hasEnded = false;
  #timer: NodeJS.Timeout | undefined;
  /** When the line is free again, at the rate of now. */
  #free = 0;

  constructor(from: Socket, to: Socket, weather: () => Weather) {
    this.#to = to;
    this.#weather = weather;
    from.on("end", () => {
      this.#hasEnded = true;
      this.flush();
    });
  }

  take(chunk: Buffer): void {
    const { delayMs, bytesPerSecond } = this.#weather();
    const now = performance.now();
    this.#free = Math.max(this.#free, now) + (chunk.length / bytesPerSecond) * 1_000;
    this.#waiting.push({ chunk, due: this.#free + delayMs });
    this.flush();
  }

  /** Passes on what is due. */
  flush(): void {
    clearTimeout(this.#timer);
    if (this.#weather().isBlackHole || this.#to.destroyed) return;
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      const waitMs = next.due - performance.now();
      if (waitMs > 0) {
        this.#timer = setTimeout(() => this.flush(), Math.ceil(waitMs));
        return;
      }
      this.#to.write(next.chunk);
      this.#waiting.shift();
    }
    if (this.#hasEnded) this.#to.end();
  }

  spill(): void {
    clearTimeout(this.#timer);
    const next = this.#waiting.shift();
    if (next !== undefined && !this.#to.destroyed && !this.#weather().isBlackHole) {
      this.#to.write(next.chunk.subarray(0, next.chunk.length >> 1));
    }
    this.#waiting.length = 0;
  }
}
