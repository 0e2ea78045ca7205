import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { globSync } from "node:fs";
import { chmod, mkdtemp, readFile, rename, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { promisify } from "node:util";
import { openZip } from "../src/cli/import-csv.ts";
import { systemClock } from "../src/clock.ts";
import { openBytes } from "../src/csv/bytes.ts";
import { EVER } from "../src/csv/candle-pages.ts";
import { writeWhole } from "../src/csv/export/files.ts";
import { MirrorFile, type MirrorFileOptions } from "../src/csv/mirror-file.ts";
import { formatOwnRow, OWN_LAYOUT_HEADER } from "../src/csv/own-layout.ts";
import { tryFolder } from "../src/doctor/folder.ts";
import { SeededMarket, seededSymbols, startSimulator } from "../src/simulator/index.ts";
import { candleAt, versionOf } from "./support/api-stack.ts";
import { exchangeSettings, Program } from "./support/program.ts";

describe("files", { skip: process.platform === "win32" ? "no POSIX modes" : false }, () => {
  test("what the program writes under DATA_DIR is for its user only", async () => {
    const parent = await mkdtemp(join(tmpdir(), "bt-modes-"));
    await chmod(parent, 0o755);
    const dataDir = join(parent, "data");
    const market = new SeededMarket({ symbols: seededSymbols(["BTCUSDT"]) });
    const simulator = await startSimulator({ market, clock: systemClock });
    // Nothing is taken away by the environment: what is closed, the program has closed.
    const program = new Program(
      ["ingest"],
      {
        DATA_DIR: dataDir,
        TRADING_PAIRS: "BTCUSDT",
        TIMEFRAMES: "1m",
        BACKFILL_DAYS: "40",
        ...exchangeSettings(simulator),
        HTTP_PORT: "0",
      },
      "/",
      ["sh", "-c", 'umask 0; exec "$@"', "sh"],
    );
    try {
      await program.says(/WebSocket socket 1 carries/, 60_000);
      const entries = globSync("**/*", { cwd: dataDir });
      assert.ok(
        entries.some((path) => /^pg\d+\.log$/.test(path)) && entries.includes("tmp"),
        entries.slice(0, 9).join(),
      );
      const modes = await Promise.all(
        entries.map(
          async (path) =>
            [
              path,
              (await stat(join(dataDir, path)).catch(() => ({ mode: 0 }))).mode & 0o777,
            ] as const,
        ),
      );
      const shown = (bits: number): string[] =>
        modes
          .filter(([, mode]) => (mode & bits) !== 0)
          .map(([path, mode]) => `${path} ${mode.toString(8)}`);
      // The server's programs are anybody's to read; what they stand in is not.
      const isPrivate = (text: string): boolean =>
        /^(?:tmp|pg\d+|pg\d+\.log|[^/]*(?:password|lock)[^/]*)(?: |$)/.test(text);
      assert.deepEqual(
        shown(0o022).filter((text) => !/^pg\d+\//.test(text)),
        [],
        "others may write",
      );
      assert.deepEqual(shown(0o077).filter(isPrivate), [], "others may read");
    } finally {
      program.kill("SIGTERM");
      await program.ended();
      await simulator.close();
      await rm(parent, { recursive: true, force: true });
    }
  });

  test("a link or a FIFO that takes a file's place is not read", async () => {
    const folder = await mkdtemp(join(tmpdir(), "bt-link-"));
    const { signal } = new AbortController();
    try {
      const path = join(folder, "BTCUSDT_1m.csv");
      await writeFile(join(folder, "target"), "secret");
      await symlink(join(folder, "target"), path);
      await assert.rejects(openBytes(path, openZip, signal), /cannot be opened .*ELOOP/);
      await rm(path);
      await promisify(execFile)("mkfifo", [path]);
      await assert.rejects(openBytes(path, openZip, signal), /not a regular file/);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });

  test("a file that is swapped for a link while it is opened is read as itself or not at all", async () => {
    const folder = await mkdtemp(join(tmpdir(), "bt-race-"));
    const { signal } = new AbortController();
    const path = join(folder, "BTCUSDT_1m.csv");
    const [own, link, secret] = ["own", "link", "secret"].map((name) => join(folder, name));
    const outcomes = { own: 0, refused: 0, secret: 0 };
    let isDone = false;
    const swap = async (): Promise<void> => {
      for (let turn = 0; !isDone; turn += 1) {
        const from = `${turn % 2 === 0 ? link : own}.${turn}`;
        await (turn % 2 === 0 ? symlink(secret ?? "", from) : writeFile(from, "own"));
        await rename(from, path);
      }
    };
    await writeFile(secret ?? "", "secret");
    await writeFile(path, "own");
    const swapping = swap();
    try {
      // Both have to be met, however the machine shares its time.
      const isEnough = (): boolean => outcomes.own > 20 && outcomes.refused > 20;
      for (let turn = 0; turn < 1_000 || (!isEnough() && turn < 50_000); turn += 1) {
        const bytes = await openBytes(path, openZip, signal).catch((error: unknown) =>
          String(error),
        );
        if (typeof bytes === "string") {
          assert.match(bytes, /ELOOP/);
          outcomes.refused += 1;
          continue;
        }
        for await (const chunk of bytes.chunks(0)) outcomes[chunk.toString() as "own"] += 1;
        await bytes.close();
      }
    } finally {
      isDone = true;
      await swapping;
      await rm(folder, { recursive: true, force: true });
    }
    assert.equal(outcomes.secret, 0);
    assert.ok(outcomes.own > 20 && outcomes.refused > 20, JSON.stringify(outcomes));
  });

  test("a link that waits where the program writes is replaced, and what it leads to is left alone", async () => {
    const folder = await mkdtemp(join(tmpdir(), "bt-planted-"));
    const target = join(folder, "target");
    const series = { exchange: "binance", symbol: "BTCUSDT", timeframe: "1m" } as const;
    const plant = async (name: string): Promise<void> => {
      await writeFile(target, "precious");
      await symlink(target, join(folder, name));
    };
    try {
      await plant(`out.csv.${process.pid}.tmp`);
      await writeWhole(
        join(folder, "out.csv"),
        (async function* () {
          yield Buffer.from("x");
        })(),
      );
      assert.equal(await readFile(join(folder, "out.csv"), "utf8"), "x");
      assert.equal(await readFile(target, "utf8"), "precious", "an export");

      await plant(`.doctor-${process.pid}`);
      await tryFolder(folder);
      assert.equal(await readFile(target, "utf8"), "precious", "doctor");

      await plant(`.BTCUSDT_1m.csv.${process.pid}.mirror-tmp`);
      // A row is missing in the middle: the file is written anew.
      const candles = [0, 60_000, 120_000].map((openTime) => candleAt(series, openTime));
      const rows = candles.map((candle) => `${formatOwnRow(candle)}\n`);
      await writeFile(join(folder, "BTCUSDT_1m.csv"), `${OWN_LAYOUT_HEADER}\n${rows[0]}${rows[2]}`);
      const store: MirrorFileOptions["store"] = {
        range: async (_series, { from, to }, limit) =>
          candles
            .filter(({ openTime }) => openTime >= from && openTime < to)
            .slice(0, limit)
            .map(({ openTime }) => versionOf(series, openTime)),
        revisions: async () => [],
      };
      const file = new MirrorFile({ folder, series, store, now: Date.now });
      const done = await file.reconcile(EVER, new AbortController().signal);
      assert.ok(done.isRewritten);
      assert.equal(
        await readFile(join(folder, "BTCUSDT_1m.csv"), "utf8"),
        `${OWN_LAYOUT_HEADER}\n${rows.join("")}`,
      );
      assert.equal(await readFile(target, "utf8"), "precious", "the mirror");
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});
