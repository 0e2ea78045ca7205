import { createHash, timingSafeEqual } from "node:crypto";
import { fastify } from "fastify";
import { BlackTradeError } from "../core/errors.ts";
import { seriesLabel } from "../core/series.ts";
import type { StatusView } from "./status-reader.ts";

/** What the HTTP face shows and where. */
export interface HttpOptions {
  readonly host: string;
  /** 0 = any free port. */
  readonly port: number;
  /** When set, everything but `/livez` demands it as a bearer token. */
  readonly token: string | undefined;
  readonly readStatus: () => Promise<StatusView>;
  readonly renderMetrics: (view: StatusView) => Promise<{ contentType: string; body: string }>;
}

/** A listening HTTP face. */
export interface HttpServer {
  readonly url: string;
  close(): Promise<void>;
}

/** A symbol that the exchange has halted is as it should be; every other word than these means work to do. */
const READY_WORDS: ReadonlySet<string> = new Set(["active", "halted"]);

/**
 * Serves `/metrics`, `/livez` and `/readyz`.
 * @throws {BlackTradeError} E_PORT_IN_USE or E_HTTP_BIND
 */
export async function startHttp(options: HttpOptions): Promise<HttpServer> {
  const server = fastify({
    bodyLimit: 65_536,
    requestTimeout: 10_000,
    forceCloseConnections: true,
  });
  const isLocalBind = isLocalHost(options.host);

  server.addHook("onRequest", async (request, reply) => {
    // A page of another site can make a browser ask this machine under its own name (DNS rebinding).
    if (isLocalBind && !isLocalHost(hostOf(request.headers.host ?? ""))) {
      return reply.code(421).send({ error: "this server answers to localhost only" });
    }
    if (options.token === undefined || request.url === "/livez") return;
    if (!hasToken(request.headers.authorization, options.token)) {
      return reply
        .code(401)
        .header("www-authenticate", "Bearer")
        .send({ error: "send the API token: Authorization: Bearer …" });
    }
  });

  server.get("/livez", async () => ({ status: "alive" }));

  server.get("/readyz", async (_request, reply) => {
    const view = await options.readStatus();
    if (!view.isKnown) return reply.code(503).send({ status: "not ready", reason: view.reason });
    const waiting = view.series.filter(({ status }) => !READY_WORDS.has(status.word));
    const isReady = view.series.length > 0 && waiting.length === 0;
    return reply.code(isReady ? 200 : 503).send({
      status: isReady ? "ready" : "not ready",
      seriesCount: view.series.length,
      notActive: waiting.map(({ series, status }) => ({
        series: seriesLabel(series),
        status: status.word,
        reason: status.reason,
      })),
    });
  });

  server.get("/metrics", async (_request, reply) => {
    const { contentType, body } = await options.renderMetrics(await options.readStatus());
    return reply.header("content-type", contentType).send(body);
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

function listenError(error: unknown, { host, port }: HttpOptions): BlackTradeError {
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

function hostOf(header: string): string {
  return header.replace(/:\d+$/, "").replace(/^\[|\]$/g, "");
}

function isLocalHost(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127\.\d+\.\d+\.\d+$/.test(host);
}

/** Compares in constant time: hashes are of equal length whatever was sent. */
function hasToken(header: string | undefined, token: string): boolean {
  const given = /^Bearer (.+)$/.exec(header ?? "")?.[1] ?? "";
  const digest = (text: string): Buffer => createHash("sha256").update(text).digest();
  return timingSafeEqual(digest(given), digest(token));
}
