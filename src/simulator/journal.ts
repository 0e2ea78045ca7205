/** One thing that the exchange saw. */
export interface JournalEntry {
  /** Exchange time, epoch ms. */
  readonly at: number;
  readonly kind: "request" | "upgrade" | "message" | "close" | "violation" | "fault";
  readonly text: string;
  /** Number of the socket, where it is about one. */
  readonly socket?: number;
}

/** Breaches of the exchange's rules. */
export type Violation =
  | "requestDuringBan"
  | "requestDuringHold"
  | "weight"
  | "messages"
  | "streams"
  | "connects"
  | "pong"
  | "slowReader";

/** Everything counted since the start. */
export interface JournalCounts {
  /** By `path status`, e.g. `/api/v3/klines 200`. */
  readonly requests: Readonly<Record<string, number>>;
  readonly requestCount: number;
  /** Most request weight in one minute from one address. */
  readonly maxWeightPerMinute: number;
  readonly upgradeCount: number;
  readonly refusedUpgradeCount: number;
  readonly openSockets: number;
  readonly maxOpenSockets: number;
  /** Most streams on one socket. */
  readonly maxStreamsPerSocket: number;
  /** Most client frames on one socket in a rolling second, pings and pongs included. */
  readonly maxMessagesPerSecond: number;
  readonly framesSent: number;
  /** Of these, with `x:true`. */
  readonly finalsSent: number;
  /** Close frames and cuts by the exchange, by code. */
  readonly closesSent: Readonly<Record<string, number>>;
  readonly violations: Readonly<Partial<Record<Violation, number>>>;
}

/** Newest events that are kept in detail. */
const SIZE = 1_000;

/** What the exchange saw: counters for ever, details of the newest events. Memory is bounded. */
export class Journal {
  readonly #now: () => number;
  readonly #recent: JournalEntry[] = [];
  readonly #requests = new Map<string, number>();
  readonly #closes = new Map<number, number>();
  readonly #violations = new Map<Violation, number>();
  #next = 0;
  #requestCount = 0;
  #maxWeight = 0;
  #upgrades = 0;
  #refused = 0;
  #open = 0;
  #maxOpen = 0;
  #maxStreams = 0;
  #maxMessages = 0;
  #frames = 0;
  #finals = 0;

  /** @param now exchange time */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** @param path a known path, or one word for all others, so that the table stays small */
  request(path: string, query: string, status: number, weight: number): void {
    this.#requestCount++;
    this.#maxWeight = Math.max(this.#maxWeight, weight);
    increase(this.#requests, `${path} ${status}`);
    this.#note({ kind: "request", text: `${path}${query} ${status}` });
  }

  upgraded(socket: number, path: string): void {
    this.#upgrades++;
    this.#maxOpen = Math.max(this.#maxOpen, ++this.#open);
    this.#note({ kind: "upgrade", text: path, socket });
  }

  refused(path: string, status: number): void {
    this.#refused++;
    this.#note({ kind: "upgrade", text: `${path} ${status}` });
  }

  /** @param inLastSecond client frames of this socket in the rolling second that ends now */
  message(socket: number, text: string, inLastSecond: number): void {
    this.#maxMessages = Math.max(this.#maxMessages, inLastSecond);
    this.#note({ kind: "message", text: text.slice(0, 500), socket });
  }

  streams(count: number): void {
    this.#maxStreams = Math.max(this.#maxStreams, count);
  }

  frame(isFinal: boolean): void {
    this.#frames++;
    if (isFinal) this.#finals++;
  }

  closeSent(socket: number, code: number, reason: string): void {
    increase(this.#closes, code);
    this.#note({ kind: "close", text: `${code} ${reason}`.trim(), socket });
  }

  closed(socket: number, code: number): void {
    this.#open--;
    this.#note({ kind: "close", text: `ended ${code}`, socket });
  }

  violation(violation: Violation, text: string, socket?: number): void {
    increase(this.#violations, violation);
    this.#note({
      kind: "violation",
      text: `${violation}: ${text}`,
      ...(socket !== undefined && { socket }),
    });
  }

  fault(text: string): void {
    this.#note({ kind: "fault", text });
  }

  counts(): JournalCounts {
    return {
      requests: Object.fromEntries(this.#requests),
      requestCount: this.#requestCount,
      maxWeightPerMinute: this.#maxWeight,
      upgradeCount: this.#upgrades,
      refusedUpgradeCount: this.#refused,
      openSockets: this.#open,
      maxOpenSockets: this.#maxOpen,
      maxStreamsPerSocket: this.#maxStreams,
      maxMessagesPerSecond: this.#maxMessages,
      framesSent: this.#frames,
      finalsSent: this.#finals,
      closesSent: Object.fromEntries(this.#closes),
      violations: Object.fromEntries(this.#violations),
    };
  }

  /** The newest entries, oldest first. */
  recent(): readonly JournalEntry[] {
    const start = this.#recent.length < SIZE ? 0 : this.#next;
    return [...this.#recent.slice(start), ...this.#recent.slice(0, start)];
  }

  #note(entry: Omit<JournalEntry, "at">): void {
    this.#recent[this.#next] = { at: this.#now(), ...entry };
    this.#next = (this.#next + 1) % SIZE;
  }
}

function increase<Key>(counts: Map<Key, number>, key: Key): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}
