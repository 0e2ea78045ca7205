import assert from "node:assert/strict";
import { once } from "node:events";
import { WebSocket } from "ws";
import { type FuzzedServer, openServer } from "./http-targets.ts";
import type { Target, TargetMaker } from "./target.ts";

/** Its answer says that the message before it has been dealt with. */
const MARK = 987_654_321;
const LIST = JSON.stringify({ method: "LIST_SUBSCRIPTIONS", id: MARK });
/** How the exchange's rules, and WebSocket's, end a connection for what a client sent. */
const CLOSES: readonly number[] = [1000, 1001, 1002, 1003, 1006, 1007, 1008, 1009];
const ANSWER_MS = 10_000;

const SEEDS: readonly unknown[] = [
  { method: "SUBSCRIBE", params: ["btcusdt@kline_1m"], id: 1 },
  { method: "UNSUBSCRIBE", params: ["btcusdt@kline_1m", "ethusdt@kline_1h"], id: "x" },
  { method: "LIST_SUBSCRIPTIONS", id: 3 },
  { method: "SET_PROPERTY", params: ["combined", true], id: 4 },
  { method: "GET_PROPERTY", params: ["combined"], id: null },
];

/** One connection, opened again when the server has closed it. */
class Client {
  readonly #server: FuzzedServer;
  #socket: WebSocket | undefined;

  constructor(server: FuzzedServer) {
    this.#server = server;
  }

  /** @returns answers that came before the mark's, or how the connection was closed */
  async send(data: Buffer, isBinary: boolean): Promise<string[] | number> {
    const socket = await this.#open();
    const { promise, resolve, reject } = Promise.withResolvers<string[] | number>();
    const answers: string[] = [];
    const onMessage = (text: Buffer): void => {
      if ((JSON.parse(String(text)) as { id?: unknown }).id === MARK) resolve(answers);
      else answers.push(String(text));
    };
    const onClose = (code: number): void => resolve(code);
    const late = setTimeout(() => reject(new Error("no answer")), ANSWER_MS);
    socket.on("message", onMessage).on("close", onClose);
    socket.send(data, { binary: isBinary });
    socket.send(LIST);
    try {
      return await promise;
    } finally {
      clearTimeout(late);
      socket.off("message", onMessage).off("close", onClose);
    }
  }

  close(): void {
    this.#socket?.terminate();
  }

  async #open(): Promise<WebSocket> {
    if (this.#socket?.readyState === WebSocket.OPEN) return this.#socket;
    const socket = new WebSocket(`${this.#server.stack.url.replace("http", "ws")}/ws`);
    socket.on("error", () => undefined);
    await once(socket, "open");
    this.#socket = socket;
    return socket;
  }
}

/** What clients of the Binance-compatible streams send. */
export const WEBSOCKET_TARGETS: readonly TargetMaker[] = [
  {
    name: "WebSocket messages",
    testInputs: 250,
    open: async (): Promise<Target> => {
      const server = await openServer();
      const client = new Client(server);
      return {
        name: "WebSocket messages",
        seeds: SEEDS.map((seed) => Buffer.from(JSON.stringify(seed))),
        read: async (input, random) => {
          const answers = await client.send(input, random() < 0.1);
          assert.deepEqual(server.faults(), [], "the program made an error");
          if (typeof answers === "number") {
            assert.ok(CLOSES.includes(answers), `closed with ${answers}`);
            return `closed ${answers}`;
          }
          const own = answers.map((text) => JSON.parse(text) as Record<string, unknown>);
          const word = own.find((one) => "result" in one || "error" in one || "code" in one);
          assert.ok(word !== undefined, "every message is answered");
          return "result" in word ? "valid" : "refused";
        },
        close: async () => {
          client.close();
          await server.close();
        },
      };
    },
  },
];
