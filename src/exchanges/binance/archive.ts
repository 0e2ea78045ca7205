import { createHash } from "node:crypto";
import { retryAfterMs } from "../../core/budget.ts";
import { BlackTradeError, SourceHoldError } from "../../core/errors.ts";
import type { Recorder } from "../../core/events.ts";
import type { ExchangeTime } from "../../core/exchange-time.ts";
import type { Source } from "../../core/finality.ts";
import type { Ban, Clock, HistoryPage } from "../../core/ports.ts";
import { badAnswer, HOLD_REMEDY, type Hold, holdOf } from "./answers.ts";
import type { ArchiveFile } from "./archive-plan.ts";
import { type ArchiveReport, ArchiveRows } from "./archive-rows.ts";
import { readBaseUrl } from "./base-url.ts";
import { type DownloadOptions, download } from "./download.ts";
import type { HttpHead } from "./http.ts";
import { TempFile } from "./temp-file.ts";
import { type ReadAt, readZipEntry, unzip, type ZipEntry, ZipFault } from "./zip.ts";

/** What reading archives needs. Durations in ms. */
export interface BinanceArchiveOptions {
  /** Base address without `/data`, e.g. `https://data.binance.vision`. */
  readonly baseUrl: string;
  /** Where a file stands while it is read, one for each file that is open. */
  readonly tempFolder: string;
  readonly clock: Clock;
  /** Told of every request. */
  readonly record?: Recorder;
  /** Only read: for holds. */
  readonly exchangeTime: ExchangeTime;
  /** Keeps a hold of the archive's host, so that a restart obeys it. Awaited before the error is thrown. */
  readonly onHold?: (ban: Ban) => Promise<void>;
  /** A hold from before a restart: exchange time, epoch ms. */
  readonly heldUntilTime?: number;
  /** Without a byte; 30 s unless told. */
  readonly idleMs?: number;
  /** For one file in all; half an hour unless told. */
  readonly deadlineMs?: number;
}

/**
 * How far a file's bytes are proved. `mismatch` and `no-checksum`: nothing vouches for them but the ZIP's own structure
 * and CRC, which were checked before the first row is given out.
 */
export type ArchiveCheck = "ok" | "mismatch" | "no-checksum";

/** A file that was fetched. Until `close` or the end of `pages` it takes up disk. */
export interface OpenedArchive {
  readonly kind: "opened";
  readonly check: ArchiveCheck;
  /** When the file was made, epoch ms: the observed time of its candles. */
  readonly madeTime: number;
  /**
   * Its rows, ascending, at most 5,000 a page; to be read once. What a page lacks the exchange may still have: see
   * `absent` of the report.
   * @throws {BlackTradeError} E_SOURCE_BAD_ANSWER when the file turns out broken; what was yielded before stays valid
   */
  readonly pages: AsyncIterable<HistoryPage>;
  /** Complete once `pages` has ended. */
  report(): ArchiveReport;
  /** Deletes what is on disk. For those who do not read `pages` to the end; may be called again. */
  close(): Promise<void>;
}

/** The archive has no such file: not made yet, not listed, delisted. Says nothing about the exchange. */
export interface NotPublished {
  readonly kind: "not-published";
}

/** Archive files of Binance. */
export interface BinanceArchive {
  /**
   * Fetches a file and its checksum, asking for both once more when they do not agree.
   * @param signal also ends reading the pages, and deletes what is on disk
   * @throws {BlackTradeError}
   * - E_SOURCE_UNREACHABLE, E_SOURCE_TIMEOUT: no answer, or none in time;
   * - `SourceHoldError` with E_SOURCE_RATE_LIMIT, E_SOURCE_BANNED, E_SOURCE_BLOCKED or (503) E_SOURCE_SERVER: the host
   *   forbids requests; until then this throws it again without asking;
   * - E_SOURCE_REGION, E_SOURCE_REFUSED, E_SOURCE_SERVER: as they say;
   * - E_SOURCE_BAD_ANSWER: broken off, no ZIP, a ZIP of another shape or size, or of another file;
   * - E_CONFIG: the folder cannot be written to
   */
  open(file: ArchiveFile, signal: AbortSignal): Promise<OpenedArchive | NotPublished>;
}

