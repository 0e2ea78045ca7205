import type { IncomingMessage, ServerResponse } from "node:http";
import type { Clock } from "../core/ports.ts";
import { ApiError, banned, tooMuchWeight } from "./api-error.ts";
import type { Exchange } from "./exchange.ts";
import { exchangeInfoText } from "./exchange-info.ts";
import type { FaultOf } from "./faults.ts";
import { klineRows, klineRowText, parseKlines } from "./klines.ts";
import { readQuery } from "./query.ts";
import { RequestBudget } from "./request-budget.ts";
import { type Answer, htmlPage, json, send } from "./rest-answer.ts";
import { TimeSlice } from "./time-slice.ts";

type Handler = (query: string, isMicro: boolean) => string | Promise<string>;

interface Route {
  readonly weight: number;
  readonly handler: Handler;
}

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
  readonly #routes: ReadonlyMap<string, Route>;
  /** From when on a client must know that it shall wait, and until when. */
  #hold = { from: 0, until: 0 };
  #ban = { from: Number.POSITIVE_INFINITY, until: 0 };

  /** @param signal ends delayed answers */
  constructor(exchange: Exchange, clock: Clock, signal: AbortSignal) {
    this.#exchange = exchange;
    this.#clock = clock;
    this.#signal = signal;
    this.#budget = new RequestBudget(exchange.limits);
    const klines: Route = { weight: 2, handler: (query, isMicro) => this.#klines(query, isMicro) };
    this.#routes = new Map<string, Route>([
      ["/api/v3/ping", { weight: 1, handler: (query) => nothing(query) }],
      ["/api/v3/time", { weight: 1, handler: (query, isMicro) => this.#time(query, isMicro) }],
      [
        "/api/v3/exchangeInfo",
        { weight: 20, handler: (query) => exchangeInfoText(exchange, query) },
      ],
      ["/api/v3/klines", klines],
      ["/api/v3/uiKlines", klines],
    ]);
    exchange.faults.onChange((change) => {
      if (change.kind === "action" || change.active.fault.kind !== "ban") return;
      this.#ban = { from: Number.POSITIVE_INFINITY, until: 0 };
    });
  }

  /** Answers one request, whatever happens. */
  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const [path = "", query = ""] = (request.url ?? "").split("?", 2);
    const route = request.method === "GET" || request.method === "HEAD" ? path : "";
    const known = this.#routes.get(route);
    const address = request.socket.remoteAddress ?? "";
    const admission = this.#admit(address, known?.weight ?? 1);
    const answer =
      admission.refusal ?? (await this.#answer(path, query, known, timeUnitOf(request)));
    const name = known === undefined ? "other" : path;
    const shown = query === "" ? "" : `?${query}`;
    this.#exchange.journal.request(name, shown, answer?.status ?? 0, admission.weight);
    if (answer === undefined || response.destroyed) return;
    send(request, response, answer, admission.weight, this.#exchange.toldTime());
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
        refusal: this.#waiting(banned(this.#told(banUntil)), banUntil),
      };
    }
    this.#ban = { from: Number.POSITIVE_INFINITY, until: 0 };
    if (now > this.#hold.from + TOLD_GRACE_MS && now < this.#hold.until) {
      journal.violation("requestDuringHold", `${this.#hold.until - now} ms before its end`);
    }
    if (verdict.kind !== "limited") return { weight: verdict.weight };
    journal.violation("weight", `${verdict.weight} of ${limits.weightPerMinute}`);
    if (now >= this.#hold.until) this.#hold = { from: now, until: verdict.until };
    const refusal = this.#waiting(tooMuchWeight(limits.weightPerMinute), verdict.until);
    return { weight: verdict.weight, refusal };
  }

  /** @returns `undefined` for an answer that never comes */
  async #answer(
    path: string,
    query: string,
    route: Route | undefined,
    timeUnit: "ms" | "us" | "invalid",
  ): Promise<Answer | undefined> {
    const { faults } = this.#exchange;
    const applies = (fault: { readonly path?: string }): boolean => path.includes(fault.path ?? "");
    const delay = faults.strike("restDelay", applies);
    if (delay !== undefined) await this.#sleep(delay.ms);
    const wrong = faults.strike("rest", applies);
    if (wrong !== undefined && wrong.answer !== "truncated") return this.#wrong(wrong);
    const right = await this.#right(query, route, timeUnit);
    if (wrong === undefined) return right;
    return { ...right, body: right.body.slice(0, right.body.length / 2) };
  }

  async #right(
    query: string,
    route: Route | undefined,
    timeUnit: "ms" | "us" | "invalid",
  ): Promise<Answer> {
    if (route === undefined) return { status: 404, body: "", type: "text/plain" };
    try {
      if (timeUnit === "invalid") {
        const msg = "Invalid value for time unit; expected either MICROSECOND or MILLISECOND.";
        throw new ApiError(-1194, msg);
      }
      return json(await route.handler(query, timeUnit === "us"));
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

  #time(query: string, isMicro: boolean): string {
    nothing(query);
    const time = this.#exchange.toldTime();
    return `{"serverTime":${isMicro ? time * 1_000 : time}}`;
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

  #waiting(error: ApiError, until: number): Answer {
    const seconds = Math.max(1, Math.ceil((until - this.#exchange.now()) / 1_000));
    return { ...json(error.body, error.status), retryAfter: String(seconds) };
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

function nothing(query: string): string {
  readQuery(query, []);
  return "{}";
}

function timeUnitOf(request: IncomingMessage): "ms" | "us" | "invalid" {
  const unit = request.headers["x-mbx-time-unit"];
  if (unit === undefined) return "ms";
  if (unit === "MICROSECOND") return "us";
  return unit === "MILLISECOND" ? "ms" : "invalid";
}
