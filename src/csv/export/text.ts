import { DECIMAL_FIELDS } from "../../core/candle.ts";
import type { CandleBlock } from "../../core/candle-block.ts";
import { OWN_LAYOUT_HEADER } from "../own-layout.ts";
import { TextWriter } from "./text-writer.ts";

const COMMA = 44;
const NEWLINE = 10;
/** Names, times and counts of a row, in whichever format; the decimals come on top. */
const ROW_BYTES = 512;

type WriteRow = (writer: TextWriter, block: CandleBlock, row: number) => void;

/** Bytes of text, in chunks. */
async function* chunks(
  blocks: AsyncIterable<CandleBlock>,
  write: WriteRow,
): AsyncGenerator<Uint8Array> {
  const writer = new TextWriter();
  for await (const block of blocks) {
    const rowBytes = DECIMAL_FIELDS.reduce(
      (sum, field) => sum + block.decimals[field].maxBytes,
      ROW_BYTES,
    );
    for (let row = 0; row < block.rowCount; row += 1) {
      const chunk = writer.room(rowBytes);
      if (chunk !== undefined) yield chunk;
      write(writer, block, row);
    }
  }
  const rest = writer.take();
  if (rest.length > 0) yield rest;
}

/** The own CSV layout: what `import-csv` and the mirror know, with a header and LF. */
export async function* encodeCsv(blocks: AsyncIterable<CandleBlock>): AsyncGenerator<Uint8Array> {
  yield Buffer.from(`${OWN_LAYOUT_HEADER}\n`);
  yield* chunks(blocks, writeOwnRow);
}

/** What `formatOwnRow` gives for the candle. */
function writeOwnRow(writer: TextWriter, block: CandleBlock, row: number): void {
  const { decimals } = block;
  const openTime = block.openTime[row] as number;
  writer.whole(openTime);
  writer.byte(COMMA);
  writer.datetime(openTime);
  writer.byte(COMMA);
  writer.decimal(decimals.open, row);
  writer.byte(COMMA);
  writer.decimal(decimals.high, row);
  writer.byte(COMMA);
  writer.decimal(decimals.low, row);
  writer.byte(COMMA);
  writer.decimal(decimals.close, row);
  writer.byte(COMMA);
  writer.decimal(decimals.volume, row);
  writer.byte(COMMA);
  writer.whole(block.closeTime[row] as number);
  writer.byte(COMMA);
  writer.decimal(decimals.quoteVolume, row);
  writer.byte(COMMA);
  writer.whole(block.tradeCount[row] as number);
  writer.byte(COMMA);
  writer.decimal(decimals.takerBuyVolume, row);
  writer.byte(COMMA);
  writer.decimal(decimals.takerBuyQuoteVolume, row);
  writer.byte(NEWLINE);
}

/** One object a line. Decimals are strings, so that no reader rounds them; with `areFloats` bare numbers. */
export function encodeNdjson(
  blocks: AsyncIterable<CandleBlock>,
  areFloats: boolean,
): AsyncGenerator<Uint8Array> {
  const writeObject = objectWriter(areFloats);
  return chunks(blocks, (writer, block, row) => {
    writeObject(writer, block, row);
    writer.byte(NEWLINE);
  });
}

/** The same objects as one array. */
export async function* encodeJson(
  blocks: AsyncIterable<CandleBlock>,
  areFloats: boolean,
): AsyncGenerator<Uint8Array> {
  yield Buffer.from("[");
  const writeObject = objectWriter(areFloats);
  let separator = "\n";
  yield* chunks(blocks, (writer, block, row) => {
    writer.text(separator);
    writeObject(writer, block, row);
    separator = ",\n";
  });
  yield Buffer.from("\n]\n");
}

/** Decimals are plain digits, so that they need no escaping and are numbers of JSON as they are. */
function objectWriter(areFloats: boolean): WriteRow {
  const quote = areFloats ? "" : '"';
  const names = DECIMAL_FIELDS.map((field, index) => {
    const before = index === 0 ? "," : `${quote},`;
    return [field, `${before}"${field}":${quote}`] as const;
  });
  const end = `${quote}}`;
  return (writer, { openTime, closeTime, tradeCount, decimals }, row) => {
    writer.text('{"openTime":');
    writer.whole(openTime[row] as number);
    writer.text(',"closeTime":');
    writer.whole(closeTime[row] as number);
    writer.text(',"tradeCount":');
    writer.whole(tradeCount[row] as number);
    for (const [field, name] of names) {
      writer.text(name);
      writer.decimal(decimals[field], row);
    }
    writer.text(end);
  };
}
