import { type BigIntStats, constants as files } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { pipeline } from "node:stream/promises";
import { constants, createGunzip } from "node:zlib";
import { messageOf } from "../core/errors.ts";

/** What unpacks a ZIP; another part of the program has it. */
export type OpenZip = (
  readAt: (offset: number, length: number) => Promise<Buffer>,
  size: number,
  signal: AbortSignal,
) => Promise<
  | { readonly isOk: true; readonly name: string; chunks(): AsyncGenerator<Buffer> }
  | { readonly isOk: false; readonly reason: string }
>;

/** A file that is open, as bytes of UTF-8 text, of JSON, or of a feather file. */
export interface FileBytes {
  readonly kind: "text" | "json" | "feather";
  /** Size on disk. */
  readonly size: number;
  /** Name of the file inside a ZIP. */
  readonly innerName: string | undefined;
  /** True when reading can begin in the middle for free. */
  readonly isSeekable: boolean;
  fingerprint(): Promise<string>;
  /**
   * Bytes from an offset of the unpacked content on. A chunk is valid until the next one is asked for.
   * @throws {FileFault}
   */
  chunks(from: number): AsyncGenerator<Buffer>;
  /** How much of the file on disk has been read, bytes. */
  readonly doneBytes: number;
  close(): Promise<void>;
}

/** Tells one content of a file from another without reading it. */
export function fingerprintOf({ size, ino, mtimeNs, ctimeNs }: BigIntStats): string {
  return `${size}:${ino}:${mtimeNs}:${ctimeNs}`;
}

/** The file cannot be read, or not to its end. What was read before it stays. */
export class FileFault extends Error {
  override readonly name = "FileFault";
}

/** Small: between two pieces the database's connection gets its turn, so that reading and storing overlap. */
const PIECE_BYTES = 2 ** 18;
const HEAD_BYTES = 4_096;
const FOREIGN: readonly (readonly [magic: string, what: string])[] = [
  ["\xfd7zXZ", "packed by xz; unpack it first"],
  ["BZh", "packed by bzip2; unpack it first"],
  ["\x28\xb5\x2f\xfd", "packed by zstd; unpack it first"],
  ["7z\xbc\xaf", "a 7z archive; unpack it first"],
  ["Rar!", "a RAR archive; unpack it first"],
  ["PAR1", "a Parquet file; write it as CSV first"],
  ["FEA1", "a feather file of version 1; write it anew with a newer pandas"],
  ["\x89HDF", "an HDF5 file; write it as CSV first"],
  ["SQLite format 3", "an SQLite database; write its table as CSV first"],
  ["\xd0\xcf\x11\xe0", "an old Excel workbook; save the sheet as CSV first"],
  ["%PDF", "a PDF"],
  ["\x89PNG", "a picture"],
];

/**
 * Opens a regular file and looks what it is, by content and not by name.
 * @param path without links in it
 * @throws {FileFault} in words for the user
 */
export async function openBytes(
  path: string,
  openZip: OpenZip,
  signal: AbortSignal,
): Promise<FileBytes> {
  // Not blocking: a FIFO that has taken the file's place must not hold the program for ever.
  const flags = files.O_RDONLY | (files.O_NONBLOCK ?? 0) | (files.O_NOFOLLOW ?? 0);
  const handle = await open(path, flags).catch((error: unknown) => {
    throw new FileFault(`it cannot be opened (${messageOf(error)})`);
  });
  try {
    return await Opened.look(handle, openZip, signal);
  } catch (error) {
    await handle.close();
    throw error;
  }
}

class Opened implements FileBytes {
  kind: FileBytes["kind"] = "text";
  innerName: string | undefined;
  readonly size: number;
  doneBytes = 0;
  readonly #handle: FileHandle;
  readonly #signal: AbortSignal;
  /** Unpacked and as UTF-8, from the beginning; absent where the bytes on disk are that already. */
  #unpack: (() => AsyncGenerator<Buffer>) | undefined;

  private constructor(handle: FileHandle, size: number, signal: AbortSignal) {
    this.#handle = handle;
    this.size = size;
    this.#signal = signal;
  }

  static async look(handle: FileHandle, openZip: OpenZip, signal: AbortSignal): Promise<Opened> {
    const stat = await handle.stat();
    if (!stat.isFile()) throw new FileFault("not a regular file");
    if (stat.size === 0) throw new FileFault("the file is empty; get it anew, or remove it");
    const opened = new Opened(handle, stat.size, signal);
    await opened.#identify(openZip);
    return opened;
  }

  get isSeekable(): boolean {
    return this.#unpack === undefined;
  }

