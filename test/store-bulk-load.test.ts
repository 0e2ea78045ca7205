import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { type VersionedCandle, versionNumber } from "../src/core/finality.ts";
import { unfinishedGap } from "../src/core/gaps.ts";
import { PackedCandles } from "../src/core/packed-candles.ts";
import type { ImportCounts, ImportedFile } from "../src/core/ports.ts";
import { raise } from "../src/store/candle-writer.ts";
import { Database, openStore, type Store } from "../src/store/index.ts";
import { tableText } from "./support/csv-import.ts";
import { binanceSeries } from "./support/live-stack.ts";
import { withDatabase } from "./support/postgres.ts";

const MINUTE = 60_000;
const T0 = Date.UTC(2024, 0, 1);
const series = binanceSeries("BTCUSDT", "1m");
const NOTHING: ImportCounts = {
  ...{ row: 0, stored: 0, revised: 0, identical: 0, superseded: 0, refused: 0, heldBack: 0 },
};
const FILE: ImportedFile = {
  ...{ file: "/f.csv", fingerprint: "1", settings: "{}", layout: "test", series },
  ...{ isFinished: false, counts: NOTHING, progress: "{}" },
};

function candleAt(
  index: number,
  volume: string,
  source: VersionedCandle["source"],
  observedTime: number,
): VersionedCandle {
  const openTime = T0 + index * MINUTE;
  return {
    ...{ series, source, observedTime },
    candle: {
      ...{ openTime, closeTime: openTime + MINUTE - 1 },
      ...{ open: "2", high: "3.50", low: "1", close: "2.000", volume, quoteVolume: "4" },
      ...{ tradeCount: 3, takerBuyVolume: "1", takerBuyQuoteVolume: "2" },
    },
  };
}

const packed = (candles: readonly VersionedCandle[]): PackedCandles =>
  PackedCandles.of(series, candles);

async function withStores(act: (a: Store, b: Store) => Promise<void>): Promise<void> {
  await withDatabase((first) =>
    withDatabase(async (second) => {
      const [a, b] = [await openStore({ url: first.url }), await openStore({ url: second.url })];
      await act(a, b).finally(() => Promise.all([a.close(), b.close()]));
    }),
  );
}

test("loading in bulk ends at the table and the counts of writing in batches", async () => {
  const version = fc.record({
    index: fc.integer({ min: 0, max: 12 }),
    volume: fc.constantFrom("1", "1.0", "2"),
    source: fc.constantFrom("csv-partial" as const, "csv" as const, "rest" as const),
    observedTime: fc.constantFrom(T0 + 1e9, T0 + 2e9),
  });
  const batches = fc.array(
    fc.uniqueArray(version, { selector: ({ index }) => index, minLength: 1, maxLength: 8 }),
    { minLength: 1, maxLength: 6 },
  );
  await withStores(async (bulk, plain) => {
    let offset = 0;
    await fc.assert(
      fc.asyncProperty(batches, async (parts) => {
        offset += 100;
        for (const part of parts) {
          const candles = part
            .map(({ index, volume, source, observedTime }) =>
              candleAt(offset + index, volume, source, observedTime),
            )
            .sort((a, b) => a.candle.openTime - b.candle.openTime);
          const { counts } = await bulk.loadPart({
            candles: packed(candles),
            gaps: [],
            file: FILE,
          });
          const { outcomes } = await plain.write(candles, []);
          const expected = { ...NOTHING } as Record<string, number>;
          for (const outcome of outcomes) expected[outcome] = (expected[outcome] ?? 0) + 1;
          assert.deepEqual(counts, expected);
        }
      }),
      { numRuns: 40 },
    );
    assert.equal(await tableText(bulk), await tableText(plain));
    const everything = { from: 0, to: Number.MAX_SAFE_INTEGER };
    const revised = async (store: Store): Promise<unknown[]> =>
      (await store.revisions(series, everything, 10_000)).map(({ replaced, replacedBy }) => [
        replaced,
        replacedBy,
      ]);
    assert.deepEqual(await revised(bulk), await revised(plain));
  });
});

test("two loaders of the same candles at once both end, and every candle is there once", async () => {
  await withDatabase(async ({ url }) => {
    const stores = await Promise.all([openStore({ url }), openStore({ url }), openStore({ url })]);
    const load = (store: Store, at: number): Promise<ImportedFile> =>
      store.loadPart({
        candles: packed(
          Array.from({ length: 2_000 }, (_, index) =>
            candleAt(index, `${at}`, "csv", T0 + 1e9 + at),
          ),
        ),
        ...{ gaps: [], file: { ...FILE, file: `/${at}.csv` } },
      });
    const done = await Promise.all(stores.map(load));
    const total = done.reduce((sum, { counts }) => sum + counts.stored, 0);
    assert.equal(total, 2_000);
    const [store] = stores;
    const rows = (await store?.range(series, { from: 0, to: 1e15 }, 10_000)) ?? [];
    assert.equal(rows.length, 2_000);
    assert.ok(rows.every(({ candle }) => candle.volume === "2"));
    await Promise.all(stores.map((one) => one.close()));
  });
});

