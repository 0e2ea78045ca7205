import assert from "node:assert/strict";
import {
  appendFile,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  truncate,
  unlink,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import fc from "fast-check";
import { systemClock } from "../src/clock.ts";
import type { Candle } from "../src/core/candle.ts";
import type { IngestEvent } from "../src/core/events.ts";
import type { Source } from "../src/core/finality.ts";
import type { Series } from "../src/core/series.ts";
import { Mirror } from "../src/csv/mirror.ts";
import {
  formatOwnRow,
  OWN_LAYOUT_HEADER,
  ownFileName,
  parseOwnRow,
} from "../src/csv/own-layout.ts";
import {
  SeededMarket,
  type Simulator,
  seededSymbols,
  startSimulator,
} from "../src/simulator/index.ts";
import { openStore, type Store } from "../src/store/index.ts";
import { scaledClock } from "./support/clocks.ts";
import { withDatabase } from "./support/postgres.ts";
import { exchangeSettings, Program, runProgram } from "./support/program.ts";

const MINUTE_MS = 60_000;
const START = Date.UTC(2025, 0, 6);
const EVER = { from: 0, to: Number.MAX_SAFE_INTEGER };
/** Seconds of the mirror are 20 ms here. */
const SPEED = 50;

type MirrorEvent = Extract<IngestEvent, { readonly kind: `mirror${string}` }>;

const SERIES: Series = { exchange: "binance", symbol: "BTCUSDT", timeframe: "1m" };

/** Candle number `index` of a series, in one of its versions. */
function candleAt(index: number, version = 0): Candle {
  const openTime = START + index * MINUTE_MS;
  return {
    openTime,
    closeTime: openTime + MINUTE_MS - 1,
    open: "100.10",
    high: `20${version}.00`,
    low: "99.5",
    close: `10${index % 10}.25000000`,
    volume: `${index}.00100000`,
    quoteVolume: `1${version}.5`,
    tradeCount: index + version,
    takerBuyVolume: "0.5",
    takerBuyQuoteVolume: `5.${version}0`,
  };
}

/** A folder, a database, and a mirror between them that can be stopped and started. */
class Scene {
  readonly folder: string;
  readonly store: Store;
  readonly events: MirrorEvent[] = [];
  #stop = new AbortController();
  #running: Promise<void> = Promise.resolve();
  mirror: Mirror | undefined;

  constructor(folder: string, store: Store) {
    this.folder = folder;
    this.store = store;
  }

  path(series = SERIES): string {
    return join(this.folder, ownFileName(series));
  }

  start(exchange = "binance"): void {
    this.#stop = new AbortController();
    this.mirror = new Mirror({
      folder: this.folder,
      exchange,
      store: this.store,
      clock: scaledClock(SPEED),
      random: () => 0.5,
      record: (event) => {
        if (event.kind.startsWith("mirror")) this.events.push(event as MirrorEvent);
      },
    });
    this.#running = this.mirror.run(this.#stop.signal);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async write(
    indexes: readonly number[],
    { version = 0, source = "stream" as Source, series = SERIES } = {},
  ): Promise<void> {
    const batch = indexes.map((index) => ({
      series,
      candle: candleAt(index, version),
      source,
      observedTime: START + 400 * 86_400_000 + version,
    }));
    await this.store.write(batch, []);
  }

  /** What the file must hold: the table, row by row. */
  async expected(series = SERIES): Promise<string> {
    const rows = await this.store.range(series, EVER, 1_000_000);
    return [OWN_LAYOUT_HEADER, ...rows.map(({ candle }) => formatOwnRow(candle)), ""].join("\n");
  }

  read(series = SERIES): Promise<string> {
    return readFile(this.path(series), "latin1").catch(() => "");
  }

  /** Waits until the file is the table, byte for byte. */
  async same(series = SERIES, ms = 10_000): Promise<void> {
    const deadline = Date.now() + ms;
    for (;;) {
      const [actual, expected] = [await this.read(series), await this.expected(series)];
      if (actual === expected) return;
      if (Date.now() > deadline) {
        assert.equal(actual, expected, JSON.stringify(this.events.slice(-5)));
      }
      await wait(20);
    }
  }

  told<K extends MirrorEvent["kind"]>(kind: K): Extract<MirrorEvent, { readonly kind: K }>[] {
    return this.events.filter((event) => event.kind === kind) as Extract<
      MirrorEvent,
      { readonly kind: K }
    >[];
  }

  async until(kind: MirrorEvent["kind"], count = 1): Promise<void> {
    for (let turn = 0; this.told(kind).length < count; turn += 1) {
      assert.ok(turn < 500, `${kind} was not told: ${JSON.stringify(this.events.slice(-5))}`);
      await wait(20);
    }
  }

  async setAside(): Promise<string[]> {
    return readdir(join(this.folder, "set-aside")).catch(() => []);
  }
}

async function withScene(run: (scene: Scene) => Promise<void>): Promise<void> {
  await withDatabase(async ({ url }) => {
    const folder = await mkdtemp(join(tmpdir(), "bt-mirror-"));
    const store = await openStore({ url });
    const scene = new Scene(folder, store);
    try {
      await run(scene);
    } finally {
      await scene.stop();
      await store.close();
      await rm(folder, { recursive: true, force: true });
    }
  });
}

const upTo = (count: number, from = 0): number[] =>
  Array.from({ length: count }, (_, index) => from + index);

describe("the CSV mirror", () => {
  test("writes what is stored, follows what is written, and rewrites what comes late or is corrected", async () => {
    await withScene(async (scene) => {
      await scene.write(upTo(50));
      scene.start();
      await scene.same();
      await scene.write([50]);
      await scene.same();
      await scene.write([53, 55]);
      await scene.same();
      assert.equal(scene.told("mirrored").filter(({ how }) => how === "rewritten").length, 0);
      await scene.write([51, 52, 54]);
      await scene.same();
      await scene.write([3, 10, 55], { version: 1, source: "rest" });
      await scene.same();
      assert.ok(scene.told("mirrored").some(({ how }) => how === "rewritten"));
      assert.deepEqual(await scene.setAside(), []);
      assert.deepEqual(scene.told("mirrorRepaired"), []);
    });
  });

  test("after a restart: what was stored and corrected meanwhile is there, without an alarm", async () => {
    await withScene(async (scene) => {
      await scene.write(upTo(300));
      scene.start();
      await scene.same();
      await scene.stop();
      await scene.write(upTo(50, 300));
      await scene.write([7, 8, 120, 299], { version: 2, source: "rest" });
      await scene.write([7], { version: 3, source: "rest" });
      const later: Series = { ...SERIES, symbol: "ETHUSDT", timeframe: "1M" };
      await scene.write([0], { series: later });
      scene.start();
      await scene.same();
      await scene.same(later);
      assert.deepEqual((await readdir(scene.folder)).sort(), ["BTCUSDT_1m.csv", "ETHUSDT_1mo.csv"]);
      assert.deepEqual(scene.told("mirrorRepaired"), []);
    });
  });

  test("a series that another process stores while the mirror runs gets its file", async () => {
    await withScene(async (scene) => {
      scene.start();
      await scene.until("mirrorStarted");
      assert.deepEqual(await readdir(scene.folder), []);
      await scene.write(upTo(10));
      await scene.same();
      const bulk: Series = { ...SERIES, symbol: "SOLUSDT" };
      await scene.write(upTo(2_000), { series: bulk });
      await scene.same(bulk);
      const foreign: Series = { ...SERIES, exchange: "other" };
      await scene.write(upTo(3), { series: foreign });
      await wait(200);
      assert.deepEqual((await readdir(scene.folder)).sort(), ["BTCUSDT_1m.csv", "SOLUSDT_1m.csv"]);
    });
  });

  test("a file cut off at any byte is repaired at the start; nothing is set aside", async () => {
    await withScene(async (scene) => {
      await scene.write(upTo(4));
      scene.start();
      await scene.same();
      await scene.stop();
      const whole = await scene.read();
      for (let size = whole.length - 1; size >= 0; size -= 7) {
        await truncate(scene.path(), size);
        scene.start();
        await scene.same();
        await scene.stop();
      }
      assert.deepEqual(await scene.setAside(), []);
      assert.deepEqual(scene.told("mirrorRepaired"), []);
    });
  });

  test("an edit by others is undone, told, and kept", async () => {
    await withScene(async (scene) => {
      await scene.write(upTo(30));
      scene.start();
      await scene.same();
      const edited = (await scene.read()).replace("100.10", "100.11");
      await writeFile(scene.path(), edited);
      await scene.same();
      const [told] = scene.told("mirrorRepaired");
      assert.equal(told?.edit, "1 row(s) with other values");
      assert.equal(await readFile(told?.setAsidePath ?? "", "latin1"), edited);
      assert.equal((await stat(scene.path())).nlink, 1);

      const spreadsheet = (await scene.read())
        .replaceAll("\n", "\r\n")
        .replace(/^17/gm, "1.7E+12,");
      await writeFile(scene.path(), spreadsheet);
      await scene.same();
      assert.match(scene.told("mirrorRepaired")[1]?.edit ?? "", /30 line\(s\) that are no row/);
      assert.equal((await scene.setAside()).length, 2);

      await writeFile(scene.path(), (await scene.read()).replaceAll("\n", "\r\n"));
      await scene.same();
      await unlink(scene.path());
      await scene.same();
      await truncate(scene.path(), 1_000);
      await scene.same();
      // Nothing that others had written was lost by these three.
      assert.equal((await scene.setAside()).length, 2);
    });
  });

  test("a program that writes a file again and again is not fought for ever", async () => {
    await withScene(async (scene) => {
      await scene.write(upTo(5));
      scene.start();
      await scene.same();
      for (let edit = 0; edit < 5; edit += 1) {
        await appendFile(scene.path(), `note ${edit}\n`);
        await scene.same();
      }
      await appendFile(scene.path(), "note 6\n");
      await scene.until("mirrorFailed");
      const [failed] = scene.told("mirrorFailed");
      assert.equal(failed?.code, "E_CSV_MIRROR");
      assert.match(failed?.reason ?? "", /changed by another program again/);
      assert.match(await scene.read(), /note 6/);
      // Others are kept meanwhile, and it is, too, once there is room.
      const other: Series = { ...SERIES, symbol: "ETHUSDT" };
      await scene.write(upTo(5), { series: other });
      await scene.same(other);
      await rename(join(scene.folder, "set-aside"), join(scene.folder, "moved-away"));
      await scene.same();
      await scene.until("mirrorRecovered");
    });
  });

  test("rows that the database does not have stay, and are told of", async () => {
    await withScene(async (scene) => {
      const old = [0, 1, 2, 40, 41].map((index) => formatOwnRow(candleAt(index)));
      await writeFile(scene.path(), `${[OWN_LAYOUT_HEADER, ...old].join("\r\n")}\r\n`);
      await scene.write([2, 3, 4, 5]);
      scene.start();
      await scene.until("mirrorUnknownRows");
      assert.equal(scene.told("mirrorUnknownRows")[0]?.rowCount, 4);
      await scene.write([6, 42]);
      const all = [0, 1, 2, 3, 4, 5, 6, 40, 41, 42].map((index) => formatOwnRow(candleAt(index)));
      const merged = `${[OWN_LAYOUT_HEADER, ...all].join("\n")}\n`;
      for (let turn = 0; (await scene.read()) !== merged; turn += 1) {
        if (turn > 200) assert.equal(await scene.read(), merged);
        await wait(20);
      }
      // The import of the old files: equal rows change nothing, the last one was saved while it was forming.
      await scene.write([0, 1, 40], { source: "csv" });
      await scene.write([41], { version: 1 });
      await scene.same();
      assert.equal((await scene.setAside()).length, 1);
      await scene.until("mirrorUnknownRows", 2);
      assert.equal(scene.told("mirrorUnknownRows").at(-1)?.rowCount, 0);
    });
  });

  test("files of the same name in another layout are left alone", async () => {
    await withScene(async (scene) => {
      const text = "date,open,high,low,close\n2024-01-01,1,2,0.5,1\n";
      await writeFile(scene.path(), text);
      await scene.write(upTo(5));
      scene.start();
      await scene.until("mirrorFailed");
      assert.match(
        scene.told("mirrorFailed")[0]?.reason ?? "",
        /is in another layout; move it out/,
      );
      assert.equal(await scene.read(), text);
      await unlink(scene.path());
      await scene.same();
      await scene.until("mirrorRecovered");
    });
  });

  test("a folder that cannot be made is a line, and is tried again", async () => {
    await withScene(async (scene) => {
      const blocked = new Scene(join(scene.folder, "sub"), scene.store);
      await writeFile(blocked.folder, "a file");
      await scene.write(upTo(5));
      blocked.start();
      await blocked.until("mirrorFailed", 2);
      assert.match(blocked.told("mirrorFailed")[0]?.reason ?? "", /CSV_MIRROR_DIR is not a folder/);
      await blocked.until("mirrorState", 2);
      assert.ok((blocked.told("mirrorState").at(-1)?.behindMs ?? 0) > 30_000, "and is behind");
      await unlink(blocked.folder);
      await blocked.same();
      await blocked.stop();
    });
  });

  test("a symbolic link is followed, and what a crash left half-written is removed", async () => {
    await withScene(async (scene) => {
      const target = join(scene.folder, "elsewhere.csv");
      await writeFile(target, "");
      await symlink(target, scene.path());
      await writeFile(join(scene.folder, ".BTCUSDT_1m.csv.77.mirror-tmp"), "half");
      await scene.write([1, 2]);
      scene.start();
      await scene.same();
      await scene.write([0]);
      await scene.same();
      assert.equal(await readFile(target, "latin1"), await scene.expected());
      assert.deepEqual((await readdir(scene.folder)).sort(), ["BTCUSDT_1m.csv", "elsewhere.csv"]);
    });
  });

  test("corrections that come together are one rewrite", async () => {
    await withScene(async (scene) => {
      await scene.write(upTo(100));
      scene.start();
      await scene.same();
      for (const index of upTo(20)) {
        await scene.write([index * 3], { version: 1, source: "rest" });
      }
      await scene.same();
      const rewrites = scene.told("mirrored").filter(({ how }) => how === "rewritten").length;
      assert.ok(rewrites >= 1 && rewrites <= 6, `${rewrites} rewrites`);
    });
  });

  test("whatever is written, corrected, cut off and edited in whatever order: the file ends as the table", async () => {
    let run = 0;
    await withScene(async (outer) => {
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 12 }), async (steps) => {
          run += 1;
          const series = { ...SERIES, exchange: `x${run}` };
          const scene = new Scene(join(outer.folder, String(run)), outer.store);
          await scene.write([20], { series });
          scene.start(series.exchange);
          try {
            for (const one of steps) await take(scene, series, one);
            await sameButUnknown(scene, series);
          } finally {
            await scene.stop();
          }
        }),
        { numRuns: Number(process.env.MIRROR_RUNS ?? 15) },
      );
    });
  });
});

