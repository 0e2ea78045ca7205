import { BlackTradeError, messageOf } from "../../src/core/errors.ts";
import type { IngestEvent } from "../../src/core/events.ts";
import { seriesKey } from "../../src/core/series.ts";
import { openTimeAt } from "../../src/core/timeframe.ts";
import { ArchiveServer } from "./archive-server.ts";
import { CitizenChecks } from "./citizen-checks.ts";
import { CommitChecks } from "./commit-checks.ts";
import { SimDatabase } from "./database.ts";
import { FaultPlan } from "./faults.ts";
import { forbidRealTime } from "./guard.ts";
import { Health } from "./health.ts";
import { Journal, type Violation } from "./journal.ts";
import { Machine, Process } from "./machine.ts";
import { armMachine } from "./machine-faults.ts";
import { Market } from "./market.ts";
import { marksOf } from "./marks.ts";
import { Network } from "./network.ts";
import { PageChecks } from "./page-checks.ts";
import { blackTrade, type Program } from "./program.ts";
import { PromptChecks } from "./prompt-checks.ts";
import { randomFor } from "./random.ts";
import { RestServer } from "./rest-server.ts";
import type { Setting } from "./setting.ts";
import { setDialer } from "./socket.ts";
import { StatusCheck } from "./status-check.ts";
import { StreamServer } from "./stream-server.ts";
import { TableView } from "./table-view.ts";
import { Timeline } from "./timeline.ts";
import { Trace } from "./trace.ts";

/** What came of a run. */
export interface Outcome {
  readonly seed: number;
  readonly violation?: Violation;
  readonly digest: string;
  /** Simulated time, ms. */
  readonly spanMs: number;
  readonly candleCount: number;
  /** Candles that closed while there were faults and were not stored at the end, of how many. */
  readonly lostCount: number;
  readonly existingCount: number;
  /** From the end of the last fault until all was well, ms; absent when it never was. */
  readonly healMs?: number;
  readonly falselyActiveMaxMs: number;
  readonly requestsInHold: number;
  readonly weightMax: number;
  readonly counts: Readonly<Record<string, number>>;
}

/** How a run is done. */
export interface RunOptions {
  /** The program that is put into the world; ours unless told. */
  readonly program?: Program;
  /** Breaks of promises are noted and the run goes on: for a program that promises nothing. */
  readonly isLenient?: boolean;
}

const CHECK_MS = 5_000;
const RARE_CHECK_MS = 60_000;
/** The longest that a put-off gap may take after the last fault, with what it waits for. */
const HEAL_LIMIT_MS = 150 * 60_000;
/** Whole for so long, a world counts as healed. */
const QUIET_MS = 6 * 60_000;
const RESTART_MS = 5_000;
const STOP_WITHIN_MS = 40_000;
const MAX_SLEEPERS = 500;
const MAX_REQUESTS = 60;
const MAX_STATEMENTS = 80;

/** One simulated world, from its first to its last instant. */
export class World {
  readonly setting: Setting;
  readonly timeline: Timeline;
  readonly machine: Machine;
  readonly plan: FaultPlan;
  readonly market: Market;
  readonly journal = new Journal();
  readonly health: Health;
  readonly database: SimDatabase;
  readonly view: TableView;
  readonly status: StatusCheck;
  readonly citizen: CitizenChecks;
  readonly streams: StreamServer;
  readonly trace: Trace;
  process: Process | undefined;
  /** Process events at which it is killed. */
  killAt: number | undefined;
  readonly #rest: RestServer;
  readonly #archive: ArchiveServer;
  readonly #pages: PageChecks;
  readonly #prompt: PromptChecks;
  readonly #program: Program;
  readonly #isLenient: boolean;
  #network: Network | undefined;
  #stop: AbortController | undefined;
  #starts = 0;
  /** Closing frames that reached the process, and those that it counted. */
  #deliveredCount = 0;
  #receivedCount = 0;
  /** No process is wanted before this instant. */
  #downUntil = 0;

