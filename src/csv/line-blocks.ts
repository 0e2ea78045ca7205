import { isAscii } from "node:buffer";

/** Rows of a file as text, some thousands at a time. */
export interface LineBlock {
  /** Without line ends; `undefined` where a line is no text that can be read. */
  readonly lines: readonly (string | undefined)[];
  /** Why, by index. */
  readonly faults: ReadonlyMap<number, string>;
  /** Number of the first of them in the file, from 1. */
  readonly firstLine: number;
  /** Offset of the byte behind the last of them. */
  readonly endOffset: number;
  /** False when the file ended without a line end after its last line. */
  readonly isEnded: boolean;
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
  /** True in the middle of a line that is too long: all up to its end is dropped. */
  #isDropping = false;
  #breakByte: number | undefined;

  constructor({ offset, line }: Start) {
    this.#offset = offset;
    this.#line = line;
  }

  add(chunk: Buffer): LineBlock | undefined {
    let bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
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
    const separator = this.#breakByte === CR ? "\r" : "\n";
    const text = body.toString("latin1");
    const lines: (string | undefined)[] = text.split(separator);
    const faults = new Map<number, string>();
    const fail = (index: number, reason: string): void => {
      lines[index] = undefined;
      faults.set(index, reason);
    };
    if (this.#isDropping) fail(0, TOO_LONG);
    this.#isDropping = false;
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
    const firstLine = this.#line;
    this.#line += lines.length;
    this.#offset += length;
    return { lines, faults, firstLine, endOffset: this.#offset, isEnded };
  }
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
