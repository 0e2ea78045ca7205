import { type Candle, DECIMAL_FIELDS } from "../../core/candle.ts";
import { formatOwnRow, OWN_LAYOUT_HEADER } from "../own-layout.ts";

/** Bytes of text, one chunk a page. */
async function* chunks(
  pages: AsyncIterable<readonly Candle[]>,
  write: (page: readonly Candle[]) => string,
): AsyncGenerator<Uint8Array> {
  for await (const page of pages) {
    if (page.length > 0) yield Buffer.from(write(page));
  }
}

/** The own CSV layout: what `import-csv` and the mirror know, with a header and LF. */
export async function* encodeCsv(
  pages: AsyncIterable<readonly Candle[]>,
): AsyncGenerator<Uint8Array> {
  yield Buffer.from(`${OWN_LAYOUT_HEADER}\n`);
  yield* chunks(pages, (page) => page.map((candle) => `${formatOwnRow(candle)}\n`).join(""));
}

/** One object a line. Decimals are strings, so that no reader rounds them; with `areFloats` bare numbers. */
export function encodeNdjson(
  pages: AsyncIterable<readonly Candle[]>,
  areFloats: boolean,
): AsyncGenerator<Uint8Array> {
  return chunks(pages, (page) => page.map((candle) => `${objectOf(candle, areFloats)}\n`).join(""));
}

/** The same objects as one array. */
export async function* encodeJson(
  pages: AsyncIterable<readonly Candle[]>,
  areFloats: boolean,
): AsyncGenerator<Uint8Array> {
  yield Buffer.from("[");
  let separator = "\n";
  yield* chunks(pages, (page) => {
    const text = separator + page.map((candle) => objectOf(candle, areFloats)).join(",\n");
    separator = ",\n";
    return text;
  });
  yield Buffer.from("\n]\n");
}

/** Decimals are plain digits, so that they need no escaping and are numbers of JSON as they are. */
function objectOf(candle: Candle, areFloats: boolean): string {
  const quote = areFloats ? "" : '"';
  let text = `{"openTime":${candle.openTime},"closeTime":${candle.closeTime},"tradeCount":${candle.tradeCount}`;
  for (const field of DECIMAL_FIELDS) text += `,"${field}":${quote}${candle[field]}${quote}`;
  return `${text}}`;
}
