import { BlackTradeError } from "../../core/errors.ts";
import type { Clock } from "../../core/ports.ts";
import { brokenOff, type HttpHead, unreachable } from "./http.ts";

/** How something large is fetched. Durations in ms. */
export interface DownloadOptions {
  readonly clock: Clock;
  /** For the head to come, and later without a byte. */
  readonly idleMs: number;
  /** For everything. */
  readonly deadlineMs: number;
  readonly maxBytes: number;
  /** Takes the body of an answer with status 200, in order; the next piece waits for it. */
  readonly write: (piece: Uint8Array) => Promise<void>;
}

/**
 * One GET, its body handed on piece by piece. Redirects are not followed, certificates always checked, nothing is tried
 * twice. The body of any status but 200 is left unread.
 * @throws {BlackTradeError} E_SOURCE_UNREACHABLE, E_SOURCE_TIMEOUT, E_SOURCE_BAD_ANSWER; what `write` throws; the signal's
 * reason on abort
 */
export async function download(
  url: URL,
  { clock, idleMs, deadlineMs, maxBytes, write }: DownloadOptions,
  signal: AbortSignal,
): Promise<HttpHead> {
  signal.throwIfAborted();
  const request = new AbortController();
  const onAbort = (): void => request.abort(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  const done = new AbortController();
  const beganMs = clock.monotonic();
  let heardMs = beganMs;
  const watch = async (): Promise<void> => {
    for (;;) {
      const now = clock.monotonic();
      const leftMs = Math.min(heardMs + idleMs, beganMs + deadlineMs) - now;
      if (leftMs <= 0) return request.abort(late(url.host, now - heardMs, now - beganMs));
      await clock.sleep(leftMs, done.signal);
    }
  };
  watch().catch(() => undefined);

  try {
    const response = await fetch(url, {
      signal: request.signal,
      redirect: "manual",
      // It is packed already, and a length that is announced shall be that of the file.
      headers: { "accept-encoding": "identity", "user-agent": "black-trade" },
    }).catch((error: unknown) => {
      throw request.signal.aborted ? request.signal.reason : unreachable(error, url.host);
    });
    heardMs = clock.monotonic();
    const { status, headers, body } = response;
    if (status !== 200) await body?.cancel().catch(() => undefined);
    else if (body !== null) {
      const pieces = body[Symbol.asyncIterator]();
      let size = 0;
      for (;;) {
        const next = await pieces.next().catch((error: unknown) => {
          throw request.signal.aborted ? request.signal.reason : brokenOff(error, url.host);
        });
        if (next.done === true) break;
        size += next.value.byteLength;
        if (size > maxBytes) throw tooLarge(url.host, maxBytes);
        await write(next.value);
        heardMs = clock.monotonic();
      }
    }
    return { status, headers, receivedMonotonicMs: heardMs };
  } catch (error) {
    // Ends a body that is still coming.
    request.abort(error);
    throw error;
  } finally {
    done.abort();
    signal.removeEventListener("abort", onAbort);
  }
}

function late(host: string, silentMs: number, tookMs: number): BlackTradeError {
  const seconds = (ms: number): number => Math.round(ms / 1_000);
  return new BlackTradeError(
    "E_SOURCE_TIMEOUT",
    `${host} sent nothing for ${seconds(silentMs)} s, ${seconds(tookMs)} s after the request`,
    { remedy: "Nothing to do unless it goes on; then check the network." },
  );
}

function tooLarge(host: string, maxBytes: number): BlackTradeError {
  return new BlackTradeError(
    "E_SOURCE_BAD_ANSWER",
    `${host} sent more than ${maxBytes} bytes, which no such file can have`,
    { remedy: "It is asked again by itself. If it goes on, check the address." },
  );
}
