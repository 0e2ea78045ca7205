import { WEIGHT_PER_MINUTE } from "../app.ts";
import type { Config, EnvironmentFacts } from "../config.ts";
import { WeightBudget } from "../core/budget.ts";
import { ExchangeTime } from "../core/exchange-time.ts";
import type { Ban, Clock, Market } from "../core/ports.ts";
import type { RunFacts, SeriesFacts } from "../core/status.ts";
import type { OpenedDatabase } from "../open-database.ts";
import type { DatabaseFacts, EmbeddedFacts, Store } from "../store/index.ts";

/** What the checks need and what they hand on. A check that reads a part names the one that sets it in its `needs`. */
export class Context {
  readonly clock: Clock;
  readonly environment: EnvironmentFacts;
  /** @throws {BlackTradeError} E_CONFIG */
  readonly load: () => Config;
  readonly exchangeTime = new ExchangeTime();
  readonly budget = new WeightBudget(WEIGHT_PER_MINUTE);
  embedded: EmbeddedFacts | undefined;
  opened: OpenedDatabase | undefined;
  store: Store | undefined;
  ban: (Ban & { readonly remainingMs: number }) | undefined;
  markets: readonly Market[] | undefined;
  #config: Config | undefined;
  #database: DatabaseFacts | undefined;
  #facts: { run: RunFacts | undefined; series: readonly SeriesFacts[] } | undefined;
  /** Set when the check for the database gave up waiting: what opens later is closed at once. */
  #isClosed = false;

  constructor(parts: {
    readonly clock: Clock;
    readonly environment: EnvironmentFacts;
    readonly load: () => Config;
  }) {
    this.clock = parts.clock;
    this.environment = parts.environment;
    this.load = parts.load;
  }

  get config(): Config {
    return known(this.#config);
  }

  set config(config: Config) {
    this.#config = config;
  }

  /** The configuration, when it is sound. */
  get soundConfig(): Config | undefined {
    return this.#config;
  }

  get database(): DatabaseFacts {
    return known(this.#database);
  }

  set database(facts: DatabaseFacts) {
    this.#database = facts;
  }

  get facts(): { readonly run: RunFacts | undefined; readonly series: readonly SeriesFacts[] } {
    return known(this.#facts);
  }

  set facts(facts: { run: RunFacts | undefined; series: readonly SeriesFacts[] }) {
    this.#facts = facts;
  }

  /** Keeps an opened database until {@link close}. */
  async keep(opened: OpenedDatabase): Promise<void> {
    this.opened = opened;
    if (this.#isClosed) await opened.close();
  }

  /** Gives everything back. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.opened?.close();
  }
}

function known<T>(value: T | undefined): T {
  if (value === undefined) throw new Error("a check does not name all that it needs");
  return value;
}
