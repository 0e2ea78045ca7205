import type { Candle } from "../../src/core/candle.ts";
import { type Series, seriesKey } from "../../src/core/series.ts";
import { nextOpenTime, nominalMs, openTimeAt } from "../../src/core/timeframe.ts";
import { type ClientEnd, Connection, type ServerFrame } from "./connection.ts";
import type { Fault, FaultKind, FaultPlan } from "./faults.ts";
import type { Journal } from "./journal.ts";
import type { Market } from "./market.ts";
import { hashText, randomFor } from "./random.ts";
import type { Timeline } from "./timeline.ts";

/** What the stream side of the exchange is like in one run. */
export interface StreamServerOptions {
  readonly seed: number;
  readonly timeline: Timeline;
  readonly plan: FaultPlan;
  readonly market: Market;
  readonly journal: Journal;
  readonly series: readonly Series[];
  /** Streams of one connection. */
  readonly maxStreams: number;
  /** A connection is cut at this age. */
  readonly maxAgeMs: number;
  /** True when a client that does not answer has an excuse. */
  readonly isExcused: () => boolean;
}

const PING_MS = 20_000;
const PONG_WITHIN_MS = 60_000;
const MAX_FRAMES_PER_SECOND = 5;
const GATHER_MS = 2_000;
/** How often a forming candle is pushed; far rarer than in life, for each costs the simulation time. */
const FORMING_MS = 25_000;

/** The WebSocket side of the exchange, from its documents: pings, limits, subscriptions, candles, and what befalls them. */
export class StreamServer {
  readonly #options: StreamServerOptions;
  readonly #connections = new Map<number, Connection>();
  #lastId = 0;
  /** The next pushed frame has a false time stamp. */
  #stampErrorMs = 0;

  constructor(options: StreamServerOptions) {
    this.#options = options;
    const { timeline, plan } = options;
    for (const series of options.series)
      this.#plan(series, openTimeAt(series.timeframe, timeline.now));
    for (const fault of plan.faults) this.#arm(fault);
  }

