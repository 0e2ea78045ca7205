import { createHash } from "node:crypto";
import type { Candle } from "../../src/core/candle.ts";
import type { Series } from "../../src/core/series.ts";
import { nextOpenTime, type Timeframe } from "../../src/core/timeframe.ts";
import { zipWith } from "../support/zip.ts";
import type { FaultKind, FaultPlan } from "./faults.ts";
import type { Journal } from "./journal.ts";
import type { Market } from "./market.ts";
import { hashText } from "./random.ts";
import type { RestAnswer } from "./rest-server.ts";

/** A file, and what stands in it. */
interface ArchivedFile {
  readonly zip: Buffer;
  readonly digest: string;
  readonly series: Series;
  readonly candles: readonly Candle[];
}

const PATH =
  /^\/data\/spot\/(daily|monthly)\/klines\/([^/]+)\/(\w+)\/[^/]+-(\d{4})-(\d\d)(?:-(\d\d))?\.zip(\.CHECKSUM)?$/;
const HOUR_MS = 3_600_000;
/** A day's file comes some time in the next day; rows of a file are of so long before it was made. */
const MADE_AFTER_MS = 2 * HOUR_MS;
const HOLD_MS = 60_000;
/** Of the files of a world, the share that a fault of them befalls. */
const BEFALLEN_SHARE = 0.6;
/** Rows that an odd file repeats, or has rubbish beside: one in so many. */
const ODD_EVERY = 97;
const HOLE_EVERY = 211;
const POISON_EVERY = 301;
const HEADER = "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker,taker_q,i";

/** The exchange's archive: files of days and months with their checksums, and what is wrong with them. */
export class ArchiveServer {
  readonly #market: Market;
  readonly #plan: FaultPlan;
  readonly #journal: Journal;
  readonly #files = new Map<string, ArchivedFile>();
  /** Digest of what went out last, by path. */
  readonly #sent = new Map<string, ArchivedFile>();

  constructor(market: Market, plan: FaultPlan, journal: Journal) {
    this.#market = market;
    this.#plan = plan;
    this.#journal = journal;
  }

  /** Answers a request that arrives now. */
  answer(path: string, now: number): RestAnswer {
    this.#journal.count("archive requests");
    return this.#down(path, now) ?? this.#answer(path, now);
  }

  #down(path: string, now: number): RestAnswer | undefined {
    const down = this.#plan.on("archive-down", now);
    if (down === undefined || this.#share(path, "archive-down") > 0.5) return undefined;
    const [status, headers] = REFUSALS[Math.floor(down.arg * 100) % REFUSALS.length] ?? [500, {}];
    if (status === 500) return { status, headers, body: "<html>oops</html>" };
    const holdMs = status === 403 ? 10 * HOLD_MS : "retry-after" in headers ? 30_000 : HOLD_MS;
    return { status, headers, body: "", holdUntil: now + holdMs };
  }

