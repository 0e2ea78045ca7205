import type { RequestPriority, WeightBudget } from "../../core/budget.ts";
import type { Recorder } from "../../core/events.ts";
import type { ExchangeTime } from "../../core/exchange-time.ts";
import type {
  Ban,
  Clock,
  HistoryPage,
  HistorySource,
  Market,
  MarketSource,
} from "../../core/ports.ts";
import type { TimeRange } from "../../core/range.ts";
import type { Series } from "../../core/series.ts";
import { badAnswer } from "./answers.ts";
import { readBaseUrl } from "./base-url.ts";
import { decodeCandleRows, decodeExchangeInfo, decodeServerTime, EXCHANGE } from "./codec.ts";
import { judgePage, MAX_ROWS } from "./paging.ts";
import { Requests } from "./requests.ts";

/** What the REST side of Binance needs. */
export interface BinanceRestOptions {
  /** Base address without `/api/v3`, e.g. `https://data-api.binance.vision`. */
  readonly baseUrl: string;
  readonly clock: Clock;
  /** Shared: `syncTime` feeds it, and every page is stamped by it. */
  readonly exchangeTime: ExchangeTime;
  /** Shared by all who ask from this address. */
  readonly budget: WeightBudget;
  /** Value in `[0, 1)`. */
  readonly random: () => number;
  readonly record: Recorder;
  /** Keeps a hold, so that a restart obeys it. Awaited before the error is thrown. */
  readonly onHold: (ban: Ban) => Promise<void>;
  /** For one request in all, ms; 10 s unless told. */
  readonly deadlineMs?: number;
}

/** What can be asked of Binance by REST. */
export type BinanceRest = HistorySource & MarketSource;

const DEFAULT_DEADLINE_MS = 10_000;
/** The list of 2021 was 2 MB for 1,600 symbols, and it grows with every listing. */
const MAX_INFO_BYTES = 32 * 2 ** 20;
/** Weights of §2.1; that of klines is the same for any limit. */
const WEIGHT = { time: 1, klines: 2, exchangeInfo: 20 } as const;
/** A slower time answer says only how late it is at least. */
const MAX_ROUND_TRIP_MS = 2_000;

/**
 * Binance's REST service: candles, symbols, time. Asks within the request budget and never during a hold, and tries
 * nothing twice: that is for the caller and its clock. Every request can fail with
 * - E_SOURCE_UNREACHABLE, E_SOURCE_TIMEOUT: no answer, or not in time;
 * - `SourceHoldError` with E_SOURCE_RATE_LIMIT, E_SOURCE_BANNED or E_SOURCE_BLOCKED: the exchange forbids requests;
 * - E_SOURCE_REGION, E_SOURCE_REFUSED, E_SOURCE_SYMBOL, E_SOURCE_SERVER: as they say;
 * - E_SOURCE_BAD_ANSWER: HTML, broken JSON, another shape. It never passes for "no candles".
 * @throws {BlackTradeError} E_CONFIG when the base address is neither encrypted nor on this machine
 */
export function createBinanceRest(options: BinanceRestOptions): BinanceRest {
  return new Rest(options);
}

class Rest implements BinanceRest {
  readonly #options: BinanceRestOptions;
  readonly #baseUrl: URL;
  readonly #requests: Requests;

