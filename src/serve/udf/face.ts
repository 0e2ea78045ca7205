import type { FastifyReply } from "fastify";
import { BlackTradeError } from "../../core/errors.ts";
import type { Series } from "../../core/series.ts";
import { TIMEFRAMES } from "../../core/timeframe.ts";
import { CollectedReader, EXCHANGE } from "../binance-compatible/collected.ts";
import { type Listing, listingsOf } from "../binance-compatible/listings.ts";
import type { Face, FaceContext, ServeParts } from "../parts.ts";
import { problemOf } from "../problem.ts";
import { type HistoryWanted, historyText, marksOf } from "./history.ts";
import { resolutionOf, timeframeOf } from "./resolutions.ts";
import { EXCHANGE_NAME, foundSymbols, symbolFacts, symbolOfTicker } from "./symbols.ts";

/** A request that TradingView's protocol refuses; told with HTTP 200, as charts want it. */
class UdfError extends Error {
  override readonly name = "UdfError";
}

/** Parameters as they came; of a repeated one the first counts. */
type Query = Readonly<Record<string, string>>;

const JSON_TYPE = "application/json; charset=utf-8";
const DEFAULT_FOUND = 30;

/** TradingView's Universal Data Feed for its charting library and for OpenBB: history, search, the gaps as marks. */
export const udf: Face = (server, context) => {
  const parts = (): ServeParts => context.parts();
  const collected = new CollectedReader(parts);
  const listings = async (): Promise<Listing[]> => {
    const [all, markets] = await Promise.all([collected.read(), parts().queries.markets()]);
    return listingsOf(all, markets);
  };
  const seriesOf = async (query: Query): Promise<Series> => {
    const symbol = symbolOfTicker(required(query, "symbol"));
    const resolution = required(query, "resolution");
    const all = await collected.read();
    if (!all.hasSymbol(symbol)) throw new UdfError("unknown_symbol");
    const timeframe = timeframeOf(resolution);
    const timeframes = all.timeframesOf(symbol);
    if (timeframe === undefined || !timeframes.includes(timeframe)) {
      const known = timeframes.map(resolutionOf).join(", ");
      throw new UdfError(
        `resolution ${resolution.slice(0, 20)} is not collected; there is ${known}`,
      );
    }
    return { exchange: EXCHANGE, symbol, timeframe };
  };

  answerErrors(server, context);

  server.get("/udf/config", async () => {
    const all = await collected.read();
    const used = new Set(all.symbols.flatMap((symbol) => all.timeframesOf(symbol)));
    return {
      supports_search: true,
      supports_group_request: false,
      supports_marks: true,
      supports_timescale_marks: false,
      supports_time: true,
      exchanges: [
        { value: "", name: "All exchanges", desc: "" },
        { value: EXCHANGE_NAME, name: "Binance", desc: "Binance spot" },
      ],
      symbols_types: [
        { name: "All types", value: "" },
        { name: "Crypto", value: "crypto" },
      ],
      supported_resolutions: TIMEFRAMES.filter((one) => used.has(one)).map(resolutionOf),
    };
  });

  server.get("/udf/time", async (_request, reply) =>
    reply.type("text/plain; charset=utf-8").send(String(Math.floor(parts().now() / 1_000))),
  );

  server.get("/udf/symbols", async (request) => {
    const symbol = symbolOfTicker(required(queryOf(request.query), "symbol"));
    const listing = (await listings()).find((one) => one.symbol === symbol);
    if (listing === undefined) throw new UdfError("unknown_symbol");
    const timeframes = (await collected.read()).timeframesOf(symbol);
    return symbolFacts(listing, timeframes, parts().isIngesting);
  });

  server.get("/udf/search", async (request) => {
    const { query = "", type = "", exchange = "", limit = "" } = queryOf(request.query);
    const most = /^\d{1,9}$/.test(limit) ? Number(limit) : DEFAULT_FOUND;
    return foundSymbols(await listings(), { query, type, exchange, limit: most });
  });

  server.get("/udf/history", async (request, reply) => {
    const query = queryOf(request.query);
    const text = await historyText(parts(), await seriesOf(query), wantedOf(query));
    return reply.type(JSON_TYPE).send(text);
  });

  server.get("/udf/marks", async (request) => {
    const query = queryOf(request.query);
    const series = await seriesOf(query);
    return marksOf(await parts().queries.gaps(series), wantedOf(query).range);
  });
};

function answerErrors(server: Parameters<Face>[0], context: FaceContext): void {
  const refuse = (reply: FastifyReply, status: number, errmsg: string): FastifyReply =>
    reply
      .code(status)
      .type(JSON_TYPE)
      .send(JSON.stringify({ s: "error", errmsg }));
  server.setErrorHandler(async (error, _request, reply) => {
    if (error instanceof UdfError) return refuse(reply, 200, error.message);
    if (!(error instanceof BlackTradeError)) context.onFault(error);
    const { status, message, remedy, headers } = problemOf(error);
    reply.headers(headers);
    return refuse(reply, status, `${message}. ${remedy}`);
  });
}

function queryOf(query: unknown): Query {
  const entries = Object.entries(query ?? {}).map(([name, value]) => [
    name,
    String(Array.isArray(value) ? value[0] : value),
  ]);
  return Object.fromEntries(entries) as Query;
}

function required(query: Query, name: string): string {
  const value = query[name];
  if (value === undefined || value === "") throw new UdfError(`parameter ${name} is missing`);
  return value;
}

/** Seconds as charts send them: before 1970, too, and with fractions. */
function wantedOf(query: Query): HistoryWanted {
  const seconds = (name: string): number => {
    const text = required(query, name);
    const value = /^-?\d{1,12}(?:\.\d{1,6})?$/.test(text) ? Number(text) : Number.NaN;
    if (Number.isNaN(value)) throw new UdfError(`parameter ${name} is not a time in seconds`);
    return Math.ceil(value * 1_000);
  };
  const countBack = query.countback;
  if (countBack !== undefined && !/^\d{1,9}$/.test(countBack)) {
    throw new UdfError("parameter countback is not a number of bars");
  }
  const to = seconds("to");
  return {
    // A chart that counts back need not say from where.
    range: { from: countBack !== undefined && query.from === undefined ? to : seconds("from"), to },
    ...(countBack === undefined ? {} : { countBack: Number(countBack) }),
  };
}
