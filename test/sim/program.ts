import { WeightBudget } from "../../src/core/budget.ts";
import type { IngestEvent } from "../../src/core/events.ts";
import { ExchangeTime } from "../../src/core/exchange-time.ts";
import type { Ban, LiveSource } from "../../src/core/ports.ts";
import {
  createBinanceRest,
  createBinanceStream,
  EXCHANGE,
  refuseUnknownSymbols,
} from "../../src/exchanges/binance/index.ts";
import { type IngestSummary, ingest } from "../../src/ingest/run.ts";
import type { MemoryStore } from "../support/memory-store.ts";
import type { Process } from "./machine.ts";
import type { Random } from "./random.ts";
import type { Setting } from "./setting.ts";

/** What the simulated world gives the program. */
export interface ProgramParts {
  readonly setting: Setting;
  readonly process: Process;
  readonly store: MemoryStore;
  readonly random: Random;
  readonly record: (event: IngestEvent) => void;
  readonly signal: AbortSignal;
}

/** A program that runs: what a deployment is made of, or another one to compare it with. */
export type Program = (parts: ProgramParts) => Promise<unknown>;

/** The program as `app.ts` composes it, with the simulated world in place of the real one. */
export function blackTrade({
  setting,
  process,
  store,
  random,
  record,
  signal,
}: ProgramParts): Promise<IngestSummary> {
  const { clock } = process;
  const exchangeTime = new ExchangeTime();
  const budget = new WeightBudget(6_000);
  const onHold = (ban: Ban): Promise<void> => {
    const now = exchangeTime.isKnown ? exchangeTime.now(clock.monotonic()) : clock.now();
    return store.save(ban, ban.untilTime - now);
  };
  const shared = { clock, exchangeTime, random, record };
  const stream = createBinanceStream({
    ...shared,
    ...setting.tuning,
    wsUrl: "wss://stream.sim",
    firstDelayMs: 1_000,
  });
  const live: LiveSource = setting.isResubscribing
    ? stream
    : { stream: stream.stream.bind(stream), resubscribe: () => undefined };
  return ingest(
    {
      ...shared,
      exchange: EXCHANGE,
      series: setting.series,
      mode: setting.mode,
      host: "sim",
      pid: process.id,
      historyMs: () => setting.historyMs,
      live,
      source: createBinanceRest({ ...shared, baseUrl: "https://rest.sim", budget, onHold }),
      store,
      checkSymbols: (markets) =>
        refuseUnknownSymbols(
          setting.series.map(({ symbol }) => symbol),
          markets,
        ),
      budget,
      capacity: setting.capacity,
    },
    signal,
  );
}
