import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from "node:http";
import type { Clock } from "../core/ports.ts";
import { ApiError, banned, tooMuchWeight } from "../wire/api-error.ts";
import {
  type Answer,
  encode,
  htmlPage,
  json,
  pingText,
  refusalUntil,
  timeText,
  wantsMicroseconds,
} from "../wire/http-answer.ts";
import { klineRowText } from "../wire/kline-text.ts";
import { parseKlines } from "../wire/klines-query.ts";
import { REQUEST_WEIGHTS } from "../wire/limits.ts";
import { RequestBudget } from "../wire/request-budget.ts";
import type { Exchange } from "./exchange.ts";
import { exchangeInfo } from "./exchange-info.ts";
import type { FaultOf } from "./faults.ts";
import { klineRows } from "./klines.ts";
import { TimeSlice } from "./time-slice.ts";

type Handler = (query: string, isMicro: boolean) => string | Promise<string>;
type Path = keyof typeof REQUEST_WEIGHTS;

const DEFAULT_RETRY_AFTER_S = 5;
/** A request that was on its way when the ban was told is no breach. */
const TOLD_GRACE_MS = 1_000;

const OVERLOADED = new ApiError(
  -1008,
  "Server is currently overloaded with other requests. Please try again in a few minutes.",
  503,
);
const UNKNOWN_ERROR = new ApiError(
  -1000,
  "An unknown error occurred while processing the request.",
  500,
);
const RESTRICTED = new ApiError(
  0,
  "Service unavailable from a restricted location according to 'b. Eligibility' in https://www.binance.com/en/terms. Please contact customer service if you believe you received this message in error.",
  451,
);

/** The REST side of the exchange. */
export class RestServer {
  readonly #exchange: Exchange;
  readonly #clock: Clock;
  readonly #signal: AbortSignal;
  readonly #budget: RequestBudget;
  readonly #handlers: Readonly<Record<Path, Handler>>;
  /** From when on a client must know that it shall wait, and until when. */
  #hold = { from: 0, until: 0 };
  #ban = { from: Number.POSITIVE_INFINITY, until: 0 };

