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

/** What Binance's documents limit, as of 2026-07; the last one is the server's own protection. */
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

/** Span over which {@link Limits.connectsPer5Minutes} is counted. */
export const CONNECT_WINDOW_MS = 5 * 60_000;

/** Longest text that a client may send on a socket. */
export const MAX_MESSAGE_BYTES = 1024 * 1024;

/** Weight of the requests that market data needs, for any limit (binance.md §2.1). */
export const REQUEST_WEIGHTS = {
  "/api/v3/ping": 1,
  "/api/v3/time": 1,
  "/api/v3/exchangeInfo": 20,
  "/api/v3/klines": 2,
  "/api/v3/uiKlines": 2,
} as const;
