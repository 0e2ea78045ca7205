import { BlackTradeError } from "../core/errors.ts";
import type { TimeRange } from "../core/range.ts";
import type { Series } from "../core/series.ts";
import type { ColumnField, Store } from "../store/index.ts";
import {
  type AsOf,
  atOf,
  limitOf,
  rangeOf,
  type SeriesSelector,
  seriesOf,
  type TimeSelector,
} from "./selection.ts";

/** What is read as columns. */
export interface ColumnQuery extends SeriesSelector, TimeSelector, AsOf {
  /** Only the newest n candles of the range. */
  readonly limit?: number;
  /** `open`, `high`, `low`, `close`, `volume` when not given. */
  readonly fields?: readonly ColumnField[];
  /** Decimals as strings instead of doubles. */
  readonly exact?: boolean;
  /** `openTime` as `Float64Array` (`number`, the default) or `BigInt64Array` (`bigint`). */
  readonly time?: "number" | "bigint";
}

type DefaultField = "open" | "high" | "low" | "close" | "volume";
type FieldOf<Query extends ColumnQuery> = Query["fields"] extends readonly (infer Field)[]
  ? Field & ColumnField
  : DefaultField;

/** What a query gives: `openTime` and a column for each of its fields, all of one length. */
export type Columns<Query extends ColumnQuery> = {
  /** Epoch ms, ascending. */
  readonly openTime: Query["time"] extends "bigint" ? BigInt64Array : Float64Array;
} & {
  readonly [Field in FieldOf<Query>]: Query["exact"] extends true
    ? Field extends "tradeCount"
      ? Float64Array
      : string[]
    : Float64Array;
};

const DEFAULT_FIELDS: readonly ColumnField[] = ["open", "high", "low", "close", "volume"];
const ALL_FIELDS: readonly string[] = [
  ...["open", "high", "low", "close", "volume", "quoteVolume", "tradeCount"],
  ...["takerBuyVolume", "takerBuyQuoteVolume"],
];

/** See `CandleRepository.toColumns`. */
export async function toColumns<const Query extends ColumnQuery>(
  store: Pick<Store, "columns" | "blocks">,
  query: Query,
): Promise<Columns<Query>> {
  const fields = fieldsOf(query.fields ?? DEFAULT_FIELDS);
  const columns =
    query.exact === true
      ? await exactColumns(store, query, fields)
      : await store.columns(seriesOf(query), rangeOf(query), fields, newestOf(query));
  const openTime =
    query.time === "bigint" ? BigInt64Array.from(columns.openTime, BigInt) : columns.openTime;
  return { ...columns, openTime } as Columns<Query>;
}

/**
 * Series, range and time of a query; `limit` becomes the edge of the range.
 * @throws {BlackTradeError} E_USAGE
 */
export async function readQuery(
  store: Pick<Store, "columns">,
  query: Omit<ColumnQuery, "fields" | "exact" | "time">,
): Promise<{ series: Series; range: TimeRange; at: number | undefined }> {
  const series = seriesOf(query);
  const range = rangeOf(query);
  const at = atOf(query);
  if (query.limit === undefined) return { series, range, at };
  const { openTime } = await store.columns(series, range, [], newestOf(query));
  return { series, range: { from: openTime[0] ?? range.to, to: range.to }, at };
}

async function exactColumns(
  store: Pick<Store, "columns" | "blocks">,
  query: ColumnQuery,
  fields: readonly ColumnField[],
) {
  const { series, range, at } = await readQuery(store, query);
  const openTime: number[] = [];
  const counts: number[] = [];
  const decimals = fields.map((): string[] => []);
  for await (const { rowCount, ...block } of store.blocks(series, range, { at })) {
    openTime.push(...block.openTime.subarray(0, rowCount));
    counts.push(...block.tradeCount.subarray(0, rowCount));
    for (const [index, field] of fields.entries()) {
      if (field !== "tradeCount") decimals[index]?.push(...block.decimals[field].texts(rowCount));
    }
  }
  const columns = fields.map((field, index) => [
    field,
    field === "tradeCount" ? Float64Array.from(counts) : decimals[index],
  ]);
  return { ...Object.fromEntries(columns), openTime: Float64Array.from(openTime) };
}

function newestOf(query: AsOf & { readonly limit?: number }) {
  const newest = query.limit === undefined ? undefined : limitOf(query.limit);
  return { newest, at: atOf(query) };
}

/** @throws {BlackTradeError} E_USAGE */
function fieldsOf(fields: readonly ColumnField[]): readonly ColumnField[] {
  const unknown = Array.isArray(fields)
    ? fields.find((field) => !ALL_FIELDS.includes(field))
    : fields;
  if (unknown === undefined) return fields;
  throw new BlackTradeError("E_USAGE", `"${String(unknown)}" is not a field of a candle`, {
    remedy: `Use some of: ${ALL_FIELDS.join(", ")}.`,
  });
}
