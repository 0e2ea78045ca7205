import { chmod, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Program } from "../support/program.ts";
import { type Reading, read } from "./metrics.ts";

/** The shape of a load. */
export interface Shape {
  readonly symbols: number;
  readonly timeframes: readonly string[];
  /** Days of history that are wanted; as little as may be when not given. */
  readonly backfillDays?: number;
  /** What the exchange's clock says at first, ISO 8601. */
  readonly startAt?: string;
  /** Of each symbol; a few busy and most of them quiet when not given. */
  readonly tradesPerDay?: number;
}

/** Simulator and program, each a process of its own, and the embedded PostgreSQL. */
export class LoadedProgram {
  readonly dataDir: string;
  readonly exchangeUrl: string;
  readonly symbols: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly #simulator: Program;
  readonly #others: Program[] = [];
  #ingester: Program;
  #url = "";

  private constructor(
    dataDir: string,
    simulator: Program,
    document: { url: string; wsUrl: string; symbols: string[] },
    shape: Shape,
  ) {
    this.dataDir = dataDir;
    this.#simulator = simulator;
    this.exchangeUrl = document.url;
    this.symbols = document.symbols;
    this.env = {
      DATA_DIR: dataDir,
      TRADING_PAIRS: document.symbols.join(","),
      TIMEFRAMES: shape.timeframes.join(","),
      BACKFILL_DAYS: String(shape.backfillDays ?? 0.01),
      BINANCE_REST_URL: document.url,
      BINANCE_WS_URL: document.wsUrl,
      BINANCE_ARCHIVE_URL: document.url,
      HTTP_PORT: "0",
    };
    // So that a profile can be asked for.
    const { NODE_OPTIONS = "" } = process.env;
    this.#ingester = new Program(["ingest"], { ...this.env, NODE_OPTIONS });
  }

  static async start(shape: Shape): Promise<LoadedProgram> {
    const dataDir = await mkdtemp(join(tmpdir(), "bt-load-"));
    // The server's own user has to reach it when this runs as root.
    await chmod(dataDir, 0o755);
    const args = ["simulate", "--port", "0", "--symbols", String(shape.symbols), "--json"];
    if (shape.startAt !== undefined) args.push("--start-at", shape.startAt);
    if (shape.tradesPerDay !== undefined) args.push("--trades-per-day", String(shape.tradesPerDay));
    const simulator = new Program(args);
    const [document] = await simulator.says(/^\{.*\}$/m, 60_000);
    const loaded = new LoadedProgram(dataDir, simulator, JSON.parse(document), shape);
    const [, url = ""] = await loaded.#ingester.says(/HTTP on (http:[^ ]+): /, 60_000);
    loaded.#url = url;
    return loaded;
  }

  get url(): string {
    return this.#url;
  }

  /** Everything that the program has logged. */
  get said(): string {
    return this.#ingester.stderr;
  }

  get pid(): number {
    return this.#ingester.child.pid ?? 0;
  }

  reading(): Promise<Reading> {
    return read(this.#url);
  }

  /** Memory of the program as the kernel counts it, without asking the program. */
  async rssMb(): Promise<number> {
    const status = await readFile(`/proc/${this.pid}/status`, "utf8");
    return Number(/^VmRSS:\s*(\d+)/m.exec(status)?.[1]) / 1_024;
  }

  /** Starts another command on the same database. */
  also(args: readonly string[], env: Readonly<Record<string, string>> = {}): Program {
    const other = new Program(args, { ...this.env, ...env });
    this.#others.push(other);
    return other;
  }

  /** How many series are in which state. */
  async states(): Promise<Readonly<Record<string, number>>> {
    const answer = await fetch(`${this.#url}/api/v1/status/summary`);
    if (!answer.ok) return { unknown: 1 };
    return ((await answer.json()) as { counts: Record<string, number> }).counts;
  }

  /** Waits until every series is active or halted. @returns ms that it took. @throws after `maxMs` */
  async active(maxMs: number): Promise<number> {
    const began = performance.now();
    for (;;) {
      const states = await this.states().catch(() => ({ unknown: 1 }));
      const others = Object.keys(states).filter((word) => word !== "active" && word !== "halted");
      const tookMs = performance.now() - began;
      if (others.length === 0 && Object.keys(states).length > 0) return tookMs;
      if (tookMs > maxMs)
        throw new Error(`after ${Math.round(tookMs / 1_000)} s: ${JSON.stringify(states)}`);
      await sleep(500);
    }
  }

  /** Waits like {@link active}, but takes things as they are after `maxMs`: catching up may take the exchange's limits long. */
  async settled(maxMs: number): Promise<{ readonly tookMs: number; readonly states: string }> {
    const began = performance.now();
    await this.active(maxMs).catch(() => undefined);
    const states = await this.states().catch(() => ({ unknown: 1 }));
    const text = Object.entries(states).map(([word, count]) => `${count} ${word}`);
    return { tookMs: performance.now() - began, states: text.join(", ") };
  }

  async fault(fault: object): Promise<void> {
    const headers = { "content-type": "application/json" };
    const body = JSON.stringify(fault);
    await fetch(`${this.exchangeUrl}/sim/faults`, { method: "POST", headers, body });
  }

  /** What the exchange's clock says, epoch ms. */
  async exchangeTime(): Promise<number> {
    const answer = await fetch(`${this.exchangeUrl}/api/v3/time`);
    return ((await answer.json()) as { serverTime: number }).serverTime;
  }

  /** What the exchange counted. */
  async journal(): Promise<{
    violations: Record<string, number>;
    requestCount: number;
    maxWeightPerMinute: number;
    framesSent: number;
  }> {
    const answer = (await (await fetch(`${this.exchangeUrl}/sim/journal`)).json()) as {
      counts: Awaited<ReturnType<LoadedProgram["journal"]>>;
    };
    return answer.counts;
  }

  /** Main process of the database's server. */
  async postmaster(): Promise<number> {
    const text = await readFile(join(this.dataDir, "pg18", "postmaster.pid"), "utf8");
    return Number(text.split("\n")[0]);
  }

  async close(): Promise<void> {
    for (const other of this.#others) {
      other.kill("SIGTERM");
      await other.ended();
    }
    this.#ingester.kill("SIGTERM");
    await this.#ingester.ended();
    this.#simulator.kill("SIGTERM");
    await this.#simulator.ended();
    await rm(this.dataDir, { recursive: true, force: true });
  }
}