/** Numbers of candles that come, or change. */
const index = fc.nat(40);
const step = fc.oneof(
  // What happens to a mirrored series.
  fc.record({
    kind: fc.constant("write" as const),
    indexes: fc.uniqueArray(index, { maxLength: 8 }),
  }),
  fc.record({
    kind: fc.constant("correct" as const),
    indexes: fc.uniqueArray(index, { maxLength: 4 }),
    version: fc.integer({ min: 1, max: 4 }),
  }),
  fc.record({
    kind: fc.constant("cut" as const),
    share: fc.double({ min: 0, max: 1, noNaN: true }),
  }),
  fc.record({
    kind: fc.constant("edit" as const),
    share: fc.double({ min: 0, max: 1, noNaN: true }),
    text: fc.constantFrom("9", "\n", ",", "x", "\r", "\0"),
  }),
  fc.record({ kind: fc.constant("restart" as const) }),
  fc.record({ kind: fc.constant("pause" as const) }),
);

type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

async function take(scene: Scene, series: Series, one: Step): Promise<void> {
  if (one.kind === "write") return scene.write(one.indexes, { series });
  if (one.kind === "correct") {
    return scene.write(one.indexes, { series, version: one.version, source: "rest" });
  }
  if (one.kind === "pause") return wait(30);
  if (one.kind === "restart") {
    await scene.stop();
    return scene.start(series.exchange);
  }
  const text = await scene.read(series);
  const rows = text.length - OWN_LAYOUT_HEADER.length - 1;
  if (rows <= 0) return;
  const at = text.length - Math.floor(rows * one.share);
  if (one.kind === "cut") return truncate(scene.path(series), at);
  const edited = `${text.slice(0, at)}${one.text}${text.slice(at + 1)}`;
  return writeFile(scene.path(series), edited, "latin1");
}

