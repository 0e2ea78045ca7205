import assert from "node:assert/strict";
import { WeightBudget } from "../../src/core/budget.ts";
import type { IngestEvent } from "../../src/core/events.ts";
import { ExchangeTime } from "../../src/core/exchange-time.ts";
import { sameValues } from "../../src/core/finality.ts";
import { type Series, seriesKey, seriesLabel } from "../../src/core/series.ts";
import { LATENESS_MS, type SeriesStatus, seriesStatus } from "../../src/core/status.ts";
import { nextOpenTime, openTimeAt } from "../../src/core/timeframe.ts";
import { type IngestSummary, ingest } from "../../src/ingest/run.ts";
import { type VirtualClock, virtualClock } from "./clocks.ts";
import { ExchangeModel, type ModelFault } from "./exchange-model.ts";
import { createMemoryStore, type MemoryStore } from "./memory-store.ts";

/** What a scenario starts with. */
export interface HarnessOptions {
  readonly series: readonly Series[];
  readonly mode?: "websocket" | "polling";
  /** History wanted of a new series, ms. */
  readonly historyMs?: number;
  readonly clock?: VirtualClock;
  readonly store?: MemoryStore;
  /** The exchange has nothing before this instant. */
  readonly listedAt?: number;
}

/** The real ingestion under a virtual clock, against a modelled exchange and a store in memory. */
export class Harness {
  readonly clock: VirtualClock;
  readonly model: ExchangeModel;
  readonly store: MemoryStore;
  readonly events: IngestEvent[] = [];
  readonly budget = new WeightBudget(6_000);
  readonly #options: HarnessOptions;
  readonly #stop = new AbortController();
  #running: Promise<IngestSummary> | undefined;

  constructor(options: HarnessOptions) {
    this.#options = options;
    this.clock = options.clock ?? virtualClock();
    this.store = options.store ?? createMemoryStore({ clock: this.clock });
    const exchangeTime = new ExchangeTime();
    this.model = new ExchangeModel(
      this.clock,
      exchangeTime,
      this.budget,
      (untilTime) =>
        this.store.save(
          { exchange: "model", untilTime, httpStatus: 418 },
          untilTime - this.clock.now(),
        ),
      options.listedAt,
    );
    const { model, clock } = this;
    this.#start = (): Promise<IngestSummary> =>
      ingest(
        {
          exchange: "model",
          series: options.series,
          mode: options.mode ?? "websocket",
          host: "test",
          pid: 1,
          historyMs: () => options.historyMs ?? 60 * 60_000,
          live: model,
          source: model,
          store: this.store,
          checkSymbols: () => undefined,
          clock,
          exchangeTime,
          budget: this.budget,
          random: () => 0.5,
          record: (event) => this.events.push(event),
        },
        this.#stop.signal,
      );
  }

  readonly #start: () => Promise<IngestSummary>;

  /** Switches a fault on, from `inMs` from now for `forMs`. */
  fault(
    kind: ModelFault["kind"],
    inMs: number,
    forMs: number,
    more: Pick<ModelFault, "code" | "symbol"> = {},
  ): void {
    const from = this.clock.now() + inMs;
    this.model.faults.push({ kind, from, to: from + forMs, ...more });
  }

  start(): void {
    this.#running = this.#start();
    // A failure shows when it is awaited in `stop`; it must not end the test run before.
    this.#running.catch(() => undefined);
  }

  /** Stops, and fails when that takes longer than `withinMs`. */
  async stop(withinMs = 25_000): Promise<IngestSummary> {
    this.#stop.abort();
    let hasEnded = false;
    const ended = (): void => {
      hasEnded = true;
    };
    this.#running?.then(ended, ended);
    for (let ms = 0; ms < withinMs; ms += 500) await this.clock.advance(Math.min(500, withinMs));
    assert.ok(hasEnded, `the stop took longer than ${withinMs} ms`);
    return (await this.#running) ?? assert.fail("not started");
  }

  /** Goes on minute by minute; after each, no status may say `active` that is not. */
  async minutes(count: number): Promise<void> {
    for (let minute = 0; minute < count; minute += 1) {
      await this.clock.advance(60_000);
      const statuses = await this.statuses();
      for (const series of this.#options.series) {
        const status = statuses.get(seriesKey(series));
        if (status?.word === "active")
          this.#assertWhole(series, this.clock.now() - LATENESS_MS - 10_000);
      }
    }
  }

  async statuses(): Promise<Map<string, SeriesStatus>> {
    const { run, series } = await this.store.facts();
    return new Map(series.map((facts) => [seriesKey(facts.series), seriesStatus(facts, run)]));
  }

  async wordOf(series: Series): Promise<string | undefined> {
    return (await this.statuses()).get(seriesKey(series))?.word;
  }

  /** Table = truth: nothing lost, nothing extra, nothing wrong, for what has closed until `agoMs` ago. */
  assertTable(agoMs = 15_000): void {
    for (const series of this.#options.series) this.#assertWhole(series, this.clock.now() - agoMs);
  }

  #assertWhole(series: Series, until: number): void {
    const rows = this.store.rows(series);
    const label = seriesLabel(series);
    for (const { candle } of rows) {
      const truth = this.model.candle(series, candle.openTime);
      assert.ok(truth, `${label} ${candle.openTime} is stored and never existed`);
      const corrected = this.model.candleAt(series, candle.openTime, this.clock.now()) ?? truth;
      assert.ok(
        sameValues(candle, truth) || sameValues(candle, corrected),
        `${label} ${candle.openTime} differs from the exchange`,
      );
      assert.ok(
        nextOpenTime(series.timeframe, candle.openTime) <= this.clock.now(),
        `${label} ${candle.openTime} is stored before its close`,
      );
    }
    const first = rows[0]?.candle.openTime;
    const wantedFrom = this.store.wantedFrom(series);
    assert.ok(wantedFrom !== undefined, `${label} was never wanted`);
    const expected = this.model
      .truth(series, { from: wantedFrom, to: openTimeAt(series.timeframe, until) })
      .map(({ openTime }) => openTime);
    const stored = new Set(rows.map(({ candle }) => candle.openTime));
    const lost = expected.filter((openTime) => !stored.has(openTime));
    assert.deepEqual(
      lost.map((time) => new Date(time).toISOString()),
      [],
      `${label}: lost (first stored ${first})`,
    );
  }
}
