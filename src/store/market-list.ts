import type { ListedMarket, Market } from "../core/ports.ts";
import type { Database } from "./database.ts";

/** What the exchange said last of collected symbols. */
export class MarketList {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** See {@link MarketStore.saveMarkets}. */
  async saveMarkets(exchange: string, markets: readonly Market[]): Promise<void> {
    const listed = markets
      .filter(({ listing }) => listing !== undefined)
      // One order for all processes: two that save the same symbols do not wait for each other crosswise.
      .sort((a, b) => (a.symbol < b.symbol ? -1 : 1));
    if (listed.length === 0) return;
    await this.#database.transaction(async (tx) => {
      await tx.run({
        text: `
          insert into markets as known (exchange, symbol, listing)
          select $1, symbol, listing::json from unnest($2::text[], $3::text[]) as said (symbol, listing)
          on conflict (exchange, symbol) do update set
            listing = excluded.listing, changed_at = excluded.changed_at
          where known.listing::text <> excluded.listing::text`,
        values: [
          exchange,
          listed.map(({ symbol }) => symbol),
          listed.map(({ listing }) => JSON.stringify(listing)),
        ],
      });
    });
  }

  /** See {@link CandleQueries.markets}. */
  async markets(): Promise<readonly ListedMarket[]> {
    return this.#database.run<ListedMarket>({
      text: "select exchange, symbol, listing::text as listing from markets order by exchange, symbol",
    });
  }
}
