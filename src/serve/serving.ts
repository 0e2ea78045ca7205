import type { RunJob } from "../core/job.ts";
import type { CandleChanges, CandleQueries, Clock } from "../core/ports.ts";
import { FACES } from "./faces.ts";
import { LiveFeed } from "./feed.ts";
import type { GuardOptions } from "./guard.ts";
import { startHttp } from "./http.ts";
import { Jobs } from "./jobs.ts";
import type { ServeParts } from "./parts.ts";
import type { ProbeOptions } from "./probes.ts";
import { gated, QueryGate } from "./query-gate.ts";

/** Where it is served, and what is there from the first moment on. */
export interface ServingOptions
  extends Pick<ProbeOptions, "renderMetrics">,
    Pick<ServeParts, "logLines">,
    Omit<GuardOptions, "monotonicMs"> {
  /** 0 = any free port. */
  readonly port: number;
  /** Of this program. */
  readonly version: string;
  readonly clock: Clock;
  /** Told of faults that nobody is answered with. */
  readonly onFault: (error: unknown) => void;
}

/** What is served once the database is open. */
export interface ServingSources
  extends Pick<ServeParts, "readStatus" | "now" | "isIngesting" | "encode" | "knownOutage"> {
  /** Over connections that may only read, with a statement timeout. */
  readonly queries: CandleQueries & CandleChanges;
  readonly runJob: RunJob;
}

/** The HTTP server: there from the first moment on, so that a port in use shows at once and a slow start can be watched. */
export interface Serving {
  readonly url: string;
  /** Shows what there is from now on. @returns the feed, which wants to be told of live events */
  show(sources: ServingSources): LiveFeed;
  close(): Promise<void>;
}

/** @throws {BlackTradeError} E_PORT_IN_USE or E_HTTP_BIND */
export async function startServing(options: ServingOptions): Promise<Serving> {
  let parts: ServeParts | undefined;
  let feed: LiveFeed | undefined;
  const http = await startHttp({
    ...options,
    faces: FACES,
    monotonicMs: options.clock.monotonic,
    parts: () => parts,
    readStatus: async () =>
      parts === undefined
        ? { isKnown: false, reason: "the database is being opened" }
        : parts.readStatus(),
  });
  return {
    url: http.url,
    show: (sources) => {
      feed = new LiveFeed({ ...sources, ...options, changes: sources.queries });
      parts = {
        ...sources,
        queries: gated(sources.queries, new QueryGate(), options.clock.monotonic),
        changes: sources.queries,
        feed,
        logLines: options.logLines,
        jobs: new Jobs(sources.runJob, options.clock.now),
      };
      return feed;
    },
    close: async () => {
      feed?.close();
      await Promise.all([http.close(), parts?.jobs.close()]);
    },
  };
}
