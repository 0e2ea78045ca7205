import { type IncomingMessage, STATUS_CODES } from "node:http";
import type { Duplex } from "node:stream";
import type { UpgradeHandler } from "./parts.ts";
import { documentOf, HttpProblem, PROBLEM_TYPE, problemOf } from "./problem.ts";

/** WebSockets at a time, all faces together. */
const MAX_SOCKETS = 256;
/** How long a client may take to answer a close frame when the server ends. */
const GOODBYE_MS = 500;

/** Hands WebSocket handshakes to the face that takes their path. */
export class Upgrades {
  readonly #handlers = new Map<string, UpgradeHandler>();
  readonly #sockets = new Set<Duplex>();
  #goodbye: NodeJS.Timeout | undefined;

  /** Sockets that are open. */
  get size(): number {
    return this.#sockets.size;
  }

  /** Takes a path and everything below it. */
  on(path: string, handler: UpgradeHandler): void {
    this.#handlers.set(path, handler);
  }

  /** @param check throws the problem of a handshake that is not to be heard */
  handle(request: IncomingMessage, socket: Duplex, head: Buffer, check: () => void): void {
    // A client that goes away in the middle of a handshake must not end the program.
    socket.on("error", () => socket.destroy());
    try {
      check();
      const handler = this.#handlerOf(request.url ?? "/");
      if (this.#sockets.size >= MAX_SOCKETS) {
        throw new HttpProblem("E_HTTP_BUSY", `${MAX_SOCKETS} WebSockets are open already`, {
          headers: { "retry-after": "10" },
          remedy: "Close some; one connection can carry many streams.",
        });
      }
      this.#sockets.add(socket);
      socket.on("close", () => {
        this.#sockets.delete(socket);
        if (this.#sockets.size === 0) clearTimeout(this.#goodbye);
      });
      handler(request, socket, head);
    } catch (error) {
      refuseSocket(socket, problemOf(error));
    }
  }

  /** Ends every WebSocket: first its face may say goodbye, so that a client knows why; then it is cut off. */
  closeSoon(): void {
    if (this.#sockets.size === 0) return;
    this.#goodbye = setTimeout(() => {
      for (const socket of this.#sockets) socket.destroy();
    }, GOODBYE_MS);
  }

  #handlerOf(url: string): UpgradeHandler {
    const [path = "/"] = url.split("?");
    for (const [prefix, handler] of this.#handlers) {
      if (path === prefix || path.startsWith(`${prefix}/`)) return handler;
    }
    throw new HttpProblem("E_HTTP_NOT_FOUND", "there is no WebSocket under this path", {
      remedy: `There is ${[...this.#handlers.keys()].join(" and ") || "none"}.`,
    });
  }
}

/** Answers with an error where there is no response to write to, and ends the connection. */
export function refuseSocket(socket: Duplex, problem: HttpProblem): void {
  const body = JSON.stringify(documentOf(problem));
  const headers = {
    ...problem.headers,
    "content-type": PROBLEM_TYPE,
    "content-length": String(Buffer.byteLength(body)),
    connection: "close",
  };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
  socket.end(
    `HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status]}\r\n${lines.join("\r\n")}\r\n\r\n${body}`,
  );
}
