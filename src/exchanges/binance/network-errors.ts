/** What went wrong below HTTP, in plain words. */
export interface NetworkFault {
  /** One line without a full stop. */
  readonly reason: string;
  /** What the user can do. */
  readonly remedy: string;
  readonly isTimeout: boolean;
  /** True when trying again soon is of no use: a certificate does not mend itself in a second. */
  readonly isLasting: boolean;
}

const DNS = new Set(["ENOTFOUND", "EAI_AGAIN", "EAI_FAIL", "EAI_NODATA", "EAI_NONAME", "ENODATA"]);
const CERTIFICATE =
  /^(?:CERT_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|ERR_TLS_CERT_|HOSTNAME_MISMATCH)/;
const TLS = /^(?:EPROTO$|ERR_SSL_|ERR_TLS_)/;
const TIMEOUT = new Set([
  "ETIMEDOUT",
  "UND_ERR_CONNECT_TIMEOUT",
  "UND_ERR_HEADERS_TIMEOUT",
  "UND_ERR_BODY_TIMEOUT",
]);
const BROKEN = new Set(["ECONNRESET", "EPIPE", "UND_ERR_SOCKET", "ECONNABORTED"]);
const NO_ROUTE = new Set(["EHOSTUNREACH", "ENETUNREACH", "ENETDOWN", "EADDRNOTAVAIL"]);
const NO_FILES = new Set(["EMFILE", "ENFILE"]);
/** Causes nest a few levels deep; a cycle must not hang. */
const MAX_DEPTH = 6;

/**
 * Names what `fetch` or `ws` threw before there was an answer: DNS, refused, TLS, timeout, broken, no route.
 * @param host shown to the user; never with user information
 */
export function nameNetworkFault(error: unknown, host: string): NetworkFault {
  const code = codeOf(error);
  const fault = (reason: string, remedy: string, kind?: "timeout" | "lasting"): NetworkFault => ({
    reason,
    remedy,
    isTimeout: kind === "timeout",
    isLasting: kind === "lasting",
  });
  if (code === undefined) {
    return fault(`connection to ${host} failed: ${innermostMessage(error)}`, "Check the network.");
  }
  if (DNS.has(code)) {
    return fault(
      `cannot resolve host ${host} (${code})`,
      "Check the network, the DNS server and the spelling of the host.",
    );
  }
  if (code === "ECONNREFUSED") {
    return fault(`${host} refused the connection`, "Check host and port, and any proxy.");
  }
  if (CERTIFICATE.test(code)) {
    return fault(
      `certificate of ${host} is not trusted (${code})`,
      "Something between here and the exchange answers in its place, or the clock of this machine is wrong. It is never ignored.",
      "lasting",
    );
  }
  if (TLS.test(code)) {
    return fault(
      `no TLS connection to ${host} (${code})`,
      "Check that the address speaks TLS and that no proxy interferes.",
      "lasting",
    );
  }
  if (TIMEOUT.has(code)) {
    return fault(
      `no connection to ${host} in time (${code})`,
      "Check the network and any firewall.",
      "timeout",
    );
  }
  if (BROKEN.has(code)) {
    return fault(`connection to ${host} broke (${code})`, "Nothing to do unless it goes on.");
  }
  if (NO_ROUTE.has(code)) return fault(`no route to ${host} (${code})`, "Check the network.");
  if (NO_FILES.has(code)) {
    return fault(
      `too many open files for a connection to ${host} (${code})`,
      "Raise the limit of open files (ulimit -n).",
    );
  }
  return fault(`connection to ${host} failed (${code})`, "Check the network.");
}

/** The first error code down the chain of causes; of several addresses that failed, the first one's. */
function codeOf(error: unknown): string | undefined {
  let current = error;
  for (let depth = 0; depth < MAX_DEPTH && current instanceof Error; depth += 1) {
    if ("code" in current && typeof current.code === "string") return current.code;
    const [first]: readonly unknown[] = current instanceof AggregateError ? current.errors : [];
    current = first ?? current.cause;
  }
  return undefined;
}

function innermostMessage(error: unknown): string {
  let current = error;
  for (let depth = 0; depth < MAX_DEPTH && current instanceof Error; depth += 1) {
    if (!(current.cause instanceof Error)) return current.message;
    current = current.cause;
  }
  return String(current);
}
