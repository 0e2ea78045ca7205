import { randomUUID } from "node:crypto";
import type { IncomingHttpHeaders, OutgoingHttpHeaders } from "node:http";
import { gzipSync } from "node:zlib";
import { ApiError } from "./api-error.ts";
import { readQuery } from "./query.ts";

const JSON_TYPE = "application/json;charset=UTF-8";
const HTML_TYPE = "text/html";
/** Below this gzip makes nothing smaller. */
const GZIP_FROM_BYTES = 1_024;

/** A whole HTTP answer. */
export interface Answer {
  readonly status: number;
  readonly body: string;
  readonly type: string;
  readonly retryAfter?: string;
}

/** An answer as its bytes go out. */
export interface EncodedAnswer {
  readonly status: number;
  readonly headers: OutgoingHttpHeaders;
  readonly body: Buffer;
}

export function json(body: string, status = 200): Answer {
  return { status, body, type: JSON_TYPE };
}

/** A page of a firewall or a proxy, where JSON was expected. */
export function htmlPage(status: number, title: string): Answer {
  const body =
    `<!DOCTYPE html>\n<html><head><title>${title}</title></head>\n` +
    `<body><center><h1>${title}</h1></center></body></html>\n`;
  return { status, body, type: HTML_TYPE };
}

/** A refusal that names an instant (epoch ms) from which on the client may ask again. */
export function refusalUntil(error: ApiError, until: number, now: number): Answer {
  const seconds = Math.max(1, Math.ceil((until - now) / 1_000));
  return { ...json(error.body, error.status), retryAfter: String(seconds) };
}

/**
 * An answer with the headers that every answer of the exchange has (binance.md §2.4, §4.2.7).
 * @param toldTime for the Date header, epoch ms; absent: the machine's
 */
export function encode(
  request: IncomingHttpHeaders,
  answer: Answer,
  usedWeight: number,
  toldTime?: number,
): EncodedAnswer {
  const headers: OutgoingHttpHeaders = {
    ...(toldTime === undefined ? {} : { Date: new Date(toldTime).toUTCString() }),
    "Content-Type": answer.type,
    "x-mbx-uuid": randomUUID(),
    "x-mbx-used-weight": usedWeight,
    "x-mbx-used-weight-1m": usedWeight,
  };
  if (answer.retryAfter !== undefined) headers["Retry-After"] = answer.retryAfter;
  let body = Buffer.from(answer.body);
  if (body.length >= GZIP_FROM_BYTES && /\bgzip\b/.test(String(request["accept-encoding"] ?? ""))) {
    body = gzipSync(body, { level: 1 });
    headers["Content-Encoding"] = "gzip";
  }
  headers["Content-Length"] = body.length;
  return { status: answer.status, headers, body };
}

/**
 * The unit of times that a request wants in its answer.
 * @throws {ApiError} −1194 for a header of another word
 */
export function wantsMicroseconds(request: IncomingHttpHeaders): boolean {
  const unit = request["x-mbx-time-unit"];
  if (unit === undefined || unit === "MILLISECOND") return false;
  if (unit === "MICROSECOND") return true;
  const msg = "Invalid value for time unit; expected either MICROSECOND or MILLISECOND.";
  throw new ApiError(-1194, msg);
}

/** The body of `ping`. @throws {ApiError} −1101 for any parameter */
export function pingText(query: string): string {
  readQuery(query, []);
  return "{}";
}

/** The body of `time`. @param time epoch ms @throws {ApiError} −1101 for any parameter */
export function timeText(query: string, time: number, isMicro: boolean): string {
  readQuery(query, []);
  return `{"serverTime":${isMicro ? time * 1_000 : time}}`;
}
