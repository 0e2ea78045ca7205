import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { type FastifyInstance, fastify } from "fastify";
import { BlackTradeError } from "../core/errors.ts";
import { Guard, type GuardOptions } from "./guard.ts";
import type { Face, FaceContext, ServeParts } from "./parts.ts";
import { addProbes, type ProbeOptions } from "./probes.ts";
import {
  documentOf,
  HttpProblem,
  notFound,
  PROBLEM_TYPE,
  problemOf,
  sendProblem,
} from "./problem.ts";
import { refuseSocket, Upgrades } from "./upgrades.ts";

/** What the HTTP server shows and where. */
export interface HttpOptions extends ProbeOptions, GuardOptions {
  /** 0 = any free port. */
  readonly port: number;
  /** Of this program. */
  readonly version: string;
  readonly faces: readonly Face[];
  /** `undefined` until the database is open. */
  readonly parts: () => ServeParts | undefined;
  /** Told of what should not happen: an error that is not the program's own. */
  readonly onFault?: (error: unknown) => void;
}

/** A listening HTTP server. */
export interface HttpServer {
  readonly url: string;
  close(): Promise<void>;
}

const BODY_LIMIT = 65_536;
/** What a browser or a scraper needs many times over; a request line of 8 KB fits. */
const HEADER_LIMIT = 16_384;
/** From the first byte to the last of a request, and of its headers: ends whoever sends a byte at a time. */
const REQUEST_TIMEOUT_MS = 10_000;
const HEADERS_TIMEOUT_MS = 5_000;
/** How often the two are looked at. */
const CONNECTION_CHECK_MS = 2_000;
/** Ends a connection on which nothing moves; watchers hear a heartbeat more often. */
const IDLE_TIMEOUT_MS = 60_000;
const KEEP_ALIVE_MS = 10_000;
const MAX_CONNECTIONS = 512;

/** For every answer; a page of its own needs has another policy. */
const SECURITY_HEADERS: Readonly<Record<string, string>> = {
  "x-content-type-options": "nosniff",
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
  "cross-origin-resource-policy": "same-origin",
  "referrer-policy": "no-referrer",
  "cache-control": "no-store",
};

/**
 * Serves `/metrics`, `/livez`, `/readyz` and the faces.
 * @throws {BlackTradeError} E_PORT_IN_USE or E_HTTP_BIND
 */
export async function startHttp(options: HttpOptions): Promise<HttpServer> {
  const guard = new Guard(options);
  const upgrades = new Upgrades();
  const servers: Server[] = [];
  const newest = new WeakMap<Socket, Exchange>();
  const server = fastify({
    bodyLimit: BODY_LIMIT,
    exposeHeadRoutes: true,
    routerOptions: { maxParamLength: 200 },
    serverFactory: (handler) => {
      const one = createGuardedServer(guard, upgrades, newest, handler);
      servers.push(one);
      return one;
    },
    clientErrorHandler: (error, socket) => refuseUnreadable(error.code, socket, newest.get(socket)),
    frameworkErrors: (error, _request, reply) => {
      void sendProblem(reply, problemOf(error));
    },
  });
  answerErrors(server, options);
  server.addHook("onRequest", async (request) => {
    if (request.routeOptions.config.isPublic !== true) guard.checkToken(request.raw);
  });
  addProbes(server, options);
  addFaces(server, guard, upgrades, options);
  server.addHook("preClose", async () => {
    upgrades.closeSoon();
    for (const one of servers) one.closeAllConnections();
  });

  try {
    await server.listen({ host: options.host, port: options.port });
  } catch (error) {
    await server.close();
    throw listenError(error, options);
  }
  const address = server.server.address();
  const port = typeof address === "object" && address !== null ? address.port : options.port;
  const host = options.host.includes(":") ? `[${options.host}]` : options.host;
  return { url: `http://${host}:${port}`, close: () => server.close() };
}

/** A server that hears only what has passed the guard: before any routing, whatever the path looks like. */
function createGuardedServer(
  guard: Guard,
  upgrades: Upgrades,
  newest: WeakMap<Socket, Exchange>,
  handler: (request: IncomingMessage, response: ServerResponse) => void,
): Server {
  const server = createServer(
    {
      requestTimeout: REQUEST_TIMEOUT_MS,
      headersTimeout: HEADERS_TIMEOUT_MS,
      keepAliveTimeout: KEEP_ALIVE_MS,
      connectionsCheckingInterval: CONNECTION_CHECK_MS,
      maxHeaderSize: HEADER_LIMIT,
    },
    (request, response) => {
      newest.set(request.socket, { request, response });
      for (const [name, value] of Object.entries(SECURITY_HEADERS)) response.setHeader(name, value);
      try {
        guard.checkHost(request);
        const reader = guard.checkOrigin(request);
        if (reader !== undefined) allowReading(response, reader);
        if (reader !== undefined && request.method === "OPTIONS") response.writeHead(204).end();
        else handler(request, response);
      } catch (error) {
        refuse(response, problemOf(error));
      }
    },
  );
  server.timeout = IDLE_TIMEOUT_MS;
  server.maxConnections = MAX_CONNECTIONS;
  server.on("upgrade", (request, socket, head) => {
    upgrades.handle(request, socket, head, () => {
      guard.checkHost(request);
      guard.checkOrigin(request, true);
      guard.checkToken(request);
    });
  });
  return server;
}

