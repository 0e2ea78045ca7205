import { randomUUID } from "node:crypto";
import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from "node:http";
import { gzipSync } from "node:zlib";

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

/**
 * Sends an answer with the headers that every answer of the exchange has (binance.md §2.4, §4.2.7).
 * @param toldTime for the Date header, epoch ms
 */
export function send(
  request: IncomingMessage,
  response: ServerResponse,
  answer: Answer,
  usedWeight: number,
  toldTime: number,
): void {
  const headers: OutgoingHttpHeaders = {
    Date: new Date(toldTime).toUTCString(),
    "Content-Type": answer.type,
    "x-mbx-uuid": randomUUID(),
    "x-mbx-used-weight": usedWeight,
    "x-mbx-used-weight-1m": usedWeight,
  };
  if (answer.retryAfter !== undefined) headers["Retry-After"] = answer.retryAfter;
  let body = Buffer.from(answer.body);
  if (
    body.length >= GZIP_FROM_BYTES &&
    /\bgzip\b/.test(String(request.headers["accept-encoding"] ?? ""))
  ) {
    body = gzipSync(body, { level: 1 });
    headers["Content-Encoding"] = "gzip";
  }
  headers["Content-Length"] = body.length;
  response.sendDate = false;
  response.writeHead(answer.status, headers);
  response.end(request.method === "HEAD" ? undefined : body);
}
