import { isAscii } from "node:buffer";

/** Rows of a file as text, some hundreds or thousands at a time. To be read before the next block is asked for. */
export interface LineBlock {
  /** Without line ends; `undefined` where a line is no text that can be read. */
  readonly lines: readonly (string | undefined)[];
  /** Why, by index. */
  readonly faults: ReadonlyMap<number, string>;
  /** The same lines as bytes; only where all of them are ASCII without NUL. */
  readonly ascii?: AsciiLines;
  /** Number of the first of them in the file, from 1. */
  readonly firstLine: number;
  /** Offset of the byte behind the last of them. */
  readonly endOffset: number;
  /** False when the file ended without a line end after its last line. */
  readonly isEnded: boolean;
}

/** Lines as bytes, with LF or CR LF between them. */
export interface AsciiLines {
  readonly bytes: Buffer;
  readonly count: number;
  /** Where each line ends: offset of its LF, or of what follows the last byte. There may be more numbers than lines. */
  readonly ends: Uint32Array;
}

/** Longest line that is read: a row of a candle file has 200 characters. */
export const MAX_LINE_BYTES = 65_536;
const LF = 10;
const CR = 13;

/** Where reading begins. */
export interface Start {
  readonly offset: number;
  readonly line: number;
}

/**
 * Cuts bytes of UTF-8 into lines that end with LF, CR LF or, in a file that has no LF, CR. Memory is bounded whatever the
 * length of a line. A mark at the beginning is no part of the first line.
 */
export async function* lineBlocks(
  chunks: AsyncIterable<Buffer>,
  start: Start,
): AsyncGenerator<LineBlock> {
  const cutter = new LineCutter(start);
  for await (const chunk of chunks) {
    const block = cutter.add(chunk);
    if (block !== undefined) yield block;
  }
  const rest = cutter.end();
  if (rest !== undefined) yield rest;
}

class LineCutter {
  #offset: number;
  #line: number;
  #rest: Buffer = Buffer.alloc(0);
  /** Holds the rest and the next chunk, again and again. */
  #joined: Buffer = Buffer.alloc(0);
  #ends = new Uint32Array(4_096);
  /** True in the middle of a line that is too long: all up to its end is dropped. */
  #isDropping = false;
  #breakByte: number | undefined;

  constructor({ offset, line }: Start) {
    this.#offset = offset;
    this.#line = line;
  }

