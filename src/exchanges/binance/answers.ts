import { retryAfterMs } from "../../core/budget.ts";
import { BlackTradeError, type ErrorCode } from "../../core/errors.ts";
import { banEndOf, type Decoded, decodeErrorBody } from "./codec.ts";
import type { HttpAnswer } from "./http.ts";

/** The longest ban that is documented (binance.md §2.4); a longer one in a body is not believed. */
const MAX_BAN_MS = 3 * 24 * 60 * 60_000;
/** The shortest ban that is documented: for a 418 that does not say how long. */
const MIN_BAN_MS = 2 * 60_000;
/** The firewall says no end; asking on would only confirm it in its opinion. */
const FIREWALL_HOLD_MS = 10 * 60_000;
/** `Too much request weight used` (429) and `IP banned until …` (418) (§2.4). */
const CODE_TOO_MANY_REQUESTS = -1003;
/** `Timeout waiting for response from backend server` (§2.4). */
const CODE_BACKEND_TIMEOUT = -1007;
/** `Server is currently overloaded with other requests.` (§2.4). */
const CODE_OVERLOADED = -1008;
const CODE_INVALID_SYMBOL = -1121;
/** Error bodies are short: no page of candles is parsed twice for a look at its code. */
const MAX_ERROR_LENGTH = 4_096;

/** A page of 1000 candles is shorter, and cannot do much harm. */
const MAX_UNCOUNTED_LENGTH = 262_144;
/** The deepest answer, that of all symbols, has 5 levels, and some 60,000 parts. */
const MAX_DEPTH = 64;
const MAX_PARTS = 500_000;
const BRACKET = "[".charCodeAt(0);
const BRACE = "{".charCodeAt(0);

/** The exchange forbids requests for a while. */
export interface Hold {
  readonly code: ErrorCode;
  /** Exchange time, epoch ms. */
  readonly untilTime: number;
  readonly reason: string;
}

/**
 * Whether the head of an answer forbids further requests, before its body is known.
 * @param now exchange time at which it came, epoch ms
 */
export function holdOfHead(
  status: number,
  retryAfter: string | null,
  now: number,
): number | undefined {
  if (status === 429) return now + retryAfterMs(retryAfter);
  if (status === 418) return now + retryAfterMs(retryAfter, MIN_BAN_MS);
  if (status === 403) return now + Math.max(FIREWALL_HOLD_MS, retryAfterMs(retryAfter));
  return undefined;
}

/**
 * Whether an answer forbids further requests, and until when: the later of `Retry-After` and of the instant that the
 * body of a ban names. A `-1003` counts whatever status it comes with.
 * @param now exchange time at which it came, epoch ms
 */
export function holdOf({ head, body }: HttpAnswer, host: string, now: number): Hold | undefined {
  const { status, headers } = head;
  const isErrorSized = typeof body === "string" && body.length <= MAX_ERROR_LENGTH;
  const error = isErrorSized ? decodeErrorBody(parse(body)) : undefined;
  const isTooMany = error?.code === CODE_TOO_MANY_REQUESTS;
  const effective = isTooMany && status !== 418 && status !== 403 ? 429 : status;
  const retryAfter = headers.get("retry-after");
  const headUntil = holdOfHead(effective, retryAfter, now);
  if (headUntil === undefined) return undefined;

  const named = error === undefined ? undefined : banEndOf(error.message);
  const bodyUntil = named === undefined ? undefined : Math.min(named, now + MAX_BAN_MS);
  const untilTime = Math.max(headUntil, bodyUntil ?? 0);
  const until = `until ${new Date(untilTime).toISOString()}`;
  if (effective === 403) {
    return {
      code: "E_SOURCE_BLOCKED",
      untilTime,
      reason: `${host} firewall blocks requests (403), no request ${until}`,
    };
  }
  if (effective === 418 || bodyUntil !== undefined) {
    return {
      code: "E_SOURCE_BANNED",
      untilTime,
      reason: `${host} banned this address ${until} (${status})`,
    };
  }
  return {
    code: "E_SOURCE_RATE_LIMIT",
    untilTime,
    reason: `${host} asks for no request ${until} (${status})`,
  };
}

/** What to do about a hold. */
export const HOLD_REMEDY =
  "Requests go on by themselves then; live candles of the stream come on. Other programs on this address share the limit.";

/**
 * Reads a sound answer that is no hold.
 * @param symbol what was asked for, if anything
 * @throws {BlackTradeError} E_SOURCE_* with one plain line
 */
