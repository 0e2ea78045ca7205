import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import type { FastifyInstance } from "fastify";
import type { Candle, SeriesCandle } from "../core/candle.ts";
import type { VersionedCandle } from "../core/finality.ts";
import type { CandleChanges, CandleQueries, CandleWritten, StretchWritten } from "../core/ports.ts";
import type { TimeRange } from "../core/range.ts";
import type { Series } from "../core/series.ts";
import type { Jobs } from "./jobs.ts";
import type { SeriesView, StatusView } from "./status-reader.ts";

/** A forming candle as the exchange told it last. */
export interface FormingCandle extends SeriesCandle {
  /** Exchange time stamp of the event, epoch ms. */
  readonly eventTime: number;
}

/** What happens now, for those who watch. */
export type FeedEvent =
  /** Committed, by whichever process. */
  | { readonly kind: "closed"; readonly change: CandleWritten }
  /** Many candles of one series were committed: read them, where they matter. */
  | { readonly kind: "stretch"; readonly change: StretchWritten }
  | { readonly kind: "forming"; readonly forming: FormingCandle }
  /** `changed` = the series whose word or reason is another than before; empty when nothing is known. */
  | { readonly kind: "status"; readonly view: StatusView; readonly changed: readonly SeriesView[] };

/** The live flow inside this process: one reading of the database and of the stream, for any number of watchers. */
export interface Feed {
  /**
   * Told of every event from now on, synchronously and in order; must not block or throw.
   * @param wantsStatus false = of candles only: the state of all series is read while somebody wants it
   * @returns ends the subscription
   */
  subscribe(watcher: (event: FeedEvent) => void, wantsStatus: boolean): () => void;
  /** Id of the newest change that watchers were told of; `undefined` while nobody has watched. */
  readonly lastId: number | undefined;
  /** Resolves with that id once there is one: whoever has subscribed before is told of every change after it. */
  started(): Promise<number>;
  /** The candle of a series that is forming now; `undefined` where no stream tells of it. */
  forming(series: Series): Candle | undefined;
}

/** A line of the log; secrets are masked in it. */
export interface LogLine {
  /** Grows by one from line to line. */
  readonly id: number;
  /** Epoch ms. */
  readonly time: number;
  readonly level: string;
  readonly text: string;
}

/** What the HTTP faces show, once the database is open. */
export interface ServeParts {
  /**
   * Reads with a statement timeout, over connections that may only read, few at a time.
   * @throws {HttpProblem} E_HTTP_BUSY when too many wait
   */
  readonly queries: CandleQueries;
  readonly feed: Feed;
  /** For whoever goes on from an event that it has seen. */
  readonly changes: CandleChanges;
  readonly readStatus: () => Promise<StatusView>;
  /** The newest lines of this process's log after an id, the oldest first; at most a few hundred are kept. */
  readonly logLines: (afterId: number) => readonly LogLine[];
  /** Exchange time, epoch ms. */
  readonly now: () => number;
  /** False where nothing is ingested by this process: then no candle is forming. */
  readonly isIngesting: boolean;
  /** Bytes of a file of candles of one series, ascending. */
  readonly encode: EncodeCandles;
  /** The name of the exchange's outage that a stretch without candles lies in, where it is known. */
  readonly knownOutage: (series: Series, range: TimeRange) => string | undefined;
  readonly jobs: Jobs;
}

/** Makes a file of candles. */
export type EncodeCandles = (
  format: "csv" | "arrow" | "arrow-stream" | "parquet",
  series: Series,
  candles: readonly VersionedCandle[],
) => Promise<Uint8Array>;

/** Takes a WebSocket handshake that has passed the guard; `WebSocketServer.handleUpgrade` of `ws` takes the same. */
export type UpgradeHandler = (request: IncomingMessage, socket: Duplex, head: Buffer) => void;

/** What a face stands on. */
export interface FaceContext {
  /** Of this program. */
  readonly version: string;
  /**
   * What is served; ask anew for each request.
   * @throws {HttpProblem} 503 while the database is being opened: left unhandled it is answered as problem+json
   */
  parts(): ServeParts;
  /**
   * For what needs a token always: where none is set it is refused.
   * @throws {HttpProblem} 401; 403 when no token is set
   */
  demandToken(request: IncomingMessage): void;
  /**
   * Takes the WebSocket handshakes of a path and of everything below it (`/ws` also takes `/ws/btcusdt@kline_1m`).
   * Host, origin, token and the number of connections have been checked; the socket is destroyed when the server closes.
   */
  onUpgrade(path: string, handler: UpgradeHandler): void;
  /** To be told of errors that are not the program's own, by a face that answers errors itself. */
  onFault(error: unknown): void;
}

/**
 * One face of the server: adds its routes to a scope of its own, so that its error handler, hooks and parsers are its
 * own, too. Without an error handler every error is answered as problem+json, see `problem.ts`. Host, origin and token
 * are checked before any route; a route with `{ config: { isPublic: true } }` needs no token.
 */
export type Face = (server: FastifyInstance, context: FaceContext) => void;

declare module "fastify" {
  interface FastifyContextConfig {
    /** Answered without a token: holds nothing that came from the database. */
    isPublic?: boolean;
  }
}
