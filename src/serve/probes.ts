import { Readable } from "node:stream";
import type { FastifyInstance } from "fastify";
import { seriesLabel } from "../core/series.ts";
import { mostUrgentFirst } from "../core/status.ts";
import type { StatusView } from "./status-reader.ts";

/** What the probes show; there from the first moment on. */
export interface ProbeOptions {
  readonly readStatus: () => Promise<StatusView>;
  /** The page of metrics; its pieces are read once. */
  readonly renderMetrics: (
    view: StatusView,
    names?: ReadonlySet<string>,
  ) => {
    readonly contentType: string;
    readonly pieces: AsyncIterable<string> | Iterable<string>;
  };
}

/** A symbol that the exchange has halted is as it should be; every other word than these means work to do. */
const READY_WORDS: ReadonlySet<string> = new Set(["active", "halted"]);

/** Series that `/readyz` names: a probe asks every few seconds, also while thousands are being caught up. */
const MAX_REASONS = 100;

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
      notActiveCount: waiting.length,
      notActive: mostUrgentFirst(waiting)
        .slice(0, MAX_REASONS)
        .map(({ series, status }) => ({
          series: seriesLabel(series),
          status: status.word,
          reason: status.reason,
        })),
    });
  });

  server.get("/metrics", async (request, reply) => {
    const names = namesOf(request.query);
    const { contentType, pieces } = options.renderMetrics(await options.readStatus(), names);
    return reply.header("content-type", contentType).send(Readable.from(pieces));
  });
}

/** @returns names of `?name[]=…`, as Prometheus' own clients have it; `undefined` = every metric */
function namesOf(query: unknown): ReadonlySet<string> | undefined {
  const names = (query as Readonly<Record<string, string | readonly string[]>>)["name[]"];
  return names === undefined ? undefined : new Set([names].flat());
}
