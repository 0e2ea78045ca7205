import { fraction } from "./noise.ts";

/** When a fault acts. Without any of these: always, until it is cleared. */
interface FaultTerms {
  /** Ends after this much exchange time. */
  readonly forMs?: number;
  /** Ends after having struck this often. */
  readonly count?: number;
  /** Strikes each time with this chance, 0…1. */
  readonly probability?: number;
}

/** What an answering fault says instead of the truth. */
export type RestAnswer =
  /** Too much weight; see `retryAfter`. */
  | "429"
  /** Firewall: an HTML page with 403. */
  | "403"
  /** Blocked by region, with Binance's body. */
  | "451"
  | "500"
  | "503"
  /** An HTML page with status 200. */
  | "html"
  /** The right JSON, cut in the middle, with status 200. */
  | "truncated"
  /** Status 200 and no body. */
  | "empty"
  /** Status 200 and `{}`. */
  | "object"
  /** Never answers. */
  | "timeout";

/** What the archive's host says instead of the truth. */
export type ArchiveAnswer =
  /** No such file: for a CHECKSUM that was never published, give its end as `path`. */
  | "404"
  | "403"
  /** Asks to wait; see `retryAfter`. */
  | "429"
  | "500"
  /** A storage service that asks to slow down; see `retryAfter`. */
  | "503"
  /** A web page with status 200. */
  | "html"
  /** Announces all of the file, sends half of it and cuts TCP. */
  | "truncated"
  /** Sends half of the file, then nothing more. */
  | "timeout";

/** What is unusual about the contents of archive files; the right candles can be read from all of them. */
export type ArchiveDirt =
  /** A header, as futures have it. */
  | "header"
  /** A byte order mark. */
  | "bom"
  | "crlf"
  /** All times in µs, whatever the year. */
  | "microseconds"
  /** All times in ms, whatever the year. */
  | "milliseconds"
  /** Times in ms and in µs by turns, within a row too. */
  | "mixedUnits"
  /** Without the last, unused column. */
  | "elevenColumns"
  /** Some rows twice. */
  | "duplicates"
  /** Before some rows another one of the same open time, with other values. */
  | "conflicts"
  /** Rows among the others that are none. */
  | "garbage"
  /** Monthly files lack a whole day: `day`, or the one in their middle. */
  | "missingDay";

/** Everything that can be made to go wrong, each kind once documented. */
export type Fault = FaultTerms &
  (SocketFault | FrameFault | RestFault | ArchiveFault | ExchangeFault);

/** Faults of connections. */
type SocketFault =
  /** At once: closes open sockets (the `sockets` newest; absent: all) with a code; 1006 cuts TCP without a close frame. */
  | {
      readonly kind: "drop";
      readonly code: number;
      readonly reason?: string;
      readonly sockets?: number;
    }
  /** At once: sends half of a frame on open sockets, then resets TCP. */
  | { readonly kind: "cutMidFrame"; readonly sockets?: number }
  /** At once: tells every socket of the shutdown and closes them `closeAfterMs` (default 10,000) later with `code` (default 1001). */
  | { readonly kind: "serverShutdown"; readonly closeAfterMs?: number; readonly code?: number }
  /** Answers upgrades with an HTTP status. */
  | { readonly kind: "refuseUpgrades"; readonly status: number }
  /** Sockets open now or opened while it lasts go dead for good: no data, no pings, nothing read, TCP stays open. */
  | { readonly kind: "halfOpen" }
  /** No server pings. */
  | { readonly kind: "noPings" }
  /** SUBSCRIBE is acknowledged, yet those streams never speak on that socket. */
  | { readonly kind: "silentSubscribe"; readonly streams?: readonly string[] };

