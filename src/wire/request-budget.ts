import type { Limits } from "./limits.ts";

/** What the limiter says of a request. Times are exchange time. */
export type Verdict =
  | { readonly kind: "admitted"; readonly weight: number }
  | { readonly kind: "limited"; readonly weight: number; readonly until: number }
  | {
      readonly kind: "banned";
      readonly weight: number;
      readonly until: number;
      /** True for a request that came while the ban was already told. */
      readonly wasTold: boolean;
    };

interface Account {
  minute: number;
  weight: number;
  requestsAfter429: number;
  window: number;
  requests: number;
  banUntil: number;
  bans: number;
}

const MINUTE_MS = 60_000;
const WINDOW_MS = 5 * MINUTE_MS;
/** Addresses that are counted at a time. */
const MAX_ACCOUNTS = 10_000;

/** Request weight by address and wall-clock minute, and what comes of ignoring it (binance.md §2.4). */
export class RequestBudget {
  readonly #limits: Limits;
  readonly #accounts = new Map<string, Account>();

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  /** Counts a request. @param now exchange time */
  admit(address: string, weight: number, now: number): Verdict {
    const account = this.#account(address, now);
    if (now < account.banUntil) {
      return { kind: "banned", weight: account.weight, until: account.banUntil, wasTold: true };
    }
    account.weight += weight;
    account.requests++;
    const overWeight = account.weight > this.#limits.weightPerMinute;
    const overRequests = account.requests > this.#limits.requestsPer5Minutes;
    if (!overWeight && !overRequests) return { kind: "admitted", weight: account.weight };
    if (++account.requestsAfter429 > this.#limits.requestsAfter429) {
      account.banUntil =
        now + Math.min(this.#limits.firstBanMs * 2 ** account.bans, this.#limits.maxBanMs);
      account.bans++;
      return { kind: "banned", weight: account.weight, until: account.banUntil, wasTold: false };
    }
    const until = overRequests
      ? (account.window + 1) * WINDOW_MS
      : (account.minute + 1) * MINUTE_MS;
    return { kind: "limited", weight: account.weight, until };
  }

  #account(address: string, now: number): Account {
    const minute = Math.floor(now / MINUTE_MS);
    const window = Math.floor(now / WINDOW_MS);
    const account = this.#accounts.get(address) ?? {
      minute,
      weight: 0,
      requestsAfter429: 0,
      window,
      requests: 0,
      banUntil: 0,
      bans: 0,
    };
    if (!this.#accounts.has(address)) this.#makeRoom(window, now);
    this.#accounts.set(address, account);
    if (account.minute !== minute) {
      account.minute = minute;
      account.weight = 0;
      account.requestsAfter429 = 0;
    }
    if (account.window !== window) {
      account.window = window;
      account.requests = 0;
    }
    return account;
  }

  /** Forgets who has not asked lately; when all have, whoever has been known longest. */
  #makeRoom(window: number, now: number): void {
    if (this.#accounts.size < MAX_ACCOUNTS) return;
    for (const [address, account] of this.#accounts) {
      if (account.window !== window && now >= account.banUntil) this.#accounts.delete(address);
    }
    const [oldest] = this.#accounts.keys();
    if (this.#accounts.size >= MAX_ACCOUNTS && oldest !== undefined) this.#accounts.delete(oldest);
  }
}
