import { systemClock } from "../../src/clock.ts";
import { WeightBudget } from "../../src/core/budget.ts";
import type { Recorder } from "../../src/core/events.ts";
import { ExchangeTime } from "../../src/core/exchange-time.ts";
import type { ArchiveSource } from "../../src/core/ports.ts";
import { createBinanceRest } from "../../src/exchanges/binance/index.ts";
import { History } from "../../src/ingest/history.ts";
import type { Store } from "../../src/store/index.ts";

/** What history is opened over. */
export interface HistorySetup {
  readonly store: Store;
  /** Base of the exchange's REST service. */
  readonly url: string;
  /** Without one, everything is asked for by REST. */
  readonly archive?: ArchiveSource;
  readonly record?: Recorder;
  /** The exchange's time; one of its own unless given. */
  readonly exchangeTime?: ExchangeTime;
}

const NO_FILES: ArchiveSource = {
  plan: (_series, range) => ({ files: [], rest: [range] }),
  open: async () => ({ kind: "not-published" }),
};

/** The history use case on the real REST adapter, with the exchange's time known. */
export async function openHistory({
  store,
  url,
  archive = NO_FILES,
  record = () => undefined,
  exchangeTime = new ExchangeTime(),
}: HistorySetup): Promise<History> {
  const budget = new WeightBudget(6_000);
  const shared = { clock: systemClock, exchangeTime, budget, random: Math.random, record };
  const rest = createBinanceRest({ ...shared, baseUrl: url, onHold: async () => undefined });
  await rest.syncTime(new AbortController().signal);
  return new History({ ...shared, history: rest, archive, store, isTrading: () => true });
}