  get connections(): readonly Connection[] {
    return [...this.#connections.values()];
  }

  /** True when a dial of now would succeed. */
  isReachable(now: number): boolean {
    return (["ws-refuse", "ws-hang"] as const).every((kind) => this.#on(kind, now) === undefined);
  }

  /** Takes a new connection. */
  accept(client: ClientEnd): Connection {
    const { timeline, seed, maxAgeMs, journal } = this.#options;
    this.#lastId += 1;
    const id = this.#lastId;
    const connection = new Connection(
      id,
      timeline.now,
      client,
      randomFor(seed, `connection ${id}`),
    );
    this.#connections.set(id, connection);
    timeline.in(maxAgeMs, "age", () => {
      if (!connection.isOpen) return false;
      journal.count("cut at its age");
      this.#end(connection, 1001, "");
      return undefined;
    });
    this.#ping(connection);
    return connection;
  }

  /** A text of the client arrives. */
  receive(connection: Connection, text: string): void {
    if (!connection.isOpen || connection.isBlackHole || !this.#isPaceKept(connection)) return;
    const { method, params, id } = JSON.parse(text) as {
      method: string;
      params: string[];
      id: number;
    };
    const { maxStreams, timeline, journal } = this.#options;
    const now = timeline.now;
    if (method === "UNSUBSCRIBE")
      for (const stream of params) connection.subscriptions.delete(stream);
    else {
      const added = params.filter((stream) => !connection.subscriptions.has(stream));
      if (connection.subscriptions.size + added.length > maxStreams) {
        journal.count("too many streams");
        const error = { code: 4, msg: "Too many subscriptions" };
        this.#send(connection, { kind: "text", text: JSON.stringify({ error, id }) });
        return;
      }
      const isSilent = this.#on("ws-ack-silent", now) !== undefined;
      if (isSilent) journal.count("silent subscriptions", added.length);
      for (const stream of added)
        connection.subscriptions.set(stream, { sinceTime: now, isSilent });
    }
    this.#send(connection, { kind: "text", text: JSON.stringify({ result: null, id }) });
  }

  /** A pong of the client arrives. */
  pong(connection: Connection): void {
    if (!connection.isOpen || connection.isBlackHole || !this.#isPaceKept(connection)) return;
    connection.lastPongTime = this.#options.timeline.now;
  }

  /** The client has closed, or is gone. */
  closed(connection: Connection): void {
    connection.isOpen = false;
    this.#connections.delete(connection.id);
  }

  #isPaceKept(connection: Connection): boolean {
    const { timeline, journal } = this.#options;
    const times = connection.clientFrameTimes;
    times.push(timeline.now);
    while ((times[0] ?? 0) <= timeline.now - 1_000) times.shift();
    // What a slow network has pushed together is not the client's haste, but it is cut off all the same.
    if (times.length <= MAX_FRAMES_PER_SECOND) return true;
    journal.count("cut for haste");
    this.#end(connection, 1008, "Too many requests");
    return false;
  }

  #ping(connection: Connection): void {
    const { timeline, journal } = this.#options;
    timeline.in(PING_MS, "ping", () => {
      if (!connection.isOpen) return false;
      if (timeline.now - connection.lastPongTime > PONG_WITHIN_MS) {
        journal.count("cut for want of pongs");
        const isSilent = connection.pingCount > 2 && !connection.isBlackHole;
        if (isSilent && !this.#options.isExcused()) {
          journal.fail("R9 no pong", timeline.now, `connection ${connection.id} answers no ping`);
        }
        this.#end(connection, 1008, "Pong timeout");
        return undefined;
      }
      connection.pingCount += 1;
      this.#send(connection, { kind: "ping" });
      this.#ping(connection);
      return undefined;
    });
  }

  /** Plans what is pushed about a candle, and then the next one. */
  #plan(series: Series, open: number): void {
    const { timeline, market, seed } = this.#options;
    const { timeframe } = series;
    const next = nextOpenTime(timeframe, open);
    const step = Math.min(FORMING_MS, nominalMs(timeframe) / 2);
    const shift = hashText(`${seed}|${seriesKey(series)}`) % Math.max(1, Math.floor(step / 2));
    for (let at = open + shift + 2_500; at < next && nominalMs(timeframe) > 1_000; at += step) {
      if (at > timeline.now) timeline.at(at, "forming", () => this.#pushForming(series, open));
    }
    const jitter = 5 + (hashText(`${seed}|${seriesKey(series)}|${open}`) % 2_390);
    const closeAt = market.closedAt(series, open) + Math.min(jitter, nominalMs(timeframe) / 3);
    timeline.at(closeAt, "closing", () => this.#pushClosed(series, open));
    timeline.at(next, "candle", () => {
      this.#plan(series, next);
      return false;
    });
  }

  #pushForming(series: Series, open: number): unknown {
    const { market, timeline } = this.#options;
    const now = timeline.now;
    if (this.#connections.size === 0 || now - market.lagAt(now) < open) return false;
    const candle = market.forming(series, open, now);
    return candle !== undefined && this.#push(series, candle, false);
  }

  #pushClosed(series: Series, open: number): unknown {
    const { market, timeline, journal } = this.#options;
    const now = timeline.now;
    const candle = market.streamed(series, open, now);
    if (candle === undefined) return false;
    if (this.#on("ws-no-close", now) !== undefined) {
      journal.count("closes left out");
      return false;
    }
    const late = this.#on("ws-late-close", now);
    if (late !== undefined && nominalMs(series.timeframe) >= 60_000) {
      const delayMs = late.arg < 0.6 ? 24_000 + late.arg * 10_000 : late.arg * 300_000;
      journal.count("late closes");
      timeline.in(delayMs, "late close", () => this.#push(series, candle, true));
      return false;
    }
    return this.#push(series, candle, true);
  }

  #push(series: Series, candle: Candle, isClosed: boolean): boolean {
    const { market, timeline, journal } = this.#options;
    const now = timeline.now;
    const stream = `${series.symbol.toLowerCase()}@kline_${series.timeframe}`;
    const isGarbage = isClosed && market.isGarbage(series, candle.openTime, now);
    const shown = isGarbage ? market.garbled(series, candle) : candle;
    const isIdle = this.#on("ws-idle", now) !== undefined;
    let isPushed = false;
    for (const connection of this.#connections.values()) {
      const subscription = connection.subscriptions.get(stream);
      if (subscription === undefined) continue;
      if (subscription.isSilent || isIdle) {
        if (isClosed && candle.tradeCount > 0 && subscription.isSilent)
          subscription.silentSince ??= now;
        continue;
      }
      if (isClosed && !isGarbage) journal.served(series, shown);
      const at = now + this.#takeStampError();
      const text = frameOf(stream, series, shown, { isClosed, isGarbage, at });
      if (this.#on("ws-alien", now) !== undefined && connection.random() < 0.5) {
        journal.count("alien frames");
        this.#send(connection, { kind: "text", text: alienOf(text, connection.random()) });
      }
      this.#send(connection, { kind: "text", text, isClosing: isClosed });
      isPushed = true;
    }
    return isPushed;
  }

  #takeStampError(): number {
    const error = this.#stampErrorMs;
    this.#stampErrorMs = 0;
    if (error !== 0) this.#options.journal.count("false stamps");
    return error;
  }

  /** Sends through what happens to frames at the moment. */
  #send(connection: Connection, frame: ServerFrame): void {
    if (!connection.isOpen || connection.isBlackHole) return;
    const { timeline } = this.#options;
    const now = timeline.now;
    const delay = this.#on("ws-delay", now);
    const extraMs = delay === undefined ? 0 : 5_000 + Math.floor(delay.arg * 25_000);
    if (frame.kind !== "text" || !frame.text.includes("kline")) {
      connection.client.deliver(frame, extraMs);
      return;
    }
    if (this.#on("ws-burst", now) !== undefined) {
      this.#gather(connection, frame);
      return;
    }
    const cut = this.#on("ws-cut", now);
    const isCut = cut !== undefined && connection.random() < 0.3;
    const sent: ServerFrame = !isCut
      ? frame
      : connection.random() < 0.2
        ? { kind: "binary" }
        : {
            ...frame,
            text: frame.text.slice(0, Math.floor(frame.text.length * connection.random())),
          };
    if (
      this.#on("ws-reorder", now) !== undefined &&
      connection.held === undefined &&
      connection.random() < 0.4
    ) {
      connection.held = sent;
      return;
    }
    connection.client.deliver(sent, extraMs);
    if (this.#on("ws-duplicate", now) !== undefined && connection.random() < 0.5) {
      connection.client.deliver(sent, extraMs);
    }
    const { held } = connection;
    connection.held = undefined;
    if (held !== undefined) connection.client.deliver(held, extraMs);
  }

