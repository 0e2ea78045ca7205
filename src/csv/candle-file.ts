import { type FileBytes, FileFault, type OpenZip, openBytes } from "./bytes.ts";
import { cellsOf } from "./cells.ts";
import { type FeatherTable, featherBlocks, readFeather } from "./feather.ts";
import { nameParts } from "./files.ts";
import { jsonBlocks } from "./json-blocks.ts";
import { type LineBlock, lineBlocks, type Start } from "./line-blocks.ts";
import { type FileRefusal, type ImportHints, planRows, type RowPlan } from "./plan.ts";
import { type Framing, frame } from "./sample.ts";
import { readTime } from "./times.ts";

const TAIL_BYTES = 65_536;
const TAIL_ROWS = 200;
const HEAD_LINES = 600;

/** A file of candles that is open and recognised. */
export class CandleFile {
  readonly plan: RowPlan;
  /** Opens last among the first and the last rows of the file; with it the file can have been written. */
  readonly newestTime: number;
  readonly bytes: FileBytes;
  readonly #framing: Framing;
  readonly #feather: FeatherTable | undefined;

  private constructor(
    bytes: FileBytes,
    plan: RowPlan,
    newestTime: number,
    framing: Framing,
    feather: FeatherTable | undefined,
  ) {
    this.bytes = bytes;
    this.plan = plan;
    this.newestTime = newestTime;
    this.#framing = framing;
    this.#feather = feather;
  }

  /**
   * Opens a file and decides what it is.
   * @param now times after it do not count, epoch ms
   * @returns why it is not taken, when it is not
   */
  static async open(
    path: string,
    hints: ImportHints,
    openZip: OpenZip,
    now: number,
    signal: AbortSignal,
  ): Promise<CandleFile | FileRefusal> {
    let bytes: FileBytes | undefined;
    try {
      bytes = await openBytes(path, openZip, signal);
      const opened = await CandleFile.#recognise(path, bytes, hints, now);
      if ("refusal" in opened) await bytes.close();
      return opened;
    } catch (error) {
      await bytes?.close();
      if (!(error instanceof FileFault)) throw error;
      return { refusal: error.message };
    }
  }