/** Faults of stream data; `streams` are stream names, absent: all. */
type FrameFault =
  /** No data while pings go on. */
  | { readonly kind: "silence"; readonly streams?: readonly string[] }
  /** The frame `x:true` is never sent. */
  | { readonly kind: "missingFinal"; readonly streams?: readonly string[] }
  /** The frame `x:true` comes `ms` late; the next candle's frames go on meanwhile. */
  | { readonly kind: "lateFinal"; readonly ms: number; readonly streams?: readonly string[] }
  /** The frame `x:true` is sent twice. */
  | { readonly kind: "duplicateFinal"; readonly streams?: readonly string[] }
  /** After `x:true` an older `x:false` of the same candle follows. */
  | { readonly kind: "staleForming"; readonly streams?: readonly string[] }
  /** A frame is held back until the next one of its stream was sent. */
  | { readonly kind: "reorder"; readonly streams?: readonly string[] };

/** Faults of REST; `path` is a part of the path, e.g. `klines`, absent: all of `/api/`. */
type RestFault =
  /**
   * A wrong answer. `retryAfter` of a 429: seconds, or any text, or null for no header; default 5. A numeric one starts a
   * hold: the journal counts requests before its end.
   */
  | {
      readonly kind: "rest";
      readonly answer: RestAnswer;
      readonly path?: string;
      readonly retryAfter?: number | string | null;
    }
  /** The answer is right but `ms` late. */
  | { readonly kind: "restDelay"; readonly ms: number; readonly path?: string }
  /** klines answers as the market was `ms` ago, like a replica that lags: a candle just closed is missing or unfinished. */
  | { readonly kind: "restLag"; readonly ms: number }
  /** 418 for everything of REST until `ms` from now; the journal counts requests during it. */
  | { readonly kind: "ban"; readonly ms: number };

/** Faults of the archive; `path` is a part of the path, e.g. `/monthly/` or `.CHECKSUM`, absent: all of `/data/`. */
type ArchiveFault =
  /**
   * A wrong answer. `retryAfter` of a 429 or 503: seconds, or any text, or null for no header; default 5. A numeric one
   * starts a hold: the journal counts requests before its end.
   */
  | {
      readonly kind: "archive";
      readonly answer: ArchiveAnswer;
      readonly path?: string;
      readonly retryAfter?: number | string | null;
    }
  /** CHECKSUM has the digest of other bytes. */
  | { readonly kind: "archiveMismatch"; readonly path?: string }
  /** Files are made in another way while it lasts; their CHECKSUM fits. `day` is for `missingDay`: `2025-01-31`. */
  | {
      readonly kind: "archiveDirt";
      readonly dirt: ArchiveDirt;
      readonly path?: string;
      readonly day?: string;
    };

/** Faults of the exchange itself. */
type ExchangeFault =
  /** `E`, `/time` and the Date header are off by `ms`; the market is not. */
  | { readonly kind: "clockSkew"; readonly ms: number }
  /** Another status in exchangeInfo (`HALT`, `BREAK`, `CANCEL_ONLY`, …); while it is not `TRADING` no candle comes into being. */
  | { readonly kind: "symbolStatus"; readonly symbol: string; readonly status: string }
  /** The symbol is traded no more; old candles stay. */
  | { readonly kind: "delist"; readonly symbol: string }
  /** No candle comes into being, for all or some symbols. */
  | { readonly kind: "outage"; readonly symbols?: readonly string[] }
  /** Candles closing from now on get a second version `delayMs` after their close, with this share. */
  | { readonly kind: "corrections"; readonly share: number; readonly delayMs: number };

export type FaultKind = Fault["kind"];
type Action = "drop" | "cutMidFrame" | "serverShutdown";
export type FaultOf<Kind extends FaultKind> = Extract<Fault, { readonly kind: Kind }>;
/** The kinds that happen once and are over. */
export type FaultAction = FaultOf<Action>;

/** Of everything that faults leave to chance. */
const SEED = 1;
const ACTIONS: readonly string[] = ["drop", "cutMidFrame", "serverShutdown"] satisfies Action[];

/** A fault that is set, and how often it has struck. */
export interface ActiveFault {
  readonly id: number;
  readonly fault: Fault;
  /** Exchange time. */
  readonly setAt: number;
  /** Exchange time; absent: until cleared. */
  readonly until?: number;
  readonly strikes: number;
}

