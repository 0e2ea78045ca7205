import { BlackTradeError } from "../core/errors.ts";
import { type Series, seriesKey, sharedSeries } from "../core/series.ts";
import { type Pacing, REAL_PACING, retryContention } from "./contention.ts";
import type { Executor } from "./database.ts";

interface SeriesRow {
  readonly id: number;
  readonly exchange: string;
  readonly symbol: string;
  readonly timeframe: Series["timeframe"];
}

/** Of every number and name: of tens of thousands it is told in a small part of the time that it takes to read them. */
const DIGEST = `
  select concat_ws(' ', count(*), sum(hashtextextended(exchange || ':' || symbol || ':' || timeframe, id))) as digest
  from series`;

/** Numbers of series as the tables use them. They never change, so they are asked for once. */
export class SeriesCatalog {
  readonly #executor: Executor;
  readonly #pacing: Pacing;
  readonly #ids = new Map<string, number>();
  #list: { readonly digest: string | undefined; readonly series: readonly Series[] } | undefined;

  constructor(executor: Executor, pacing: Pacing = REAL_PACING) {
    this.#executor = executor;
    this.#pacing = pacing;
  }

  /** Numbers of series, index for index; series that are new are registered. @throws {BlackTradeError} E_DB_*, E_USAGE */
  async register(series: readonly Series[]): Promise<readonly number[]> {
    const known = this.#known(series);
    if (known !== undefined) return known;
    const unknown = this.#unknown(series);
    for (const one of unknown) refuseNul(one);
    if (unknown.length > 0) {
      await this.#learn(unknown);
      // One order for all processes: two that register the same series do not wait for each other crosswise.
      const added = this.#unknown(unknown).sort((a, b) => (seriesKey(a) < seriesKey(b) ? -1 : 1));
      if (added.length > 0) {
        await retryContention(this.#pacing, () => this.#insert(added));
        await this.#learn(added);
      }
    }
    return series.map((one) => this.#idOf(one));
  }

  /** Number of a series, or `undefined` when the database has never heard of it. @throws {BlackTradeError} E_DB_* */
  async find(series: Series): Promise<number | undefined> {
    if (!this.#ids.has(seriesKey(series)) && !hasNul(series)) await this.#learn([series]);
    return this.#ids.get(seriesKey(series));
  }

  /** Numbers of those series that the database knows. @throws {BlackTradeError} E_DB_* */
  async findAll(series: readonly Series[]): Promise<readonly number[]> {
    const unknown = this.#unknown(series).filter((one) => !hasNul(one));
    if (unknown.length > 0) await this.#learn(unknown);
    return series.flatMap((one) => this.#ids.get(seriesKey(one)) ?? []);
  }

  /**
   * Every series of the database, by exchange, symbol and timeframe; the same list for as long as there is no other one.
   * @throws {BlackTradeError} E_DB_*
   */
  async list(): Promise<readonly Series[]> {
    const [before] = await this.#executor.run<{ digest: string }>({ text: DIGEST });
    if (this.#list !== undefined && before?.digest === this.#list.digest) return this.#list.series;
    const rows = await this.#executor.run<SeriesRow>({
      text: "select id, exchange, symbol, timeframe from series order by exchange, symbol, candle_step_ms(timeframe)",
    });
    for (const row of rows) this.#ids.set(seriesKey(sharedSeries(row)), row.id);
    // One that comes between the two statements is in the list; the next look reads it once more.
    this.#list = { digest: before?.digest, series: Object.freeze(rows.map(sharedSeries)) };
    return this.#list.series;
  }

  /** Numbers of series that are all known, which is the usual case; else `undefined`. */
  #known(series: readonly Series[]): number[] | undefined {
    const ids: number[] = [];
    for (const one of series) {
      const id = this.#ids.get(seriesKey(one));
      if (id === undefined) return undefined;
      ids.push(id);
    }
    return ids;
  }

  #unknown(series: readonly Series[]): Series[] {
    const unknown = new Map<string, Series>();
    for (const one of series) {
      const key = seriesKey(one);
      if (!this.#ids.has(key)) unknown.set(key, one);
    }
    return [...unknown.values()];
  }

  async #learn(series: readonly Series[]): Promise<void> {
    const rows = await this.#executor.run<SeriesRow>({
      text: `
        select s.id, s.exchange, s.symbol, s.timeframe
        from unnest($1::text[], $2::text[], $3::text[]) as wanted (exchange, symbol, timeframe)
        join series s using (exchange, symbol, timeframe)`,
      values: columnsOf(series),
    });
    for (const row of rows) this.#ids.set(seriesKey(row), row.id);
  }

  async #insert(series: readonly Series[]): Promise<void> {
    await this.#executor.run({
      text: `
        insert into series (exchange, symbol, timeframe)
        select * from unnest($1::text[], $2::text[], $3::text[])
        on conflict do nothing`,
      values: columnsOf(series),
    });
  }

  #idOf(series: Series): number {
    const id = this.#ids.get(seriesKey(series));
    if (id === undefined) throw new Error(`${seriesKey(series)} was not registered`);
    return id;
  }
}

/** PostgreSQL has no place for this one character: no series with it can ever be there. */
function hasNul({ exchange, symbol }: Series): boolean {
  return exchange.includes("\0") || symbol.includes("\0");
}

/** @throws {BlackTradeError} E_USAGE: trying again cannot help */
function refuseNul(series: Series): void {
  if (!hasNul(series)) return;
  const shown = JSON.stringify(series.symbol.slice(0, 80));
  throw new BlackTradeError("E_USAGE", `${shown} cannot name a symbol: it holds a NUL character`, {
    remedy: "Name the symbol as the exchange lists it, for example BTCUSDT.",
  });
}

function columnsOf(series: readonly Series[]): string[][] {
  return [
    series.map(({ exchange }) => exchange),
    series.map(({ symbol }) => symbol),
    series.map(({ timeframe }) => timeframe),
  ];
}