  async fingerprint(): Promise<string> {
    return fingerprintOf(await this.#handle.stat({ bigint: true }));
  }

  async *chunks(from: number): AsyncGenerator<Buffer> {
    if (this.#unpack === undefined) {
      yield* this.#pieces(from, Buffer.allocUnsafe(PIECE_BYTES));
      return;
    }
    let left = from;
    for await (const chunk of this.#unpack()) {
      if (left >= chunk.length) left -= chunk.length;
      else {
        yield left === 0 ? chunk : chunk.subarray(left);
        left = 0;
      }
    }
  }

  close(): Promise<void> {
    return this.#handle.close();
  }

  async #identify(openZip: OpenZip): Promise<void> {
    const first = await this.#readAt(0, HEAD_BYTES);
    if (first[0] === 0x1f && first[1] === 0x8b) this.#unpack = () => gunzip(() => this.#pieces(0));
    else if (first.toString("latin1", 0, 2) === "PK") await this.#openZip(openZip);
    const head = this.#unpack === undefined ? first : await this.#firstUnpacked();
    const start = head.toString("latin1");
    const foreign = FOREIGN.find(([magic]) => start.startsWith(magic));
    if (foreign !== undefined) throw new FileFault(foreign[1]);
    if (start.startsWith("ARROW1")) this.kind = "feather";
    const encoding = start.startsWith("\xff\xfe") ? "utf-16le" : wideEncoding(start);
    if (encoding !== undefined) {
      const inner = this.#unpack ?? (() => this.#pieces(0));
      this.#unpack = () => transcode(inner(), encoding);
    }
    // What bytes a mark at the beginning has is for the rows to skip; here it only must not hide a bracket.
    if (/^(?:\xef\xbb\xbf)?\s*\[/.test(start)) this.kind = "json";
  }

  async #openZip(openZip: OpenZip): Promise<void> {
    const readAt = (offset: number, length: number): Promise<Buffer> =>
      this.#readAt(offset, length);
    const zip = await openZip(readAt, this.size, this.#signal);
    if (!zip.isOk) {
      throw new FileFault(`${zip.reason}; unpack it, or get it anew, and import what is in it`);
    }
    this.innerName = zip.name;
    this.#unpack = async function* (): AsyncGenerator<Buffer> {
      try {
        yield* zip.chunks();
      } catch (error) {
        throw new FileFault(`the ZIP is damaged: ${messageOf(error)}`);
      }
    };
  }

  async #firstUnpacked(): Promise<Buffer> {
    for await (const chunk of this.chunks(0)) return chunk.subarray(0, HEAD_BYTES);
    throw new FileFault("the file in it is empty");
  }

  async #readAt(
    offset: number,
    length: number,
    buffer: Buffer = Buffer.allocUnsafe(length),
  ): Promise<Buffer> {
    const { bytesRead } = await this.#handle.read(buffer, 0, length, offset);
    return buffer.subarray(0, bytesRead);
  }

  /** @param buffer used again for every piece; without it each has one of its own */
  async *#pieces(from: number, buffer?: Buffer): AsyncGenerator<Buffer> {
    for (let at = from; ; ) {
      this.#signal.throwIfAborted();
      const piece = await this.#readAt(at, PIECE_BYTES, buffer).catch((error: unknown) => {
        throw new FileFault(`it cannot be read on (${messageOf(error)})`);
      });
      if (piece.length === 0) return;
      at += piece.length;
      this.doneBytes = at;
      yield piece;
    }
  }
}

/** Text of 2 bytes a character without a mark has a NUL in every second place. */
function wideEncoding(start: string): "utf-16be" | "utf-16le" | undefined {
  if (start.startsWith("\xfe\xff")) return "utf-16be";
  if (/^[^\0]\0[^\0]\0[^\0]\0/.test(start)) return "utf-16le";
  return undefined;
}

/** What a cut-off file still holds comes out, too; then the fault. */
async function* gunzip(pieces: () => AsyncGenerator<Buffer>): AsyncGenerator<Buffer> {
  let size = 0;
  try {
    for await (const chunk of inflate(pieces(), constants.Z_FINISH)) {
      size += chunk.length;
      yield chunk;
    }
  } catch (error) {
    if (!isZlibError(error)) throw error;
    if (error.code === "Z_BUF_ERROR") {
      let skipped = 0;
      for await (const chunk of inflate(pieces(), constants.Z_SYNC_FLUSH)) {
        const isNew = skipped + chunk.length > size;
        if (isNew) yield chunk.subarray(Math.max(0, size - skipped));
        skipped += chunk.length;
      }
    }
    throw new FileFault(`the gzip data is damaged or cut off (${error.message})`);
  }
}

async function* inflate(
  pieces: AsyncGenerator<Buffer>,
  finishFlush: number,
): AsyncGenerator<Buffer> {
  const stream = createGunzip({ chunkSize: PIECE_BYTES, finishFlush });
  const feeding = pipeline(pieces, stream);
  // Its error comes out of the stream, too.
  feeding.catch(() => undefined);
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) yield chunk;
    await feeding;
  } finally {
    stream.destroy();
  }
}

function isZlibError(error: unknown): error is Error & { code: string } {
  return (
    error instanceof Error &&
    "code" in error &&
    typeof error.code === "string" &&
    error.code.startsWith("Z_")
  );
}

async function* transcode(
  pieces: AsyncGenerator<Buffer>,
  encoding: "utf-16be" | "utf-16le",
): AsyncGenerator<Buffer> {
  const decoder = new TextDecoder(encoding);
  for await (const piece of pieces) {
    const text = decoder.decode(piece, { stream: true });
    if (text !== "") yield Buffer.from(text, "utf8");
  }
}