  /** @param signal ends delayed answers */
  constructor(exchange: Exchange, clock: Clock, signal: AbortSignal) {
    this.#exchange = exchange;
    this.#clock = clock;
    this.#signal = signal;
    this.#budget = new RequestBudget(exchange.limits);
    const klines: Handler = (query, isMicro) => this.#klines(query, isMicro);
    this.#handlers = {
      "/api/v3/ping": pingText,
      "/api/v3/time": (query, isMicro) => timeText(query, exchange.toldTime(), isMicro),
      "/api/v3/exchangeInfo": (query) => exchangeInfo(exchange, query),
      "/api/v3/klines": klines,
      "/api/v3/uiKlines": klines,
    };
    exchange.faults.onChange((change) => {
      if (change.kind === "action" || change.active.fault.kind !== "ban") return;
      this.#ban = { from: Number.POSITIVE_INFINITY, until: 0 };
    });
  }

  /** Answers one request, whatever happens. */
  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const [path = "", query = ""] = (request.url ?? "").split("?", 2);
    const isRead = request.method === "GET" || request.method === "HEAD";
    const known = isRead && isPath(path) ? path : undefined;
    const address = request.socket.remoteAddress ?? "";
    const weight = known === undefined ? 1 : REQUEST_WEIGHTS[known];
    const admission = this.#admit(address, weight);
    const answer = admission.refusal ?? (await this.#answer(path, query, known, request.headers));
    const name = known ?? "other";
    const shown = query === "" ? "" : `?${query}`;
    this.#exchange.journal.request(name, shown, answer?.status ?? 0, admission.weight);
    if (answer === undefined || response.destroyed) return;
    const { status, headers, body } = encode(
      request.headers,
      answer,
      admission.weight,
      this.#exchange.toldTime(),
    );
    response.writeHead(status, headers);
    response.end(request.method === "HEAD" ? undefined : body);
  }

  /** Weight and bans, those of the limits and those of faults. */
  #admit(address: string, weight: number): { weight: number; refusal?: Answer } {
    const { faults, journal, limits } = this.#exchange;
    const now = this.#exchange.now();
    const verdict = this.#budget.admit(address, weight, now);
    const banFault = faults.active().findLast(({ fault }) => fault.kind === "ban");
    const banUntil = Math.max(banFault?.until ?? 0, verdict.kind === "banned" ? verdict.until : 0);
    if (banUntil > now) {
      if (now > this.#ban.from + TOLD_GRACE_MS && now < this.#ban.until) {
        journal.violation("requestDuringBan", `${banUntil - now} ms before its end`);
      }
      this.#ban = { from: Math.min(this.#ban.from, now), until: banUntil };
      return {
        weight: verdict.weight,
        refusal: refusalUntil(banned(this.#told(banUntil)), banUntil, now),
      };
    }
    this.#ban = { from: Number.POSITIVE_INFINITY, until: 0 };
    if (now > this.#hold.from + TOLD_GRACE_MS && now < this.#hold.until) {
      journal.violation("requestDuringHold", `${this.#hold.until - now} ms before its end`);
    }
    if (verdict.kind !== "limited") return { weight: verdict.weight };
    journal.violation("weight", `${verdict.weight} of ${limits.weightPerMinute}`);
    if (now >= this.#hold.until) this.#hold = { from: now, until: verdict.until };
    const refusal = refusalUntil(tooMuchWeight(limits.weightPerMinute), verdict.until, now);
    return { weight: verdict.weight, refusal };
  }

  /** @returns `undefined` for an answer that never comes */
  async #answer(
    path: string,
    query: string,
    known: Path | undefined,
    headers: IncomingHttpHeaders,
  ): Promise<Answer | undefined> {
    const { faults } = this.#exchange;
    const applies = (fault: { readonly path?: string }): boolean => path.includes(fault.path ?? "");
    const delay = faults.strike("restDelay", applies);
    if (delay !== undefined) await this.#sleep(delay.ms);
    const wrong = faults.strike("rest", applies);
    if (wrong !== undefined && wrong.answer !== "truncated") return this.#wrong(wrong);
    const right = await this.#right(query, known, headers);
    if (wrong === undefined) return right;
    return { ...right, body: right.body.slice(0, right.body.length / 2) };
  }

  async #right(
    query: string,
    known: Path | undefined,
    headers: IncomingHttpHeaders,
  ): Promise<Answer> {
    if (known === undefined) return { status: 404, body: "", type: "text/plain" };
    try {
      const isMicro = wantsMicroseconds(headers);
      return json(await this.#handlers[known](query, isMicro));
    } catch (error) {
      if (error instanceof ApiError) return json(error.body, error.status);
      throw error;
    }
  }

  #wrong({ answer, retryAfter }: FaultOf<"rest">): Answer | undefined {
    switch (answer) {
      case "429": {
        const seconds = retryAfter === undefined ? DEFAULT_RETRY_AFTER_S : retryAfter;
        const now = this.#exchange.now();
        if (typeof seconds === "number") this.#hold = { from: now, until: now + seconds * 1_000 };
        const error = tooMuchWeight(this.#exchange.limits.weightPerMinute);
        return {
          ...json(error.body, error.status),
          ...(seconds !== null && { retryAfter: String(seconds) }),
        };
      }
      case "403":
        return htmlPage(403, "403 Forbidden");
      case "451":
        return json(RESTRICTED.body, RESTRICTED.status);
      case "500":
        return json(UNKNOWN_ERROR.body, UNKNOWN_ERROR.status);
      case "503":
        return json(OVERLOADED.body, OVERLOADED.status);
      case "html":
        return htmlPage(200, "Binance is under maintenance");
      case "empty":
        return json("");
      case "object":
        return json("{}");
      case "timeout":
      case "truncated":
        return undefined;
    }
  }

  async #klines(query: string, isMicro: boolean): Promise<string> {
    const { market, faults, switches } = this.#exchange;
    const symbols = market.symbols(this.#exchange.now());
    const knows = (symbol: string): boolean => symbols.some((info) => info.symbol === symbol);
    const request = parseKlines(query, knows, switches.reversedRange);
    const at = this.#exchange.now() - (faults.strike("restLag")?.ms ?? 0);
    const rows: string[] = [];
    const slice = new TimeSlice();
    for (const candle of klineRows(market, request, at)) {
      rows.push(klineRowText(candle, isMicro));
      if (slice.isOver) await slice.rest();
    }
    if (request.order === "descending") rows.reverse();
    return `[${rows.join(",")}]`;
  }

  /** An instant of exchange time as the exchange's told clock shows it. */
  #told(time: number): number {
    return time - this.#exchange.now() + this.#exchange.toldTime();
  }

  async #sleep(ms: number): Promise<void> {
    try {
      await this.#clock.sleep(ms, this.#signal);
    } catch {
      // The simulator is being closed: answer at once.
    }
  }
}

function isPath(path: string): path is Path {
  return Object.hasOwn(REQUEST_WEIGHTS, path);
}
