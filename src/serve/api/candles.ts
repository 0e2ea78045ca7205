import { createHash } from "node:crypto";
import { z } from "zod";
import type { Candle } from "../../core/candle.ts";
import type { VersionedCandle } from "../../core/finality.ts";
import type { TimeRange } from "../../core/range.ts";
import type { Series } from "../../core/series.ts";
import type { ServeParts } from "../parts.ts";
import { checkedRange, seriesOf } from "./choose.ts";
import { type Cursor, cursorText, readCursor } from "./cursor.ts";
import { acceptedFormat, MEDIA_FORMATS, MEDIA_TYPES, type MediaFormat } from "./media.ts";
import { type ApiRoute, type Asked, route } from "./route.ts";
import {
  candleSchema,
  countParam,
  flagParam,
  seriesDocument,
  seriesParams,
  seriesSchema,
  storedCandleSchema,
  timeParam,
} from "./schemas.ts";

/** Most candles of one answer: what is made of them must not hold up ingestion in the same process. */
const MAX_CANDLES = 10_000;
const FOREVER = Number.MAX_SAFE_INTEGER;

const query = z.object({
  ...seriesParams,
  from: timeParam.optional(),
  to: timeParam.optional(),
  limit: countParam(MAX_CANDLES, 1_000),
  cursor: z
    .string()
    .max(40)
    .optional()
    .meta({ description: "`nextCursor` of the answer before; wins over `from`." }),
  forming: flagParam.meta({
    description:
      "`true` adds the candle that is forming now (JSON only), when the range reaches it.",
  }),
  format: z.enum(MEDIA_FORMATS).optional().meta({ description: "Instead of an Accept header." }),
});

const answer = z.object({
  series: seriesSchema,
  candles: z.array(storedCandleSchema),
  nextCursor: z
    .string()
    .nullable()
    .meta({ description: "For the next page; null when there is no more now." }),
  forming: candleSchema.nullable().optional(),
});

interface Page {
  readonly candles: readonly VersionedCandle[];
  readonly next: Cursor | undefined;
}

export const candlesRoute: ApiRoute = route({
  method: "GET",
  path: "/api/v1/candles",
  id: "getCandles",
  summary: "Closed candles of a series, ascending",
  description:
    "With `from`: the candles that open in `[from, to)`, the first `limit` of them. Without: the newest `limit` that open before `to`. `nextCursor` (also as Link header, rel=next) goes on in the same direction. Decimals are text, digit for digit.",
  query,
  answers: {
    200: {
      description: "A page of candles.",
      schema: answer,
      otherTypes: MEDIA_FORMATS.filter((one) => one !== "json").map((one) => MEDIA_TYPES[one]),
    },
    304: { description: "Nothing has changed since the answer with the ETag of If-None-Match." },
  },
  handle: async (asked) => {
    const { query: wanted, parts, reply, request } = asked;
    const format = wanted.format ?? acceptedFormat(request.headers.accept);
    const series = await seriesOf(parts, wanted);
    // Before the database is asked: what closes meanwhile is then in one of the two.
    const forming = formingIn(parts, series, wanted);
    const page = await pageOf(parts, series, wanted);
    const body = await bodyOf(asked, series, page, forming, format);
    const etag = `"${createHash("sha1").update(body).digest("base64url")}"`;
    reply
      .header("etag", etag)
      // Asked again each time, and answered in a few bytes when nothing has changed: candles may be revised.
      .header("cache-control", "private, no-cache")
      .header("vary", "accept");
    if (page.next !== undefined) reply.header("link", linkOf(request.url, page.next));
    // A proxy that compresses makes it a weak one.
    const known = request.headers["if-none-match"]?.split(",").map((one) => one.trim());
    if (known?.some((one) => one.replace(/^W\//, "") === etag)) return reply.code(304).send();
    return reply.type(MEDIA_TYPES[format]).send(body);
  },
});

async function pageOf(
  { queries }: ServeParts,
  series: Series,
  wanted: z.output<typeof query>,
): Promise<Page> {
  const { limit, to = FOREVER } = wanted;
  const cursor = wanted.cursor === undefined ? undefined : readCursor(wanted.cursor);
  const from = cursor?.direction === "forwards" ? cursor.time : wanted.from;
  if (from !== undefined && cursor?.direction !== "backwards") {
    const range: TimeRange = checkedRange(from, to);
    const rows = await queries.range(series, range, limit + 1);
    const more = rows[limit];
    return {
      candles: rows.slice(0, limit),
      next: more && { direction: "forwards", time: more.candle.openTime },
    };
  }
  const rows = await queries.latest(series, limit + 1, cursor?.time ?? to);
  const first = rows.at(-limit);
  return {
    candles: rows.slice(-limit),
    next:
      rows.length > limit && first !== undefined
        ? { direction: "backwards", time: first.candle.openTime }
        : undefined,
  };
}

async function bodyOf(
  { query: wanted, parts }: Asked<z.output<typeof query>, undefined>,
  series: Series,
  { candles, next }: Page,
  forming: Candle | null,
  format: MediaFormat,
): Promise<string | Buffer> {
  if (format === "json") {
    const isStored =
      forming !== null && forming.openTime <= (candles.at(-1)?.candle.openTime ?? -1);
    const more = wanted.forming ? `,"forming":${JSON.stringify(isStored ? null : forming)}` : "";
    const nextCursor = JSON.stringify(next === undefined ? null : cursorText(next));
    return `{"series":${JSON.stringify(seriesDocument(series))},"candles":[${candles.map(storedText).join(",")}],"nextCursor":${nextCursor}${more}}`;
  }
  if (format === "ndjson") return candles.map((one) => `${storedText(one)}\n`).join("");
  const bytes = await parts.encode(format, series, candles);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function formingIn(
  { feed }: ServeParts,
  series: Series,
  { from = 0, to = FOREVER }: { from?: number | undefined; to?: number | undefined },
): Candle | null {
  const candle = feed.forming(series);
  const isInside = candle !== undefined && candle.openTime >= from && candle.openTime < to;
  return isInside ? candle : null;
}

/** A stored candle as the API shows it. */
export function storedDocument({ candle, source, observedTime }: VersionedCandle): object {
  return { ...candle, source, observedTime };
}

/** The text of {@link storedDocument}, made in a third of the time: no value needs an escape. */
function storedText({ candle, source, observedTime }: VersionedCandle): string {
  const { openTime, closeTime, open, high, low, close, volume, quoteVolume, tradeCount } = candle;
  return (
    `{"openTime":${openTime},"closeTime":${closeTime},"open":"${open}","high":"${high}","low":"${low}",` +
    `"close":"${close}","volume":"${volume}","quoteVolume":"${quoteVolume}","tradeCount":${tradeCount},` +
    `"takerBuyVolume":"${candle.takerBuyVolume}","takerBuyQuoteVolume":"${candle.takerBuyQuoteVolume}",` +
    `"source":"${source}","observedTime":${observedTime}}`
  );
}

function linkOf(url: string, next: Cursor): string {
  const [path = "", search = ""] = url.split("?");
  const parameters = new URLSearchParams(search);
  parameters.set("cursor", cursorText(next));
  return `<${path}?${parameters}>; rel="next"`;
}