  #answer(path: string, now: number): RestAnswer {
    const [, kind, symbol = "", interval, year, month, day, sum] = PATH.exec(path) ?? [];
    if (kind === undefined) return NOT_FOUND;
    const from = Date.UTC(Number(year), Number(month) - 1, day === undefined ? 1 : Number(day));
    const timeframe = (interval === "1mo" ? "1M" : interval) as Timeframe;
    const series = { exchange: "binance", symbol: decodeURIComponent(symbol), timeframe };
    const to = nextOpenTime(day === undefined ? "1M" : "1d", from);
    const zipPath = path.replace(/\.CHECKSUM$/, "");
    if (sum !== undefined) return this.#checksum(zipPath, now);
    const madeTime = to + MADE_AFTER_MS;
    if (now < madeTime || this.#befalls("archive-missing", zipPath, now)) return NOT_FOUND;
    const file = this.#file(zipPath, series, { from, to }, now);
    if (file.candles.length === 0) return NOT_FOUND;
    const headers = {
      "content-type": "application/zip",
      "last-modified": new Date(madeTime).toUTCString(),
    };
    if (this.#befalls("archive-broken", zipPath, now)) return brokenAnswer(file.zip, headers, path);
    for (const candle of file.candles) this.#journal.served(series, candle);
    this.#journal.count("archive files");
    this.#sent.set(zipPath, file);
    return { status: 200, headers, body: file.zip };
  }

  #checksum(zipPath: string, now: number): RestAnswer {
    const file = this.#sent.get(zipPath);
    if (file === undefined) return NOT_FOUND;
    const headers = { "content-type": "text/plain" };
    const name = zipPath.slice(zipPath.lastIndexOf("/") + 1);
    if (this.#befalls("archive-unproven", zipPath, now)) {
      if (this.#share(zipPath, "no checksum") < 0.4) return NOT_FOUND;
      const other = file.digest.replace(/^./, (digit) => (digit === "0" ? "1" : "0"));
      return { status: 200, headers, body: `${other}  ${name}\n` };
    }
    for (const candle of file.candles) this.#journal.vouched(file.series, candle);
    return { status: 200, headers, body: `${file.digest}  ${name}\n` };
  }

  #file(
    path: string,
    series: Series,
    range: { readonly from: number; readonly to: number },
    now: number,
  ): ArchivedFile {
    const style = (["archive-holes", "archive-odd", "archive-poison"] as const).filter((kind) =>
      this.#befalls(kind, path, now),
    );
    const key = `${path} ${style.join()}`;
    const known = this.#files.get(key);
    if (known !== undefined) return known;
    const opens = this.#market.openTimes(series, range.from, range.to, 1e6);
    const kept = style.includes("archive-holes")
      ? opens.filter((_open, index) => index % HOLE_EVERY > 4)
      : opens;
    const candles = kept.flatMap((open) => this.#market.archived(series, open) ?? []);
    const poisoned = new Set(
      style.includes("archive-poison")
        ? candles.filter((_candle, index) => index % POISON_EVERY === 7)
        : [],
    );
    this.#journal.count("poison rows", poisoned.size);
    const rows = candles.map((candle) =>
      lineOf(poisoned.has(candle) ? this.#market.garbled(series, candle) : candle),
    );
    const text = style.includes("archive-odd") ? oddly(rows) : rows.join("");
    const entry = path.slice(path.lastIndexOf("/") + 1).replace(/zip$/, "csv");
    // Not packed, so that reading it takes no thread of its own.
    const zip = zipWith([{ name: decodeURIComponent(entry), content: text, isStored: true }]);
    const digest = createHash("sha256").update(zip).digest("hex");
    const sound = candles.filter((candle) => !poisoned.has(candle));
    const file = { zip, digest, series, candles: sound };
    this.#files.set(key, file);
    return file;
  }

  #befalls(kind: FaultKind, path: string, now: number): boolean {
    return this.#plan.on(kind, now) !== undefined && this.#share(path, kind) < BEFALLEN_SHARE;
  }

  #share(path: string, salt: string): number {
    return hashText(`${salt} ${path}`) / 2 ** 32;
  }
}

const NOT_FOUND: RestAnswer = {
  status: 404,
  headers: { "content-type": "application/xml" },
  body: "<Error><Code>NoSuchKey</Code></Error>",
};

const REFUSALS: readonly (readonly [number, Readonly<Record<string, string>>])[] = [
  [500, {}],
  [503, { "retry-after": "30" }],
  [503, {}],
  [429, { "retry-after": "30" }],
  [403, {}],
];

function brokenAnswer(
  zip: Buffer,
  headers: Readonly<Record<string, string>>,
  path: string,
): RestAnswer {
  const half = zip.subarray(0, zip.length / 2);
  const flipped = Buffer.from(zip);
  const at = Math.floor(zip.length / 3);
  flipped[at] = (flipped[at] ?? 0) ^ 1;
  const answers: readonly RestAnswer[] = [
    { status: 200, headers, body: half, isCut: true },
    { status: 200, headers, body: half },
    { status: 200, headers, body: flipped },
    { status: 200, headers, body: flipped },
    { status: 200, headers, body: flipped },
    { status: 200, headers: { "content-type": "text/html" }, body: "<html>Welcome</html>" },
    { status: 200, headers, body: "PK, but no ZIP" },
  ];
  return answers[hashText(path) % answers.length] as RestAnswer;
}

function lineOf(candle: Candle): string {
  const { openTime, closeTime, open, high, low, close, volume, quoteVolume, tradeCount } = candle;
  const tail = [candle.takerBuyVolume, candle.takerBuyQuoteVolume, "0"];
  const row = [`${openTime}000`, open, high, low, close, volume, `${closeTime}999`, quoteVolume];
  return `${[...row, tradeCount, ...tail].join(",")}\n`;
}

/** A header, a byte order mark, times in ms, repeats, rows that change places, and rubbish. */
function oddly(rows: readonly string[]): string {
  const lines = [`\uFEFF${HEADER}\r\n`];
  for (const [index, row] of rows.entries()) {
    if (index % ODD_EVERY === 1) lines.push(row, row);
    else if (index % ODD_EVERY === 2) lines.push("<html>503</html>\n", row);
    else if (index % ODD_EVERY === 3) lines.push(row.replace(/^(\d{13})000,/, "$1,"));
    else if (index % ODD_EVERY === 4) lines.splice(-1, 0, row);
    else lines.push(row);
  }
  return lines.join("");
}
