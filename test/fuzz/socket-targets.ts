import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { setTimeout as sleep, setImmediate as turn } from "node:timers/promises";
import { systemClock } from "../../src/clock.ts";
import type { IngestEvent } from "../../src/core/events.ts";
import { ExchangeTime } from "../../src/core/exchange-time.ts";
import type { LiveEvent } from "../../src/core/ports.ts";
import type { Series } from "../../src/core/series.ts";
import { createBinanceStream } from "../../src/exchanges/binance/index.ts";
import { reconnectReason } from "../../src/telemetry/reconnect-reason.ts";
import { between, pick, type Random } from "../sim/random.ts";
import { EVENT } from "./exchange-targets.ts";
import type { Target, TargetMaker } from "./target.ts";

const SERIES: Series = { exchange: "binance", symbol: "BTCUSDT", timeframe: "1m" };
/** RFC 6455 §1.3. */
const KEY_SUFFIX = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const MOST_BUFFERED = 32 * 2 ** 20;
const MOST_MS = 5_000;
const OPEN_MS = 15;

/** How a frame is written: what RFC 6455 asks for, unless it is said otherwise. */
interface Shape {
  readonly opcode: number;
  readonly body?: Buffer;
  readonly isLast?: boolean;
  /** RSV1…RSV3, which nobody agreed on. */
  readonly reserved?: number;
  /** A server must not mask. */
  readonly isMasked?: boolean;
  /** Bytes of the length; more than needed is against the rules. */
  readonly lengthBytes?: 0 | 2 | 8;
  /** A length that is not the body's. */
  readonly length?: bigint;
}

/** A frame as bytes. */
function frame(shape: Shape): Buffer {
  const { opcode, body = Buffer.alloc(0), isLast = true, reserved = 0, isMasked = false } = shape;
  const length = shape.length ?? BigInt(body.length);
  const lengthBytes = shape.lengthBytes ?? (length < 126n ? 0 : length < 65_536n ? 2 : 8);
  const head = Buffer.alloc(2 + lengthBytes);
  head[0] = (isLast ? 0x80 : 0) | (reserved << 4) | opcode;
  head[1] =
    (isMasked ? 0x80 : 0) | (lengthBytes === 0 ? Number(length) : lengthBytes === 2 ? 126 : 127);
  if (lengthBytes === 2) head.writeUInt16BE(Number(length), 2);
  if (lengthBytes === 8) head.writeBigUInt64BE(length, 2);
  return Buffer.concat([head, isMasked ? Buffer.from([0, 0, 0, 0]) : Buffer.alloc(0), body]);
}

const TEXT = 1;
const CONTINUED = 0;
const [CLOSE, PING, PONG] = [8, 9, 10];
const CANDLE = Buffer.from(JSON.stringify({ stream: "btcusdt@kline_1m", data: EVENT }));
const text = (body: Buffer | string, more: Partial<Shape> = {}): Buffer =>
  frame({ opcode: TEXT, body: Buffer.from(body), ...more });
const code = (value: number, said = ""): Buffer =>
  Buffer.concat([Buffer.from([value >> 8, value & 0xff]), Buffer.from(said)]);

const SEEDS: readonly Buffer[] = [
  text(CANDLE),
  Buffer.concat([text(CANDLE), frame({ opcode: PING, body: Buffer.from("1") }), text(CANDLE)]),
  // Fragments, with a ping between them; one that is never ended; one that begins in another; one out of nothing.
  Buffer.concat([
    text(CANDLE.subarray(0, 20), { isLast: false }),
    frame({ opcode: PING, body: Buffer.from("2") }),
    frame({ opcode: CONTINUED, body: CANDLE.subarray(20) }),
  ]),
  text(CANDLE.subarray(0, 20), { isLast: false }),
  Buffer.concat([text("[", { isLast: false }), text(CANDLE)]),
  frame({ opcode: CONTINUED, body: CANDLE }),
  Buffer.concat(
    Array.from({ length: 300 }, (_, at) =>
      frame({ opcode: at === 0 ? TEXT : CONTINUED, isLast: false }),
    ),
  ),
  // Control frames: too long, in parts, masked.
  frame({ opcode: PING, body: Buffer.alloc(125, "p") }),
  frame({ opcode: PING, body: Buffer.alloc(126, "p") }),
  frame({ opcode: PONG, body: Buffer.alloc(2_000, "p") }),
  frame({ opcode: PING, body: Buffer.from("x"), isLast: false }),
  frame({ opcode: CLOSE, body: Buffer.alloc(126, 3) }),
  // Closes: whole, without a code, of one byte, with codes that may not be sent, with text that is not UTF-8.
  frame({ opcode: CLOSE, body: code(1000, "bye") }),
  frame({ opcode: CLOSE }),
  frame({ opcode: CLOSE, body: Buffer.from([3]) }),
  ...[0, 999, 1004, 1005, 1006, 1015, 2999, 5000].map((one) =>
    frame({ opcode: CLOSE, body: code(one) }),
  ),
  frame({ opcode: CLOSE, body: Buffer.concat([code(1001), Buffer.from([0xc3, 0x28])]) }),
  frame({ opcode: CLOSE, body: code(1008, "y".repeat(123)) }),
  // Reserved bits and kinds.
  ...[1, 2, 4, 7].map((reserved) => text(CANDLE, { reserved })),
  ...[3, 7, 11, 15].map((opcode) => frame({ opcode, body: CANDLE })),
  text(CANDLE, { isMasked: true }),
  frame({ opcode: 2, body: CANDLE }),
  text(Buffer.from([0xff, 0xfe, 0xc3, 0x28])),
  // Lengths: longer than they need be, and longer than there will ever be.
  text(CANDLE, { lengthBytes: 8 }),
  text("{}", { lengthBytes: 2 }),
  ...[2n ** 20n, 2n ** 20n + 1n, 2n ** 31n, 2n ** 32n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n].map(
    (length) => text(CANDLE, { length, lengthBytes: 8 }),
  ),
  text(Buffer.alloc(70_000, " ")),
];

