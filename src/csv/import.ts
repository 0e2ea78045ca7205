import { stat } from "node:fs/promises";
import { dirname } from "node:path";
import { BlackTradeError } from "../core/errors.ts";
import type { Clock, ImportCounts, ImportStore } from "../core/ports.ts";
import { type Series, seriesKey } from "../core/series.ts";
import { fingerprintOf, type OpenZip } from "./bytes.ts";
import { CandleFile } from "./candle-file.ts";
import { type FoundFile, findFiles } from "./files.ts";
import { type FileOutcome, importFile, type RowNote } from "./import-file.ts";
import type { ImportHints } from "./plan.ts";
import { provedUnfinished } from "./unfinished.ts";

/** What importing needs. */
export interface ImportOptions {
  readonly paths: readonly string[];
  readonly hints: ImportHints;
  readonly openZip: OpenZip;
  readonly clock: Clock;
  /** Absent: files are read and nothing is stored. */
  readonly store: ImportStore | undefined;
  /** Read files again that were read to their end before. */
  readonly isAgain: boolean;
  readonly signal: AbortSignal;
  readonly onProgress?: (progress: ImportProgress) => void;
  /** Every row that is not taken as it stands. */
  readonly onNote?: (file: string, note: RowNote) => void;
}

/** How far an import is. */
export interface ImportProgress {
  readonly file: string;
  readonly fileNumber: number;
  readonly fileCount: number;
  readonly doneBytes: number;
  readonly totalBytes: number;
  readonly rowCount: number;
  readonly elapsedMs: number;
}

/** A line of the integrity report. */
export interface FileReport {
  readonly file: string;
  /** `unchanged` = read to its end by an earlier run; `refused` and `skipped` say why. */
  readonly state: "imported" | "unchanged" | "partial" | "refused" | "skipped";
  readonly reason?: string;
  readonly layout?: string;
  readonly series?: Series;
  readonly counts: ImportCounts;
  readonly notes: readonly RowNote[];
  readonly noteCounts: Readonly<Record<string, number>>;
  /** Assumptions that a user should see. */
  readonly assumptions: readonly string[];
}

/** What an import did. */
export interface ImportReport {
  readonly files: readonly FileReport[];
  /** Of the files that were read by this run; those that are unchanged have what an earlier run counted. */
  readonly counts: ImportCounts;
  readonly elapsedMs: number;
  /** False when something was refused or not read to its end: exit status 3. */
  readonly isWhole: boolean;
  /** Series of the files, each once. */
  readonly series: readonly Series[];
  /** Folders whose timeframes were too many rows to be compared. */
  readonly uncompared: readonly string[];
}

const NOTHING: ImportCounts = {
  ...{ row: 0, stored: 0, revised: 0, identical: 0, superseded: 0, refused: 0, heldBack: 0 },
};
const RETRY_DELAYS_MS = [500, 1_000, 2_000, 4_000, 8_000];
/** Layouts whose rows are the exchange's own, closed when the file was made. */
const FINAL_LAYOUTS: readonly string[] = ["binance-archive"];
/** Changes when the same file would be read otherwise, so that it is read again. */
const READER_VERSION = 4;

/**
 * Imports files one after the other; a file that cannot be taken costs only itself. May be stopped and run again, and run
 * beside ingestion: every candle goes through the version rule.
 * @throws {BlackTradeError} E_USAGE when the paths lead to no file at all; E_DB_*
 */
export async function importFiles(options: ImportOptions): Promise<ImportReport> {
  const run = new ImportRun(options);
  return run.run();
}

interface Candidate {
  readonly path: string;
  readonly size: number;
  readonly shown: string;
}

class ImportRun {
  readonly #options: ImportOptions;
  readonly #beganMs: number;
  readonly #now: number;
  readonly #settings: string;
  readonly #reports: FileReport[] = [];
  readonly #uncompared: string[] = [];
  /** Files of a folder by symbol: `path` → what else of the symbol lies there. */
  readonly #groups = new Map<string, Promise<ReadonlyMap<string, string>>>();
  readonly #proofs = new Map<string, ReadonlyMap<string, ReadonlySet<number>>>();
  #totalBytes = 0;
  #doneBytes = 0;
  #rowCount = 0;

  constructor(options: ImportOptions) {
    this.#options = options;
    this.#beganMs = options.clock.monotonic();
    this.#now = options.clock.now();
    const { hints } = options;
    this.#settings = JSON.stringify({ version: READER_VERSION, ...hints });
  }

