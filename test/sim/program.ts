import { WeightBudget } from "../../src/core/budget.ts";
import type { IngestEvent } from "../../src/core/events.ts";
import { ExchangeTime } from "../../src/core/exchange-time.ts";
import type { ArchiveSource, Ban, HistorySource, LiveSource } from "../../src/core/ports.ts";
import {
  createBinanceArchive,
  createBinanceRest,
  createBinanceStream,
  EXCHANGE,
  planArchive,
  refuseUnknownSymbols,
} from "../../src/exchanges/binance/index.ts";
import { type IngestSummary, ingest } from "../../src/ingest/run.ts";
import type { MemoryStore } from "../support/memory-store.ts";
import type { Process } from "./machine.ts";
import { ARCHIVE_HOST } from "./network.ts";
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
  /** The same source, with what it gives out looked at. */
  readonly watchPages: <Source extends HistorySource>(source: Source) => Source;
}

/** Name under which the archive's holds are kept, as in `app.ts`. */
const ARCHIVE_HOLD = "binance-archive";

/** A program that runs: what a deployment is made of, or another one to compare it with. */
export type Program = (parts: ProgramParts) => Promise<unknown>;

/** The program as `app.ts` composes it, with the simulated world in place of the real one. */
export async function blackTrade({
  setting,
  process,
  store,
  random,
  record,
  signal,
  watchPages,
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
  const archiveHold = setting.hasArchive === true ? await store.load(ARCHIVE_HOLD) : undefined;
  const archive = createBinanceArchive({
    ...shared,
    baseUrl: `https://${ARCHIVE_HOST}`,
    tempFolder: "memory",
    onHold,
    ...(archiveHold === undefined ? {} : { heldUntilTime: archiveHold.untilTime }),
  });
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
      source: watchPages(
        createBinanceRest({ ...shared, baseUrl: "https://rest.sim", budget, onHold }),
      ),
      ...(setting.hasArchive === true
        ? { archive: { plan: planArchive, open: archive.open.bind(archive) } as ArchiveSource }
        : {}),
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
