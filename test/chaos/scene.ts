import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { systemClock } from "../../src/clock.ts";
import type { Series } from "../../src/core/series.ts";
import { seriesLabel } from "../../src/core/series.ts";
import { seriesStatus } from "../../src/core/status.ts";
import {
  SeededMarket,
  type Simulator,
  seededSymbols,
  startSimulator,
} from "../../src/simulator/index.ts";
import {
  createDatabase,
  Database,
  type Embedded,
  openStore,
  type Store,
  startEmbedded,
} from "../../src/store/index.ts";
import { binanceSeries, type Comparison, compareWithMarket } from "../support/live-stack.ts";
import { Program } from "../support/program.ts";
import { TcpProxy } from "./tcp-proxy.ts";

/** The database of every scene. */
export const DATABASE_NAME = "black_trade";
const SYMBOLS = ["BTCUSDT", "ETHUSDT", "NXSBTC"];
const PORT = 5432;
/** What status may still promise about a candle that is so old, ms (R4). */
const HONEST_MS = 90_000;

/** Everything that takes part: real processes, real sockets, and a proxy on each road. */
export class Scene {
  readonly simulator: Simulator;
  readonly rest: TcpProxy;
  readonly stream: TcpProxy;
  readonly database: TcpProxy;
  readonly embedded: Embedded;
  readonly series: readonly Series[];
  readonly dataDir: string;
  /** The folder was made for this scene and goes with it. */
  readonly #isFolderOwn: boolean;
  /** Since when candles are compared, exchange time. */
  readonly from: number;
  program!: Program;
  /** Everything that any of its processes has said. */
  output = "";
  /** Looks at the status, and how many found `active` where a candle was missing for longer than R4 allows. */
  readonly honesty = { looks: 0, false: 0 };
  /** Found by looks. */
  readonly findings: string[] = [];
  #reader: Store | undefined;

  private constructor(
    parts: Pick<Scene, "simulator" | "rest" | "stream" | "database" | "embedded" | "dataDir">,
    isFolderOwn: boolean,
  ) {
    this.#isFolderOwn = isFolderOwn;
    this.simulator = parts.simulator;
    this.rest = parts.rest;
    this.stream = parts.stream;
    this.database = parts.database;
    this.embedded = parts.embedded;
    this.dataDir = parts.dataDir;
    this.series = SYMBOLS.map((symbol) => binanceSeries(symbol, "1s"));
    this.from = this.simulator.now() - 600_000;
  }

  /** @param dataDir where the database lies, when not in a folder of its own */
  static async open(dataDir?: string): Promise<Scene> {
    const market = new SeededMarket({
      symbols: seededSymbols(SYMBOLS),
      listedAt: Date.now() - 2 * 86_400_000,
    });
    const simulator = await startSimulator({ market, clock: systemClock });
    const folder = dataDir ?? (await mkdtemp(join(tmpdir(), "bt-chaos-")));
    await chmod(folder, 0o755);
    const embedded = await startEmbedded({ dataDir: folder });
    await createDatabase({ url: embedded.urlOf(DATABASE_NAME) });
    const socket = partsOf(embedded.urlOf(DATABASE_NAME)).searchParams.get("host") ?? "";
    return new Scene(
      {
        simulator,
        rest: await TcpProxy.to({ host: "127.0.0.1", port: simulator.port }),
        stream: await TcpProxy.to({ host: "127.0.0.1", port: simulator.port }),
        database: await TcpProxy.to({ path: join(socket, `.s.PGSQL.${PORT}`) }),
        embedded,
        dataDir: folder,
      },
      dataDir === undefined,
    );
  }

  /** Starts the program, through the proxies. */
  start(env: Readonly<Record<string, string>> = {}, nodeOptions = ""): void {
    const url = partsOf(this.embedded.urlOf(DATABASE_NAME));
    url.search = "";
    this.program = new Program(["ingest"], {
      DATABASE_URL: `postgresql://${url.username}:${url.password}@127.0.0.1:${this.database.port}/${DATABASE_NAME}`,
      DATA_DIR: join(this.dataDir, "program"),
      TRADING_PAIRS: SYMBOLS.join(","),
      TIMEFRAMES: "1s",
      BACKFILL_DAYS: "0.01",
      BINANCE_REST_URL: `http://127.0.0.1:${this.rest.port}`,
      BINANCE_WS_URL: `ws://127.0.0.1:${this.stream.port}`,
      WEBSOCKET_RECONNECT_DELAY: "0.5",
      HTTP_PORT: "0",
      ...(nodeOptions === "" ? {} : { NODE_OPTIONS: nodeOptions }),
      ...env,
    });
  }

