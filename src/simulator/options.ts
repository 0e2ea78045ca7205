import type { Clock } from "../core/ports.ts";
import type { Market } from "./market.ts";

/** The exchange's limits (binance.md §1.5, §1.6, §2.1, §2.4). Times in exchange time. */
export interface Limits {
  /** Request weight per wall-clock minute and address. */
  readonly weightPerMinute: number;
  /** Requests of any weight per five wall-clock minutes and address. */
  readonly requestsPer5Minutes: number;
  /** This many requests after a 429 within its minute bring a ban. */
  readonly requestsAfter429: number;
  /** The first ban; each later one of an address is twice as long. */
  readonly firstBanMs: number;
  readonly maxBanMs: number;
  /** Client frames per rolling second and socket; text, ping and pong count alike. */
  readonly messagesPerSecond: number;
  readonly streamsPerSocket: number;
  /** Upgrades per rolling five minutes and address. */
  readonly connectsPer5Minutes: number;
  readonly pingIntervalMs: number;
  /** An unanswered ping older than this closes the socket. */
  readonly pongTimeoutMs: number;
  /** Age at which a socket is closed. */
  readonly socketLifetimeMs: number;
  /** Bytes that may wait for a slow reader before its socket is dropped. */
  readonly maxBufferedBytes: number;
}

/** What Binance's documents limit, as of 2026-07; the last one is the simulator's own protection. */
export const DEFAULT_LIMITS: Limits = {
  weightPerMinute: 6_000,
  requestsPer5Minutes: 61_000,
  requestsAfter429: 10,
  firstBanMs: 2 * 60_000,
  maxBanMs: 3 * 86_400_000,
  messagesPerSecond: 5,
  streamsPerSocket: 1_024,
  connectsPer5Minutes: 300,
  pingIntervalMs: 20_000,
  pongTimeoutMs: 60_000,
  socketLifetimeMs: 86_400_000,
  maxBufferedBytes: 64 * 1024 * 1024,
};

/** How often and how late streams speak. Exchange time. */
export interface Pace {
  /** Between two pushes of a `1s` stream. */
  readonly secondPushMs: number;
  /** Between two pushes of any other stream. */
  readonly pushMs: number;
  /** The frame `x:true` follows the boundary after at least … */
  readonly minFinalDelayMs: number;
  /** … and at most this long. */
  readonly maxFinalDelayMs: number;
}

export const DEFAULT_PACE: Pace = {
  secondPushMs: 1_000,
  pushMs: 2_000,
  minFinalDelayMs: 2,
  maxFinalDelayMs: 300,
};

/** Statements of binance.md that nobody could verify: choose. */
export interface Switches {
  /** HTTP status over the limit of connects. */
  readonly tooManyConnectsStatus: number;
  /** Answer to `startTime` > `endTime`: an empty list, or error −1128. */
  readonly reversedRange: "empty" | "error";
  /** Close code when a socket reaches its lifetime. */
  readonly lifetimeCloseCode: number;
  /** `serverShutdown` this long before a socket's lifetime ends; 0 = none. */
  readonly shutdownNoticeMs: number;
  /** A pong whose payload is not the ping's closes the socket with 1008. */
  readonly strictPongs: boolean;
  readonly perMessageDeflate: boolean;
  /** A candle without trades gets its `x:true`, as seen on 1s. */
  readonly quietFinals: boolean;
  /** Delisted symbols stay in exchangeInfo, with status `BREAK`. */
  readonly listsDelisted: boolean;
  /** Stream errors inside `{"error":…}` as on the wire, or flat as in the documents. */
  readonly errorForm: "nested" | "flat";
  /** From the end of a day (a month: of its first Monday after) to its archive file. */
  readonly archiveDelayMs: number;
}

export const DEFAULT_SWITCHES: Switches = {
  tooManyConnectsStatus: 429,
  reversedRange: "empty",
  lifetimeCloseCode: 1001,
  shutdownNoticeMs: 0,
  strictPongs: false,
  perMessageDeflate: false,
  quietFinals: true,
  listsDelisted: true,
  errorForm: "nested",
  archiveDelayMs: 3 * 3_600_000,
};

/** How a simulator is started. Everything has a default but the market and the clock. */
export interface SimulatorOptions {
  readonly market: Market;
  /** All that the exchange times runs on it. */
  readonly clock: Clock;
  /** Exchange time = clock + this. Default 0. */
  readonly offsetMs?: number;
  /** Epoch ms at which exchange time starts; instead of `offsetMs`. */
  readonly startAt?: number;
  /** Default 0: any free port. */
  readonly port?: number;
  /** Default 127.0.0.1. */
  readonly host?: string;
  readonly limits?: Partial<Limits>;
  readonly pace?: Partial<Pace>;
  readonly switches?: Partial<Switches>;
  /** Detailed entries that the journal keeps. Default 1,000. */
  readonly journalSize?: number;
  /** Seed of everything that faults leave to chance. Default 1. */
  readonly faultSeed?: number;
}
