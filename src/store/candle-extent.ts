import { DECIMAL_FIELDS } from "../core/candle.ts";
import type { CandleExtent, DecimalDigits } from "../core/ports.ts";
import { type CandleSelection, candlesSql } from "./candle-select.ts";
import type { Executor } from "./database.ts";

const SQL_NAMES: Readonly<Record<(typeof DECIMAL_FIELDS)[number], string>> = {
  ...{ open: "open", high: "high", low: "low", close: "close", volume: "volume" },
  ...{ quoteVolume: "quote_volume", takerBuyVolume: "taker_buy_volume" },
  takerBuyQuoteVolume: "taker_buy_quote_volume",
};

/** Counting digits looks at every row: minutes of a large table. */
const DEADLINE_MS = 10 * 60_000;

/** How many candles a selection has and how many digits their decimals. @throws {BlackTradeError} E_DB_* */
export async function readExtent(
  executor: Executor,
  selection: CandleSelection,
): Promise<CandleExtent> {
  const [server] = await executor.run<{ isBefore13: boolean }>({
    text: `select current_setting('server_version_num')::int < 130000 as "isBefore13"`,
  });
  const fraction = (column: string): string =>
    server?.isBefore13 === true
      ? `max(length(rtrim(split_part(${column}::text, '.', 2), '0')))`
      : `max(min_scale(${column}))`;
  const columns = DECIMAL_FIELDS.flatMap((field) => {
    const column = SQL_NAMES[field];
    return [
      `trunc(max(${column}))::text as "${field}Integer"`,
      `${fraction(column)} as "${field}Fraction"`,
    ];
  });
  const [row] = await executor.run<{ count: number } & Record<string, string | number | null>>({
    text: `select count(*) as count, ${columns.join(", ")} from ${candlesSql(selection)}`,
    deadlineMs: DEADLINE_MS,
  });
  const digits = DECIMAL_FIELDS.map((field): [string, DecimalDigits] => [
    field,
    {
      integer: String(row?.[`${field}Integer`] ?? "0").length,
      fraction: Number(row?.[`${field}Fraction`] ?? 0),
    },
  ]);
  return {
    count: row?.count ?? 0,
    digits: Object.fromEntries(digits) as CandleExtent["digits"],
  };
}
