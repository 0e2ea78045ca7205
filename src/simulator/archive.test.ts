import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { inflateRawSync } from "node:zlib";
import { parseArchivePath } from "./archive-path.ts";
import { zipOf } from "./zip.ts";

const base = "/data/spot";

describe("archive files", () => {
  test("daily and monthly paths", () => {
    assert.deepEqual(
      parseArchivePath(`${base}/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2025-02-28.zip`),
      {
        symbol: "BTCUSDT",
        interval: "1m",
        range: { from: Date.UTC(2025, 1, 28), to: Date.UTC(2025, 2, 1) },
        readyFrom: Date.UTC(2025, 2, 1),
        name: "BTCUSDT-1m-2025-02-28",
        kind: "zip",
      },
    );
    const monthly = parseArchivePath(
      `${base}/monthly/klines/BTCUSDT/1mo/BTCUSDT-1mo-2025-02.zip.CHECKSUM`,
    );
    assert.equal(monthly?.interval, "1M");
    assert.equal(monthly?.kind, "checksum");
    assert.equal(monthly?.range.to, Date.UTC(2025, 2, 1));
    // 2025-03-01 was a Saturday.
    assert.equal(monthly?.readyFrom, Date.UTC(2025, 2, 3));
    const symbol = "币安人生USDT";
    const encoded = encodeURIComponent(symbol);
    const path = `${base}/daily/klines/${encoded}/1h/${encoded}-1h-2025-11-01.zip`;
    assert.equal(parseArchivePath(path)?.symbol, symbol);
  });

  test("what the archive does not have", () => {
    for (const path of [
      `${base}/daily/klines/BTCUSDT/3d/BTCUSDT-3d-2025-02-28.zip`,
      `${base}/monthly/klines/BTCUSDT/1M/BTCUSDT-1M-2025-02.zip`,
      `${base}/monthly/klines/BTCUSDT/1m/BTCUSDT-1m-2025-02-28.zip`,
      `${base}/monthly/klines/BTCUSDT/1m/ETHUSDT-1m-2025-02.zip`,
      `${base}/monthly/klines/BTCUSDT/1m/BTCUSDT-1h-2025-02.zip`,
      "/data/futures/um/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2025-02-28.zip",
    ]) {
      assert.equal(parseArchivePath(path), undefined, path);
    }
  });

  test("a ZIP holds its file", () => {
    const content = Buffer.from("1,2,3\n".repeat(1_000));
    const zip = zipOf("a.csv", content);
    const packedLength = zip.readUInt32LE(18);
    const start = 30 + zip.readUInt16LE(26);
    assert.equal(zip.toString("latin1", 30, start), "a.csv");
    assert.deepEqual(inflateRawSync(zip.subarray(start, start + packedLength)), content);
    const end = zip.length - 22;
    assert.equal(zip.readUInt32LE(end), 0x06054b50);
    assert.equal(zip.readUInt32LE(zip.readUInt32LE(end + 16)), 0x02014b50);
  });
});
