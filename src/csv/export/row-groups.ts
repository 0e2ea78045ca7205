import type { CandleBlock } from "../../core/candle-block.ts";
import type { DecimalDigits } from "../../core/ports.ts";
import { ColumnBuffer } from "./column-buffer.ts";
import {
  type DecimalField,
  EXPORT_COLUMNS,
  type ExportColumn,
  type Layout,
  layoutOf,
} from "./fields.ts";

/** How columns are laid out. */
export interface ColumnsPlan {
  readonly areFloats: boolean;
  readonly digits: Partial<Record<DecimalField, DecimalDigits>>;
  /** Least bytes of a decimal. */
  readonly narrowest: 8 | 16;
  readonly isBigEndian: boolean;
}

/** A column of a row group. */
export interface ColumnBytes {
  readonly column: ExportColumn;
  readonly layout: Layout;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** Rows that are written together. */
export interface RowGroupBytes {
  readonly rowCount: number;
  readonly columns: readonly ColumnBytes[];
  readonly firstTime: number;
  readonly lastTime: number;
}

/** Rows of a group: large enough for readers to be fast, 15 MB at most. */
const GROUP_ROWS = 100_000;

/** The layout of every column, in order. */
export function planColumns(plan: ColumnsPlan): { column: ExportColumn; layout: Layout }[] {
  return EXPORT_COLUMNS.map((column) => ({
    column,
    layout: layoutOf(column, plan.areFloats, plan.digits, plan.narrowest),
  }));
}

/** Blocks of candles as groups of columns; holds one group. */
export async function* rowGroups(
  blocks: AsyncIterable<CandleBlock>,
  plan: ColumnsPlan,
): AsyncGenerator<RowGroupBytes> {
  const buffers = planColumns(plan).map(
    ({ column, layout }) => new ColumnBuffer(column, layout, plan.isBigEndian),
  );
  let capacity = 0;
  let rowCount = 0;
  let firstTime = 0;
  let lastTime = 0;
  const take = (): RowGroupBytes => ({
    ...{ rowCount, firstTime, lastTime },
    columns: buffers.map((buffer) => ({
      column: buffer.column,
      layout: buffer.layout,
      bytes: buffer.take(rowCount),
    })),
  });
  for await (const block of blocks) {
    for (let from = 0; from < block.rowCount; ) {
      const to = Math.min(block.rowCount, from + GROUP_ROWS - rowCount);
      const needed = rowCount + to - from;
      if (needed > capacity) {
        capacity = Math.min(GROUP_ROWS, Math.max(needed, capacity * 2));
        for (const buffer of buffers) buffer.reserve(capacity);
      }
      for (const buffer of buffers) buffer.put(rowCount, block, from, to);
      if (rowCount === 0) firstTime = block.openTime[from] as number;
      lastTime = block.openTime[to - 1] as number;
      rowCount = needed;
      from = to;
      if (rowCount < GROUP_ROWS) continue;
      yield take();
      rowCount = 0;
    }
  }
  if (rowCount > 0) yield take();
}
