import { constants } from "node:fs";
import { type FileHandle, open, realpath, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { BlackTradeError } from "../core/errors.ts";
import type { CandleQueries } from "../core/ports.ts";
import type { TimeRange } from "../core/range.ts";
import type { Series } from "../core/series.ts";
import { candlePages, EVER } from "./candle-pages.ts";
import { MirrorCheck } from "./mirror-check.ts";
import { formatOwnRow, OWN_LAYOUT_HEADER, ownFileName } from "./own-layout.ts";
import { mergeRows, offsetOf, readHeading, readLines } from "./own-rows.ts";
import { setAside } from "./set-aside.ts";

/** What a file needs of its surroundings. */
export interface MirrorFileOptions {
  readonly folder: string;
  readonly series: Series;
  readonly store: Pick<CandleQueries, "range" | "revisions">;
  /** Wall clock, epoch ms: names what is set aside. */
  readonly now: () => number;
}

/** What was found in a file, and what was done about it. */
export interface Reconciled {
  readonly isRewritten: boolean;
  /** Somebody else had changed it: what exactly, in words; absent when it was as this program leaves files behind. */
  readonly foreignEdit?: string;
  /** Where the file was kept as others had left it. */
  readonly setAsidePath?: string;
  /** Rows that the database does not have; they are kept. Only after the whole file was looked at. */
  readonly unknownRowCount?: number;
}

/** How this program left a file; anything else means that somebody has changed it. */
interface Stamp {
  readonly size: bigint;
  readonly mtimeNs: bigint;
  readonly ino: bigint;
}

const NOTHING: Reconciled = { isRewritten: false };
const ROWS_GONE = "rows that are missing, or written otherwise";
const BUFFER_BYTES = 256 * 1_024;
/** Ending of files that are being written; what a crash leaves of them is removed at the next start. */
export const TEMP_ENDING = ".mirror-tmp";

/**
 * One file of the mirror. What it must hold is asked of the database every time, and what it holds is asked of the file:
 * nothing else has to survive. `append` and `reconcile` are to be called one at a time.
 */
export class MirrorFile {
  readonly name: string;
  readonly #options: MirrorFileOptions;
  /** Absent until the file was looked at, and after anything went wrong with it. */
  #stamp: Stamp | undefined;
  #lastOpenTime = Number.NEGATIVE_INFINITY;
  /** Somebody has changed it since, as its size or time says. */
  #isTouched = false;

  constructor(options: MirrorFileOptions) {
    this.#options = options;
    this.name = ownFileName(options.series);
  }

  /** Open time of its last row, epoch ms; −∞ when it has none or has not been looked at. */
  get lastOpenTime(): number {
    return this.#lastOpenTime;
  }

  /** True when the file is as this program left it: same file, size and time of change. */
  async isAsLeft(): Promise<boolean> {
    if (this.#stamp === undefined) return false;
    try {
      return isSame(this.#stamp, await stat(await this.#path(), { bigint: true }));
    } catch (error) {
      if (isMissing(error)) return false;
      throw error;
    }
  }

  /**
   * Writes what the database has after the last row, in order, and makes it durable.
   * @returns how many rows, or `undefined` when the file has to be reconciled first
   */
  async append(signal: AbortSignal): Promise<number | undefined> {
    if (this.#stamp === undefined) return undefined;
    const expected = this.#stamp;
    let handle: FileHandle;
    try {
      handle = await open(await this.#path(), constants.O_WRONLY | constants.O_APPEND);
    } catch (error) {
      this.#stamp = undefined;
      if (!isMissing(error)) throw error;
      this.#isTouched = true;
      return undefined;
    }
    try {
      // Until the end is reached well, nothing is known of the file.
      this.#stamp = undefined;
      if (!isSame(expected, await handle.stat({ bigint: true }))) {
        this.#isTouched = true;
        return undefined;
      }
      let size = expected.size;
      let count = 0;
      const { store, series } = this.#options;
      const range = { ...EVER, from: Math.max(0, this.#lastOpenTime + 1) };
      for await (const page of candlePages(store, series, range)) {
        const rows = Buffer.from(page.map((candle) => `${formatOwnRow(candle)}\n`).join(""));
        await handle.appendFile(rows);
        size += BigInt(rows.length);
        count += page.length;
        this.#lastOpenTime = page.at(-1)?.openTime ?? this.#lastOpenTime;
        if (signal.aborted) break;
      }
      if (count > 0) await handle.datasync();
      return this.#leave(await handle.stat({ bigint: true }), size) ? count : undefined;
    } finally {
      await handle.close();
    }
  }

  /**
   * Makes the rows of a range those of the database; rows that only the file has stay. A line that was cut off by a crash is
   * taken away; anything else that differs makes a new file take the place of the old one, at once.
   * @param range {@link EVER} after a start, or when others have changed the file
   * @throws {BlackTradeError} E_CSV_MIRROR when the file is not to be touched, E_DB_*; errors of the file system
   */
  async reconcile(range: TimeRange, signal: AbortSignal): Promise<Reconciled> {
    const path = await this.#path();
    const expected = this.#stamp;
    // What comes after the last row is for `append`.
    const part = { from: range.from, to: Math.min(range.to, this.#lastOpenTime + 1) };
    const isMeantWhole = range.to === EVER.to;
    if (!isMeantWhole && expected !== undefined && part.from >= part.to) return NOTHING;
    this.#stamp = undefined;
    let handle: FileHandle;
    try {
      handle = await open(path, "r");
    } catch (error) {
      if (!isMissing(error)) throw error;
      this.#isTouched ||= expected !== undefined;
      return this.#create(path);
    }
    try {
      const found = await handle.stat({ bigint: true });
      if (!found.isFile()) throw refused(`${this.name} is not a file`);
      const isAsLeft = expected !== undefined && isSame(expected, found);
      this.#isTouched ||= expected !== undefined && !isAsLeft;
      const isPart = isAsLeft && !isMeantWhole;
      return await this.#reconcile(handle, found, path, isPart ? part : EVER, signal);
    } finally {
      await handle.close();
    }
  }

  async #reconcile(
    handle: FileHandle,
    found: Stamp & { readonly mode: bigint },
    path: string,
    range: TimeRange,
    signal: AbortSignal,
  ): Promise<Reconciled> {
    const { store, series } = this.#options;
    const heading = await readHeading(handle);
    if (heading.kind === "foreign") {
      throw refused(`${this.name} is in another layout`);
    }
    if (heading.kind === "torn") {
      await this.#restart(path);
      return NOTHING;
    }
    const size = Number(found.size);
    const isWhole = range.to === EVER.to;
    const from = isWhole ? heading.end : await offsetOf(handle, heading.end, size, range.from);
    const to = isWhole ? size : await offsetOf(handle, from, size, range.to);
    const check = new MirrorCheck(store, series, from, heading.kind === "own");
    const pages = candlePages(store, series, range);
    for await (const rows of mergeRows(readLines(handle, from, to), pages)) {
      await check.add(rows);
      if (signal.aborted) return NOTHING;
    }
    const unknown = isWhole ? { unknownRowCount: check.unknownRowCount } : {};
    if (isWhole && check.isAppendable) {
      const last = check.intactLast ?? Number.NEGATIVE_INFINITY;
      const edit = this.#isTouched && last < this.#lastOpenTime ? { foreignEdit: ROWS_GONE } : {};
      if (check.intactEnd < size) await this.#cut(path, found, check.intactEnd);
      else this.#stamp = found;
      this.#lastOpenTime = last;
      this.#isTouched = false;
      return { isRewritten: false, ...edit, ...unknown };
    }
    if (!isWhole && check.isIntact) {
      this.#stamp = found;
      return NOTHING;
    }
    const foreignEdit = check.foreignEdit ?? (this.#isTouched ? ROWS_GONE : undefined);
    const after = check.intactLast === undefined ? range.from : check.intactLast + 1;
    const isDone = await this.#rewrite(handle, path, found, {
      head: heading.kind === "own" ? check.intactEnd : undefined,
      from: heading.kind === "own" ? check.intactEnd : heading.end,
      to,
      range: { from: heading.kind === "own" ? after : range.from, to: range.to },
      last: check.intactLast ?? Number.NEGATIVE_INFINITY,
      isSetAside: check.foreignEdit !== undefined,
      signal,
    });
    if (isDone === undefined) return NOTHING;
    this.#isTouched = false;
    return {
      isRewritten: true,
      ...(foreignEdit === undefined ? {} : { foreignEdit }),
      ...isDone,
      ...unknown,
    };
  }

  /**
   * Writes a new file and puts it in the place of the old one: the head as it is, the lines of the part merged with the
   * candles of the range, the tail as it is.
   * @returns `undefined` when it was given up: stopped, or the old file was changed meanwhile
   */
  async #rewrite(
    handle: FileHandle,
    path: string,
    found: Stamp & { readonly mode: bigint },
    part: RewrittenPart,
  ): Promise<Pick<Reconciled, "setAsidePath"> | undefined> {
    const { store, series, folder, now } = this.#options;
    const tempPath = join(dirname(path), `.${basename(path)}.${process.pid}${TEMP_ENDING}`);
    // A link of that name, whoever put it there, is not written through.
    await rm(tempPath, { force: true });
    const temp = await open(tempPath, "wx", Number(found.mode & 0o777n));
    try {
      const out = new Out(temp);
      if (part.head === undefined) await out.write(`${OWN_LAYOUT_HEADER}\n`);
      else await out.copy(handle, 0, part.head);
      let { last } = part;
      const pages = candlePages(store, series, part.range);
      const lines = readLines(handle, part.from, part.to);
      for await (const rows of mergeRows(lines, pages)) {
        for (const row of rows) {
          if ("candle" in row) await out.write(`${formatOwnRow(row.candle)}\n`);
          else if (row.kind === "onlyFile")
            await out.write(`${row.line.text.replace(/\r$/, "")}\n`);
          else continue;
          last = "candle" in row ? row.candle.openTime : row.openTime;
        }
        if (part.signal.aborted) return undefined;
      }
      await out.copy(handle, part.to, Number(found.size));
      await out.flush();
      await temp.sync();
      const left = await temp.stat({ bigint: true });
      // Windows renames closed files only; a second close does nothing.
      await temp.close();
      await handle.close();
      if (!isSame(found, await stat(path, { bigint: true }))) return undefined;
      const aside = part.isSetAside ? await setAside(folder, path, this.name, now()) : undefined;
      await rename(tempPath, path);
      await syncFolder(dirname(path));
      this.#stamp = left;
      if (part.range.to === EVER.to) this.#lastOpenTime = last;
      return aside === undefined ? {} : { setAsidePath: aside };
    } finally {
      await temp.close();
      await rm(tempPath, { force: true });
    }
  }

  /** A new file has its header only; rows are appended, so that it grows before the eyes of its readers. */
  async #create(path: string): Promise<Reconciled> {
    const { store, series } = this.#options;
    this.#lastOpenTime = Number.NEGATIVE_INFINITY;
    const edit = this.#isTouched ? { foreignEdit: "it was removed" } : {};
    // A series without a candle has no file.
    if ((await store.range(series, EVER, 1)).length === 0)
      return { ...NOTHING, unknownRowCount: 0 };
    await this.#restart(path, "wx");
    await syncFolder(dirname(path));
    return { ...NOTHING, ...edit, unknownRowCount: 0 };
  }

  async #restart(path: string, flag: "w" | "wx" = "w"): Promise<void> {
    const handle = await open(path, flag);
    try {
      await handle.writeFile(`${OWN_LAYOUT_HEADER}\n`);
      await handle.datasync();
      this.#lastOpenTime = Number.NEGATIVE_INFINITY;
      this.#isTouched = false;
      this.#leave(await handle.stat({ bigint: true }), BigInt(OWN_LAYOUT_HEADER.length + 1));
    } finally {
      await handle.close();
    }
  }

  /** Takes a cut-off last line away. */
  async #cut(path: string, found: Stamp, size: number): Promise<void> {
    const handle = await open(path, "r+");
    try {
      if (!isSame(found, await handle.stat({ bigint: true }))) return;
      await handle.truncate(size);
      await handle.datasync();
      this.#leave(await handle.stat({ bigint: true }), BigInt(size));
    } finally {
      await handle.close();
    }
  }

  /** Somebody may have written at the same time: then the size is not what was written. */
  #leave(left: Stamp, size: bigint): boolean {
    if (left.size === size) this.#stamp = left;
    return left.size === size;
  }

  /** A symbolic link is followed: what it points to is what others read. */
  async #path(): Promise<string> {
    const path = join(this.#options.folder, this.name);
    return realpath(path).catch(() => path);
  }
}

interface RewrittenPart {
  /** Bytes that are kept as they are; `undefined`: the header is written anew. */
  readonly head: number | undefined;
  /** Bytes that are merged with the candles of the range; what follows is kept as it is. */
  readonly from: number;
  readonly to: number;
  readonly range: TimeRange;
  /** Open time of the last row of the head. */
  readonly last: number;
  readonly isSetAside: boolean;
  readonly signal: AbortSignal;
}

/** Writes to a file in large pieces. */
class Out {
  readonly #handle: FileHandle;
  #text = "";

  constructor(handle: FileHandle) {
    this.#handle = handle;
  }

  async write(text: string): Promise<void> {
    this.#text += text;
    if (this.#text.length >= BUFFER_BYTES) await this.flush();
  }

  async copy(source: FileHandle, from: number, to: number): Promise<void> {
    await this.flush();
    const buffer = Buffer.allocUnsafe(BUFFER_BYTES);
    for (let at = from; at < to; ) {
      const { bytesRead } = await source.read(buffer, 0, Math.min(BUFFER_BYTES, to - at), at);
      if (bytesRead === 0) return;
      await this.#handle.writeFile(buffer.subarray(0, bytesRead));
      at += bytesRead;
    }
  }

  async flush(): Promise<void> {
    const bytes = Buffer.from(this.#text, "latin1");
    this.#text = "";
    if (bytes.length > 0) await this.#handle.writeFile(bytes);
  }
}

function isSame(a: Stamp, b: Stamp): boolean {
  return a.size === b.size && a.mtimeNs === b.mtimeNs && a.ino === b.ino;
}

function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === "ENOENT";
}

function refused(message: string): BlackTradeError {
  return new BlackTradeError("E_CSV_MIRROR", message, {
    remedy: "move it out of CSV_MIRROR_DIR, or name another folder",
  });
}

/** Makes a rename durable, where folders can be synced at all. */
async function syncFolder(path: string): Promise<void> {
  try {
    const folder = await open(path, "r");
    await folder.sync().finally(() => folder.close());
  } catch {
    // Windows cannot; the data itself is synced already.
  }
}
