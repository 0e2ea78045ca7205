import { pipeline } from "node:stream/promises";
import { crc32, createInflateRaw } from "node:zlib";
import type { Decoded } from "./codec.ts";

/**
 * ZIP as archives use it: one file in it, stored or deflated. Sizes come from the directory at the end, are held against
 * limits before a byte is unpacked, and against what is really unpacked.
 */

/** The one file inside a ZIP. */
export interface ZipEntry {
  /** As it stands there: for showing and comparing, never for a path. */
  readonly name: string;
  readonly method: "stored" | "deflate";
  /** Where its bytes begin in the ZIP. */
  readonly offset: number;
  readonly packedSize: number;
  readonly size: number;
  readonly crc: number;
}

/** Bytes at a place: fewer than `length` only where the file ends. */
export type ReadAt = (offset: number, length: number) => Promise<Buffer>;

const LOCAL = 0x04034b50;
const DIRECTORY = 0x02014b50;
const END = 0x06054b50;
const LOCAL_BYTES = 30;
const DIRECTORY_BYTES = 46;
const END_BYTES = 22;
const MAX_COMMENT_BYTES = 0xffff;
const ENCRYPTED = 1;
/** A CSV in which only the times change packs 22 : 1; a bomb 1,000 : 1. */
const MAX_RATIO = 100;
/** Small files may pack better than that without harm. */
const HARMLESS_BYTES = 2 ** 20;
const PIECE_BYTES = 2 ** 16;

/**
 * Finds the one file in a ZIP.
 * @param maxSize most bytes that it may have unpacked
 */
export async function readZipEntry(
  readAt: ReadAt,
  zipSize: number,
  maxSize: number,
): Promise<Decoded<ZipEntry>> {
  const tailSize = Math.min(zipSize, END_BYTES + MAX_COMMENT_BYTES);
  const tail = await readAt(zipSize - tailSize, tailSize);
  const endAt = findEnd(tail);
  if (endAt === undefined) return refused("no ZIP, or one that is cut off");
  const count = tail.readUInt16LE(endAt + 10);
  const directorySize = tail.readUInt32LE(endAt + 12);
  const directoryOffset = tail.readUInt32LE(endAt + 16);
  if (count !== 1) return refused(`${count} files in the ZIP`);
  if (directoryOffset + directorySize > zipSize - tailSize + endAt) {
    return refused("the ZIP's directory lies outside of it");
  }

  const directory = await readAt(directoryOffset, Math.min(directorySize, DIRECTORY_BYTES * 16));
  if (directory.length < DIRECTORY_BYTES || directory.readUInt32LE(0) !== DIRECTORY) {
    return refused("the ZIP's directory is broken");
  }
  const flags = directory.readUInt16LE(8);
  const method = directory.readUInt16LE(10);
  const packedSize = directory.readUInt32LE(20);
  const size = directory.readUInt32LE(24);
  const nameSize = directory.readUInt16LE(28);
  const entrySize =
    DIRECTORY_BYTES + nameSize + directory.readUInt16LE(30) + directory.readUInt16LE(32);
  // The count may say one where the directory has more.
  if (entrySize !== directorySize) return refused("the ZIP's directory has another size");
  if ((flags & ENCRYPTED) !== 0) return refused("the file in the ZIP is encrypted");
  if (method !== 0 && method !== 8) return refused(`packed by an unknown method (${method})`);
  if (size > maxSize) return refused(`unpacks to ${size} bytes, more than ${maxSize}`);
  if (size > HARMLESS_BYTES && size > packedSize * MAX_RATIO) {
    return refused(`unpacks to ${Math.floor(size / Math.max(1, packedSize))} times its size`);
  }
  if (method === 0 && size !== packedSize) return refused("a stored file of two sizes");

  const localOffset = directory.readUInt32LE(42);
  const local = await readAt(localOffset, LOCAL_BYTES);
  if (local.length < LOCAL_BYTES || local.readUInt32LE(0) !== LOCAL) {
    return refused("the file in the ZIP is not where its directory says");
  }
  const offset = localOffset + LOCAL_BYTES + local.readUInt16LE(26) + local.readUInt16LE(28);
  if (offset + packedSize > directoryOffset) return refused("the file in the ZIP is cut off");
  return {
    isOk: true,
    value: {
      name: directory.toString("utf8", DIRECTORY_BYTES, DIRECTORY_BYTES + nameSize),
      method: method === 0 ? "stored" : "deflate",
      offset,
      packedSize,
      size,
      crc: directory.readUInt32LE(16),
    },
  };
}

/** The last record that ends exactly where the file does; its signature may also stand in a comment. */
function findEnd(tail: Buffer): number | undefined {
  for (let at = tail.length - END_BYTES; at >= 0; at -= 1) {
    if (tail.readUInt32LE(at) !== END) continue;
    if (at + END_BYTES + tail.readUInt16LE(at + 20) === tail.length) return at;
  }
  return undefined;
}

/** What was unpacked is not what the ZIP's directory promised. */
export class ZipFault extends Error {
  override readonly name = "ZipFault";
}

/**
 * Unpacks the file, piece by piece.
 * @throws {ZipFault} as soon as it is longer than promised, or at its end when length or CRC-32 differ
 */
export async function* unzip(
  readAt: ReadAt,
  entry: ZipEntry,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  const packed = readPieces(readAt, entry, signal);
  let size = 0;
  let crc = 0;
  for await (const piece of entry.method === "stored" ? packed : inflate(packed, signal)) {
    size += piece.length;
    if (size > entry.size) throw new ZipFault(`it unpacks to more than ${entry.size} bytes`);
    crc = crc32(piece, crc);
    yield piece;
  }
  if (size !== entry.size) throw new ZipFault(`it unpacks to ${size} bytes, not ${entry.size}`);
  if (crc !== entry.crc) throw new ZipFault("what it unpacks to has another CRC-32");
}

async function* readPieces(
  readAt: ReadAt,
  { offset, packedSize }: ZipEntry,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  for (let at = 0; at < packedSize; ) {
    signal.throwIfAborted();
    const piece = await readAt(offset + at, Math.min(PIECE_BYTES, packedSize - at));
    if (piece.length === 0) throw new ZipFault("it is cut off");
    at += piece.length;
    yield piece;
  }
}

async function* inflate(
  packed: AsyncGenerator<Buffer>,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  const stream = createInflateRaw({ chunkSize: PIECE_BYTES });
  const feeding = pipeline(packed, stream, { signal });
  // Its error comes out of the stream too.
  feeding.catch(() => undefined);
  try {
    for await (const piece of stream as AsyncIterable<Buffer>) yield piece;
    await feeding;
  } catch (error) {
    signal.throwIfAborted();
    if (isZlibError(error)) throw new ZipFault("it cannot be unpacked", { cause: error });
    throw error;
  } finally {
    stream.destroy();
  }
}

function isZlibError(error: unknown): boolean {
  return (
    error instanceof Error &&
    "code" in error &&
    typeof error.code === "string" &&
    error.code.startsWith("Z_")
  );
}

function refused(reason: string): { readonly isOk: false; readonly reason: string } {
  return { isOk: false, reason };
}
