import type { Candle } from "../../src/core/candle.ts";
import type { Series } from "../../src/core/series.ts";
import { nextOpenTime, openTimeAt, type Timeframe } from "../../src/core/timeframe.ts";
import type { Fault, FaultPlan } from "./faults.ts";
import type { Journal } from "./journal.ts";
import type { Market } from "./market.ts";
import { pick, type Random } from "./random.ts";

/** A request as it arrives at the exchange. */
export interface RestRequest {
  readonly path: string;
  readonly query: URLSearchParams;
  /** Exchange time at which it was sent, epoch ms. */
  readonly sentTime: number;
}

/** An answer, or none. */
export interface RestAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Uint8Array;
  /** The body never ends, or ends in the middle. */
  readonly isCut?: boolean;
  /** End of the hold that the answer tells of, exchange time. */
  readonly holdUntil?: number;
}

const WEIGHT: Readonly<Record<string, number>> = {
  "/api/v3/time": 1,
  "/api/v3/exchangeInfo": 20,
  "/api/v3/klines": 2,
};
const MAX_ROWS = 1_000;
const MAX_SHORT_ROWS = 37;
/** After so many sleeps of the machine its address is out of requests, for so long. */
const USED_UP_SHARE = 0.3;
const USED_UP_MS = 4_000;
/** Whoever asks for what lies before wants to know when a symbol was listed. */
const FIRST_QUESTION = Date.UTC(2020, 0, 1);
/** Answers of other programs on the same address count, too: so much of the limit is theirs. */
const OTHERS_SHARE = 0.05;

/** The REST side of the exchange, from its documents: weight, holds, pages, and what goes wrong with them. */
export class RestServer {
  readonly #market: Market;
  readonly #plan: FaultPlan;
  readonly #journal: Journal;
  readonly #random: Random;
  /** Request weight of one minute. */
  readonly limit: number;
  #minute = -1;
  #used = 0;
  #minuteHoldUntil = 0;
  #now = 0;

  constructor(market: Market, plan: FaultPlan, journal: Journal, random: Random, limit: number) {
    this.#market = market;
    this.#plan = plan;
    this.#journal = journal;
    this.#random = random;
    this.limit = limit;
  }

