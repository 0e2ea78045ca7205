import { BlackTradeError } from "../../core/errors.ts";
import type { Clock } from "../../core/ports.ts";
import { nameNetworkFault } from "./network-errors.ts";

/** What is known as soon as the head of an answer has come. */
export interface HttpHead {
  readonly status: number;
  readonly headers: Headers;
  /** Instant at which it came, on the clock's monotonic scale. */
  readonly receivedMonotonicMs: number;
}

/** An answer, whatever its status. */
export interface HttpAnswer {
  readonly head: HttpHead;
  /** Text of the body, or why it could not be read to its end. */
  readonly body: string | BlackTradeError;
}

/** How a request is made. */
export interface HttpOptions {
  readonly clock: Clock;
  /** For everything: resolving, connecting, head and body. */
  readonly deadlineMs: number;
  /** Bytes of the body, unzipped, beyond which it is given up. */
  readonly maxBodyBytes: number;
  /** Called once when the head has come, before the body is read. */
  readonly onHead: (head: HttpHead) => void;
}

/**
 * One GET. Redirects are not followed, certificates always checked, nothing is tried twice. A body that breaks off is a
 * value: the head alone may say "banned".
 * @throws {BlackTradeError} E_SOURCE_UNREACHABLE or E_SOURCE_TIMEOUT when there is no head; the signal's reason on abort
 */
export async function httpGet(
  url: URL,
  { clock, deadlineMs, maxBodyBytes, onHead }: HttpOptions,
  signal: AbortSignal,
): Promise<HttpAnswer> {
  signal.throwIfAborted();
  const request = new AbortController();
  const onAbort = (): void => request.abort(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  const deadline = new AbortController();
  const late = new BlackTradeError(
    "E_SOURCE_TIMEOUT",
    `${url.host} did not answer in full within ${deadlineMs / 1_000} s`,
    { remedy: "Nothing to do unless it goes on; then check the network." },
  );
  clock.sleep(deadlineMs, deadline.signal).then(
    () => request.abort(late),
    () => undefined,
  );

  try {
    const response = await fetch(url, {
      signal: request.signal,
      redirect: "manual",
      headers: { accept: "application/json", "user-agent": "black-trade" },
    }).catch((error: unknown) => {
      throw request.signal.aborted ? request.signal.reason : unreachable(error, url.host);
    });
    const head = {
      status: response.status,
      headers: response.headers,
      receivedMonotonicMs: clock.monotonic(),
    };
    onHead(head);
    const body = await readBody(response, maxBodyBytes, url.host).catch((error: unknown) => {
      signal.throwIfAborted();
      if (request.signal.aborted) return late;
      return error instanceof BlackTradeError ? error : brokenOff(error, url.host);
    });
    return { head, body };
  } finally {
    deadline.abort();
    signal.removeEventListener("abort", onAbort);
  }
}

/** Reads a body as UTF-8 text. @throws {BlackTradeError} E_SOURCE_BAD_ANSWER when it is too large or not UTF-8 */
async function readBody(response: Response, maxBytes: number, host: string): Promise<string> {
  if (response.body === null) return "";
  const chunks: Uint8Array[] = [];
  let size = 0;
  // Counted while it comes, after unzipping: a length header or a small zip may lie.
  for await (const chunk of response.body) {
    size += chunk.byteLength;
    if (size > maxBytes) {
      throw new BlackTradeError(
        "E_SOURCE_BAD_ANSWER",
        `${host} sent more than ${maxBytes / 2 ** 20} MiB`,
        { remedy: "It is asked again by itself. If it goes on, check the address." },
      );
    }
    chunks.push(chunk);
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(chunks, size));
  } catch (cause) {
    throw new BlackTradeError("E_SOURCE_BAD_ANSWER", `${host} sent text that is not UTF-8`, {
      remedy: "It is asked again by itself.",
      cause,
    });
  }
}

/** Names what kept an answer from coming at all. */
export function unreachable(cause: unknown, host: string): BlackTradeError {
  const { reason, remedy, isTimeout } = nameNetworkFault(cause, host);
  const code = isTimeout ? "E_SOURCE_TIMEOUT" : "E_SOURCE_UNREACHABLE";
  return new BlackTradeError(code, reason, { remedy, cause });
}

/** An answer that began and did not end. */
export function brokenOff(cause: unknown, host: string): BlackTradeError {
  return new BlackTradeError("E_SOURCE_BAD_ANSWER", `the answer of ${host} broke off`, {
    remedy: "It is asked again by itself.",
    cause,
  });
}
