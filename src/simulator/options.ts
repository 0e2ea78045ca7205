import type { Clock } from "../core/ports.ts";
import type { Limits } from "../wire/limits.ts";
import type { Market } from "./market.ts";

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
}
