import type { ArchiveServer } from "./archive-server.ts";
import type { Connection, ServerFrame } from "./connection.ts";
import type { FaultPlan } from "./faults.ts";
import type { Journal } from "./journal.ts";
import type { Process } from "./machine.ts";
import { pick, type Random } from "./random.ts";
import type { RestAnswer, RestServer } from "./rest-server.ts";
import type { Dialer, SocketWire, WebSocket } from "./socket.ts";
import type { StreamServer } from "./stream-server.ts";
import type { Timeline } from "./timeline.ts";

/** What lies between a process and the exchange. */
export interface NetworkOptions {
  readonly timeline: Timeline;
  readonly plan: FaultPlan;
  readonly journal: Journal;
  readonly random: Random;
  readonly rest: RestServer;
  readonly archive: ArchiveServer;
  readonly streams: StreamServer;
  readonly process: Process;
  /** Told of a request as it is sent. */
  readonly onRequest: (path: string) => void;
  /** The same of one for a file. */
  readonly onArchiveRequest: (path: string) => void;
  /** Told of a frame as it is sent by the program: a pong, or a control message. */
  readonly onClientFrame: (connection: number, isOnTime: boolean) => void;
  readonly onDial: () => void;
  /** Told of a closing frame that reached the program unharmed. */
  readonly onClosingFrame: (text: string) => void;
}

/** The parts of a `Response` that the program reads. */
interface AnswerLike {
  readonly status: number;
  readonly headers: Headers;
  readonly body: (AsyncIterable<Uint8Array> & { cancel(): Promise<void> }) | null;
}

/** Host of the archive's files. */
export const ARCHIVE_HOST = "archive.sim";

/** One process's way to the exchange: `fetch` and sockets, with delays and faults, dead when the process is. */
export class Network implements Dialer {
  readonly #options: NetworkOptions;
  #requestsUnderWay = 0;

  constructor(options: NetworkOptions) {
    this.#options = options;
  }

  get requestsUnderWay(): number {
    return this.#requestsUnderWay;
  }

