/**
 * LZ4 frames, as Arrow files hold them: https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md. Only decoding; sizes
 * are held against a limit before memory is taken, checksums of blocks and content are skipped.
 */

const MAGIC = 0x184d2204;
const UNCOMPRESSED = 0x80000000;
const MIN_MATCH = 4;
const LONG = 15;

/**
 * Unpacks one frame.
 * @param maxSize most bytes that it may unpack to
 * @throws {Error} for what is no frame, is cut off, or is larger
 */
export function decodeLz4Frame(frame: Uint8Array, maxSize: number): Uint8Array {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  if (frame.length < 7 || view.getUint32(0, true) !== MAGIC) throw new Error("no LZ4 frame");
  const flags = frame[4] ?? 0;
  if (flags >> 6 !== 1) throw new Error("an LZ4 frame of an unknown version");
  if ((flags & 1) !== 0) throw new Error("an LZ4 frame with a dictionary");
  const hasBlockChecksum = (flags & 0x10) !== 0;
  const hasSize = (flags & 0x08) !== 0;
  let at = 6;
  let expected = maxSize;
  if (hasSize) {
    if (frame.length < at + 8) throw new Error("an LZ4 frame that is cut off");
    const told = view.getBigUint64(at, true);
    if (told > BigInt(maxSize)) throw new Error(`an LZ4 frame of ${told} bytes`);
    expected = Number(told);
    at += 8;
  }
  // The header's own checksum.
  at += 1;
  const output = new Output(Math.min(expected, Math.max(frame.length * 4, 64)), maxSize);
  for (;;) {
    if (at + 4 > frame.length) throw new Error("an LZ4 frame that is cut off");
    const word = view.getUint32(at, true);
    at += 4;
    if (word === 0) break;
    const size = word & ~UNCOMPRESSED;
    if (size > frame.length - at) throw new Error("an LZ4 frame that is cut off");
    const block = frame.subarray(at, at + size);
    if (word >= UNCOMPRESSED) output.append(block);
    else decodeBlock(block, output);
    at += size + (hasBlockChecksum ? 4 : 0);
  }
  const unpacked = output.bytes();
  if (hasSize && unpacked.length !== expected) throw new Error("an LZ4 frame of another size");
  return unpacked;
}

function decodeBlock(block: Uint8Array, output: Output): void {
  let at = 0;
  const length = (nibble: number): number => {
    if (nibble < LONG) return nibble;
    let sum = nibble;
    for (;;) {
      const byte = block[at];
      if (byte === undefined) throw new Error("an LZ4 block that is cut off");
      at += 1;
      sum += byte;
      if (byte !== 255) return sum;
    }
  };
  while (at < block.length) {
    const token = block[at] ?? 0;
    at += 1;
    const literals = length(token >> 4);
    if (literals > block.length - at) throw new Error("an LZ4 block that is cut off");
    output.append(block.subarray(at, at + literals));
    at += literals;
    if (at === block.length) return;
    const distance = (block[at] ?? 0) | ((block[at + 1] ?? 0) << 8);
    at += 2;
    if (at > block.length) throw new Error("an LZ4 block that is cut off");
    output.repeat(distance, length(token & 15) + MIN_MATCH);
  }
}

/** Bytes that grow up to a limit. */
class Output {
  readonly #maxSize: number;
  #bytes: Uint8Array;
  #length = 0;

  constructor(size: number, maxSize: number) {
    this.#bytes = new Uint8Array(size);
    this.#maxSize = maxSize;
  }

  append(bytes: Uint8Array): void {
    this.#room(bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  /** Bytes of `distance` back once more, which may reach into themselves. */
  repeat(distance: number, count: number): void {
    if (distance === 0 || distance > this.#length)
      throw new Error("an LZ4 block that points nowhere");
    this.#room(count);
    const from = this.#length - distance;
    if (distance >= count) this.#bytes.copyWithin(this.#length, from, from + count);
    else {
      for (let index = 0; index < count; index += 1) {
        this.#bytes[this.#length + index] = this.#bytes[from + index] ?? 0;
      }
    }
    this.#length += count;
  }

  bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  #room(count: number): void {
    const needed = this.#length + count;
    if (needed > this.#maxSize) throw new Error(`LZ4 data of more than ${this.#maxSize} bytes`);
    if (needed <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.min(this.#maxSize, Math.max(needed, this.#bytes.length * 2)));
    grown.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = grown;
  }
}
