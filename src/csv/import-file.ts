import { compareVersions, sameValues, type VersionedCandle } from "../core/finality.ts";
import { type Gap, unfinishedGap } from "../core/gaps.ts";
import type { ImportCounts, ImportedFile, ImportStore } from "../core/ports.ts";
import { nextOpenTime } from "../core/timeframe.ts";
import { FileFault } from "./bytes.ts";
import type { CandleFile } from "./candle-file.ts";
import type { LineBlock, Start } from "./line-blocks.ts";
import { type ReadRow, RowReader } from "./row-reader.ts";
import type { TimeUnit } from "./times.ts";

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

/** Rows of one transaction, about. */
const PART_ROWS = 10_000;
const MAX_NOTES = 20;

const NOTHING: ImportCounts = {
  ...{ row: 0, stored: 0, revised: 0, identical: 0, superseded: 0, refused: 0, heldBack: 0 },
};

interface Offered extends VersionedCandle {
  readonly line: number;
}

/** Where reading goes on, as it is kept. */
interface Progress {
  readonly offset: number;
  readonly line: number;
  readonly unit?: TimeUnit;
  readonly newest?: Offered;
  readonly firstTime?: number;
  readonly lastTime?: number;
  /** Why the file could not be read to its end. */
  readonly fault?: string;
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
  readonly #observedTime: number;
  readonly #notes: RowNote[] = [];
  readonly #noteCounts = new Map<string, number>();
  #fingerprint = "";
  #counts: { -readonly [K in keyof ImportCounts]: number } = { ...NOTHING };
  #start: Start;
  #newest: Offered | undefined;
  #batch: Offered[] = [];
  #gaps: Gap[] = [];
  #firstTime: number | undefined;
  #lastTime: number | undefined;
  #storing: Promise<void> = Promise.resolve();

  constructor(options: FileImport) {
    const { file, now } = options;
    this.#options = options;
    this.#reader = new RowReader(file.plan, now);
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
    this.#reader.unit = progress.unit;
    this.#newest = progress.newest;
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
        this.#take(block);
        end = { offset: block.endOffset, line: block.firstLine + block.lines.length };
        if (this.#batch.length >= PART_ROWS) await this.#flush(end, false);
      }
    } catch (error) {
      await this.#storing;
      if (!(error instanceof FileFault)) throw error;
      fault = error.message;
    }
    const isChanged = (await file.bytes.fingerprint()) !== this.#fingerprint;
    if (isChanged) fault = "the file changed while it was read; import it again";
    this.#settleNewest();
    // A damaged file is read to the end of what can be read; one that changed is not.
    await this.#flush(end, !isChanged, fault);
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