  static async #recognise(
    path: string,
    bytes: FileBytes,
    hints: ImportHints,
    now: number,
  ): Promise<CandleFile | FileRefusal> {
    const isFeather = bytes.kind === "feather";
    const feather = isFeather ? await readFeather(bytes.chunks(0), bytes.size) : undefined;
    const { lines, faults } = await headLines(bytes, feather);
    const { unreadHeader, ...found } = frame(lines);
    const framing =
      bytes.kind === "text"
        ? found
        : { ...found, delimiter: ",", header: feather?.header, preamble: [], skippedLines: 0 };
    const reason = unreadHeader === undefined ? undefined : faults.get(unreadHeader);
    const tail = await tailRows(bytes, feather, framing);
    const rows = [...framing.rows, ...tail];
    const { name, folders } = nameParts(path);
    const plan = planRows(
      {
        name: bytes.innerName === undefined ? name : nameParts(bytes.innerName).name,
        ...{ folders, kind: bytes.kind, rows },
        delimiter: framing.delimiter,
        ...{ header: framing.header, preamble: framing.preamble },
        isDelimited: bytes.kind !== "text" || framing.isDelimited,
        ...(unreadHeader === undefined || reason === undefined
          ? {}
          : { unreadHeader: { line: unreadHeader + 1, reason } }),
      },
      hints,
    );
    if ("refusal" in plan) return plan;
    const times = rows.flatMap((cells) => {
      const read = readTime(cells[plan.columns.openTime ?? 0] ?? "", plan.zoneMs);
      return read === undefined || read.time > now ? [] : [Math.floor(read.time)];
    });
    const newestTime = times.reduce((newest, time) => Math.max(newest, time), 0);
    return new CandleFile(bytes, plan, newestTime, framing, feather);
  }

  /** Where the rows begin. */
  get start(): Start {
    return { offset: 0, line: 1 };
  }

  /** Rows from a place on at which a block had ended. @throws {FileFault} */
  blocks(start: Start): AsyncGenerator<LineBlock> {
    if (this.#feather !== undefined) return featherBlocks(this.#feather, start);
    const chunks = this.bytes.chunks(start.offset);
    return this.bytes.kind === "json" ? jsonBlocks(chunks, start) : lineBlocks(chunks, start);
  }

  /** True for a line above the rows: the header and what stands over it. */
  isHead(line: number): boolean {
    return line <= this.#framing.skippedLines;
  }

  /** Cells of a row, untrimmed. `undefined` when its quotes do not pair. */
  cells(line: string): readonly string[] | undefined {
    return cellsOf(line, this.#framing.delimiter);
  }
}

async function headLines(
  bytes: FileBytes,
  feather: FeatherTable | undefined,
): Promise<{ lines: (string | undefined)[]; faults: Map<number, string> }> {
  const blocks =
    feather === undefined
      ? bytes.kind === "json"
        ? jsonBlocks(bytes.chunks(0), { offset: 0, line: 1 })
        : lineBlocks(bytes.chunks(0), { offset: 0, line: 1 })
      : featherBlocks(feather, { offset: 0, line: 1 });
  const lines: (string | undefined)[] = [];
  const faults = new Map<number, string>();
  try {
    for await (const block of blocks) {
      for (const [index, reason] of block.faults) faults.set(lines.length + index, reason);
      lines.push(...block.lines.slice(0, HEAD_LINES - lines.length));
      if (lines.length >= HEAD_LINES) break;
    }
  } catch (error) {
    // A small file that is damaged at its end: what came before is read, and the fault is told then.
    if (!(error instanceof FileFault) || lines.length === 0) throw error;
  }
  return { lines, faults };
}

/** Cells of the last rows. What is packed is unpacked once for them, with no more in memory than they are. */
async function tailRows(
  bytes: FileBytes,
  feather: FeatherTable | undefined,
  { delimiter, skippedLines }: Framing,
): Promise<string[][]> {
  if (feather !== undefined) {
    const first = Math.max(0, feather.rowCount - TAIL_ROWS);
    const count = feather.rowCount - first;
    return Array.from({ length: count }, (_, index) => feather.line(first + index).split(","));
  }
  const { tail, offset } = await tailOf(bytes);
  const start = { offset: Math.max(1, offset), line: 1 };
  const one = (async function* (): AsyncGenerator<Buffer> {
    yield tail;
  })();
  const lines: (string | undefined)[] = [];
  for await (const block of bytes.kind === "json"
    ? jsonBlocks(one, start)
    : lineBlocks(one, start)) {
    lines.push(...block.lines);
  }
  // The first may be cut; in a small file it is the header.
  const usable = lines.slice(offset === 0 ? skippedLines : 1).slice(-TAIL_ROWS);
  return usable.flatMap((line) => {
    const cells = line === undefined || line.trim() === "" ? undefined : cellsOf(line, delimiter);
    return cells === undefined ? [] : [cells.map((cell) => cell.trim())];
  });
}

async function tailOf(bytes: FileBytes): Promise<{ tail: Buffer; offset: number }> {
  let tail = Buffer.alloc(0);
  let end = bytes.isSeekable ? Math.max(0, bytes.size - TAIL_BYTES) : 0;
  try {
    for await (const chunk of bytes.chunks(end)) {
      end += chunk.length;
      const joined = chunk.length >= TAIL_BYTES ? chunk : Buffer.concat([tail, chunk]);
      tail = Buffer.from(joined.subarray(Math.max(0, joined.length - TAIL_BYTES)));
    }
  } catch (error) {
    // Cut off or damaged: what could be unpacked counts; reading the rows says so.
    if (!(error instanceof FileFault)) throw error;
    end = Math.max(end, tail.length);
  }
  const length = bytes.isSeekable ? Math.min(bytes.size, end) : end;
  return { tail, offset: Math.max(0, length - tail.length) };
}
