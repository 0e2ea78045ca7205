import type { FastifyInstance, FastifyReply } from "fastify";
import { type Answer, type EncodedAnswer, encode } from "../../wire/http-answer.ts";
import { DEFAULT_LIMITS, type Limits } from "../../wire/limits.ts";
import type { Face, FaceContext, ServeParts } from "../parts.ts";
import { CollectedReader } from "./collected.ts";
import { CompatibleRest } from "./rest.ts";
import { CompatibleStreams } from "./stream-server.ts";

const TICK_MS = 1_000;
/** What a subscriber that does not read may hold of this program's memory. */
const MAX_BUFFERED_BYTES = 16 * 1024 * 1024;

/**
 * Binance's limits, but no bans: here all programs of a machine share one address, and one that does not stop asking
 * must not shut the others out for days. What is over the limit gets 429 until the minute is over.
 */
const COMPATIBLE_LIMITS: Limits = {
  ...DEFAULT_LIMITS,
  requestsAfter429: Number.POSITIVE_INFINITY,
  maxBufferedBytes: MAX_BUFFERED_BYTES,
};

/** Takes clients made for Binance's spot market data. */
export const binanceCompatible: Face = (server, context) =>
  addCompatible(server, context, COMPATIBLE_LIMITS);

/** {@link binanceCompatible} with limits of one's own. */
function addCompatible(server: FastifyInstance, context: FaceContext, limits: Limits): void {
  const parts = (): ServeParts => context.parts();
  const collected = new CollectedReader(parts);
  const onFault = (error: unknown): void => context.onFault(error);
  const rest = new CompatibleRest(parts, collected, limits, onFault);
  const refusal = (error: unknown): Answer => rest.refusal(error);
  const streams = new CompatibleStreams(parts, collected, limits, refusal, onFault);

  // Orders come as forms; whatever a body says, the answer is that only candles are served.
  server.addContentTypeParser("*", (_request, payload, done) => {
    payload.resume();
    done(null);
  });
  server.setErrorHandler(async (error, request, reply) =>
    send(reply, encode(request.headers, rest.refusal(error), 0)),
  );
  server.all("/api/v3/*", async (request, reply) => {
    const { method, headers, raw } = request;
    const address = raw.socket.remoteAddress ?? "";
    return send(reply, await rest.answer({ method, url: raw.url ?? "/", headers, address }));
  });

  for (const path of ["/ws", "/stream"]) {
    context.onUpgrade(path, (request, socket, head) => {
      void streams.upgrade(request, socket, head);
    });
  }
  const ticking = setInterval(() => streams.tick(), TICK_MS);
  ticking.unref();
  server.addHook("preClose", async () => {
    clearInterval(ticking);
    streams.close();
  });
}

function send(reply: FastifyReply, { status, headers, body }: EncodedAnswer): FastifyReply {
  return reply
    .code(status)
    .headers(headers as Record<string, string>)
    .send(body);
}