  add(chunk: Buffer): LineBlock | undefined {
    let bytes = this.#join(chunk);
    if (this.#offset === 0) {
      if (bytes.length < 3) {
        this.#rest = Buffer.from(bytes);
        return undefined;
      }
      if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) {
        bytes = bytes.subarray(3);
        this.#offset = 3;
      }
    }
    this.#breakByte ??= breakOf(bytes);
    const end = this.#breakByte === undefined ? -1 : bytes.lastIndexOf(this.#breakByte);
    if (end < 0) {
      this.#keep(bytes);
      return undefined;
    }
    this.#rest = Buffer.from(bytes.subarray(end + 1));
    return this.#block(bytes.subarray(0, end), end + 1, true);
  }

  end(): LineBlock | undefined {
    const bytes = this.#rest;
    if (bytes.length === 0 && !this.#isDropping) return undefined;
    this.#rest = Buffer.alloc(0);
    // A file of three bytes or less comes here with its line ends.
    const last = bytes.at(-1);
    const isEnded = last === LF || (last === CR && this.#breakByte === undefined);
    if (last === LF) this.#breakByte ??= LF;
    return this.#block(isEnded ? bytes.subarray(0, -1) : bytes, bytes.length, isEnded);
  }

  #join(chunk: Buffer): Buffer {
    const rest = this.#rest;
    if (rest.length === 0) return chunk;
    const size = rest.length + chunk.length;
    if (this.#joined.length < size) this.#joined = Buffer.allocUnsafe(2 * size);
    rest.copy(this.#joined);
    chunk.copy(this.#joined, rest.length);
    return this.#joined.subarray(0, size);
  }

  /** Of a line without end in sight, only that it is too long is kept. */
  #keep(bytes: Buffer): void {
    if (!this.#isDropping && bytes.length <= MAX_LINE_BYTES) {
      this.#rest = Buffer.from(bytes);
      return;
    }
    this.#isDropping = true;
    this.#offset += bytes.length;
    this.#rest = Buffer.alloc(0);
  }

  #block(body: Buffer, length: number, isEnded: boolean): LineBlock {
    const isLf = this.#breakByte !== CR;
    const isPlain = isLf && !this.#isDropping && isAscii(body) && !body.includes(0);
    const firstLine = this.#line;
    const cut = isPlain ? undefined : cutLines(body, isLf ? "\n" : "\r", this.#isDropping);
    const lineCount = cut === undefined ? this.#markLines(body) : cut.lines.length;
    this.#isDropping = false;
    this.#line += lineCount;
    this.#offset += length;
    const place = { firstLine, endOffset: this.#offset, isEnded };
    if (cut !== undefined) return { ...cut, ...place };
    return new AsciiBlock({ bytes: body, count: lineCount, ends: this.#ends }, place);
  }

  #markLines(body: Buffer): number {
    let count = 0;
    for (let at = 0; at <= body.length; at += 1) {
      if (at < body.length && body[at] !== LF) continue;
      if (count === this.#ends.length) {
        const ends = new Uint32Array(2 * count);
        ends.set(this.#ends);
        this.#ends = ends;
      }
      this.#ends[count] = at;
      count += 1;
    }
    return count;
  }
}

type Cut = Pick<LineBlock, "lines" | "faults">;
type Place = Pick<LineBlock, "firstLine" | "endOffset" | "isEnded">;

/** Lines that become text only when somebody asks for it. */
class AsciiBlock implements LineBlock {
  readonly ascii: AsciiLines;
  readonly firstLine: number;
  readonly endOffset: number;
  readonly isEnded: boolean;
  #cut: Cut | undefined;

  constructor(ascii: AsciiLines, { firstLine, endOffset, isEnded }: Place) {
    this.ascii = ascii;
    this.firstLine = firstLine;
    this.endOffset = endOffset;
    this.isEnded = isEnded;
  }

  get lines(): Cut["lines"] {
    this.#cut ??= cutLines(this.ascii.bytes, "\n", false);
    return this.#cut.lines;
  }

  get faults(): Cut["faults"] {
    this.#cut ??= cutLines(this.ascii.bytes, "\n", false);
    return this.#cut.faults;
  }
}

/** @param isCut true when the first line is the rest of one that is too long */
function cutLines(body: Buffer, separator: string, isCut: boolean): Cut {
  const text = body.toString("latin1");
  const lines: (string | undefined)[] = text.split(separator);
  const faults = new Map<number, string>();
  const fail = (index: number, reason: string): void => {
    lines[index] = undefined;
    faults.set(index, reason);
  };
  if (isCut) fail(0, TOO_LONG);
  const isPlain = isAscii(body) && !text.includes("\0") && !text.includes("\r");
  for (let index = 0; index < lines.length; index += 1) {
    const line = lines[index];
    if (line === undefined) continue;
    if (line.length > MAX_LINE_BYTES) fail(index, TOO_LONG);
    else if (isPlain) continue;
    else if (line.includes("\0")) fail(index, "it holds a NUL byte");
    else {
      const decoded = decodeLine(line.endsWith("\r") ? line.slice(0, -1) : line);
      if (decoded === undefined) fail(index, "it is not UTF-8");
      else lines[index] = decoded;
    }
  }
  return { lines, faults };
}

const TOO_LONG = `it is longer than ${MAX_LINE_BYTES} bytes`;

function breakOf(bytes: Buffer): number | undefined {
  if (bytes.includes(LF)) return LF;
  // A CR that is the last byte may be half of CR LF.
  const cr = bytes.indexOf(CR);
  return cr >= 0 && cr < bytes.length - 1 ? CR : undefined;
}

const utf8 = new TextDecoder("utf-8", { fatal: true });

function decodeLine(latin1: string): string | undefined {
  try {
    return utf8.decode(Buffer.from(latin1, "latin1"));
  } catch {
    return undefined;
  }
}