  /** True when an answer of now would be sound. */
  isSound(now: number): boolean {
    return !REST_KINDS.some((kind) => this.#plan.on(kind, now) !== undefined);
  }

  /** Answers a request that arrives now. */
  answer(request: RestRequest, now: number): RestAnswer {
    this.#journal.count("requests");
    const weight = WEIGHT[request.path] ?? 1;
    this.#now = now;
    this.#turn(now);
    this.#used += weight;
    return this.#hold(now) ?? this.#fault(request, now) ?? this.#sound(request, now);
  }

  #turn(now: number): void {
    const minute = Math.floor(now / 60_000);
    if (minute === this.#minute) return;
    this.#minute = minute;
    this.#used = Math.floor(this.limit * OTHERS_SHARE);
  }

  #hold(now: number): RestAnswer | undefined {
    const banned = this.#plan.on("rest-418", now);
    if (banned !== undefined) {
      const until = this.#plan.toOf(banned);
      const message = `Way too much request weight used; IP banned until ${until}. Please use the websocket.`;
      const retryAfter =
        banned.arg < 0.8 ? { "retry-after": String(Math.ceil((until - now) / 1_000)) } : {};
      return this.#refusal(418, -1003, message, retryAfter, until);
    }
    if (this.#plan.of("suspend").some((fault) => this.#isUsedUp(fault, now))) {
      const until = now + 60_000;
      return this.#refusal(429, -1003, "Too much request weight used", {}, until);
    }
    const limited = this.#plan.on("rest-429", now);
    if (limited !== undefined) {
      const waitMs = this.#plan.toOf(limited) - now;
      const seconds = Math.max(1, Math.ceil(waitMs / 1_000));
      const isSaid = limited.arg < 0.7;
      const headers = isSaid ? { "retry-after": String(seconds) } : {};
      const until = now + (isSaid ? seconds * 1_000 : 60_000);
      return this.#refusal(429, -1003, "Too much request weight used", headers, until);
    }
    if (this.#plan.on("rest-403", now) !== undefined) {
      const headers = { ...this.#json(), "content-type": "text/html" };
      return {
        status: 403,
        headers,
        body: "<html>Request blocked</html>",
        holdUntil: now + 600_000,
      };
    }
    if (now < this.#minuteHoldUntil || this.#used > this.limit) {
      // Earned by the program itself: the limit is told in every answer.
      if (now >= this.#minuteHoldUntil) this.#journal.count("limit exceeded");
      this.#minuteHoldUntil = 60_000 * (this.#minute + 1);
      const seconds = Math.ceil((this.#minuteHoldUntil - now) / 1_000);
      const headers = { "retry-after": String(Math.max(1, seconds)) };
      return this.#refusal(
        429,
        -1003,
        "Too much request weight used",
        headers,
        this.#minuteHoldUntil,
      );
    }
    return undefined;
  }

  /** While this machine slept, others on its address may have used up what may be asked. */
  #isUsedUp(sleep: Fault, now: number): boolean {
    const wokeAt = this.#plan.toOf(sleep);
    return sleep.arg < USED_UP_SHARE && now >= wokeAt && now < wokeAt + USED_UP_MS;
  }

  #refusal(
    status: number,
    code: number,
    msg: string,
    headers: Readonly<Record<string, string>>,
    holdUntil: number,
  ): RestAnswer {
    return {
      status,
      headers: { ...this.#json(), ...headers },
      body: JSON.stringify({ code, msg }),
      holdUntil,
    };
  }

  #fault({ path }: RestRequest, now: number): RestAnswer | undefined {
    const failing = this.#plan.on("rest-5xx", now);
    if (failing !== undefined) {
      const code = pick(this.#random, [-1000, -1007, -1008]);
      const status = pick(this.#random, [500, 502, 503, 504]);
      const isHtml = this.#random() < 0.4;
      return {
        status,
        headers: isHtml ? { "content-type": "text/html" } : this.#json(),
        body: isHtml ? "<html>Bad gateway</html>" : JSON.stringify({ code, msg: "internal" }),
      };
    }
    if (this.#plan.on("rest-html", now) !== undefined) {
      const headers = { "content-type": pick(this.#random, ["text/html", "application/json"]) };
      return { status: 200, headers, body: "<!doctype html><title>Welcome</title>" };
    }
    if (this.#plan.on("rest-cut", now) !== undefined) {
      const body = path.endsWith("klines") ? '[[1499040000000,"0.0163' : '{"serverTi';
      return { status: 200, headers: this.#json(), body, isCut: this.#random() < 0.5 };
    }
    if (this.#plan.on("rest-shape", now) !== undefined) {
      const body = pick(this.#random, ["{}", "", "null", "[[1]]", '{"symbols":[]}', "[{}]"]);
      return { status: 200, headers: this.#json(), body };
    }
    return undefined;
  }

  #sound({ path, query }: RestRequest, now: number): RestAnswer {
    const headers = this.#json();
    if (path.endsWith("/time")) {
      return { status: 200, headers, body: JSON.stringify({ serverTime: now }) };
    }
    if (path.endsWith("/exchangeInfo")) {
      const symbols = this.#market.listings(now).map(({ symbol, status }) => ({
        ...{ symbol, status, baseAsset: symbol.slice(0, 3), quoteAsset: "USDT" },
      }));
      const limit = { rateLimitType: "REQUEST_WEIGHT", interval: "MINUTE", intervalNum: 1 };
      const rateLimits = [{ ...limit, limit: this.limit }];
      return { status: 200, headers, body: JSON.stringify({ rateLimits, symbols }) };
    }
    return { status: 200, headers, body: JSON.stringify(this.#rows(query, now)) };
  }

  #rows(query: URLSearchParams, now: number): unknown[] {
    const symbol = query.get("symbol") ?? "";
    const timeframe = (query.get("interval") ?? "") as Timeframe;
    const series: Series = { exchange: "binance", symbol, timeframe };
    const startTime = Number(query.get("startTime"));
    const endTime = Number(query.get("endTime") ?? now);
    const view = this.#view(now);
    if (
      this.#plan.on("rest-empty", now, ({ arg }) => arg < 0.5 || this.#random() < 0.5) !== undefined
    ) {
      this.#noteRead(series, startTime, Math.min(endTime + 1, now), new Set(), now);
      return [];
    }
    const isShort = this.#plan.on("rest-short", now) !== undefined;
    const limit = isShort ? 1 + Math.floor(this.#random() * MAX_SHORT_ROWS) : MAX_ROWS;
    const askedLimit = Math.min(limit, Number(query.get("limit") ?? 500));
    const openTimes = this.#market.openTimes(
      series,
      startTime,
      Math.min(endTime, view) + 1,
      askedLimit,
    );
    const rows = openTimes.flatMap((openTime) => this.#row(series, openTime, view, now));
    const isWhole = openTimes.length < askedLimit;
    const lastEnd = (openTimes.at(-1) ?? startTime - 1) + 1;
    // A candle that opens in this very millisecond is in the answer, too.
    const coveredTo = isWhole ? Math.max(Math.min(endTime + 1, now), lastEnd) : lastEnd;
    this.#noteRead(series, startTime, coveredTo, new Set(openTimes), now);
    if (this.#plan.on("rest-unsorted", now) !== undefined && rows.length > 1) {
      this.#journal.count("unsorted pages");
      return [...rows.slice(1), rows[0], rows[rows.length - 1]];
    }
    return rows;
  }

  /** Where the replica stands that answers. */
  #view(now: number): number {
    const stuck = this.#plan.on("rest-stuck", now);
    if (stuck !== undefined) return this.#plan.fromOf(stuck);
    const stale = this.#plan.on("rest-stale", now);
    const isOld = stale !== undefined && this.#random() < 0.6;
    const lagMs = Math.max(this.#market.lagAt(now), isOld ? 1_000 + stale.arg * 24_000 : 0);
    return now - Math.floor(lagMs);
  }

  #row(series: Series, openTime: number, view: number, now: number): unknown[] {
    const closed = this.#market.closed(series, openTime, view);
    const candle = closed ?? this.#market.forming(series, openTime, view);
    if (candle === undefined) return [];
    if (this.#market.isGarbage(series, openTime, now)) {
      if (closed !== undefined) this.#journal.count("poison rows");
      return [rowOf(this.#market.garbled(series, candle))];
    }
    if (closed !== undefined) this.#journal.served(series, closed);
    return [rowOf(candle)];
  }

  #noteRead(
    series: Series,
    from: number,
    to: number,
    present: ReadonlySet<number>,
    now: number,
  ): void {
    const { timeframe } = series;
    let open = openTimeAt(timeframe, from);
    if (open < from) open = nextOpenTime(timeframe, open);
    // Answers about the beginning of time are about the listing.
    if (from < FIRST_QUESTION) return;
    for (; open < to; open = nextOpenTime(timeframe, open)) {
      this.#journal.read(series, open, now);
      if (!present.has(open)) this.#journal.answeredEmpty(series, open, now);
    }
  }

  #json(): Record<string, string> {
    return {
      date: new Date(this.#now).toUTCString(),
      "content-type": "application/json;charset=UTF-8",
      "x-mbx-used-weight-1m": String(this.#used),
    };
  }
}

/** Faults under which an answer is not what it should be. */
const REST_KINDS = [
  "rest-5xx",
  "rest-html",
  "rest-cut",
  "rest-shape",
  "rest-hang",
  "rest-slow",
  "rest-refused",
  "rest-429",
  "rest-418",
  "rest-403",
  "rest-stale",
  "rest-stuck",
  "rest-short",
  "rest-empty",
  "late",
] as const;

function rowOf(candle: Candle): unknown[] {
  const { openTime, open, high, low, close, volume, closeTime } = candle;
  const { quoteVolume, tradeCount, takerBuyVolume, takerBuyQuoteVolume } = candle;
  return [
    ...[openTime, open, high, low, close, volume, closeTime],
    ...[quoteVolume, tradeCount, takerBuyVolume, takerBuyQuoteVolume, "0"],
  ];
}