  #gather(connection: Connection, frame: ServerFrame): void {
    const { timeline } = this.#options;
    connection.gathered.push(frame);
    if (connection.gathered.length > 1) return;
    const at = Math.ceil((timeline.now + 1) / GATHER_MS) * GATHER_MS;
    timeline.at(at, "burst", () => {
      const frames = connection.gathered;
      connection.gathered = [];
      if (connection.isOpen && !connection.isBlackHole) connection.client.deliverTogether(frames);
    });
  }

  #end(connection: Connection, code: number, reason: string): void {
    if (!connection.isOpen) return;
    this.closed(connection);
    if (!connection.isBlackHole) connection.client.end(code, reason);
  }

  #on(kind: FaultKind, now: number): Fault | undefined {
    return this.#options.plan.on(kind, now);
  }

  /** Plans what strikes at an instant. */
  #arm(fault: Fault): void {
    const { timeline, plan } = this.#options;
    const strike = STRIKES[fault.kind];
    if (strike === undefined) return;
    timeline.at(plan.fromOf(fault), fault.kind, () => {
      const all = this.connections;
      const some = fault.arg < 0.5 ? all : all.slice(0, 1);
      strike(this, some, fault);
    });
  }

  /** Ends connections. */
  drop(connections: readonly Connection[], code: number): void {
    for (const connection of connections) this.#end(connection, code, "");
  }

  /** Announces the end of connections, which then comes. */
  shutDown(connections: readonly Connection[]): void {
    const { timeline } = this.#options;
    const text = JSON.stringify({ e: "serverShutdown", E: timeline.now });
    for (const connection of connections) {
      this.#send(connection, { kind: "text", text });
      timeline.in(30_000, "shutdown", () => this.#end(connection, 1001, ""));
    }
  }

  /** One series falls silent on every connection that there is. */
  mute(arg: number): void {
    const streams = [...new Set(this.connections.flatMap((one) => [...one.subscriptions.keys()]))];
    const stream = streams[Math.floor(arg * streams.length)];
    if (stream === undefined) return;
    for (const { subscriptions } of this.connections) {
      const subscription = subscriptions.get(stream);
      if (subscription !== undefined) subscription.isSilent = true;
    }
  }

  /** The next frame comes with a time stamp far ahead. */
  stampFalsely(arg: number): void {
    this.#stampErrorMs = 60_000 + Math.floor(arg * 2_400_000);
  }
}