  /** Ends the process and keeps what it said. */
  async end(signal: NodeJS.Signals): Promise<number | null> {
    this.program.kill(signal);
    const { status, stderr, stdout } = await this.program.ended();
    this.output += stdout + stderr;
    return status;
  }

  /** Runs SQL as the server's superuser, beside the proxy. */
  async admin(text: string, database = "postgres"): Promise<void> {
    const connection = new Database({ url: this.embedded.urlOf(database), poolSize: 1 });
    try {
      await connection.run({ text });
    } finally {
      await connection.close();
    }
  }

  /** True when every series is `active` and stored up to a few seconds ago. */
  async isWhole(): Promise<boolean> {
    const now = this.simulator.now();
    const reader = await this.reader();
    const { run, series } = await reader.facts();
    let isWhole = series.length === this.series.length;
    for (const facts of series) {
      const { word } = seriesStatus(facts, run);
      const isFresh = (facts.newestOpenTime ?? 0) > now - 6_000;
      isWhole &&= word === "active" && isFresh;
      if (word === "active") await this.#checkHonest(facts.series, now);
    }
    return isWhole;
  }

  async #checkHonest(series: Series, now: number): Promise<void> {
    const reader = await this.reader();
    const range = { from: now - HONEST_MS - 60_000, until: now - HONEST_MS };
    this.honesty.looks += 1;
    const { lost } = await compareWithMarket(reader, this.simulator.market, series, range);
    if (lost.length === 0) return;
    this.honesty.false += 1;
    this.findings.push(
      `${seriesLabel(series)} was called active, and ${lost.length} candles over 90 s old are not stored: ${lost[0]}`,
    );
  }

  /** @returns ms that passed until everything was whole again. @throws after `maxMs` */
  async healed(maxMs: number): Promise<number> {
    const began = performance.now();
    for (;;) {
      const isWhole = await this.isWhole().catch(() => false);
      const tookMs = performance.now() - began;
      if (isWhole) return tookMs;
      if (tookMs > maxMs) throw new Error(`not whole after ${Math.round(tookMs / 1_000)} s`);
      await wait(250);
    }
  }

  /** @returns ms that passed until every candle that the exchange has was stored. @throws after `maxMs` */
  async complete(maxMs: number): Promise<number> {
    const began = performance.now();
    const until = this.simulator.now();
    for (;;) {
      const { lost } = await this.compare(until);
      const tookMs = performance.now() - began;
      if (lost.length === 0) return tookMs;
      if (tookMs > maxMs)
        throw new Error(
          `${lost.length} candles are missing after ${Math.round(tookMs / 1_000)} s: ${lost[0]}`,
        );
      await wait(500);
    }
  }

  /** Every candle of every series since the begin that closed before `until`, beside the exchange's. */
  async compare(until: number = this.simulator.now() - 6_000): Promise<Comparison> {
    const reader = await this.reader();
    const all = { candles: 0, lost: [] as string[], extra: [] as string[], wrong: [] as string[] };
    for (const series of this.series) {
      const range = { from: this.from, until };
      const one = await compareWithMarket(reader, this.simulator.market, series, range);
      all.candles += one.candles;
      for (const kind of ["lost", "extra", "wrong"] as const) all[kind].push(...one[kind]);
    }
    return all;
  }

  /** A store beside the proxy; the schema is the program's to make. */
  async reader(): Promise<Store> {
    this.#reader ??= await openStore({ url: this.embedded.urlOf(DATABASE_NAME), access: "read" });
    return this.#reader;
  }

  async close(): Promise<void> {
    if (this.program?.child.exitCode === null) await this.end("SIGKILL");
    await this.#reader?.close();
    for (const proxy of [this.rest, this.stream, this.database]) await proxy.close();
    await this.simulator.close();
    await this.embedded.release();
    if (this.#isFolderOwn) await rm(this.dataDir, { recursive: true, force: true });
  }
}

/** The URL of a server on a unix socket names no host, which `URL` demands. */
function partsOf(url: string): URL {
  return new URL(url.replace("@/", "@localhost/"));
}