const DEFAULT_IDLE_MS = 30_000;
const DEFAULT_DEADLINE_MS = 30 * 60_000;
const MAX_CHECKSUM_BYTES = 4_096;
/** More than any row needs, packed and unpacked, twice over. */
const MAX_PACKED_ROW_BYTES = 256;
const MAX_ROW_BYTES = 512;
/** For headers and repeats in files with few rows. */
const SPARE_BYTES = 2 ** 20;
/** Name under which a hold is kept: not that of REST, which is another host with other limits. */
const HOLD_NAME = "binance-archive";
const DIGEST = /^\uFEFF?\\?([0-9a-f]{64})(?![0-9a-f])/i;

/**
 * The archive of Binance's spot candles: files of days and months, fetched whole and verified before their rows are given
 * out. Another host than REST, so no request weight; nothing is tried again but a file whose checksum does not fit.
 * @throws {BlackTradeError} E_CONFIG when the base address is neither encrypted nor on this machine
 */
export function createBinanceArchive(options: BinanceArchiveOptions): BinanceArchive {
  return new Archive(options);
}

class Archive implements BinanceArchive {
  readonly #options: BinanceArchiveOptions;
  readonly #baseUrl: URL;
  #hold: Hold | undefined;
  /** A hold that could not be kept yet. */
  #unkept: Ban | undefined;

  constructor(options: BinanceArchiveOptions) {
    this.#options = options;
    this.#baseUrl = readBaseUrl(options.baseUrl, "https");
    if (options.heldUntilTime !== undefined) {
      const { host } = this.#baseUrl;
      const until = new Date(options.heldUntilTime).toISOString();
      const reason = `${host} asked for no request until ${until}`;
      this.#hold = { code: "E_SOURCE_RATE_LIMIT", untilTime: options.heldUntilTime, reason };
    }
  }

