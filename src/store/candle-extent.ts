import { DECIMAL_FIELDS } from "../core/candle.ts";
import type { CandleExtent, DecimalDigits } from "../core/ports.ts";
import { type CandleSelection, candlesSql, SQL_NAMES } from "./candle-select.ts";
import type { Executor } from "./database.ts";

type DecimalField = (typeof DECIMAL_FIELDS)[number];
type Digits = [field: DecimalField, digits: DecimalDigits];

const PRICES: readonly DecimalField[] = ["open", "high", "low", "close"];
const VOLUMES = DECIMAL_FIELDS.filter((field) => !PRICES.includes(field));
/** Counting digits looks at every row: minutes of a large table. */
const DEADLINE_MS = 10 * 60_000;

/**
 * How many candles a selection has and how many digits their decimals: half of the columns each on two connections, as one
 * keeps one core busy for longer than it takes to read them all.
 * @throws {BlackTradeError} E_DB_*
 */
export async function readExtent(
  executor: Executor,
  selection: CandleSelection,
): Promise<CandleExtent> {
  const [server] = await executor.run<{ isBefore13: boolean }>({
    text: `select current_setting('server_version_num')::int < 130000 as "isBefore13"`,
  });
  const isBefore13 = server?.isBefore13 === true;
  const [prices, volumes] = await Promise.all([
    // No price is above the high.
    readDigits(executor, selection, PRICES, ["high"], isBefore13),
    readDigits(executor, selection, VOLUMES, VOLUMES, isBefore13),
  ]);
  return {
    count: volumes.count,
    digits: Object.fromEntries([...prices.digits, ...volumes.digits]) as CandleExtent["digits"],
  };
}

/** @param bounds fields whose digits before the point are counted: each for itself, the first for those that are not among them */
async function readDigits(
  executor: Executor,
  selection: CandleSelection,
  fields: readonly DecimalField[],
  bounds: readonly DecimalField[],
  isBefore13: boolean,
): Promise<{ count: number; digits: Digits[] }> {
  const fraction = (column: string): string =>
    isBefore13
      ? `max(length(rtrim(split_part(${column}::text, '.', 2), '0')))`
      : `max(min_scale(${column}))`;
  const columns = [
    ...fields.map((field) => `${fraction(SQL_NAMES[field])} as "${field}Fraction"`),
    ...bounds.map((field) => `trunc(max(${SQL_NAMES[field]}))::text as "${field}Integer"`),
  ];
  const [row] = await executor.run<{ count: number } & Record<string, string | number | null>>({
    text: `select count(*) as count, ${columns.join(", ")} from ${candlesSql(selection)}`,
    deadlineMs: DEADLINE_MS,
  });
  const digits = fields.map((field): Digits => {
    const whole = row?.[`${field}Integer`] ?? row?.[`${bounds[0]}Integer`] ?? "0";
    return [
      field,
      { integer: String(whole).length, fraction: Number(row?.[`${field}Fraction`] ?? 0) },
    ];
  });
  return { count: row?.count ?? 0, digits };
}
