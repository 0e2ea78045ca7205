import { createHash, timingSafeEqual } from "node:crypto";
import type { IncomingHttpHeaders, IncomingMessage } from "node:http";
import { HttpProblem } from "./problem.ts";

/** Who may ask. */
export interface GuardOptions {
  /** The address that is listened on. */
  readonly host: string;
  /** When set, everything that is not public demands it. */
  readonly token: string | undefined;
  /** Names besides this machine's own under which the server is asked for: those of a reverse proxy. */
  readonly allowedHosts: readonly string[];
  /** Origins of other sites whose pages may read: `https://example.com`. */
  readonly allowedOrigins: readonly string[];
  /** Ms since some instant; never goes back. */
  readonly monotonicMs: () => number;
}

/** What a guard looks at. */
type Asked = Pick<IncomingMessage, "headers" | "method" | "socket">;

const BAD_TOKENS_A_MINUTE = 10;
const MINUTE_MS = 60_000;
/** Addresses whose bad tokens are counted at a time; beyond that all others share one count. */
const COUNTED_ADDRESSES = 10_000;
const READING: ReadonlySet<string> = new Set(["GET", "HEAD"]);

/** Decides of each request, and of each WebSocket, whether it is heard. */
export class Guard {
  readonly #options: GuardOptions;
  readonly #digest: Buffer | undefined;
  readonly #isLocalBind: boolean;
  /** When bad tokens came, by address, monotonic ms. */
  readonly #badTokens = new Map<string, number[]>();

  constructor(options: GuardOptions) {
    this.#options = { ...options, token: undefined };
    this.#digest = options.token === undefined ? undefined : digest(options.token);
    this.#isLocalBind = isLocalHost(options.host);
  }

  /** True when a token is set. */
  get hasToken(): boolean {
    return this.#digest !== undefined;
  }

  /**
   * Refuses names that are not this server's: a page of another site can make a browser ask this machine under its own
   * name (DNS rebinding).
   * @throws {HttpProblem} 421
   */
  checkHost({ headers }: Asked): void {
    const { allowedHosts } = this.#options;
    const host = hostOf(headers.host ?? "");
    if (isLocalHost(host) && this.#isLocalBind) return;
    if (allowedHosts.includes(host)) return;
    // Bound to the network without a list of names there is always a token, which no other site has.
    if (!this.#isLocalBind && allowedHosts.length === 0) return;
    throw new HttpProblem("E_HTTP_HOST", "this server does not answer to that host name", {
      remedy:
        "Ask it as localhost; behind a reverse proxy name the host in HTTP_ALLOWED_HOSTS (with API_TOKEN).",
    });
  }

  /**
   * Refuses what a browser sends for a page of another site: writes (CSRF), WebSockets (they know no same-origin rule),
   * and reads that are not a navigation. What is no browser sends neither header.
   * @returns the origin of another site that may read the answer
   * @throws {HttpProblem} 403
   */
  checkOrigin({ headers, method }: Asked, isUpgrade = false): string | undefined {
    const origin = headers.origin;
    const isReading = READING.has(method ?? "") && !isUpgrade;
    if (origin !== undefined && isOwnOrigin(origin, headers.host)) return undefined;
    if (origin !== undefined && this.#options.allowedOrigins.includes(origin)) {
      if (isReading || isUpgrade || method === "OPTIONS") return origin;
    }
    const site = headers["sec-fetch-site"];
    const isForeign =
      origin !== undefined || (site !== undefined && site !== "same-origin" && site !== "none");
    const isNavigation = isReading && headers["sec-fetch-mode"] === "navigate";
    if (!isForeign || isNavigation) return undefined;
    throw new HttpProblem("E_HTTP_ORIGIN", "a page of another site may not ask this server", {
      remedy:
        "Open the page from this server itself; to let a site read (never write), name its origin in HTTP_ALLOWED_ORIGINS.",
    });
  }

  /**
   * Demands the token, when one is set.
   * @throws {HttpProblem} 401; 429 after ten wrong ones within a minute from one address
   */
  checkToken({ headers, socket }: Asked): void {
    if (this.#digest === undefined) return;
    const address = socket.remoteAddress ?? "";
    const now = this.#options.monotonicMs();
    const recent = (this.#badTokens.get(this.#countedAs(address)) ?? []).filter(
      (time) => now - time < MINUTE_MS,
    );
    if (recent.length >= BAD_TOKENS_A_MINUTE) {
      const waitS = Math.ceil((MINUTE_MS - (now - (recent[0] ?? now))) / 1_000);
      throw new HttpProblem("E_HTTP_TOKEN", "too many wrong tokens came from this address", {
        status: 429,
        headers: { "retry-after": String(Math.max(1, waitS)) },
        remedy: `Wait ${Math.max(1, waitS)} s, then send the right one.`,
      });
    }
    const given = tokenOf(headers);
    if (given !== undefined && timingSafeEqual(digest(given), this.#digest)) return;
    // To send none is no guess.
    if (given !== undefined) this.#countBad(address, [...recent, now]);
    throw new HttpProblem(
      "E_HTTP_TOKEN",
      given === undefined ? "the request has no API token" : "the API token is wrong",
      {
        headers: { "www-authenticate": 'Bearer realm="black-trade"' },
        remedy: "Send the value of API_TOKEN in a header: Authorization: Bearer …",
      },
    );
  }

  #countBad(address: string, times: readonly number[]): void {
    const key = this.#countedAs(address);
    if (this.#badTokens.size >= COUNTED_ADDRESSES) {
      const now = this.#options.monotonicMs();
      for (const [one, at] of this.#badTokens) {
        if (now - (at.at(-1) ?? 0) >= MINUTE_MS) this.#badTokens.delete(one);
      }
    }
    this.#badTokens.set(key, [...times]);
  }

  #countedAs(address: string): string {
    const isFull = this.#badTokens.size >= COUNTED_ADDRESSES;
    return isFull && !this.#badTokens.has(address) ? "others" : address;
  }
}

/** True for names and addresses that only this machine has. */
function isLocalHost(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(host);
}

/** The name in a Host header, lower case, without port and brackets. */
function hostOf(header: string): string {
  const host = header.toLowerCase().replace(/:\d{1,5}$/, "");
  return host.startsWith("[") && host.endsWith("]") ? host.slice(1, -1) : host;
}

/** True when an Origin header names the host that is asked. The scheme may be a proxy's. */
function isOwnOrigin(origin: string, host: string | undefined): boolean {
  return host !== undefined && URL.parse(origin)?.host === host.toLowerCase();
}

/** The token of a request: a bearer token, or the key of clients that are made for Binance. */
function tokenOf(headers: IncomingHttpHeaders): string | undefined {
  const bearer = /^Bearer (.+)$/i.exec(headers.authorization ?? "")?.[1];
  const key = headers["x-mbx-apikey"];
  return bearer ?? (typeof key === "string" && key !== "" ? key : undefined);
}

/** Of equal length whatever was sent, so that comparing takes equally long. */
function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
