import { z } from "zod";
import type { ServeParts } from "../parts.ts";
import { HttpProblem } from "../problem.ts";
import { isOneOf } from "./choose.ts";
import { type ApiRoute, route } from "./route.ts";
import { pairsParam } from "./schemas.ts";
import { EVENT_KINDS, type EventKind, eventText, NEWEST_MS, Watcher } from "./watcher.ts";

/** Clients at a time, and how many of them may read older changes at a time: each has a connection to the database. */
const MAX_CLIENTS = 100;
const MAX_RESUMING = 8;
const HEARTBEAT_MS = 15_000;
const RETRY_MS = 3_000;
const STREAM_TYPE = "text/event-stream; charset=utf-8";

const query = z.object({
  series: pairsParam.optional(),
  kinds: z
    .string()
    .max(100)
    .optional()
    .meta({
      description: `Of ${EVENT_KINDS.join(", ")}, separated by commas; all when not given.`,
    }),
  after: z
    .string()
    .regex(/^\d{1,16}$/, "is not an event id")
    .transform(Number)
    .optional()
    .meta({
      type: "integer",
      pattern: undefined,
      description: "Instead of the header Last-Event-ID: tell of everything after this id first.",
    }),
});

/** Everybody who watches, and the beats that they share. */
class Watchers {
  readonly #all = new Map<Watcher, () => void>();
  #resuming = 0;
  #timers: NodeJS.Timeout[] = [];

  /** @throws {HttpProblem} 503 */
  checkRoom(isResuming: boolean): void {
    const isFull = this.#all.size >= MAX_CLIENTS;
    if (!isFull && !(isResuming && this.#resuming >= MAX_RESUMING)) return;
    throw new HttpProblem(
      "E_HTTP_BUSY",
      isFull ? `${MAX_CLIENTS} clients watch already` : "too many clients resume at once",
      { headers: { "retry-after": "5" }, remedy: "Try again in a few seconds." },
    );
  }

  add(watcher: Watcher, end: () => void): void {
    this.#all.set(watcher, end);
    if (this.#timers.length > 0) return;
    const forming = setInterval(() => {
      for (const one of this.#all.keys()) one.flushNewest();
    }, NEWEST_MS);
    const beat = setInterval(() => {
      for (const [one, endIt] of this.#all) if (!one.heartbeat()) endIt();
    }, HEARTBEAT_MS);
    this.#timers = [forming.unref(), beat.unref()];
  }

  delete(watcher: Watcher): void {
    this.#all.delete(watcher);
    if (this.#all.size > 0) return;
    for (const timer of this.#timers) clearInterval(timer);
    this.#timers = [];
  }

  async resuming(work: () => Promise<void>): Promise<void> {
    this.#resuming += 1;
    try {
      await work();
    } finally {
      this.#resuming -= 1;
    }
  }
}

/** The event stream, with watchers of its own for each server. */
export function eventsRoute(): ApiRoute {
  const watchers = new Watchers();
  return route({
    method: "GET",
    path: "/api/v1/events",
    id: "watch",
    summary: "Closed candles, forming candles and changes of status as they happen (SSE)",
    description:
      "Events: `closed` {series, candle, outcome} and `stretch` {series, range} with the change's id; `forming` {series, candle, eventTime}, at most every 250 ms a series; `status` {series, problem?}; `dropped` {afterId?, reason} when a client was too slow: read the candles again. At first `ready` {isIngesting}. Goes on after Last-Event-ID; comes at least once.",
    query,
    answers: {
      200: { description: "An endless stream of events.", otherTypes: ["text/event-stream"] },
    },
    handle: async ({ query: wanted, parts, request, reply }) => {
      const isWanted = wanted.series === undefined ? undefined : isOneOf(wanted.series);
      const choice = { isWanted, kinds: kindsOf(wanted.kinds) };
      const header = request.headers["last-event-id"];
      const afterId =
        typeof header === "string" && /^\d{1,16}$/.test(header) ? Number(header) : wanted.after;
      watchers.checkRoom(afterId !== undefined);
      // A database that is away is told of before the stream begins.
      if (parts.feed.lastId === undefined) await parts.changes.lastChangeId();
      if (request.method === "HEAD") return reply.type(STREAM_TYPE).send();
      reply.hijack();
      const response = reply.raw;
      const ended = new AbortController();
      const watcher = new Watcher(response, choice, () => performance.now());
      const unsubscribe = parts.feed.subscribe(
        (event) => watcher.take(event),
        choice.kinds.has("status"),
      );
      const end = (): void => void response.destroy();
      watchers.add(watcher, end);
      const leave = (): void => {
        ended.abort();
        unsubscribe();
        watchers.delete(watcher);
      };
      response.on("close", leave);
      response.on("error", end);
      // The client may have gone meanwhile.
      if (response.destroyed) leave();
      response.writeHead(200, {
        "content-type": STREAM_TYPE,
        "cache-control": "no-store",
        // A proxy that gathers answers would hold the events back.
        "x-accel-buffering": "no",
      });
      const startId = afterId ?? (await parts.feed.started());
      const ready = { isIngesting: parts.isIngesting };
      response.write(`retry: ${RETRY_MS}\n${eventText("ready", ready, startId)}`);
      if (choice.kinds.has("status")) tellState(parts, watcher);
      if (afterId === undefined) return reply;
      void watchers
        .resuming(() =>
          watcher.resume(parts.changes, afterId, () => parts.feed.lastId, ended.signal),
        )
        .catch(end);
      return reply;
    },
  });
}

/** Whoever begins to watch knows at once how things are. */
function tellState({ readStatus }: ServeParts, watcher: Watcher): void {
  void readStatus().then(
    (view) => watcher.take({ kind: "status", view, changed: view.isKnown ? view.series : [] }),
    () => undefined,
  );
}

/** @throws {HttpProblem} 400 */
function kindsOf(text: string | undefined): ReadonlySet<EventKind> {
  if (text === undefined || text === "") return new Set(EVENT_KINDS);
  const kinds = text.split(",");
  const wrong = kinds.find((kind) => !(EVENT_KINDS as readonly string[]).includes(kind));
  if (wrong === undefined) return new Set(kinds as EventKind[]);
  throw new HttpProblem(
    "E_HTTP_REQUEST",
    `wrong query: kinds: there is no ${JSON.stringify(wrong.slice(0, 40))}`,
    { remedy: `Choose of ${EVENT_KINDS.join(", ")}.` },
  );
}
