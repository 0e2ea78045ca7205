import {
  type Data,
  type DataType,
  Decimal,
  Field,
  Float64,
  Int32,
  makeData,
  RecordBatch,
  RecordBatchFileWriter,
  RecordBatchStreamWriter,
  type RecordBatchWriter,
  Schema,
  Struct,
  TimestampMillisecond,
} from "apache-arrow";
import type { CandleBlock } from "../../core/candle-block.ts";
import type { Layout } from "./fields.ts";
import {
  type ColumnBytes,
  type ColumnsPlan,
  planColumns,
  type RowGroupBytes,
  rowGroups,
} from "./row-groups.ts";

/**
 * Arrow IPC: the file format (Feather 2), or the stream format for readers that read as it comes. A record batch for every
 * 100,000 candles, no nulls. Times are `timestamp[ms, UTC]`, decimals are `decimal128`.
 */
export async function* encodeArrow(
  blocks: AsyncIterable<CandleBlock>,
  options: Pick<ColumnsPlan, "areFloats" | "digits">,
  labels: Readonly<Record<string, string>>,
  isStream: boolean,
): AsyncGenerator<Uint8Array> {
  const plan: ColumnsPlan = { ...options, narrowest: 16, isBigEndian: false };
  const schema = schemaOf(plan, labels);
  const writer: RecordBatchWriter = isStream
    ? new RecordBatchStreamWriter()
    : new RecordBatchFileWriter();
  const out = writer[Symbol.asyncIterator]();
  writer.reset(undefined, schema);
  let next = out.next();
  for await (const group of rowGroups(blocks, plan)) {
    writer.write(batchOf(schema, group));
    for (;;) {
      const chunk = await Promise.race([next, laterThanReady()]);
      if (chunk === "nothing" || chunk.done === true) break;
      yield chunk.value;
      next = out.next();
    }
  }
  writer.finish();
  for (let chunk = await next; chunk.done !== true; chunk = await out.next()) yield chunk.value;
}

/** Resolves after everything that is ready now. */
function laterThanReady(): Promise<"nothing"> {
  return new Promise((resolve) => {
    setImmediate(resolve, "nothing");
  });
}

function schemaOf(plan: ColumnsPlan, labels: Readonly<Record<string, string>>): Schema {
  const fields = planColumns(plan).map(
    ({ column, layout }) => new Field(column.name, typeOf(layout), false),
  );
  return new Schema(fields, new Map(Object.entries(labels)));
}

function typeOf(layout: Layout): DataType {
  switch (layout.kind) {
    case "int64":
      return new TimestampMillisecond("UTC");
    case "int32":
      return new Int32();
    case "float64":
      return new Float64();
    case "decimal":
      return new Decimal(layout.scale, layout.precision, layout.byteCount * 8);
  }
}

function batchOf(schema: Schema, { rowCount, columns }: RowGroupBytes): RecordBatch {
  const children = columns.map((column) => dataOf(column, rowCount));
  return new RecordBatch(
    schema,
    makeData({ type: new Struct(schema.fields), length: rowCount, nullCount: 0, children }),
  );
}

function dataOf({ layout, bytes: { buffer } }: ColumnBytes, length: number): Data {
  const shape = { length, nullCount: 0 };
  switch (layout.kind) {
    case "int64":
      return makeData({
        ...shape,
        type: new TimestampMillisecond("UTC"),
        data: new BigInt64Array(buffer),
      });
    case "int32":
      return makeData({ ...shape, type: new Int32(), data: new Int32Array(buffer) });
    case "float64":
      return makeData({ ...shape, type: new Float64(), data: new Float64Array(buffer) });
    case "decimal":
      return makeData({
        ...shape,
        type: new Decimal(layout.scale, layout.precision, layout.byteCount * 8),
        data: new Uint32Array(buffer),
      });
  }
}
