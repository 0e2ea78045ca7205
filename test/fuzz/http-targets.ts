import assert from "node:assert/strict";
import { connect } from "node:net";
import type { Series } from "../../src/core/series.ts";
import { type ApiStack, startApi, TOKEN, versionOf } from "../support/api-stack.ts";
import { createTestDatabase, sharedServer } from "../support/postgres.ts";
import type { Target, TargetMaker } from "./target.ts";

const SERIES: Series = { exchange: "binance", symbol: "BTCUSDT", timeframe: "1m" };
const OPEN = Date.UTC(2026, 0, 1);
const ROWS = 50;
const HOUR_MS = 3_600_000;
/** An answer that takes longer is none. */
const ANSWER_MS = 10_000;

/** The real server over a real database with some candles, and what it complained of. */
export interface FuzzedServer {
  readonly stack: ApiStack;
  /** What should not happen and did, since the last call. */
  faults(): unknown[];
  close(): Promise<void>;
}

/** @param token demanded, when given */
export async function openServer(token?: string): Promise<FuzzedServer> {
  const database = await createTestDatabase(await sharedServer(), "migrated");
  let now = OPEN + HOUR_MS;
  let faults: unknown[] = [];
  const stack = await startApi(database.url, {
    // Requests seem to be seconds apart, so that no limit of requests hides what they ask.
    now: () => {
      now += 1_000;
      return now;
    },
    onFault: (error) => faults.push(error),
    ...(token === undefined ? {} : { token }),
  });
  const rows = Array.from({ length: ROWS }, (_, index) => versionOf(SERIES, OPEN + index * 60_000));
  await stack.store.begin({ mode: "websocket", host: "fuzz", pid: process.pid }, [SERIES]);
  await stack.store.write(rows, []);
  return {
    stack,
    faults: () => {
      const found = faults;
      faults = [];
      return found;
    },
    close: async () => {
      await stack.store.end();
      await stack.close();
      await database.drop();
    },
  };
}

interface Answer {
  readonly status: number;
  readonly head: string;
  readonly body: string;
}

/** Sends bytes as they are and reads the answer; of an endless one its head. */
export function exchangeBytes(port: number, request: Buffer): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1");
    const pieces: Buffer[] = [];
    const done = (): void => {
      socket.destroy();
      const text = Buffer.concat(pieces).toString("latin1");
      const [head = "", ...rest] = text.split("\r\n\r\n");
      resolve({ status: Number(head.split(" ")[1]), head, body: rest.join("\r\n\r\n") });
    };
    socket.setTimeout(ANSWER_MS, () => {
      socket.destroy();
      reject(new Error(`no answer within ${ANSWER_MS} ms`));
    });
    socket.on("data", (piece: Buffer) => {
      pieces.push(piece);
      if (/^content-type: text\/event-stream/im.test(String(pieces[0]))) done();
    });
    socket.on("error", () => done());
    socket.on("close", done);
    socket.write(request);
  });
}

const NEVER_IN_A_LINE = /[\r\n]/g;

function oneLine(input: Buffer): string {
  return input.toString("latin1").replace(NEVER_IN_A_LINE, "");
}

interface Asked {
  readonly method?: string;
  readonly path: string;
  readonly headers?: string;
  readonly body?: Buffer;
}

function requestOf({ method = "GET", path, headers = "", body }: Asked): Buffer {
  const length = body === undefined ? "" : `content-length: ${body.length}\r\n`;
  const head = `${method} ${path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n${length}${headers}\r\n`;
  return Buffer.concat([Buffer.from(head, "latin1"), body ?? Buffer.alloc(0)]);
}

