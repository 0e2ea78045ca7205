import { planArchive } from "../src/exchanges/binance/archive-plan.ts";
import { ArchiveRows } from "../src/exchanges/binance/archive-rows.ts";
import { readZipEntry, unzip } from "../src/exchanges/binance/zip.ts";
import { zipOf } from "../src/simulator/zip.ts";

/**
 * Rows a second from the bytes of an archive ZIP to candles, one core, network and disk left out; and the memory that
 * takes. Run: `node --expose-gc bench/binance-archive.ts [days of 1s rows, default 7]`.
 */
const DAY = 86_400_000;
const dayCount = Number(process.argv[2] ?? 7);
const from = Date.UTC(2025, 4, 1);
const series = { exchange: "binance", symbol: "BTCUSDT", timeframe: "1s" } as const;
const range = { from, to: Date.UTC(2025, 5, 1) };
const [file] = planArchive(series, range, range.to + 30 * DAY).files;
if (file === undefined) throw new Error("no file was planned");

/** Rows shaped as those of a busy symbol; what they say is noise. */
function csv(count: number): Buffer {
  const days: Buffer[] = [];
  let seed = 7;
  const noise = (below: number): number => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
    return seed % below;
  };
  let lines: string[] = [];
  for (let second = 0; second < count; second += 1) {
    const time = (from + second * 1_000) * 1_000;
    const price = `${95_000 + noise(1_000)}.${String(noise(100)).padStart(2, "0")}000000`;
    const volume = `${noise(10)}.${String(noise(100_000)).padStart(5, "0")}000`;
    const quote = `${noise(900_000)}.${String(noise(100_000_000)).padStart(8, "0")}`;
    lines.push(
      `${time},${price},${price},${price},${price},${volume},${time + 999_999},${quote},${noise(500)},${volume},${quote},0\n`,
    );
    if (lines.length < 86_400) continue;
    days.push(Buffer.from(lines.join("")));
    lines = [];
  }
  return Buffer.concat([...days, Buffer.from(lines.join(""))]);
}

const content = csv(dayCount * 86_400);
const zip = zipOf("BTCUSDT-1s-2025-05.csv", content);
const readAt = async (offset: number, length: number) => zip.subarray(offset, offset + length);
const found = await readZipEntry(readAt, zip.length, content.length);
if (!found.isOk) throw new Error(found.reason);

let report = "";
for (let round = 0; round < 3; round += 1) {
  globalThis.gc?.();
  const before = process.memoryUsage();
  let peakBytes = 0;
  let rowCount = 0;
  let unzipMs = 0;
  const began = performance.now();
  const rows = new ArchiveRows(file, file.dueTime);
  let waiting = performance.now();
  for await (const piece of unzip(readAt, found.value, new AbortController().signal)) {
    unzipMs += performance.now() - waiting;
    rows.push(piece);
    for (let page = rows.takePage(); page !== undefined; page = rows.takePage()) {
      rowCount += page.rows.length;
    }
    const { heapUsed, external } = process.memoryUsage();
    peakBytes = Math.max(peakBytes, heapUsed + external - before.heapUsed - before.external);
    waiting = performance.now();
  }
  rows.end();
  for (let page = rows.takePage(); page !== undefined; page = rows.takePage()) {
    rowCount += page.rows.length;
  }
  const tookMs = performance.now() - began;
  report =
    `${rowCount} rows, ZIP ${(zip.length / 1e6).toFixed(1)} MB, CSV ${(content.length / 1e6).toFixed(1)} MB: ` +
    `${Math.round(rowCount / (tookMs / 1_000))} rows/s, waiting for unzip ${Math.round((unzipMs / tookMs) * 100)} %, ` +
    `${(peakBytes / 1e6).toFixed(0)} MB above the start at most (node ${process.version})`;
  process.stdout.write(`${report}\n`);
}
