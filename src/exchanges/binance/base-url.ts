import { BlackTradeError } from "../../core/errors.ts";

/**
 * Checks the base address of a service: encrypted, unless it is on this machine.
 * @param scheme `https` or `wss`; their plain forms pass for a loopback host only
 * @throws {BlackTradeError} E_CONFIG
 */
export function readBaseUrl(text: string, scheme: "https" | "wss"): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const plain = scheme === "https" ? "http:" : "ws:";
  if (url?.protocol === `${scheme}:`) return url;
  if (url?.protocol === plain && isLoopback(url.hostname)) return url;
  throw new BlackTradeError(
    "E_CONFIG",
    url?.protocol === plain
      ? `the exchange's address at ${url.host} is not encrypted`
      : `not an address of the exchange: ${url === undefined ? "it cannot be read" : url.protocol}`,
    {
      remedy: `Give an address that begins with ${scheme}://; ${plain}// is for 127.0.0.1 and localhost only.`,
    },
  );
}

function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || hostname === "[::1]" || /^127(?:\.\d{1,3}){3}$/.test(hostname);
}