  /** In place of the global `fetch`. */
  fetch(url: URL, { signal }: { readonly signal: AbortSignal }): Promise<AnswerLike> {
    const isArchive = url.host === ARCHIVE_HOST;
    const { onRequest, onArchiveRequest } = this.#options;
    if (isArchive) onArchiveRequest(url.pathname);
    else onRequest(url.pathname);
    this.#requestsUnderWay += 1;
    return new Promise<AnswerLike>((resolve, reject) => {
      const onAbort = (): void => reject(signal.reason);
      if (signal.aborted) return onAbort();
      signal.addEventListener("abort", onAbort, { once: true });
      const take = (answer: RestAnswer): void => {
        signal.removeEventListener("abort", onAbort);
        this.#noteHold(answer, isArchive);
        resolve(this.#response(answer, signal));
      };
      if (isArchive) this.#askArchive(url, signal, take);
      else this.#askRest(url, signal, take, reject);
    }).finally(() => {
      this.#requestsUnderWay -= 1;
    });
  }

  #askRest(
    url: URL,
    signal: AbortSignal,
    take: (answer: RestAnswer) => void,
    reject: (reason: Error) => void,
  ): void {
    const { timeline, plan, rest, process } = this.#options;
    const sentTime = timeline.now;
    if (plan.on("rest-refused", sentTime) !== undefined) {
      const code = pick(this.#options.random, ["ECONNREFUSED", "ENOTFOUND", "ECONNRESET"]);
      const cause = Object.assign(new Error(code), { code });
      process.deliver(sentTime + 3, "refused", () =>
        reject(new TypeError("fetch failed", { cause })),
      );
      return;
    }
    timeline.in(this.#latency(), "request", () => {
      if (plan.on("rest-hang", timeline.now) !== undefined) return;
      const request = { path: url.pathname, query: url.searchParams, sentTime };
      const answer = rest.answer(request, timeline.now);
      const slow = plan.on("rest-slow", timeline.now);
      const extraMs = slow === undefined ? 0 : Math.floor(slow.arg * 12_000);
      process.deliver(timeline.now + this.#latency() + extraMs, `answer ${answer.status}`, () => {
        if (!signal.aborted) take(answer);
      });
    });
  }

  #askArchive(url: URL, signal: AbortSignal, take: (answer: RestAnswer) => void): void {
    const { timeline, plan, archive, process } = this.#options;
    timeline.in(this.#latency(), "file", () => {
      const { now } = timeline;
      const isHanging = plan.on("archive-down", now, ({ arg }) => arg > 0.85) !== undefined;
      if (isHanging && this.#options.random() < 0.3) return;
      const answer = archive.answer(url.pathname, now);
      process.deliver(now + this.#latency(), `file ${answer.status}`, () => {
        if (!signal.aborted) take(answer);
      });
    });
  }

  /** What the program has been told, it has to obey from now on. */
  #noteHold({ holdUntil }: RestAnswer, isArchive: boolean): void {
    const { journal, timeline } = this.#options;
    if (holdUntil === undefined) return;
    if (isArchive) {
      if (holdUntil > journal.archiveToldUntil) journal.archiveToldAt = timeline.now;
      journal.archiveToldUntil = Math.max(journal.archiveToldUntil, holdUntil);
      journal.count("archive holds told");
      return;
    }
    if (holdUntil > journal.toldUntil) journal.toldAt = timeline.now;
    journal.toldUntil = Math.max(journal.toldUntil, holdUntil);
    journal.count("holds told");
  }

  #response(answer: RestAnswer, signal: AbortSignal): AnswerLike {
    const { process, timeline } = this.#options;
    const latencyMs = this.#latency();
    async function* body(): AsyncGenerator<Uint8Array> {
      await new Promise<void>((resolve, reject) => {
        const onAbort = (): void => reject(signal.reason);
        if (signal.aborted) return onAbort();
        signal.addEventListener("abort", onAbort, { once: true });
        process.deliver(timeline.now + latencyMs, "body", () => {
          signal.removeEventListener("abort", onAbort);
          resolve();
        });
      });
      yield Buffer.from(answer.body);
      if (answer.isCut === true) throw new TypeError("terminated");
    }
    return {
      status: answer.status,
      headers: new Headers(answer.headers),
      body: answer.body === "" ? null : Object.assign(body(), { cancel: async () => undefined }),
    };
  }

  /** In place of a dial of `ws`. */
  dial(socket: WebSocket): SocketWire {
    const { timeline, plan, streams, process, onClientFrame, onDial } = this.#options;
    let connection: Connection | undefined;
    let isEnded = false;
    let lastArrival = 0;
    let isPingLate = false;
    onDial();
    const toClient = (extraMs: number, label: string, act: () => void): void => {
      // One connection keeps its order.
      lastArrival = Math.max(lastArrival, timeline.now + this.#latency() + extraMs);
      process.deliver(lastArrival, label, () => {
        if (!isEnded) act();
      });
    };
    const toServer = (label: string, act: (connection: Connection) => void): void => {
      timeline.in(this.#latency(), label, () => {
        if (connection === undefined) return false;
        act(connection);
        return undefined;
      });
    };
    const arrive = (frame: ServerFrame, sentTime: number): void => {
      if (frame.kind === "ping") {
        isPingLate = timeline.now - sentTime > 1_000;
        socket.arrivePing();
      } else if (frame.kind === "binary") socket.arriveFrame(Buffer.from([1, 2, 3]), true);
      else {
        if (frame.isClosing === true) this.#options.onClosingFrame(frame.text);
        socket.arriveFrame(Buffer.from(frame.text), false);
      }
    };
    process.whenDead(() => {
      isEnded = true;
      // The machine goes on: its kernel says that nobody is there any more.
      toServer("reset", (one) => streams.closed(one));
    });
    timeline.in(this.#latency(), "dial", () => {
      if (isEnded || plan.on("ws-hang", timeline.now) !== undefined) return;
      const refused = plan.on("ws-refuse", timeline.now);
      if (refused !== undefined) {
        this.#refuse(socket, toClient, refused.arg);
        return;
      }
      connection = streams.accept({
        deliver: (frame, extraMs) => {
          const sentTime = timeline.now;
          toClient(extraMs, frame.kind, () => arrive(frame, sentTime));
        },
        deliverTogether: (frames) => {
          const sentTime = timeline.now;
          toClient(0, "burst", () => {
            for (const frame of frames) if (!isEnded) arrive(frame, sentTime);
          });
        },
        end: (code, reason) => {
          toClient(0, `end ${code}`, () => {
            isEnded = true;
            socket.arriveClose(code, reason);
          });
        },
      });
      toClient(0, "open", () => socket.arriveOpen());
    });
    const endHere = (code: number): void => {
      if (isEnded) return;
      isEnded = true;
      process.deliver(timeline.now, "closed", () => socket.arriveClose(code, ""));
    };
    return {
      send: (text) => {
        onClientFrame(connection?.id ?? 0, true);
        toServer("control", (one) => streams.receive(one, text));
      },
      pong: () => {
        onClientFrame(connection?.id ?? 0, !isPingLate);
        toServer("pong", (one) => streams.pong(one));
      },
      close: (code) => {
        const isDeaf = connection?.isBlackHole === true;
        toServer("close", (one) => streams.closed(one));
        // The other side answers with its own close frame.
        if (!isDeaf)
          process.deliver(timeline.now + 2 * this.#latency(), "close", () => endHere(code));
      },
      terminate: () => {
        toServer("reset", (one) => streams.closed(one));
        endHere(1006);
      },
    };
  }

  #refuse(
    socket: WebSocket,
    toClient: (extraMs: number, label: string, act: () => void) => void,
    arg: number,
  ): void {
    const [kind, value] = REFUSALS[Math.floor(arg * 1e4) % REFUSALS.length] ?? ["status", 503];
    if (kind === "code") {
      const error = Object.assign(new Error(String(value)), { code: value });
      toClient(0, "refusal", () => socket.arriveError(error));
    } else {
      const headers = { "content-type": "text/html", "retry-after": "20" };
      toClient(0, "refusal", () => socket.arriveRefusal(Number(value), headers));
    }
  }

  #latency(): number {
    return 5 + Math.floor(this.#options.random() ** 3 * 120);
  }
}

const REFUSALS = [
  ["status", 503],
  ["status", 502],
  ["status", 429],
  ["status", 200],
  ["code", "ECONNREFUSED"],
  ["code", "ENOTFOUND"],
  ["code", "ECONNRESET"],
  ["code", "CERT_HAS_EXPIRED"],
] as const;
