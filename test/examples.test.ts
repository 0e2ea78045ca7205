import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { globSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { tableFromIPC } from "apache-arrow";
import type { VersionedCandle } from "../src/core/finality.ts";
import { openStore, type Store } from "../src/store/index.ts";
import { candleAt } from "./conformance/store-suite.ts";
import { createTestDatabase, sharedServer, type TestDatabase } from "./support/postgres.ts";

const SERIES = { exchange: "binance", symbol: "BTCUSDT", timeframe: "1m" } as const;
const FROM = Date.UTC(2025, 0, 31, 22);
const MINUTE_MS = 60_000;
const COUNT = 240;

const candle = (index: number): VersionedCandle =>
  candleAt(
    SERIES,
    FROM + index * MINUTE_MS,
    "stream",
    {
      ...{ close: `100.${String(index % 90).padStart(2, "0")}`, tradeCount: 10 },
    },
    FROM + (index + 1) * MINUTE_MS,
  );

/** What each example prints, in the order of their numbers. */
const EXPECTED: Readonly<Record<string, RegExp>> = {
  "01-latest.ts": /^(?:2025-02-01T01:5\d:00\.000Z 100\.\d\d 12\.34000000\n){5}$/,
  "02-range.ts": /^120 candles of 2025-01-01 … 2025-02-01, 1200 trades\n$/,
  "03-columns.ts":
    /^200 closes up to 2025-02-01T01:59:00\.000Z, average of the last 20: 100\.495\d*\nexact closes: 100\.58 100\.59\n$/,
  "04-arrow.ts":
    /^candles\.arrow: 240 rows of open_time: Timestamp<MILLISECOND, UTC>, open: Decimal/,
  "05-save.ts":
    /^stored, identical, refused\nrow 2: high-below-low: high 1 is below low 2858\.70\n$/,
  "06-status.ts":
    /^BTCUSDT 1m paused not ingested: .*\n(?:GOLD 1h .*\n)?BTCUSDT 1m is not up to date\n$/,
  "07-as-of.ts":
    /^100 candles were known when the newest one was seen\n100\.59 by stream, seen 2025-02-01T02:00:00\.000Z\n$/,
  "08-stream.ts": /^(?:2025-02-01T02:0\d:00\.000Z 100\.\d\d stored\n){3}$/,
};

describe("examples", () => {
  let database: TestDatabase;
  let store: Store;
  let folder: string;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "black-trade-examples-"));
    database = await createTestDatabase(await sharedServer(), "migrated");
    store = await openStore({ url: database.url });
    await store.write(
      Array.from({ length: COUNT }, (_, index) => candle(index)),
      [],
    );
  });
  after(async () => {
    await store?.close();
    await database?.drop();
    await rm(folder, { recursive: true, force: true });
  });

  async function run(name: string): Promise<string> {
    const { PATH = "", HOME = "" } = process.env;
    const child = spawn(process.execPath, [join(import.meta.dirname, "../examples", name)], {
      cwd: folder,
      env: { PATH, HOME, DATABASE_URL: database.url },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let said = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text: string) => {
        said += text;
      });
    }
    const [status] = await once(child, "close");
    assert.equal(status, 0, said);
    return said;
  }

  test("each is expected here", () => {
    const names = globSync("*.ts", { cwd: join(import.meta.dirname, "../examples") });
    assert.deepEqual(names.sort(), Object.keys(EXPECTED));
  });

  for (const [name, said] of Object.entries(EXPECTED)) {
    if (name === "08-stream.ts") continue;
    test(name, async () => {
      assert.match(await run(name), said);
      if (name === "04-arrow.ts") {
        assert.equal(tableFromIPC(await readFile(join(folder, "candles.arrow"))).numRows, COUNT);
      }
    });
  }

  test("08-stream.ts, which goes on where it ended", async () => {
    let index = COUNT;
    const stop = new AbortController();
    const writing = (async () => {
      while (!stop.signal.aborted) {
        await store.write([candle(index)], []);
        index += 1;
        await sleep(50);
      }
    })();
    const first = await run("08-stream.ts");
    stop.abort();
    await writing;
    const lines = first.trimEnd().split("\n");
    assert.equal(lines.length, 3);
    for (const line of lines) assert.match(line, / 100\.\d\d stored$/);
    // More were stored meanwhile: the next run begins with the very next one.
    for (let more = 0; more < 3; more += 1) await store.write([candle(index + more)], []);
    const second = (await run("08-stream.ts")).trimEnd().split("\n");
    const timeOf = (line = ""): number => Date.parse(line.split(" ")[0] ?? "");
    assert.equal(timeOf(second[0]) - timeOf(lines[2]), MINUTE_MS);
  });
});