/** An edit may have made a row of an open time that is not stored: it stays and is told of. All else is the table. */
async function sameButUnknown(scene: Scene, series: Series): Promise<void> {
  const stored = new Set((await scene.expected(series)).split("\n"));
  const times = new Set([...stored].map((line) => line.slice(0, 14)));
  const known = (text: string): string =>
    text
      .split("\n")
      .filter((line) => stored.has(line) || times.has(line.slice(0, 14)) || !/^\d+,/.test(line))
      .join("\n");
  const expected = await scene.expected(series);
  for (let turn = 0; ; turn += 1) {
    const actual = known(await scene.read(series));
    if (actual === expected) return;
    if (turn > 400) assert.equal(actual, expected, JSON.stringify(scene.events.slice(-5)));
    await wait(20);
  }
}

/** Kills of the real program; the figures in the change's notes were made with 20. */
const KILLS = Number(process.env.CRASH_KILLS ?? 2);
const SYMBOLS = ["BTCUSDT", "ETHUSDT", "NXSBTC"];

interface ProgramScene {
  readonly folder: string;
  readonly simulator: Simulator;
  readonly env: Readonly<Record<string, string>>;
}

async function withProgramScene(run: (scene: ProgramScene) => Promise<void>): Promise<void> {
  const listedAt = Date.now() - 2 * 86_400_000;
  const market = new SeededMarket({ symbols: seededSymbols(SYMBOLS), listedAt });
  const simulator = await startSimulator({ market, clock: systemClock });
  const dataDir = await mkdtemp(join(tmpdir(), "bt-mirror-"));
  const folder = join(dataDir, "ohlcv");
  try {
    await withDatabase(async ({ url }) => {
      const env = {
        DATABASE_URL: url,
        DATA_DIR: dataDir,
        CSV_MIRROR_DIR: folder,
        TRADING_PAIRS: SYMBOLS.join(","),
        TIMEFRAMES: "1s",
        BACKFILL_DAYS: "0.01",
        ...exchangeSettings(simulator),
        HTTP_PORT: "0",
      };
      await run({ folder, simulator, env });
    }, "empty");
  } finally {
    await simulator.close();
    await rm(dataDir, { recursive: true, force: true });
  }
}

