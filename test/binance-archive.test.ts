import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import type { ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { BlackTradeError, type ErrorCode, SourceHoldError } from "../src/core/errors.ts";
import type { IngestEvent } from "../src/core/events.ts";
import { ExchangeTime } from "../src/core/exchange-time.ts";
import type { Ban, HistoryPage } from "../src/core/ports.ts";
import {
  type ArchiveFile,
  type BinanceArchive,
  type BinanceArchiveOptions,
  createBinanceArchive,
  type OpenedArchive,
  planArchive,
} from "../src/exchanges/binance/index.ts";
import { scaledClock } from "./support/clocks.ts";
import { type Answer, type ScriptedHttp, scriptedHttp } from "./support/scripted-http.ts";
import { type ZippedFile, zipWith } from "./support/zip.ts";

/** The archive adapter against servers that answer as they like. */

const MINUTE = 60_000;
const DAY = 86_400_000;
const FROM = Date.UTC(2025, 0, 15);
const NOW = Date.UTC(2025, 2, 20, 12);
const MADE = "Thu, 16 Jan 2025 03:04:05 GMT";
const MONTH_MADE = { "last-modified": "Mon, 03 Feb 2025 03:04:05 GMT" };
const SERIES = { exchange: "binance", symbol: "BTCUSDT", timeframe: "1m" } as const;
const DAILY = fileOf({ from: FROM, to: FROM + DAY });
const MONTHLY = fileOf({ from: Date.UTC(2025, 0, 1), to: Date.UTC(2025, 1, 1) });

function fileOf(range: { from: number; to: number }): ArchiveFile {
  const [file] = planArchive(SERIES, range, NOW).files;
  assert.ok(file);
  return file;
}

function csv(count: number, from = FROM): string {
  const lines = Array.from({ length: count }, (_, index) => {
    const time = (from + index * MINUTE) * 1_000;
    return `${time},1.50000000,2.00,1.0,1.75,10,${time + 59_999_999},17.5,3,4,7,0\n`;
  });
  return lines.join("");
}

const GOOD = csv(1_440);

function zipped(content: string | Buffer, file: Partial<ZippedFile> = {}): Buffer {
  return zipWith([{ name: `${DAILY.name}.csv`, content, ...file }]);
}

const sumOf = (bytes: Buffer): string =>
  `${createHash("sha256").update(bytes).digest("hex")}  ${DAILY.name}.zip\n`;
const WRONG_SUM = `${"0".repeat(64)}  ${DAILY.name}.zip\n`;
const NOT_FOUND = { status: 404, body: "<Error><Code>NoSuchKey</Code></Error>" };

const ofZip = (body: Buffer, headers: Record<string, string> = {}): Answer => ({
  headers: { "content-type": "application/zip", "last-modified": MADE, ...headers },
  body,
});

interface Setup {
  readonly archive: BinanceArchive;
  readonly server: ScriptedHttp;
  readonly signal: AbortSignal;
  readonly controller: AbortController;
  readonly holds: Ban[];
  readonly tempFolder: string;
  /** What stands in the folder of temporary files. */
  leftovers(): readonly string[];
}

test("every request is told, with its bytes and without a weight", async (t) => {
  const events: IngestEvent[] = [];
  const zip = zipped(GOOD);
  const sum = { body: sumOf(zip) };
  const record = (event: IngestEvent): void => void events.push(event);
  const hangUp = (response: ServerResponse): void => void response.destroy();
  const setup = await serve(t, [ofZip(zip), NOT_FOUND, hangUp], [sum], { record });
  const opened = await setup.archive.open(DAILY, setup.signal);
  assert.equal(opened.kind, "opened");
  await setup.archive.open(MONTHLY, setup.signal);
  await assert.rejects(setup.archive.open(DAILY, setup.signal));
  assert.deepEqual(
    events.map((event) =>
      event.kind === "archiveRequestDone"
        ? [event.file, event.httpStatus, event.byteCount, event.tookMs >= 0]
        : event,
    ),
    [
      ["daily", 200, zip.byteLength, true],
      ["checksum", 200, sum.body.length, true],
      ["monthly", 404, 0, true],
      ["daily", 0, 0, true],
    ],
  );
});

/** A server that answers by turns: first the zips and then the checksums of the list, the last one for ever. */
async function serve(
  t: TestContext,
  zips: readonly Answer[],
  sums: readonly Answer[] = [NOT_FOUND],
  options: Partial<BinanceArchiveOptions> = {},
): Promise<Setup> {
  let zipCount = 0;
  let sumCount = 0;
  const server = await scriptedHttp(t, ({ path }) => {
    const isSum = path.endsWith(".CHECKSUM");
    const list = isSum ? sums : zips;
    const index = isSum ? sumCount++ : zipCount++;
    return list[Math.min(index, list.length - 1)] ?? NOT_FOUND;
  });
  const parent = mkdtempSync(join(tmpdir(), "archive-test-"));
  const tempFolder = join(parent, "not", "there", "yet");
  const controller = new AbortController();
  const holds: Ban[] = [];
  t.after(() => {
    controller.abort();
    rmSync(parent, { recursive: true, force: true });
  });
  const archive = createBinanceArchive({
    baseUrl: server.url,
    tempFolder,
    clock: scaledClock(1, NOW),
    exchangeTime: new ExchangeTime(),
    onHold: async (ban) => void holds.push(ban),
    ...options,
  });
  const leftovers = (): readonly string[] => {
    try {
      return readdirSync(tempFolder);
    } catch {
      return [];
    }
  };
  return { archive, server, signal: controller.signal, controller, holds, tempFolder, leftovers };
}

async function opened({ archive, signal }: Setup, file = DAILY): Promise<OpenedArchive> {
  const answer = await archive.open(file, signal);
  assert.ok(answer.kind === "opened");
  return answer;
}

async function pagesOf(answer: OpenedArchive): Promise<HistoryPage[]> {
  const pages: HistoryPage[] = [];
  for await (const page of answer.pages) pages.push(page);
  return pages;
}

/** Opens and reads a file that is one. */
async function readAll(setup: Setup, file = DAILY) {
  const answer = await opened(setup, file);
  const pages = await pagesOf(answer);
  return { answer, pages, rows: pages.flatMap((page) => page.rows), report: answer.report() };
}

const failsWith =
  (code: ErrorCode, message: RegExp) =>
  (error: unknown): boolean => {
    assert.ok(error instanceof BlackTradeError, String(error));
    assert.equal(error.code, code);
    assert.match(error.message, message);
    assert.doesNotMatch(error.message, /\n/);
    return true;
  };

test("a file with its checksum: rows, source, time, and nothing left on disk", async (t) => {
  const zip = zipped(GOOD);
  const setup = await serve(t, [ofZip(zip)], [{ body: sumOf(zip) }]);
  const { answer, pages, rows, report } = await readAll(setup);
  assert.equal(answer.check, "ok");
  assert.equal(answer.madeTime, Date.parse(MADE));
  assert.equal(rows.length, 1_440);
  assert.deepEqual(rows[0], {
    openTime: FROM,
    closeTime: FROM + MINUTE - 1,
    open: "1.50000000",
    high: "2.00",
    low: "1.0",
    close: "1.75",
    volume: "10",
    quoteVolume: "17.5",
    tradeCount: 3,
    takerBuyVolume: "4",
    takerBuyQuoteVolume: "7",
  });
  assert.ok(pages.every((page) => page.source === "archive-daily"));
  assert.ok(pages.every((page) => page.askedTime === Date.parse(MADE)));
  assert.deepEqual(
    pages.map(({ range }) => range),
    [DAILY.range],
  );
  assert.deepEqual([report.absent, report.notes, report.rejected], [[], [], []]);
  assert.deepEqual(
    setup.server.seen.map(({ path }) => path),
    [DAILY.path, `${DAILY.path}.CHECKSUM`],
  );
  assert.deepEqual(setup.leftovers(), []);
});

test("upper-case digests, with a star, without a name or line break", async (t) => {
  const zip = zipped(GOOD);
  const [digest = ""] = sumOf(zip).split(" ");
  for (const body of [digest.toUpperCase(), `${digest} *x.zip`, `\uFEFF${digest}\r\n`]) {
    const setup = await serve(t, [ofZip(zip)], [{ body }]);
    assert.equal((await readAll(setup)).answer.check, "ok");
  }
});

test("a mismatch once: both are fetched once more, and then it is sound", async (t) => {
  const zip = zipped(GOOD);
  const stale = zipped(csv(1_000));
  const setup = await serve(t, [ofZip(stale), ofZip(zip)], [{ body: sumOf(zip) }]);
  const { answer, rows } = await readAll(setup);
  assert.equal(answer.check, "ok");
  assert.equal(rows.length, 1_440);
  assert.equal(setup.server.seen.length, 4);
});

test("a mismatch twice: delivered with the flag, after its structure was checked", async (t) => {
  const zip = zipped(GOOD);
  const setup = await serve(t, [ofZip(zip)], [{ body: WRONG_SUM }]);
  const { answer, rows } = await readAll(setup);
  assert.equal(answer.check, "mismatch");
  assert.equal(rows.length, 1_440);
  assert.equal(setup.server.seen.length, 4);
  // What is published as a checksum and is none vouches for nothing either.
  for (const body of ["", "<html>no</html>", "d41d8cd9  a.zip", "0".repeat(4_000)]) {
    const other = await serve(t, [ofZip(zip)], [{ body }]);
    assert.equal((await readAll(other)).answer.check, "mismatch");
  }
});

test("a mismatch, and broken inside: no row is given out", async (t) => {
  for (const zip of [
    zipped(GOOD).subarray(0, 3_000),
    zipped(GOOD, { told: { crc: 5 } }),
    zipped(GOOD, { told: { size: 1_000 } }),
  ]) {
    const setup = await serve(t, [ofZip(zip)], [{ body: WRONG_SUM }]);
    await assert.rejects(
      setup.archive.open(DAILY, setup.signal),
      failsWith("E_SOURCE_BAD_ANSWER", /is broken: .*checksum is wrong, twice/),
    );
    assert.equal(setup.server.seen.length, 4);
    assert.deepEqual(setup.leftovers(), []);
  }
});

test("no checksum: delivered with the flag, or refused when broken inside", async (t) => {
  const setup = await serve(t, [ofZip(zipped(GOOD))], [NOT_FOUND]);
  const { answer, rows } = await readAll(setup);
  assert.equal(answer.check, "no-checksum");
  assert.equal(rows.length, 1_440);
  const broken = await serve(t, [ofZip(zipped(GOOD, { told: { crc: 5 } }))], [NOT_FOUND]);
  await assert.rejects(
    broken.archive.open(DAILY, broken.signal),
    failsWith("E_SOURCE_BAD_ANSWER", /CRC-32 \(it has no checksum\)/),
  );
});

test("404 is not published: a value, with one request and nothing on disk", async (t) => {
  const setup = await serve(t, [NOT_FOUND]);
  assert.deepEqual(await setup.archive.open(DAILY, setup.signal), { kind: "not-published" });
  assert.equal(setup.server.seen.length, 1);
  assert.deepEqual(setup.leftovers(), []);
});

test("symbols of other scripts, and a base address with a path", async (t) => {
  const symbol = "币安人生USDT";
  const [file] = planArchive({ ...SERIES, symbol }, DAILY.range, NOW).files;
  assert.ok(file);
  const zip = zipWith([{ name: `${file.name}.csv`, content: GOOD }]);
  const setup = await serve(t, [ofZip(zip)], [{ body: sumOf(zip) }]);
  const { rows, report } = await readAll(setup, file);
  assert.equal(rows.length, 1_440);
  assert.deepEqual(report.notes, []);
  const seen = setup.server.seen[0]?.path ?? "";
  assert.equal(decodeURIComponent(seen), `/data/spot/daily/klines/${symbol}/1m/${file.name}.zip`);
  const below = await serve(t, [ofZip(zip)], [{ body: sumOf(zip) }]);
  const archive = createBinanceArchive({
    baseUrl: `${below.server.url}/mirror/`,
    tempFolder: below.tempFolder,
    clock: scaledClock(1, NOW),
    exchangeTime: new ExchangeTime(),
  });
  await readAll({ ...below, archive }, file);
  assert.equal(below.server.seen[0]?.path, `/mirror${seen}`);
});

test("dirty rows: header, byte order mark, CRLF, ms among µs, repeats, garbage, other days", async (t) => {
  const lines = GOOD.trimEnd().split("\n");
  const inMs = (line = ""): string => line.replaceAll(/(\d{13})(?:000|999),/g, "$1,");
  const content = [
    "\uFEFFopen_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore",
    ...lines.slice(0, 2),
    inMs(lines[2]),
    lines[2],
    lines[3]?.replace(",10,", ",9,"),
    lines[3],
    "not a row",
    csv(1, FROM - MINUTE).trimEnd(),
    ...lines.slice(100),
  ].join("\r\n");
  const zip = zipped(content);
  const { rows, report } = await readAll(await serve(t, [ofZip(zip)], [{ body: sumOf(zip) }]));
  const clean = zipped(GOOD);
  const right = await readAll(await serve(t, [ofZip(clean)], [{ body: sumOf(clean) }]));
  assert.deepEqual(rows, [...right.rows.slice(0, 4), ...right.rows.slice(100)]);
  assert.equal(report.duplicateCount, 1);
  assert.equal(report.conflictCount, 1);
  assert.deepEqual(
    report.rejected.map(({ line, code }) => [line, code]),
    [
      [8, "columns"],
      [9, "outside-file"],
    ],
  );
  assert.deepEqual(report.absent, [{ from: FROM + 4 * MINUTE, to: FROM + 100 * MINUTE }]);
  assert.equal(report.notes.length, 2);
});

test("a day that is missing in a month is told, to be taken from its daily file", async (t) => {
  const days = Array.from({ length: 31 }, (_, index) => MONTHLY.range.from + index * DAY);
  const content = days.flatMap((day, index) => (index === 6 ? [] : [csv(1_440, day)])).join("");
  const zip = zipWith([{ name: `${MONTHLY.name}.csv`, content }]);
  const setup = await serve(t, [ofZip(zip, MONTH_MADE)], [{ body: sumOf(zip) }]);
  const { rows, pages, report } = await readAll(setup, MONTHLY);
  assert.equal(rows.length, 30 * 1_440);
  assert.ok(pages.every((page) => page.source === "archive-monthly" && page.rows.length <= 5_000));
  const [absent, ...more] = report.absent;
  assert.deepEqual(more, []);
  assert.deepEqual(absent, { from: Date.UTC(2025, 0, 7), to: Date.UTC(2025, 0, 8) });
  const plan = planArchive(SERIES, absent ?? DAILY.range, NOW, { kinds: ["archive-daily"] });
  assert.deepEqual(
    plan.files.map(({ name }) => name),
    ["BTCUSDT-1m-2025-01-07"],
  );
  assert.deepEqual(plan.rest, []);
});

test("an empty file has no page, and all of it is absent", async (t) => {
  const zip = zipped("");
  const setup = await serve(t, [ofZip(zip)], [{ body: sumOf(zip) }]);
  const { pages, report } = await readAll(setup);
  assert.deepEqual(pages, []);
  assert.deepEqual(report.absent, [DAILY.range]);
});

test("ZIPs that are refused, whatever their checksum says", async (t) => {
  const refused: readonly (readonly [Buffer, RegExp])[] = [
    [zipped(GOOD).subarray(0, 2_000), /no ZIP, or one that is cut off/],
    [
      zipWith([
        { name: "a.csv", content: GOOD },
        { name: "b.csv", content: GOOD },
      ]),
      /2 files in the ZIP/,
    ],
    [zipped(Buffer.alloc(2 ** 24)), /unpacks to/],
    [zipped(GOOD, { name: "ETHUSDT-1m-2025-01-15.csv" }), /holds "ETHUSDT-1m-2025-01-15.csv"/],
    [zipped(GOOD, { name: "BTCUSDT-1m-2025-01-14.csv" }), /holds "BTCUSDT-1m-2025-01-14.csv"/],
    [zipped(`open_time,open,close,high,low\n${GOOD}`), /another order/],
  ];
  for (const [zip, reason] of refused) {
    const setup = await serve(t, [ofZip(zip)], [{ body: sumOf(zip) }]);
    await assert.rejects(readAll(setup), failsWith("E_SOURCE_BAD_ANSWER", reason));
    assert.deepEqual(setup.leftovers(), []);
  }
});

test("a bomb that lies about its size ends while it is unpacked", async (t) => {
  const zip = zipped(Buffer.alloc(2 ** 26, "1"), { told: { size: 100_000 } });
  const setup = await serve(t, [ofZip(zip)], [{ body: sumOf(zip) }]);
  await assert.rejects(
    readAll(setup),
    failsWith("E_SOURCE_BAD_ANSWER", /unpacks to more than 100000 bytes/),
  );
  assert.deepEqual(setup.leftovers(), []);
});

test("names in the ZIP are never a path; one that says nothing is noted", async (t) => {
  for (const name of ["../../../tmp/evil.csv", "/etc/passwd", "C:\\x.csv", "b\u00d4.csv", ""]) {
    const zip = zipped(GOOD, { name });
    const setup = await serve(t, [ofZip(zip)], [{ body: sumOf(zip) }]);
    const { rows, report } = await readAll(setup);
    assert.equal(rows.length, 1_440);
    assert.equal(report.notes.length, 1, name);
    assert.match(report.notes[0] ?? "", /is named/);
  }
  const inFolder = zipped(GOOD, { name: `folder/${DAILY.name.toLowerCase()}.CSV` });
  const setup = await serve(t, [ofZip(inFolder)], [{ body: sumOf(inFolder) }]);
  assert.deepEqual((await readAll(setup)).report.notes, []);
});

test("a body without an end is given up at a size that no such file can have", async (t) => {
  const endless: Answer = (response) => {
    response.writeHead(200, { "content-type": "application/zip" });
    const piece = Buffer.alloc(2 ** 18, 1);
    const more = (): void => {
      while (!response.destroyed && response.write(piece));
      if (!response.destroyed) response.once("drain", more);
    };
    more();
  };
  const setup = await serve(t, [endless]);
  await assert.rejects(
    setup.archive.open(DAILY, setup.signal),
    failsWith("E_SOURCE_BAD_ANSWER", /more than \d+ bytes/),
  );
  assert.deepEqual(setup.leftovers(), []);
});

test("when it was made: Last-Modified within reason, else when it was due", async (t) => {
  const zip = zipped(GOOD);
  const cases: readonly (readonly [Record<string, string>, number])[] = [
    [{ "last-modified": "Fri, 28 Feb 2025 08:00:00 GMT" }, Date.UTC(2025, 1, 28, 8)],
    [{ "last-modified": "Thu, 01 Jan 1970 00:00:00 GMT" }, DAILY.dueTime],
    [{ "last-modified": "yesterday" }, DAILY.dueTime],
    [{ "last-modified": "" }, DAILY.dueTime],
  ];
  for (const [headers, madeTime] of cases) {
    const setup = await serve(t, [ofZip(zip, headers)], [{ body: sumOf(zip) }]);
    const { answer, rows } = await readAll(setup);
    assert.equal(answer.madeTime, madeTime);
    assert.equal(rows.length, 1_440);
  }
  const future = { "last-modified": "Thu, 20 Mar 2031 00:00:00 GMT" };
  const setup = await serve(t, [ofZip(zip, future)], [{ body: sumOf(zip) }]);
  const { madeTime } = await opened(setup);
  assert.ok(madeTime >= NOW && madeTime < NOW + MINUTE);
  // Made before its day was over: what was not closed by then is left for later.
  const early = { "last-modified": "Wed, 15 Jan 2025 12:00:30 GMT" };
  const partly = await readAll(await serve(t, [ofZip(zip, early)], [{ body: sumOf(zip) }]));
  assert.equal(partly.rows.length, 719);
  assert.equal(partly.report.rejected[0]?.code, "not-closed");
});

test("holds are obeyed: no request until they end, and kept under a name of their own", async (t) => {
  const zip = zipped(GOOD);
  const statuses: readonly (readonly [number, ErrorCode])[] = [
    [429, "E_SOURCE_RATE_LIMIT"],
    [418, "E_SOURCE_BANNED"],
    [403, "E_SOURCE_BLOCKED"],
    [503, "E_SOURCE_SERVER"],
  ];
  for (const [status, code] of statuses) {
    const held = { status, headers: { "retry-after": "900" }, body: "<Error/>" };
    const setup = await serve(t, [ofZip(zip)], [held]);
    const began = Date.now();
    for (const _ of [1, 2]) {
      await assert.rejects(setup.archive.open(DAILY, setup.signal), (error) => {
        assert.ok(error instanceof SourceHoldError, String(error));
        assert.equal(error.code, code);
        const waitMs = error.untilTime - NOW;
        assert.ok(waitMs >= 900_000 && waitMs <= 900_000 + Date.now() - began + 5_000);
        return true;
      });
    }
    assert.equal(setup.server.seen.length, 2, "asked once, for ZIP and checksum");
    assert.deepEqual(
      setup.holds.map(({ exchange, httpStatus }) => [exchange, httpStatus]),
      [["binance-archive", status]],
    );
    assert.deepEqual(setup.leftovers(), []);
  }
  const cause = new Error("the database is away");
  const onHold = (): Promise<void> => Promise.reject(cause);
  const unkept = await serve(t, [{ status: 429 }], [], { onHold });
  await assert.rejects(unkept.archive.open(DAILY, unkept.signal), (error) => {
    assert.ok(error instanceof SourceHoldError && error.cause === cause);
    return true;
  });
  const kept: Ban[] = [];
  let awayCount = 2;
  const back = await serve(t, [{ status: 429 }], [], {
    onHold: async (ban) => {
      awayCount -= 1;
      if (awayCount >= 0) throw cause;
      kept.push(ban);
    },
  });
  for (let asked = 0; asked < 4; asked += 1) {
    await assert.rejects(back.archive.open(DAILY, back.signal), SourceHoldError);
  }
  assert.equal(back.server.seen.length, 1);
  assert.equal(kept.length, 1, "kept when the database is back, and once");
  const again = await serve(t, [ofZip(zip)], [NOT_FOUND], { heldUntilTime: NOW + DAY });
  await assert.rejects(again.archive.open(DAILY, again.signal), SourceHoldError);
  assert.equal(again.server.seen.length, 0);
  const over = await serve(t, [ofZip(zip)], [NOT_FOUND], { heldUntilTime: NOW - 1 });
  await readAll(over);
});

test("other answers that are no file", async (t) => {
  const cases: readonly (readonly [Answer, ErrorCode, RegExp])[] = [
    [{ status: 500 }, "E_SOURCE_SERVER", /internal error \(500\)/],
    [{ status: 502 }, "E_SOURCE_SERVER", /502/],
    [{ status: 451 }, "E_SOURCE_REGION", /451/],
    [{ status: 400 }, "E_SOURCE_REFUSED", /400/],
    [
      { status: 302, headers: { location: "http://evil.example/a.zip" } },
      "E_SOURCE_BAD_ANSWER",
      /redirects/,
    ],
    [
      { headers: { "content-type": "text/html" }, body: "<html>log in</html>" },
      "E_SOURCE_BAD_ANSWER",
      /web page/,
    ],
    [{ body: "" }, "E_SOURCE_BAD_ANSWER", /no ZIP/],
    [
      (response) => void response.destroy(),
      "E_SOURCE_UNREACHABLE",
      /broke|closed|ECONN|other side/,
    ],
    [
      (response) => {
        response.writeHead(200, { "content-type": "application/zip", "content-length": "50000" });
        response.write(Buffer.alloc(20_000));
        setTimeout(() => response.destroy(), 20);
      },
      "E_SOURCE_BAD_ANSWER",
      /broke off/,
    ],
  ];
  for (const [answer, code, message] of cases) {
    const setup = await serve(t, [answer]);
    await assert.rejects(setup.archive.open(DAILY, setup.signal), failsWith(code, message));
    assert.ok(setup.server.seen.length <= 2, "nothing is tried twice");
    assert.deepEqual(setup.leftovers(), []);
  }
});

test("silence before or within an answer, and one that drips, end in time", async (t) => {
  const silent: Answer = () => undefined;
  const stuck: Answer = (response) => {
    response.writeHead(200, { "content-type": "application/zip", "content-length": "50000" });
    response.write(Buffer.alloc(20_000));
  };
  const dripping: Answer = (response) => {
    response.writeHead(200, { "content-type": "application/zip", "content-length": "50000" });
    const timer = setInterval(() => response.write("x"), 20);
    response.on("close", () => clearInterval(timer));
  };
  for (const answer of [silent, stuck, dripping]) {
    const setup = await serve(t, [answer], [], { idleMs: 150, deadlineMs: 600 });
    const began = performance.now();
    await assert.rejects(
      setup.archive.open(DAILY, setup.signal),
      failsWith("E_SOURCE_TIMEOUT", /sent nothing for/),
    );
    assert.ok(performance.now() - began < 3_000);
    assert.deepEqual(setup.leftovers(), []);
  }
});

test("an abort ends the download, the reading and what is on disk, with its own reason", async (t) => {
  const stuck: Answer = (response) => {
    response.writeHead(200, { "content-type": "application/zip", "content-length": "50000" });
    response.write(Buffer.alloc(20_000));
  };
  const reason = new Error("that is enough");
  const loading = await serve(t, [stuck]);
  setTimeout(() => loading.controller.abort(reason), 50);
  await assert.rejects(loading.archive.open(DAILY, loading.signal), reason);
  assert.deepEqual(loading.leftovers(), []);
  await assert.rejects(loading.archive.open(DAILY, loading.signal), reason);

  const zip = zipWith([
    { name: `${MONTHLY.name}.csv`, content: csv(31 * 1_440, MONTHLY.range.from) },
  ]);
  const reading = await serve(t, [ofZip(zip, MONTH_MADE)], [{ body: sumOf(zip) }]);
  const answer = await opened(reading, MONTHLY);
  let pageCount = 0;
  await assert.rejects(async () => {
    for await (const _ of answer.pages) {
      pageCount += 1;
      reading.controller.abort(reason);
    }
  }, reason);
  assert.equal(pageCount, 1);
  assert.deepEqual(reading.leftovers(), []);
});

test("who reads only a part, or nothing, leaves nothing behind after closing", async (t) => {
  const zip = zipWith([
    { name: `${MONTHLY.name}.csv`, content: csv(31 * 1_440, MONTHLY.range.from) },
  ]);
  const setup = await serve(t, [ofZip(zip, MONTH_MADE)], [{ body: sumOf(zip) }]);
  const part = await opened(setup, MONTHLY);
  for await (const page of part.pages) {
    assert.ok(page.rows.length > 0);
    break;
  }
  await part.close();
  const none = await opened(setup, MONTHLY);
  await none.close();
  await none.close();
  await assert.rejects(pagesOf(none), /closed before its end/);
  assert.deepEqual(setup.leftovers(), []);
});

test("several files at once", async (t) => {
  const zip = zipped(GOOD);
  const setup = await serve(t, [ofZip(zip)], [{ body: sumOf(zip) }]);
  const all = await Promise.all(Array.from({ length: 12 }, () => readAll(setup)));
  assert.ok(all.every(({ rows }) => rows.length === 1_440));
  assert.deepEqual(setup.leftovers(), []);
});

test("a folder that cannot be written to is named, before anything is asked", async (t) => {
  const tempFolder = join(import.meta.filename, "below-a-file");
  const setup = await serve(t, [ofZip(zipped(GOOD))], [], { tempFolder });
  await assert.rejects(
    setup.archive.open(DAILY, setup.signal),
    failsWith("E_CONFIG", /cannot write to .*below-a-file: /),
  );
  assert.equal(setup.server.seen.length, 0);
});

test("an address that is not encrypted is refused", () => {
  for (const baseUrl of ["http://data.binance.vision", "ftp://x", "nonsense"]) {
    assert.throws(
      () =>
        createBinanceArchive({
          baseUrl,
          tempFolder: tmpdir(),
          clock: scaledClock(1),
          exchangeTime: new ExchangeTime(),
        }),
      failsWith("E_CONFIG", /address/),
    );
  }
});
