import { Readable } from "node:stream";
import type { FastifyInstance } from "fastify";
import { seriesLabel } from "../core/series.ts";
import type { StatusView } from "./status-reader.ts";

/** What the probes show; there from the first moment on. */
export interface ProbeOptions {
  readonly readStatus: () => Promise<StatusView>;
  /** The page of metrics; its pieces are read once. */
  readonly renderMetrics: (view: StatusView) => {
    readonly contentType: string;
    readonly pieces: AsyncIterable<string> | Iterable<string>;
  };
}

/** A symbol that the exchange has halted is as it should be; every other word than these means work to do. */
const READY_WORDS: ReadonlySet<string> = new Set(["active", "halted"]);

/** `/livez`, `/readyz` and `/metrics`. */
export function addProbes(server: FastifyInstance, options: ProbeOptions): void {
  server.get("/livez", { config: { isPublic: true } }, async () => ({ status: "alive" }));

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
    const { contentType, pieces } = options.renderMetrics(await options.readStatus());
    return reply.header("content-type", contentType).send(Readable.from(pieces));
  });
}
