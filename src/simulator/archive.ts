import { createHash } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { htmlPage } from "../wire/http-answer.ts";
import { type CsvStyle, csvBegin, csvLines } from "./archive-csv.ts";
import { type ArchiveFile, parseArchivePath } from "./archive-path.ts";
import type { Exchange } from "./exchange.ts";
import type { FaultOf } from "./faults.ts";
import { Lru } from "./lru.ts";
import { TimeSlice } from "./time-slice.ts";
import { zipOf } from "./zip.ts";

/** A file and its checksum are asked for one after the other. */
const CACHED_FILES = 8;
const DEFAULT_RETRY_AFTER_S = 5;
/** A request that was on its way when the hold was told is no breach. */
const TOLD_GRACE_MS = 1_000;
const NOT_FOUND = errorXml("NoSuchKey", "The specified key does not exist.");

/** What is sent, before faults. */
interface Body {
  readonly bytes: Buffer;
  readonly type: string;
  readonly digest: string;
  /** When the file was made, exchange time. */
  readonly madeTime: number;
}

/**
 * The files of data.binance.vision, made from the same market as everything else. A file holds what the exchange had when
 * it was made and is not made anew: a correction that comes later is not in it.
 */
export class ArchiveServer {
  readonly #exchange: Exchange;
  readonly #zips = new Lru<string, Buffer>(CACHED_FILES);
  /** From when on a client must know that it shall wait, and until when. */
  #hold = { from: 0, until: 0 };

  constructor(exchange: Exchange) {
    this.#exchange = exchange;
  }

  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const [path = ""] = (request.url ?? "").split("?", 1);
    const { faults, journal } = this.#exchange;
    const now = this.#exchange.now();
    if (now > this.#hold.from + TOLD_GRACE_MS && now < this.#hold.until) {
      journal.violation(
        "requestDuringHold",
        `archive, ${this.#hold.until - now} ms before its end`,
      );
    }
    const applies = (fault: { readonly path?: string }): boolean => path.includes(fault.path ?? "");
    const wrong = faults.strike("archive", applies);
    const isCut = wrong?.answer === "truncated" || wrong?.answer === "timeout";
    if (wrong !== undefined && !isCut) {
      this.#refuse(response, wrong, path);
      return;
    }
    const body = await this.#body(path);
    journal.request("/data", ` ${path}`, body === undefined ? 404 : 200, 0);
    if (body === undefined) {
      send(response, 404, "application/xml", NOT_FOUND);
      return;
    }
    const { bytes } = body;
    response.writeHead(200, {
      "Content-Type": body.type,
      "Content-Length": bytes.length,
      "Last-Modified": new Date(body.madeTime).toUTCString(),
      ETag: `"${body.digest.slice(0, 32)}"`,
    });
    if (request.method === "HEAD") response.end();
    else if (!isCut) response.end(bytes);
    else {
      response.write(bytes.subarray(0, bytes.length / 2));
      // What waits forever ends with the simulator.
      if (wrong?.answer === "truncated") setImmediate(() => response.destroy());
    }
  }

  #refuse(
    response: ServerResponse,
    { answer, retryAfter }: FaultOf<"archive">,
    path: string,
  ): void {
    const status = answer === "html" ? 200 : Number(answer);
    this.#exchange.journal.request("/data", ` ${path}`, status, 0);
    if (answer === "429" || answer === "503") {
      const seconds = retryAfter === undefined ? DEFAULT_RETRY_AFTER_S : retryAfter;
      const now = this.#exchange.now();
      if (typeof seconds === "number") this.#hold = { from: now, until: now + seconds * 1_000 };
      if (seconds !== null) response.setHeader("Retry-After", String(seconds));
    }
    if (answer === "html" || answer === "403") {
      const page = htmlPage(status, answer === "403" ? "403 Forbidden" : "Please log in");
      send(response, page.status, page.type, page.body);
      return;
    }
    const body =
      answer === "404" ? NOT_FOUND : errorXml("SlowDown", "Please reduce your request rate.");
    send(response, status, "application/xml", body);
  }

  async #body(path: string): Promise<Body | undefined> {
    const { faults } = this.#exchange;
    const file = parseArchivePath(path);
    if (file === undefined) return undefined;
    const madeTime = file.readyFrom + this.#exchange.switches.archiveDelayMs;
    const zip = await this.#zip(file, madeTime, this.#style(path));
    if (zip === undefined) return undefined;
    const digest = createHash("sha256").update(zip).digest("hex");
    if (file.kind === "zip") return { bytes: zip, type: "application/zip", digest, madeTime };
    const isWrong = faults.strike("archiveMismatch", (fault) => path.includes(fault.path ?? ""));
    const told = isWrong ? createHash("sha256").update(digest).digest("hex") : digest;
    const bytes = Buffer.from(`${told}  ${file.name}.zip\n`);
    return { bytes, type: "application/octet-stream", digest, madeTime };
  }

  #style(path: string): CsvStyle {
    const faults = this.#exchange.faults
      .active()
      .map(({ fault }) => fault)
      .filter((fault) => fault.kind === "archiveDirt")
      .filter((fault) => path.includes(fault.path ?? ""));
    const day = faults.findLast((fault) => fault.day !== undefined)?.day;
    return { dirt: new Set(faults.map(({ dirt }) => dirt)), ...(day !== undefined && { day }) };
  }

  async #zip(file: ArchiveFile, madeTime: number, style: CsvStyle): Promise<Buffer | undefined> {
    const { symbol, interval, range, name } = file;
    const { market } = this.#exchange;
    if (this.#exchange.now() < madeTime || !market.has({ symbol, interval })) return undefined;
    const key = `${name} ${[...style.dirt].sort().join(" ")} ${style.day}`;
    const known = this.#zips.get(key);
    if (known !== undefined) return known;
    const parts: Buffer[] = [];
    let lines = [csvBegin(style)];
    let count = 0;
    const slice = new TimeSlice();
    for (const candle of market.candles({ symbol, interval }, range, madeTime, "ascending")) {
      // A 3d candle of the month's end may still be forming.
      if (candle.closeTime >= madeTime) break;
      lines.push(csvLines(candle, count, file, style));
      count++;
      if (!slice.isOver) continue;
      parts.push(Buffer.from(lines.join("")));
      lines = [];
      await slice.rest();
    }
    if (count === 0) return undefined;
    parts.push(Buffer.from(lines.join("")));
    const zip = zipOf(`${name}.csv`, Buffer.concat(parts));
    this.#zips.set(key, zip);
    return zip;
  }
}

function errorXml(code: string, message: string): string {
  return `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>${message}</Message></Error>`;
}

function send(response: ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(status, { "Content-Type": type, "Content-Length": Buffer.byteLength(body) });
  response.end(body);
}
