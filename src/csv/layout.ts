import type { Timeframe } from "../core/timeframe.ts";
import type { TimeUnit } from "./times.ts";

/** Columns of a candle that a file can have. */
export type Field =
  | "openTime"
  | "closeTime"
  | "open"
  | "high"
  | "low"
  | "close"
  | "volume"
  | "quoteVolume"
  | "tradeCount"
  | "takerBuyVolume"
  | "takerBuyQuoteVolume";

/** Where the fields of a candle stand in a row, from 0. */
export type Columns = Readonly<Partial<Record<Field, number>>>;

/** What is known of a file before its rows are read. */
export interface Sample {
  /** Its name, without folders and without `.gz` and `.zip`. */
  readonly name: string;
  /** Names of the folders above it, the nearest first. */
  readonly folders: readonly string[];
  readonly kind: "text" | "json" | "feather";
  readonly delimiter: string;
  /** The header's cells as they stand there, when there is one. */
  readonly header: readonly string[] | undefined;
  /** Lines above the header (an address, `sep=;`). */
  readonly preamble: readonly string[];
  /** The line that cannot be read where the header should be, and why; told only when no header was found. */
  readonly unreadHeader?: { readonly line: number; readonly reason: string };
  /** False when no line has the delimiter, or any other that is known. */
  readonly isDelimited: boolean;
  /** Cells of the first rows, and of the last ones where they can be had. */
  readonly rows: readonly (readonly string[])[];
}

/** What a layout says about a file. */
export interface LayoutMatch {
  readonly layout: string;
  readonly columns: Columns;
  /** Units that this layout's times come in; more than one only where the layout changed over time. */
  readonly units?: readonly TimeUnit[];
  /** Offset of times that are written without a zone; absent where nobody has said it. */
  readonly zoneMs?: number;
  readonly exchange?: string;
  readonly symbol?: string;
  readonly timeframe?: Timeframe;
  /** Cells that hold a symbol; checked row by row. */
  readonly symbolColumn?: number;
  /** Cells that hold a timeframe; checked row by row. */
  readonly timeframeColumn?: number;
  /** True when candles off the grid are this layout's real data. */
  readonly hasOddCandles?: boolean;
  /** Open time from which on the file says nothing by its name: what it holds was closed when it was made. */
  readonly wholeUntil?: number;
  /** Why the file is recognised and yet cannot be taken. */
  readonly refusal?: string;
}

/** One origin of files. */
export interface Layout {
  readonly name: string;
  /** One line for the table of docs/CSV.md. */
  readonly title: string;
  recognise(sample: Sample): LayoutMatch | undefined;
}

/** A header's names without case, spaces, underscores and units: `Quote asset volume` → `quoteassetvolume`. */
export function plainNames(header: readonly string[] | undefined): string[] {
  return (header ?? []).map((name) => name.toLowerCase().replace(/[^a-z]/g, ""));
}

/** Columns in the order of their names; `undefined` skips one. */
export function columnsOf(fields: readonly (Field | undefined)[]): Columns {
  const columns: Partial<Record<Field, number>> = {};
  fields.forEach((field, index) => {
    if (field !== undefined) columns[field] = index;
  });
  return columns;
}

/** True when the file's names are these, in this order. */
export function isHeader(sample: Sample, names: readonly string[]): boolean {
  const found = plainNames(sample.header);
  return found.length === names.length && names.every((name, index) => name === found[index]);
}