  async open(file: ArchiveFile, signal: AbortSignal): Promise<OpenedArchive | NotPublished> {
    signal.throwIfAborted();
    await this.#refuseWhileHeld();
    const zip = await TempFile.create(this.#options.tempFolder);
    const onAbort = (): void => void zip.close();
    const close = async (): Promise<void> => {
      signal.removeEventListener("abort", onAbort);
      await zip.close();
    };
    try {
      for (let isAgain = false; ; isAgain = true) {
        const fetched = await this.#fetch(file, zip, signal);
        if (fetched === undefined) {
          await close();
          return { kind: "not-published" };
        }
        // Both anew: the file may have been issued anew between the two requests.
        if (fetched.check === "mismatch" && !isAgain) {
          await zip.clear();
          continue;
        }
        const opened = await this.#read(file, zip, fetched, close, signal);
        signal.addEventListener("abort", onAbort, { once: true });
        signal.throwIfAborted();
        return opened;
      }
    } catch (error) {
      await close();
      throw error;
    }
  }

  /** @returns `undefined` when there is no such file */
  async #fetch(
    { kind, path, range, dueTime, candleCount }: ArchiveFile,
    zip: TempFile,
    signal: AbortSignal,
  ): Promise<{ readonly check: ArchiveCheck; readonly madeTime: number } | undefined> {
    const hash = createHash("sha256");
    const maxBytes = SPARE_BYTES + candleCount * MAX_PACKED_ROW_BYTES;
    const write = async (piece: Uint8Array): Promise<void> => {
      hash.update(piece);
      await zip.append(piece);
    };
    const kindOfFile = kind === "archive-monthly" ? "monthly" : "daily";
    const head = await this.#get(path, kindOfFile, { maxBytes, write }, signal);
    if (head === undefined) return undefined;
    if (/html/i.test(head.headers.get("content-type") ?? "")) {
      throw badAnswer(`${this.#baseUrl.host} sent a web page (HTML) in place of a ZIP`);
    }
    const digest = hash.digest("hex");
    const said = await this.#checksum(path, signal);
    const check =
      said === undefined ? "no-checksum" : said.toLowerCase() === digest ? "ok" : "mismatch";
    const modifiedTime = Date.parse(head.headers.get("last-modified") ?? "");
    // A time before the file's own period, or none, says nothing: then it was made when it was due.
    const madeTime = modifiedTime > range.from ? modifiedTime : dueTime;
    return { check, madeTime: Math.min(madeTime, Math.max(this.#now(), dueTime)) };
  }

  /** @returns the digest that was published, "" when what is published is none, `undefined` when there is none */
  async #checksum(path: string, signal: AbortSignal): Promise<string | undefined> {
    const pieces: Uint8Array[] = [];
    const write = async (piece: Uint8Array): Promise<void> => void pieces.push(piece);
    const sum = { maxBytes: MAX_CHECKSUM_BYTES, write };
    const head = await this.#get(`${path}.CHECKSUM`, "checksum", sum, signal);
    if (head === undefined) return undefined;
    const [, digest = ""] = DIGEST.exec(Buffer.concat(pieces).toString("utf8")) ?? [];
    return digest;
  }

  /** @returns `undefined` when there is nothing of that name */
  async #get(
    path: string,
    file: "monthly" | "daily" | "checksum",
    target: Pick<DownloadOptions, "maxBytes" | "write">,
    signal: AbortSignal,
  ): Promise<HttpHead | undefined> {
    await this.#refuseWhileHeld();
    const {
      clock,
      idleMs = DEFAULT_IDLE_MS,
      deadlineMs = DEFAULT_DEADLINE_MS,
      record,
    } = this.#options;
    const base = this.#baseUrl;
    const url = new URL(`${base.pathname.replace(/\/+$/, "")}${path}`, base);
    let byteCount = 0;
    let httpStatus = 0;
    const write = (piece: Uint8Array): Promise<void> => {
      byteCount += piece.byteLength;
      return target.write(piece);
    };
    const beganMs = clock.monotonic();
    const options = { clock, idleMs, deadlineMs, maxBytes: target.maxBytes, write };
    const head = await download(url, options, signal)
      .then((answer) => {
        httpStatus = answer.status;
        return answer;
      })
      .finally(() => {
        const tookMs = clock.monotonic() - beganMs;
        record?.({ kind: "archiveRequestDone", file, httpStatus, byteCount, tookMs });
      });
    if (head.status === 200) return head;
    if (head.status === 404) return undefined;
    const hold = archiveHoldOf(head, url.host, this.#now());
    if (hold === undefined) throw refusalOf(head.status, url.host);
    // Of several files under way at once each has an answer of its own: a shorter hold cuts no longer one short.
    if (hold.untilTime > (this.#hold?.untilTime ?? Number.NEGATIVE_INFINITY)) {
      this.#hold = hold;
      const { untilTime } = hold;
      this.#unkept = { exchange: HOLD_NAME, untilTime, httpStatus: head.status };
    }
    throw holdError(hold, await this.#keepHold());
  }

  /** Looks into the ZIP; what no checksum vouches for is unpacked once to the end before anybody sees a row of it. */
  async #read(
    file: ArchiveFile,
    zip: TempFile,
    { check, madeTime }: { readonly check: ArchiveCheck; readonly madeTime: number },
    close: () => Promise<void>,
    signal: AbortSignal,
  ): Promise<OpenedArchive> {
    const broken = (reason: string, cause?: unknown): BlackTradeError =>
      brokenFile(file.name, reason, check, cause);
    const readAt: ReadAt = (offset, length) => zip.readAt(offset, length);
    const maxSize = SPARE_BYTES + file.candleCount * MAX_ROW_BYTES;
    const found = await readZipEntry(readAt, zip.size, maxSize);
    if (!found.isOk) throw broken(found.reason);
    const entry = found.value;
    const rows = new ArchiveRows(file, madeTime);
    if (!isNamedAlike(entry.name, file.name)) {
      if (isNameOfArchive(entry.name)) throw broken(`it holds ${shown(entry.name)}`);
      rows.note(`the file in the ZIP is named ${shown(entry.name)}`);
    }
    if (check !== "ok") await checkStructure(readAt, entry, broken, signal);
    const pages = readPages(file, rows, madeTime, unzip(readAt, entry, signal), {
      source: check === "ok" ? file.kind : "archive-unproven",
      broken,
      close,
      signal,
    });
    return { kind: "opened", check, madeTime, pages, report: () => rows.report(), close };
  }

  async #refuseWhileHeld(): Promise<void> {
    if (this.#hold === undefined || this.#now() >= this.#hold.untilTime) return;
    const hold = this.#hold;
    throw holdError(hold, await this.#keepHold());
  }

  /**
   * Keeps a hold for the next start; one that could not be kept, because the database is away, at the next question.
   * @returns why it could not; what the host said matters more, and the hold stands in memory
   */
  async #keepHold(): Promise<unknown> {
    const ban = this.#unkept;
    if (ban === undefined) return undefined;
    try {
      await this.#options.onHold?.(ban);
      if (this.#unkept === ban) this.#unkept = undefined;
      return undefined;
    } catch (error) {
      return error;
    }
  }

  /** Exchange time, epoch ms; until that is known once, the wall clock has to do. */
  #now(): number {
    const { exchangeTime, clock } = this.#options;
    return exchangeTime.isKnown ? exchangeTime.now(clock.monotonic()) : clock.now();
  }
}

async function checkStructure(
  readAt: ReadAt,
  entry: ZipEntry,
  broken: (reason: string, cause: unknown) => BlackTradeError,
  signal: AbortSignal,
): Promise<void> {
  try {
    for await (const _ of unzip(readAt, entry, signal)) signal.throwIfAborted();
  } catch (error) {
    throw error instanceof ZipFault ? broken(error.message, error) : error;
  }
}

async function* readPages(
  { name }: ArchiveFile,
  rows: ArchiveRows,
  madeTime: number,
  pieces: AsyncIterable<Uint8Array>,
  {
    source,
    broken,
    close,
    signal,
  }: {
    readonly source: Source;
    readonly broken: (reason: string, cause?: unknown) => BlackTradeError;
    readonly close: () => Promise<void>;
    readonly signal: AbortSignal;
  },
): AsyncGenerator<HistoryPage> {
  function* ready(): Generator<HistoryPage> {
    if (rows.headerFault !== undefined) throw broken(rows.headerFault);
    for (let page = rows.takePage(); page !== undefined; page = rows.takePage()) {
      yield { ...page, source, askedTime: madeTime };
    }
  }
  try {
    for await (const piece of pieces) {
      rows.push(piece);
      for (const page of ready()) {
        yield page;
        signal.throwIfAborted();
      }
    }
    rows.end();
    yield* ready();
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof BlackTradeError) throw error;
    if (error instanceof ZipFault) throw broken(error.message, error);
    throw new Error(`${name}.zip was closed before its end`, { cause: error });
  } finally {
    await close();
  }
}

/** A hold of the archive's host: as REST's, and 503, by which storage services ask to slow down. */
function archiveHoldOf(head: HttpHead, host: string, now: number): Hold | undefined {
  if (head.status !== 503) return holdOf({ head, body: "" }, host, now);
  const untilTime = now + retryAfterMs(head.headers.get("retry-after"));
  const until = new Date(untilTime).toISOString();
  const reason = `${host} is overloaded (503), no request until ${until}`;
  return { code: "E_SOURCE_SERVER", untilTime, reason };
}

function holdError({ code, reason, untilTime }: Hold, cause?: unknown): SourceHoldError {
  return new SourceHoldError(code, reason, untilTime, { remedy: HOLD_REMEDY, cause });
}

function refusalOf(status: number, host: string): BlackTradeError {
  if (status >= 300 && status < 400) {
    return badAnswer(`${host} redirects to another address (${status}), which is not followed`);
  }
  if (status === 451) {
    return new BlackTradeError("E_SOURCE_REGION", `${host} is closed to this region (451)`, {
      remedy: "Use the public archive, which is the default: unset BINANCE_ARCHIVE_URL.",
    });
  }
  if (status >= 500) {
    return new BlackTradeError("E_SOURCE_SERVER", `${host} has an internal error (${status})`, {
      remedy: "It is asked again by itself; the exchange has to mend it.",
    });
  }
  return new BlackTradeError("E_SOURCE_REFUSED", `${host} refused the request (${status})`, {
    remedy: "Check BINANCE_ARCHIVE_URL; if it is right, report this as a defect of black-trade.",
  });
}

function brokenFile(
  name: string,
  reason: string,
  check: ArchiveCheck,
  cause: unknown,
): BlackTradeError {
  const proof =
    check === "ok"
      ? "its checksum is right"
      : check === "mismatch"
        ? "its checksum is wrong, twice"
        : "it has no checksum";
  return new BlackTradeError("E_SOURCE_BAD_ANSWER", `${name}.zip is broken: ${reason} (${proof})`, {
    remedy: "The exchange has to mend it; the same candles come by other files or by REST.",
    cause,
  });
}

function isNamedAlike(entryName: string, name: string): boolean {
  const own = entryName.slice(entryName.search(/[^/\\]*$/)).replace("-1M-", "-1mo-");
  return own.toLowerCase() === `${name}.csv`.toLowerCase();
}

/** True for a plain name of the archive's pattern: it then says truly what it holds, where mangled characters say nothing. */
function isNameOfArchive(entryName: string): boolean {
  return /^(?:[^/\\]*[/\\])*[!-.0-[\]-~]+-\d+[a-z]+-\d{4}-\d\d(?:-\d\d)?\.csv$/i.test(entryName);
}

function shown(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
}