  constructor(setting: Setting, options: RunOptions = {}) {
    this.setting = setting;
    this.#program = options.program ?? blackTrade;
    this.#isLenient = options.isLenient ?? false;
    this.trace = new Trace();
    const { seed, series, startTime } = setting;
    this.timeline = new Timeline(startTime);
    this.plan = new FaultPlan(setting.faults, startTime);
    const symbols = [...new Set(series.map(({ symbol }) => symbol))];
    this.market = new Market(seed, this.plan, symbols, setting.historyMs);
    this.health = new Health(this.plan, this.journal, startTime);
    this.machine = new Machine(this.timeline, setting.wallSkewMs);
    this.database = new SimDatabase({
      timeline: this.timeline,
      plan: this.plan,
      random: randomFor(seed, "database"),
      skewMs: setting.databaseSkewMs,
      broken: setting.broken,
    });
    this.view = new TableView(this.database.tables);
    const { timeline, market, journal, view } = this;
    const commits = new CommitChecks(timeline, market, journal, view, series);
    this.database.watch = (operation, args) => {
      const after = commits.watch(operation, args);
      return (result) => {
        after?.(result);
        this.trace.add(timeline.now, `${operation} ${JSON.stringify(result ?? null).length}`);
      };
    };
    const limit = setting.weightLimit;
    this.#rest = new RestServer(market, this.plan, journal, randomFor(seed, "rest"), limit);
    this.#archive = new ArchiveServer(market, this.plan, journal);
    this.#pages = new PageChecks(timeline, journal);
    this.streams = new StreamServer({
      ...{ seed, timeline, plan: this.plan, market, journal, series },
      maxStreams: setting.maxStreams,
      maxAgeMs: setting.maxAgeMs,
      isExcused: () =>
        this.health.lastBad(timeline.now, ["stream", "machine"]) > timeline.now - 100_000,
    });
    const reader = this.database.tables.peer();
    this.status = new StatusCheck(timeline, market, journal, view, reader);
    this.citizen = new CitizenChecks(timeline, journal, this.health, limit);
    this.#prompt = new PromptChecks(
      ...([timeline, journal, this.health, view, this.status, this.streams, setting] as const),
    );
    armMachine(this);
    this.#planCheck(CHECK_MS, () => this.#check());
    this.#planCheck(RARE_CHECK_MS, () => this.#prompt.checkRarely());
  }

  /** Runs the world to its end. */
  async run(): Promise<Outcome> {
    const allow = forbidRealTime((what) =>
      this.journal.fail("O11 real time", this.timeline.now, `${what} was used`),
    );
    const onRejection = (error: unknown): void => {
      if (this.process !== undefined) this.#ended(this.process, error);
    };
    process.on("unhandledRejection", onRejection);
    const { setting, timeline } = this;
    const end = setting.startTime + setting.faultyMs;
    let healedAt: number | undefined;
    try {
      this.start();
      await timeline.run(end, () => this.#isOver());
      const limitMs = this.#isLenient ? QUIET_MS : HEAL_LIMIT_MS;
      for (let time = end; time < end + limitMs && !this.#isOver(); time += 30_000) {
        await timeline.run(time, () => this.#isOver());
        if (!this.isWhole()) healedAt = undefined;
        else healedAt ??= timeline.now;
        if (healedAt !== undefined && timeline.now - healedAt >= QUIET_MS) break;
      }
      const restMs = (setting.quietMs ?? 0) - QUIET_MS;
      if (restMs > 0) await timeline.run(timeline.now + restMs, () => this.#isOver());
      if (!this.#isOver()) this.#judgeEnd(healedAt);
    } finally {
      allow();
      process.off("unhandledRejection", onRejection);
      this.process?.kill();
      setDialer(undefined);
    }
    return this.#outcome(healedAt, end);
  }

  /** Starts a process with nothing but what the database holds. */
  start(): void {
    if (this.process !== undefined && !this.process.isDead) return;
    const { timeline, setting, journal } = this;
    if (timeline.now < this.#downUntil) {
      timeline.at(this.#downUntil, "start", () => this.start());
      return;
    }
    this.#starts += 1;
    const process = new Process(this.#starts, this.machine);
    this.process = process;
    this.health.processSince = timeline.now;
    this.killAt = undefined;
    this.#deliveredCount = 0;
    this.#receivedCount = 0;
    this.status.deadSince = undefined;
    process.onCrash = (error) => this.#ended(process, error);
    process.onEvent = (label) => this.#onProcessEvent(process, label);
    const network = new Network({
      ...{ timeline, plan: this.plan, journal, process },
      random: randomFor(setting.seed, `network ${this.#starts}`),
      rest: this.#rest,
      archive: this.#archive,
      streams: this.streams,
      onRequest: (path) => this.citizen.request(path),
      onArchiveRequest: (path) => this.citizen.archiveRequest(path),
      onClientFrame: (connection, isOnTime) => this.citizen.frame(connection, isOnTime),
      onDial: () => this.citizen.dial(),
      onClosingFrame: (text) => {
        if (this.#prompt.delivered(text)) this.#deliveredCount += 1;
      },
    });
    this.#network = network;
    setDialer(network);
    globalThis.fetch = network.fetch.bind(network) as unknown as typeof fetch;
    const stop = new AbortController();
    this.#stop = stop;
    this.trace.add(timeline.now, `start ${this.#starts}`);
    timeline.in(300, "look", () => void this.status.check());
    this.#program({
      setting,
      process,
      store: this.database.connect(process),
      random: randomFor(setting.seed, `program ${this.#starts}`),
      record: (event) => this.#record(event),
      signal: stop.signal,
      watchPages: (source) => this.#pages.watch(source),
    }).then(
      () => this.#ended(process, undefined),
      (error: unknown) => this.#ended(process, error),
    );
  }

  /** Ends the process as `kill -9` does. */
  kill(downMs: number): void {
    const { process, timeline, journal } = this;
    if (process === undefined || process.isDead) return;
    this.#noteDeath();
    this.trace.add(timeline.now, `kill ${process.eventCount}`);
    journal.count("kills");
    process.kill();
    this.#restart(downMs);
  }

  /** Asks the process to stop. */
  askToStop(downMs: number): void {
    const { process, timeline, journal } = this;
    if (process === undefined || process.isDead || this.#stop === undefined) return;
    this.trace.add(timeline.now, "stop");
    journal.count("stops");
    this.#downUntil = Math.max(this.#downUntil, timeline.now + downMs);
    process.deliver(timeline.now, "SIGTERM", () => this.#stop?.abort());
    timeline.in(STOP_WITHIN_MS, "stop limit", () => {
      if (process.isDead) return;
      const isExcused =
        this.health.lastBad(timeline.now, ["database"]) > timeline.now - STOP_WITHIN_MS;
      const isPaused = this.health.haltedAt > timeline.now - STOP_WITHIN_MS;
      if (!isExcused && !isPaused)
        journal.fail("P2 stop", timeline.now, "it did not stop within 40 s");
      this.kill(downMs);
    });
  }

  /** True when everything that exists is stored, no gap is open and every status says what it should. */
  isWhole(): boolean {
    const { setting, status, market, timeline } = this;
    return setting.series.every((series) => {
      const word = status.words.get(seriesKey(series))?.word;
      if (
        status.missing(series).size > 0 &&
        [...status.missing(series).values()].some((at) => at < timeline.now - 20_000)
      )
        return false;
      if (market.delistedAt(series.symbol) !== undefined) return true;
      return word === "active";
    });
  }

  /** Notes a death. What the process was told and could not keep in the database, the next one cannot know. */
  #noteDeath(): void {
    this.status.deadSince = this.timeline.now;
    const { timeline, health, journal, citizen } = this;
    const knownSince = Math.max(journal.toldAt, health.lastFault(timeline.now, ["database"]));
    if (timeline.now - knownSince < 30_000) citizen.unknownHold = journal.toldUntil;
    // The archive's is told to the database once.
    const { archiveToldAt } = journal;
    const failedAt = health.lastFault(Math.min(timeline.now, archiveToldAt + 20_000), ["database"]);
    if (timeline.now - archiveToldAt < 30_000 || failedAt >= archiveToldAt) {
      citizen.unknownArchiveHold = journal.archiveToldUntil;
    }
  }

  #restart(downMs: number): void {
    this.#downUntil = Math.max(this.#downUntil, this.timeline.now + downMs);
    this.timeline.in(downMs, "start", () => this.start());
  }

  #ended(process: Process, error: unknown): void {
    const { timeline, journal } = this;
    if (process.isDead) return;
    const isNamed = error === undefined || error instanceof BlackTradeError;
    if (!isNamed)
      journal.fail(
        "P8 crash",
        timeline.now,
        error instanceof Error ? `${error.stack}` : String(error),
      );
    this.#noteDeath();
    this.trace.add(timeline.now, `ended ${error === undefined ? "" : messageOf(error)}`);
    journal.count(error === undefined ? "clean ends" : "exits");
    process.kill();
    this.#restart(RESTART_MS);
  }

  #onProcessEvent(process: Process, label: string): void {
    this.trace.add(this.timeline.now, label);
    if (this.killAt !== undefined && process.eventCount >= this.killAt) {
      const downMs = this.killDownMs;
      this.killAt = undefined;
      this.kill(downMs);
    }
  }

  /** How long no process runs after the next kill. */
  killDownMs = 1_000;

  #record(event: IngestEvent): void {
    for (const mark of marksOf(event)) this.journal.count(mark);
    if (event.kind === "received") this.#receivedCount += event.closedCount;
    if (event.kind === "queueSize" && event.size > 2 * this.setting.capacity) {
      this.journal.fail("R8 queue", this.timeline.now, `${event.size} candles wait`);
    }
    this.trace.add(
      this.timeline.now,
      `${event.kind} ${process.env.SIM_VERBOSE === undefined ? JSON.stringify(event).length : JSON.stringify(event)}`,
    );
  }

  #planCheck(everyMs: number, act: () => unknown): void {
    this.timeline.in(everyMs, "check", () => {
      this.#planCheck(everyMs, act);
      void act();
    });
  }

  async #check(): Promise<void> {
    const { process, journal, timeline } = this;
    if (process === undefined || process.isDead || process.isPaused)
      this.health.haltedAt = timeline.now;
    await this.status.check();
    this.#prompt.check();
    const isRunning =
      process !== undefined && !process.isDead && this.#stop?.signal.aborted === false;
    if (isRunning && this.#receivedCount !== this.#deliveredCount) {
      const what = `${this.#deliveredCount} closing frames came, ${this.#receivedCount} were counted`;
      journal.fail("R6 uncounted", timeline.now, what);
    }
    const bounds = [
      ["sleepers", process?.sleeperCount ?? 0, MAX_SLEEPERS],
      ["requests under way", this.#network?.requestsUnderWay ?? 0, MAX_REQUESTS],
      ["statements under way", this.database.inFlight, MAX_STATEMENTS],
      ["connections", this.streams.connections.length, 4 * this.setting.series.length + 4],
    ] as const;
    for (const [what, count, most] of bounds) {
      if (count > most) journal.fail("R8 bound", timeline.now, `${count} ${what}`);
    }
  }

  #isOver(): boolean {
    return this.journal.violation !== undefined && !this.#isLenient;
  }

  #judgeEnd(healedAt: number | undefined): void {
    const { timeline, journal } = this;
    const left = this.#prompt.left(timeline.now - 20_000);
    if (left.length > 0) {
      journal.fail("R1 lost", timeline.now, `${left.length} not stored, the first ${left[0]}`);
    }
    if (healedAt !== undefined) return;
    const words = [...this.status.words].filter(([, { word }]) => word !== "active");
    const shown = words.map(([key, { word, reason }]) => `${key} ${word} (${reason})`).slice(0, 3);
    journal.fail(
      "O4 stuck",
      timeline.now,
      `not whole long after the last fault: ${shown.join("; ")}`,
    );
  }

  #losses(): { lostCount: number; existingCount: number } {
    const { setting, timeline, market, view } = this;
    let lostCount = 0;
    let existingCount = 0;
    for (const series of setting.series) {
      const end = Math.min(timeline.now - 60_000, setting.startTime + setting.faultyMs);
      const until = openTimeAt(series.timeframe, end);
      for (const open of market.openTimes(series, setting.startTime, until, 1e6)) {
        if (market.closedAt(series, open) > timeline.now - 60_000) continue;
        existingCount += 1;
        if (view.row(series, open) === undefined) lostCount += 1;
      }
    }
    return { lostCount, existingCount };
  }

  #outcome(healedAt: number | undefined, end: number): Outcome {
    const { journal, timeline, setting } = this;
    return {
      seed: setting.seed,
      ...(journal.violation === undefined ? {} : { violation: journal.violation }),
      digest: this.trace.digest(),
      spanMs: timeline.now - setting.startTime,
      candleCount: this.view.size,
      ...this.#losses(),
      ...(healedAt === undefined ? {} : { healMs: healedAt - end }),
      falselyActiveMaxMs: this.status.falselyActiveMaxMs,
      requestsInHold: this.citizen.requestsInHold,
      weightMax: this.citizen.weightMax,
      counts: Object.fromEntries(journal.counts),
    };
  }
}
