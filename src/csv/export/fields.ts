import type { DECIMAL_FIELDS } from "../../core/candle.ts";
import type { DecimalDigits } from "../../core/ports.ts";

/** One of the decimal fields of a candle. */
export type DecimalField = (typeof DECIMAL_FIELDS)[number];

/** A column of a binary file, in the order of the file. Names are those of SQL and Python. */
export type ExportColumn =
  | { readonly kind: "time"; readonly name: string; readonly field: "openTime" | "closeTime" }
  | { readonly kind: "count"; readonly name: string; readonly field: "tradeCount" }
  | { readonly kind: "decimal"; readonly name: string; readonly field: DecimalField };

/** Columns of Parquet and Arrow: times are ms UTC, decimals as the candle's, `trade_count` is a 32-bit integer. */
export const EXPORT_COLUMNS: readonly ExportColumn[] = [
  { kind: "time", name: "open_time", field: "openTime" },
  { kind: "decimal", name: "open", field: "open" },
  { kind: "decimal", name: "high", field: "high" },
  { kind: "decimal", name: "low", field: "low" },
  { kind: "decimal", name: "close", field: "close" },
  { kind: "decimal", name: "volume", field: "volume" },
  { kind: "time", name: "close_time", field: "closeTime" },
  { kind: "decimal", name: "quote_volume", field: "quoteVolume" },
  { kind: "count", name: "trade_count", field: "tradeCount" },
  { kind: "decimal", name: "taker_buy_volume", field: "takerBuyVolume" },
  { kind: "decimal", name: "taker_buy_quote_volume", field: "takerBuyQuoteVolume" },
];

/** What every decimal of the grammar fits into: 20 digits before the point, 18 behind it. */
const WIDEST: DecimalDigits = { integer: 20, fraction: 18 };
/** Digits of a signed 64-bit integer that can all be nines. */
const MAX_INT64_DIGITS = 18;
/** Digits of a decimal of 128 bits. */
const MAX_DIGITS = 38;

/** How the values of a column are laid out: little-endian, one after the other. */
export type Layout =
  | { readonly kind: "int64" | "int32" | "float64" }
  /** Unscaled integers of 8 or 16 bytes; 16 in the byte order that the format wants. */
  | {
      readonly kind: "decimal";
      readonly scale: number;
      readonly precision: number;
      readonly byteCount: 8 | 16;
    };

/**
 * Layout of a column.
 * @param digits of the values when they are known, for a layout that is no wider than needed
 * @param narrowest the format's least bytes for a decimal
 */
export function layoutOf(
  column: ExportColumn,
  areFloats: boolean,
  digits: Partial<Record<DecimalField, DecimalDigits>>,
  narrowest: 8 | 16,
): Layout {
  if (column.kind === "time") return { kind: "int64" };
  if (column.kind === "count") return { kind: "int32" };
  if (areFloats) return { kind: "float64" };
  const { integer, fraction } = digits[column.field] ?? WIDEST;
  const isNarrow = narrowest === 8 && integer + fraction <= MAX_INT64_DIGITS;
  return {
    kind: "decimal",
    scale: fraction,
    precision: isNarrow ? MAX_INT64_DIGITS : MAX_DIGITS,
    byteCount: isNarrow ? 8 : 16,
  };
}

/** Bytes of one value. */
export function byteCountOf(layout: Layout): number {
  if (layout.kind === "decimal") return layout.byteCount;
  return layout.kind === "int32" ? 4 : 8;
}
