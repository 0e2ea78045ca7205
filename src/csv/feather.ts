import { zstdDecompressSync } from "node:zlib";
import type { Vector } from "apache-arrow";
import { FileFault } from "./bytes.ts";
import type { LineBlock, Start } from "./line-blocks.ts";
import { decodeLz4Frame } from "./lz4.ts";
import { expandedDecimal } from "./numbers.ts";

/** Feather files of version 2, which are Arrow files. They are read whole: their directory stands at the end. */

/** Largest feather file: 20 years of minutes have 400 MB. */
const MAX_FEATHER_BYTES = 2 ** 29;
const MAX_BUFFER_BYTES = 2 ** 29;
const BLOCK_ROWS = 5_000;
/** Arrow's number of the type whose values are bits. */
const BOOL = 6;

/** The table of a feather file: names of its columns and its rows as lines of comma-separated cells. */
export interface FeatherTable {
  readonly header: readonly string[];
  readonly rowCount: number;
  line(row: number): string;
}

/** @throws {FileFault} for a file that is damaged, too large, or has columns of other types */
export async function readFeather(
  chunks: AsyncIterable<Buffer>,
  size: number,
): Promise<FeatherTable> {
  if (size > MAX_FEATHER_BYTES) {
    throw new FileFault(
      `a feather file of ${size} bytes; write it as CSV, which is read in pieces`,
    );
  }
  const pieces: Buffer[] = [];
  for await (const chunk of chunks) pieces.push(Buffer.from(chunk));
  const arrow = await import("apache-arrow");
  const { compressionRegistry, CompressionType } = arrow;
  const lz4 = (data: Uint8Array): Uint8Array => decodeLz4Frame(data, MAX_BUFFER_BYTES);
  const zstd = (data: Uint8Array): Uint8Array =>
    zstdDecompressSync(data, { maxOutputLength: MAX_BUFFER_BYTES });
  compressionRegistry.set(CompressionType.LZ4_FRAME, { decode: lz4 });
  compressionRegistry.set(CompressionType.ZSTD, { decode: zstd });
  try {
    const bytes = Buffer.concat(pieces);
    checkDirectory(bytes);
    // Batch by batch: Arrow's own loop never ends where the directory points to something else.
    const reader = arrow.RecordBatchReader.from(bytes).open();
    if (!reader.isFile()) throw new FileFault("the feather file is damaged");
    const batches = Array.from({ length: reader.numRecordBatches }, (_, index) =>
      reader.readRecordBatch(index),
    ).filter((batch) => batch !== null);
    if (batches.length < reader.numRecordBatches) {
      throw new FileFault("the feather file is damaged: a part of it is not where it should be");
    }
    const table = new arrow.Table(reader.schema, batches);
    const header = table.schema.fields.map(({ name }) => name);
    const columns = header.map((name) => {
      const column = table.getChild(name);
      if (column === null || !holdsRows(column, table.numRows)) {
        throw new FileFault(`the feather file is damaged: column ${name} has too few values`);
      }
      const isTime = arrow.DataType.isTimestamp(column.type);
      return (row: number): string => cellAt(column, row, isTime);
    });
    return {
      header,
      rowCount: table.numRows,
      line: (row) => columns.map((cell) => cell(row)).join(","),
    };
  } catch (error) {
    if (error instanceof FileFault) throw error;
    // What Arrow or Node say of it helps nobody who has the file.
    throw new FileFault("the feather file is damaged or of another kind; write it anew, or as CSV");
  }
}

const MAGIC = "ARROW1";
/** Of a block's entry in the directory. */
const ENTRY_BYTES = 24;
/** Vectors of blocks in the table of the directory: dictionaries and batches of rows. */
const BLOCK_VECTORS = [2, 3];

/**
 * The directory at the end must have room for the blocks that it counts: they are looked for one by one, and a damaged
 * number would have them looked for nearly for ever.
 * @throws {FileFault} or RangeError for a place outside of the file
 */
function checkDirectory(bytes: Buffer): void {
  const end = bytes.length - MAGIC.length - 4;
  if (bytes.toString("latin1", end + 4) !== MAGIC)
    throw new FileFault("the feather file is cut off");
  const length = bytes.readInt32LE(end);
  const start = end - length;
  const table = start + bytes.readUInt32LE(start);
  const fields = table - bytes.readInt32LE(table);
  for (const field of BLOCK_VECTORS) {
    const slot = 4 + 2 * field;
    const at = slot < bytes.readUInt16LE(fields) ? bytes.readUInt16LE(fields + slot) : 0;
    if (at === 0) continue;
    const vector = table + at + bytes.readUInt32LE(table + at);
    if (bytes.readUInt32LE(vector) * ENTRY_BYTES > length) {
      throw new FileFault("the feather file is damaged: it counts more blocks than it has");
    }
  }
}

/** True when a column has the values that the file says it has: the number of rows alone costs a damaged file nothing. */
function holdsRows({ data, length }: Vector, rowCount: number): boolean {
  const isWhole = data.every(({ type, values, valueOffsets, length }) => {
    const offsets: ArrayLike<unknown> | undefined = valueOffsets;
    const held: ArrayLike<unknown> | undefined = values;
    const perValue = type.typeId === BOOL ? 8 : 1;
    return length <= (offsets === undefined ? (held?.length ?? 0) * perValue : offsets.length - 1);
  });
  return isWhole && length === rowCount;
}

/** What a value cannot be read of is a cell that no reader takes. */
function cellAt(column: Vector, row: number, isTime: boolean): string {
  try {
    return cellText(column.get(row), isTime);
  } catch {
    return "unreadable";
  }
}

/** A double becomes the shortest decimal that names it, which is what the exchange had sent. */
function cellText(value: unknown, isTime: boolean): string {
  if (value === null || value === undefined) return "";
  if (typeof value === "number" && isTime) return String(Math.round(value));
  if (typeof value === "number") return expandedDecimal(String(value)) ?? String(value);
  return String(value);
}

/** Its rows like lines of a text; the offset counts rows. */
export async function* featherBlocks(table: FeatherTable, start: Start): AsyncGenerator<LineBlock> {
  for (let row = start.offset; row < table.rowCount; row += BLOCK_ROWS) {
    const end = Math.min(table.rowCount, row + BLOCK_ROWS);
    const lines = Array.from({ length: end - row }, (_, index) => table.line(row + index));
    yield { lines, faults: new Map(), firstLine: row + 1, endOffset: end, isEnded: true };
  }
}