  async run(): Promise<ImportReport> {
    const { paths, signal } = this.#options;
    const found = await findFiles(paths);
    const files = found.filter((one) => one.kind === "file");
    if (files.length === 0) throw noFiles(paths, found);
    for (const one of found) {
      if (one.kind === "skipped")
        this.#report({ file: one.shown, state: "skipped", reason: one.reason });
    }
    this.#totalBytes = files.reduce((sum, { size }) => sum + size, 0);
    for (const [index, file] of files.entries()) {
      signal.throwIfAborted();
      await this.#one(file, index + 1, files);
    }
    return this.#summary();
  }

  async #one(candidate: Candidate, number: number, all: readonly Candidate[]): Promise<void> {
    const { hints, openZip, signal } = this.#options;
    if (await this.#reportUnchanged(candidate)) {
      this.#doneBytes += candidate.size;
      return;
    }
    const opened = await CandleFile.open(candidate.path, hints, openZip, this.#now, signal);
    if ("refusal" in opened) {
      this.#doneBytes += candidate.size;
      this.#report({ file: candidate.shown, state: "refused", reason: opened.refusal });
      return;
    }
    try {
      const clash = this.#clash(opened, all.length);
      if (clash === undefined) await this.#import(candidate, opened, number, all);
      else this.#report({ file: candidate.shown, state: "refused", reason: clash });
    } finally {
      this.#doneBytes += candidate.size;
      await opened.bytes.close();
    }
  }

  /** One `--symbol` for files that say different ones would put two markets into one series. */
  #clash({ plan: { ownSymbol, series } }: CandleFile, fileCount: number): string | undefined {
    if (fileCount === 1 || this.#options.hints.symbol === undefined) return undefined;
    if (ownSymbol === undefined || ownSymbol === series.symbol) return undefined;
    return `it says ${ownSymbol}, the command says ${series.symbol}; import it by itself if that is right`;
  }

