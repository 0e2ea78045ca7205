import type { Scope } from "../core/job.ts";
import type { CandleQueries, CoverageStore, StatusStore } from "../core/ports.ts";
import { type Series, seriesKey } from "../core/series.ts";
import { openTimeAt } from "../core/timeframe.ts";
import { wholeFrom } from "./audit.ts";
import { dueEnd, type Wanted } from "./history.ts";

/** A scope, with how it is to be understood. */
export interface Choice extends Scope {
  /** Where a series begins when `from` is not given; `undefined`: there is nothing of it. */
  readonly startOf?: ((series: Series) => Promise<number | undefined>) | undefined;
  /** The exchange will be asked: series of others, which files brought, are left out. */
  readonly isAsking: boolean;
}

/** What a choice is made from. */
export interface Chooser {
  readonly store: CoverageStore & Pick<CandleQueries, "overview"> & Pick<StatusStore, "facts">;
  readonly configured: readonly Series[];
  /** The one that can be asked. */
  readonly exchange: string;
  /** Exchange time, epoch ms. */
  readonly now: number;
}

/**
 * The chosen series with their ranges, in which every candle has to be there by now; what has no range is left out.
 * @throws {BlackTradeError} E_DB_*, and what `startOf` throws
 */
export async function chooseWanted(
  { store, configured, exchange, now }: Chooser,
  choice: Choice,
): Promise<Wanted[]> {
  const { kind, symbols, timeframes, isAsking } = choice;
  const overview = await store.overview();
  const { series: facts } = await store.facts();
  const all = kind === "backfill" ? configured : overview.map(({ series }) => series);
  const chosen = all.filter(
    (series) =>
      (!isAsking || series.exchange === exchange) &&
      (symbols?.includes(series.symbol) ?? true) &&
      (timeframes?.includes(series.timeframe) ?? true),
  );
  const wanted: Wanted[] = [];
  for (const series of chosen) {
    const key = seriesKey(series);
    const known = facts.find((one) => seriesKey(one.series) === key);
    const from = choice.from ?? (await startOf(store, choice, series, known?.wantedFrom));
    if (from === undefined) continue;
    // What nobody ingests may end where it ends; the trailing gap of a series that is kept is a finding.
    const mayEnd = kind === "verify" && known?.isConfigured !== true;
    const newest = overview.find((one) => seriesKey(one.series) === key)?.newestOpenTime ?? -1;
    const range = {
      from: openTimeAt(series.timeframe, from),
      to: Math.min(choice.to ?? now, mayEnd ? newest + 1 : dueEnd(series, now)),
    };
    if (range.from < range.to) wanted.push({ series, range });
  }
  return wanted;
}

function startOf(
  store: CoverageStore,
  choice: Choice,
  series: Series,
  wantedFrom: number | undefined,
): Promise<number | undefined> {
  if (choice.startOf !== undefined) return choice.startOf(series);
  return choice.kind === "verify"
    ? store.firstStored(series)
    : wholeFrom(store, series, wantedFrom);
}