/** An exchange that does the handshake by the book, and then sends bytes. */
class HostileExchange {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** Called once a client has asked for its series. */
  onAsked: (tcp: Socket, id: number) => void = () => undefined;

  private constructor(server: Server) {
    this.#server = server;
    server.on("connection", (tcp) => {
      this.#sockets.add(tcp);
      tcp.on("error", () => undefined).on("close", () => this.#sockets.delete(tcp));
      this.#serve(tcp).catch(() => tcp.destroy());
    });
  }

  static async open(): Promise<HostileExchange> {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    return new HostileExchange(server);
  }

  get url(): string {
    return `ws://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  hangUp(): void {
    for (const tcp of this.#sockets) tcp.destroy();
  }

  async close(): Promise<void> {
    this.hangUp();
    this.#server.close();
    await once(this.#server, "close");
  }

  async #serve(tcp: Socket): Promise<void> {
    const [head] = (await once(tcp, "data")) as [Buffer];
    const [, key = ""] = /sec-websocket-key: (\S+)/i.exec(head.toString()) ?? [];
    const accept = createHash("sha1").update(`${key}${KEY_SUFFIX}`).digest("base64");
    tcp.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
    );
    const [asked] = (await once(tcp, "data")) as [Buffer];
    this.onAsked(tcp, Number(/"id":(\d+)/.exec(unmasked(asked))?.[1] ?? 1));
  }
}

/** The text of a short frame of a client. */
function unmasked(bytes: Buffer): string {
  const start = (bytes[1] ?? 0) - 0x80 < 126 ? 2 : 4;
  const mask = bytes.subarray(start, start + 4);
  return Buffer.from(
    bytes.subarray(start + 4).map((byte, at) => byte ^ (mask[at % 4] ?? 0)),
  ).toString();
}

/** Sends the input in pieces, and then does what a peer may do: breaks off, ends, or says nothing more. */
async function send(tcp: Socket, input: Buffer, id: number, random: Random): Promise<void> {
  const ack = text(JSON.stringify({ result: null, id }));
  const bytes = random() < 0.8 ? Buffer.concat([ack, input]) : input;
  const pieces = pick(random, [1, 1, 2, 5]);
  for (let piece = 0; piece < pieces; piece += 1) {
    const cut = (at: number): number => Math.floor((bytes.length * at) / pieces);
    tcp.write(bytes.subarray(cut(piece), cut(piece + 1)));
    await turn();
  }
  const end = pick(random, ["destroy", "end", "silence"] as const);
  if (end === "end") tcp.end();
  await sleep(end === "silence" ? OPEN_MS : between(random, 0, 3));
  tcp.destroy();
}

/** Our client against the exchange with one input: how the connection was ended, in a word. */
async function followed(exchange: HostileExchange, input: Buffer, random: Random): Promise<string> {
  // What other targets have left behind is not this one's.
  const before = process.memoryUsage().arrayBuffers;
  const stop = new AbortController();
  const words: string[] = [];
  let sent: Promise<void> | undefined;
  exchange.onAsked = (tcp, id) => {
    // What is dialled after that is of no more interest.
    if (sent === undefined)
      sent = send(tcp, input, id, random)
        .finally(() => sleep(OPEN_MS))
        .finally(() => stop.abort());
    else tcp.destroy();
  };
  const record = (event: IngestEvent): void => {
    if (event.kind !== "disconnected" && event.kind !== "rotated" && event.kind !== "connectFailed")
      return;
    const word = reconnectReason(event.reason);
    assert.notEqual(word, "other", event.reason);
    words.push(word);
  };
  const stream = createBinanceStream({
    ...{ wsUrl: exchange.url, clock: systemClock, exchangeTime: new ExchangeTime() },
    ...{ random, record, firstDelayMs: 60_000 },
  });
  const events: LiveEvent[] = [];
  const late = AbortSignal.timeout(MOST_MS);
  late.addEventListener("abort", () => stop.abort());
  for await (const batch of stream.stream([SERIES], stop.signal)) events.push(...batch);
  exchange.hangUp();
  await sent;
  assert.ok(!late.aborted, "it never came to an end");
  for (const event of events) {
    if (event.kind === "candle") assert.equal(event.series, SERIES);
  }
  const taken = process.memoryUsage().arrayBuffers - before;
  assert.ok(taken < MOST_BUFFERED, `${taken} bytes more are held`);
  return `${words[0] ?? "left open"}${events.some(({ kind }) => kind === "candle") ? ", with candles" : ""}`;
}

/** Bytes that an exchange, or whoever stands in between, puts on the socket of our client. */
export const SOCKET_TARGETS: readonly TargetMaker[] = [
  {
    name: "bytes of a WebSocket",
    testInputs: 200,
    open: async (): Promise<Target> => {
      const exchange = await HostileExchange.open();
      const crashes: unknown[] = [];
      const onCrash = (error: unknown): void => void crashes.push(error);
      process.on("uncaughtException", onCrash);
      return {
        name: "bytes of a WebSocket",
        seeds: SEEDS,
        read: async (input, random) => {
          const word = await followed(exchange, input, random);
          assert.deepEqual(crashes.splice(0), [], "thrown from the inside");
          return word;
        },
        close: async () => {
          process.off("uncaughtException", onCrash);
          await exchange.close();
        },
      };
    },
  },
];
