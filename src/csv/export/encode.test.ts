import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { zstdDecompressSync } from "node:zlib";
import { RecordBatchReader, type Table, tableFromIPC, type Vector } from "apache-arrow";
import fc from "fast-check";
import { parquetMetadata, parquetReadObjects, toJson } from "hyparquet";
import { type Candle, DECIMAL_FIELDS } from "../../core/candle.ts";
import { compareDecimals, isDecimal } from "../../core/decimal.ts";
import { formatOwnRow, OWN_LAYOUT_HEADER, parseOwnRow } from "../own-layout.ts";
import { type EncodeOptions, type ExportFormat, encodeCandles } from "./encode.ts";

const MINUTE_MS = 60_000;
const T0 = Date.UTC(2025, 0, 1);
const SERIES = { exchange: "binance", symbol: "BTCUSDT", timeframe: "1m" } as const;

const decimal = (integer: number, fraction: number): fc.Arbitrary<string> =>
  fc
    .tuple(
      fc.bigInt({ min: 0n, max: 10n ** BigInt(integer) - 1n }),
      fc.stringMatching(new RegExp(`^[0-9]{0,${fraction}}$`)),
    )
    .map(([whole, rest]) => (rest === "" ? `${whole}` : `${whole}.${rest}`));

const candles = (integer: number, fraction: number): fc.Arbitrary<Candle[]> =>
  fc
    .array(
      fc.record({
        tradeCount: fc.integer({ min: 0, max: 2_147_483_647 }),
        decimals: fc.array(decimal(integer, fraction), { minLength: 8, maxLength: 8 }),
      }),
      { maxLength: 20 },
    )
    .map((rows) =>
      rows.map(({ tradeCount, decimals }, index) => {
        const values = Object.fromEntries(DECIMAL_FIELDS.map((field, at) => [field, decimals[at]]));
        const openTime = T0 + index * MINUTE_MS;
        return { openTime, closeTime: openTime + MINUTE_MS - 1, tradeCount, ...values } as Candle;
      }),
    );

async function* paged(rows: readonly Candle[], size = 7): AsyncGenerator<readonly Candle[]> {
  for (let at = 0; at < rows.length; at += size) yield rows.slice(at, at + size);
}

async function encode(
  format: ExportFormat,
  rows: readonly Candle[],
  options?: EncodeOptions,
  pageSize?: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of encodeCandles(format, paged(rows, pageSize), options))
    chunks.push(chunk);
  return Uint8Array.from(Buffer.concat(chunks));
}

const digitsOf = (integer: number, fraction: number): NonNullable<EncodeOptions["digits"]> =>
  Object.fromEntries(DECIMAL_FIELDS.map((field) => [field, { integer, fraction }]));

const NAMES: Readonly<Record<string, keyof Candle>> = {
  ...{ open_time: "openTime", open: "open", high: "high", low: "low", close: "close" },
  ...{ volume: "volume", close_time: "closeTime", quote_volume: "quoteVolume" },
  ...{ trade_count: "tradeCount", taker_buy_volume: "takerBuyVolume" },
  taker_buy_quote_volume: "takerBuyQuoteVolume",
};

/** Rows of a Parquet file by a reader that knows nothing of the writer; decimals exactly, from their unscaled integers. */
async function readParquet(bytes: Uint8Array<ArrayBuffer>, only?: number): Promise<Candle[]> {
  const metadata = parquetMetadata(bytes.buffer);
  const scales = new Map<string, number>();
  for (const element of metadata.schema) {
    if (element.converted_type !== "DECIMAL") continue;
    scales.set(element.name, element.scale ?? 0);
    delete element.converted_type;
    delete element.logical_type;
  }
  const rows = await parquetReadObjects({
    file: bytes.buffer,
    metadata,
    ...(only === undefined ? {} : { rowStart: only, rowEnd: only + 1 }),
    compressors: { ZSTD: (input) => new Uint8Array(zstdDecompressSync(input)) },
  });
  return rows.map((row) =>
    candleFrom((name) => {
      const value: unknown = row[name];
      if (value instanceof Date) return value.getTime();
      const scale = scales.get(name);
      if (scale === undefined) return value;
      const unscaled =
        value instanceof Uint8Array ? BigInt(`0x${Buffer.from(value).toString("hex")}`) : value;
      return scaled(BigInt(unscaled as bigint), scale);
    }),
  );
}

function readArrow(bytes: Uint8Array, every = 1): { rows: Candle[]; table: Table } {
  const table = tableFromIPC(bytes);
  const columns = new Map(table.schema.fields.map(({ name }) => [name, table.getChild(name)]));
  const rows = Array.from({ length: Math.ceil(table.numRows / every) }, (_, index) =>
    candleFrom((name) => {
      const vector = columns.get(name) as Vector;
      const value: unknown = vector.get(index * every);
      if (!(value instanceof Uint32Array)) return value;
      const unscaled = value.reduceRight((sum, word) => (sum << 32n) | BigInt(word), 0n);
      return scaled(unscaled, vector.type.scale);
    }),
  );
  return { rows, table };
}

