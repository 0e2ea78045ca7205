/** Types of fields in Thrift's compact protocol. */
const I32 = 5;
const STRUCT = 12;
/** Numbers of parquet.thrift. */
const DATA_PAGE = 0;
const PLAIN = 0;
const RLE = 3;

/**
 * Header of a data page (version 1) without nulls, plain, as Thrift's compact protocol: what stands before the compressed
 * values of a column.
 */
export function pageHeader(valueCount: number, rawSize: number, packedSize: number): Uint8Array {
  const bytes: number[] = [];
  const i32 = (step: number, value: number): void => {
    bytes.push((step << 4) | I32);
    pushVarint(bytes, zigzag(value));
  };
  i32(1, DATA_PAGE);
  i32(1, rawSize);
  i32(1, packedSize);
  // Field 5, after field 3.
  bytes.push((2 << 4) | STRUCT);
  i32(1, valueCount);
  i32(1, PLAIN);
  i32(1, RLE);
  i32(1, RLE);
  bytes.push(0, 0);
  return Uint8Array.from(bytes);
}

function zigzag(value: number): number {
  return value * 2;
}

function pushVarint(bytes: number[], value: number): void {
  let rest = value;
  while (rest > 0x7f) {
    bytes.push((rest & 0x7f) | 0x80);
    rest = Math.floor(rest / 128);
  }
  bytes.push(rest);
}