/** What happened to the switchboard: for those who act on a change rather than ask. */
export type FaultChange =
  | { readonly kind: "set"; readonly active: ActiveFault }
  | { readonly kind: "ended"; readonly active: ActiveFault; readonly at: number }
  | { readonly kind: "action"; readonly action: FaultAction };

/** The one switchboard of faults. Set and clear while the exchange runs. */
export class Faults {
  readonly #now: () => number;
  readonly #active = new Map<number, { -readonly [Key in keyof ActiveFault]: ActiveFault[Key] }>();
  readonly #listeners: ((change: FaultChange) => void)[] = [];
  #lastId = 0;
  #rolls = 0;

  /** @param now exchange time */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** Sets a fault, or carries out an action at once. @returns its id, for {@link clear} */
  set(fault: Fault): number {
    const id = ++this.#lastId;
    if (isAction(fault)) {
      this.#tell({ kind: "action", action: fault });
      return id;
    }
    const setAt = this.#now();
    const lasting = fault.kind === "ban" ? fault.ms : fault.forMs;
    const active = {
      id,
      fault,
      setAt,
      strikes: 0,
      ...(lasting !== undefined && { until: setAt + lasting }),
    };
    this.#active.set(id, active);
    this.#tell({ kind: "set", active });
    return id;
  }

  /** Ends the fault with this id, all of a kind, or all. What they did stays done. */
  clear(which?: number | FaultKind): void {
    for (const active of [...this.#active.values()]) {
      if (which === undefined || active.id === which || active.fault.kind === which) {
        this.#end(active.id, this.#now());
      }
    }
  }

  /** The faults in force. */
  active(): readonly ActiveFault[] {
    this.#expire();
    return [...this.#active.values()];
  }

  /** The newest fault of a kind in force, without counting it as a strike. */
  find<Kind extends FaultKind>(
    kind: Kind,
    applies: (fault: FaultOf<Kind>) => boolean = () => true,
  ): FaultOf<Kind> | undefined {
    return this.#newest(kind, applies)?.fault as FaultOf<Kind> | undefined;
  }

  /** As {@link find}, rolling its dice and counting a strike: ask once for each thing that can be struck. */
  strike<Kind extends FaultKind>(
    kind: Kind,
    applies: (fault: FaultOf<Kind>) => boolean = () => true,
  ): FaultOf<Kind> | undefined {
    const active = this.#newest(kind, applies);
    if (active === undefined) return undefined;
    const { probability, count } = active.fault;
    if (probability !== undefined && fraction(SEED, this.#rolls++) >= probability) {
      return undefined;
    }
    active.strikes++;
    if (count !== undefined && active.strikes >= count) this.#end(active.id, this.#now());
    return active.fault as FaultOf<Kind>;
  }

  /** Calls back on every set, end and action. */
  onChange(listener: (change: FaultChange) => void): void {
    this.#listeners.push(listener);
  }

  #newest<Kind extends FaultKind>(kind: Kind, applies: (fault: FaultOf<Kind>) => boolean) {
    if (this.#active.size === 0) return undefined;
    this.#expire();
    let newest: { -readonly [Key in keyof ActiveFault]: ActiveFault[Key] } | undefined;
    for (const active of this.#active.values()) {
      if (active.fault.kind === kind && applies(active.fault as FaultOf<Kind>)) newest = active;
    }
    return newest;
  }

  #expire(): void {
    const now = this.#now();
    for (const active of [...this.#active.values()]) {
      if (active.until !== undefined && active.until <= now) this.#end(active.id, active.until);
    }
  }

  #end(id: number, at: number): void {
    const active = this.#active.get(id);
    if (active === undefined) return;
    this.#active.delete(id);
    this.#tell({ kind: "ended", active, at });
  }

  #tell(change: FaultChange): void {
    for (const listener of this.#listeners) listener(change);
  }
}

/** Whether a fault that may name streams concerns this one. */
export function concerns(
  stream: string,
): (fault: { readonly streams?: readonly string[] }) => boolean {
  return (fault) => fault.streams?.includes(stream) ?? true;
}

function isAction(fault: Fault): fault is FaultAction {
  return ACTIONS.includes(fault.kind);
}