function candleFrom(read: (name: string) => unknown): Candle {
  const entries = Object.entries(NAMES).map(([name, field]) => [field, read(name)]);
  return Object.fromEntries(entries) as Candle;
}

function scaled(value: bigint, scale: number): string {
  const digits = value.toString().padStart(scale + 1, "0");
  return scale === 0 ? digits : `${digits.slice(0, -scale)}.${digits.slice(-scale)}`;
}

function assertSame(actual: readonly Candle[], expected: readonly Candle[]): void {
  assert.equal(actual.length, expected.length);
  for (const [index, row] of expected.entries()) {
    const other = actual[index] as Candle;
    for (const field of ["openTime", "closeTime", "tradeCount"] as const) {
      assert.equal(other[field], row[field]);
    }
    for (const field of DECIMAL_FIELDS) {
      assert.equal(compareDecimals(other[field], row[field]), 0, `${other[field]} ${row[field]}`);
    }
  }
}

describe("exported candles, read by readers of other makers", () => {
  const SHAPES = [
    [10, 8],
    [18, 0],
    [1, 17],
    [12, 8],
    [20, 18],
    [19, 0],
  ] as const;
  for (const [integer, fraction] of SHAPES) {
    test(`${integer} digits before the point and ${fraction} behind it are exact`, async () => {
      await fc.assert(
        fc.asyncProperty(candles(integer, fraction), async (rows) => {
          const options = { series: SERIES, digits: digitsOf(integer, fraction) };
          assertSame(await readParquet(await encode("parquet", rows, options)), rows);
          assertSame(readArrow(await encode("arrow", rows, options)).rows, rows);
        }),
        { numRuns: 25 },
      );
    });
  }

  test("without known digits everything of the grammar is exact", async () => {
    await fc.assert(
      fc.asyncProperty(candles(20, 18), async (rows) => {
        assertSame(await readParquet(await encode("parquet", rows)), rows);
        assertSame(readArrow(await encode("arrow-stream", rows)).rows, rows);
      }),
      { numRuns: 25 },
    );
  });

  test("the extremes", async () => {
    const most = `${"9".repeat(20)}.${"9".repeat(18)}`;
    const rows = ["0", "0.000000000000000001", "9007199254740993", most].map((text, index) => {
      const values = Object.fromEntries(DECIMAL_FIELDS.map((field) => [field, text]));
      return { openTime: T0 + index, closeTime: T0 + index, tradeCount: 1, ...values } as Candle;
    });
    assertSame(await readParquet(await encode("parquet", rows)), rows);
    assertSame(readArrow(await encode("arrow", rows)).rows, rows);
  });

  test("floats are the nearest to the text", async () => {
    await fc.assert(
      fc.asyncProperty(candles(12, 10), async (rows) => {
        const options = { areFloats: true };
        const bytes = await encode("parquet", rows, options);
        const parquet = await parquetReadObjects({
          file: bytes.buffer,
          compressors: { ZSTD: (input) => new Uint8Array(zstdDecompressSync(input)) },
        });
        const { table } = readArrow(await encode("arrow", rows, options));
        for (const [index, row] of rows.entries()) {
          assert.equal(parquet[index]?.close, Number(row.close));
          assert.equal(table.getChild("close")?.get(index), Number(row.close));
        }
        const lines = Buffer.from(await encode("ndjson", rows, options))
          .toString()
          .split("\n");
        for (const [index, row] of rows.entries()) {
          assert.equal(JSON.parse(lines[index] ?? "").close, Number(row.close));
        }
      }),
      { numRuns: 20 },
    );
  });

  test("CSV and JSON keep every digit", async () => {
    await fc.assert(
      fc.asyncProperty(candles(20, 18), async (rows) => {
        const [, ...lines] = Buffer.from(await encode("csv", rows))
          .toString()
          .split("\n");
        assert.equal(lines.pop() ?? "", "");
        assert.deepEqual(
          lines.map((line) => {
            const row = parseOwnRow(line);
            return row.isRow ? row.candle : assert.fail(row.problem);
          }),
          rows,
        );
        assert.deepEqual(JSON.parse(Buffer.from(await encode("json", rows)).toString()), rows);
        const ndjson = Buffer.from(await encode("ndjson", rows)).toString();
        assert.deepEqual(
          ndjson.split("\n").flatMap((line) => (line === "" ? [] : [JSON.parse(line)])),
          rows,
        );
      }),
      { numRuns: 25 },
    );
  });

  test("CSV has the rows of the own layout, whenever a candle opens", async () => {
    const time = fc.oneof(
      fc.integer({ min: -2e12, max: 9e12 }),
      fc.integer({ min: 0, max: 5_000 }).map((minutes) => T0 + minutes * MINUTE_MS),
    );
    await fc.assert(
      fc.asyncProperty(candles(20, 18), fc.array(time), async (rows, times) => {
        const moved = rows.map((row, at) => ({
          ...row,
          ...{ openTime: times[at] ?? row.openTime, closeTime: times[at + 1] ?? row.closeTime },
        }));
        assert.deepEqual(
          Buffer.from(await encode("csv", moved)).toString(),
          [OWN_LAYOUT_HEADER, ...moved.map(formatOwnRow), ""].join("\n"),
        );
      }),
      { numRuns: 100 },
    );
  });

  test("text of any length goes through in chunks of bounded size", async () => {
    const volume = (at: number): string =>
      at % 1_000 === 0 ? `${at}.${"7".repeat(400_000)}` : "1";
    const rows = Array.from({ length: 3_001 }, (_, at): Candle => {
      const values = Object.fromEntries(DECIMAL_FIELDS.map((field) => [field, `${at}.50`]));
      return {
        openTime: T0 + at,
        closeTime: T0,
        tradeCount: at,
        ...values,
        volume: volume(at),
      } as Candle;
    });
    const lines = Buffer.from(await encode("csv", rows, {}, 100))
      .toString()
      .split("\n");
    assert.deepEqual(lines, [OWN_LAYOUT_HEADER, ...rows.map(formatOwnRow), ""]);
  });

  test("many rows make several groups, each with the times that it holds", async () => {
    const rows = Array.from({ length: 250_001 }, (_, index): Candle => {
      const openTime = T0 + index * MINUTE_MS;
      const price = `${(100 + (index % 977) / 100).toFixed(2)}`;
      return {
        ...{ openTime, closeTime: openTime + MINUTE_MS - 1, tradeCount: index },
        ...{ open: price, high: price, low: price, close: price, volume: `${index}.5` },
        ...{ quoteVolume: "1", takerBuyVolume: "0", takerBuyQuoteVolume: "0.1" },
      };
    });
    const options = { series: SERIES, digits: digitsOf(6, 2) };
    const bytes = await encode("parquet", rows, options, 10_001);
    const metadata = parquetMetadata(bytes.buffer);
    assert.equal(metadata.row_groups.length, 3);
    assert.deepEqual(
      metadata.row_groups.map(({ columns }) =>
        toJson(columns[0]?.meta_data?.statistics?.min_value),
      ),
      [0, 100_000, 200_000].map((at) => new Date(T0 + at * MINUTE_MS).toISOString()),
    );
    const labels = metadata.key_value_metadata?.map(({ key, value }) => [key, value]);
    assert.deepEqual(Object.fromEntries(labels ?? []), SERIES);
    for (const at of [0, 99_999, 100_000, 250_000]) {
      assertSame(await readParquet(bytes, at), [rows[at] as Candle]);
    }
    const stream = await encode("arrow-stream", rows, options, 10_001);
    assert.equal([...RecordBatchReader.from(stream)].length, 3);
    const { rows: read, table } = readArrow(await encode("arrow", rows, options, 10_001), 1_000);
    assertSame(
      read,
      rows.filter((_, at) => at % 1_000 === 0),
    );
    assert.deepEqual(Object.fromEntries(table.schema.metadata), SERIES);
  });

  test("more digits than were promised end the export instead of being cut", async () => {
    const digits = digitsOf(4, 2);
    const row = (text: string): Candle => {
      const values = Object.fromEntries(DECIMAL_FIELDS.map((field) => [field, text]));
      return { openTime: T0, closeTime: T0, tradeCount: 1, ...values } as Candle;
    };
    for (const format of ["parquet", "arrow"] as const) {
      await encode(format, [row("1.2300000")], { digits });
      await assert.rejects(encode(format, [row("1.234")], { digits }), { code: "E_USAGE" });
    }
    const tooLarge = `1${"0".repeat(19)}`;
    assert.ok(isDecimal(tooLarge));
    await assert.rejects(encode("parquet", [row(tooLarge)], { digits }), { code: "E_USAGE" });
  });

  test("no candles make a file without rows", async () => {
    assert.deepEqual(await readParquet(await encode("parquet", [])), []);
    for (const format of ["arrow", "arrow-stream"] as const) {
      const { rows, table } = readArrow(await encode(format, []));
      assert.deepEqual(rows, []);
      assert.equal(table.schema.fields.length, 11);
    }
    assert.deepEqual(JSON.parse(Buffer.from(await encode("json", [])).toString()), []);
  });
});