test("a candle whose transaction ends while confirming is saved is not taken as confirmed", async () => {
  await withDatabase(async ({ url }) => {
    const [store, other] = [await openStore({ url }), new Database({ url })];
    const at = (index: number): number => T0 + index * MINUTE;
    await store.write([candleAt(0, "1", "stream", T0 + 1e9)], []);
    let saving: Promise<number | undefined> | undefined;
    await other.transaction(async (tx) => {
      const [id] = await tx.run<{ id: number }>({ text: "select id from series" });
      await tx.run({
        text: `
          insert into candles
          select id, 3, candle_time($2), $3, 0, 2, 3, 1, 2, 1, 1, 1, 1 from series where id = $1`,
        values: [id?.id, at(5), versionNumber("csv", T0 + 1e9)],
      });
      // As a loader does it, last before its commit.
      await raise(tx, [{ seriesId: id?.id ?? 0, newest: at(5), unconfirmed: at(5) }]);
      saving = store.saveConfirmed(series, at(0), at(10), [at(0)]);
      await sleep(300);
    });
    assert.equal(await saving, at(5));
    const { series: facts } = await store.facts();
    assert.equal(facts[0]?.confirmedTo, at(5));
    await Promise.all([store.close(), other.close()]);
  });
});

test("what is confirmed already is passed by in one go, however long", async () => {
  await withDatabase(async ({ url }) => {
    const store = await openStore({ url });
    const candles = Array.from({ length: 25_000 }, (_, index) =>
      candleAt(index, "1", index === 24_000 ? "stream" : "archive-daily", T0 + 3e9),
    );
    await store.write([candleAt(0, "1", "stream", T0 + 1e9)], []);
    await store.write(candles, []);
    const end = T0 + 25_000 * MINUTE;
    const left = T0 + 24_000 * MINUTE;
    assert.equal(await store.saveConfirmed(series, T0, end, []), left);
    assert.equal(await store.saveConfirmed(series, T0, end, []), undefined);
    assert.equal(await store.saveConfirmed(series, left, end, [left]), end);
    await store.close();
  });
});

test("a row that the database refuses costs only itself", async () => {
  await withDatabase(async ({ url }) => {
    const store = await openStore({ url });
    const candles = [0, 1, 2].map((index) =>
      candleAt(index, index === 1 ? "-1" : "1", "csv", T0 + 1e9),
    );
    const { counts } = await store.loadPart({ candles: packed(candles), gaps: [], file: FILE });
    assert.deepEqual([counts.stored, counts.refused], [2, 1]);
    assert.equal((await store.quarantined(10)).length, 1);
    await store.close();
  });
});

test("a held-back candle is listed as a gap, unless an exchange's stands there", async () => {
  await withDatabase(async ({ url }) => {
    const store = await openStore({ url });
    await store.write([candleAt(0, "1", "rest", T0 + 1e9), candleAt(1, "1", "csv", T0 + 1e9)], []);
    const gaps = [0, 1, 2].map((index) => unfinishedGap(series, T0 + index * MINUTE, T0 + 1e9));
    await store.loadPart({ candles: packed([]), gaps, file: FILE });
    assert.deepEqual(
      (await store.gaps(series)).map(({ range, reason }) => [(range.from - T0) / MINUTE, reason]),
      [
        [1, "unfinished-in-source"],
        [2, "unfinished-in-source"],
      ],
    );
    await store.close();
  });
});

test("how far a file is read is kept with the candles", async () => {
  await withDatabase(async ({ url }) => {
    const store = await openStore({ url });
    assert.equal(await store.imported("/f.csv"), undefined);
    const counts = { ...NOTHING, row: 3, refused: 1, heldBack: 1 };
    const file = { ...FILE, counts, progress: '{"offset":7}', isFinished: true };
    const done = await store.loadPart({
      candles: packed([candleAt(0, "1", "csv", T0 + 1e9)]),
      gaps: [],
      file,
    });
    assert.deepEqual(done.counts, { ...counts, stored: 1 });
    assert.deepEqual(await store.imported("/f.csv"), done);
    await store.close();
  });
});
