import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { WebSocketServer } from "ws";
import { CONNECT_WINDOW_MS, MAX_MESSAGE_BYTES } from "../wire/limits.ts";
import { RollingWindow } from "../wire/rolling-window.ts";
import { parseStreamUrl } from "../wire/stream-url.ts";
import { ClientSocket } from "./client-socket.ts";
import type { Exchange } from "./exchange.ts";
import type { FaultAction } from "./faults.ts";
import { Feed } from "./feed.ts";

const DEFAULT_SHUTDOWN_MS = 10_000;

/** The stream side of the exchange: takes upgrades, owns the sockets, drives the feed. */
export class StreamServer {
  readonly #exchange: Exchange;
  readonly #feed: Feed;
  readonly #sockets = new Set<ClientSocket>();
  readonly #connects = new Map<string, RollingWindow>();
  readonly #ws: WebSocketServer;
  #lastId = 0;

  constructor(exchange: Exchange) {
    this.#exchange = exchange;
    this.#feed = new Feed(exchange);
    this.#ws = new WebSocketServer({
      noServer: true,
      clientTracking: true,
      maxPayload: MAX_MESSAGE_BYTES,
      perMessageDeflate: exchange.switches.perMessageDeflate,
    });
    exchange.faults.onChange((change) => {
      if (change.kind === "action") this.#act(change.action);
      if (change.kind === "set" && change.active.fault.kind === "halfOpen") {
        for (const socket of this.#sockets) socket.goDead();
      }
    });
  }

  /** Streams that somebody listens to. */
  get streamCount(): number {
    return this.#feed.size;
  }

  /** Takes over a connection that asked for an upgrade, or refuses it. */
  upgrade(request: IncomingMessage, tcp: Duplex, head: Buffer): void {
    // A client that goes away in the middle of a handshake is no error of the exchange.
    tcp.on("error", () => tcp.destroy());
    const url = request.url ?? "/";
    const refusal = this.#refusal(request);
    const parsed = parseStreamUrl(url);
    const status = refusal ?? (parsed === undefined ? 404 : undefined);
    if (status !== undefined || parsed === undefined) {
      this.#exchange.journal.refused(url, status ?? 404);
      tcp.end(
        `HTTP/1.1 ${status ?? 404} Refused\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`,
      );
      return;
    }
    this.#ws.handleUpgrade(request, tcp, head, (ws) => {
      const id = ++this.#lastId;
      this.#exchange.journal.upgraded(id, url);
      const socket = new ClientSocket(this.#exchange, this.#feed, ws, tcp, { id, ...parsed });
      this.#sockets.add(socket);
      ws.on("error", () => ws.terminate());
      ws.on("close", (code) => {
        this.#sockets.delete(socket);
        socket.leave();
        this.#exchange.journal.closed(id, code);
      });
    });
  }

  /**
   * Sends what is due, on all sockets.
   * @param now exchange time
   * @returns true when more is due at once
   */
  tick(now: number): boolean {
    const isBehind = this.#feed.tick(now);
    for (const socket of this.#sockets) {
      socket.tick(now);
      socket.flush();
    }
    return isBehind;
  }

  /** Cuts every connection. */
  close(): void {
    for (const ws of this.#ws.clients) ws.terminate();
    this.#ws.close();
  }

  #refusal(request: IncomingMessage): number | undefined {
    const { faults, journal, limits, switches } = this.#exchange;
    const refused = faults.strike("refuseUpgrades");
    if (refused !== undefined) return refused.status;
    const address = request.socket.remoteAddress ?? "";
    const window = this.#connects.get(address) ?? new RollingWindow(CONNECT_WINDOW_MS);
    this.#connects.set(address, window);
    const connects = window.add(this.#exchange.now());
    if (connects <= limits.connectsPer5Minutes) return undefined;
    journal.violation("connects", `${connects} in 5 minutes`);
    return switches.tooManyConnectsStatus;
  }

  #act(action: FaultAction): void {
    const count = action.kind === "serverShutdown" ? undefined : action.sockets;
    const chosen = count === undefined ? [...this.#sockets] : [...this.#sockets].slice(-count);
    for (const socket of chosen) {
      if (action.kind === "drop") socket.close(action.code, action.reason ?? "");
      else if (action.kind === "cutMidFrame") socket.cutMidFrame();
      else {
        socket.announceShutdown(action.closeAfterMs ?? DEFAULT_SHUTDOWN_MS, action.code ?? 1001);
      }
    }
  }
}