  async #reportUnchanged(candidate: Candidate): Promise<boolean> {
    const { store, isAgain } = this.#options;
    if (store === undefined || isAgain) return false;
    const known = await store.imported(candidate.path);
    if (known?.isFinished !== true || known.settings !== this.#settings) return false;
    const found = await stat(candidate.path, { bigint: true }).catch(() => undefined);
    if (found === undefined || known.fingerprint !== fingerprintOf(found)) return false;
    const { series, layout, counts } = known;
    const fault = (JSON.parse(known.progress) as { fault?: string }).fault;
    this.#report({
      ...{ file: candidate.shown, state: "unchanged", series, layout, counts },
      ...(fault === undefined ? {} : { reason: fault }),
    });
    return true;
  }

  async #import(
    candidate: Candidate,
    file: CandleFile,
    number: number,
    all: readonly Candidate[],
  ): Promise<void> {
    const { plan } = file;
    const unfinished = await this.#unfinished(candidate, all);
    const outcome = await this.#withRetries(candidate, file, unfinished, number, all.length);
    this.#rowCount += outcome.counts.row;
    const { fault, counts, notes, noteCounts } = outcome;
    this.#report({
      file: candidate.shown,
      state: fault === undefined ? "imported" : "partial",
      ...(fault === undefined ? {} : { reason: fault }),
      ...{ layout: plan.layout, series: plan.series, counts, notes, assumptions: plan.notes },
      noteCounts: Object.fromEntries(noteCounts),
    });
  }

  /** A database that restarts costs some seconds: the file is gone on with where the last part ended. */
  async #withRetries(
    candidate: Candidate,
    file: CandleFile,
    unfinished: ReadonlySet<number>,
    number: number,
    fileCount: number,
  ): Promise<FileOutcome> {
    const { store, signal, clock, onNote, onProgress } = this.#options;
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await importFile({
          ...{ path: candidate.path, file, settings: this.#settings, store, unfinished, signal },
          now: this.#now,
          onRows: (rowCount) =>
            onProgress?.({
              ...{ file: candidate.shown, fileNumber: number, fileCount },
              doneBytes: this.#doneBytes + file.bytes.doneBytes,
              totalBytes: this.#totalBytes,
              rowCount: this.#rowCount + rowCount,
              elapsedMs: clock.monotonic() - this.#beganMs,
            }),
          onNote: (note) => onNote?.(candidate.shown, note),
        });
      } catch (error) {
        const delayMs = RETRY_DELAYS_MS[attempt];
        const isRetryable = error instanceof BlackTradeError && error.retryable;
        if (!isRetryable || delayMs === undefined) throw error;
        await clock.sleep(delayMs, signal);
      }
    }
  }

  /** Candles of a file that other timeframes of the same symbol in the same folder prove to have been forming. */
  async #unfinished({ path }: Candidate, all: readonly Candidate[]): Promise<ReadonlySet<number>> {
    const folder = dirname(path);
    const known = this.#groups.get(folder) ?? this.#groupsOf(folder, all);
    this.#groups.set(folder, known);
    const groups = await known;
    const group = groups.get(path);
    if (group === undefined) return NONE;
    const key = `${folder} ${group}`;
    const proof = this.#proofs.get(key) ?? (await this.#prove(folder, groups, group));
    this.#proofs.set(key, proof);
    return proof.get(path) ?? NONE;
  }

  /** What symbol each file of a folder is of; files whose rows are closed by their origin are left out. */
  async #groupsOf(folder: string, all: readonly Candidate[]): Promise<ReadonlyMap<string, string>> {
    const groups = new Map<string, string>();
    const members = all.filter(({ path }) => dirname(path) === folder);
    if (members.length < 2) return groups;
    for (const { path } of members) {
      await this.#with(path, async ({ plan: { layout, series } }) => {
        if (!FINAL_LAYOUTS.includes(layout))
          groups.set(path, `${series.exchange}:${series.symbol}`);
      });
    }
    return groups;
  }

  async #prove(
    folder: string,
    groups: ReadonlyMap<string, string>,
    group: string,
  ): Promise<ReadonlyMap<string, ReadonlySet<number>>> {
    const { hints, openZip, signal } = this.#options;
    const files: { key: string; file: CandleFile }[] = [];
    try {
      for (const [path, other] of groups) {
        if (other !== group) continue;
        const file = await CandleFile.open(path, hints, openZip, this.#now, signal);
        if (!("refusal" in file)) files.push({ key: path, file });
      }
      if (new Set(files.map(({ file }) => file.plan.series.timeframe)).size < 2) return new Map();
      const proof = await provedUnfinished({ files }, this.#now, signal);
      if (proof === undefined) this.#uncompared.push(`${folder}: ${group}`);
      return proof ?? new Map();
    } finally {
      for (const { file } of files) await file.bytes.close();
    }
  }

  async #with(path: string, act: (file: CandleFile) => Promise<void>): Promise<void> {
    const { hints, openZip, signal } = this.#options;
    const file = await CandleFile.open(path, hints, openZip, this.#now, signal);
    if ("refusal" in file) return;
    await act(file).finally(() => file.bytes.close());
  }

  #report(report: Partial<FileReport> & Pick<FileReport, "file" | "state">): void {
    this.#reports.push({ counts: NOTHING, notes: [], noteCounts: {}, assumptions: [], ...report });
  }

  #summary(): ImportReport {
    const files = this.#reports;
    const counts = { ...NOTHING } as { -readonly [K in keyof ImportCounts]: number };
    const series = new Map<string, Series>();
    for (const file of files) {
      if (file.series !== undefined) series.set(seriesKey(file.series), file.series);
      if (file.state === "unchanged") continue;
      for (const key of Object.keys(counts) as (keyof ImportCounts)[]) {
        counts[key] += file.counts[key];
      }
    }
    return {
      ...{ files, counts },
      elapsedMs: this.#options.clock.monotonic() - this.#beganMs,
      isWhole: files.every(isWhole),
      series: [...series.values()],
      uncompared: this.#uncompared,
    };
  }
}

const NONE: ReadonlySet<number> = new Set();

/** A README beside the files is no loss; a file that was refused, or a row, is. */
function isWhole({ state, reason, counts, file }: FileReport): boolean {
  if (state === "skipped") return !CANDLE_NAME.test(file);
  return state !== "refused" && counts.refused === 0 && reason === undefined;
}

const CANDLE_NAME = /\.(?:csv|tsv|feather)(?:\.gz)?$|\.zip$/i;

function noFiles(paths: readonly string[], found: readonly FoundFile[]): BlackTradeError {
  const reasons = found.flatMap((one) =>
    one.kind === "skipped" ? [`${one.shown}: ${one.reason}`] : [],
  );
  const shown =
    reasons.length === 0 ? `${paths.join(", ")}: no file is in it` : reasons.slice(0, 5).join("; ");
  return new BlackTradeError("E_USAGE", `there is nothing to import (${shown})`, {
    remedy: "Name folders, files or patterns: npx black-trade import-csv data/ohlcv",
  });
}
