import type { IncomingMessage, ServerResponse } from "node:http";
import { isTimeframe } from "../core/timeframe.ts";
import type { Exchange } from "./exchange.ts";
import { parseFault } from "./fault-json.ts";
import type { FaultKind } from "./faults.ts";
import type { MarketCandle } from "./market.ts";
import { listedAs } from "./market-faults.ts";
import { TimeSlice } from "./time-slice.ts";

const MAX_BODY_BYTES = 64 * 1024;
/** Rows gathered for one write. */
const CHUNK_ROWS = 500;

/**
 * `/sim/`: how a test in another process sees and steers the exchange. Loopback only; a browser's page is refused.
 *
 * GET /sim/state · POST /sim/faults · DELETE /sim/faults[?id=1|?kind=silence] · GET /sim/journal ·
 * GET /sim/truth?symbol=&interval=&from=&to=
 */
export class ControlServer {
  readonly #exchange: Exchange;

  constructor(exchange: Exchange) {
    this.#exchange = exchange;
  }

  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const refusal = refusalOf(request);
    if (refusal !== undefined) {
      reply(response, 403, { error: refusal });
      return;
    }
    const { pathname, searchParams } = new URL(request.url ?? "/", "http://exchange");
    const { faults, journal } = this.#exchange;
    switch (`${request.method} ${pathname}`) {
      case "GET /sim/state":
        reply(response, 200, this.#state());
        return;
      case "POST /sim/faults":
        await this.#setFault(request, response);
        return;
      case "DELETE /sim/faults":
        faults.clear(target(searchParams));
        reply(response, 200, { faults: faults.active() });
        return;
      case "GET /sim/journal":
        reply(response, 200, { counts: journal.counts(), recent: journal.recent() });
        return;
      case "GET /sim/truth":
        await this.#truth(searchParams, response);
        return;
      default:
        reply(response, 404, { error: "unknown control path" });
    }
  }

  #state(): unknown {
    const { market, faults, journal, switches, limits } = this.#exchange;
    return {
      now: this.#exchange.now(),
      toldTime: this.#exchange.toldTime(),
      faults: faults.active(),
      counts: journal.counts(),
      limits,
      symbols: market
        .symbols(this.#exchange.now())
        .map((info) => listedAs(info, faults, switches.listsDelisted))
        .filter((info) => info !== undefined),
    };
  }

  async #setFault(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const fault = parseFault(await bodyOf(request));
    if (typeof fault === "string") {
      reply(response, 400, { error: fault });
      return;
    }
    const id = this.#exchange.faults.set(fault);
    reply(response, 200, { id, faults: this.#exchange.faults.active() });
  }

  /** NDJSON of the closed candles as the exchange has them now; `from` ≤ open time < `to`. */
  async #truth(query: URLSearchParams, response: ServerResponse): Promise<void> {
    const symbol = query.get("symbol") ?? "";
    const interval = query.get("interval") ?? "";
    const from = Number(query.get("from") ?? 0);
    const to = Number(query.get("to") ?? Number.POSITIVE_INFINITY);
    if (!isTimeframe(interval) || Number.isNaN(from) || Number.isNaN(to)) {
      reply(response, 400, { error: "needs symbol, interval; from and to are epoch ms" });
      return;
    }
    response.writeHead(200, { "Content-Type": "application/x-ndjson" });
    const now = this.#exchange.now();
    const slice = new TimeSlice();
    let chunk: string[] = [];
    const flush = async (): Promise<void> => {
      const isRoomLeft = response.write(chunk.join(""));
      chunk = [];
      if (!isRoomLeft) await drained(response);
    };
    for (const candle of closedCandles(this.#exchange, { symbol, interval }, { from, to }, now)) {
      chunk.push(`${JSON.stringify(candle)}\n`);
      if (chunk.length >= CHUNK_ROWS) await flush();
      if (slice.isOver) await slice.rest();
      if (response.destroyed) return;
    }
    if (chunk.length > 0) await flush();
    response.end();
  }
}

function* closedCandles(
  { market }: Exchange,
  series: { readonly symbol: string; readonly interval: MarketSeriesInterval },
  range: { readonly from: number; readonly to: number },
  now: number,
): Generator<MarketCandle> {
  for (const candle of market.candles(series, range, now, "ascending")) {
    if (candle.closeTime < now) yield candle;
  }
}

type MarketSeriesInterval = Parameters<Exchange["market"]["has"]>[0]["interval"];

function refusalOf(request: IncomingMessage): string | undefined {
  const address = request.socket.remoteAddress ?? "";
  if (!/^(?:127\.|::1$|::ffff:127\.)/.test(address)) return "loopback only";
  return request.headers.origin === undefined ? undefined : "not for browsers";
}

function target(query: URLSearchParams): number | FaultKind | undefined {
  const id = query.get("id");
  if (id !== null) return Number(id);
  return (query.get("kind") as FaultKind | null) ?? undefined;
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  let text = "";
  for await (const part of request) {
    text += String(part);
    if (text.length > MAX_BODY_BYTES) return "";
  }
  return text;
}

async function drained(response: ServerResponse): Promise<void> {
  await new Promise<void>((resolve) => {
    const done = (): void => {
      response.off("drain", done);
      response.off("close", done);
      resolve();
    };
    response.on("drain", done);
    response.on("close", done);
  });
}

function reply(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "Content-Type": "application/json" });
  response.end(JSON.stringify(body));
}
