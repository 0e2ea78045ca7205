import { type Gap, unfinishedGap } from "../core/gaps.ts";
import { PackedCandles } from "../core/packed-candles.ts";
import type { ImportCounts, ImportedFile, ImportStore } from "../core/ports.ts";
import { nextOpenTime } from "../core/timeframe.ts";
import { FileFault } from "./bytes.ts";
import type { CandleFile } from "./candle-file.ts";
import type { AsciiLines, LineBlock, Start } from "./line-blocks.ts";
import { type Duplicate, type Offered, OfferedRows } from "./offered-rows.ts";
import { PlainRows } from "./plain-rows.ts";
import { type ReadRow, RowReader, type RowRefusal } from "./row-reader.ts";

/** A row that was not taken as it stands, for the report. */
export interface RowNote {
  readonly line: number;
  /** `duplicate` and `held-back` rows are accounted for; the others were refused. */
  readonly code: string;
  readonly detail: string;
}

/** What became of a file. */
export interface FileOutcome {
  readonly counts: ImportCounts;
  /** The first of the notes; how many there are of each code is in `noteCounts`. */
  readonly notes: readonly RowNote[];
  readonly noteCounts: ReadonlyMap<string, number>;
  /** Why the file could not be read to its end. */
  readonly fault?: string;
  /** Open times of the oldest and newest candle that it holds. */
  readonly firstTime?: number;
  readonly lastTime?: number;
}

/** What importing one file needs. */
export interface FileImport {
  /** Its full path, by which it is known. */
  readonly path: string;
  readonly file: CandleFile;
  /** What the command said, as text. */
  readonly settings: string;
  /** Absent: nothing is stored. */
  readonly store: ImportStore | undefined;
  /** Open times of candles that other files of the folder prove unfinished. */
  readonly unfinished: ReadonlySet<number>;
  /** No candle opens later, epoch ms. */
  readonly now: number;
  readonly signal: AbortSignal;
  readonly onRows: (rowCount: number) => void;
  readonly onNote: (note: RowNote) => void;
}

/** Rows of one transaction, about: so many that waiting for the disk at its end costs little. */
const PART_ROWS = 20_000;
const MAX_NOTES = 20;
const CR = 13;
const CUT_OFF = "the file ends without a line end: the row may be cut off";
const FORMING = "the newest candle of the file: it may have been forming still";

const NOTHING: ImportCounts = {
  ...{ row: 0, stored: 0, revised: 0, identical: 0, superseded: 0, refused: 0, heldBack: 0 },
};

/** Where reading goes on, as it is kept. */
interface Progress {
  readonly offset: number;
  readonly line: number;
  readonly newest?: Offered;
  readonly firstTime?: number;
  readonly lastTime?: number;
  /** Why the file could not be read to its end. */
  readonly fault?: string;
}

/** What is said with the last part of a file. */
interface LastPart {
  readonly isFinished: boolean;
  readonly fault: string | undefined;
  /** Whether the newest candle is offered, too. */
  readonly hasNewest: boolean;
}

/**
 * Reads a file and offers its candles, part by part; reading goes on while a part is stored. Goes on where an earlier run
 * was stopped. The newest candle is held back, for a file is often saved while it forms.
 * @throws {BlackTradeError} E_DB_*
 */
export async function importFile(options: FileImport): Promise<FileOutcome> {
  const importer = new FileImporter(options);
  await importer.resume();
  return importer.run();
}

class FileImporter {
  readonly #options: FileImport;
  readonly #reader: RowReader;
  readonly #plain: PlainRows | undefined;
  readonly #observedTime: number;
  readonly #notes: RowNote[] = [];
  readonly #noteCounts = new Map<string, number>();
  #fingerprint = "";
  #counts: { -readonly [K in keyof ImportCounts]: number } = { ...NOTHING };
  #start: Start;
  #rows: OfferedRows;
  /** Of the part that is being stored; once it is, the next part but one takes its room. */
  #storedRows: PackedCandles | undefined;
  #gaps: Gap[] = [];
  #firstTime: number | undefined;
  #lastTime: number | undefined;
  /** The last line, when nothing ends it. */
  #cutLine: number | undefined;
  #storing: Promise<void> = Promise.resolve();

  constructor(options: FileImport) {
    const { file, now } = options;
    this.#options = options;
    this.#reader = new RowReader(file.plan, now);
    this.#plain = PlainRows.of(file.plan, now);
    this.#rows = new OfferedRows(new PackedCandles(file.plan.series), undefined);
    // Whoever has this candle wrote the file while it formed, or later: by content, not by the file's own times.
    this.#observedTime = nextOpenTime(file.plan.series.timeframe, file.newestTime);
    this.#start = file.start;
  }

