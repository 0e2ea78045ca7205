import type { Random } from "./random.ts";

/** A stream that a client asked for on one connection. */
export interface Subscription {
  readonly sinceTime: number;
  /** Acknowledged, and nothing will come. */
  isSilent: boolean;
  /** When the first candle that had to come did not; exchange time. */
  silentSince?: number;
}

/** What is sent to a client. */
export type ServerFrame =
  | { readonly kind: "text"; readonly text: string; readonly isClosing?: boolean }
  | { readonly kind: "binary" }
  | { readonly kind: "ping" };

/** The client's end of a connection, as the network reaches it. */
export interface ClientEnd {
  /** @param extraMs delay on top of the network's own */
  deliver(frame: ServerFrame, extraMs: number): void;
  /** Several frames in one piece. */
  deliverTogether(frames: readonly ServerFrame[]): void;
  /** The connection ends: with a close frame, or without one (1006). */
  end(code: number, reason: string): void;
}

/** One connection as the exchange sees it. */
export class Connection {
  readonly id: number;
  readonly openedAt: number;
  readonly client: ClientEnd;
  readonly subscriptions = new Map<string, Subscription>();
  readonly random: Random;
  lastPongTime: number;
  /** Nothing passes in either direction, and neither side knows. */
  isBlackHole = false;
  isOpen = true;
  readonly clientFrameTimes: number[] = [];
  /** A frame that is sent after the one that follows it. */
  held: ServerFrame | undefined;
  /** Frames that go out together. */
  gathered: ServerFrame[] = [];
  pingCount = 0;

  constructor(id: number, openedAt: number, client: ClientEnd, random: Random) {
    this.id = id;
    this.openedAt = openedAt;
    this.lastPongTime = openedAt;
    this.client = client;
    this.random = random;
  }

  /** True when candles of the stream get through. */
  carries(stream: string): boolean {
    const subscription = this.subscriptions.get(stream);
    return this.isOpen && !this.isBlackHole && subscription !== undefined && !subscription.isSilent;
  }
}
