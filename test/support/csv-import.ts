import { openZip } from "../../src/cli/import-csv.ts";
import { systemClock } from "../../src/clock.ts";
import { type ImportOptions, type ImportReport, importFiles } from "../../src/csv/import.ts";
import type { Store } from "../../src/store/index.ts";

const NEVER = new AbortController().signal;

/** Imports files into a store; without one, only reads them. */
export function importInto(
  store: Store | undefined,
  paths: readonly string[],
  options: Partial<ImportOptions> = {},
): Promise<ImportReport> {
  return importFiles({
    ...{ paths, hints: {}, openZip, clock: systemClock, store, isAgain: false, signal: NEVER },
    ...options,
  });
}

/** Everything that imports and ingestion have put into the candle table, as one text: equal texts, equal tables. */
export async function tableText(store: Store): Promise<string> {
  const lines: string[] = [];
  for (const series of await store.series()) {
    const rows = await store.range(series, { from: 0, to: Number.MAX_SAFE_INTEGER }, 1_000_000);
    for (const { candle, source, observedTime } of rows) {
      lines.push(
        JSON.stringify([
          series.exchange,
          series.symbol,
          series.timeframe,
          source,
          observedTime,
          candle,
        ]),
      );
    }
  }
  return lines.join("\n");
}
