import { openStore } from "../../src/store/index.ts";
import type { StoreHarness, StoreUnderTest } from "../conformance/store-suite.ts";
import { createMemoryStore, type MemoryStore } from "./memory-store.ts";
import { createTestDatabase, type TestServer } from "./postgres.ts";

const ALWAYS = { from: 0, to: Number.MAX_SAFE_INTEGER };
const LIMIT = 100_000;

/** The store in memory; every `open` is another process on the same tables. */
export async function memoryHarness(): Promise<StoreHarness> {
  const tables = createMemoryStore({ clock: Date });
  return { open: async () => ofMemory(tables.peer()), close: async () => undefined };
}

/** A migrated database of its own on a server; every `open` is another process on it. */
export async function postgresHarness(server: Promise<TestServer>): Promise<StoreHarness> {
  const database = await createTestDatabase(await server, "migrated");
  return { open: () => openedStore(database.url), close: () => database.drop() };
}

/** The store of a database, with the looks into it that the suite needs. */
export async function openedStore(url: string): Promise<StoreUnderTest> {
  const store = await openStore({ url });
  return {
    ...store,
    rows: (series) => store.range(series, ALWAYS, LIMIT),
    revisionsOf: async (series) =>
      (await store.revisions(series, ALWAYS, LIMIT)).map(({ replaced }) => replaced),
    gapsOf: (series) => store.gaps(series),
    refused: () => store.quarantined(LIMIT),
  };
}

function ofMemory(store: MemoryStore): StoreUnderTest {
  return {
    write: (batch, watermarks) => store.write(batch, watermarks),
    quarantine: (candle, rejection) => store.quarantine(candle, rejection),
    open: (gaps) => store.open(gaps),
    due: (series, now, limit, below) => store.due(series, now, limit, below),
    replace: (gap, left) => store.replace(gap, left),
    load: (exchange) => store.load(exchange),
    save: (ban, remainingMs) => store.save(ban, remainingMs),
    begin: (run, series) => store.begin(run, series),
    want: (wanted, exchangeTime) => store.want(wanted, exchangeTime),
    end: () => store.end(),
    report: (reports, exchangeTime) => store.report(reports, exchangeTime),
    facts: () => store.facts(),
    gaps: (series) => store.gaps(series),
    holes: (series, range) => store.holes(series, range),
    firstStored: (series) => store.firstStored(series),
    unconfirmed: (series, range, limit) => store.unconfirmed(series, range, limit),
    saveConfirmed: (series, from, to, asked) => store.saveConfirmed(series, from, to, asked),
    rows: async (series) => store.rows(series),
    revisionsOf: async (series) => store.revisions(series),
    gapsOf: async (series) => store.gaps(series),
    refused: async () =>
      store.quarantined().map(({ candle, rejection, count }) => ({
        series: candle.series,
        openTime: String(candle.candle.openTime),
        source: candle.source,
        ...rejection,
        count,
      })),
    close: async () => store.crash(),
  };
}
