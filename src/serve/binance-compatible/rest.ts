import type { IncomingHttpHeaders } from "node:http";
import { BlackTradeError, messageOf } from "../../core/errors.ts";
import { ApiError, tooMuchWeight } from "../../wire/api-error.ts";
import { exchangeInfoText, parseInfoQuery } from "../../wire/exchange-info.ts";
import {
  type Answer,
  type EncodedAnswer,
  encode,
  json,
  pingText,
  refusalUntil,
  timeText,
  wantsMicroseconds,
} from "../../wire/http-answer.ts";
import { klineRowText } from "../../wire/kline-text.ts";
import { parseKlines } from "../../wire/klines-query.ts";
import { type Limits, REQUEST_WEIGHTS } from "../../wire/limits.ts";
import { RequestBudget } from "../../wire/request-budget.ts";
import type { ServeParts } from "../parts.ts";
import { HttpProblem } from "../problem.ts";
import { type CollectedReader, notCollected } from "./collected.ts";
import { readRows } from "./klines.ts";
import { listingsOf, symbolTexts } from "./listings.ts";

/** A request, as far as it matters. */
export interface RestRequest {
  readonly method: string;
  /** Path and query. */
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  /** Whose weight it is. */
  readonly address: string;
}

type Path = keyof typeof REQUEST_WEIGHTS;

/** The REST side: Binance's paths, weights, checks, shapes and errors over what is stored. */
export class CompatibleRest {
  readonly #parts: () => ServeParts;
  readonly #collected: CollectedReader;
  readonly #limits: Limits;
  readonly #budget: RequestBudget;
  readonly #onFault: (error: unknown) => void;

  /** @param onFault told of what should not happen; the client only learns that something did */
  constructor(
    parts: () => ServeParts,
    collected: CollectedReader,
    limits: Limits,
    onFault: (error: unknown) => void,
  ) {
    this.#parts = parts;
    this.#collected = collected;
    this.#limits = limits;
    this.#budget = new RequestBudget(limits);
    this.#onFault = onFault;
  }

  /** Answers one request, whatever happens. */
  async answer(request: RestRequest): Promise<EncodedAnswer> {
    let weight = 0;
    let now: number | undefined;
    try {
      now = this.#parts().now();
      const [path = "", query = ""] = splitUrl(request.url);
      const isRead = request.method === "GET" || request.method === "HEAD";
      const known = isRead && isPath(path) ? path : undefined;
      const verdict = this.#budget.admit(
        request.address,
        known === undefined ? 1 : REQUEST_WEIGHTS[known],
        now,
      );
      weight = verdict.weight;
      if (verdict.kind !== "admitted") {
        const refusal = refusalUntil(
          tooMuchWeight(this.#limits.weightPerMinute),
          verdict.until,
          now,
        );
        return encode(request.headers, refusal, weight, now);
      }
      if (known === undefined) throw notServed(path, request.method);
      const body = await this.#body(known, query, wantsMicroseconds(request.headers));
      return encode(request.headers, json(body), weight, now);
    } catch (error) {
      return encode(request.headers, this.refusal(error), weight, now);
    }
  }

  /** The exchange's way of saying an error. */
  refusal(error: unknown): Answer {
    if (error instanceof ApiError) return json(error.body, error.status);
    const known = apiErrorOf(error);
    if (known === undefined) {
      this.#onFault(error);
      return refusalOf(
        new ApiError(-1000, "An unknown error occurred while processing the request.", 500),
      );
    }
    const retryAfter = error instanceof HttpProblem ? error.headers["retry-after"] : undefined;
    return { ...refusalOf(known), ...(retryAfter === undefined ? {} : { retryAfter }) };
  }

  async #body(path: Path, query: string, isMicro: boolean): Promise<string> {
    const { now } = this.#parts();
    switch (path) {
      case "/api/v3/ping":
        return pingText(query);
      case "/api/v3/time":
        return timeText(query, now(), isMicro);
      case "/api/v3/exchangeInfo":
        return this.#exchangeInfo(query);
      case "/api/v3/klines":
      case "/api/v3/uiKlines":
        return this.#klines(query, isMicro);
    }
  }

  async #exchangeInfo(query: string): Promise<string> {
    const request = parseInfoQuery(query);
    const { queries, now } = this.#parts();
    const [collected, markets] = await Promise.all([this.#collected.read(), queries.markets()]);
    const symbols = symbolTexts(request, listingsOf(collected, markets));
    return exchangeInfoText(now(), this.#limits, symbols);
  }

  async #klines(query: string, isMicro: boolean): Promise<string> {
    const collected = await this.#collected.read();
    const request = parseKlines(
      query,
      (symbol) => {
        if (collected.hasSymbol(symbol)) return true;
        throw notCollected(symbol);
      },
      "empty",
    );
    const rows = await readRows(this.#parts(), collected.seriesFor(request.series), request);
    return `[${rows.map((row) => klineRowText(row, isMicro)).join(",")}]`;
  }
}

function refusalOf(error: ApiError): Answer {
  return json(error.body, error.status);
}

/** @returns `undefined` for an error that is not the program's own */
function apiErrorOf(error: unknown): ApiError | undefined {
  if (!(error instanceof BlackTradeError)) {
    const status = statusOf(error);
    return status === undefined || status >= 500
      ? undefined
      : new ApiError(-1100, `Illegal request: ${messageOf(error)}.`, status);
  }
  const { code, message, remedy } = error;
  const said = `${message.charAt(0).toUpperCase()}${message.slice(1)}. ${remedy}`;
  if (code === "E_HTTP_TOKEN") {
    const isLimited = error instanceof HttpProblem && error.status === 429;
    if (isLimited) return new ApiError(-1003, `Too many requests. ${said}`, 429);
    const msg = `Invalid API-key, IP, or permissions for action. ${message}: send API_TOKEN as the API key (X-MBX-APIKEY).`;
    return new ApiError(-2015, msg, 401);
  }
  if (code === "E_HTTP_BUSY" || code === "E_HTTP_NOT_READY") {
    const msg = `Server is currently overloaded with other requests. Please try again in a few minutes. ${said}`;
    return new ApiError(-1008, msg, 503);
  }
  const msg = `Internal error; unable to process your request. Please try again. ${said}`;
  return new ApiError(-1001, msg, 503);
}

function statusOf(error: unknown): number | undefined {
  if (!(error instanceof Error) || !("statusCode" in error)) return undefined;
  return typeof error.statusCode === "number" ? error.statusCode : undefined;
}

function notServed(path: string, method: string): ApiError {
  const names = Object.keys(REQUEST_WEIGHTS).map((known) => known.replace("/api/v3/", ""));
  const msg = `Path ${path.slice(0, 200)}, Method ${method} is invalid. This server has candles only: GET ${names.join(", ")} of /api/v3.`;
  return new ApiError(-5000, msg, 404);
}

/** Not `split`: a query may hold further question marks. */
function splitUrl(url: string): readonly [string, string] {
  const mark = url.indexOf("?");
  return mark < 0 ? [url, ""] : [url.slice(0, mark), url.slice(mark + 1)];
}

function isPath(path: string): path is Path {
  return Object.hasOwn(REQUEST_WEIGHTS, path);
}
