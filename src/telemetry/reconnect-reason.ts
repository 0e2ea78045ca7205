/** Why a connection had to be made anew. A closed set: what the other side writes into a reason never becomes a label. */
export const RECONNECT_REASONS = [
  /** The other side closed it. */
  "closed",
  /** It broke: reset, half a frame, no route. */
  "broken",
  /** Nothing came over it any more. */
  "silent",
  /** No connection, or no answer, in time. */
  "timeout",
  /** The name could not be resolved. */
  "dns",
  /** Certificate or encryption. */
  "tls",
  /** Refused by the exchange: ban, firewall, region, too many. */
  "refused",
  /** Frames that are none. */
  "protocol",
  /** The consumer was too slow and candles had to be dropped. */
  "overrun",
  /** The exchange announced its shutdown. */
  "shutdown",
  /** Replaced before the exchange cuts it. */
  "rotation",
  "other",
] as const;

/** One of {@link RECONNECT_REASONS}. */
export type ReconnectReason = (typeof RECONNECT_REASONS)[number];

/** Looked at in this order: the first that fits counts. */
const PATTERNS: readonly (readonly [ReconnectReason, RegExp])[] = [
  ["shutdown", /about to shut down/],
  ["rotation", /nearly a day old/],
  ["overrun", /not taken fast enough/],
  ["silent", /no frame for|silent|no candle/],
  ["dns", /cannot resolve/],
  ["tls", /certificate|TLS/],
  ["timeout", /in time|no connection within|no answer to SUBSCRIBE/],
  ["refused", /refused/],
  ["protocol", /broken frame|frame larger/],
  ["closed", /^socket closed (?!1006)|closed the connection/],
  ["broken", /^socket closed 1006|broke|no route|failed|too many open files/],
];

/** The class of a reason in words. */
export function reconnectReason(words: string): ReconnectReason {
  return PATTERNS.find(([, pattern]) => pattern.test(words))?.[0] ?? "other";
}