export function readAnswer<T>(
  { head, body }: HttpAnswer,
  host: string,
  decode: (answer: unknown) => Decoded<T>,
  symbol?: string,
): T {
  const { status, headers } = head;
  if (status >= 300 && status < 400) {
    throw badAnswer(`${host} redirects to another address (${status}), which is not followed`);
  }
  if (status === 451) {
    throw new BlackTradeError("E_SOURCE_REGION", `${host} is closed to this region (451)`, {
      remedy:
        "Use the public market-data hosts, which are the default: unset BINANCE_REST_URL and BINANCE_WS_URL.",
    });
  }
  if (typeof body !== "string") {
    // What a server with a fault of its own cut off says no more than its status.
    throw status >= 500 ? serverFault(`${host} has an internal error (${status})`) : body;
  }
  const answer = parse(body);
  const error = decodeErrorBody(answer);
  if (error !== undefined) throw namedError(status, error, host, symbol);
  if (status >= 500) throw serverFault(`${host} has an internal error (${status})`);
  if (status !== 200) throw refusal(`${host} refused the request (${status})`);

  const type = headers.get("content-type") ?? "none";
  if (body === "") throw badAnswer(`${host} sent an empty answer`);
  if (isHtml(type, body)) throw badAnswer(`${host} sent a web page (HTML) in place of data`);
  if (!type.toLowerCase().includes("json")) {
    throw badAnswer(`${host} sent content type ${JSON.stringify(type.slice(0, 60))}, not JSON`);
  }
  if (answer === undefined) throw badAnswer(`${host} sent broken JSON (${body.length} characters)`);
  const decoded = decode(answer);
  if (!decoded.isOk) throw badAnswer(`${host} sent an answer of another shape: ${decoded.reason}`);
  return decoded.value;
}

function namedError(
  status: number,
  { code, message }: { code: number; message: string },
  host: string,
  symbol: string | undefined,
): BlackTradeError {
  const said = `${message} (${status}, code ${code})`;
  if (code === CODE_INVALID_SYMBOL) {
    return new BlackTradeError(
      "E_SOURCE_SYMBOL",
      `${host} has no symbol ${symbol ?? "like that"}`,
      {
        remedy: "Correct the symbol; black-trade doctor names those that are near.",
        details: { code, message },
      },
    );
  }
  if (code === CODE_BACKEND_TIMEOUT) {
    return new BlackTradeError("E_SOURCE_TIMEOUT", `${host} did not answer in time: ${said}`, {
      remedy: "It is asked again by itself.",
    });
  }
  if (code === CODE_OVERLOADED || status >= 500)
    return serverFault(`${host} is in trouble: ${said}`);
  return refusal(`${host} refused the request: ${said}`);
}

function serverFault(message: string): BlackTradeError {
  return new BlackTradeError("E_SOURCE_SERVER", message, {
    remedy: "It is asked again by itself; the exchange has to mend it.",
  });
}

function refusal(message: string): BlackTradeError {
  return new BlackTradeError("E_SOURCE_REFUSED", message, {
    remedy: "Check BINANCE_REST_URL; if it is right, report this as a defect of black-trade.",
  });
}

/** An answer that says nothing: it must never pass for "the exchange has none". */
export function badAnswer(message: string): BlackTradeError {
  return new BlackTradeError("E_SOURCE_BAD_ANSWER", message, {
    remedy: "It is asked again by itself. If it goes on, check the address and any proxy.",
  });
}

/** True for nesting, or a number of parts, that no answer has: each costs a parser some 50 bytes, and one byte to send. */
function isBloated(text: string): boolean {
  let depth = 0;
  let partCount = 0;
  for (let index = 0; index < text.length; index += 1) {
    const character = text.charCodeAt(index);
    if (character === BRACKET || character === BRACE) {
      depth += 1;
      partCount += 1;
      if (depth > MAX_DEPTH || partCount > MAX_PARTS) return true;
      // The closing ones are two characters further in ASCII.
    } else if (character === BRACKET + 2 || character === BRACE + 2) depth -= 1;
  }
  return false;
}

function isHtml(type: string, body: string): boolean {
  return /html/i.test(type) || /^\s*<(?:!doctype|html)/i.test(body.slice(0, 200));
}

/** @returns `undefined` for what is not JSON, which no JSON value is, and for what only looks like it to take memory */
function parse(text: string): unknown {
  if (text.length > MAX_UNCOUNTED_LENGTH && isBloated(text)) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
