import { createHash } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { type ArchiveFile, parseArchivePath } from "./archive-path.ts";
import type { Exchange } from "./exchange.ts";
import { Lru } from "./lru.ts";
import type { MarketCandle } from "./market.ts";
import { TimeSlice } from "./time-slice.ts";
import { zipOf } from "./zip.ts";

/** Spot files are in microseconds from this day on (binance.md §6). */
const MICROSECONDS_FROM = Date.UTC(2025, 0, 1);
/** A file and its checksum are asked for one after the other. */
const CACHED_FILES = 8;
const NOT_FOUND =
  '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message></Error>';

/** The files of data.binance.vision, made from the same market as everything else. */
export class ArchiveServer {
  readonly #exchange: Exchange;
  readonly #files = new Lru<string, Buffer>(CACHED_FILES);

  constructor(exchange: Exchange) {
    this.#exchange = exchange;
  }

  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const [path = ""] = (request.url ?? "").split("?", 1);
    const file = parseArchivePath(path);
    const zip = file === undefined ? undefined : await this.#zip(file);
    this.#exchange.journal.request("/data", ` ${path}`, zip === undefined ? 404 : 200, 0);
    if (file === undefined || zip === undefined) {
      response.writeHead(404, { "Content-Type": "application/xml" });
      response.end(NOT_FOUND);
      return;
    }
    const hash = createHash("sha256").update(zip).digest("hex");
    const body = file.kind === "zip" ? zip : Buffer.from(`${hash}  ${file.name}.zip\n`);
    response.writeHead(200, {
      "Content-Type": file.kind === "zip" ? "application/zip" : "application/octet-stream",
      "Content-Length": body.length,
      ETag: `"${hash.slice(0, 32)}"`,
    });
    response.end(request.method === "HEAD" ? undefined : body);
  }

  async #zip({
    symbol,
    interval,
    range,
    readyFrom,
    name,
  }: ArchiveFile): Promise<Buffer | undefined> {
    const { market, switches } = this.#exchange;
    const now = this.#exchange.now();
    if (now < readyFrom + switches.archiveDelayMs || !market.has({ symbol, interval })) {
      return undefined;
    }
    // By the minute, as a correction may change a file that was already asked for.
    const key = `${name} ${Math.floor(now / 60_000)}`;
    const known = this.#files.get(key);
    if (known !== undefined) return known;
    const unit = range.from >= MICROSECONDS_FROM ? 1_000 : 1;
    const parts: Buffer[] = [];
    let lines: string[] = [];
    const slice = new TimeSlice();
    for (const candle of market.candles({ symbol, interval }, range, now, "ascending")) {
      // A 3d or 1w candle of the month's end may still be forming.
      if (candle.closeTime >= now) break;
      lines.push(lineOf(candle, unit));
      if (!slice.isOver) continue;
      parts.push(Buffer.from(lines.join("")));
      lines = [];
      await slice.rest();
    }
    parts.push(Buffer.from(lines.join("")));
    const content = Buffer.concat(parts);
    if (content.length === 0) return undefined;
    const zip = zipOf(`${name}.csv`, content);
    this.#files.set(key, zip);
    return zip;
  }
}

function lineOf(candle: MarketCandle, unit: 1 | 1_000): string {
  const closeTime = candle.closeTime * unit + (unit - 1);
  return (
    `${candle.openTime * unit},${candle.open},${candle.high},${candle.low},${candle.close},${candle.volume},` +
    `${closeTime},${candle.quoteVolume},${candle.tradeCount},${candle.takerBuyVolume},${candle.takerBuyQuoteVolume},0\n`
  );
}
