import type { VersionedCandle } from "../../src/core/finality.ts";
import type { Gap } from "../../src/core/gaps.ts";
import { type Series, seriesKey } from "../../src/core/series.ts";
import { cellOf, nextOpenTime } from "../../src/core/timeframe.ts";
import type { MemoryStore } from "../support/memory-store.ts";
import { keyOf } from "./market.ts";

/** The database as the checks see it: kept beside it, commit by commit, and read where it is small. */
export class TableView {
  readonly #tables: MemoryStore;
  readonly #rows = new Map<string, VersionedCandle>();
  /** Exchange time at which each row got the version that it has. */
  readonly #since = new Map<string, number>();

  constructor(tables: MemoryStore) {
    this.#tables = tables;
  }

  row(series: Series, openTime: number): VersionedCandle | undefined {
    return this.#rows.get(keyOf(series, openTime));
  }

  /** When the row got its version, exchange time. */
  since(series: Series, openTime: number): number {
    return this.#since.get(keyOf(series, openTime)) ?? 0;
  }

  put(row: VersionedCandle, now: number): void {
    const key = keyOf(row.series, row.candle.openTime);
    if (this.#rows.get(key) !== row) this.#since.set(key, now);
    this.#rows.set(key, row);
  }

  remove(series: Series, openTime: number): void {
    this.#rows.delete(keyOf(series, openTime));
  }

  /** What the database itself has for a candle. */
  stored(series: Series, openTime: number): VersionedCandle | undefined {
    return this.#tables.row(series, openTime);
  }

  rows(): Iterable<VersionedCandle> {
    return this.#rows.values();
  }

  rowsOf(series: Series): VersionedCandle[] {
    const key = seriesKey(series);
    return [...this.#rows.values()].filter((row) => seriesKey(row.series) === key);
  }

  /** Watermark and reach of confirmation. */
  facts(series: Series): { readonly next?: number; readonly confirmedTo?: number } {
    return this.#tables.progress(series);
  }

  get size(): number {
    return this.#rows.size;
  }

  ledger(series: Series): readonly Gap[] {
    return this.#tables.ledger(series);
  }

  /** True when a refused candle of the cell can be listed. */
  isQuarantined(series: Series, openTime: number): boolean {
    const key = seriesKey(series);
    const { from, to } = cellOf(series.timeframe, openTime);
    return this.#tables
      .quarantined()
      .some(
        ({ candle: { series: other, candle } }) =>
          seriesKey(other) === key && candle.openTime >= from && candle.openTime < to,
      );
  }

  wantedFrom(series: Series): number | undefined {
    return this.#tables.wantedFrom(series);
  }

  /** Open times in `[from, to)` for which there is neither a row nor an entry of the ledger. */
  unaccounted(series: Series, from: number, to: number): number[] {
    const ledger = this.ledger(series);
    const missing: number[] = [];
    for (let open = from; open < to; open = nextOpenTime(series.timeframe, open)) {
      if (this.#rows.has(keyOf(series, open))) continue;
      const isExplained = ledger.some(({ range }) => open >= range.from && open < range.to);
      if (!isExplained) missing.push(open);
    }
    return missing;
  }

  /** The ledger's entry for a candle. */
  entryOf(series: Series, openTime: number): Gap | undefined {
    const { from } = cellOf(series.timeframe, openTime);
    return this.ledger(series).find(({ range }) => from >= range.from && from < range.to);
  }
}

/** Text that names a candle. */
export function nameOf(series: Series, openTime: number): string {
  return `${seriesKey(series)} ${new Date(openTime).toISOString()}`;
}