/** What the body of a refusal must be under a path. */
const REFUSALS: readonly (readonly [path: RegExp, keys: readonly string[]])[] = [
  [/^\/udf\//, ["errmsg", "s"]],
  [/^\/api\/v3\//, ["code", "msg"]],
  [/^/, ["code", "detail", "remedy", "status", "title", "type"]],
];

/** Any answer is right that a client can take: a success, or a refusal in the words of the face. */
function judge({ status, head, body }: Answer, path: string, faults: readonly unknown[]): string {
  assert.deepEqual(faults, [], "the program made an error");
  if (status >= 200 && status < 400) return "valid";
  assert.ok((status >= 400 && status < 500) || status === 503, `status ${head.slice(0, 200)}`);
  // What is no HTTP is refused by Node.js itself, without a body.
  const isPlain = !/^content-type:/im.test(head) && body === "";
  if (isPlain && [400, 414, 417, 431].includes(status)) return `${status} by Node.js`;
  if (body === "") return `${status}`;
  // A body that came in chunks has their lengths around it.
  const text = body.slice(body.indexOf("{"), body.lastIndexOf("}") + 1);
  const document = JSON.parse(Buffer.from(text, "latin1").toString()) as Record<string, unknown>;
  if (path.startsWith("/readyz") && "notActive" in document) return "not ready";
  const known = REFUSALS.map(([, keys]) => keys.join());
  const first = REFUSALS.find(([pattern]) => pattern.test(path))?.[1].join();
  const keys = Object.keys(document).sort().join();
  // The guard and the router answer before any face does.
  assert.ok(keys === first || keys === known.at(-1), `${path.slice(0, 40)}: ${keys}`);
  return String(status);
}

interface HttpTarget {
  readonly name: string;
  readonly token?: string;
  readonly seeds: readonly string[];
  readonly ask: (input: Buffer) => Asked;
}

function httpTarget({ name, token, seeds, ask }: HttpTarget): TargetMaker {
  return {
    name,
    testInputs: 250,
    open: async (): Promise<Target> => {
      const server = await openServer(token);
      const port = Number(new URL(server.stack.url).port);
      return {
        name,
        seeds: seeds.map((text) => Buffer.from(text)),
        read: async (input) => {
          const asked = ask(input);
          const answer = await exchangeBytes(port, requestOf(asked));
          return judge(answer, asked.path, server.faults());
        },
        close: () => server.close(),
      };
    },
  };
}

const RANGE = `from=${OPEN}&to=${OPEN + 10 * 60_000}`;
const STORED = "symbol=BTCUSDT&timeframe=1m";
const JSON_TYPE = "content-type: application/json\r\n";
const BEARER = `authorization: Bearer ${TOKEN}\r\n`;

/** The faces of the server, and what may come with a request. */
export const HTTP_TARGETS: readonly TargetMaker[] = [
  httpTarget({
    name: "HTTP: queries of the API",
    seeds: [
      `/api/v1/candles?${STORED}&${RANGE}&limit=5`,
      `/api/v1/candles?${STORED}&format=csv&from=2026-01-01&to=-1d`,
      `/api/v1/candles?${STORED}&isForming=true&cursor=eyJ9`,
      `/api/v1/gaps?${STORED}`,
      `/api/v1/coverage?symbols=BTCUSDT&timeframes=1m&from=2026-01-01&to=2026-01-03`,
      `/api/v1/verification?${STORED}&${RANGE}`,
      `/api/v1/revisions?${STORED}&${RANGE}&limit=7`,
      ...["/api/v1/series", "/api/v1/status", "/api/v1/status/summary", "/api/v1/errors"],
      ...["/api/v1/log?after=3", "/metrics", "/livez", "/readyz", "/openapi.json", "/"],
      "/api/v1/events?series=binance:BTCUSDT:1m&kinds=closed,forming,status",
    ],
    ask: (input) => ({ path: `/${oneLine(input).replace(/^\//, "")}` }),
  }),
  httpTarget({
    name: "HTTP: queries in Binance's form",
    seeds: [
      "klines?symbol=BTCUSDT&interval=1m&limit=5",
      `klines?symbol=BTCUSDT&interval=1m&startTime=${OPEN}&endTime=${OPEN + HOUR_MS}&timeZone=+3:30`,
      ...["uiKlines?symbol=BTCUSDT&interval=1m", "ping", "time", "exchangeInfo?symbol=BTCUSDT"],
      'exchangeInfo?symbols=["BTCUSDT"]&permissions=SPOT&symbolStatus=TRADING',
      "order?symbol=BTCUSDT&side=BUY",
    ],
    ask: (input) => ({ path: `/api/v3/${oneLine(input)}` }),
  }),
  httpTarget({
    name: "HTTP: queries in TradingView's form",
    seeds: [
      `history?symbol=BTCUSDT&resolution=1&from=${OPEN / 1_000}&to=${OPEN / 1_000 + 3_600}`,
      `history?symbol=BINANCE:BTCUSDT&resolution=1&to=${OPEN / 1_000 + 3_600}&countback=10`,
      ...["config", "time", "symbols?symbol=BTCUSDT", "search?query=BT&type=crypto&limit=5"],
      `marks?symbol=BTCUSDT&resolution=1&from=${OPEN / 1_000}&to=${OPEN / 1_000 + 3_600}`,
    ],
    ask: (input) => ({ path: `/udf/${oneLine(input)}` }),
  }),
  httpTarget({
    name: "HTTP: bodies",
    token: TOKEN,
    seeds: [
      JSON.stringify({ kind: "fill", symbols: ["BTCUSDT"], timeframes: ["1m"], from: OPEN }),
      JSON.stringify({ kind: "verify", isRepairing: true, to: "-1d" }),
      JSON.stringify({ kind: "backfill", from: "2026-01-01", to: "now" }),
    ],
    ask: (input) => ({
      method: "POST",
      path: "/api/v1/jobs",
      headers: JSON_TYPE + BEARER,
      body: input,
    }),
  }),
  httpTarget({
    name: "HTTP: headers",
    seeds: [
      "accept: text/csv;q=0.5, application/json",
      "last-event-id: 12",
      'if-none-match: "abc"',
      "accept-encoding: gzip, br",
      "origin: https://charts.example.com\r\nsec-fetch-site: cross-site",
      "content-type: application/x-www-form-urlencoded",
      "host: evil.example.com",
      "x-mbx-time-unit: MICROSECOND",
      "transfer-encoding: chunked",
      "range: bytes=0-5",
    ],
    ask: (input) => {
      const paths = [`/api/v1/candles?${STORED}`, "/api/v3/time", "/udf/time", "/api/v1/events"];
      const path = paths[input.length % paths.length] ?? "/";
      // No empty line: what follows would be a second request.
      const headers = input.toString("latin1").replace(/\r?\n(?=\r?\n)/g, "");
      return { path, headers: `${headers.replace(/[\r\n]+$/, "")}\r\n` };
    },
  }),
];