/** Stops cleanly; then file and table must be the same, by the program's own comparison. */
async function finish({ folder, env }: ProgramScene, program: Program): Promise<string> {
  program.kill("SIGTERM");
  const { status, stderr } = await program.ended();
  assert.equal(status, 143, stderr);
  const verified = await runProgram(["verify", "--csv", folder], env);
  assert.equal(verified.status, 0, verified.stdout + verified.stderr);
  assert.deepEqual(
    (await readdir(folder)).sort(),
    SYMBOLS.map((symbol) => `${symbol}_1s.csv`),
  );
  return verified.stdout.trim().split("\n").at(-1) ?? "";
}

describe("the CSV mirror of a real process", () => {
  test(`kill -9 in mid-mirror, ${KILLS} times at random moments`, async (t) => {
    await withProgramScene(async (scene) => {
      let program = new Program(["ingest"], scene.env);
      await program.says(/CSV mirror: /);
      for (let kill = 0; kill < KILLS; kill += 1) {
        await wait(500 + Math.random() * 3_000);
        program.kill("SIGKILL");
        await program.ended();
        for (const symbol of SYMBOLS)
          await assertOnlyLastLineTorn(join(scene.folder, `${symbol}_1s.csv`));
        program = new Program(["ingest"], scene.env);
        await program.says(/CSV mirror: /);
      }
      await wait(3_000);
      t.diagnostic(await finish(scene, program));
      assert.doesNotMatch(program.stderr, /was not as the database/);
    });
  });

  test("a disk that takes no more: a line, ingestion goes on, and the file is whole in the end", async (t) => {
    await withProgramScene(async (scene) => {
      const limited = new Program(["ingest"], scene.env, "/", SMALL_FILES);
      await limited.says(/cannot be larger.*Ingestion goes on/);
      const before = limited.stderr.length;
      await limited.says(/cannot be larger[\s\S]*cannot be larger/);
      limited.kill("SIGTERM");
      const { status, stderr } = await limited.ended();
      assert.equal(status, 143, stderr);
      assert.match(stderr, /Stopped\. \d+ candles were written/);
      assert.ok(before > 0);
      const program = new Program(["ingest"], scene.env);
      await program.says(/CSV mirror: /);
      await wait(3_000);
      t.diagnostic(await finish(scene, program));
    });
  });
});

/** Runs a program that can write no file beyond 16 blocks: its writes fail half-way, as on a full disk. */
const SMALL_FILES = ["sh", "-c", `ulimit -f 16; trap "" XFSZ; exec "$0" "$@"`];

/** Every line but the last one, which may be cut off, is a whole row, and they ascend. */
async function assertOnlyLastLineTorn(path: string): Promise<void> {
  const text = await readFile(path, "latin1").catch(() => "");
  const [header = "", ...lines] = text.split("\n").slice(0, -1);
  if (text.includes("\n")) assert.equal(header, OWN_LAYOUT_HEADER);
  const times = lines.map((line) => {
    const row = parseOwnRow(line);
    assert.ok(row.isRow, line);
    return row.candle.openTime;
  });
  assert.deepEqual(
    times,
    [...new Set(times)].sort((a, b) => a - b),
  );
}