/** Lets a page of an origin that the user has named read the answer. */
function allowReading(response: ServerResponse, origin: string): void {
  response.setHeader("access-control-allow-origin", origin);
  response.setHeader("access-control-allow-methods", "GET, HEAD");
  response.setHeader("access-control-allow-headers", "authorization, last-event-id, x-mbx-apikey");
  response.setHeader("access-control-max-age", "600");
  response.setHeader("cross-origin-resource-policy", "cross-origin");
  response.setHeader("vary", "origin");
}

function refuse(response: ServerResponse, problem: HttpProblem): void {
  response
    .writeHead(problem.status, {
      ...problem.headers,
      "content-type": PROBLEM_TYPE,
      // What came with the request is not read.
      connection: "close",
    })
    .end(JSON.stringify(documentOf(problem)));
}

/** The newest request of a connection, and what becomes of it. */
interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

/**
 * Answers what is no HTTP, comes too slowly, or has too long a head. A request that was answered before its body turned
 * out to be none has no second answer, which whoever stands in between would take for that of another request.
 */
function refuseUnreadable(code: string, socket: Socket, last: Exchange | undefined): void {
  if (code === "ECONNRESET" || !socket.writable) {
    socket.destroy();
    return;
  }
  if (last?.request.complete === false && last.response.headersSent) {
    socket.destroySoon();
    return;
  }
  if (last?.request.complete === true && !last.response.writableFinished) {
    // The answer that is under way stays whole; the connection ends with it.
    last.response.once("finish", () => socket.destroySoon());
    return;
  }
  const [status, detail] = UNREADABLE[code] ?? [400, "this is no HTTP request that can be read"];
  const remedy = "See /openapi.json for what is accepted.";
  refuseSocket(socket, new HttpProblem("E_HTTP_REQUEST", detail, { status, remedy }));
}

/** By Node.js's code of the error. */
const UNREADABLE: Readonly<Record<string, readonly [status: number, detail: string]>> = {
  ERR_HTTP_REQUEST_TIMEOUT: [408, "the request did not come in time"],
  HPE_HEADER_OVERFLOW: [431, `the head of the request is longer than ${HEADER_LIMIT} bytes`],
};

function answerErrors(server: FastifyInstance, { onFault }: HttpOptions): void {
  server.setErrorHandler(async (error, _request, reply) => {
    const problem = problemOf(error);
    if (problem.status === 500) onFault?.(error);
    await sendProblem(reply, problem);
  });
  server.setNotFoundHandler(async (request, reply) => sendProblem(reply, notFound(request)));
}

function addFaces(
  server: FastifyInstance,
  guard: Guard,
  upgrades: Upgrades,
  options: HttpOptions,
): void {
  const context: FaceContext = {
    version: options.version,
    parts: () => {
      const parts = options.parts();
      if (parts !== undefined) return parts;
      throw new HttpProblem("E_HTTP_NOT_READY", "the database is being opened", {
        headers: { "retry-after": "5" },
        remedy: "Ask again in a few seconds; /readyz says why if it takes longer.",
      });
    },
    demandToken: (request) => {
      if (guard.hasToken) return guard.checkToken(request);
      throw new HttpProblem("E_HTTP_TOKEN", "this needs a token, and none is set", {
        status: 403,
        remedy:
          "Set API_TOKEN (openssl rand -base64 24), start again, and send it: Authorization: Bearer …",
      });
    },
    onUpgrade: (path, handler) => upgrades.on(path, handler),
    onFault: (error) => options.onFault?.(error),
  };
  for (const face of options.faces) {
    server.register(async (scope) => face(scope, context));
  }
}

function listenError(
  error: unknown,
  { host, port }: Pick<HttpOptions, "host" | "port">,
): BlackTradeError {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  if (code === "EADDRINUSE") {
    return new BlackTradeError(
      "E_PORT_IN_USE",
      `port ${port} on ${host} is used by another program`,
      {
        remedy: `stop that program (find it with: ss -ltnp 'sport = :${port}'), set HTTP_PORT to a free port, or start with --no-http`,
        cause: error,
      },
    );
  }
  return new BlackTradeError("E_HTTP_BIND", `cannot listen on ${host}:${port} (${String(code)})`, {
    remedy:
      "set HTTP_HOST to an address of this machine (127.0.0.1) and HTTP_PORT to a port above 1023",
    cause: error,
  });
}