/** In the unused field of a frame that is no candle. */
export const POISON_MARK = "poison";
const CLOSE_CODES = [1000, 1001, 1008, 1011] as const;

const STRIKES: Partial<
  Record<FaultKind, (server: StreamServer, some: readonly Connection[], fault: Fault) => void>
> = {
  "ws-drop": (server, some) => server.drop(some, 1006),
  "ws-close": (server, some, { arg }) =>
    server.drop(some, CLOSE_CODES[Math.floor(arg * 40) % 4] ?? 1001),
  "ws-halfopen": (_server, some) => {
    for (const connection of some) connection.isBlackHole = true;
  },
  "ws-shutdown": (server, some) => server.shutDown(some),
  "ws-mute": (server, _some, { arg }) => server.mute(arg),
  "ws-false-stamp": (server, _some, { arg }) => server.stampFalsely(arg),
};

function frameOf(
  stream: string,
  { symbol, timeframe }: Series,
  candle: Candle,
  { isClosed, isGarbage, at }: { isClosed: boolean; isGarbage: boolean; at: number },
): string {
  const { openTime, closeTime, open, high, low, close, volume, quoteVolume, tradeCount } = candle;
  const k = {
    ...{ t: openTime, T: closeTime, s: symbol, i: timeframe, f: 1, L: 2 },
    ...{ o: open, c: close, h: high, l: low, v: volume, n: tradeCount, x: isClosed },
    ...{ q: quoteVolume, V: candle.takerBuyVolume, Q: candle.takerBuyQuoteVolume },
    // Nobody reads it; the checks tell by it what was served on purpose.
    B: isGarbage ? POISON_MARK : "0",
  };
  return JSON.stringify({ stream, data: { e: "kline", E: at, s: symbol, k } });
}

/** A frame of the same values that is not about the series: whoever takes it stores another market's candle. */
function alienOf(text: string, share: number): string {
  const { stream, data } = JSON.parse(text) as KlineFrame;
  const { k } = data;
  const closed = { ...k, x: true, v: "777.00000009" };
  const aliens = [
    { stream, data: { ...data, s: "XRPUSDT", k: { ...closed, s: "XRPUSDT" } } },
    { stream: "xrpusdt@kline_1m", data: { ...data, k: closed } },
    { stream, data: { ...data, k: { ...closed, i: k.i === "1h" ? "2h" : "1h" } } },
    { stream, data: { ...data, s: "XRPUSDT", k: closed } },
    { stream, data: { ...data, k: { ...closed, i: "7m" } } },
    { stream, data: { ...data, k: { ...closed, s: k.s.toLowerCase() } } },
    { stream, data: { e: "trade", E: data.E, s: data.s, p: "1.0" } },
    { stream, data: { ...data, k: null } },
    [{ stream, data: { ...data, k: closed } }],
    null,
  ];
  return JSON.stringify(aliens[Math.floor(share * aliens.length)]);
}

interface KlineFrame {
  readonly stream: string;
  readonly data: { readonly s: string; readonly E: number; readonly k: { s: string; i: string } };
}