  constructor(options: BinanceRestOptions) {
    this.#options = options;
    this.#baseUrl = readBaseUrl(options.baseUrl, "https");
    this.#requests = new Requests({
      ...options,
      exchange: EXCHANGE,
      baseUrl: this.#baseUrl,
      deadlineMs: options.deadlineMs ?? DEFAULT_DEADLINE_MS,
    });
  }

  async *candles(
    series: Series,
    range: TimeRange,
    signal: AbortSignal,
    priority: RequestPriority,
  ): AsyncGenerator<HistoryPage> {
    if (!this.#options.exchangeTime.isKnown) await this.syncTime(signal);
    let left = range;
    let startTime = range.from;
    // A start in the future is answered in ways that nobody has documented (§2.2).
    while (startTime < range.to && startTime <= this.#requests.now()) {
      const { value: rows, askedTime } = await this.#askRows(
        series,
        (now) => ({
          startTime: String(startTime),
          // Both ends are inclusive (§2.2). Without an end the answer goes on to the candle that forms now, which
          // proves that the one before it is closed.
          ...(range.to > now ? {} : { endTime: String(range.to - 1) }),
          limit: String(MAX_ROWS),
        }),
        priority,
        signal,
      );
      const page = judgePage(series.timeframe, left, {
        rows,
        startTime,
        askedTime,
        answeredTime: this.#requests.now(),
        isOpenEnded: range.to > askedTime,
      });
      if (page === undefined) {
        const from = new Date(startTime).toISOString();
        throw badAnswer(
          `${this.#baseUrl.host} was asked for ${series.symbol} ${series.timeframe} from ${from} on and sent other candles`,
        );
      }
      const covered = { from: left.from, to: page.coveredTo };
      if (covered.to > covered.from || page.rows.length > 0) {
        yield { range: covered, rows: page.rows, source: "rest", askedTime };
      }
      if (page.nextStartTime === undefined) return;
      left = { from: page.coveredTo, to: range.to };
      startTime = page.nextStartTime;
    }
  }

  async firstOpenTime(series: Series, signal: AbortSignal): Promise<number | undefined> {
    // The list of symbols has no listing date; others ask for it in this way too (§2.3).
    const { value } = await this.#askRows(
      series,
      () => ({ startTime: "0", limit: "1" }),
      "heal",
      signal,
    );
    return value.length === 0 ? undefined : Math.min(...value.map(({ openTime }) => openTime));
  }

  async markets(signal: AbortSignal): Promise<readonly Market[]> {
    const { value } = await this.#requests.ask(
      {
        path: "/api/v3/exchangeInfo",
        query: () => ({ showPermissionSets: "false" }),
        weight: WEIGHT.exchangeInfo,
        priority: "live",
        decode: decodeExchangeInfo,
        maxBodyBytes: MAX_INFO_BYTES,
      },
      signal,
    );
    if (value.weightPerMinute !== undefined) this.#options.budget.setLimit(value.weightPerMinute);
    return value.markets;
  }

  async syncTime(signal: AbortSignal): Promise<void> {
    const { exchangeTime, budget } = this.#options;
    const { value, sentMonotonicMs, receivedMonotonicMs, heldUntil } = await this.#requests.ask(
      { path: "/api/v3/time", weight: WEIGHT.time, priority: "live", decode: decodeServerTime },
      signal,
    );
    budget.endHold(heldUntil);
    if (receivedMonotonicMs - sentMonotonicMs <= MAX_ROUND_TRIP_MS) {
      exchangeTime.observeRoundTrip(sentMonotonicMs, receivedMonotonicMs, value);
    } else {
      exchangeTime.observeSlowRoundTrip(sentMonotonicMs, receivedMonotonicMs, value);
    }
  }

  async #askRows(
    series: Series,
    query: (askedTime: number) => Readonly<Record<string, string>>,
    priority: RequestPriority,
    signal: AbortSignal,
  ) {
    for (;;) {
      if (this.#options.exchangeTime.isUnfit) await this.syncTime(signal);
      const reply = await this.#requests.ask(
        {
          path: "/api/v3/klines",
          query: (askedTime) => ({
            symbol: series.symbol,
            interval: series.timeframe,
            ...query(askedTime),
          }),
          weight: WEIGHT.klines,
          priority,
          decode: decodeCandleRows,
          symbol: series.symbol,
        },
        signal,
      );
      // It became so while it waited for leave.
      if (!reply.isTimeUnfit) return reply;
    }
  }
}