  async resume(): Promise<void> {
    const { store, path, settings, file } = this.#options;
    this.#fingerprint = await file.bytes.fingerprint();
    const known = await store?.imported(path);
    if (known === undefined || known.isFinished) return;
    if (known.fingerprint !== this.#fingerprint || known.settings !== settings) return;
    const progress = JSON.parse(known.progress) as Progress;
    this.#counts = { ...known.counts };
    this.#start = { offset: progress.offset, line: progress.line };
    this.#rows = new OfferedRows(this.#rows.packed, progress.newest);
    this.#firstTime = progress.firstTime;
    this.#lastTime = progress.lastTime;
  }

  async run(): Promise<FileOutcome> {
    const { file, signal } = this.#options;
    let fault: string | undefined;
    let end = this.#start;
    try {
      for await (const block of file.blocks(this.#start)) {
        signal.throwIfAborted();
        const lineCount = this.#take(block);
        end = { offset: block.endOffset, line: block.firstLine + lineCount };
        if (this.#rows.length >= PART_ROWS) await this.#flush(end);
      }
    } catch (error) {
      await this.#storing;
      if (!(error instanceof FileFault)) throw error;
      fault = error.message;
    }
    const isChanged = (await file.bytes.fingerprint()) !== this.#fingerprint;
    if (isChanged) fault = "the file changed while it was read; import it again";
    // A damaged file is read to the end of what can be read; one that changed is not.
    const isFinished = !isChanged;
    await this.#flush(end, { isFinished, fault, hasNewest: this.#settleNewest() });
    await this.#storing;
    return {
      counts: { ...this.#counts },
      notes: this.#notes,
      noteCounts: this.#noteCounts,
      ...(fault === undefined ? {} : { fault }),
      ...(this.#firstTime === undefined ? {} : { firstTime: this.#firstTime }),
      ...(this.#lastTime === undefined ? {} : { lastTime: this.#lastTime }),
    };
  }

  /** @returns how many lines the block has */
  #take(block: LineBlock): number {
    const { ascii } = block;
    const count = ascii?.count ?? block.lines.length;
    for (let index = 0; index < count; index += 1) {
      if (ascii !== undefined && this.#takePlain(ascii, index, block)) continue;
      this.#takeLine(block, index, count);
    }
    this.#options.onRows(this.#counts.row);
    return count;
  }

  /** @returns false when the line is not plain, or of no row */
  #takePlain({ bytes, ends, count }: AsciiLines, index: number, block: LineBlock): boolean {
    const plain = this.#plain;
    const line = block.firstLine + index;
    const isEnded = block.isEnded || index < count - 1;
    if (plain === undefined || !isEnded || this.#options.file.isHead(line)) return false;
    const from = index === 0 ? 0 : (ends[index - 1] ?? 0) + 1;
    const to = ends[index] ?? 0;
    const last = bytes[to - 1] === CR ? to - 1 : to;
    const { packed } = this.#rows;
    if (!plain.read(bytes, from, last, packed, this.#observedTime)) return false;
    this.#placed(line, true);
    return true;
  }

  #takeLine({ lines, faults, firstLine, isEnded }: LineBlock, index: number, count: number): void {
    const { file } = this.#options;
    const line = firstLine + index;
    if (file.isHead(line)) return;
    const text = lines[index];
    if (text === undefined) {
      this.#refuse(line, "unreadable", faults.get(index) ?? "it cannot be read");
      return;
    }
    const isLineEnded = isEnded || index < count - 1;
    if (this.#plain?.readText(text, this.#rows.packed, this.#observedTime) === true) {
      this.#placed(line, isLineEnded);
      return;
    }
    if (text.trim() === "") return;
    const row = this.#readCells(text);
    if ("code" in row) {
      const detail = isLineEnded ? row.detail : `${row.detail}; the file ends in it`;
      this.#refuse(line, row.code, detail);
      return;
    }
    const { candle, source } = row;
    const observedTime = Math.max(this.#observedTime, candle.openTime);
    this.#rows.packed.push({ series: file.plan.series, candle, source, observedTime });
    this.#placed(line, isLineEnded);
  }

  #readCells(text: string): ReadRow | RowRefusal {
    const cells = this.#options.file.cells(text);
    if (cells === undefined) return { code: "quotes", detail: "its quotes do not pair" };
    return this.#reader.read(cells);
  }

  /** Decides what becomes of the row that was just added. */
  #placed(line: number, isEnded: boolean): void {
    const rows = this.#rows;
    const openTime = rows.packed.openTime(rows.length - 1);
    this.#counts.row += 1;
    this.#firstTime = Math.min(this.#firstTime ?? openTime, openTime);
    this.#lastTime = Math.max(this.#lastTime ?? openTime, openTime);
    if (this.#options.unfinished.has(openTime)) {
      rows.drop();
      this.#holdBack(openTime, line, "another file of the folder proves that it was still forming");
    } else if (!isEnded && openTime <= rows.newestTime) {
      rows.drop();
      this.#holdBack(openTime, line, CUT_OFF);
    } else {
      if (!isEnded) this.#cutLine = line;
      const duplicate = rows.place(line);
      if (duplicate !== undefined) this.#leaveOut(duplicate);
    }
  }

  /** Two rows of one candle: the same once more, or another version, of which finality decides. */
  #leaveOut({ winner, loser, isSame }: Duplicate): void {
    if (isSame) this.#counts.identical += 1;
    else {
      this.#counts.superseded += 1;
      const detail = `the same candle with other values stands in line ${winner.line}, which is taken`;
      this.#note({ line: loser.line, code: "duplicate", detail });
    }
  }

  #holdBack(openTime: number, line: number, detail: string): void {
    const { file, now } = this.#options;
    this.#counts.heldBack += 1;
    this.#gaps.push(unfinishedGap(file.plan.series, openTime, now));
    this.#note({ line, code: "held-back", detail });
  }

  #refuse(line: number, code: string, detail: string): void {
    this.#counts.row += 1;
    this.#counts.refused += 1;
    this.#note({ line, code, detail });
  }

  #note(note: RowNote): void {
    this.#noteCounts.set(note.code, (this.#noteCounts.get(note.code) ?? 0) + 1);
    if (this.#notes.length < MAX_NOTES) this.#notes.push(note);
    this.#options.onNote(note);
  }

  /** At the end of a file: whether its newest candle is known to be closed. Else it is held back. */
  #settleNewest(): boolean {
    const { newest } = this.#rows;
    if (newest === undefined) return false;
    const { openTime, closeTime } = newest.candle;
    const { now, file } = this.#options;
    const { wholeUntil } = file.plan;
    const isWhole = wholeUntil !== undefined && closeTime < wholeUntil && closeTime < now;
    if (isWhole && newest.line !== this.#cutLine) return true;
    this.#holdBack(openTime, newest.line, isWhole ? CUT_OFF : FORMING);
    return false;
  }

  /** Hands a part over; returns when the part before it is stored. */
  async #flush(end: Start, last?: LastPart): Promise<void> {
    const rows = this.#rows;
    const newest = last === undefined ? rows.newest : undefined;
    const candles = rows.offered(last?.hasNewest ?? false, (one) => this.#leaveOut(one));
    const gaps = this.#gaps;
    this.#gaps = [];
    await this.#storing;
    this.#rows = new OfferedRows(this.#storedRows ?? new PackedCandles(candles.series), newest);
    this.#storedRows = rows.packed;
    const { store, path, settings, file } = this.#options;
    const { series, layout } = file.plan;
    if (store === undefined) {
      this.#counts.stored += candles.length;
      return;
    }
    const before = { ...this.#counts };
    const part: ImportedFile = {
      ...{ file: path, fingerprint: this.#fingerprint, settings, layout, series },
      isFinished: last?.isFinished ?? false,
      counts: before,
      progress: this.#progress(end, newest, last?.fault),
    };
    this.#storing = store.loadPart({ candles, gaps, file: part }).then(({ counts }) => {
      // Reading has gone on meanwhile: only what became of this part is added.
      for (const key of Object.keys(counts) as (keyof ImportCounts)[]) {
        this.#counts[key] += counts[key] - before[key];
      }
    });
    // It is awaited by the next part; until then a failure must not count as unheard.
    this.#storing.catch(() => undefined);
  }

  #progress(
    { offset, line }: Start,
    newest: Offered | undefined,
    fault: string | undefined,
  ): string {
    const progress: Progress = {
      ...{ offset, line },
      ...(newest === undefined ? {} : { newest }),
      ...(this.#firstTime === undefined ? {} : { firstTime: this.#firstTime }),
      ...(this.#lastTime === undefined ? {} : { lastTime: this.#lastTime }),
      ...(fault === undefined ? {} : { fault }),
    };
    return JSON.stringify(progress);
  }
}
