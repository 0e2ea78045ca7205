import type { Ban } from "../core/ports.ts";
import type { Database } from "./database.ts";

/** Holds of exchanges. What is left of one is measured by the clock of the database, which all processes share. */
export class BanLedger {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** See {@link BanStore.load}. */
  async load(exchange: string): Promise<(Ban & { readonly remainingMs: number }) | undefined> {
    const [row] = await this.#database.run<Ban & { readonly remainingMs: number }>({
      text: `
        select
          exchange, candle_epoch_ms(until_time) as "untilTime", http_status as "httpStatus",
          candle_epoch_ms(ends_at) - candle_epoch_ms(clock_timestamp()) as "remainingMs"
        from exchange_bans where exchange = $1`,
      values: [exchange],
    });
    return row === undefined || row.remainingMs <= 0 ? undefined : row;
  }

  /** See {@link BanStore.save}. */
  async save({ exchange, untilTime, httpStatus }: Ban, remainingMs: number): Promise<void> {
    await this.#database.transaction(async (tx) => {
      await tx.run({
        text: `
          insert into exchange_bans as known (exchange, until_time, ends_at, http_status)
          values ($1, candle_time($2), clock_timestamp() + $3::bigint * interval '1 millisecond', $4)
          on conflict (exchange) do update set
            until_time = excluded.until_time, ends_at = excluded.ends_at, http_status = excluded.http_status,
            noted_at = excluded.noted_at
          where excluded.ends_at > known.ends_at`,
        values: [exchange, Math.trunc(untilTime), Math.trunc(remainingMs), httpStatus],
      });
    });
  }
}