  #take({ lines, faults, firstLine, isEnded }: LineBlock): void {
    const { file } = this.#options;
    for (let index = 0; index < lines.length; index += 1) {
      const line = firstLine + index;
      if (file.isHead(line)) continue;
      const text = lines[index];
      if (text === undefined) {
        this.#refuse(line, "unreadable", faults.get(index) ?? "it cannot be read");
        continue;
      }
      const isLineEnded = isEnded || index < lines.length - 1;
      const plain = this.#reader.readPlain(text);
      if (plain !== undefined) {
        this.#offer(plain, line, isLineEnded);
        continue;
      }
      if (text.trim() === "") continue;
      const cells = file.cells(text);
      if (cells === undefined) {
        this.#refuse(line, "quotes", "its quotes do not pair");
        continue;
      }
      const row = this.#reader.read(cells);
      if ("code" in row) {
        const detail = isLineEnded ? row.detail : `${row.detail}; the file ends in it`;
        this.#refuse(line, row.code, detail);
      } else this.#offer(row, line, isLineEnded);
    }
    this.#options.onRows(this.#counts.row);
  }

  #offer({ candle, source }: ReadRow, line: number, isEnded: boolean): void {
    const { series } = this.#options.file.plan;
    const { openTime } = candle;
    this.#counts.row += 1;
    this.#firstTime = Math.min(this.#firstTime ?? openTime, openTime);
    this.#lastTime = Math.max(this.#lastTime ?? openTime, openTime);
    const observedTime = Math.max(this.#observedTime, openTime);
    const offered: Offered = { series, candle, source, observedTime, line };
    const newest = this.#newest;
    if (this.#options.unfinished.has(openTime)) {
      this.#holdBack(offered, "another file of the folder proves that it was still forming");
    } else if (newest === undefined || openTime > newest.candle.openTime) {
      if (newest !== undefined) this.#batch.push(newest);
      this.#newest = offered;
    } else if (openTime === newest.candle.openTime) {
      this.#newest = this.#winner(newest, offered);
    } else if (!isEnded) {
      this.#holdBack(offered, "the file ends without a line end: the row may be cut off");
    } else this.#batch.push(offered);
  }

  /** Two rows of one candle: the same once more, or another version, of which finality decides. */
  #winner(a: Offered, b: Offered): Offered {
    const [winner, loser] = compareVersions(a, b) >= 0 ? [a, b] : [b, a];
    if (sameValues(a.candle, b.candle)) this.#counts.identical += 1;
    else {
      this.#counts.superseded += 1;
      const detail = `the same candle with other values stands in line ${winner.line}, which is taken`;
      this.#note({ line: loser.line, code: "duplicate", detail });
    }
    return winner;
  }

  #holdBack({ candle, series, line }: Offered, detail: string): void {
    this.#counts.heldBack += 1;
    this.#gaps.push(unfinishedGap(series, candle.openTime, this.#options.now));
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

  #settleNewest(): void {
    const newest = this.#newest;
    if (newest === undefined) return;
    this.#newest = undefined;
    const { wholeUntil } = this.#options.file.plan;
    const isWhole = wholeUntil !== undefined && newest.candle.closeTime < wholeUntil;
    if (isWhole && newest.candle.closeTime < this.#options.now) this.#batch.push(newest);
    else this.#holdBack(newest, "the newest candle of the file: it may have been forming still");
  }

  /** Hands a part over; returns when the part before it is stored. */
  async #flush(end: Start, isFinished: boolean, fault?: string): Promise<void> {
    const candles = this.#distinct(this.#batch);
    const gaps = this.#gaps;
    this.#batch = [];
    this.#gaps = [];
    await this.#storing;
    const { store, path, settings, file } = this.#options;
    const { series, layout } = file.plan;
    if (store === undefined) {
      this.#counts.stored += candles.length;
      return;
    }
    const before = { ...this.#counts };
    const part: ImportedFile = {
      ...{ file: path, fingerprint: this.#fingerprint, settings, layout, series, isFinished },
      counts: before,
      progress: this.#progress(end, fault),
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

  #progress({ offset, line }: Start, fault: string | undefined): string {
    const progress: Progress = {
      ...{ offset, line },
      ...(this.#reader.unit === undefined ? {} : { unit: this.#reader.unit }),
      ...(this.#newest === undefined ? {} : { newest: this.#newest }),
      ...(this.#firstTime === undefined ? {} : { firstTime: this.#firstTime }),
      ...(this.#lastTime === undefined ? {} : { lastTime: this.#lastTime }),
      ...(fault === undefined ? {} : { fault }),
    };
    return JSON.stringify(progress);
  }

  /** Ascending, each candle once. Most files are in order already, some in the reverse one. */
  #distinct(batch: Offered[]): Offered[] {
    if (isAscending(batch)) return batch;
    const sorted = batch.toSorted((a, b) => a.candle.openTime - b.candle.openTime);
    const distinct: Offered[] = [];
    for (const row of sorted) {
      const last = distinct.at(-1);
      if (last?.candle.openTime === row.candle.openTime) {
        distinct[distinct.length - 1] = this.#winner(last, row);
      } else distinct.push(row);
    }
    return distinct;
  }
}

function isAscending(batch: readonly Offered[]): boolean {
  let before = Number.NEGATIVE_INFINITY;
  for (const { candle } of batch) {
    if (candle.openTime <= before) return false;
    before = candle.openTime;
  }
  return true;
}
